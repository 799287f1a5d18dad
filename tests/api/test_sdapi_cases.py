"""The cases that clients of the SD WebUI's API stand or fall with, numbered; docs/sdapi-cases.md is made of them
(tests/conformance_sdapi.py)."""
import base64
import io
import json
import math
import re
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image, ImageChops, ImageStat
from raw_client import Raw, post
from sdapi_client import TINY, Painted, Sdapi, encode, gradient, half_mask, wait_for
from test_beside import server as inpainting  # pylint: disable=unused-import
from test_loras import fill

IMAGE = encode(gradient())
LONG = {"width": 128, "height": 128, "steps": 50, "sampler_name": "Euler"}


@pytest.fixture(scope="module")
def own(serve_module):
    """A server whose options may be changed, with LoRAs."""
    server = serve_module()
    fill(server.folder / "data" / "loras")
    return Sdapi(server.url)


def pixels(done):
    return done.image.convert("RGB").tobytes()


def extra(sd, **body):
    return Image.open(io.BytesIO(base64.b64decode(sd.post("extra-single-image", {"image": IMAGE, **body})["image"])))


def behind(sd, body, path="txt2img"):
    """A request that goes on beside the test; call it for its answer."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(Sdapi(sd.url).request("POST", path, json=body)), daemon=True)
    thread.start()

    def wait():
        thread.join(120)
        return answers[0]
    return wait


# ---- lists and shapes ----

def test_case_01(sd):
    """lists of thirteen paths are arrays of application/json"""
    for path in ("samplers", "schedulers", "upscalers", "latent-upscale-modes", "sd-models", "sd-vae", "loras", "hypernetworks",
                 "face-restorers", "realesrgan-models", "prompt-styles", "script-info", "extensions"):
        assert isinstance(sd.get(path), list)


def test_case_02(sd):
    """embeddings, scripts, memory, cmd-flags and options are objects with their keys"""
    assert isinstance(sd.get("embeddings")["loaded"], dict) and "skipped" in sd.get("embeddings")
    assert {"txt2img", "img2img"} == set(sd.get("scripts")) and {"ram", "cuda"} == set(sd.get("memory"))
    assert isinstance(sd.get("cmd-flags"), dict)
    assert {"samples_format", "sd_model_checkpoint", "sd_checkpoint_hash", "sd_vae"} <= set(sd.get("options"))


def test_case_03(sd):
    """samplers: aliases are texts, values of options are texts; the usual ones are there"""
    listed = sd.get("samplers")
    for sampler in listed:
        assert all(isinstance(a, str) for a in sampler["aliases"])
        assert all(isinstance(v, str) for v in sampler["options"].values())
    assert {"Euler a", "Euler", "DPM++ 2M", "DDIM"} <= {s["name"] for s in listed}


def test_case_04(sd):
    """upscalers begin with None; the six latent modes in order"""
    assert [u["name"] for u in sd.get("upscalers")][:3] == ["None", "Lanczos", "Nearest"]
    assert [m["name"] for m in sd.get("latent-upscale-modes")] == [
        "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)",
        "Latent (nearest-exact)"]


def test_case_05(sd):
    """models: all keys; a title ends in its hash; options name one, with its sha256"""
    models, options = sd.get("sd-models"), sd.get("options")
    for model in models:
        assert list(model) == ["title", "model_name", "hash", "sha256", "filename", "config"]
        if model["sha256"]:
            assert model["title"].endswith(f" [{model['sha256'][:10]}]")
    chosen = next(m for m in models if m["title"] == options["sd_model_checkpoint"])
    assert options["sd_checkpoint_hash"] == (chosen["sha256"] or "")


def test_case_06(sd):
    """/, /queue/status, /docs, /internal/ping, /app_id and //path answer 200"""
    for path in ("/", "/queue/status", "/docs", "/internal/ping", "/app_id", "//sdapi//v1/samplers"):
        assert sd.request("GET", path).status_code == 200


