"""SD WebUI dialect: every field and every option there is, by what becomes of it. Nothing that a
client sends may be dropped without a word: it is used, or it is neutral (the WebUI would paint the
very same picture), or it is an error, or, where clients count on its being skipped, it is named in
"info"."""
import re

import pytest
from sdapi_client import encode, gradient, half_mask

BASE = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 3, "seed": 5,
        "sampler_name": "Euler a"}
HIRES = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.5}
PAINT_OVER = {"init_images": [encode(gradient())], "denoising_strength": 0.5}
INPAINT = {**PAINT_OVER, "mask": encode(half_mask()), "mask_blur": 2, "inpaint_full_res": False}
UNIT = {"enabled": False, "module": "none", "model": "None", "weight": 1}


def ignored(done):
    return done.info["extra_generation_params"].get("Ignored", "")


class Verdict:
    """What the request `base` with `fields` in it comes to."""

    def __init__(self, *rows, base={}, kind="txt2img"):
        self.rows, self.base, self.kind = rows, {**BASE, **base}, kind


# Another picture or another text beside it.
USED = [
    Verdict({"prompt": "a blue square"}, {"negative_prompt": "x"}, {"seed": 6}, {"steps": 4},
            {"cfg_scale": 3}, {"width": 72}, {"height": 72}, {"batch_size": 2}, {"n_iter": 2},
            {"sampler_name": "DDIM"}, {"scheduler": "karras"}, {"eta": 0},
            {"tiling": True}, {"seed_resize_from_h": 128, "seed_resize_from_w": 128},
            {"override_settings": {"tiling": True}},
            {"prompt": "a [red:blue:2] circle"}, {"prompt": "a [red|blue] circle"},
            {"prompt": "a red circle AND a blue square :0.5"}, {"prompt": "a red circle:1.2"},
            {"negative_prompt": "a [cat:dog:0.4]"},
            {"s_min_uncond": 5}, {"subseed": 3, "subseed_strength": 0.5}, {"clip_skip": 2},
            {"enable_hr": True}, {"override_settings": {"CLIP_stop_at_last_layers": 2}}),
    Verdict({"sampler_index": "DDIM"}, base={"sampler_name": None}),
    Verdict({"infotext": "a dog\nSteps: 2, Sampler: Euler a, Seed: 9, CFG scale: 5"},
            base={"prompt": None, "steps": None, "seed": None}),
    Verdict({"hr_scale": 1.5}, {"hr_upscaler": "Lanczos"}, {"hr_second_pass_steps": 2},
            {"hr_steps": 2}, {"hr_resize_x": 72}, {"hr_resize_y": 72}, {"denoising_strength": 0.9},
            {"firstphase_width": 64, "firstphase_height": 64, "width": 72, "height": 72},
            {"hr_sampler_name": "DDIM"}, {"hr_scheduler": "karras"}, {"hr_prompt": "x"},
            {"hr_negative_prompt": "x"}, base=HIRES),
    Verdict({"denoising_strength": 0.9}, {"init_images": [encode(gradient(64, 32))]},
            {"mask": encode(half_mask())}, base=PAINT_OVER, kind="img2img"),
    Verdict({"resize_mode": 1}, {"resize_mode": 2}, {"resize_mode": 3},
            base={**PAINT_OVER, "init_images": [encode(gradient(128, 64))]}, kind="img2img"),
    Verdict({"mask_blur": 8}, {"inpainting_fill": 2}, {"inpaint_full_res": True},
            {"inpainting_mask_invert": 1}, {"mask_round": False}, base=INPAINT, kind="img2img"),
    Verdict({"initial_noise_multiplier": 0.5}, {"override_settings": {"initial_noise_multiplier": 0.5}},
            {"override_settings": {"img2img_color_correction": True}}, base=PAINT_OVER, kind="img2img"),
    Verdict({"mask_blur_x": 9}, {"mask_blur_y": 9}, {"mask_blur_x": 8, "mask_blur_y": 8}, base={**INPAINT, "mask_blur": None},
            kind="img2img"),
    Verdict({"inpaint_full_res_padding": 8}, base={**INPAINT, "inpaint_full_res": True},
            kind="img2img"),
]

