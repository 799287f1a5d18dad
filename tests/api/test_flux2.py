"""FLUX.2 through the server: a folder and a transformer alone paint alike, edits are shown every picture
that comes with them, and a missing part is named."""
import time

import pytest
import requests
from openai_client import OpenAI, gradient, png
from test_sdxl import GOLDEN, read, write
from tiny_flux2 import FLUX2, ROWS, WIDTH, make_klein, table

FORM = {"prompt": "a red apple", "seed": "7", "size": "96x64"}
server_folders = []


@pytest.fixture(scope="module")
def server(serve_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_klein(folder)
    server_folders.append(folder)
    (folder / "unet").mkdir()
    (folder / "unet" / "alone.safetensors").write_bytes((FLUX2 / "bfl.safetensors").read_bytes())
    return serve_module(f"--model-paths={folder}", "--default-model=klein")


@pytest.fixture(scope="module")
def klein_folder(server):
    return server_folders[0]


@pytest.fixture(scope="module")
def ai(server):
    return OpenAI(server.url)


def edit(ai, *pictures, **fields):
    files = [("image[]", (f"{i}.png", data, "image/png")) for i, data in enumerate(pictures)]
    return ai.answer(path="/v1/images/edits", files=files, data={**FORM, **fields})["data"]


def test_paints_and_edits(ai):
    first, second = png(gradient(96, 64)), png(gradient(80, 96).transpose(0))
    painted = ai.answer({**FORM, "seed": 7})["data"]
    one, two = edit(ai, first), edit(ai, first, second)
    assert one != painted, "it is shown the picture"
    assert two != one, "it is shown the second one"
    assert edit(ai, second, first) != two, "in their order"
    assert edit(ai, first, second) == two, "the same words, seed and pictures: the same bytes"
    assert edit(ai, first, strength="0.5") not in (one, painted), "with less strength it is painted over"


def test_too_many_pictures(ai):
    files = [("image[]", (f"{i}.png", png(gradient(96, 64)), "image/png")) for i in range(11)]
    ai.error(400, "array_above_max_length", "image", path="/v1/images/edits", files=files, data=FORM)


def test_a_sampler_for_others_is_refused(ai):
    message = ai.error(400, "invalid_value", "sampler", {**FORM, "seed": 7, "sampler": "DDIM"})
    assert "flow models" in str(message)


def test_a_missing_part_is_named(ai):
    message = ai.error(400, None, "model", {**FORM, "seed": 7, "model": "alone"})
    assert "qwen_3_4b" in str(message)


def test_tokens(server, ai):
    def count(status=200, **body):
        answer = requests.post(server.url + "/api/tokens", json=body, timeout=60)
        assert answer.status_code == status, answer.text
        return answer.json()
    said = count(prompt="a red cube, 12", negative_prompt="")
    assert said["reason"] is None and said["negative_prompt"]["tokens"] == 0
    # Qwen's pieces: "a", " red", " cube", ",", " ", "1", "2".
    whole = {"cut": None, "tokens": 7, "chunks": 1, "texts": 1}
    most = said["prompt"]["most"]
    assert said["prompt"] == {**whole, "chunk_tokens": most, "most": most} and 2000 < most < 2048
    assert count(prompt="<|im_end|>")["prompt"]["tokens"] > 1, "it is text"
    long = count(prompt="cube " * (most + 10))["prompt"]
    assert long["tokens"] == most and long["cut"].split() == ["cube"] * 10
    for path, body in (("/api/jobs", {}), ("/v1/images/generations", {})):
        answer = requests.post(server.url + path, timeout=60,
                               json={"prompt": "cube " * (most + 10), **body})
        error = answer.json()["error"]
        assert answer.status_code in (400, 413) and error["param"] == "prompt", answer.text
        assert f"at most {most} tokens" in error["message"]


def test_the_encoder_of_the_right_size(server, ai, klein_folder):
    """Of two that are there the one whose words the network takes."""
    encoders = klein_folder / "text_encoders"
    encoders.mkdir()
    (encoders / "qwen_3_4b.safetensors").write_bytes((GOLDEN / "qwen3/model.safetensors").read_bytes())
    write(encoders / "qwen_3_8b.safetensors", {
        **read(FLUX2 / "text_encoder/model-00001-of-00002.safetensors"),
        "model.embed_tokens.weight": ("F32", [ROWS, WIDTH], table().tobytes())})
    (klein_folder / "vae").mkdir()
    (klein_folder / "vae/flux2-vae.safetensors").write_bytes(
        (FLUX2 / "vae/diffusion_pytorch_model.safetensors").read_bytes())
    end = time.monotonic() + 30
    body = {**FORM, "seed": 7, "model": "alone"}
    while (answer := ai.request("POST", "/v1/images/generations", json=body)).status_code != 200:
        assert time.monotonic() < end, answer.text
        time.sleep(0.3)
