"""Requests as well-known clients of SD WebUI send them, replayed, and what those clients read."""
import base64
import io
import json

import pytest
import requests
from PIL import Image
from sdapi_client import encode, gradient


@pytest.fixture
def url(server):
    return server.url


def picture(text):
    assert not text.startswith("data:")
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def test_sillytavern(url):
    basic = {"Authorization": "Basic Og=="}

    def get(path):
        answer = requests.get(f"{url}/sdapi/v1/{path}", headers=basic, timeout=60)
        assert answer.ok
        return answer.json()

    assert "forge_preset" not in get("options")
    models = [{"value": m["title"], "text": m["title"]} for m in get("sd-models")]
    upscalers = [u["name"] for u in get("upscalers")]
    upscalers[1:1] = [m["name"] for m in get("latent-upscale-modes")]
    assert upscalers[:2] == ["None", "Latent"]
    samplers = [s["name"] for s in get("samplers")]
    assert "karras" in [s["name"] for s in get("schedulers")]
    assert get("sd-vae") == []
    answer = requests.post(f"{url}/sdapi/v1/options", headers=basic, timeout=60,
                           json={"sd_model_checkpoint": models[0]["value"]})
    assert answer.ok
    progress = get("progress")
    assert progress["progress"] == 0 and progress["state"]["job_count"] == 0
    answer = requests.post(f"{url}/sdapi/v1/txt2img", headers=basic, timeout=120, json={
        "url": url, "auth": "", "prompt": "best quality, a cat", "negative_prompt": "blurry",
        "sampler_name": samplers[0], "scheduler": "karras", "steps": 2, "cfg_scale": 7,
        "width": 64, "height": 64, "restore_faces": False, "enable_hr": False,
        "hr_upscaler": "Latent", "hr_scale": 2, "hr_additional_modules": [],
        "denoising_strength": 0.7, "hr_second_pass_steps": 0, "seed": -1, "clip_skip": 1,
        "override_settings": {"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"},
        "override_settings_restore_afterwards": True, "save_images": True, "send_images": True,
        "do_not_save_grid": False, "do_not_save_samples": False})
    assert answer.ok and picture(answer.json()["images"][0]).size == (64, 64)
    assert requests.post(f"{url}/sdapi/v1/interrupt", headers=basic, timeout=60).ok


def test_open_webui(url):
    """Sets the model by posting all options back, and refuses other content types."""
    basic = {"Authorization": "Basic "}
    options = requests.get(f"{url}/sdapi/v1/options", headers=basic, timeout=60).json()
    title = requests.get(f"{url}/sdapi/v1/sd-models", headers=basic, timeout=60).json()[0]["title"]
    if options["sd_model_checkpoint"] != title:
        options["sd_model_checkpoint"] = title
    answer = requests.post(f"{url}/sdapi/v1/options", json=options, headers=basic, timeout=60)
    assert answer.status_code == 200
    answer = requests.post(f"{url}/sdapi/v1/txt2img", headers=basic, timeout=120, json={
        "prompt": "a cat", "batch_size": 1, "width": 64, "height": 64, "steps": 2})
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert picture(body["images"][0]).size == (64, 64)
    assert body["parameters"] and body["info"]


def test_dify(url):
    """Sends JSON without a Content-Type, and a model by its model_name."""
    def post(path, body):
        session = requests.Session()
        request = requests.Request("POST", f"{url}/sdapi/v1/{path}", data=json.dumps(body))
        prepared = session.prepare_request(request)
        prepared.headers.pop("Content-Type", None)
        return session.send(prepared, timeout=120)

    name = requests.get(f"{url}/sdapi/v1/sd-models", timeout=60).json()[0]["model_name"]
    assert post("options", {"sd_model_checkpoint": name}).status_code == 200
    answer = post("txt2img", {
        "prompt": "a cat", "negative_prompt": "", "seed": 4, "sampler_name": "DPM++ 2M",
        "scheduler": "Automatic", "steps": 2, "cfg_scale": 7, "width": 64, "height": 64,
        "refiner_checkpoint": "", "refiner_switch_at": 0,
        "override_settings": {"sd_model_checkpoint": ""}, "enable_hr": False})
    assert answer.status_code == 200 and picture(answer.json()["images"][0])


