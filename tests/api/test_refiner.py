"""Pictures of two models, in every dialect: a refiner, and a second pass of another model."""
import shutil
import subprocess

import pytest
from conftest import PROGRAM, ROOT
from openai_client import OpenAI
from sdapi_client import Painted, Sdapi, encode, gradient
from test_native import Native
from test_sdxl import GOLDEN, SMALL, write_models

TWICE = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6, "hr_upscaler": "Lanczos"}
OPTIONS = ("refiner_switch_by_sample_steps", "hires_fix_refiner_pass")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refiner")
    models = folder / "models"
    write_models(models)
    (models / "deep").mkdir()
    shutil.move(models / "refiner.safetensors", models / "deep" / "refiner.safetensors")
    shutil.copy(models / "xl.safetensors", models / "twin.safetensors")
    shutil.copy(GOLDEN / "tiny" / "tiny-ldm.safetensors", models / "tiny.safetensors")
    (folder / "loras").mkdir()
    for name in ("kohya", "peft"):
        shutil.copy(GOLDEN / "lora" / f"{name}.safetensors", folder / "loras" / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def server(serve_module, folder):
    return serve_module(f"--models={folder / 'models'}", f"--loras={folder / 'loras'}", "--default-model=xl")


@pytest.fixture(scope="module")
def api(server):
    return Sdapi(server.url)


def pixels(painted):
    return painted.image.tobytes()


def test_webui(api):
    def paint(**fields):
        options = {name: fields.pop(name) for name in OPTIONS if name in fields}
        return api.txt2img(**{**SMALL, "steps": 4, **fields}, override_settings=options)

    plain, refined = paint(), paint(refiner_checkpoint="refiner", refiner_switch_at=0.5)
    assert "Refiner: deep/refiner, Refiner switch at: 0.5" in refined.text
    assert "sampling steps" not in refined.text and "Hires refiner" not in refined.text
    assert pixels(refined) != pixels(plain) and "Refiner" not in plain.text
    (title,) = [m["title"] for m in api.get("sd-models") if "refiner" in m["title"]]
    assert pixels(paint(refiner_checkpoint=title, refiner_switch_at=0.5)) == pixels(refined)
    for off in ({"refiner_checkpoint": "None"}, {"refiner_checkpoint": "refiner", "refiner_switch_at": 1},
                {"refiner_switch_at": 0.3},
                {"refiner_checkpoint": "twin", "refiner_switch_at": 0.4},
                {"refiner_checkpoint": "xl", "refiner_switch_at": 0.4}):
        assert pixels(paint(**off)) == pixels(plain), off
    alone = api.txt2img(**SMALL | {"steps": 4},
                        override_settings={"sd_model_checkpoint": "deep/refiner"})
    assert pixels(paint(refiner_checkpoint="refiner", refiner_switch_at=0)) == pixels(alone)
    early = paint(refiner_checkpoint="refiner", refiner_switch_at=0.2)
    assert pixels(early) not in (pixels(plain), pixels(refined))
    steps = paint(refiner_checkpoint="refiner", refiner_switch_at=0.5, refiner_switch_by_sample_steps=True)
    assert "Refiner switch by sampling steps: True" in steps.text
    # These settings again, from the text alone.
    again = Painted(api.post("txt2img", {"infotext": steps.text}))
    assert pixels(again) == pixels(steps) and again.text == steps.text
    over = {**SMALL, "denoising_strength": 0.7, "steps": 4}
    begun = encode(gradient(128, 64))
    assert pixels(api.img2img(begun, **over)) != pixels(
        api.img2img(begun, **over, refiner_checkpoint="refiner", refiner_switch_at=0.5))


def test_second_pass(api):
    def paint(**fields):
        options = {name: fields.pop(name) for name in OPTIONS if name in fields}
        return api.txt2img(**{**SMALL, **TWICE, **fields}, override_settings=options)

    plain = paint()
    assert pixels(paint(hr_checkpoint_name="twin")) == pixels(plain)
    assert pixels(paint(hr_checkpoint_name="Use same checkpoint")) == pixels(plain)
    other = paint(hr_checkpoint_name="tiny")
    assert "Hires checkpoint: tiny" in other.text and pixels(other) != pixels(plain)
    assert pixels(Painted(api.post("txt2img", {"infotext": other.text}))) == pixels(other)
    # Not without a second pass.
    once = api.txt2img(**SMALL, hr_checkpoint_name="tiny")
    assert "Hires checkpoint" not in once.text and pixels(once) == pixels(api.txt2img(**SMALL))
    refined = [paint(refiner_checkpoint="refiner", refiner_switch_at=0.5, hires_fix_refiner_pass=when)
               for when in ("second pass", "first pass", "both passes")]
    assert len({pixels(p) for p in (plain, *refined)}) == 4
    assert "Hires refiner" not in refined[0].text and "Hires refiner: both passes" in refined[2].text


def test_loras_where_they_fit(api):
    def paint(prompt, **fields):
        return pixels(api.txt2img(**{**SMALL, "steps": 4, **fields, "prompt": prompt}))

    refined = {"refiner_checkpoint": "refiner", "refiner_switch_at": 0.5}
    plain, style = paint("a red circle", **refined), paint("a red circle<lora:kohya:1>", **refined)
    assert plain != style
    twin = {"refiner_checkpoint": "twin", "refiner_switch_at": 0.5}
    for words in ("a red circle<lora:kohya:1>", "a red circle<lora:kohya:1><lora:peft:0.5>"):
        assert paint(words, **twin) == paint(words)
    assert paint("a red circle", **refined) == plain


@pytest.mark.parametrize("fields,status,text", [
    ({"refiner_checkpoint": "nope"}, 500, "Could not find checkpoint with name nope"),
    ({**TWICE, "hr_checkpoint_name": "nope"}, 500, "Could not find checkpoint with name nope"),
    ({"refiner_checkpoint": "tiny"}, 422, "tiny is of the family sd1, which cannot go on with the latents of xl"),
    ({"refiner_checkpoint": "refiner", "refiner_switch_at": 1.5}, 422, "refiner_at must be"),
    ({**TWICE, "hr_checkpoint_name": "tiny", "hr_upscaler": "Latent"}, 422, "by an upscaler of latents"),
    ({**TWICE, "hr_checkpoint_name": "tiny", "refiner_checkpoint": "refiner"}, 422, "latents of tiny"),
    ({"refiner_checkpoint": "refiner", "override_settings": {"hires_fix_refiner_pass": "x"}}, 422, "both passes"),
])
def test_refused(api, fields, status, text):
    assert text in api.request("POST", "txt2img", json={**SMALL, **fields}).text
    api.post("txt2img", {**SMALL, **fields}, status)


def test_native(server):
    api = Native(server.url)
    fields = {**SMALL, "model": "xl", "steps": 4}

    def painted(**more):
        job = api.done(**fields, **more)
        image = job["images"][0]
        return image["infotext"], api.request("GET", image["url"]).content

    plain, (text, refined) = painted(), painted(refiner="deep/refiner", refiner_at=0.5)
    assert "Refiner: deep/refiner, Refiner switch at: 0.5" in text and refined != plain[1]
    assert "Refiner switch at: 0.8" in painted(refiner="twin")[0]
    for wrong, field in (({"refiner": "nope"}, "refiner"), ({"refiner": "tiny"}, "refiner"),
                         ({"refiner": "twin", "refiner_at": -1}, "refiner_at"),
                         ({"hires_width": 192, "hires_height": 96, "hires_model": "nope"}, "hires_model")):
        assert api.post("/api/jobs", {**fields, **wrong}, 400)["param"] == field
    job = api.done(**fields, refiner="twin", refiner_pass="both", refiner_by_steps=True)
    retried = api.finish(api.post(f"/api/jobs/{job['id']}/retry", status=202))
    assert retried["images"][0]["infotext"] == job["images"][0]["infotext"]


def test_openai(server):
    api = OpenAI(server.url)
    body = {"prompt": "a red circle", "model": "xl", "size": "128x64", "steps": 4, "seed": 1}
    plain, refined = (api.images({**body, **more})[0]
                      for more in ({}, {"refiner": "deep/refiner", "refiner_at": 0.5}))
    assert plain != refined
    assert "nope" in api.error(400, "invalid_value", "refiner", {**body, "refiner": "nope"})


def test_command(folder, tmp_path):
    def paint(name, *more):
        out = tmp_path / name
        done = subprocess.run([PROGRAM, "generate", "-p", "a red circle", "-o", out, "--seed=1", "--steps=4",
                               "--width=128", "--height=64", f"--models={folder / 'models'}", "--quiet",
                               "--model=xl", *more], capture_output=True, text=True, cwd=ROOT, timeout=120)
        return done.stderr if done.returncode else out.read_bytes()

    plain = paint("plain.png")
    path = folder / "models" / "deep" / "refiner.safetensors"
    refined = paint("refined.png", "--refiner=deep/refiner", "--refiner-at=0.5")
    assert refined != plain and b"Refiner: deep/refiner" in refined
    assert b"Refiner: refiner, " in paint("path.png", f"--refiner={path}", "--refiner-at=0.5")
    assert "there is no model nope" in paint("none.png", "--refiner=nope")
    assert "latents are not those" in paint("none.png", "--refiner=tiny")
    assert b"Hires checkpoint: tiny" in paint("two.png", "--hires=192x96", "--hires-upscaler=Lanczos",
                                              "--hires-model=tiny")


def test_memory_limit(serve, folder):
    # A model takes about 11 MiB. Two of them do not fit, and take turns; neither fits into 8.
    def paint(limit):
        server = serve(f"--models={folder / 'models'}", f"--loras={folder / 'loras'}", "--default-model=xl",
                       f"--memory-limit-mb={limit}", "--precision=f32")
        api = Native(server.url)
        job = api.finish(api.submit(**{**SMALL, "prompt": "a red circle<lora:kohya:1>", "steps": 4}, model="xl",
                                    count=2, refiner="deep/refiner", refiner_at=0.5))
        if job["state"] == "failed":
            return job["error"]["message"], server.log()
        files = [api.request("GET", image["url"]).content for image in job["images"]]
        assert api.finish(api.submit(**SMALL, model="xl"))["state"] == "done"  # and then one alone
        return files, server.log()

    plain, log = paint(0)
    assert len(set(plain)) == 2 and "models_take_turns" not in log
    turns, log = paint(24)
    assert turns == plain and log.count("models_take_turns") == 2
    assert "limit is 8 MiB" in paint(8)[0]