# The same picture, and the WebUI's would be the same too.
NEUTRAL = [
    Verdict({"lora": []}, {"loras": []}, {"styles": []}, {"styles": [""]}, {"styles": None}, {"subseed": 77},
            {"seed_resize_from_h": 64}, {"seed_resize_from_w": 64},
            {"seed_resize_from_h": 0, "seed_resize_from_w": 0},
            {"sampler_index": "DDIM"}, {"scheduler": "Automatic"}, {"restore_faces": False},
            {"tiling": False}, {"do_not_save_samples": True}, {"do_not_save_grid": True},
            {"denoising_strength": 0.3}, {"s_min_uncond": 0},
            {"s_churn": 0, "s_tmin": 0, "s_tmax": 0, "s_noise": 0}, {"s_tmax": 1}, {"s_tmin": 1},
            {"s_noise": 1}, {"override_settings": []}, {"override_settings": {}},
            {"override_settings": {"sd_vae": "Automatic"}}, {"override_settings": {"sd_vae": ""}},
            {"override_settings": {"sd_model_checkpoint": ""}},
            {"override_settings": {"forge_additional_modules": []}},
            {"override_settings_restore_afterwards": True}, {"refiner_checkpoint": ""},
            {"refiner_checkpoint": "None", "refiner_switch_at": 0.8}, {"refiner_switch_at": 0.8},
            {"disable_extra_networks": True}, {"firstpass_image": None}, {"comments": {}},
            {"comments": []}, {"comments": {"a": "b"}},
            {"firstphase_width": 64, "firstphase_height": 64}, {"hr_scale": 3},
            {"hr_upscaler": "ESRGAN_4x"}, {"hr_second_pass_steps": 9}, {"hr_resize_x": 99},
            {"hr_resize_y": 99}, {"hr_checkpoint_name": "x"}, {"hr_sampler_name": "x"},
            {"hr_scheduler": "x"}, {"hr_prompt": "x"}, {"hr_negative_prompt": "x"},
            {"script_name": ""}, {"script_name": None, "script_args": [1, 2]},
            {"alwayson_scripts": {}}, {"alwayson_scripts": []},
            {"alwayson_scripts": {"ControlNet": {"args": [UNIT, UNIT]}}},
            {"alwayson_scripts": {"ADetailer": {"args": [False, False, {"ad_model": "None"}]}}},
            {"alwayson_scripts": {"ADetailer": {"args": [{"ad_model": "None"}]}}},
            {"alwayson_scripts": {"Seed": {"args": [1]}, "sampler": {"args": [5, "Euler"]}}},
            {"infotext": ""}, {"clip_skip": -1}, {"unknown": None}, {"unknown": ""},
            {"unknown": []}, {"hr_additional_modules": []}),
    Verdict({"hr_checkpoint_name": "Use same checkpoint"}, {"hr_sampler_name": "Use same sampler"},
            {"hr_sampler_name": "Euler a"}, {"hr_scheduler": "Use same scheduler"},
            {"hr_prompt": ""}, {"hr_prompt": BASE["prompt"]}, {"hr_negative_prompt": ""},
            base=HIRES),
    Verdict({"image_cfg_scale": 1.5}, {"mask": None}, {"mask": ""}, {"mask_blur": 9},
            {"mask_blur_x": 9}, {"mask_round": False}, {"inpainting_fill": 2},
            {"inpaint_full_res": False}, {"inpaint_full_res_padding": 32},
            {"inpainting_mask_invert": 1}, {"initial_noise_multiplier": 1}, {"latent_mask": None},
            {"latent_mask": ""}, {"include_init_images": False}, base=PAINT_OVER, kind="img2img"),
]

# The same picture; "info" says what was skipped.
NAMED = [
    Verdict({"styles": ["Moody"]}, {"override_settings": {"sd_vae": "Moody.safetensors"}},
            {"override_settings": {"Moody": 1}}, {"override_settings": {"sd_model_checkpoint":
                                                                        "Moody"}},
            {"prompt": "a red circle<lora:Moody:0.8>"}, {"prompt": "<hypernet:Moody:1>a red circle"},
            {"Moody": 1}, {"Moody": {"a": 1}}, {"Moody": "x"}),
    Verdict({"firstpass_image": "Moody"}, {"s_churn": 0.3}, {"s_noise": 0.9}, {"distilled_cfg_scale": 3.5},
            {"restore_faces": True}, {"restore_faces": 1},
            {"hr_cfg": 4}, {"init_images": ["x"]},
            {"controlnet_units": [{"model": "x"}]}),
    Verdict({"latent_mask": "Moody"}, {"enable_hr": True}, {"hr_scale": 2}, base=PAINT_OVER, kind="img2img"),
]

