"""Textual inversions: a file's name in a prompt of any API stands for its vectors."""
import base64
import hashlib
import json
import shutil
import subprocess
import time

import pytest
import requests
from conftest import PROGRAM, ROOT
from sdapi_client import Sdapi
from test_loras import pixels
from test_sdxl import read, write

WORDS = ROOT / "tests" / "golden" / "words"
SMALL = {"prompt": "a red wordone", "width": 64, "height": 64, "steps": 2, "seed": 1, "cfg_scale": 7,
         "sampler_name": "Euler"}


def fill(folder):
    for name, to in (("wordone.pt", "wordone.pt"), ("wordtwo.bin", "people/wordtwo.bin"),
                     ("other.safetensors", "other.safetensors"), ("dual.safetensors", "forxl.safetensors"),
                     ("nan.safetensors", "nan.safetensors")):
        (folder / to).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(WORDS / name, folder / to)
    (folder / "broken.pt").write_bytes(b"nothing of the kind")
    shutil.copyfile(ROOT / "tests" / "golden" / "lora" / "kohya.safetensors", folder / "addon.safetensors")


@pytest.fixture(scope="module")
def server(serve_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    write(folder / "models" / "tiny.safetensors",
          read(ROOT / "tests" / "golden" / "tiny" / "tiny-ldm.safetensors"))
    fill(folder / "mine")
    return serve_module(f"--models={folder / 'models'}", f"--embeddings={folder / 'mine'}",
                        "--default-model=tiny")


@pytest.fixture(scope="module")
def api(server):
    return Sdapi(server.url)


def paint(api, prompt, **fields):
    body = api.post("txt2img", {**SMALL, "prompt": prompt, **fields})
    return pixels(base64.b64decode(body["images"][0])), json.loads(body["info"])


def test_list(server, api):
    listed = api.get("embeddings")
    assert listed["loaded"] == {
        "wordone": {"step": 500, "sd_checkpoint": "0123456789", "sd_checkpoint_name": "tiny", "shape": 64,
                    "vectors": 3},
        "wordtwo": {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": 64, "vectors": 1},
        "nan": {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": 64, "vectors": 2}}
    assert set(listed["skipped"]) == {"other", "forxl", "broken", "addon"}
    assert listed["skipped"]["other"]["shape"] == 96
    assert listed["skipped"]["broken"] == {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": 0,
                                           "vectors": 0}
    files = requests.get(server.url + "/api/files?kind=embedding", timeout=60).json()["files"]
    assert {f["name"]: f.get("vectors") for f in files} == {
        "wordone": 3, "people/wordtwo": 1, "other": 2, "forxl": 2, "nan": 2, "broken": None, "addon": None}
    assert {f["name"] for f in files if f["problem"]} == {"broken", "addon"}


def test_refresh(server, api, tmp_path_factory):
    folder = next(p for p in tmp_path_factory.getbasetemp().glob("embeddings*")) / "mine"
    api.get("embeddings")
    shutil.copyfile(WORDS / "params.safetensors", folder / "late.safetensors")
    try:
        api.post("refresh-embeddings", {})
        assert api.get("embeddings")["loaded"]["late"]["vectors"] == 3
    finally:
        (folder / "late.safetensors").unlink()
        api.post("refresh-embeddings", {})
    assert "late" not in api.get("embeddings")["loaded"]


def test_changes_the_picture_and_leaves_nothing_behind(api):
    plain, info = paint(api, "a red circle")
    assert "TI hashes" not in info["infotexts"][0]
    word, info = paint(api, "a red WordOne")
    digits = hashlib.sha256((WORDS / "wordone.pt").read_bytes()).hexdigest()[:12]
    assert f"TI hashes: \"wordone: {digits}\"" in info["infotexts"][0]
    assert info["prompt"] == "a red WordOne"
    assert paint(api, "a red embedding:wordone.pt")[0] == word
    assert paint(api, "a red (wordone:1.4)")[0] not in (plain, word)
    negative, info = paint(api, "a red circle", negative_prompt="wordtwo")
    assert negative != plain and "wordtwo: " in info["infotexts"][0]
    assert paint(api, "a red circle", negative_prompt="embedding:people/wordtwo")[0] == negative
    assert paint(api, "a red circle")[0] == plain


def test_one_for_another_model_is_named(api):
    plain, info = paint(api, "a red other")
    ignored = info["extra_generation_params"]["Ignored"]
    assert ignored == "embedding other (its vectors have 96 numbers, the model takes 64)"
    assert "TI hashes" not in info["infotexts"][0]
    _, info = paint(api, "forxl, addon")
    assert info["extra_generation_params"]["Ignored"] == (
        "embedding addon (it is a file of kind lora), "
        "embedding forxl (its vectors have 64 and 64 numbers, the model takes 64)")


@pytest.mark.parametrize("prompt, says", [
    ("a broken cup", "embedding broken: "),
    ("a nan cup", "embedding nan: number 0 of its vectors is none"),
])
def test_errors(server, api, prompt, says):
    for negative in (False, True):
        fields = {"negative_prompt": prompt} if negative else {"prompt": prompt}
        answer = api.request("POST", "txt2img", json={**SMALL, **fields})
        assert 400 <= answer.status_code <= 500 and says in answer.text, answer.text
        assert "/mine" not in answer.text
    assert paint(api, "a red circle")


def test_length_counts_vectors(server, api):
    answer = requests.post(server.url + "/api/jobs", timeout=60, json={
        "prompt": "wordone " * 5401, "width": 64, "height": 64, "steps": 1})
    assert answer.status_code in (400, 413) and "at most 16200 tokens" in answer.text, answer.text


def test_other_apis(server, api, tmp_path):
    word = paint(api, "a red wordone")[0]
    body = {"prompt": "a red wordone", "size": "64x64", "steps": 2, "seed": 1, "guidance_scale": 7,
            "sampler": "Euler", "response_format": "b64_json"}
    answer = requests.post(server.url + "/v1/images/generations", timeout=120, json=body).json()
    assert pixels(base64.b64decode(answer["data"][0]["b64_json"])) == word
    job = requests.post(server.url + "/api/jobs", timeout=60, json={
        "prompt": "a red wordone", "width": 64, "height": 64, "steps": 2, "seed": 1, "guidance": 7,
        "sampler": "Euler"}).json()
    while job["state"] in ("queued", "running"):
        time.sleep(0.05)
        job = requests.get(f"{server.url}/api/jobs/{job['id']}", timeout=60).json()
    assert job["state"] == "done", job
    assert pixels(requests.get(f"{server.url}/api/images/{job['images'][0]['id']}", timeout=60).content) == word


def test_command_line(tmp_path):
    fill(tmp_path / "mine")
    write(tmp_path / "tiny.safetensors", read(ROOT / "tests" / "golden" / "tiny" / "tiny-ldm.safetensors"))
    pictures = []
    for prompt in ("a red wordone", "a red embedding:wordone", "a red circle"):
        out = tmp_path / "a.png"
        subprocess.run([PROGRAM, "generate", "-q", "-p", prompt, "-o", out, "--steps=2", "--seed=1",
                        "--width=64", "--height=64", "--model=./tiny.safetensors",
                        f"--embeddings={tmp_path / 'mine'}"], check=True, cwd=tmp_path)
        pictures.append(pixels(out.read_bytes()))
    assert pictures[0] == pictures[1] != pictures[2]
