"""The small SDXL model and its refiner through the whole server: words, sizes, a second pass, a LoRA."""
import json
import shutil
import struct

import pytest
from conftest import ROOT
from sdapi_client import Sdapi, encode, gradient

GOLDEN = ROOT / "tests" / "golden"
TOKENS = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
FIRST, SECOND = "conditioner.embedders.0.", "conditioner.embedders.1."
SMALL = {"prompt": "a red circle", "width": 128, "height": 64, "steps": 2, "seed": 1}


def read(path):
    """Name -> (dtype, shape, bytes)."""
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[start + t["data_offsets"][0]:start + t["data_offsets"][1]])
            for name, t in header.items()}


def write(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join([struct.pack("<Q", len(text)), text, *(t[2] for t in tensors.values())]))


def write_models(folder):
    tiny, sdxl = read(GOLDEN / "tiny" / "tiny-ldm.safetensors"), read(GOLDEN / "sdxl" / "weights.safetensors")
    shared = {k: v for k, v in tiny.items() if k.startswith("first_stage_model.")}
    write(folder / "xl.safetensors", {
        **sdxl, **shared, SECOND + "model.token_embedding.weight": tiny[TOKENS],
        FIRST + "transformer.text_model.embeddings.token_embedding.weight": tiny[TOKENS]})
    own = {**sdxl, **read(GOLDEN / "sdxl" / "refiner.safetensors")}
    write(folder / "refiner.safetensors", {
        **{k.replace(SECOND, FIRST): v for k, v in own.items() if not k.startswith(FIRST)}, **shared,
        FIRST + "model.token_embedding.weight": tiny[TOKENS]})


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
