"""Outpainting: the native API's `extend`, the WebUI's scripts, and the command's flag."""
import io
import subprocess

import pytest
from conftest import PROGRAM
from PIL import Image
from sdapi_client import Sdapi, encode, gradient
from test_native import Native

SMALL = {"prompt": "a red circle", "steps": 2, "seed": 1}
WEBUI = {"prompt": "a red circle", "steps": 2, "seed": 1, "denoising_strength": 0.8, "sampler_name": "Euler a"}


def paint(server, **fields):
    native = Native(server.url)
    job = native.finish(native.post("/api/jobs", {**SMALL, "init_image": encode(gradient(80, 72)), **fields}, status=202))
    assert job["state"] == "done", job["error"]
    image = Image.open(io.BytesIO(native.request("GET", job["images"][0]["url"]).content))
    return job, image.convert("RGB")


def test_native(server):
    job, image = paint(server, extend={"left": 30, "up": 10})
    p = job["params"]
    assert image.size == (112, 88) and (p["width"], p["height"]) == (112, 88)
    assert p["has_init"] and p["has_mask"] and p["strength"] == 0.8 and p["mask_blur"] == 4
    inner = (24, 24, 80, 72)  # what is deep inside stays, to the byte
    assert image.crop((32, 16, 112, 88)).crop(inner).tobytes() == gradient(80, 72).convert("RGB").crop(inner).tobytes()
    assert image.crop((32, 16, 112, 88)).tobytes() != gradient(80, 72).convert("RGB").tobytes()
    assert paint(server, extend={"left": 30, "up": 10})[1].tobytes() == image.tobytes()
    job, image = paint(server, extend={"right": 16, "down": 8}, strength=0.5, mask_blur=2)
    assert image.size == (96, 80) and job["params"]["strength"] == 0.5 and job["params"]["mask_blur"] == 2
    native = Native(server.url)
    retried = native.finish(native.post(f"/api/jobs/{job['id']}/retry", status=202))
    file = native.request("GET", retried["images"][0]["url"]).content
    assert Image.open(io.BytesIO(file)).convert("RGB").tobytes() == image.tobytes()
    assert "left" in native.get("/api/schema")["properties"]["extend"]["properties"]


@pytest.mark.parametrize("fields, said", [
    ({"extend": {"left": -8}}, "margins of 0.."), ({"extend": {}}, "got none"), ({"extend": {"top": 8}}, "top"),
    ({"extend": 8}, "extend"), ({"extend": {"left": 8}, "init_image": None}, "init_image"),
    ({"extend": {"left": 8}, "mask_invert": True}, "no mask_invert"),
    ({"extend": {"left": 8}, "mask_only_area": True}, "no mask_only_area"),
    ({"extend": {"left": 8}, "mask": encode(gradient(8, 8))}, "no mask"), ({"extend": {"left": 8}, "width": 128}, "no width"),
    ({"extend": {"left": 4000, "right": 4000}}, "at most"), ({"extend": {"left": 8}, "init_image": "!"}, "init_image")])
def test_refused(server, fields, said):
    body = {**SMALL, "init_image": encode(gradient(80, 72)), **fields}
    response = Native(server.url).request("POST", "/api/jobs", json={k: v for k, v in body.items() if v is not None})
    assert response.status_code in (400, 413) and said in response.text


def test_scripts(server):
    api = Sdapi(server.url)
    assert {"outpainting mk2", "poor man's outpainting"} <= set(api.get("scripts")["img2img"])

    def run(name, *args, **fields):
        return api.img2img(encode(gradient(80, 72)), **{**WEBUI, "script_name": name, "script_args": list(args), **fields}).image

    poor = run("Poor man's outpainting", 32, 4, 1, ["left", "down"])
    assert poor.size == (128, 128)
    assert run("poor man's outpainting", 32, 4, "original", ["left", "down"]).tobytes() == poor.tobytes()
    assert run("poor man's outpainting", 32, 4, 0, ["left", "down"]).tobytes() != poor.tobytes()
    second = run("Outpainting mk2", "", 32, 8, ["left", "down"], 1.0, 0.05)
    assert second.size == (128, 128) and second.tobytes() == poor.tobytes()  # 2 x 4 is 8, and both begin alike
    assert run("Outpainting mk2", None, 16, 8, ["right"]).size == (128, 128)
    assert run("Outpainting mk2").size == (384, 384)


@pytest.mark.parametrize("name, args, said", [
    ("Poor man's outpainting", [-1], "script_args[0]"), ("Poor man's outpainting", [32, 4, 7], "masked content"),
    ("Poor man's outpainting", [32, 4, 1, ["east"]], "script_args[3]"), ("Poor man's outpainting", [32, 4, 1, []], "got none"),
    ("Outpainting mk2", ["", "x"], "script_args[1]"), ("Outpainting mk3", [], "not found")])
def test_scripts_refused(server, name, args, said):
    body = {**WEBUI, "init_images": [encode(gradient(80, 72))], "script_name": name, "script_args": args}
    response = Sdapi(server.url).request("POST", "img2img", json=body)
    assert response.status_code in (413, 422) and said in response.text
    response = Sdapi(server.url).request("POST", "txt2img", json={"prompt": "x", "script_name": name, "script_args": args})
    assert response.status_code == 422 and "not found" in response.text


def test_command(tmp_path, server):
    gradient(80, 72).save(tmp_path / "in.png")

    def run(*words, status=0):
        done = subprocess.run([PROGRAM, "generate", "-q", "--prompt=a red circle", "--steps=2", "--seed=1", "-o", "out.png", *words],
                              cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return done.stderr

    run("--init=in.png", "--extend=left=30,up=10")
    theirs = paint(server, extend={"left": 30, "up": 10})[1]
    assert Image.open(tmp_path / "out.png").convert("RGB").tobytes() == theirs.tobytes()
    assert "wanted left=N" in run("--init=in.png", "--extend=east=3", status=1)
    assert "wanted left=N" in run("--init=in.png", "--extend=left=3,", status=1)
    assert "wanted no --mask-invert" in run("--init=in.png", "--extend=left=8", "--mask-invert", status=1)
    assert "--extend: wanted --init" in run("--extend=left=8", status=1)
    assert "got none" in run("--init=in.png", "--extend=left=0", status=1)
