"""FLUX.1 and Stable Diffusion 3 through the server: a transformer with its parts beside it and a file with all in it
paint alike, a vocabulary is found, and what is missing is named."""
import array
import base64
import io
import shutil
import time

import pytest
from PIL import Image
from openai_client import OpenAI
from test_containers import write_gguf
from test_sdxl import GOLDEN, read, write
from torchfile import Tensor

FORM = {"prompt": "a red rabbit with a watch", "seed": 7, "size": "96x64", "steps": 3}
FIRST = "cond_stage_model.transformer."
ROWS, WIDTH = 49408, 32


def clip(which):
    """A CLIP of sd3/ with its table of tokens: tests/golden/README.md."""
    numbers = ((i * 7 + k * (13 + which) + i * k) % 61 - 30 for i in range(ROWS) for k in range(WIDTH))
    table = array.array("f", (n / 32 for n in numbers))
    weights = read(GOLDEN / "sd3" / f"clip_{'lg'[which]}.safetensors")
    weights["text_model.embeddings.token_embedding.weight"] = ("F32", [ROWS, WIDTH], table.tobytes())
    return weights


def prefixed(prefix, weights):
    return {prefix + k: v for k, v in weights.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """ComfyUI's folders."""
    folder = tmp_path_factory.mktemp("comfy")
    for name in ("unet", "clip", "vae", "checkpoints"):
        (folder / name).mkdir()
    flux, t5, ae = GOLDEN / "flux1", GOLDEN / "t5", read(GOLDEN / "flux1" / "ae.safetensors")
    network = read(flux / "bfl.safetensors")
    first = {k.removeprefix(FIRST): v for k, v in read(GOLDEN / "tiny" / "tiny-ldm.safetensors").items()
             if k.startswith(FIRST) and v[0] != "I64"}
    shutil.copy(flux / "bfl.safetensors", folder / "unet" / "dev.safetensors")
    schnell = {k: v for k, v in network.items() if "guidance" not in k}
    write_gguf({k: Tensor(*v) for k, v in schnell.items()}, folder / "unet" / "schnell.gguf")
    shutil.copy(t5 / "model.safetensors", folder / "clip" / "t5xxl_fp16.safetensors")
    shutil.copy(t5 / "spiece.model", folder / "clip" / "spiece.model")
    shutil.copy(flux / "ae.safetensors", folder / "vae" / "ae.safetensors")
    write(folder / "clip" / "clip_l.safetensors", first)
    write(folder / "checkpoints" / "whole.safetensors", {
        **prefixed("model.diffusion_model.", network), **prefixed("vae.", ae),
        **prefixed("text_encoders.clip_l.transformer.", first),
        **prefixed("text_encoders.t5xxl.transformer.", read(t5 / "model.safetensors"))})
    # As Stability publishes it: with its VAE, without what reads words.
    write(folder / "checkpoints" / "medium.safetensors",
          {**read(GOLDEN / "sd3" / "medium.safetensors"), **prefixed("first_stage_model.", ae)})
    write(folder / "clip" / "medium.text_encoder.safetensors", clip(0))
    write(folder / "clip" / "medium.text_encoder_2.safetensors", clip(1))
    return folder


@pytest.fixture(scope="module")
def ai(serve_module, folder):
    return OpenAI(serve_module(f"--model-paths={folder}", "--default-model=dev").url)


def paint(ai, **fields):
    data = ai.answer({**FORM, **fields})["data"][0]["b64_json"]
    return Image.open(io.BytesIO(base64.b64decode(data))).tobytes()


def test_parts_and_whole_paint_alike(ai):
    alone = paint(ai)
    assert paint(ai, model="whole") == alone
    assert paint(ai, guidance_scale=1) != alone, "it is told its guidance"
    assert paint(ai, negative_prompt="a pear") == alone, "and is not led away from anything"


def test_gguf(ai):
    painted = paint(ai, model="schnell")
    assert painted != paint(ai)
    assert paint(ai, model="schnell", prompt="a wife") != painted


def test_defaults_reach_the_lists(ai):
    models = {m["name"]: m for m in ai.request("GET", "/api/models").json()["models"]}
    dev, schnell, medium = models["dev"], models["schnell"], models["medium"]
    assert dev["architecture"] == models["whole"]["architecture"] == "flux1" and medium["architecture"] == "sd3"
    usual = [(m["steps"], m["guidance"], m["width"]) for m in (dev, schnell, medium)]
    assert usual == [(28, 3.5, 1024), (4, 1, 1024), (28, 4.5, 1024)]


def test_sd3_beside_its_text_encoders(ai):
    spoken = paint(ai, model="medium")
    assert paint(ai, model="medium", negative_prompt="a watch") != spoken


def test_a_prompt_that_is_too_long_is_not_queued(ai):
    """By T5's own words, of both passes; and by CLIP's chunks, whose states Stable Diffusion 3 has."""
    jobs = len(ai.request("GET", "/api/jobs").json()["jobs"])
    for model, field, words, says in (("dev", "prompt", 1100, "at most 2047 tokens"),
                                      ("schnell", "prompt", 1100, "at most 2047 tokens"),
                                      ("whole", "hires_prompt", 1100, "at most 2047 tokens"),
                                      ("medium", "prompt", 700, "at most 1200 tokens"),
                                      ("medium", "negative_prompt", 700, "at most 1200 tokens")):
        body = {"model": model, "prompt": "a", "steps": 1, "width": 64, "height": 64, "hires_width": 128,
                "hires_height": 128, field: "rabbit watch " * words}
        answer = ai.request("POST", "/api/jobs", json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (413, field) and says in error["message"], error
    assert len(ai.request("GET", "/api/jobs").json()["jobs"]) == jobs
    answer = ai.request("POST", "/api/jobs", json={"model": "dev", "prompt": "a", "negative_prompt": "watch " * 3000})
    assert answer.status_code == 202, "nobody reads it"
    ai.request("DELETE", f"/api/jobs/{answer.json()['id']}")
    counted = ai.request("POST", "/api/tokens", json={"model": "dev", "prompt": "a watch " + "watch " * 3000}).json()
    assert counted["prompt"]["most"] == 2047 and counted["prompt"]["cut"].startswith(" watch"), counted
    assert counted["prompt"]["tokens"] <= 2047


def test_a_sampler_for_others_is_refused(ai):
    assert "flow models" in str(ai.error(400, "invalid", None, {**FORM, "sampler": "DDIM"}))


def test_what_is_missing_is_named(serve, folder, tmp_path):
    shutil.copytree(folder / "unet", tmp_path / "unet")
    shutil.copytree(folder / "checkpoints", tmp_path / "checkpoints")
    shutil.copytree(folder / "clip", tmp_path / "clip", ignore=shutil.ignore_patterns("t5*"))
    shutil.copytree(folder / "vae", tmp_path / "vae")
    ai = OpenAI(serve(f"--model-paths={tmp_path}", "--default-model=dev").url)
    assert "t5xxl" in str(ai.error(400, None, "model", FORM))
    assert paint(ai, model="medium"), "Stable Diffusion 3 does without T5"
    (tmp_path / "clip" / "spiece.model").unlink()
    assert "spiece.model" in str(ai.error(400, "invalid", None, {**FORM, "model": "whole"}))
    shutil.copy(GOLDEN / "t5" / "model.gguf", tmp_path / "clip" / "t5xxl.gguf")
    time.sleep(1.1)  # folders are looked at again once a second
    assert paint(ai, model="whole"), "by the vocabulary of another T5"