def test_case_07(own):
    """what has no body takes any; the next picture loads its model again"""
    for path in ("skip", "refresh-checkpoints", "refresh-loras", "unload-checkpoint", "reload-checkpoint", "interrupt"):
        for kwargs in ({}, {"data": b'""'}, {"json": {}}):
            assert own.answer(own.request("POST", path, **kwargs), 200) in (None, {})
    assert own.txt2img().image


# ---- txt2img ----

def test_case_08(sd):
    """an empty request is painted; the echo has the defaults, info the seed"""
    done = Painted(sd.post("txt2img", {"steps": 1}))
    assert done.image.size == (512, 512) and done.parameters["prompt"] == "" and done.parameters["seed"] == -1
    assert done.parameters["denoising_strength"] is None and 0 <= done.info["seed"]


def test_case_09(sd):
    """the same request twice: the same bytes; the infotext's beginning"""
    body = {"prompt": "a cat", "steps": 4, "width": 64, "height": 64, "seed": 1}
    first, second = (Painted(sd.post("txt2img", body)) for _ in range(2))
    assert first.files == second.files
    assert first.image.text["parameters"].startswith(
        "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, Seed: 1, Size: 64x64, Model hash: ")


def test_case_10(sd):
    """batches: seeds count on; each picture is that of its seed"""
    done = sd.txt2img(batch_size=2, n_iter=2, seed=10)
    assert done.info["all_seeds"] == [10, 11, 12, 13] and len(done.info["infotexts"]) == 4
    assert [i.tobytes() for i in done.images] == [sd.txt2img(seed=10 + k).image.tobytes() for k in range(4)]


def test_case_11(sd):
    """variations: subseeds count on; strength 0 and 1 are the two seeds"""
    done = sd.txt2img(subseed=5, subseed_strength=0.3, batch_size=2, seed=10)
    assert done.info["all_seeds"] == [10, 10] and done.info["all_subseeds"] == [5, 6]
    assert "Variation seed: 6, Variation seed strength: 0.3" in done.info["infotexts"][1]
    assert pixels(sd.txt2img(seed=10, subseed=5, subseed_strength=0)) == pixels(sd.txt2img(seed=10))
    ends = sd.txt2img(seed=10, subseed=5, subseed_strength=1).image, sd.txt2img(seed=5).image
    assert max(ImageStat.Stat(ImageChops.difference(*(e.convert("RGB") for e in ends))).mean) < 2


def test_case_12(sd):
    """sizes are cut to multiples of 8"""
    assert sd.txt2img(width=70, height=66).image.size == (64, 64)
    assert sd.txt2img(width=72, height=64).image.size == (72, 64)


def test_case_13(sd):
    """send_images false: no pictures, a full info"""
    done = sd.txt2img(send_images=False)
    assert done.images == [] and len(done.info["infotexts"]) == 1


def test_case_14(sd):
    """save_images: a grid before two pictures, none before one"""
    done = sd.txt2img(save_images=True, batch_size=2)
    assert len(done.images) == 3 and done.info["index_of_first_image"] == 1 and done.images[0].size != done.images[1].size
    assert len(sd.txt2img(save_images=True).images) == 1


def test_case_15(sd):
    """the negative prompt's line; a prompt beyond Latin-1 comes back through png-info"""
    done = sd.txt2img(prompt="\u732b", negative_prompt="x")
    assert done.text.split("\n")[1] == "Negative prompt: x"
    assert sd.post("png-info", {"image": base64.b64encode(done.files[0]).decode()})["parameters"]["Prompt"] == "\u732b"


def test_case_16(sd):
    """old names of samplers, and both names of schedulers"""
    assert sd.txt2img(sampler_index="DDIM", steps=3).info["sampler_name"] == "DDIM"
    old = sd.txt2img(sampler_name="DPM++ 2M Karras")
    assert old.info["sampler_name"] == "DPM++ 2M" and "Schedule type: Karras" in old.text
    for scheduler in (None, "Automatic", "automatic", "karras", "Karras"):
        assert pixels(sd.txt2img(sampler_name="DPM++ 2M", scheduler=scheduler)) == pixels(old)


