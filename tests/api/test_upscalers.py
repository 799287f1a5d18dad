"""Networks that enlarge pictures: the one inside the binary and those in the folder `upscalers`."""
import base64
import io
import json
import shutil
import subprocess

import pytest
import requests
from conftest import PROGRAM, ROOT
from PIL import Image
from sdapi_client import TINY, Sdapi

SHIPPED = "realesr-animevideov3"
HIRES = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.3}


@pytest.fixture(scope="module")
def upscalers(serve_module):
    server = serve_module()
    folder = server.folder / "data" / "upscalers"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(ROOT / "engine" / "builtin" / f"{SHIPPED}.safetensors", folder / "deep" / "copy.safetensors")
    (folder / "broken.safetensors").write_bytes(b"nothing of the kind")
    shutil.copy(ROOT / "tests" / "golden" / "esrgan" / "golden.safetensors", folder / "other.safetensors")
    return server


@pytest.fixture(scope="module")
def api(upscalers):
    return Sdapi(upscalers.url)


def pixels(png):
    return Image.open(io.BytesIO(png)).convert("RGB").tobytes()


def second_pass(api, upscaler):
    body = api.post("txt2img", {**TINY, **HIRES, "prompt": "a red circle", "hr_upscaler": upscaler})
    return pixels(base64.b64decode(body["images"][0])), json.loads(body["info"])["infotexts"][0]


def test_lists(api, upscalers):
    names = [x["name"] for x in api.get("upscalers")]
    assert names == ["None", "Lanczos", "Nearest", SHIPPED, "broken", "deep/copy", "other"]
    field = requests.get(upscalers.url + "/api/schema").json()["properties"]["hires_upscaler"]
    assert {"Latent", "Lanczos", SHIPPED, "deep/copy"} <= set(field["examples"])


def test_second_pass(api):
    shipped, text = second_pass(api, SHIPPED.upper())
    assert f"Hires upscaler: {SHIPPED}" in text
    copy, text = second_pass(api, "deep/copy")
    assert "Hires upscaler: deep/copy" in text
    assert shipped == copy == second_pass(api, "copy")[0] != second_pass(api, "Lanczos")[0]


@pytest.mark.parametrize("name", ["nope", "", "../data/upscalers/broken", "x" * 300])
def test_unknown(api, upscalers, name):
    answer = requests.post(f"{upscalers.url}/sdapi/v1/txt2img",
                           json={**TINY, **HIRES, "prompt": "a", "hr_upscaler": name})
    assert answer.status_code in (422, 500)
    if answer.status_code == 500:
        assert f"could not find upscaler named {name[:100]}" in answer.text
    job = {"prompt": "a", "width": 64, "height": 64, "hires_width": 128, "hires_height": 128,
           "hires_upscaler": name or "nope"}
    answer = requests.post(upscalers.url + "/api/jobs", json=job)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "hires_upscaler"
    del job["hires_width"], job["hires_height"]  # what is not used may be anything
    assert name == "x" * 300 or requests.post(upscalers.url + "/api/jobs", json=job).status_code == 202


@pytest.mark.parametrize("name, why", [("broken", "too short|safetensors|header|size"),
                                       ("other", "not an upscaler that pictor runs")])
def test_files_that_are_none(api, upscalers, name, why):
    answer = requests.post(f"{upscalers.url}/sdapi/v1/txt2img",
                           json={**TINY, **HIRES, "prompt": "a", "hr_upscaler": name})
    assert answer.status_code >= 400 and f"upscaler {name}" in answer.text, answer.text
    assert any(word in answer.text for word in why.split("|")), answer.text
    assert second_pass(api, SHIPPED)


def test_command_line(upscalers, tmp_path):
    def paint(upscaler):
        out = tmp_path / "out.png"
        done = subprocess.run(
            [PROGRAM, "generate", "-p", "a red circle", "--steps", "2", "--width", "64", "--height",
             "64", "--hires", "128x128", "--hires-upscaler", upscaler, "--seed", "3", "-o", str(out),
             f"--data={upscalers.folder / 'data'}"], capture_output=True, text=True, cwd=tmp_path)
        return (pixels(out.read_bytes()) if done.returncode == 0 else None), done.stderr
    assert paint("copy")[0] == paint(SHIPPED)[0] != paint("Nearest")[0]
    assert "upscaler" in paint("nope")[1]