# What would be another picture and cannot be painted.
REFUSED = [
    Verdict({"refiner_checkpoint": "x"}, {"lora": [{"path": "x", "multiplier": 1}]},
            {"loras": [{"name": "x"}]},
            {"seed_resize_from_h": 64, "seed_resize_from_w": 99999}, {"script_name": "x/y/z"},
            {"prompt": " AND a" * 16},
            {"alwayson_scripts": {"ControlNet": {"args": [{**UNIT, "enabled": True}]}}},
            {"alwayson_scripts": {"ControlNet": {"args": [UNIT, {"model": "x"}]}}},
            {"alwayson_scripts": {"ADetailer": {"args": [True, {"ad_model": "face.pt"}]}}},
            {"alwayson_scripts": {"ADetailer": {"args": [{"ad_model": "face.pt"}]}}},
            {"alwayson_scripts": {"Dynamic Thresholding": {"args": [True, 7]}}},
            {"infotext": "a\nSteps: 3, Sampler: Euler a, Seed: 1, Size: 64x64, Downcast alphas_cumprod: True"},
            {"infotext": "a\nSteps: 3, Sampler: Euler a, Seed: 1, Downcast alphas_cumprod: True"}),
    Verdict({"hr_checkpoint_name": "x"},
            {"hr_prompt": "<lora:Moody:1>x"}, {"hr_upscaler": "ESRGAN_4x"},
            base=HIRES),
    Verdict({"init_images": []}, {"init_images": None}, {"resize_mode": 4},
            {"init_images": PAINT_OVER["init_images"] * 2}, {"initial_noise_multiplier": 2},
            base=PAINT_OVER, kind="img2img"),
    Verdict({"inpainting_fill": 4}, base=INPAINT, kind="img2img"),
    Verdict({"mask_blur_y": 65}, base={**INPAINT, "mask_blur": None}, kind="img2img"),
]

# Of the answer, not of the picture; tests of their own look at these.
OF_THE_ANSWER = {"send_images", "save_images", "force_task_id", "include_init_images"}


def rows(verdicts):
    return [pytest.param(v, row, id=f"{v.kind}-{row}"[:90]) for v in verdicts for row in v.rows]


def paint(sd, kind, body):
    from sdapi_client import Painted
    return Painted(sd.post(kind, body))


@pytest.fixture(scope="module")
def plain(sd):
    """The request without the field; each is painted once."""
    kept = {}

    def get(verdict):
        if id(verdict) not in kept:
            kept[id(verdict)] = paint(sd, verdict.kind, verdict.base)
        return kept[id(verdict)]
    return get


@pytest.mark.parametrize("verdict, row", rows(USED))
def test_used(sd, plain, verdict, row):
    done = paint(sd, verdict.kind, {**verdict.base, **row})
    assert done.files != plain(verdict).files
    assert ignored(done) == ""


@pytest.mark.parametrize("verdict, row", rows(NEUTRAL))
def test_neutral(sd, plain, verdict, row):
    done = paint(sd, verdict.kind, {**verdict.base, **row})
    assert done.files == plain(verdict).files
    # What this picture alone has no use for is named with its reason, and nothing else is.
    assert set(re.sub(r" \(no effect (?:[^()]|\([^()]*\))*\)", "", ignored(done)).split(", ")) <= {"", *row}


@pytest.mark.parametrize("verdict, row", rows(NAMED))
def test_named(sd, plain, verdict, row):
    done = paint(sd, verdict.kind, {**verdict.base, **row})
    if "prompt" in row:  # what it says of the picture is the prompt with its tags, as in the WebUI
        assert done.image.tobytes() == plain(verdict).image.tobytes()
        assert row["prompt"] in done.text
    else:
        assert done.files == plain(verdict).files
    assert ("Moody" if "Moody" in str(row) else next(iter(row))) in ignored(done) or (
        next(iter(row)) in ignored(done))


@pytest.mark.parametrize("verdict, row", rows(REFUSED))
def test_refused(sd, verdict, row):
    response = sd.request("POST", verdict.kind, json={**verdict.base, **row})
    assert response.status_code in (400, 404, 422, 500), response.text[:300]
    assert response.json()["message"]


