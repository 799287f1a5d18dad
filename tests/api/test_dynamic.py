"""Prompts that choose, in every API: by the picture's seed, once, and written down."""
import base64
import io
import json
import re
import subprocess
import time

import pytest
import requests
from conftest import PROGRAM
from PIL import Image
from sdapi_client import Sdapi
from test_loras import pixels, write_lora, UNET

SMALL = {"width": 64, "height": 64, "steps": 1, "cfg_scale": 1, "sampler_name": "Euler"}
COLORS = ("red", "blue", "green", "yellow")
TEMPLATE = "a {red|blue|green|yellow} {circle|square}"


def fill(folder):
    (folder / "style").mkdir(parents=True, exist_ok=True)
    (folder / "color.txt").write_text("# colours\nred\nblue\n\ngreen\nyellow\n")
    (folder / "style" / "ink.txt").write_text("in {black|blue} ink\n")
    (folder / "self.txt").write_text("__self__\n")


@pytest.fixture(scope="module")
def server(serve_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wildcards")
    fill(folder)
    server = serve_module(f"--wildcards={folder}")
    write_lora(server.folder / "data" / "loras" / "red.safetensors", "lora_unet_", UNET, "attn2.to_v", 1)
    return server


@pytest.fixture(scope="module")
def api(server):
    return Sdapi(server.url)


def paint(api, prompt, **fields):
    body = api.post("txt2img", {**SMALL, "prompt": prompt, **fields})
    return [pixels(base64.b64decode(i)) for i in body["images"]], json.loads(body["info"])


def job_of(server, **fields):
    answer = requests.post(server.url + "/api/jobs", timeout=60, json={
        "width": 64, "height": 64, "steps": 1, "guidance": 1, "sampler": "Euler", **fields})
    assert answer.status_code in (200, 201, 202), answer.text
    job = answer.json()
    while job["state"] in ("queued", "running"):
        time.sleep(0.03)
        job = requests.get(f"{server.url}/api/jobs/{job['id']}", timeout=60).json()
    assert job["state"] == "done", job
    return job


def infotext(server, image):
    png = requests.get(f"{server.url}/api/images/{image['id']}", timeout=60).content
    return Image.open(io.BytesIO(png)).text["parameters"], pixels(png)


def test_each_picture_has_its_own(api):
    images, info = paint(api, TEMPLATE, batch_size=8, seed=5, negative_prompt="{dark|light}")
    prompts = info["all_prompts"]
    assert len(set(prompts)) > 2
    for prompt, negative, text in zip(prompts, info["all_negative_prompts"], info["infotexts"]):
        assert re.fullmatch("a (red|blue|green|yellow) (circle|square)", prompt)
        assert negative in ("dark", "light")
        assert text.startswith(prompt + "\nNegative prompt: " + negative + "\n")
        assert f"Template: {TEMPLATE}" in text and "Negative Template: {dark|light}" in text
    assert info["prompt"] == prompts[0]
    # A picture's prompt is its seed's, however it was asked for, and what was chosen paints the same.
    for i in (0, 5):
        again, single = paint(api, TEMPLATE, seed=5 + i, negative_prompt="{dark|light}")
        assert single["prompt"] == prompts[i] and again[0] == images[i]
        plain, info = paint(api, prompts[i], seed=5 + i, negative_prompt=single["negative_prompt"])
        assert plain[0] == images[i] and "Template" not in info["infotexts"][0]


def test_wildcards(api):
    _, info = paint(api, "a __color__ circle, __style/ink__", batch_size=6, seed=1)
    assert all(re.fullmatch("a (red|blue|green|yellow) circle, in (black|blue) ink", p)
               for p in info["all_prompts"])
    assert len(set(info["all_prompts"])) > 2
    _, info = paint(api, "__style/*__, {2$$ and $$__color__}", seed=2)
    assert re.fullmatch(r"in (black|blue) ink, (\w+) and (?!\2)\w+", info["prompt"])


def test_loras_of_each_picture(api):
    images, info = paint(api, "a {red circle|green square}<lora:{red|gone}:1>", batch_size=8, seed=3)
    assert any("gone" in p for p in info["all_prompts"]) and any("lora:red" in p for p in info["all_prompts"])
    assert info["extra_generation_params"]["Ignored"] == "<lora:gone:1>"
    for i, prompt in enumerate(info["all_prompts"]):
        assert paint(api, prompt, seed=3 + i)[0][0] == images[i], prompt


def test_loras_in_a_list(server, api):
    """They are beside what each picture chose, as in the prompt."""
    tagged, said = paint(api, "a {red|blue} circle <lora:red:0.5>", batch_size=3, seed=3)
    plain, _ = paint(api, "a {red|blue} circle", batch_size=3, seed=3)
    for fields in ({"loras": [{"name": "red", "weight": 0.5}]}, {"lora": [{"path": "red", "multiplier": 0.5}]}):
        listed, info = paint(api, "a {red|blue} circle", batch_size=3, seed=3, **fields)
        assert listed == tagged != plain and info["all_prompts"] == said["all_prompts"]
    job = job_of(server, prompt="a {red|blue} circle", loras=["red"], count=3)
    assert all("<lora:red:1.0>" in infotext(server, i)[0] for i in job["images"])


def test_too_much(server):
    """Of work, and of what comes out, for all pictures and prompts together."""
    hard = "${x={900$$" + "|" * 4095 + "}}" + "${x}" * 70
    long = "{a|b}" + " " * 120_000
    for prompt, says in ((hard, "too much work"), (long, "together")):
        began = time.monotonic()
        answer = requests.post(server.url + "/api/jobs", timeout=120, json={
            "prompt": prompt, "negative_prompt": prompt, "count": 16, "width": 64, "height": 64})
        assert answer.status_code == 413 and says in answer.text, answer.text
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("prompt, says", [
    ("a __gone__ cat", "wildcard __gone__: there is no such file"),
    ("a __self__ cat", "wildcard __self__ names itself"),
    ("${nothing}", "there is no variable ${nothing}"),
])
def test_errors(server, api, prompt, says):
    for fields in ({"prompt": prompt}, {"prompt": "a cat", "negative_prompt": prompt}):
        answer = api.request("POST", "txt2img", json={**SMALL, **fields})
        assert 400 <= answer.status_code <= 500 and says in answer.text, answer.text
        answer = requests.post(server.url + "/api/jobs", json={"width": 64, "height": 64, **fields}, timeout=60)
        assert answer.status_code == 400 and says in answer.text, answer.text
    answer = requests.post(server.url + "/v1/images/generations", json={"prompt": prompt}, timeout=60)
    assert answer.status_code == 400 and says in answer.text, answer.text


@pytest.mark.parametrize("prompt", [
    "{{masterpiece}}, {best} quality", '{"subject": "a cat", "n": [1, 2]}', "[red|blue] circle",
    "[red:blue:0.5] circle", "a {", "50$ ${}", "x_y__z"])
def test_what_is_text_stays(api, prompt):
    _, info = paint(api, prompt, seed=1)
    assert info["prompt"] == prompt and "Template" not in info["infotexts"][0]


@pytest.mark.parametrize("prompt, kept", [
    ("a \\{red|blue\\} cat", "a \\{red|blue\\} cat"), ("{a|a} \\{red|blue\\}", "a \\{red|blue\\}"),
    ("{a|a} \\__color__", "a \\__color__")])
def test_a_recorded_prompt_chooses_no_more(api, prompt, kept):
    """Sent anew it is the same text, and paints what it is without its backslashes."""
    pixels, info = paint(api, prompt, seed=1)
    assert info["prompt"] == kept
    again, told = paint(api, kept, seed=1)
    assert again == pixels and told["prompt"] == kept
    assert paint(api, prompt.replace("{a|a}", "a").replace("\\", ""), seed=1)[1]["prompt"] != kept


def test_native(server):
    job = job_of(server, prompt=TEMPLATE, count=4, seed=40)
    texts = [infotext(server, i)[0] for i in job["images"]]
    assert all(f"Template: {TEMPLATE}" in t for t in texts) and len({t.split("\n")[0] for t in texts}) > 1
    assert job["params"]["prompt_template"] == TEMPLATE
    again = requests.post(f"{server.url}/api/jobs/{job['id']}/retry", timeout=60)
    if again.status_code != 404:
        other = again.json()
        while other["state"] in ("queued", "running"):
            time.sleep(0.03)
            other = requests.get(f"{server.url}/api/jobs/{other['id']}", timeout=60).json()
        assert [infotext(server, i) for i in other["images"]] == [infotext(server, i) for i in job["images"]]
    plain = job_of(server, prompt=TEMPLATE, syntax="plain", seed=40)
    assert infotext(server, plain["images"][0])[0].startswith(TEMPLATE + "\n")


def test_openai(server):
    answer = requests.post(server.url + "/v1/images/generations", timeout=120, json={
        "prompt": TEMPLATE, "size": "64x64", "steps": 1, "seed": 9, "response_format": "b64_json"}).json()
    text = Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))).text["parameters"]
    assert re.match("a (red|blue|green|yellow) (circle|square)\n", text) and f"Template: {TEMPLATE}" in text