def test_kobold_lite(url):
    models = requests.get(f"{url}/sdapi/v1/sd-models", timeout=60).json()
    options = requests.get(f"{url}/sdapi/v1/options", timeout=60).json()
    assert models and options["samples_format"] and options["sd_model_checkpoint"]
    settings = {
        "sd_model_checkpoint": options["sd_model_checkpoint"], "eta_noise_seed_delta": 0.0,
        "CLIP_stop_at_last_layers": 1.0, "ddim_discretize": "uniform", "img2img_fix_steps": False,
        "sd_hypernetwork": "None", "inpainting_mask_weight": 1.0, "initial_noise_multiplier": 1.0,
        "comma_padding_backtrack": 20.0}
    payload = {
        "prompt": "a cat", "negative_prompt": "ugly", "seed": -1, "steps": 2, "cfg_scale": 7,
        "sampler_name": "Euler a", "batch_size": 1, "width": 64, "height": 64, "n_iter": 1,
        "do_not_save_grid": True, "do_not_save_samples": True, "enable_hr": False, "eta": 0,
        "s_churn": 0, "s_tmax": 0, "s_tmin": 0, "s_noise": 1, "clip_skip": -1,
        "override_settings": settings, "override_settings_restore_afterwards": True}
    answer = requests.post(f"{url}/sdapi/v1/txt2img", json=payload, timeout=120)
    assert answer.ok and picture(answer.json()["images"][0])
    payload |= {"init_images": [encode(gradient())], "denoising_strength": 0.6}
    answer = requests.post(f"{url}/sdapi/v1/img2img", json=payload, timeout=120)
    assert answer.ok and picture(answer.json()["images"][0])
    answer = requests.post(f"{url}/sdapi/v1/interrogate", timeout=60,
                           json={"image": encode(gradient()), "model": "clip"})
    assert answer.json()["detail"]


def test_sdai_android(url):
    """Seeds as text or null, the old name of the sampler, options as a map of texts."""
    assert requests.get(url, timeout=60).ok
    for sampler in requests.get(f"{url}/sdapi/v1/samplers", timeout=60).json():
        assert all(isinstance(v, str) for v in sampler["options"].values())
    for seed in ("5", "", None):
        body = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": seed,
                "subseed": None, "sampler_index": "Euler a", "alwayson_scripts": {}}
        answer = requests.post(f"{url}/sdapi/v1/txt2img", json=body, timeout=120)
        if seed == "":
            assert answer.status_code == 422
            continue
        info = json.loads(answer.json()["info"])
        assert len(info["all_seeds"]) == 1 and (seed is None or info["all_seeds"] == [5])


def test_text_generation_webui(url):
    assert requests.post(f"{url}/sdapi/v1/unload-checkpoint", json="", timeout=60).ok
    assert requests.post(f"{url}/sdapi/v1/reload-checkpoint", json="", timeout=60).ok
    answer = requests.post(f"{url}/sdapi/v1/txt2img", timeout=120, json={
        "prompt": "a cat", "seed": -1, "sampler_name": "DPM++ 2M", "enable_hr": False,
        "hr_scale": "1.0", "hr_upscaler": "Latent", "denoising_strength": 0.6, "steps": 2,
        "cfg_scale": 7, "width": 64, "height": 64, "restore_faces": False,
        "override_settings_restore_afterwards": True, "negative_prompt": ""})
    assert answer.ok and picture(answer.json()["images"][0])


