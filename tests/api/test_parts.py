"""A UNet in a file of its own, text encoders and VAE in others: together they paint what the whole file
paints, from any container; and what is missing is named."""
import struct
import subprocess
import time

import pytest
from conftest import PROGRAM, ROOT
from sdapi_client import Sdapi, encode, gradient
from test_containers import write_gguf
from test_native import Native
from test_sdxl import GOLDEN, read, write, write_models
from torchfile import Tensor

import singlefiles  # beside torchfile

UNET, FIRST = "model.diffusion_model.", "cond_stage_model.transformer."
SMALL = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 2, "seed": 1}


def below(weights, prefix):
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def gguf(path, weights):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gguf({k: Tensor(*v) for k, v in weights.items() if v[0] != "I64"}, path)


def diffusers(weights):
    """The tiny UNet by diffusers' names."""
    rows = [line.split("\t") for line in (GOLDEN / "tiny/diffusers/names.tsv").read_text().splitlines()]
    return {name: (weights[ldm][0], [int(n) for n in shape.split(",")], weights[ldm][2])
            for file, name, ldm, shape in rows if file.startswith("unet/")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """ComfyUI's folders."""
    folder = tmp_path_factory.mktemp("comfy")
    tiny = read(GOLDEN / "tiny" / "tiny-ldm.safetensors")
    write(folder / "checkpoints" / "whole.safetensors", tiny)
    gguf(folder / "unet" / "tiny-f16.gguf", below(tiny, UNET))
    gguf(folder / "unet" / "other.gguf", below(tiny, UNET))
    write(folder / "unet" / "tiny-diffusers.safetensors", diffusers(tiny))
    write(folder / "unet" / "sd15_lightning_4step.safetensors", {k: v for k, v in tiny.items() if k.startswith(UNET)})
    write(folder / "clip" / "clip_l.safetensors", below(tiny, FIRST))
    write(folder / "clip" / "other.text_encoder.safetensors", {
        k: (t[0], t[1], bytes(len(t[2]))) if "final_layer_norm.bias" in k else t
        for k, t in below(tiny, FIRST).items()})
    write(folder / "vae" / "mine.safetensors", below(tiny, "first_stage_model."))
    write_models(folder / "xl")
    xl = read(folder / "xl" / "xl.safetensors")
    gguf(folder / "unet" / "xl-f16.gguf", below(xl, UNET))
    return folder


CONFIG = """[parts tiny-f16]
vae = mine.safetensors
[parts other]
vae = mine
[parts tiny-diffusers]
text_encoder = clip_l
vae = mine
[parts sd15_lightning_4step]
vae = mine
"""


@pytest.fixture(scope="module")
def server(serve_module, folder):
    (folder / "pictor.ini").write_text(CONFIG)
    return serve_module(f"--config={folder / 'pictor.ini'}", f"--model-paths={folder}", "--default-model=whole")


def test_the_same_picture(server):
    api = Sdapi(server.url)

    def paint(model):
        return api.txt2img(**SMALL, override_settings={"sd_model_checkpoint": model}).image.tobytes()

    want = paint("whole")
    assert paint("tiny-f16") == want and paint("tiny-diffusers") == want
    assert paint("sd15_lightning_4step") == want  # names and all are said by the request
    assert paint("other") != want  # it has a text encoder of its own
    assert paint("tiny-f16") == want


def test_lists(server):
    listed = {m["name"]: m for m in Native(server.url).get("/api/models")["models"]}
    assert listed["tiny-f16"]["architecture"] == "sd1" and not listed["tiny-f16"].get("problem")
    assert listed["sd15_lightning_4step"]["steps"] == 4
    assert listed["xl-f16"]["problem"] == (
        "this is a UNet alone: wanted OpenCLIP's text encoder (CLIP-G) besides (`pictor pull clip_g` fetches it), among "
        "the text encoders, called xl-f16.text_encoder_2, clip_g, or as text_encoder_2 says under [parts xl-f16]")


def test_what_is_missing(server, folder):
    """It is refused before it waits, and works when the files are there."""
    api = Native(server.url)

    def paint():
        return api.request("POST", "/api/jobs", json={**SMALL, "model": "xl-f16", "width": 128})

    answer = paint()
    assert answer.status_code == 400 and "wanted OpenCLIP's text encoder (CLIP-G)" in answer.text
    xl, refiner = read(folder / "xl" / "xl.safetensors"), "conditioner.embedders.1."
    write(folder / "clip" / "clip_g.safetensors", below(xl, refiner))
    write(folder / "clip" / "xl-f16.text_encoder.safetensors", below(xl, "conditioner.embedders.0.transformer."))
    write(folder / "vae" / "sdxl_vae.safetensors", below(xl, "first_stage_model."))
    end = time.monotonic() + 30
    while (answer := paint()).status_code != 202:  # folders are looked at once a second
        assert time.monotonic() < end, answer.text
        time.sleep(0.3)
    assert api.finish(answer.json())["state"] == "done"


def test_command(server, folder, tmp_path):
    def paint(*words):
        out = tmp_path / "out.png"
        done = subprocess.run([PROGRAM, "generate", f"--config={folder / 'pictor.ini'}", f"--model-paths={folder}",
                               "--width=64", "--height=64", "--steps=2", "--seed=1", *words, "-o", out,
                               "-p", "a red circle"], capture_output=True, text=True)
        return out.read_bytes().split(b"IDAT")[1] if done.returncode == 0 else done.stderr

    assert paint("--model=tiny-f16") == paint("--model=whole")
    assert paint(f"--model={folder / 'unet' / 'tiny-f16.gguf'}") == paint("--model=whole")
    (folder / "unet" / "alone.gguf").write_bytes((folder / "unet" / "tiny-f16.gguf").read_bytes())
    refused = paint("--model=alone")
    assert "wanted a VAE besides (`pictor pull sd-vae-ft-mse` fetches it), among the VAEs, called alone.vae" in refused
    text = subprocess.run([PROGRAM, "models", f"--config={folder / 'pictor.ini'}", f"--model-paths={folder}",
                           f"--data={tmp_path}"], capture_output=True, text=True, check=True).stdout
    assert "this is a UNet alone" in text


def test_gguf_loras(server, folder):
    """A LoRA in GGML's container is one like any."""
    api = Sdapi(server.url)
    down, up = struct.pack("<64f", *[0.1] * 64), struct.pack("<64f", *[0.3] * 64)
    lora = {"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": ("F32", [1, 64], down),
            "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight": ("F32", [64, 1], up)}
    write(folder / "loras" / "plain.safetensors", lora)
    gguf(folder / "loras" / "packed.gguf", lora)

    def paint(words):
        return api.txt2img(**{**SMALL, "prompt": "a red circle" + words}).image.tobytes()

    api.post("refresh-loras")
    assert paint("<lora:packed:1>") == paint("<lora:plain:1>") != paint("")


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """The single file of each family, and its UNet, text encoders and VAE by themselves."""
    folder = tmp_path_factory.mktemp("families")
    for name in singlefiles.NAMES:
        whole = singlefiles.tensors_of(name)
        write(folder / "checkpoints" / f"{name}.safetensors", whole)
        marks = {k: v for k, v in whole.items() if k == "v_pred"}
        write(folder / "unet" / f"{name}-unet.safetensors", {**below(whole, UNET), **marks})
        write(folder / "vae" / f"{name}-unet.vae.safetensors", below(whole, "first_stage_model."))
        places = {"text_encoder": "conditioner.embedders.0.transformer.", "text_encoder_2": "conditioner.embedders.1."}
        if name == "refiner":
            places = {"text_encoder_2": "conditioner.embedders.0."}
        elif not name.startswith("sdxl"):
            places = {"text_encoder": FIRST if f"{FIRST}text_model.final_layer_norm.weight" in whole
                      else "cond_stage_model."}
        for role, prefix in places.items():
            write(folder / "clip" / f"{name}-unet.{role}.safetensors", below(whole, prefix))
    return folder


@pytest.fixture(scope="module")
def every(serve_module, families):
    return Sdapi(serve_module(f"--model-paths={families}").url)


@pytest.mark.parametrize("name", singlefiles.NAMES)
def test_every_family(every, name):
    """Models that are shown what they paint over among them."""
    def paint(model):
        fields = {**SMALL, "width": 128, "override_settings": {"sd_model_checkpoint": model}}
        if name == "edit":
            return every.img2img(encode(gradient()), **fields).image.tobytes()
        return every.txt2img(**fields).image.tobytes()

    assert paint(name) == paint(name + "-unet")
