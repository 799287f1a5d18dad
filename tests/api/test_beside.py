"""Models that are shown what they paint over, inpainting and InstructPix2Pix, through the whole server."""
import pytest
from conftest import ROOT
from sdapi_client import Sdapi, encode, gradient
from test_native import Native
from test_sdxl import read, write

GOLDEN = ROOT / "tests" / "golden"
CONV_IN = "model.diffusion_model.input_blocks.0.0.weight"
SMALL = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 2, "seed": 1}


@pytest.fixture(scope="module")
def server(serve_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    tiny, golden = read(GOLDEN / "tiny" / "tiny-ldm.safetensors"), read(GOLDEN / "beside" / "golden.safetensors")
    write(folder / "inpaint.safetensors", {**tiny, CONV_IN: golden["sd1.conv_in"]})
    write(folder / "edit.safetensors", {**tiny, CONV_IN: golden["edit.conv_in"]})
    write(folder / "plain.safetensors", tiny)
    return serve_module(f"--models={folder}", "--default-model=inpaint")


def paint_over(api, model, **fields):
    options = {"sd_model_checkpoint": model, **fields.pop("override_settings", {})}
    return api.img2img(encode(gradient()), **{**SMALL, "denoising_strength": 1, "override_settings": options, **fields})


def test_inpainting(server):
    api = Sdapi(server.url)
    done = api.txt2img(**SMALL)
    assert "Conditional mask weight: 1.0" in done.text and done.info["is_using_inpainting_conditioning"]
    hidden, shown = (paint_over(api, "inpaint", override_settings={"inpainting_mask_weight": w}) for w in (1, 0))
    assert hidden.image.tobytes() != shown.image.tobytes()
    assert "Conditional mask weight: 0.0" in shown.text
    plain = paint_over(api, "plain", override_settings={"inpainting_mask_weight": 0}, image_cfg_scale=2)
    assert "mask weight" not in plain.text and "Image CFG" not in plain.text
    assert not plain.info["is_using_inpainting_conditioning"]


def test_editing(server):
    api = Sdapi(server.url)
    as_words, as_picture = (paint_over(api, "edit", image_cfg_scale=s) for s in (None, 1.5))
    assert as_words.image.tobytes() != as_picture.image.tobytes()
    assert "Image CFG scale: 1.5" in as_picture.text and "Image CFG" not in as_words.text
    refused = api.request("POST", "txt2img", json={**SMALL, "override_settings": {"sd_model_checkpoint": "edit"}})
    assert refused.status_code == 422 and "edits pictures" in refused.text


def test_native(server):
    api = Native(server.url)
    job = api.done(**SMALL, model="edit", init_image=encode(gradient()), strength=1)
    assert job["params"]["image_guidance"] == 1.5 and job["params"]["mask_weight"] is None
    assert "Image CFG scale: 1.5" in job["images"][0]["infotext"]
    refused = api.post("/api/jobs", {**SMALL, "model": "edit"}, status=400)
    assert "edits pictures" in refused["message"]


def test_a_restart_changes_nothing(server):
    """What headers say is remembered (DATA/model-facts), all of it."""
    api = Sdapi(server.url)
    refusal = {**SMALL, "override_settings": {"sd_model_checkpoint": "edit"}}
    asked = [("edit", {"image_cfg_scale": 1.5}), ("edit", {}),
             ("inpaint", {"override_settings": {"inpainting_mask_weight": 0}})]
    before = [paint_over(api, model, **fields).files for model, fields in asked]
    server.restart()
    refused = api.request("POST", "txt2img", json=refusal)
    assert refused.status_code == 422 and "edits pictures" in refused.text
    assert [paint_over(api, model, **fields).files for model, fields in asked] == before