def test_cyanic_krita(url):
    for path in ("queue/status", "sdapi/v1/sd-models", "sdapi/v1/sd-vae", "sdapi/v1/samplers",
                 "sdapi/v1/upscalers", "sdapi/v1/face-restorers", "sdapi/v1/prompt-styles",
                 "sdapi/v1/scripts", "sdapi/v1/loras", "sdapi/v1/embeddings",
                 "sdapi/v1/hypernetworks", "sdapi/v1/options"):
        assert requests.get(f"{url}/{path}", timeout=60).ok, path
    model = requests.get(f"{url}/sdapi/v1/sd-models", timeout=60).json()[0]["title"]
    answer = requests.post(f"{url}/sdapi/v1/img2img", timeout=120, json={
        "prompt": "a cat", "init_images": ["data:image/png;base64," + encode(gradient())],
        "mask": encode(Image.new("RGB", (64, 64), "white")), "mask_blur": 0, "steps": 2,
        "width": 64, "height": 64, "inpainting_fill": 1, "inpaint_full_res": False,
        "include_init_images": False, "save_images": False, "styles": [],
        "override_settings": {"sd_model_checkpoint": model, "sd_vae": "Automatic",
                              "img2img_color_correction": False},
        "override_settings_restore_afterwards": False})
    assert answer.ok
    info = json.loads(answer.json()["info"])
    assert info["infotexts"] and picture(answer.json()["images"][0])
    progress = requests.get(f"{url}/sdapi/v1/progress", timeout=60).json()
    assert {"skipped", "interrupted"} <= set(progress["state"])
    assert requests.post(f"{url}/sdapi/v1/interrupt", json={}, timeout=60).json() == {}


def test_librechat_and_n8n(url):
    assert requests.post(f"{url}/sdapi/v1/refresh-checkpoints", timeout=60).ok
    answer = requests.post(f"{url}/sdapi/v1/txt2img", timeout=120, json={
        "prompt": "a cat", "negative_prompt": "", "sampler_index": "DPM++ 2M Karras",
        "cfg_scale": 4.5, "steps": 2, "width": 64, "height": 64})
    info = json.loads(answer.json()["info"])
    assert (info["height"], info["width"]) == (64, 64)
    assert info["infotexts"][0] and isinstance(info["seed"], int)


def test_openoutpaint_paths_end_in_a_slash(url):
    options = requests.get(f"{url}/sdapi/v1/options/", timeout=60, allow_redirects=False)
    assert options.status_code == 200
    answer = requests.post(f"{url}/sdapi/v1/extra-single-image/", timeout=60,
                           allow_redirects=False,
                           json={"image": encode(gradient()), "upscaler_1": "Lanczos",
                                 "upscaling_resize": 2, "upscale_first": True})
    assert answer.status_code == 200 and picture(answer.json()["image"]).size == (128, 128)


def test_ai_render_asks_whether_the_api_is_on(url):
    answer = requests.get(f"{url}/sdapi/v1/not-there", timeout=60)
    assert answer.status_code == 404 and answer.json()["detail"] == "Not Found"


