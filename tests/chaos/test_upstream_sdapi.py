"""Jobs at a server that speaks the SD WebUI's API: a stub that records every byte, and a second
pictor."""
import base64
import io
import json
import time

import pytest
import requests
from PIL import Image
from processes import TINY, Jobs, until
from test_upstream import cloud, png, stub  # noqa: F401 (a fixture)

PASSWORD = "painter:much-secret"


@pytest.fixture
def front(serve, tmp_path):
    """front(url, settings...) is a server whose model "cloud" is the checkpoint v1-5 at url."""
    def start(url, *lines, models="cloud = v1-5"):
        config = tmp_path / "pictor.ini"
        config.write_text("\n".join(["[upstream webui]", "kind = sdapi", f"base_url = {url}",
                                     f"key = {PASSWORD}", f"models = {models}", *lines, ""]))
        server = serve(f"--config={config}")
        return server, Jobs(server.url)
    return start


def root(stub):
    return f"http://127.0.0.1:{stub.port}"


def images(*pictures):
    return {"images": [base64.b64encode(p).decode() for p in pictures], "parameters": {},
            "info": "{}"}


def paints(stub, *replies, delay=0.0, progress=None):
    """Replies to pictures in turn, and to all that asks how far it is."""
    left = list(replies)

    def step(handler):
        if "/progress" in handler.path:
            return (200, {}, progress) if progress else (404, {}, b"")
        if "/interrupt" in handler.path:
            return (200, {}, {})
        time.sleep(delay)
        return left.pop(0) if len(left) > 1 else left[0]
    stub.script = [step]


def pixels(data):
    return Image.open(io.BytesIO(data)).tobytes()


def orders(stub):
    return [(path, json.loads(body)) for _, path, _, body in stub.requests if "2img" in path]


def test_pictures(front, stub):
    server, jobs = front(root(stub))
    first, second = png((1, 1, 1)), png((2, 2, 2))
    paints(stub, (200, {}, images(first, b"a grid")), (200, {}, images(second)))
    job = cloud(jobs, count=2, negative_prompt="blue", guidance=4.5, seed=11, sampler="DPM++ 2M",
                scheduler="karras", clip_skip=2)
    assert job["state"] == "done", job["error"]
    assert [jobs.picture(i) for i in job["images"]] == [first, second], "byte for byte"
    (path, sent), (_, other) = orders(stub)
    assert path == "/sdapi/v1/txt2img"
    assert sent == {
        "prompt": "a red circle", "negative_prompt": "blue", "width": 64, "height": 64, "seed": 11,
        "steps": 2, "cfg_scale": 4.5, "sampler_name": "DPM++ 2M", "scheduler": "Karras",
        "batch_size": 1, "n_iter": 1, "send_images": True, "save_images": False,
        "override_settings": {"sd_model_checkpoint": "v1-5", "CLIP_stop_at_last_layers": 2},
        "override_settings_restore_afterwards": False}
    assert other["seed"] == 12
    basic = base64.b64encode(PASSWORD.encode()).decode()
    assert stub.requests[0][2]["Authorization"] == f"Basic {basic}"
    assert "much-secret" not in server.log() and basic not in server.log()


def test_what_the_client_left_out_is_not_sent(front, stub):
    _, jobs = front(root(stub))
    paints(stub, (200, {}, images(png())))
    assert jobs.state(jobs.submit(prompt="p", model="cloud", seed=3))["state"] == "done"
    sent = orders(stub)[0][1]
    assert not {"steps", "cfg_scale", "sampler_name", "scheduler", "denoising_strength"} & set(sent)


def test_second_passes(front, stub):
    _, jobs = front(root(stub))
    paints(stub, (200, {}, images(png())))
    assert cloud(jobs, hires_width=128, hires_height=128, hires_strength=0.4, hires_steps=3,
                 hires_upscaler="Lanczos")["state"] == "done"
    sent = orders(stub)[0][1]
    assert (sent["enable_hr"], sent["hr_resize_x"], sent["hr_resize_y"]) == (True, 128, 128)
    assert (sent["denoising_strength"], sent["hr_second_pass_steps"]) == (0.4, 3)
    assert sent["hr_upscaler"] == "Lanczos"


