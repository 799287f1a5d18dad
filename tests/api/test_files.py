"""GET /api/files: files of every kind, what their headers and what lies beside them say."""
import json
import os
import shutil

import pytest
import requests
from conftest import ROOT

LORA = ROOT / "tests/golden/lora/peft.safetensors"
PNG = ROOT / "tests/golden/things.png"


@pytest.fixture(scope="module")
def server(serve_module, tmp_path_factory):
    webui = tmp_path_factory.mktemp("webui")
    loras = webui / "models/Lora"
    (loras / "anime").mkdir(parents=True)
    for name in ("anime/ink", "plain", "civit"):
        shutil.copy(LORA, loras / f"{name}.safetensors")
    (webui / "models/Stable-diffusion").mkdir()
    shutil.copy(LORA, webui / "models/Stable-diffusion/stray.safetensors")
    (loras / "page.safetensors").write_bytes(b"<!DOCTYPE html><html>")
    (loras / "anime/ink.json").write_text(json.dumps({
        "activation text": "ink style", "description": "Lines\nof ink", "sd version": "SDXL",
        "preferred weight": 0.8}))
    shutil.copy(PNG, loras / "anime/ink.preview.png")
    (loras / "civit.civitai.info").write_text(json.dumps({
        "trainedWords": ["one", "two"], "baseModel": "SD 1.5", "model": {"description": "<p>Made of <b>things</b></p>"}}))
    (loras / "plain.json").write_text("{broken")
    return serve_module(f"--model-paths={webui}")


def ask(server, path, status=200):
    answer = requests.get(server.url + path, timeout=30)
    assert answer.status_code == status, answer.text
    return answer


def files(server, query="kind=lora"):
    return {f["name"]: f for f in ask(server, f"/api/files?{query}").json()["files"]}


def test_what_lies_beside_is_shown(server):
    found = files(server)
    assert sorted(found) == ["anime/ink", "civit", "page", "plain", "stray"]
    ink = found["anime/ink"]
    assert ink["trigger"] == "ink style" and ink["description"] == "Lines of ink" and ink["base"] == "SDXL"
    assert ink["weight"] == 0.8 and ink["preview"] and ink["problem"] is None and ink["bytes"] == LORA.stat().st_size
    civit = found["civit"]
    assert civit["trigger"] == "one, two" and civit["description"] == "Made of things"
    assert civit["base"] == "SD 1.5" and civit["weight"] is None and not civit["preview"]
    assert found["plain"]["trigger"] is None and found["plain"]["description"] is None
    assert "web page" in found["page"]["problem"]
    assert str(server.folder) not in json.dumps(found)


def test_a_part_of_the_list(server):
    assert list(files(server, "kind=lora&limit=2&offset=1")) == ["civit", "page"]
    answer = ask(server, "/api/files?kind=lora&q=INK").json()
    assert [f["name"] for f in answer["files"]] == ["anime/ink"] and answer["count"] == 1
    assert files(server, "kind=vae") == {}


def test_preview(server):
    answer = ask(server, "/api/files/preview?kind=lora&name=anime/ink")
    assert answer.content == PNG.read_bytes() and answer.headers["Content-Type"] == "image/png"
    assert "beside" in ask(server, "/api/files/preview?kind=lora&name=plain", 404).json()["error"]["message"]
    ask(server, "/api/files/preview?kind=lora&name=", 400)
    for name in ("gone", "../../etc/passwd"):
        ask(server, f"/api/files/preview?kind=lora&name={name}", 404)


def test_models_have_them_too(serve, tmp_path):
    shutil.copy(ROOT / "tests/golden/tiny/tiny-ldm.safetensors", tmp_path / "tiny.safetensors")
    shutil.copy(PNG, tmp_path / "tiny.png")
    (tmp_path / "tiny.civitai.info").write_text('{"trainedWords": ["w"], "baseModel": "SD 1.5"}')
    server = serve(f"--models={tmp_path}")
    found = {m["name"]: m for m in ask(server, "/api/models").json()["models"]}
    tiny, own = found["tiny"], found["pictor-mini"]
    assert tiny["trigger"] == "w" and tiny["base"] == "SD 1.5" and tiny["preview"] and tiny["description"] is None
    assert own["preview"] is False and own["trigger"] is None
    answer = ask(server, "/api/files/preview?kind=model&name=tiny")
    assert answer.content == PNG.read_bytes()
    for name in ("pictor-mini", "gone"):
        ask(server, f"/api/files/preview?kind=model&name={name}", 404)


