"""What the files of the models folder say is known before they are opened, and so is what is none."""
import hashlib
import json
import os
import shutil

import pytest
import requests
from conftest import ROOT
from openai_client import wait_for
from test_native import Native

MINI = ROOT / "engine/builtin/pictor-mini.safetensors"


def small(tensor):
    """A sound file of one tensor."""
    head = json.dumps({tensor: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(head).to_bytes(8, "little") + head + bytes(4)


OTHERS = {
    "page": (b"<!DOCTYPE html><html><p>sign in</p></html>", "a web page (HTML)"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a Git LFS pointer"),
    "pickle": (b"\x80\x02}q\x00." + bytes(60), "none that PyTorch wrote"),
    "zip": (b"PK\3\4" + bytes(60), "a zip archive without its directory"),
    "gguf": (b"GGUF" + bytes(60), "GGUF of version 0"),
    "empty": (b"", "empty"),
    "short": (b"\x40\0\0\0\0\0\0\0{", "cut short"),
    "flux": (small("double_blocks.0.img_attn.qkv.weight"), "neither FLUX.1 nor FLUX.2"),
}


def fill(data):
    models = data / "models"
    models.mkdir(parents=True)
    shutil.copy(MINI, models / "copy.safetensors")
    for name, (content, _) in OTHERS.items():
        (models / (name + ".safetensors")).write_bytes(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    data = tmp_path_factory.mktemp("models")
    fill(data)
    return data


def listed(url):
    return {m["name"]: m for m in requests.get(url + "/api/models").json()["models"]}


@pytest.fixture(scope="module")
def server_with_others(serve_module, folder):
    return serve_module(f"--data={folder}")


def test_same_picture_first_and_later_and_after_a_restart(serve, folder):
    pictures = []
    for _ in range(2):
        server = serve(f"--data={folder}")
        models = listed(server.url)
        assert not models["copy"]["loaded"]
        for field in ("architecture", "title", "width", "height", "guidance", "steps"):
            assert models["copy"][field] == models["pictor-mini"][field], field
        for _ in range(2):
            job = requests.post(server.url + "/sdapi/v1/txt2img", timeout=60, json={
                "prompt": "a red circle", "seed": 1, "steps": 2, "width": 64, "height": 64,
                "override_settings": {"sd_model_checkpoint": "copy"}})
            assert job.status_code == 200
            job = requests.post(server.url + "/v1/images/generations", timeout=60, json={
                "prompt": "a red circle", "model": "copy", "seed": 1, "steps": 2})
            assert job.status_code == 200, job.text
            pictures.append((job.json()["size"], job.json()["data"][0]["b64_json"]))
        server.stop()
    assert pictures[0][0] == "256x256" and len(set(pictures)) == 1


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_model_is_named(server_with_others, folder, name):
    server = server_with_others
    assert OTHERS[name][1] in listed(server.url)[name]["problem"]
    for path, body in (("/api/jobs", {"model": name}), ("/v1/images/generations", {"model": name}),
                       ("/sdapi/v1/txt2img", {"override_settings": {"sd_model_checkpoint": name}})):
        answer = requests.post(server.url + path, json={"prompt": "a", **body})
        assert answer.status_code in (400, 422), (path, answer.text)
        assert OTHERS[name][1] in answer.text and str(folder) not in answer.text, path


def test_unknown_models(server_with_others):
    server = server_with_others
    for path in ("/api/jobs", "/v1/images/generations"):
        answer = requests.post(server.url + path, json={"prompt": "a", "model": "nope"})
        assert answer.status_code == 404 and "nope" in answer.text


def test_a_file_that_is_replaced_while_it_paints(serve, tmp_path):
    """Each picture's text has the hash of the file that painted it."""
    file, other = tmp_path / "models" / "tiny.safetensors", tmp_path / "other"
    file.parent.mkdir()
    shutil.copy(ROOT / "tests/golden/tiny/tiny-ldm.safetensors", file)
    data = bytearray(file.read_bytes())
    data[-2] ^= 1  # in the last of its weights
    other.write_bytes(data)
    server = serve(f"--models={file.parent}", "--default-model=tiny")
    api = Native(server.url)
    hashes = [hashlib.sha256(f.read_bytes()).hexdigest()[:10] for f in (file, other)]

    def texts(job):
        return [image["infotext"] for image in job["images"]]

    wait_for(lambda: f"Model hash: {hashes[0]}" in texts(api.done())[0])
    job = api.submit(width=128, height=128, steps=30, count=4)
    wait_for(lambda: api.job(job["id"])["images"])
    os.replace(other, file)
    assert requests.post(server.url + "/sdapi/v1/refresh-checkpoints", timeout=60).status_code == 200
    assert api.job(job["id"])["state"] == "running"
    assert all(f"Model hash: {hashes[0]}" in text for text in texts(api.finish(job)))
    wait_for(lambda: f"Model hash: {hashes[1]}" in texts(api.done())[0])
