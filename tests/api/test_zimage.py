"""Z-Image through the server: a folder, and a transformer alone whose parts lie in their folders, paint alike, in
every dialect; a missing part is named."""
import base64
import io
import json
import shutil

import pytest
from openai_client import OpenAI
from PIL import Image
from sdapi_client import Sdapi, encode, gradient
from test_flux2 import FLUX2, ROWS, WIDTH, table
from test_native import Native
from test_sdxl import GOLDEN, read, write

ZIMAGE = GOLDEN / "zimage"
FORM = {"prompt": "a red apple", "seed": 7, "size": "96x64"}


def encoder(folder, whole):
    """The text encoder in two files, or `whole`."""
    shutil.copy(FLUX2 / "text_encoder/model-00001-of-00002.safetensors", folder)
    rows = {"model.embed_tokens.weight": ("F32", [ROWS, WIDTH], table().tobytes())}
    if whole:
        first = folder / "model-00001-of-00002.safetensors"
        write(folder / "qwen_3_4b.safetensors", {**read(first), **rows})
        first.unlink()
    else:
        write(folder / "model-00002-of-00002.safetensors", rows)


@pytest.fixture(scope="module")
def server(serve_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    whole = folder / "checkpoints" / "z"
    for part in ("transformer", "vae", "text_encoder"):
        (whole / part).mkdir(parents=True)
    for part in ("transformer", "vae"):
        shutil.copy(ZIMAGE / part / "diffusion_pytorch_model.safetensors", whole / part)
    encoder(whole / "text_encoder", False)
    for part in ("unet", "text_encoders", "vae", "loras"):
        (folder / part).mkdir()
    shutil.copy(ZIMAGE / "z_image_turbo.safetensors", folder / "unet")
    encoder(folder / "text_encoders", True)
    shutil.copy(ZIMAGE / "ae.safetensors", folder / "vae")
    one = {f"model.diffusion_model.{k}": v for k, v in read(ZIMAGE / "z_image_turbo.safetensors").items()}
    one |= {f"vae.{k}": v for k, v in read(ZIMAGE / "ae.safetensors").items()}
    one |= {f"text_encoders.qwen3_4b.transformer.{k}": v
            for k, v in read(folder / "text_encoders/qwen_3_4b.safetensors").items()}
    write(folder / "checkpoints" / "all_in_one_turbo.safetensors", one)
    for family in ("zimage", "flux2"):
        shutil.copy(GOLDEN / "flow_lora" / f"{family}-kohya.safetensors", folder / "loras" / f"{family}.safetensors")
    shutil.copy(ZIMAGE / "z_image_turbo.safetensors", folder / "unet" / "tuned.safetensors")
    (folder / "unet" / "z_image_told.safetensors").write_bytes(
        with_metadata((ZIMAGE / "z_image_turbo.safetensors").read_bytes(), {"pictor.distilled": "true"}))
    return serve_module(f"--model-paths={folder}", "--default-model=z", "--base-models=tuned, z_image_told")


def with_metadata(data, metadata):
    """The same .safetensors file, that says something of itself."""
    size = int.from_bytes(data[:8], "little")
    header = json.dumps({**json.loads(data[8:8 + size]), "__metadata__": metadata}).encode()
    return len(header).to_bytes(8, "little") + header + data[8 + size:]


@pytest.fixture(scope="module")
def ai(server):
    return OpenAI(server.url)


def test_a_folder_and_its_parts_paint_alike(ai):
    def pixels(**fields):
        data = base64.b64decode(ai.answer({**FORM, **fields})["data"][0]["b64_json"])
        return Image.open(io.BytesIO(data)).tobytes()
    assert pixels(model="z_image_turbo") == pixels()
    assert pixels(model="all_in_one_turbo") == pixels(), "ComfyUI's file of all parts"


def test_distilled_or_not(ai):
    """A setting says what no name does; what a file says of itself counts before it."""
    models = {m["name"]: m for m in ai.request("GET", "/api/models").json()["models"]}
    said = {n: (m["steps"], m["guidance"], m["negative_prompt"]) for n, m in models.items()}
    assert said["tuned"] == (50, 4, True)
    assert said["z_image_told"] == said["z_image_turbo"] == (8, 1, False), "the name alone says that it is base"

    def pixels(**fields):
        data = base64.b64decode(ai.answer({**FORM, "steps": 2, **fields})["data"][0]["b64_json"])
        return Image.open(io.BytesIO(data)).tobytes()
    assert pixels(model="tuned", negative_prompt="a green pear") != pixels(model="tuned")
    assert pixels(model="z_image_told", negative_prompt="a green pear") == pixels(model="z_image_told")


def test_loras(ai):
    def pixels(prompt):
        data = base64.b64decode(ai.answer({**FORM, "prompt": prompt})["data"][0]["b64_json"])
        return Image.open(io.BytesIO(data)).tobytes()
    plain = pixels("a red apple")
    assert pixels("a red apple <lora:zimage:1>") != plain
    assert pixels("a red apple") == plain
    message = str(ai.error(400, "invalid", None, {**FORM, "prompt": "a red apple <lora:flux2:1>"}))
    assert "flux2" in message


def test_what_lists_say(server):
    """Defaults reach a client through what it asks first."""
    models = {m["name"]: m for m in Native(server.url).get("/api/models")["models"]}
    assert {"z", "z_image_turbo"} <= set(models), models
    for name in ("z", "z_image_turbo"):
        m = models[name]
        assert (m["architecture"], m["steps"], m["guidance"]) == ("zimage", 8, 1), m


def test_over_a_picture_through_the_webui(server):
    api = Sdapi(server.url)
    first = encode(gradient(96, 64))
    fields = {"prompt": "a red apple", "seed": 7, "width": 96, "height": 64, "steps": 8, "cfg_scale": 1}
    painted = api.img2img(first, denoising_strength=0.5, **fields).image.tobytes()
    assert painted != api.txt2img(**fields).image.tobytes()
    mask = encode(gradient(96, 64).point(lambda v: 255 * (v > 128)))
    assert api.img2img(first, mask=mask, denoising_strength=0.5, **fields).image.tobytes() != painted