def test_case_17(sd):
    """every sampler paints in three steps; UniPC says what it wants of two"""
    for sampler in sd.get("samplers"):
        assert sd.txt2img(sampler_name=sampler["name"], steps=3).image.getbbox()
    assert sd.request("POST", "txt2img", json={**TINY, "sampler_name": "UniPC", "steps": 2}).status_code in (200, 422)


def test_case_18(sd):
    """every scheduler paints; those that are the same in 10 steps are known (their sigmas: tests/unit/sampler_test.c)"""
    seen = {s["name"]: pixels(sd.txt2img(scheduler=s["name"], steps=10)) for s in sd.get("schedulers")}
    assert seen["uniform"] == seen["automatic"] and seen["polyexponential"] == seen["exponential"]
    assert len(set(seen.values())) >= len(seen) - 3


def test_case_19(sd):
    """eta 0 makes Euler a deterministic; ENSD changes Euler a alone, and is written"""
    fields = {"sampler_name": "Euler a", "steps": 4}
    ensd = {"override_settings": {"eta_noise_seed_delta": 31337}}
    still = sd.txt2img(**fields, eta=0)
    assert pixels(still) == pixels(sd.txt2img(**fields, eta=0, s_noise=0.5)) == pixels(sd.txt2img(**fields, eta=0, **ensd))
    moved = sd.txt2img(**fields, **ensd)
    assert pixels(moved) != pixels(sd.txt2img(**fields)) and "ENSD: 31337" in moved.text
    euler = {"sampler_name": "Euler", "steps": 4}
    assert pixels(sd.txt2img(**euler, **ensd)) == pixels(sd.txt2img(**euler))


def test_case_20(own):
    """override_settings hold for one request, or stay when asked"""
    done = own.txt2img(override_settings={"CLIP_stop_at_last_layers": 2.0})
    assert done.info["clip_skip"] == 2 and "Clip skip: 2" in done.text
    assert own.get("options")["CLIP_stop_at_last_layers"] == 1
    own.txt2img(override_settings={"CLIP_stop_at_last_layers": 2.0}, override_settings_restore_afterwards=False)
    assert own.get("options")["CLIP_stop_at_last_layers"] == 2
    own.post("options", {"CLIP_stop_at_last_layers": 1})


def test_case_21(sd):
    """KoboldAI Lite's override_settings, with a checkpoint that is not there"""
    assert sd.txt2img(override_settings={
        "sd_model_checkpoint": "nonexistent", "eta_noise_seed_delta": 0.0, "CLIP_stop_at_last_layers": 1.0,
        "ddim_discretize": "uniform", "img2img_fix_steps": False, "sd_hypernetwork": "None", "inpainting_mask_weight": 1.0,
        "initial_noise_multiplier": 1.0, "comma_padding_backtrack": 20.0}).image


def test_case_22(sd):
    """a second pass by latents, Lanczos, of another shape, without a strength"""
    fields = {"enable_hr": True, "hr_second_pass_steps": 3}
    done = sd.txt2img(**fields, hr_scale=2, hr_upscaler="Latent", denoising_strength=0.7)
    assert done.image.size == (128, 128) and done.info["width"] == 64
    assert "Denoising strength: 0.7" in done.text
    assert "Hires upscale: 2.0, Hires steps: 3, Hires upscaler: Latent" in done.text
    for name in ("None", "Lanczos", "Nearest"):
        assert sd.txt2img(**fields, hr_scale=2, hr_upscaler=name, denoising_strength=0.7).image.size == (128, 128)
    assert sd.txt2img(**fields, hr_resize_x=128, hr_resize_y=96).image.size == (128, 96)


def test_case_23(sd):
    """tiling: edges meet, and the infotext says so"""
    done = sd.txt2img(tiling=True, prompt="a pattern", steps=8)
    assert "Tiling: True" in done.text

    def seam(image):
        columns = [image.convert("RGB").crop((x, 0, x + 1, 64)) for x in (63, 0)]
        return sum(ImageStat.Stat(ImageChops.difference(*columns)).mean)
    assert seam(done.image) < seam(sd.txt2img(prompt="a pattern", steps=8).image) + 1


