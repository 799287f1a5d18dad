"""webuiapi, the Python client of SD WebUI that most scripts use, as it comes from PyPI."""
import threading
import time

import pytest
import webuiapi
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