def test_painting_over(front, stub):
    _, jobs = front(root(stub))
    paints(stub, (200, {}, images(png())))
    init, mask = (base64.b64encode(png(c)).decode() for c in ((9, 9, 9), (255, 255, 255)))
    assert cloud(jobs, init_image=init, mask=mask, strength=0.5, mask_blur=3, fill="noise",
                 mask_invert=True, mask_only_area=True, mask_padding=16,
                 fit="crop")["state"] == "done"
    (path, sent), = orders(stub)
    assert path == "/sdapi/v1/img2img" and sent["init_images"] == [init] and sent["mask"] == mask
    assert (sent["denoising_strength"], sent["mask_blur"], sent["inpainting_fill"]) == (0.5, 3, 2)
    assert (sent["inpainting_mask_invert"], sent["inpaint_full_res"]) == (1, True)
    assert (sent["inpaint_full_res_padding"], sent["resize_mode"]) == (16, 1)


@pytest.mark.parametrize("answer", [
    {"info": '{"seed": 7}', "parameters": {"prompt": "x"}},           # A1111, Forge
    {"info": "", "parameters": {}},                                   # koboldcpp
    {"info": None, "parameters": None, "revised_prompt": "x"},        # others' additions
    {"prefix": "data:image/png;base64,", "info": "{}", "parameters": {}},  # SD.Next
    {"more": 2, "info": "{}", "parameters": {}}])                     # a grid's pictures behind it
def test_shapes_of_answers(front, stub, answer):
    picture, prefix, more = png(), answer.pop("prefix", ""), answer.pop("more", 0)
    text = prefix + base64.b64encode(picture).decode()
    server, jobs = front(root(stub))
    paints(stub, (200, {}, {"images": [text] + [base64.b64encode(png((1, 2, 3))).decode()] * more, **answer}))
    job = cloud(jobs)
    assert job["state"] == "done", job["error"]
    assert [jobs.picture(i) for i in job["images"]] == [picture], "byte for byte, and the first alone"


def test_how_far_it_is(front, stub):
    server, jobs = front(root(stub))
    paints(stub, (200, {}, images(png())), delay=4, progress={
        "progress": 0.35, "eta_relative": 8.5, "state": {"sampling_step": 7, "sampling_steps": 20},
        "current_image": base64.b64encode(png()).decode()})
    job = jobs.submit(**{**TINY, "model": "cloud"})
    progress = until(lambda: (p := requests.get(f"{server.url}/api/jobs/{job}", timeout=30).json()
                              ["progress"]) and p["step"] == 7 and p)
    assert progress["steps"] == 20
    assert jobs.state(job)["state"] == "done"
    asked = [path for _, path, _, _ in stub.requests if "/progress" in path]
    assert 1 <= len(asked) <= 5


def test_who_does_not_wait_any_more(front, stub):
    server, jobs = front(root(stub))
    paints(stub, (200, {}, images(png())), delay=3)
    job = jobs.submit(**{**TINY, "model": "cloud"})
    until(lambda: orders(stub))
    jobs.post(job, "cancel")
    until(lambda: any("/interrupt" in path for _, path, _, _ in stub.requests))


@pytest.mark.parametrize("status, body, words", [
    (404, {"error": "HTTPException", "detail": "Sampler not found", "errors": ""},
     "Sampler not found"),
    (422, {"detail": [{"loc": ["body"], "msg": "value is not a valid integer"}]},
     "value is not a valid integer"),
    (500, {"error": "OutOfMemoryError", "detail": "", "errors": "CUDA out of memory"},
     "CUDA out of memory"),
    (401, {"detail": "Incorrect username or password"}, "Incorrect username"),
    (200, {"images": []}, "no picture"),
    (200, {"images": [7]}, "neither a picture"),
    (200, {"images": ["AAAA"]}, "cannot be read"),
    (200, [], "no picture"),
    (200, b"<html>", "no JSON"),
])
def test_errors_are_told(front, stub, status, body, words):
    _, jobs = front(root(stub))
    paints(stub, (status, {}, body))
    job = cloud(jobs)
    assert job["state"] == "failed" and words in job["error"]["message"], job["error"]
    assert len(orders(stub)) == 1


def test_a_second_pictor_paints_the_same(front, server):
    _, jobs = front(server.url, models="cloud = pictor-mini")
    asked = {"seed": 5, "count": 2, "guidance": 5, "sampler": "DPM++ 2M", "scheduler": "karras"}
    job = cloud(jobs, **asked)
    assert job["state"] == "done", job["error"]
    own = Jobs(server.url)
    local = own.state(own.submit(**{**TINY, **asked}))
    for there, here in zip(job["images"], local["images"]):
        assert pixels(jobs.picture(there)) == pixels(own.picture(here))