def test_case_24(own):
    """a LoRA's tag changes the picture and stays in the text; one that is not there changes nothing"""
    plain = own.txt2img(prompt="a cat", steps=3)
    done = own.txt2img(prompt="a cat<lora:style:0.8>", steps=3)
    assert pixels(done) != pixels(plain) and "<lora:style:0.8>" in done.text
    assert pixels(own.txt2img(prompt="a cat<lora:missing:0.8>", steps=3)) == pixels(plain)
    assert "<lora:style:1>" in own.txt2img(negative_prompt="<lora:style:1>", steps=3).text


def test_case_25(sd):
    """prompts that change, each with the step where it does (all vectors: tests/unit/wording_test.c)"""
    fields = {"steps": 4, "sampler_name": "Euler"}
    cat, dog = (pixels(sd.txt2img(prompt=p, **fields)) for p in ("a cat", "a dog"))
    changed = pixels(sd.txt2img(prompt="a [cat:dog:0.5]", **fields))
    assert changed not in (cat, dog)
    assert pixels(sd.txt2img(prompt="a [cat:dog:100]", **fields)) == cat
    assert pixels(sd.txt2img(prompt="a [cat:dog:0]", **fields)) == dog
    assert changed == pixels(sd.txt2img(prompt="a [cat:dog:2]", **fields)) != pixels(sd.txt2img(prompt="a [cat:dog:1]", **fields))


def test_case_26(sd):
    """long prompts, BREAK and weights that are none"""
    for prompt in ("word " * 80, "a BREAK b", "(a:1.2.3)"):
        assert sd.txt2img(prompt=prompt).image


def test_case_27(sd):
    """JPEG by samples_format, with the infotext in EXIF"""
    done = sd.txt2img(override_settings={"samples_format": "jpeg"})
    assert done.image.format == "JPEG"
    comment = done.image.getexif().get_ifd(0x8769)[0x9286]
    assert comment.startswith(b"UNICODE\0") and "Steps: 2" in comment[8:].decode("utf-16-be")


def test_case_28(sd):
    """infotext fills what the request does not say"""
    text = "a dog\nSteps: 3, Sampler: Euler a, CFG scale: 5, Seed: 7, Size: 64x64"
    done = Painted(sd.post("txt2img", {"infotext": text}))
    assert (done.info["prompt"], done.info["steps"], done.info["seed"], done.info["cfg_scale"]) == ("a dog", 3, 7, 5)
    assert Painted(sd.post("txt2img", {"infotext": text, "seed": 9})).info["seed"] == 9


# ---- img2img, inpainting ----

def test_case_29(sd):
    """a picture in all spellings and formats; the echo hides it"""
    body = {"denoising_strength": 0.5, "steps": 10}
    done = sd.img2img("data:image/png;base64," + IMAGE, **body)
    assert done.parameters["init_images"] is None and sd.img2img(IMAGE, **body, include_init_images=True).parameters["init_images"]
    lines = "\n".join(IMAGE[i:i + 76] for i in range(0, len(IMAGE), 76))
    for spelling in (IMAGE, lines, "data:image/png;base64, " + IMAGE, encode(gradient(), format="BMP")):
        assert sd.img2img(spelling, **body).files == done.files
    for other in (encode(gradient(), format="JPEG"), encode(gradient().quantize(64), format="GIF")):
        assert sd.img2img(other, **body).image.size == (64, 64)
    clear, white = Image.new("RGBA", (64, 64), (9, 9, 9, 0)), Image.new("RGB", (64, 64), "white")
    assert sd.img2img(encode(clear), **body).files == sd.img2img(encode(white), **body).files