def test_off(serve):
    server = serve("--dynamic-prompts=off")
    _, info = paint(Sdapi(server.url), TEMPLATE + " __color__", seed=1)
    assert info["prompt"] == TEMPLATE + " __color__"


def test_no_files(serve):
    _, info = paint(Sdapi(serve().url), "a __bold__ {red|red} circle", seed=1)
    assert info["prompt"] == "a __bold__ red circle"


def test_command_line(tmp_path):
    fill(tmp_path / "mine")
    subprocess.run([PROGRAM, "generate", "-q", "-p", "a __color__ circle", "-o", "a.png", "--steps=1", "--seed=3",
                    "--width=64", "--height=64", "--count=4", f"--wildcards={tmp_path / 'mine'}"], check=True,
                   cwd=tmp_path)
    texts = [Image.open(p).text["parameters"] for p in sorted(tmp_path.glob("a*.png"))]
    assert len(texts) == 4 and all("Template: a __color__ circle" in t for t in texts)
    assert len({t.split("\n")[0] for t in texts}) > 1
    bad = subprocess.run([PROGRAM, "generate", "-q", "-p", "a __gone__", "-o", "a.png",
                          f"--wildcards={tmp_path / 'mine'}"], capture_output=True, text=True, cwd=tmp_path)
    assert bad.returncode != 0 and "wildcard __gone__" in bad.stderr
