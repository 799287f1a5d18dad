"""The small SDXL model and its refiner through the whole server: words, sizes, a second pass, a LoRA."""
import shutil
import sys

import pytest
from conftest import ROOT
from sdapi_client import Sdapi, encode, gradient

sys.path.insert(0, str(ROOT / "tests" / "golden"))
from singlefiles import GOLDEN, read, tensors_of, write  # noqa: E402

SMALL = {"prompt": "a red circle", "width": 128, "height": 64, "steps": 2, "seed": 1}


def write_models(folder):
    write(folder / "xl.safetensors", tensors_of("sdxl"))
    write(folder / "refiner.safetensors", tensors_of("refiner"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdxl")
    write_models(folder / "models")
    (folder / "loras").mkdir()
    shutil.copy(GOLDEN / "lora" / "kohya.safetensors", folder / "loras" / "style.safetensors")
    return folder


@pytest.fixture(scope="module")
def api(serve_module, folder):
    server = serve_module(f"--models={folder / 'models'}", f"--loras={folder / 'loras'}",
                          "--default-model=xl")
    return Sdapi(server.url)


def test_what_is_asked_for_changes_the_picture(api):
    def paint(**fields):
        return api.txt2img(**{**SMALL, **fields}).image.tobytes()

    plain = paint()
    assert paint() == plain
    others = [paint(prompt="a blue square"), paint(negative_prompt="a blue square"),
              paint(prompt="(a red:1.4) circle"), paint(prompt="a red BREAK circle"),
              paint(prompt="a red circle<lora:style:1>")]
    assert len({plain, *others}) == 6
    assert paint(override_settings={"CLIP_stop_at_last_layers": 2}) == plain  # which is SD 1.x's
    assert paint() == plain  # nothing of the LoRA is left


def test_larger_and_over_a_picture(api):
    done = api.txt2img(**SMALL, enable_hr=True, hr_scale=1.5, denoising_strength=0.6)
    assert done.image.size == (192, 96) and "Model: xl" in done.text
    begun = encode(gradient(128, 64))
    over = api.img2img(begun, **{**SMALL, "denoising_strength": 0.5})
    refined = api.img2img(begun, **{**SMALL, "denoising_strength": 0.5},
                          override_settings={"sd_model_checkpoint": "refiner"})
    assert refined.image.size == (128, 64) and "Model: refiner" in refined.text
    assert refined.image.tobytes() != over.image.tobytes()


def test_what_the_model_says_of_itself(api):
    api.txt2img(**SMALL)
    (xl,) = [m for m in api.answer(api.request("GET", "/api/models"), 200)["models"] if m["name"] == "xl"]
    assert (xl["architecture"], xl["width"], xl["height"]) == ("sdxl", 1024, 1024)
