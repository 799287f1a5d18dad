"""Named pieces of prompts, and comments in them, in every API but the WebUI's (test_sdapi_*)."""
import io
import json
import subprocess

import pytest
from PIL import Image
from conftest import PROGRAM
from openai_client import OpenAI
from test_native import Native

CSV = 'name,prompt,negative_prompt\nink,"{prompt}, in ink",blue\nplain,on white,\n"a, b",x,y\n'
TINY = {"size": "64x64", "steps": 2, "seed": 1}


@pytest.fixture(scope="module")
def server(serve_module, tmp_path_factory):
    file = tmp_path_factory.mktemp("styles") / "styles.csv"
    file.write_text(CSV)
    server = serve_module(f"--styles={file}")
    server.styles = file
    return server


def test_native(server):
    api = Native(server.url)
    assert api.get("/api/info")["styles"] == ["ink", "plain", "a, b"]
    p = api.submit(prompt="a cat", negative_prompt="red", styles=["ink", "plain"], hires_width=128, hires_height=128,
                   hires_prompt="a dog")["params"]
    assert p["prompt"] == "a cat, in ink, on white" and p["negative_prompt"] == "red, blue"
    assert p["hires_prompt"] == "a dog, in ink, on white" and p["hires_negative_prompt"] is None
    p = api.submit(prompt="a cat # black\nand a dog", styles=["plain"], prompt_comments=True)["params"]
    assert p["prompt"] == "a cat \nand a dog, on white"
    assert api.submit(prompt="a #1 cat", styles=[])["params"]["prompt"] == "a #1 cat"
    for styles, said in ((["none"], 'there is no style "none"'), ([3], "not a text"), ("ink", "must be a list"),
                         (["ink"] * 65, "at most 64")):
        error = api.post("/api/jobs", {"prompt": "a cat", "styles": styles}, 400)
        assert error["param"] == "styles" and said in error["message"]


def test_openai(server):
    ai = OpenAI(server.url)

    def text(**fields):
        data, = ai.images({**TINY, "response_format": "b64_json", **fields})
        return Image.open(io.BytesIO(data)).text["parameters"]

    assert text(prompt="a cat # x", styles=["ink"], prompt_comments=True).startswith("a cat \n\nNegative prompt: blue\n")
    assert text(prompt="a cat", styles=["ink"]).startswith("a cat, in ink\nNegative prompt: blue\n")
    assert text(prompt="a #1 cat").startswith("a #1 cat\n")
    ai.error(400, "invalid_value", "styles", {**TINY, "prompt": "a cat", "styles": ["none"]})


def test_command(server, tmp_path):
    def run(*words, status=0):
        done = subprocess.run([PROGRAM, "generate", "-q", f"--styles={server.styles}", "--width=64", "--height=64",
                               "--steps=1", "-o", "out.png", *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return Image.open(tmp_path / "out.png").text["parameters"] if status == 0 else done.stderr

    assert run("-p", "a cat", "--style=ink", "--style", "a, b").startswith("a cat, in ink, x\nNegative prompt: blue, y\n")
    assert run("-p", "a cat # x", "--prompt-comments").startswith("a cat \n\nSteps")
    assert 'there is no style "none"' in run("-p", "a cat", "--style=none", status=1)
