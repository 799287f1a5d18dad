"""FLUX.1 and Stable Diffusion 3 through the server: a transformer with its parts beside it and a file with all in it
paint alike, a vocabulary is found, and what is missing is named."""
import array
import base64
import io
import json
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


LINEAR = "double_blocks.0.img_attn.qkv"
FORMATS = {"int8": ("I8", 1, "int8_tensorwise"), "int4": ("I8", 2, "convrot_w4a4"), "fp4": ("U8", 2, "nvfp4"),
           "mxfp8": ("F8_E4M3", 1, "mxfp8")}


def few_bits(network, kind, width, format):
    """A weight as ComfyUI saves it in such a format, of zeros."""
    _, (rows, columns), _ = network[LINEAR + ".weight"]
    said = json.dumps({"format": format}).encode()
    return {LINEAR + ".weight": (kind, [rows, columns // width], bytes(rows * columns // width)),
            LINEAR + ".weight_scale": ("F32", [rows, 1], bytes(4 * rows)),
            LINEAR + ".comfy_quant": ("U8", [len(said)], said)}


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
    for name, (kind, width, format) in FORMATS.items():
        write(folder / "unet" / f"{name}.safetensors", {**network, **few_bits(network, kind, width, format)})
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
    assert all((m["sampler"], m["scheduler"], m["flow"]) == ("Euler", "simple", True) for m in (dev, schnell, medium))
    guided = [(m["negative_prompt"], m["guidance_told"]) for m in (dev, schnell, medium)]
    assert guided == [(False, True), (False, False), (True, False)]
    mini = models["pictor-mini"]
    assert mini["negative_prompt"] and not mini["flow"] and not mini["guidance_told"]


def test_sd3_beside_its_text_encoders(ai):
    spoken = paint(ai, model="medium")
    assert paint(ai, model="medium", negative_prompt="a watch") != spoken


def test_formats_that_are_not_read_are_named(ai):
    models = {m["name"]: m for m in ai.request("GET", "/api/models").json()["models"]}
    for name in ("int4", "fp4"):
        assert FORMATS[name][2] in models[name]["problem"] and "GGUF" in models[name]["problem"], models[name]
    problem = models["mxfp8"]["problem"]  # whose scales are not those of its format
    assert "a byte for each 32 weights" in problem and "the format is mxfp8" in problem
    assert not models["int8"].get("problem") and paint(ai, model="int8") != paint(ai)


def test_what_says_nothing_is_noted(ai):
    """By each dialect in its own way: who reads no negative prompt, and has no guidance."""
    def job(**fields):
        body = {"prompt": "a", "steps": 1, "width": 64, "height": 64, **fields}
        return ai.request("POST", "/api/jobs", json=body).json()
    assert job(model="dev")["notes"] == job(model="medium", negative_prompt="a pear")["notes"] == []
    assert job(model="schnell", guidance=1)["notes"] == job(model="dev", guidance=7)["notes"] == []
    told = job(model="dev", negative_prompt="a pear", guidance=7)
    assert told["params"]["guidance_told"] and told["params"]["guidance"] == 7
    assert told["notes"] == ["negative_prompt: this model is not led away from anything"]
    schnell = job(model="schnell", negative_prompt="a pear", guidance=7)
    assert [n.split(":")[0] for n in schnell["notes"]] == ["negative_prompt", "guidance"]
    assert "guidance of 1" in job(model="medium", negative_prompt="a pear", guidance=1)["notes"][0]
    heard = ai.request("POST", "/v1/images/generations",
                       json={**FORM, "negative_prompt": "a pear", "guidance_scale": 5, "model": "schnell"})
    assert heard.status_code == 200
    assert heard.headers["x-ignored-parameters"] == "negative_prompt, guidance_scale"


def test_the_webuis_guidance(ai):
    """Its 7 spoils nothing; what a network is told is Forge's, also of a picture's text."""
    def paint_with(**fields):
        body = {"prompt": FORM["prompt"], "seed": 7, "width": 96, "height": 64, "steps": 3, **fields}
        answer = ai.request("POST", "/sdapi/v1/txt2img", json={"override_settings": {"sd_model_checkpoint": "dev"}, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()["images"][0], json.loads(answer.json()["info"])
    usual, info = paint_with()
    assert "cfg_scale (this model is told its guidance: distilled_cfg_scale, 3.5)" in \
        info["extra_generation_params"]["Ignored"]
    assert paint_with(cfg_scale=1)[0] == paint_with(distilled_cfg_scale=3.5, cfg_scale=4)[0] == usual
    other, info = paint_with(distilled_cfg_scale=2, cfg_scale=1)
    assert other != usual and "Ignored" not in info["extra_generation_params"]
    assert info["cfg_scale"] == 1 and info["extra_generation_params"]["Distilled CFG Scale"] == "2.0"
    assert "CFG scale: 1.0, Distilled CFG Scale: 2.0," in info["infotexts"][0]
    again, _ = paint_with(infotext=info["infotexts"][0])
    assert again == other
    refused = ai.request("POST", "/sdapi/v1/txt2img", json={
        "prompt": "a", "distilled_cfg_scale": 1000, "override_settings": {"sd_model_checkpoint": "dev"}})
    assert refused.status_code == 422 and "distilled_cfg_scale" in refused.text
    _, info = paint_with(negative_prompt="a pear", override_settings={"sd_model_checkpoint": "schnell"})
    named = info["extra_generation_params"]["Ignored"]
    assert "negative_prompt (this model is not led" in named and "cfg_scale (this model was distilled" in named


def test_every_sampler_paints_or_is_refused_with_the_list(ai):
    """Before anything is queued, by each dialect's own name for it; what is refused is what the lists say."""
    samplers = {s["name"]: s["flow"] for s in ai.request("GET", "/api/info").json()["samplers"]}
    webui = [s["name"] for s in ai.request("GET", "/sdapi/v1/samplers").json()]
    assert set(webui) == set(samplers) and sum(samplers.values()) >= 7
    names = [n for n, flows in samplers.items() if flows]
    before = len(ai.request("GET", "/api/jobs").json()["jobs"])
    refused = 0
    for name, flows in samplers.items():
        body = {"prompt": "a", "seed": 7, "width": 64, "height": 64, "steps": 2, "sampler_name": name, "cfg_scale": 1,
                "override_settings": {"sd_model_checkpoint": "dev"}}
        answer = ai.request("POST", "/sdapi/v1/txt2img", json=body)
        if flows:
            assert answer.status_code == 200 and json.loads(answer.json()["info"])["sampler_name"] == name
            continue
        refused += 1
        assert answer.status_code == 422 and "sampler_name" in answer.text, answer.text
        assert all(n in answer.text for n in names), answer.text
        native = ai.request("POST", "/api/jobs", json={"model": "dev", "prompt": "a", "sampler": name})
        assert native.status_code == 400 and native.json()["error"]["param"] == "sampler"
        second = ai.request("POST", "/api/jobs", json={
            "model": "dev", "prompt": "a", "hires_sampler": name, "width": 64, "height": 64, "hires_width": 128,
            "hires_height": 128})
        assert second.status_code == 400 and second.json()["error"]["param"] == "hires_sampler"
    assert refused and len(ai.request("GET", "/api/jobs").json()["jobs"]) == before + len(names)


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
    assert "flow models" in str(ai.error(400, "invalid_value", "sampler", {**FORM, "sampler": "DDIM"}))


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
