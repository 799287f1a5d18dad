"""SD WebUI dialect: txt2img."""
import json

import pytest
import requests
from PIL import ImageChops, ImageStat
from sdapi_client import TINY, Painted

INFO_KEYS = [
    "prompt", "all_prompts", "negative_prompt", "all_negative_prompts", "seed", "all_seeds",
    "subseed", "all_subseeds", "subseed_strength", "width", "height", "sampler_name", "cfg_scale",
    "steps", "batch_size", "restore_faces", "face_restoration_model", "sd_model_name",
    "sd_model_hash", "sd_vae_name", "sd_vae_hash", "seed_resize_from_w", "seed_resize_from_h",
    "denoising_strength", "extra_generation_params", "index_of_first_image", "infotexts", "styles",
    "job_timestamp", "clip_skip", "is_using_inpainting_conditioning", "version"]


def test_defaults(sd):
    done = sd.txt2img(steps=1, width=None, height=None, seed=None)
    assert done.image.size == (512, 512)
    assert done.parameters["prompt"] == "" and done.parameters["seed"] == -1
    assert done.parameters["denoising_strength"] is None
    assert 0 <= done.info["seed"] < 2**32
    assert list(done.info) == INFO_KEYS
    assert len(done.parameters) == 55


def test_repeats_and_writes_infotext(sd):
    body = {"prompt": "a cat", "steps": 4, "width": 64, "height": 64, "seed": 1}
    first, second = sd.txt2img(**body), sd.txt2img(**body)
    assert first.files == second.files
    text = first.image.text["parameters"]
    assert text == first.text
    assert text.startswith("a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, "
                           "CFG scale: 7.0, Seed: 1, Size: 64x64")
    assert ", Version: pictor-" in text
    assert first.info["version"].startswith("pictor-")


def test_info_is_pythons_json(sd):
    done = sd.txt2img(prompt="ein schöner Hund")
    assert done.info_text == json.dumps(done.info)
    assert done.info_text.startswith('{"prompt": "ein sch\\u00f6ner Hund", "all_prompts": [')


def test_batches(sd):
    done = sd.txt2img(prompt="a cat", batch_size=2, n_iter=2, seed=10)
    assert len(done.images) == 4
    assert done.info["all_seeds"] == [10, 11, 12, 13]
    assert len(done.info["infotexts"]) == 4 and "Seed: 12," in done.info["infotexts"][2]
    assert done.info["batch_size"] == 2
    assert sd.txt2img(prompt="a cat", seed=12).files[0] == done.files[2]


def test_variation(sd):
    done = sd.txt2img(seed=10, subseed=5, subseed_strength=0.3, batch_size=2)
    assert done.info["all_seeds"] == [10, 10] and done.info["all_subseeds"] == [5, 6]
    assert "Variation seed: 6, Variation seed strength: 0.3" in done.info["infotexts"][1]
    plain = sd.txt2img(seed=10).image.tobytes()
    assert sd.txt2img(seed=10, subseed=5, subseed_strength=0).image.tobytes() == plain
    assert done.images[0].tobytes() != plain
    whole = sd.txt2img(seed=10, subseed=5, subseed_strength=1).image
    other = sd.txt2img(seed=5).image
    worst = max(abs(a - b) for a, b in zip(whole.tobytes(), other.tobytes()))
    assert worst <= 2  # slerp with strength 1 is the other noise up to rounding


@pytest.mark.parametrize("asked, painted", [((70, 66), (64, 64)), ((72, 64), (72, 64))])
def test_sizes_are_floored_to_8(sd, asked, painted):
    assert sd.txt2img(width=asked[0], height=asked[1]).image.size == painted


def test_send_images(sd):
    done = sd.txt2img(send_images=False)
    assert done.images == [] and len(done.info["infotexts"]) == 1


