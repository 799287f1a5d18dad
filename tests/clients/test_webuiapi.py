"""webuiapi, the Python client of SD WebUI that most scripts use, as it comes from PyPI: all that it
can call. What is an extension's and not the WebUI's own is 404, as on a WebUI without it."""
import inspect
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import webuiapi
from conftest import ROOT
from PIL import Image, ImageChops
from sdapi_client import gradient, half_mask

TINY = {"width": 64, "height": 64, "steps": 3, "seed": 1}


@pytest.fixture(scope="module")
def api(server):
    return webuiapi.WebUIApi(baseurl=server.url + "/sdapi/v1")


def test_txt2img(api):
    result = api.txt2img(prompt="a red circle", negative_prompt="blurry", cfg_scale=5, **TINY)
    assert result.image.size == (64, 64)
    assert result.info["seed"] == 1 and result.info["sampler_name"] == "Euler a"
    assert result.parameters["prompt"] == "a red circle"
    again = api.txt2img(prompt="a red circle", negative_prompt="blurry", cfg_scale=5, **TINY)
    assert again.image.tobytes() == result.image.tobytes()


def test_batch(api):
    result = api.txt2img(batch_size=2, n_iter=2, **TINY)
    assert len(result.images) == 4 and result.info["all_seeds"] == [1, 2, 3, 4]


def test_every_sampler(api):
    for name in api.util_get_sampler_names():
        assert api.txt2img(sampler_name=name, **TINY).info["sampler_name"] == name
    assert "karras" in api.util_get_scheduler_names()


def test_hires(api):
    result = api.txt2img(enable_hr=True, hr_scale=2, denoising_strength=0.6,
                         hr_upscaler=webuiapi.HiResUpscaler.Latent, **TINY)
    assert result.image.size == (128, 128)


def test_img2img(api):
    result = api.img2img(images=[gradient()], prompt="a sunset", denoising_strength=0.5, **TINY)
    assert result.image.size == (64, 64)
    assert result.parameters["denoising_strength"] == 0.5


def test_inpaint(api):
    result = api.img2img(images=[gradient()], mask_image=half_mask(), inpainting_fill=1,
                         mask_blur=0, inpaint_full_res=False, denoising_strength=1.0, **TINY)
    difference = ImageChops.difference(result.image.convert("RGB"), gradient())
    left, _, _, _ = difference.getbbox()
    assert left >= 32  # nothing outside the mask has changed


def test_extras(api):
    image = gradient()
    result = api.extra_single_image(image=image, upscaler_1=webuiapi.Upscaler.Lanczos,
                                    upscaling_resize=1.5)
    assert result.image.size == (96, 96)
    results = api.extra_batch_images(images=[image, image], upscaler_1=webuiapi.Upscaler.Nearest,
                                     upscaling_resize=2)
    assert [i.size for i in results.images] == [(128, 128)] * 2


def test_png_info(api):
    result = api.txt2img(prompt="a cat", **TINY)
    info = api.png_info(result.image)
    assert info.info.startswith("a cat\nSteps: 3, Sampler: Euler a, ")


def test_models_and_options(api):
    names = api.util_get_model_names()
    assert api.util_get_current_model() in names
    api.util_set_model("pictor-mini")
    api.util_wait_for_ready(check_interval=0.05)
    assert api.util_get_current_model() in api.util_get_model_names()
    options = api.get_options()
    api.set_options({"jpeg_quality": 81})
    assert api.get_options()["jpeg_quality"] == 81
    api.set_options({"jpeg_quality": options["jpeg_quality"]})


def test_lists(api):
    for listed in (api.get_samplers, api.get_schedulers, api.get_sd_vae, api.get_upscalers,
                   api.get_latent_upscale_modes, api.get_loras, api.get_sd_models,
                   api.get_hypernetworks, api.get_face_restorers, api.get_realesrgan_models,
                   api.get_prompt_styles):
        assert isinstance(listed(), list)
    assert isinstance(api.get_cmd_flags(), dict) and isinstance(api.get_memory(), dict)
    assert isinstance(api.get_embeddings()["loaded"], dict)
    assert api.refresh_checkpoints() is None
    assert api.skip() is None


def test_progress_and_interrupt(api, server):
    results = []
    other = webuiapi.WebUIApi(baseurl=server.url + "/sdapi/v1")
    painter = threading.Thread(target=lambda: results.append(other.txt2img(
        **{**TINY, "width": 256, "height": 256, "steps": 150})))
    painter.start()
    end = time.monotonic() + 60
    while api.get_progress()["state"]["sampling_step"] < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert 0 < api.get_progress()["progress"] < 1
    assert api.interrupt() == {}
    painter.join(60)
    assert len(results) == 1 and isinstance(results[0].image, Image.Image)
    api.util_wait_for_ready(check_interval=0.05)


def test_several_pictures(api):
    done = api.img2img(images=[gradient(), half_mask().convert("RGB")], batch_size=2, denoising_strength=0.5, **TINY)
    assert len(done.images) == 2 and done.info["all_seeds"] == [1, 2]


def test_scripts(api):
    assert "x/y/z plot" in api.get_scripts()["txt2img"]
    plot = api.txt2img(script_name="X/Y/Z Plot", script_args=[4, "1,2", 6, "1,7", 0, "", "True", "False", "False", "False", 0],
                       **TINY)
    assert plot.image.width > 128 < plot.image.height  # letters at its sides
    matrix = api.txt2img(prompt="a cat|red", script_name="prompt matrix", script_args=["False", "False", "positive", "comma", 0],
                         **TINY)
    assert matrix.images[0].width == 128 and [i.size for i in matrix.images[1:]] == [(64, 64), (64, 64)]
    larger = api.img2img(images=[gradient()], script_name="SD upscale", script_args=["", 16, "Lanczos", 2.0],
                         denoising_strength=0.2, **TINY)
    assert larger.image.size == (128, 128)