@pytest.mark.parametrize("query", ["", "kind=model", "kind=lora&limit=1000", "kind=lora&offset=x", "kind=lora&x=1"])
def test_wrong_questions(server, query):
    ask(server, f"/api/files?{query}", 400)


def test_the_webuis_list_has_them_too(server):
    listed = {x["name"]: x for x in ask(server, "/sdapi/v1/loras").json()}
    assert listed["ink"]["metadata"]["activation text"] == "ink style"
    assert listed["ink"]["metadata"]["preferred weight"] == 0.8
    assert listed["plain"]["metadata"] == {}


def test_a_folder_that_cannot_be_read_hides_no_other(serve, tmp_path):
    """A file in the place of a folder, as a wrong mount leaves it, also for root."""
    own = tmp_path / "loras"
    own.mkdir()
    shutil.copy(LORA, own / "mine.safetensors")
    (tmp_path / "webui/models/VAE").mkdir(parents=True)
    (tmp_path / "webui/models/Lora").write_text("")
    server = serve(f"--loras={own}", f"--model-paths={tmp_path / 'webui'}")
    assert list(files(server)) == ["mine"]


def test_a_pipe_beside_a_file_keeps_nobody_waiting(serve, tmp_path):
    shutil.copy(LORA, tmp_path / "ink.safetensors")
    os.mkfifo(tmp_path / "ink.json")
    server = serve(f"--loras={tmp_path}")
    assert files(server)["ink"]["trigger"] is None


def test_a_model_that_moves_is_painted_with(serve, tmp_path):
    """To another folder on one disk: the file is the one that was known, its path is not."""
    models, webui = tmp_path / "models", tmp_path / "webui/models/Stable-diffusion"
    models.mkdir()
    webui.mkdir(parents=True)
    shutil.copy(ROOT / "tests/golden/tiny/tiny-ldm.safetensors", models / "tiny.safetensors")
    server = serve(f"--models={models}", f"--model-paths={tmp_path / 'webui'}", "--idle-unload-seconds=1")
    body = {"prompt": "p", "size": "64x64", "model": "tiny", "response_format": "b64_json"}
    assert requests.post(server.url + "/v1/images/generations", json=body, timeout=60).ok
    os.rename(models / "tiny.safetensors", webui / "tiny.safetensors")
    requests.post(server.url + "/sdapi/v1/refresh-checkpoints", timeout=30)
    requests.post(server.url + "/sdapi/v1/unload-checkpoint", timeout=30)
    answer = requests.post(server.url + "/v1/images/generations", json=body, timeout=60)
    assert answer.ok, answer.text


def test_wildcards_are_listed(serve, tmp_path):
    (tmp_path / "style").mkdir()
    for name in ("color", "style/ink"):
        (tmp_path / f"{name}.txt").write_text("red\n")
    server = serve(f"--wildcards={tmp_path}")
    answer = ask(server, "/api/files?kind=wildcard").json()
    assert answer == {"files": [{"name": "color"}, {"name": "style/ink"}], "count": 2}
    assert ask(server, "/api/files?kind=wildcard&q=INK&limit=1").json() == {"files": [{"name": "style/ink"}], "count": 1}
    assert ask(server, "/api/files?kind=wildcard&offset=1").json()["files"] == [{"name": "style/ink"}]
    ask(server, "/api/files?kind=wildcard&limit=x", 400)
    empty = serve(f"--wildcards={tmp_path / 'none'}")
    assert ask(empty, "/api/files?kind=wildcard").json() == {"files": [], "count": 0}