def test_save_images_makes_a_grid(sd):
    assert len(sd.txt2img(save_images=True).images) == 1
    done = sd.txt2img(save_images=True, batch_size=2, n_iter=2)
    grid, *images = done.images
    assert len(images) == 4 and grid.size == (128, 128) and done.info["index_of_first_image"] == 1
    for i, image in enumerate(images):
        box = (i % 2 * 64, i // 2 * 64, i % 2 * 64 + 64, i // 2 * 64 + 64)
        assert grid.convert("RGB").crop(box).tobytes() == image.convert("RGB").tobytes()
    assert done.info["infotexts"][0] == done.info["infotexts"][1] and len(done.info["infotexts"]) == 5
    assert grid.text["parameters"] == done.info["infotexts"][0] and done.info["all_seeds"] == [1, 2, 3, 4]
    row = sd.txt2img(save_images=True, batch_size=3, override_settings={"n_rows": 1})
    assert row.images[0].size == (192, 64)
    three = sd.txt2img(save_images=True, batch_size=3)
    assert three.images[0].size == (128, 128)
    assert three.images[0].crop((64, 64, 128, 128)).convert("RGB").getextrema() == ((0, 0),) * 3
    assert len(sd.txt2img(save_images=True, batch_size=2, override_settings={"return_grid": False}).images) == 2
    one = sd.txt2img(save_images=True, override_settings={"grid_only_if_multiple": False})
    assert len(one.images) == 2 and one.images[0].size == (64, 64)
    jpeg = sd.txt2img(save_images=True, batch_size=2, override_settings={"samples_format": "jpeg"})
    assert jpeg.images[0].format == "JPEG"

def test_negative_prompt_and_unicode(sd):
    done = sd.txt2img(prompt="a 猫", negative_prompt="x")
    assert done.text.startswith("a 猫\nNegative prompt: x\nSteps: 2, ")
    assert done.image.text["parameters"] == done.text


def test_sampler_names(sd):
    assert sd.txt2img(sampler_index="DDIM", steps=3).info["sampler_name"] == "DDIM"
    old = sd.txt2img(sampler_name="DPM++ 2M Karras")
    assert old.info["sampler_name"] == "DPM++ 2M"
    assert "Sampler: DPM++ 2M, Schedule type: Karras" in old.text
    for scheduler in (None, "Automatic", "automatic", "karras", "Karras"):
        done = sd.txt2img(sampler_name="DPM++ 2M", scheduler=scheduler)
        assert done.image.tobytes() == old.image.tobytes()


def test_names_that_nobody_has_any_more(sd):
    """As the WebUI since 1.10: DPM++ 2M paints, by a scheduler of its own; and it is said."""
    own = sd.txt2img(sampler_name="DPM++ 2M")
    for fields, said in (({"sampler_name": "xyz"}, "sampler xyz"), ({"sampler_index": "xyz"}, "sampler xyz"),
                         ({"sampler_name": "DPM++ 2M", "scheduler": "xyz"}, "scheduler xyz")):
        done = sd.txt2img(**fields)
        assert done.image.tobytes() == own.image.tobytes() and done.info["sampler_name"] == "DPM++ 2M"
        assert done.info["extra_generation_params"]["Ignored"] == said
    hires = {"enable_hr": True, "hr_scale": 2}
    other = sd.txt2img(**hires, hr_sampler_name="DPM++ 2M")
    done = sd.txt2img(**hires, hr_sampler_name="xyz", hr_scheduler="abc")
    assert done.image.tobytes() == other.image.tobytes()
    assert done.info["extra_generation_params"]["Ignored"] == "sampler xyz, scheduler abc"


def test_every_listed_sampler_and_scheduler_paints(sd):
    for sampler in sd.get("samplers"):
        assert sd.txt2img(sampler_name=sampler["name"], steps=3).image.size == (64, 64)
    for scheduler in sd.get("schedulers"):
        done = sd.txt2img(sampler_name="Euler", scheduler=scheduler["name"], steps=3)
        assert f"Schedule type: {scheduler['label']}" in done.text


def test_eta_of_euler_a(sd):
    usual = sd.txt2img(sampler_name="Euler a", steps=4)
    still = sd.txt2img(sampler_name="Euler a", steps=4, eta=0)
    assert usual.image.tobytes() != still.image.tobytes()
    assert "Eta: 0.0" in still.text and "Eta" not in usual.text
    option = sd.txt2img(sampler_name="Euler a", steps=4, override_settings={"eta_ancestral": 0})
    assert option.image.tobytes() == still.image.tobytes()


def test_clip_skip(sd):
    done = sd.txt2img(override_settings={"CLIP_stop_at_last_layers": 2.0})
    assert done.info["clip_skip"] == 2 and "Clip skip: 2" in done.text
    assert sd.get("options")["CLIP_stop_at_last_layers"] == 1
    assert sd.txt2img(clip_skip=2).info["clip_skip"] == 2


def test_override_settings_that_stay(serve):
    from sdapi_client import Sdapi
    sd = Sdapi(serve().url)
    sd.txt2img(override_settings={"CLIP_stop_at_last_layers": 2},
               override_settings_restore_afterwards=False)
    assert sd.get("options")["CLIP_stop_at_last_layers"] == 2


def test_rng(sd):
    nv = sd.txt2img()
    assert sd.txt2img(override_settings={"randn_source": "NV"}).files == nv.files
    cpu = sd.txt2img(override_settings={"randn_source": "CPU"})
    assert cpu.image.tobytes() != nv.image.tobytes() and "RNG: CPU" in cpu.text


def test_kobold_override_settings(sd):
    done = sd.txt2img(override_settings={
        "sd_model_checkpoint": "nonexistent", "eta_noise_seed_delta": 0.0,
        "CLIP_stop_at_last_layers": 1.0, "ddim_discretize": "uniform", "img2img_fix_steps": False,
        "sd_hypernetwork": "None", "inpainting_mask_weight": 1.0, "initial_noise_multiplier": 1.0,
        "comma_padding_backtrack": 20.0, "unknown_option": [1]})
    assert done.files == sd.txt2img().files


def test_options_that_pictor_cannot_honour(sd):
    body = {**TINY, "override_settings": {"enable_quantization": True}}
    detail = sd.post("txt2img", body, 422)["detail"]
    assert "enable_quantization can only be" in detail[0]["msg"]


@pytest.mark.parametrize("options, sampler, text", [
    ({"s_churn": 8.0}, "Euler", "Sigma churn: 8.0"),
    ({"s_churn": 8.0, "s_tmin": 1.0, "s_tmax": 5.0, "s_noise": 1.1}, "Heun",
     "Sigma churn: 8.0, Sigma tmin: 1.0, Sigma tmax: 5.0, Sigma noise: 1.1"),
    ({"s_noise": 0.9}, "DPM++ SDE", "Sigma noise: 0.9"),
    ({"skip_early_cond": 0.3}, "Euler", "Skip Early CFG: 0.3"),
    ({"sgm_noise_multiplier": True}, "Euler", "SGM noise multiplier: True"),
    ({"always_discard_next_to_last_sigma": True}, "Euler", "Discard penultimate sigma: True"),
    ({"sd_noise_schedule": "Zero Terminal SNR"}, "Euler", "Noise Schedule: Zero Terminal SNR"),
    ({"sigma_min": 0.1, "sigma_max": 10.0, "rho": 3.0}, "Euler Karras",
     "Schedule min sigma: 0.1, Schedule max sigma: 10.0, Schedule rho: 3.0"),
    ({"sigma_max": 10.0}, "DPM++ 2M SDE", "Schedule max sigma: 10.0"),
    ({"rho": 2.0}, "Euler Polyexponential", "Schedule rho: 2.0"),
    ({"eta_ddim": 0.5}, "DDIM", "Eta DDIM: 0.5"),
])
def test_sampling_options(sd, options, sampler, text):
    """Each changes the picture, stands in its text, and comes back from there."""
    ask = {"prompt": "a red circle", "sampler_name": sampler, "steps": 6}
    plain, done = sd.txt2img(**ask), sd.txt2img(**ask, override_settings=options)
    assert done.image.tobytes() != plain.image.tobytes()
    assert text in done.text and text.split(":")[0] not in plain.text
    assert Painted(sd.post("txt2img", {"infotext": done.text})).files == done.files


def test_bad_sampling_options(sd):
    for options in ({"s_churn": 101}, {"s_noise": 3}, {"skip_early_cond": 2},
                    {"sd_noise_schedule": "Sine"}, {"rho": 0.01}, {"rho": -1}, {"sigma_max": 1001},
                    {"sigma_min": 3, "sigma_max": 2}, {"beta_dist_alpha": -1}, {"beta_dist_beta": 11}):
        assert sd.post("txt2img", {**TINY, "sampler_name": "Euler", "override_settings": options}, 422)[
            "detail"][0]["loc"] == ["body", "override_settings"]


def test_seed_of_later_noise(sd):
    """eta_noise_seed_delta (ENSD) is for noise that is drawn while sampling, which Euler does not."""
    novel = {"override_settings": {"eta_noise_seed_delta": 31337}}
    for sampler, differs in (("Euler a", True), ("DPM++ SDE", False), ("Euler", False)):
        plain = sd.txt2img(sampler_name=sampler)
        done = sd.txt2img(sampler_name=sampler, **novel)
        assert (done.image.tobytes() != plain.image.tobytes()) == differs, sampler
        assert "ENSD: 31337" in done.text and "ENSD" not in plain.text
        assert Painted(sd.post("txt2img", {"infotext": done.text})).files == done.files
    assert sd.txt2img(sampler_name="Euler a", eta=0, **novel).image.tobytes() == sd.txt2img(
        sampler_name="Euler a", eta=0).image.tobytes()
    body = {**TINY, "override_settings": {"eta_noise_seed_delta": -1}}
    assert "eta_noise_seed_delta" in sd.post("txt2img", body, 422)["message"]


def test_hires(sd):
    """Whatever a list offers; a picture each."""
    listed = [u["name"] for u in sd.get("latent-upscale-modes") + sd.get("upscalers")]
    assert len(listed) == 10 and len(set(listed)) == 10
    seen = {}
    for upscaler in [*listed, None, "latent (NEAREST)"]:
        done = sd.txt2img(enable_hr=True, hr_scale=2, hr_upscaler=upscaler, denoising_strength=0.7,
                          hr_second_pass_steps=3)
        assert done.image.size == (128, 128)
        assert done.info["width"] == 64
        name = {"None": "Lanczos", None: "Latent", "latent (NEAREST)": "Latent (nearest)"}.get(
            upscaler, upscaler)
        assert f"Hires upscale: 2.0, Hires steps: 3, Hires upscaler: {name}, " in done.text
        assert "Denoising strength: 0.7" in done.text
        assert seen.setdefault(name, done.image.tobytes()) == done.image.tobytes()
    assert len(seen) == 9
    # At twice the size both take the same pixel, and nothing is there to be smoothed.
    assert seen.pop("Latent (nearest)") == seen["Latent (nearest-exact)"]
    assert seen.pop("Latent (antialiased)") == seen["Latent"]
    assert len(set(seen.values())) == 7


def test_hires_sizes(sd):
    done = sd.txt2img(enable_hr=True, hr_resize_x=128, hr_resize_y=96)
    assert done.image.size == (128, 96) and "Hires resize: 128x96" in done.text
    for upscaler in ("Latent", "Lanczos"):  # cut out of 128x128, not squeezed into 128x96
        cut = sd.txt2img(enable_hr=True, hr_resize_x=128, hr_resize_y=96, hr_upscaler=upscaler,
                         denoising_strength=0.01, hr_second_pass_steps=1)
        whole = sd.txt2img(enable_hr=True, hr_resize_x=128, hr_resize_y=128, hr_upscaler=upscaler,
                           denoising_strength=0.01, hr_second_pass_steps=1)
        assert "Hires crop: True" in cut.text and "Hires crop" not in whole.text
        middle = ImageChops.difference(cut.image, whole.image.crop((0, 16, 128, 112)))
        assert ImageStat.Stat(middle.crop((8, 8, 120, 88))).mean < [6] * 3
    body = {**TINY, "enable_hr": True, "hr_upscaler": "R-ESRGAN 4x+"}
    answer = sd.post("txt2img", body, 500)
    assert answer["errors"] == "could not find upscaler named R-ESRGAN 4x+"


def test_lora_tags_are_dropped(sd):
    plain = sd.txt2img(prompt="a cat")
    assert sd.txt2img(prompt="a cat<lora:nobody:0.8>").image.tobytes() == plain.image.tobytes()


@pytest.mark.parametrize("prompt", ["word " * 100, "a BREAK b", "(a:1.2.3)", "((((", "\\", "#",
                                    "a and b", "\\[a:b:0.5\\]", "[a:b]"])
def test_prompts_that_are_hard(sd, prompt):
    assert sd.txt2img(prompt=prompt, steps=1).image.size == (64, 64)


def test_formats(sd):
    jpeg = sd.txt2img(prompt="a cat", override_settings={"samples_format": "jpeg"})
    assert jpeg.image.format == "JPEG"
    comment = jpeg.image.getexif().get_ifd(0x8769)[0x9286]
    assert comment == b"UNICODE\0" + jpeg.text.encode("utf-16-be")
    webp = sd.txt2img(override_settings={"samples_format": "webp"})
    assert webp.image.format == "WEBP"
    body = {"override_settings": {"samples_format": "tiff"}}
    assert "Invalid image format" in sd.post("txt2img", body, 422)["detail"][0]["msg"]


def test_infotext_field(sd):
    text = "a dog\nSteps: 3, Sampler: Euler a, CFG scale: 5, Seed: 7, Size: 64x64"
    body = {"infotext": text, "seed": 9}
    done = Painted(sd.post("txt2img", body))
    assert done.text.startswith("a dog\nSteps: 3, Sampler: Euler a, Schedule type: Automatic, "
                                "CFG scale: 5.0, Seed: 9, Size: 64x64")


def test_speed(sd):
    exact = sd.txt2img(prompt="a cat", steps=4)
    assert "NGMS" not in exact.text and "Token" not in exact.text
    for off in ({"s_min_uncond": 0}, {"override_settings": {"token_merging_ratio": 0.0}},
                {"override_settings": {"s_min_uncond_all": True}}):
        assert sd.txt2img(prompt="a cat", steps=4, **off).files == exact.files
    for on, text in (({"s_min_uncond": 5}, ", NGMS: 5.0, Version"),
                     ({"s_min_uncond": 5, "override_settings": {"s_min_uncond_all": True}},
                      ", NGMS: 5.0, NGMS all steps: True, Version"),
                     ({"override_settings": {"token_merging_ratio": 0.5}},
                      ", Token merging ratio: 0.5, Version")):
        done = sd.txt2img(prompt="a cat", steps=4, **on)
        assert text in done.text
        assert done.image.tobytes() != exact.image.tobytes()
        again = Painted(sd.post("txt2img", {"infotext": done.text}))
        assert again.files == done.files


def test_parameters_echo(sd):
    done = sd.txt2img(steps="2", seed="123", hr_scale="1.0", restore_faces=1, width=64.0,
                      unknown={"a": 1})
    assert done.parameters["steps"] == 2 and done.parameters["restore_faces"] is True
    assert done.info["seed"] == 123
    assert "unknown" not in done.parameters
    assert list(done.parameters)[:12] == [
        "prompt", "negative_prompt", "styles", "seed", "subseed", "subseed_strength",
        "seed_resize_from_h", "seed_resize_from_w", "sampler_name", "scheduler", "batch_size",
        "n_iter"]


@pytest.mark.parametrize("body, name, kind", [
    ({"steps": "abc"}, "steps", "type_error.integer"),
    ({"prompt": ["a"]}, "prompt", "type_error.str"),
    ({"enable_hr": "maybe"}, "enable_hr", "type_error.bool"),
    ({"steps": 0}, "steps", "value_error"), ({"steps": -1}, "steps", "value_error"),
    ({"steps": 100000}, "steps", "value_error"), ({"width": 0}, "width", "value_error"),
    ({"width": -8}, "width", "value_error"), ({"width": 7}, "width", "value_error"),
    ({"height": 100000}, "height", "value_error"), ({"n_iter": 0}, "n_iter", "value_error"),
    ({"batch_size": 0}, "batch_size", "value_error"),
    ({"batch_size": -1}, "batch_size", "value_error"),
    ({"batch_size": 10**6}, "batch_size", "value_error"),
    ({"cfg_scale": -1}, "cfg_scale", "value_error"),
    ({"enable_hr": True, "denoising_strength": -1}, "denoising_strength", "value_error"),
    ({"enable_hr": True, "denoising_strength": 2}, "denoising_strength", "value_error"),
    ({"s_min_uncond": 2000}, "s_min_uncond", "value_error"),
    ({"override_settings": {"token_merging_ratio": 2}}, "override_settings", "value_error"),
    ({"refiner_checkpoint": "pictor-mini", "refiner_switch_at": 2}, "refiner_switch_at", "value_error"),
])
def test_what_is_refused(sd, body, name, kind):
    detail = sd.post("txt2img", {**TINY, **body}, 422)["detail"]
    assert detail[0]["loc"] == ["body", name] and detail[0]["type"] == kind


@pytest.mark.parametrize("body", [
    b'{"prompt":', b'"abc"', b"null", b"[" * 1000000, b'{"prompt":"\xff"}', b"[1]", b"",
    b'{"a":' * 10000 + b"1" + b"}" * 10000, b'{"cfg_scale":NaN}', b'{"cfg_scale":1e400}',
    b'{"seed":18446744073709551616}'])
def test_bodies_that_are_no_request(sd, body):
    sd.post("txt2img", data=body, headers={"Content-Type": "application/json"}, status=422)
    sd.get("samplers")


def test_scripts_are_not_found(sd):
    answer = sd.post("txt2img", {**TINY, "script_name": "x/y/z"}, 422)
    assert answer["detail"] == "Script 'x/y/z' not found"
    body = {**TINY, "alwayson_scripts": {"reactor": {"args": [{"model": "x"}]}}}
    assert sd.post("txt2img", body, 422)["detail"] == "Script 'reactor' not found"
    sd.txt2img(alwayson_scripts={"ADetailer": {"args": [False]}, "ControlNet": {"args": []}})


@pytest.mark.parametrize("seed", [6004799503160661, 2 ** 53 + 1, 2 ** 64 - 1])
def test_every_digit_of_a_seed(sd, seed):
    text = f"p\nSteps: 1, Sampler: Euler, Seed: {seed}, Size: 64x64"
    for body in ({**TINY, "seed": seed}, {**TINY, "seed": str(seed)}, {"infotext": text}):
        done = Painted(sd.post("txt2img", {**body, "subseed": str(seed)}))
        assert done.parameters["seed"] == done.parameters["subseed"] == seed
        assert done.info["seed"] == done.info["subseed"] == done.info["all_seeds"][0] == seed
        assert f"Seed: {seed}," in done.text
    assert sd.txt2img(seed=seed).files[0] != sd.txt2img(seed=seed - 1).files[0]


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"},
                                     {"Content-Type": "application/x-www-form-urlencoded"}])