def test_no_field_is_forgotten(sd):
    for kind, base in (("txt2img", {}), ("img2img", PAINT_OVER)):
        known = set(paint(sd, kind, {**BASE, **base}).parameters) - OF_THE_ANSWER
        seen = {name for verdict in USED + NEUTRAL + NAMED + REFUSED for row in verdict.rows
                for name in row}
        assert known <= seen, known - seen


def test_many_ignored_names_are_bounded(sd):
    done = paint(sd, "txt2img", {**BASE, **{f"field {i} \u732b" * 20: 1 for i in range(500)}})
    assert len(ignored(done).encode()) < 2100 and ignored(done).endswith(", ...")


# ---- options ----

# With a value that changes the picture, or the file.
OPTIONS_USED = {"samples_format": "webp", "sd_model_checkpoint": None, "randn_source": "CPU",
                "CLIP_stop_at_last_layers": 2, "eta_ancestral": 0.5, "s_min_uncond": 5,
                "comma_padding_backtrack": 5, "tiling": True, "emphasis": "Ignore", "use_old_scheduling": True,
                "token_merging_ratio": 0.5, "eta_noise_seed_delta": 31337}
OPTIONS_ELSEWHERE = {"jpeg_quality", "eta_ddim", "s_min_uncond_all", "enable_prompt_comments",
                     "token_merging_ratio_img2img", "initial_noise_multiplier", "img2img_color_correction", "live_previews_enable",
                     "show_progress_every_n_steps", "inpainting_mask_weight",
                     "s_churn", "s_noise", "s_tmin", "s_tmax", "skip_early_cond", "sgm_noise_multiplier",
                     "always_discard_next_to_last_sigma", "sd_noise_schedule",
                     "sigma_min", "sigma_max", "rho", "beta_dist_alpha", "beta_dist_beta"}
OPTIONS_NAMED = {"sd_vae": "Moody.safetensors"}


def other(value):
    """Another value of the type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return ["x"] if isinstance(value, list) else "x"


def test_options(sd):
    """Each option with another value than the default: used, refused, or of no effect on a picture,
    which is stated here once more."""
    plain = paint(sd, "txt2img", BASE)
    free = set()
    for name, value in sd.get("options").items():
        if name in OPTIONS_ELSEWHERE or name in ("sd_model_checkpoint", "sd_checkpoint_hash"):
            continue
        value = OPTIONS_USED.get(name, OPTIONS_NAMED.get(name, other(value)))
        body = {**BASE, "override_settings": {name: value}}
        response = sd.request("POST", "txt2img", json=body)
        if response.status_code == 422:
            assert name in response.text
            continue
        done = paint(sd, "txt2img", body)
        if name in OPTIONS_USED:
            assert done.files != plain.files, name
        elif name in OPTIONS_NAMED:
            assert OPTIONS_NAMED[name] in ignored(done)
        else:
            assert done.files == plain.files and ignored(done) == "", name
            free.add(name)
    assert free == FREE, free ^ FREE


# How pictures are saved and shown, what an infotext says of models, what only other models, networks
# or face restoration would look at.
FREE = {
    "samples_save", "save_txt", "grid_save", "return_grid", "grid_only_if_multiple", "n_rows", "sdxl_clip_l_skip",
    "upcast_attn", "batch_cond_uncond", "refiner_switch_by_sample_steps",
    "hires_fix_refiner_pass", "hires_fix_use_firstpass_conds", "auto_backcompat",
    "face_restoration_model", "code_former_weight", "extra_networks_default_multiplier",
    "show_progress_type", "live_preview_content", "live_previews_image_format",
    "live_preview_fast_interrupt", "show_progress_grid", "infotext_styles", "infotext_skip_pasting",
    "add_model_name_to_info", "add_model_hash_to_info", "add_vae_name_to_info",
    "add_vae_hash_to_info", "add_version_to_infotext", "add_user_name_to_info",
    "textual_inversion_add_hashes_to_infotext", "lora_add_hashes_to_infotext",
    "save_images_before_highres_fix", "save_incomplete_images", "save_init_img", "send_seed",
    "send_size", "sdxl_crop_top", "sdxl_crop_left", "sdxl_refiner_low_aesthetic_score",
    "sdxl_refiner_high_aesthetic_score", "sd3_enable_t5"}