def test_auto_photoshop(url):
    """Asks for everything at its start, and for the infotext of each picture by png-info."""
    def get(path):
        answer = requests.get(f"{url}/sdapi/v1/{path}", timeout=60)
        assert answer.ok, path
        return answer.json()

    assert "inpainting_mask_weight" in get("options")
    assert all("title" in m and "hash" in m for m in get("sd-models"))
    assert all(s["name"] for s in get("samplers")) and isinstance(get("loras"), list)
    assert isinstance(get("embeddings")["loaded"], dict) and "txt2img" in get("scripts")
    assert requests.get(f"{url}/config", timeout=60).ok
    mask = Image.new("RGB", (64, 64), "white")
    for path, more in (("txt2img", {}), ("img2img", {
            "init_images": [encode(gradient(64, 64))], "mask": encode(mask), "mask_blur": 4,
            "inpainting_fill": 1, "inpaint_full_res": False, "inpaint_full_res_padding": 0,
            "inpainting_mask_invert": 0, "denoising_strength": 0.5, "resize_mode": 1})):
        answer = requests.post(f"{url}/sdapi/v1/{path}", timeout=120, json={
            "prompt": "a cat", "negative_prompt": "", "steps": 2, "n_iter": 1, "batch_size": 2,
            "sampler_index": "Euler a", "cfg_scale": 7, "seed": "-1", "width": 64, "height": 64,
            "use_sharp_mask": False, "restore_faces": False, "enable_hr": False, "script_args": [],
            "alwayson_scripts": {}, "subseed": -1, "subseed_strength": 0, **more})
        assert answer.ok, answer.text
        assert len(answer.json()["images"]) == 2
        for image in answer.json()["images"]:
            picture(image)
            info = requests.post(f"{url}/sdapi/v1/png-info", timeout=60, json={
                "image": "data:image/png;base64," + image}).json()["info"]
            assert "Seed: " in info and "Steps: 2" in info
    progress = get("progress?skip_current_image=false")
    assert progress["progress"] == 0 and "current_image" in progress
    assert requests.post(f"{url}/sdapi/v1/interrupt", timeout=60).ok


@pytest.mark.parametrize("sampler", ["DPM++ 2M Karras", "LMS Karras", "DPM2 a Karras", "DDIM"])
def test_ai_render(url, sampler):
    """Blender's add-on: samplers by the names of old, then the picture enlarged."""
    answer = requests.post(f"{url}/sdapi/v1/img2img", timeout=120, json={
        "prompt": "a house", "negative_prompt": "", "seed": 12, "cfg_scale": 7, "steps": 2,
        "width": 64, "height": 64, "sampler_index": sampler, "denoising_strength": 0.6,
        "init_images": ["data:image/png;base64," + encode(gradient(64, 64))]})
    assert answer.ok, answer.text
    image = answer.json()["images"][0]
    assert picture(image).size == (64, 64)
    assert any(u["name"] == "Lanczos" for u in
               requests.get(f"{url}/sdapi/v1/upscalers", timeout=60).json())
    answer = requests.post(f"{url}/sdapi/v1/extra-single-image", timeout=120, json={
        "resize_mode": 0, "show_extras_results": True, "gfpgan_visibility": 0,
        "codeformer_visibility": 0, "codeformer_weight": 0, "upscaling_resize": 2,
        "upscaler_1": "Lanczos", "upscaler_2": "None", "extras_upscaler_2_visibility": 0,
        "upscale_first": True, "image": "data:image/png;base64," + image})
    assert answer.ok and picture(answer.json()["image"]).size == (128, 128)


def test_agnai(url):
    """A sampler of its own fixed list; what is wrong is read from body.message, detail or the status."""
    body = {"prompt": "a cat", "negative_prompt": "bad", "steps": 2, "width": 64, "height": 64,
            "sampler_name": "DPM++ 2M Karras", "cfg_scale": 9, "batch_size": 1, "n_iter": 1,
            "enable_hr": False, "restore_faces": False, "denoising_strength": 0, "clip_skip": 0,
            "send_images": True, "save_images": False, "seed": -1}
    answer = requests.post(f"{url}/sdapi/v1/txt2img", json=body, timeout=120)
    assert answer.ok, answer.text
    assert picture(answer.json()["images"][0]).size == (64, 64)
    answer = requests.post(f"{url}/sdapi/v1/txt2img", json={**body, "steps": 100000}, timeout=60)
    assert answer.status_code == 422 and answer.json()["detail"]


def test_risuai(url):
    answer = requests.post(f"{url}/sdapi/v1/txt2img", timeout=120, json={
        "width": 64, "height": 64, "seed": -1, "steps": 2, "cfg_scale": 7, "prompt": "a cat",
        "negative_prompt": "", "sampler_name": "Euler a", "enable_hr": True, "hr_scale": 1.25,
        "denoising_strength": 0.7, "hr_upscaler": "Latent"})
    assert answer.ok, answer.text
    assert picture(answer.json()["images"][0]).size == (80, 80)


