"""What a request says without any effect is named: in a job's notes, and in the other dialects as they
name what they ignore."""
import base64
import json
import subprocess

import pytest
import requests
from conftest import PROGRAM
from openai_client import gradient, png
from test_native import Native

SMALL = {"prompt": "a red cube", "steps": 2, "width": 64, "height": 64, "seed": 7}
NONE = "a guidance of 1 is none, which leads away from nothing"
WORDS = """
[upstream painter]
kind = {kind}
base_url = http://127.0.0.1:9{more}
key = none
models = cloud
"""


@pytest.fixture(scope="module")
def api(server):
    return Native(server.url)


def noted(job):
    return dict(note.split(": ", 1) for note in job["notes"])


@pytest.mark.parametrize("fields, notes", [
    ({}, {}),
    ({"mask_blur": 4, "clip_skip": 1, "eta": None}, {}),  # as it would be anyway
    ({"mask_blur": 7}, {"mask_blur": "no effect without a mask"}),
    ({"strength": 0.4, "fit": "crop"}, dict.fromkeys(["strength", "fit"], "no effect without a picture to begin from")),
    ({"hires_steps": 3, "hires_prompt": "x"},
     dict.fromkeys(["hires_steps", "hires_prompt"], "no effect without a second pass (hires_width)")),
    ({"negative_prompt": "blue", "guidance": 1, "guidance_rescale": 0.5},
     {"negative_prompt": NONE, "guidance_rescale": "no effect without guidance"}),
    ({"negative_prompt": "blue", "guidance": 1, "sampler": "Euler CFG++"}, {}),
    ({"negative_prompt": "blue", "guidance": 2}, {}),
    ({"eta": 0.5, "churn": 3, "sampler": "DPM++ 2M"}, dict.fromkeys(["eta", "churn"], "no effect with this sampler")),
    ({"eta": 0.5, "sampler": "Euler a"}, {}),
    ({"rho": 3, "scheduler": "uniform"}, {"rho": "no effect with this scheduler"}),
    ({"rho": 3, "scheduler": "karras"}, {}),
    ({"quality": 50}, {}),  # of a file whose format nobody asked for
    ({"quality": 50, "format": "png"}, {"quality": "no effect on PNG"}),
    ({"quality": 50, "format": "jpeg"}, {}),
    ({"refiner_at": 0.5}, {"refiner_at": "no effect without a refiner"}),
    ({"image_guidance": 3, "mask_weight": 0.5}, {
        "image_guidance": "no effect without a picture to begin from",
        "mask_weight": "no effect on a model that is not shown the mask"}),
    ({"seed_resize_width": 64}, {"seed_resize_width": "no effect without both sides of the seed's size"}),
])
def test_of_jobs(api, fields, notes):
    job = api.post("/api/jobs", {**SMALL, **fields}, 202)
    assert noted(job) == notes
    assert noted(api.job(job["id"])) == notes and "notes" not in job["params"]
    if notes:  # a repetition has said the same
        assert noted(api.post(f"/api/jobs/{job['id']}/retry", None, 202)) == notes
    else:
        assert noted(api.post(f"/api/jobs/{job['id']}/retry", None, 202)) == {}


def test_they_change_nothing(api):
    plain = api.done(**SMALL)["images"][0]
    noted = api.done(**SMALL, mask_blur=7, churn=3, sampler="DPM++ 2M", eta=0.3)["images"][0]
    same = api.done(**SMALL, sampler="DPM++ 2M")["images"][0]
    data = [api.request("GET", image["url"]).content for image in (plain, noted, same)]
    assert data[1] == data[2] != data[0]


def test_batches(api):
    jobs = api.post("/api/jobs/batch", {"jobs": [SMALL, {**SMALL, "mask_blur": 7}]}, 202)["jobs"]
    assert [list(noted(job)) for job in jobs] == [[], ["mask_blur"]]


def test_openai(server):
    def ignored(**fields):
        answer = requests.post(server.url + "/v1/images/generations", timeout=60,
                               json={"prompt": "x", "size": "64x64", "steps": 2, **fields})
        assert answer.status_code == 200, answer.text
        return answer.headers.get("x-ignored-parameters")

    assert ignored(seed=3, negative_prompt="y") is None
    assert ignored(strength=0.5, refiner_at=0.5, guidance_scale=1, negative_prompt="y", foo=1) == \
        "foo, negative_prompt, strength, refiner_at"


def test_webui(server):
    def ignored(path, **fields):
        answer = requests.post(f"{server.url}/sdapi/v1/{path}", timeout=60,
                               json={"prompt": "x", "width": 64, "height": 64, "steps": 2, **fields})
        assert answer.status_code == 200, answer.text
        return json.loads(answer.json()["info"])["extra_generation_params"].get("Ignored")

    assert ignored("txt2img", seed=3, negative_prompt="y", denoising_strength=0.7, refiner_switch_at=None) is None
    assert ignored("txt2img", cfg_scale=1, negative_prompt="y", refiner_switch_at=0.5) == \
        f"negative_prompt ({NONE}), refiner_switch_at (no effect without a refiner)"
    init = base64.b64encode(png(gradient())).decode()
    usual = {"mask_blur": 4, "inpainting_fill": 0, "inpaint_full_res": True, "resize_mode": 0, "init_images": [init]}
    assert ignored("img2img", **usual) is None
    assert ignored("img2img", **{**usual, "mask_blur": 8, "inpainting_fill": 2}) == \
        "mask_blur (no effect without a mask), inpainting_fill (no effect without a mask)"


@pytest.mark.parametrize("kind, more, heard", [
    ("openai", "/v1", set()),
    ("openai", "/v1\nextensions = on", {"seed", "negative_prompt", "steps", "guidance", "sampler"}),
    ("sdapi", "", {"seed", "negative_prompt", "steps", "guidance", "sampler", "tiling", "clip_skip"})])
def test_what_an_upstream_is_not_told(serve, tmp_path, kind, more, heard):
    """Nothing listens there: jobs say so before anything is sent."""
    config = tmp_path / "pictor.ini"
    config.write_text(WORDS.format(kind=kind, more=more))
    api = Native(serve(f"--config={config}").url)
    said = {"seed": 7, "negative_prompt": "blue", "steps": 9, "guidance": 3, "sampler": "DDIM", "tiling": True,
            "clip_skip": 2, "guidance_rescale": 0.5}
    job = api.post("/api/jobs", {"prompt": "x", "model": "cloud", **said}, 202)
    assert set(noted(job)) == set(said) - heard
    assert set(noted(job).values()) == {"no effect: cloud is another server's, which is not told of it"}
    assert noted(api.post("/api/jobs", {"prompt": "x", "model": "cloud", "seed": -1}, 202)) == {}


def test_command_line(tmp_path):
    done = subprocess.run([PROGRAM, "generate", "-p", "x", "--width=64", "--height=64", "--steps=2", "--mask-blur=8",
                           "-o", tmp_path / "x.png"], check=True, capture_output=True, text=True)
    assert "mask_blur: no effect without a mask\n" in done.stderr