def test_interrogate(api):
    painted = api.txt2img(prompt="a red circle", **TINY).image
    assert api.interrogate(painted).info == "a red circle"
    with pytest.raises(RuntimeError) as error:
        api.interrogate(gradient())
    assert error.value.args[0] == 501


def test_controlnet_lists(api):
    assert api.controlnet_version() == 3 and isinstance(api.controlnet_model_list(), list)
    assert "canny" in api.controlnet_module_list()


def test_errors_are_told(api):
    with pytest.raises(RuntimeError) as error:
        api.txt2img(sampler_name="Euler", **{**TINY, "steps": 0})
    assert error.value.args[0] == 422 and "steps" in error.value.args[1]


# ---- the rest of its surface ----

def test_user_and_password(serve):
    """With keys, the key is the password; the name does not matter."""
    server = serve()
    api = webuiapi.WebUIApi(baseurl=server.url + "/sdapi/v1")
    key = server.add_key("someone")
    with pytest.raises(RuntimeError) as error:
        api.txt2img(**TINY)
    assert error.value.args[0] == 401
    api.set_auth("anyone", key)
    assert api.txt2img(**TINY).image.size == (64, 64)


def test_any_endpoint(api):
    assert api.get_endpoint("controlnet/version", False).endswith("/controlnet/version")
    assert api.custom_get("samplers", baseurl=True)[0]["name"]
    assert api.custom_get("queue/status")["queue_size"] == 0
    made = api.custom_post("txt2img", payload={"prompt": "x", **TINY}, baseurl=True)
    assert made.image.size == (64, 64)
    again = api.post_and_get_api_result(f"{api.baseurl}/txt2img", {"prompt": "x", **TINY}, False)
    assert again.image.tobytes() == made.image.tobytes()


def test_extensions_that_it_looks_for(api):
    """It sends the shapes of those that the list of scripts has, and of ControlNet always."""
    api.check_extensions()
    assert not (api.has_controlnet or api.has_adetailer or api.has_animatediff)


def test_controlnet(api):
    edges = api.controlnet_detect([gradient()], module="canny", processor_res=64)
    assert len(edges.images) == 1
    with pytest.raises(RuntimeError) as error:
        api.txt2img(controlnet_units=[webuiapi.ControlNetUnit(image=gradient(), module="canny",
                                                              model="none such")], **TINY)
    assert error.value.args[0] == 422 and "none such" in error.value.args[1]


@pytest.mark.parametrize("extension", [
    {"adetailer": [webuiapi.ADetailer(ad_model="face_yolov8n.pt")]}, {"roop": webuiapi.Roop(img=gradient())}],
    ids=["adetailer", "roop"])
def test_extensions_that_are_not_there(api, extension):
    """What would have changed the picture is refused, not left out in silence."""
    with pytest.raises(RuntimeError) as error:
        api.txt2img(**extension, **TINY)
    assert error.value.args[0] == 422


def test_what_the_webui_itself_no_longer_has(api):
    for call in (api.get_artists, api.get_artist_categories):
        assert call()["detail"] == "Not Found"
    with pytest.raises(KeyError):
        api.list_prompt_gen_models()
    with pytest.raises(RuntimeError) as error:
        api.prompt_gen(text="a cat")
    assert error.value.args[0] == 404


def test_interfaces_of_extensions(api):
    assert webuiapi.ControlNetInterface(api, False).model_list() == api.controlnet_model_list()
    for call in (lambda: webuiapi.RemBGInterface(api).rembg(gradient()),
                 lambda: webuiapi.TaggerInterface(api).tagger_interrogate(gradient())):
        with pytest.raises(RuntimeError) as error:
            call()
        assert error.value.args[0] == 404


AIOHTTP = "3.14.5"
ASYNC = '''
import asyncio, sys, webuiapi
from PIL import Image
api = webuiapi.WebUIApi(baseurl=sys.argv[1] + "/sdapi/v1")
tiny = {"width": 64, "height": 64, "steps": 3, "seed": 1}
image = Image.new("RGB", (64, 64), "red")

async def main():
    made, changed, larger = await asyncio.gather(
        api.txt2img(prompt="a", use_async=True, **tiny),
        api.img2img(images=[image], use_async=True, **tiny),
        api.extra_single_image(image=image, upscaler_1="Lanczos", upscaling_resize=2, use_async=True))
    assert made.info["seed"] == 1 and changed.image.size == (64, 64) and larger.image.size == (128, 128)

asyncio.run(main())
'''


def test_async(server):
    """Its calls that wait beside one another go through aiohttp."""
    folder = ROOT / "build" / "python" / f"aiohttp-{AIOHTTP}"
    if not (folder / "aiohttp").exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", folder,
                        f"aiohttp=={AIOHTTP}"], check=True, timeout=300)
    done = subprocess.run([sys.executable, "-c", ASYNC, server.url], capture_output=True, text=True,
                          timeout=120, env={**os.environ, "PYTHONPATH": str(folder)})
    assert done.returncode == 0, done.stderr[-3000:]


def test_nothing_of_it_is_left_out():
    text = Path(__file__).read_text()
    calls = [name for name, _ in inspect.getmembers(webuiapi.WebUIApi, inspect.isfunction)
             if not name.startswith("_") and name != "async_post"]
    assert [name for name in calls if not re.search(rf"api\.{name}\b", text)] == []