def test_case_30(sd):
    """strength 0 is the picture through the autoencoder; 1 takes all steps"""
    still = sd.img2img(IMAGE, denoising_strength=0, steps=10)
    assert max(ImageStat.Stat(ImageChops.difference(still.image.convert("RGB"), gradient())).mean) < 20
    assert sd.img2img(IMAGE, denoising_strength=1, steps=10).image


def test_case_31(sd):
    """what is wrong with init_images, by status and words"""
    assert sd.post("img2img", {}, 404)["detail"] == "Init image not found"
    sd.post("img2img", {"init_images": []}, 422)
    assert sd.post("img2img", {**TINY, "init_images": ["!!!"]}, 500)["detail"] == "Invalid encoded image"
    assert sd.post("img2img", {**TINY, "init_images": ["http://127.0.0.1/x"]}, 500)["detail"] == "Requests not allowed"
    assert "bad number" in sd.post("img2img", {**TINY, "init_images": [IMAGE] * 3, "batch_size": 2}, 500)["errors"]


def test_case_32(sd):
    """masks: none, all, half, inverted, of alpha; all fills"""
    for value in (0, 255):
        assert sd.img2img(IMAGE, mask=encode(Image.new("L", (64, 64), value))).image.size == (64, 64)
    fields = {"inpainting_fill": 1, "inpaint_full_res": False, "mask_blur": 0}
    right = sd.img2img(IMAGE, mask=encode(half_mask()), **fields).image.convert("RGB")
    assert right.crop((0, 0, 32, 64)).tobytes() == gradient().crop((0, 0, 32, 64)).tobytes()
    for invert in (1, True):
        left = sd.img2img(IMAGE, mask=encode(half_mask()), inpainting_mask_invert=invert, **fields).image.convert("RGB")
        assert left.crop((32, 0, 64, 64)).tobytes() == gradient().crop((32, 0, 64, 64)).tobytes()
    alpha = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    alpha.paste((0, 0, 0, 255), (32, 0, 64, 64))
    assert sd.img2img(IMAGE, mask=encode(alpha), **fields).image.convert("RGB").tobytes() == right.tobytes()
    for fill, words in enumerate(("fill", None, "latent noise", "latent nothing")):
        text = sd.img2img(IMAGE, mask=encode(half_mask()), inpainting_fill=fill).text
        assert f"Masked content: {words}" in text if words else "Masked content" not in text


def test_case_33(sd):
    """only masked: the picture keeps its size, and its pixels outside of the region"""
    picture, mask = gradient(256, 256), Image.new("L", (256, 256), 0)
    mask.paste(255, (96, 96, 160, 160))
    done = sd.img2img(encode(picture), mask=encode(mask), inpaint_full_res=True, inpaint_full_res_padding=8, width=128, height=128)
    assert done.image.size == (256, 256)
    assert done.image.convert("RGB").crop((0, 0, 256, 80)).tobytes() == picture.crop((0, 0, 256, 80)).tobytes()
    assert "Inpaint area: Only masked, Masked area padding: 8" in done.text


def test_case_34(sd):
    """resize_mode 0 to 3 of a picture of another shape; mode 2 draws edges out"""
    wide = gradient(128, 64)
    done = [sd.img2img(encode(wide), resize_mode=mode, denoising_strength=0.1) for mode in range(4)]
    assert all(d.image.size == (64, 64) for d in done) and len({pixels(d) for d in done}) == 4
    band = done[2].image.convert("RGB").crop((0, 0, 64, 12))
    top, bottom = (ImageStat.Stat(band.crop((0, y, 64, y + 3))).mean for y in (0, 9))
    assert max(abs(a - b) for a, b in zip(top, bottom)) < 25


def test_case_35(inpainting):
    """inpainting models with nine channels: txt2img and img2img with a mask; the weight, and the hash at the first picture"""
    api = Sdapi(inpainting.url)
    first = api.txt2img()
    assert re.fullmatch("[0-9a-f]{10}", first.info["sd_model_hash"])
    assert f"Model hash: {first.info['sd_model_hash']}, Model: inpaint" in first.text
    for done in (first, api.img2img(IMAGE, mask=encode(half_mask()))):
        assert "Conditional mask weight: 1.0" in done.text and done.info["is_using_inpainting_conditioning"]


