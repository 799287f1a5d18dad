"""The fields of a request, as the server publishes them: every one is where it should be, and what a
picture's text says of them paints the picture again."""
import io
import random
import re
import subprocess

import pytest
from conftest import PROGRAM, ROOT
from PIL import Image
from test_native import TINY, Native

OWN = {"priority", "init_image", "images", "mask", "extend", "loras", "styles",
       "prompt_comments", "compose", "tags"}  # of the request, not of the job
STATE = {"any_format", "controls", "dialect", "embeddings", "guidance_told", "has_init", "has_mask", "more_images", "negative_template",
         "prompt_template", "relay", "variants"}


@pytest.fixture(scope="module")
def api(server):
    return Native(server.url)


@pytest.fixture(scope="module")
def fields(api):
    schema = api.get("/api/schema")
    assert schema["required"] == ["prompt"] and schema["additionalProperties"] is False
    return schema["properties"]


def test_they_are_those_of_a_job(api, fields):
    assert set(api.submit()["params"]) == set(fields) - OWN | STATE


def test_they_are_documented(fields):
    text = (ROOT / "docs" / "api.md").read_text()
    assert [name for name in fields if f"`{name}`" not in text and f'"{name}"' not in text] == []
    assert all(field["description"] for field in fields.values())


def test_flags(fields, tmp_path):
    text = subprocess.run([PROGRAM, "generate", "--help"], check=True, capture_output=True,
                          text=True).stdout
    flags = [field["x-flag"] for field in fields.values() if "x-flag" in field]
    assert len(flags) > 20 and [flag for flag in flags if f"--{flag}" not in text] == []
    bad = subprocess.run([PROGRAM, "generate", "-o", tmp_path / "x.png", "--fill=x"],
                         capture_output=True, text=True)
    assert bad.returncode == 2
    assert "--fill must be one of blur, original, noise, nothing, got 'x'" in bad.stderr


def test_flags_paint_what_fields_paint(api, tmp_path):
    file = tmp_path / "x.png"
    subprocess.run([PROGRAM, "generate", "-q", "-p", "a red cube", "--steps=2", "--seed=7", "-o", file,
                    "--width=64", "--height=64", "--subseed=5", "--subseed-strength=0.5",
                    "--hires=128x72", "--hires-steps=1", "--hires-upscaler=Lanczos", "--rng=cpu"],
                   check=True)
    job = api.done(subseed=5, subseed_strength=0.5, hires_width=128, hires_height=72, hires_steps=1,
                   hires_upscaler="Lanczos", rng="cpu")
    assert pixels(api, job["images"][0]) == Image.open(file).convert("RGB").tobytes()
    assert Image.open(file).text["parameters"] == job["images"][0]["infotext"]


def test_schedules_are_told(api, tmp_path):
    """Ends, rho and Beta's numbers: by fields as by flags; those that a schedule has not, do nothing."""
    def painted(**fields):
        return pixels(api, api.done(steps=4, sampler="Euler", **fields)["images"][0])

    for scheduler, told in (("karras", {"rho": 3}), ("karras", {"sigma_max": 9, "sigma_min": 0.2}),
                            ("beta", {"beta_alpha": 0.3}), ("beta", {"beta_beta": 1.5})):
        file = tmp_path / "x.png"
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in told.items()]
        subprocess.run([PROGRAM, "generate", "-q", "-p", "a red cube", "--steps=4", "--seed=7", "-o", file,
                        "--width=64", "--height=64", "--sampler=Euler", f"--scheduler={scheduler}", *flags],
                       check=True)
        want = painted(scheduler=scheduler, **told)
        assert want == Image.open(file).convert("RGB").tobytes()
        assert want != painted(scheduler=scheduler)
        assert painted(scheduler="uniform", **told) == painted(scheduler="uniform")
    for wrong, param in (({"rho": 0.05}, "rho"), ({"sigma_min": 3, "sigma_max": 3}, "sigma_min"),
                         ({"beta_alpha": 0}, "beta_alpha"), ({"sigma_max": 1e9}, "sigma_max")):
        answer = api.request("POST", "/api/jobs", json={**TINY, "prompt": "x", **wrong})
        assert answer.status_code == 400 and answer.json()["error"]["param"] == param