def test_content_type_does_not_matter(sd, headers):
    data = json.dumps({**TINY, "steps": 1}).encode()
    response = sd.request("POST", "txt2img", data=data, headers=headers)
    assert response.status_code == 200


def test_prompts_that_are_too_long_are_not_queued(sd):
    jobs = sd.get("/api/jobs")["jobs"]
    for body, name in (({"prompt": "cat " * 16300}, "prompt"), ({"prompt": "(" * 100}, "prompt"),
                       ({"negative_prompt": "\u732b" * 16300}, "negative_prompt")):
        answer = sd.post("txt2img", {**TINY, **body}, 422)
        assert answer["detail"][0]["loc"] == ["body", name]
    assert sd.get("/api/jobs")["jobs"] == jobs


def test_layers_that_the_model_lacks_are_not_queued(sd):
    """Known from the model's header: the built-in one's text encoder has three layers."""
    jobs = sd.get("/api/jobs")["jobs"]
    for body in ({"clip_skip": 4}, {"override_settings": {"CLIP_stop_at_last_layers": 12}}):
        answer = sd.post("txt2img", {**TINY, **body}, 422)
        assert answer["detail"][0]["loc"] == ["body", "clip_skip"]
        assert "must be 1..3 for this model" in answer["message"]
    native = requests.post(sd.url + "/api/jobs", timeout=30,
                           json={"prompt": "x", "steps": 1, "clip_skip": 4})
    assert native.status_code == 400 and native.json()["error"]["param"] == "clip_skip"
    assert sd.get("/api/jobs")["jobs"] == jobs
    assert sd.txt2img(clip_skip=3).info["clip_skip"] == 3


def test_huge_prompt_is_bounded(sd):
    assert "prompt" in str(sd.post("txt2img", {"prompt": "a" * 2**20}, 422)["detail"])
    body = {**TINY, "prompt": "(" * 10000}
    assert sd.request("POST", "txt2img", json=body).status_code in (200, 422)
    assert sd.txt2img().image
