"""Previews by a tiny autoencoder, where one is found, and fast ones everywhere else."""
import base64
import io
import json
import os
import shutil

import pytest
import requests
from conftest import ROOT
from PIL import Image
from test_native import Native

GOLDEN = ROOT / "tests" / "golden"


def previews(server, **fields):
    """Their sizes, and the picture's file."""
    native = Native(server.url)
    body = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 4, "seed": 1, "preview_every": 1, **fields}
    with requests.get(server.url + "/api/events", stream=True, timeout=60) as stream:
        job = native.post("/api/jobs", body, status=202)
        sizes, lines = [], stream.iter_lines()
        for line in lines:
            if not line.startswith(b"data: "):
                continue
            data = json.loads(line[6:])
            if data.get("preview"):
                picture = base64.b64decode(data["preview"].split(",")[-1])
                sizes.append(Image.open(io.BytesIO(picture)).size)
            if job["id"] in line.decode() and b'"done"' in line:
                break
    job = native.finish(native.get("/api/jobs/" + job["id"]))
    return sizes, native.request("GET", job["images"][0]["url"]).content


@pytest.mark.parametrize("where", ["", "/extra_model_paths.yaml"])
def test_taesd_in_a_list_of_folders(serve, tmp_path, where):
    """ComfyUI's extra_model_paths.yaml, or the folder that it lies in."""
    root, there = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (root, there / "tiny", there / "nets"):
        folder.mkdir(parents=True)
    (root / "extra_model_paths.yaml").write_text(
        f"comfyui:\n    base_path: {there}\n    checkpoints: nets\n    vae_approx: tiny\n")
    shutil.copy(GOLDEN / "tiny" / "tiny-ldm.safetensors", there / "nets" / "tiny.safetensors")
    shutil.copy(GOLDEN / "tae" / "weights.safetensors", there / "tiny" / "taesd_decoder.safetensors")
    tiny, _ = previews(serve(f"--model-paths={root}{where}", "--default-model=tiny", "--previews=taesd"))
    assert tiny and set(tiny) == {(256, 256)}


@pytest.mark.parametrize("folder", ["VAE-approx", "models/vae_approx"])
def test_taesd(serve, tmp_path, folder):
    models = tmp_path / "root" / "models" / "checkpoints"
    (tmp_path / "root" / folder).mkdir(parents=True)
    models.mkdir(parents=True, exist_ok=True)
    shutil.copy(GOLDEN / "tiny" / "tiny-ldm.safetensors", models / "tiny.safetensors")
    shutil.copy(GOLDEN / "tae" / "weights.safetensors", tmp_path / "root" / folder / "taesd_decoder.safetensors")
    common = [f"--model-paths={tmp_path / 'root'}", "--default-model=tiny"]
    fast, picture = previews(serve(*common))
    server = serve(*common, "--previews=taesd")
    tiny, same = previews(server)
    assert picture == same
    assert fast and set(fast) == {(32, 32)}  # a latent, four times
    assert tiny and set(tiny) == {(256, 256)}  # a picture, four times
    assert set(previews(server, model="pictor-mini")[0]) == {(32, 32)}
    decoder = tmp_path / "root" / folder / "taesd_decoder.safetensors"
    decoder.write_bytes(b"nothing of the kind")
    broken, same = previews(server)
    assert picture == same and set(broken) == {(32, 32)} and "previews_are_fast" in server.log()
    decoder.unlink()
    os.mkfifo(decoder)  # whose opening waits for a writer
    assert previews(server)[1] == picture