def pixels(api, image):
    data = api.request("GET", image["url"]).content
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def draw(dice, field):
    if "enum" in field:
        return dice.choice(field["enum"])
    if "examples" in field:
        return dice.choice(field["examples"])
    if field["type"] == "boolean":
        return dice.random() < 0.5
    if field["type"] == "integer":
        return dice.randint(int(field["minimum"]), int(field["maximum"]))
    if field["type"] == "number":
        return dice.choice([field["minimum"], field["maximum"],
                            dice.uniform(field["minimum"], field["maximum"])])
    return dice.randrange(2 ** 64 - 16)


@pytest.mark.parametrize("turn", range(6))
def test_a_text_paints_its_picture_again(api, fields, turn):
    """Values drawn at random for all fields of a picture; small, so that it does not take long."""
    dice = random.Random(turn)
    request = {name: draw(dice, field) for name, field in fields.items()
               if field.get("x-about") == "picture" and field["type"] != "string" or "enum" in field}
    request.update({name: draw(dice, fields[name]) for name in ("sampler", "scheduler")})
    request.update(TINY, seed=request["seed"], prompt="a, (red:1.2) cube\n\u00e9: \"x\"",
                   negative_prompt="blue", count=2, format="png",
                   clip_skip=dice.randint(1, 3),  # as many layers has the built-in model
                   hires_width=0, hires_height=0, hires_steps=dice.choice([0, 1]),
                   sigma_min=dice.choice([0, 0.1]), sigma_max=dice.choice([0, 10]), rho=dice.choice([0, 3]))
    if turn % 2:
        request.update(hires_width=128, hires_height=dice.choice([72, 128]))
    job = api.done(**request)
    image = job["images"][1]
    told = api.post("/api/infotext", {"text": image["infotext"]})["params"]
    for name, value in told.items():
        if name not in ("seed", "subseed", "scheduler"):
            assert value == job["params"][name], name
    assert told["seed"] == image["seed"]
    again = api.done(**{**dict.fromkeys(TINY), **told})
    assert pixels(api, again["images"][0]) == pixels(api, image)


def test_silence_is_what_the_text_does_not_say(serve):
    """A text without a pair means the exact picture, whatever this server's setting is."""
    api = Native(serve("--reuse-every=2").url)
    exact, fast = api.done(reuse_every=1, steps=4), api.done(steps=4)
    assert pixels(api, exact["images"][0]) != pixels(api, fast["images"][0])
    for job in (exact, fast):
        told = api.post("/api/infotext", {"text": job["images"][0]["infotext"]})["params"]
        assert told["reuse_every"] == job["params"]["reuse_every"]
        assert pixels(api, api.done(**told)["images"][0]) == pixels(api, job["images"][0])
    assert api.get("/api/schema")["properties"]["reuse_every"]["default"] == 2


def test_texts_of_others(api):
    def told(text):
        return api.post("/api/infotext", {"text": text})["params"]
    assert told("a cat, Steps: 20") == {"prompt": "a cat, Steps: 20", "negative_prompt": ""}
    params = told("a cat\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, "
                  "Seed: 18446744073709551615, Size: 512x768, Model: nobody has it, ENSD: 31337, "
                  "Denoising strength: 0.5, Hires upscale: 1.9, Hires upscaler: R-ESRGAN 4x+, "
                  "RNG: NV, Clip skip: x, Mask blur: 8")
    assert (params["sampler"], params["scheduler"]) == ("DPM++ 2M", "karras")
    assert params["seed"] == 2 ** 64 - 1 and params["guidance"] == 7
    assert (params["hires_width"], params["hires_height"]) == (968, 1456)
    assert params["hires_strength"] == 0.5 and "strength" not in params
    assert "model" not in params and "clip_skip" not in params and "rng" not in params
    assert params["mask_blur"] == 8 and params["fill"] == "original"
    assert api.post("/api/infotext", {"text": 5}, 400)["param"] == "text"
    assert api.post("/api/infotext", {"txt": "x"}, 400)["param"] == "txt"
    assert re.fullmatch(r"[a-z_, ]+", ", ".join(params))
    assert told(" " * 100000) == {"prompt": "", "negative_prompt": ""}