# ---- extras, png-info ----

def test_case_36(sd):
    """extra-single-image: sizes, None, names that are not there, what is out of range"""
    answer = sd.post("extra-single-image", {"image": IMAGE, "upscaler_1": "Lanczos", "upscaling_resize": 2})
    assert answer["html_info"].startswith("<p>Postprocess upscale by: 2") and "images" not in answer
    assert extra(sd, upscaler_1="Lanczos", upscaling_resize=2).size == (128, 128)
    assert extra(sd, upscaler_1="None").size == (64, 64)
    assert extra(sd, upscaler_1="Lanczos", resize_mode=1, upscaling_resize_w=100, upscaling_resize_h=50).size == (100, 50)
    sd.post("extra-single-image", {"image": IMAGE, "upscaler_1": "nope"}, 500)
    for bad in ({"resize_mode": 2}, {"gfpgan_visibility": 1.5}, {"upscaling_resize": 0}):
        sd.post("extra-single-image", {"image": IMAGE, **bad}, 422)


def test_case_37(sd):
    """png-info of a painted picture, of another one, of none, of NovelAI's"""
    done = sd.txt2img(prompt="a cat")
    info = sd.post("png-info", {"image": base64.b64encode(done.files[0]).decode()})
    assert info["info"] == done.text and info["parameters"]["Size-1"] == "64" and info["parameters"]["Prompt"] == "a cat"
    assert "parameters" not in info["items"]
    assert sd.post("png-info", {"image": IMAGE})["info"] == ""
    assert sd.post("png-info", {}, 422)["detail"][0]["msg"] == "field required"
    sd.post("png-info", {"image": "AAAA"}, 500)


# ---- options ----

def test_case_38(own):
    """options go round; checkpoints by every name; idle afterwards"""
    options = own.get("options")
    assert own.post("options", options) is None and own.get("options") == options
    own.post("options", {"send_seed": False})
    assert own.get("options")["send_seed"] is False
    model = own.get("sd-models")[0]
    for name in filter(None, (model["title"], model["model_name"], model["hash"], model["sha256"])):
        own.post("options", {"sd_model_checkpoint": name})
    assert own.post("options", {"sd_model_checkpoint": "nope"}, 500)["errors"] == "model 'nope' not found"
    own.post("options", [1], 422)
    progress = own.progress()
    assert progress["progress"] == 0 and progress["state"]["job_count"] == 0


def test_case_39(own):
    """JSON without a Content-Type"""
    title = own.get("sd-models")[0]["title"]
    request = requests.Request("POST", own.url + "/sdapi/v1/options", data=json.dumps({"sd_model_checkpoint": title})).prepare()
    assert "Content-Type" not in request.headers
    assert own.session.send(request, timeout=60).status_code == 200


# ---- validation and abuse ----

def test_case_40(sd):
    """texts for numbers, numbers for flags; what cannot be read names its field"""
    assert sd.post("txt2img", {"steps": "2", "seed": "123", "hr_scale": "1.0", "restore_faces": 1, "width": 64.0, "height": "64"})
    assert sd.post("txt2img", {"steps": "abc"}, 422)["detail"][0]["loc"] == ["body", "steps"]
    sd.post("txt2img", {"prompt": ["a"]}, 422)
    sd.post("txt2img", {"enable_hr": "maybe"}, 422)


def test_case_41(sd):
    """bodies that are no request"""
    for data in (b"", b'{"prompt":', b'"abc"', b"null", b"[" * 1000000, b'{"prompt":"\xff"}',
                 b'{"a":' * 10000 + b"1" + b"}" * 10000):
        assert sd.request("POST", "txt2img", data=data, headers={"Content-Type": "application/json"}).status_code in (400, 422)
    assert sd.request("POST", "txt2img", data=b'{"steps":1,"steps":1,"width":64,"height":64}').status_code in (200, 400, 422)
    sd.get("samplers")