def test_swarmui(url):
    """As a backend of its: the model by its title without a hash."""
    models = requests.get(f"{url}/sdapi/v1/sd-models", timeout=60).json()
    title = models[0]["title"].split(" [")[0]
    assert requests.post(f"{url}/sdapi/v1/options", json={"sd_model_checkpoint": title}, timeout=60).ok
    current = requests.get(f"{url}/sdapi/v1/options", timeout=60).json()["sd_model_checkpoint"]
    assert current.split(" [")[0] == title
    answer = requests.post(f"{url}/sdapi/v1/txt2img", timeout=120, json={
        "prompt": "a cat<lora:gone:1>", "negative_prompt": "", "seed": 5, "steps": 2, "width": 64,
        "height": 64, "cfg_scale": 7, "subseed": 1, "subseed_strength": 0, "sampler_name": "Euler"})
    assert answer.ok and picture(answer.json()["images"][0])


def test_stablestudio(url):
    """In a browser of another origin only as far as the operator allows it; from the same one all."""
    options = requests.get(f"{url}/sdapi/v1/options", timeout=60).json()
    assert options["sd_model_checkpoint"]
    image = requests.post(f"{url}/sdapi/v1/txt2img", timeout=120, json={
        "prompt": "a cat", "negative_prompt": "", "seed": 3, "steps": 2, "width": 64, "height": 64,
        "cfg_scale": 7, "sampler_index": "Euler a", "sampler_name": "Euler a", "batch_size": 1,
        "save_images": True}).json()["images"][0]
    info = requests.post(f"{url}/sdapi/v1/png-info", timeout=60, json={"image": image}).json()
    assert "Seed: 3" in info["info"]
    answer = requests.post(f"{url}/sdapi/v1/img2img", timeout=120, json={
        "prompt": "a dog", "init_images": [image], "denoising_strength": 0.5, "steps": 2,
        "width": 64, "height": 64, "seed": 3, "mask": None, "include_init_images": False})
    assert answer.ok and picture(answer.json()["images"][0])


def test_openoutpaint(url):
    """A region of the canvas is painted on, its mask feathered; progress by eta_relative."""
    for path in ("upscalers", "sd-models", "loras", "samplers", "schedulers", "prompt-styles",
                 "scripts"):
        assert requests.get(f"{url}/sdapi/v1/{path}", timeout=60).ok, path
    assert "eta_relative" in requests.get(f"{url}/sdapi/v1/progress", timeout=60).json()
    mask = Image.new("RGB", (64, 64), "black")
    mask.paste((255, 255, 255), (32, 0, 64, 64))
    answer = requests.post(f"{url}/sdapi/v1/img2img/", timeout=120, json={
        "prompt": "a lake", "negative_prompt": "", "seed": -1, "cfg_scale": 7,
        "sampler_index": "DDIM", "steps": 2, "denoising_strength": 1, "mask_blur": 0,
        "batch_size": 1, "width": 64, "height": 64, "n_iter": 1, "inpainting_fill": 1,
        "inpaint_full_res": False, "inpainting_mask_invert": 0, "outpainting_fill": 2,
        "enable_hr": False, "restore_faces": False, "init_images": ["data:image/png;base64," +
                                                                    encode(gradient(64, 64))],
        "mask": "data:image/png;base64," + encode(mask)})
    assert answer.ok, answer.text
    before, after = gradient(64, 64).convert("RGB"), picture(answer.json()["images"][0])
    assert abs(before.getpixel((4, 4))[0] - after.convert("RGB").getpixel((4, 4))[0]) < 24
    answer = requests.post(f"{url}/sdapi/v1/extra-single-image/", timeout=120, json={
        "resize-mode": 0, "upscaling_resize": 2, "upscaler_1": "Lanczos",
        "image": answer.json()["images"][0]})
    assert answer.ok and picture(answer.json()["image"]).size == (128, 128)
