"""Networks that paint pixels without words, through the whole server: a pipeline's folder and a model's."""
import shutil

import pytest
from conftest import ROOT
from sdapi_client import Sdapi
from test_native import Native

GOLDEN = ROOT / "tests" / "golden" / "pixels"


@pytest.fixture(scope="module")
def server(serve_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    for name in ("rgb", "grey"):
        shutil.copytree(GOLDEN / name, folder / "models" / "course" / name)
    return serve_module(f"--models={folder / 'models'}", "--default-model=course/rgb")


def test_list(server):
    models = {m["name"]: m for m in Native(server.url).get("/api/models")["models"]}
    for name in ("course/rgb", "course/grey"):
        assert models[name]["architecture"] == "pixels" and models[name]["problem"] is None
        assert models[name]["width"] == models[name]["height"] == 64


def test_native(server):
    api = Native(server.url)
    pictures = [api.done(prompt="", model=f"course/{name}", width=w, height=h, steps=3, seed=1)["images"][0]
                for name in ("rgb", "grey") for w, h in ((64, 64), (96, 64))]
    assert [(p["width"], p["height"]) for p in pictures] == [(64, 64), (96, 64)] * 2


def test_sdapi(server):
    api = Sdapi(server.url)
    done = api.txt2img(steps=3, seed=1, width=64, height=64, sampler_name="Euler a", scheduler="simple",
                       override_settings={"sd_model_checkpoint": "grey"})
    red, green, blue = (done.image.getchannel(c).tobytes() for c in "RGB")
    assert done.image.size == (64, 64) and red == green == blue and len(set(red)) > 8