def test_case_42(sd):
    """null for every field is its default"""
    for kind, base in (("txt2img", {}), ("img2img", {"init_images": [IMAGE]})):
        names = sd.post(kind, {**TINY, **base})["parameters"]
        for name in names:
            if name not in ("init_images", "width", "height", "steps"):
                sd.post(kind, {**TINY, **base, name: None})


def test_case_43(sd):
    """numbers out of range: an error with a detail, soon"""
    for bad in ({"steps": 0}, {"steps": -1}, {"steps": 100000}, {"width": 0}, {"width": -8}, {"width": 7}, {"width": 100000},
                {"batch_size": 0}, {"batch_size": -1}, {"batch_size": 10 ** 6}, {"n_iter": 0}, {"enable_hr": True, "denoising_strength": -1},
                {"enable_hr": True, "denoising_strength": 2}):
        start = time.monotonic()
        response = sd.request("POST", "txt2img", json={**TINY, **bad})
        assert 400 <= response.status_code < 600 and response.json()["detail"] and time.monotonic() - start < 20, bad
    for text in (b'{"cfg_scale":NaN}', b'{"cfg_scale":1e400}'):
        assert sd.request("POST", "txt2img", data=text).status_code == 422
    for seed in (2 ** 63, -5):
        assert sd.txt2img(seed=seed).image


def test_case_44(sd):
    """an unknown sampler is DPM++ 2M and named; unknown paths, methods, slashes at the end"""
    done = sd.txt2img(sampler_name="xyz")
    assert done.info["sampler_name"] == "DPM++ 2M" and "sampler xyz" in done.info["extra_generation_params"]["Ignored"]
    assert sd.get("nothing", 404)["detail"] == "Not Found"
    assert sd.request("GET", "txt2img").status_code == 405
    assert sd.get("options/") and sd.post("options/", {}) is None


