"""Single files of every family paint what diffusers' from_single_file paints with the very same files:
whole pictures, from the words of a prompt to the pixels (tests/golden/make_single.py)."""
import io
import shutil
import sys

import pytest
from PIL import Image
from conftest import ROOT
from sdapi_client import Sdapi, encode

sys.path.insert(0, str(ROOT / "tests" / "golden"))
import singlefiles  # noqa: E402

GOLDEN = singlefiles.read(ROOT / "tests/golden/single/golden.safetensors")
HEIGHT, WIDTH, _ = GOLDEN["sd1"][1]
REQUEST = {"prompt": "a photo of a red cat on mars", "negative_prompt": "blue", "steps": 10, "seed": 7, "cfg_scale": 2,
           "width": WIDTH, "height": HEIGHT, "sampler_name": "Euler", "scheduler": "Uniform"}


@pytest.fixture(scope="module")
def api(serve_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    for kind in ("models", "loras"):
        (folder / kind).mkdir()
    for name in singlefiles.NAMES:
        singlefiles.write(folder / "models" / f"{name}.safetensors", singlefiles.tensors_of(name))
    shutil.copy(ROOT / "tests/golden/lora/kohya.safetensors", folder / "loras" / "style.safetensors")
    return Sdapi(serve_module(f"--models={folder / 'models'}", f"--loras={folder / 'loras'}", "--precision=f32").url)


def picture():
    return encode(Image.frombytes("RGB", (WIDTH, HEIGHT), GOLDEN["picture"][2]))


def painted(api, name):
    """diffusers' strength is the share of the steps, and here one step more is run."""
    fields = {**REQUEST, "override_settings": {"sd_model_checkpoint": name, "randn_source": "CPU"}}
    if name == "sdxl-lora":
        fields["prompt"] += "<lora:style:1>"
        fields["override_settings"]["sd_model_checkpoint"] = "sdxl"
    if name == "edit":
        return api.img2img(picture(), **fields, denoising_strength=1, image_cfg_scale=1.5)
    if name == "refiner":
        return api.img2img(picture(), **fields, denoising_strength=0.4)
    if name.endswith("inpainting"):
        white = encode(Image.new("L", (WIDTH, HEIGHT), 255))
        return api.img2img(picture(), **fields, denoising_strength=0.8, mask=white, mask_blur=0, inpainting_fill=1)
    return api.txt2img(**fields)


@pytest.mark.parametrize("name", [*singlefiles.NAMES, "sdxl-lora"])
def test_picture(api, name):
    """A PNG has 256 levels: what is the same but for 1e-5 may be rounded the other way."""
    got, want = painted(api, name).image.convert("RGB").tobytes(), GOLDEN[name][2]
    assert len(got) == len(want)
    apart = [abs(a - b) for a, b in zip(got, want)]
    share = 0.2 if name.endswith("inpainting") else 0.001  # what a mask covers is pasted, and rounded once more
    assert max(apart) <= 1 and sum(apart) < share * len(apart), (max(apart), sum(apart) / len(apart))


def test_they_differ():
    assert len({value[2] for value in GOLDEN.values()}) == len(GOLDEN)