def test_case_45(sd):
    """pictures that are bombs, cut, moving, empty; and one of 48 megapixels"""
    from test_sdapi_img2img import bomb
    whole = base64.b64decode(IMAGE)
    for data in (bomb(20000, 20000), whole[:len(whole) // 2], bomb(0, 64), b"x" * (30 << 20), b"GIF89a"):
        response = sd.request("POST", "img2img", json={**TINY, "init_images": [base64.b64encode(data).decode()]})
        assert response.status_code in (413, 422, 500) and response.json()["detail"]
    moving = io.BytesIO()
    gradient().save(moving, "PNG", save_all=True, append_images=[half_mask().convert("RGB")])
    assert sd.img2img(base64.b64encode(moving.getvalue()).decode()).image
    photo = Image.new("RGB", (8000, 6000), (90, 120, 60))
    assert sd.img2img(encode(photo, format="JPEG")).image.size == (64, 64)


def test_case_46(sd):
    """prompts of a megabyte, of brackets alone, of 100,000 parts"""
    for prompt in ("x" * (1 << 20), "(" * 10000, "[" + "a|" * 100000 + "b]"):
        start = time.monotonic()
        response = sd.request("POST", "txt2img", json={**TINY, "prompt": prompt})
        assert response.status_code in (200, 422) and time.monotonic() - start < 60


# ---- access ----

def test_case_47(sd, serve_module):
    """Basic authentication: ignored when it is off; three words of 401 when it is on"""
    for value in ("Basic ", "Bearer x"):
        assert sd.get("samplers", headers={"Authorization": value})
    url = serve_module("--api-auth=user:secret").url
    locked = Sdapi(url)
    for path in ("samplers", "loras", "options"):
        assert locked.get(path, 401)["detail"] == "Not authenticated"
    assert Sdapi(url, auth=("user", "wrong")).get("samplers", 401)["detail"] == "Incorrect username or password"
    assert locked.get("samplers", 401, headers={"Authorization": "Basic ???"})["detail"] == "Invalid authentication credentials"
    assert Sdapi(url, auth=("user", "secret")).get("loras") == []


def test_case_48(sd, serve_module):
    """CORS: a preflight needs no key where it is on; nothing where it is off"""
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST",
               "Access-Control-Request-Headers": "content-type"}
    url = serve_module("--api-auth=user:secret", "--cors-origins=https://a.example").url
    answer = requests.options(url + "/sdapi/v1/txt2img", headers=headers, timeout=30)
    assert answer.status_code in (200, 204) and answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    off = requests.options(sd.url + "/sdapi/v1/txt2img", headers=headers, timeout=30)
    assert "Access-Control-Allow-Origin" not in off.headers


# ---- progress and many at once ----

def test_case_49(own):
    """progress grows, knows its steps and jobs, and is 0 afterwards"""
    wait = behind(own, LONG)
    seen, slowest = [], 0
    while True:
        start = time.monotonic()
        now = own.progress()
        slowest = max(slowest, time.monotonic() - start)
        if now["state"]["job_count"] == 0 and seen:
            break
        if now["state"]["job_count"] == 1:
            assert now["state"]["sampling_steps"] == 50 and now["current_image"] is None
            assert 0.01 <= now["progress"] <= 1 and math.isfinite(now["eta_relative"])
            seen.append(now["progress"])
        time.sleep(0.005)
    assert wait().status_code == 200 and seen == sorted(seen) and slowest < 5
    assert own.progress()["progress"] == 0
    own.answer(own.request("GET", "progress?skip_current_image=banana"), 422)
    wait = behind(own, {**TINY, "steps": 100, "enable_hr": True, "hr_scale": 2})
    wait_for(lambda: own.progress()["state"]["job_count"] == 2)
    wait()


def test_case_50(own):
    """interrupt answers with what is painted, and harms no other job; skip goes on"""
    wait = behind(own, {**LONG, "steps": 150})
    wait_for(lambda: own.progress()["state"]["sampling_step"] >= 3)
    own.post("interrupt")
    assert len(wait().json()["images"]) == 1
    own.post("interrupt")
    whole = own.txt2img(**{**LONG, "seed": 2, "steps": 30})
    wait = behind(own, {**LONG, "steps": 30, "n_iter": 2, "seed": 1})
    wait_for(lambda: own.progress()["state"]["sampling_step"] >= 2)
    own.post("skip")
    done = Painted(wait().json())
    assert len(done.images) == 2 and done.images[1].tobytes() == whole.image.tobytes()


def test_case_51(own):
    """sixty requests at once are all painted, but those whose clients go away; lists answer meanwhile"""
    waits, gone, body = [], [], json.dumps({**TINY, "steps": 21}).encode()
    for k in range(30):
        waits.append(behind(own, {**TINY, "seed": k}))
        gone.append(Raw(urlsplit(own.url)).send(post("/sdapi/v1/txt2img", body)))
    assert own.get("samplers")
    wait_for(lambda: requests.get(own.url + "/api/queue", timeout=30).json()["running"] > 0)
    for client in gone:
        client.socket.close()
    assert all(wait().status_code == 200 for wait in waits)
    wait_for(lambda: own.progress()["state"]["job_count"] == 0)
    jobs = requests.get(own.url + "/api/jobs?limit=60", timeout=30).json()["jobs"]
    left = [job["state"] for job in jobs if job["params"]["steps"] == 21]
    assert "cancelled" in left and set(left) <= {"cancelled", "done"}  # nobody's job goes on


def test_case_52(own):
    """a task's way: queued, active, completed"""
    first = behind(own, LONG)
    wait_for(lambda: own.progress()["state"]["job_count"] == 1)
    second = behind(own, {**LONG, "force_task_id": "task(x)"})
    seen = []

    def look():
        state = own.post("/internal/progress", {"id_task": "task(x)"})
        seen.extend(word for word in ("queued", "active", "completed") if state[word] and word not in seen)
        return "completed" in seen
    wait_for(look)
    assert seen == ["queued", "active", "completed"]
    first()
    second()
