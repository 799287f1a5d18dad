"""SD WebUI dialect: png-info and extras."""
import base64
import http.client
import io
import json
import select
import time

import pytest
import requests
from PIL import Image, PngImagePlugin
from sdapi_client import Sdapi, encode, gradient, wait_for

IMAGE = encode(gradient())


def decoded(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_png_info_of_a_painted_picture(sd):
    done = sd.txt2img(prompt="a cat", negative_prompt="猫", steps=4)
    info = sd.post("png-info", {"image": "data:image/png;base64," +
                                base64.b64encode(done.files[0]).decode() + "\n"})
    assert list(info) == ["info", "items", "parameters"]
    assert info["info"] == done.text
    assert list(info["items"]) == ["XML:com.adobe.xmp"]
    assert info["parameters"]["Prompt"] == "a cat"
    assert info["parameters"]["Negative prompt"] == "猫"
    assert info["parameters"]["Size-1"] == "64" and info["parameters"]["Steps"] == "4"


def test_png_info_reproduces_the_picture(sd):
    done = sd.txt2img(prompt="a cat", sampler_name="Euler a", seed=5)
    again = sd.post("txt2img", {"infotext": done.text})
    assert base64.b64decode(again["images"][0]) == done.files[0]


def test_png_info_of_other_pictures(sd):
    info = sd.post("png-info", {"image": IMAGE})
    assert info["info"] == "" and info["parameters"]["Clip skip"] == "1"
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "p\nSteps: 1, Seed: 2, Sampler: x")
    text.add_text("Comment", "hi")
    info = sd.post("png-info", {"image": encode(gradient(), pnginfo=text)})
    assert info["items"] == {"Comment": "hi"}
    assert info["parameters"]["Sampler"] == "x" and info["parameters"]["Prompt"] == "p"
    jpeg = sd.txt2img(prompt="é", override_settings={"samples_format": "jpg"})
    info = sd.post("png-info", {"image": base64.b64encode(jpeg.files[0]).decode()})
    assert info["info"] == jpeg.text


def test_png_info_of_novelai(sd):
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", "NovelAI")
    text.add_text("Description", "1girl, {{red}} hair")
    text.add_text("Comment", json.dumps({"steps": 28, "sampler": "k_euler_ancestral", "seed": 3131541225,
                                         "strength": 0.7, "scale": 11.5, "uc": "lowres"}))
    info = sd.post("png-info", {"image": encode(gradient(64, 96), pnginfo=text)})
    assert info["info"] == ("1girl, {{red}} hair\nNegative prompt: lowres\nSteps: 28, Sampler: Euler a, CFG scale: 11.5, "
                            "Seed: 3131541225, Size: 64x96, Clip skip: 2, ENSD: 31337")
    assert info["parameters"]["Seed"] == "3131541225" and set(info["items"]) == {"Software", "Description", "Comment"}
    broken = PngImagePlugin.PngInfo()
    broken.add_text("Software", "NovelAI")
    broken.add_text("Description", "x")
    broken.add_text("Comment", "[1, {")
    assert sd.post("png-info", {"image": encode(gradient(), pnginfo=broken)})["info"] == ""


def test_png_info_of_nothing(sd):
    detail = sd.post("png-info", {}, 422)["detail"]
    assert detail == [{"loc": ["body", "image"], "msg": "field required",
                       "type": "value_error.missing"}]
    sd.post("png-info", {"image": 5}, 422)
    assert sd.post("png-info", {"image": "AAAA"}, 500)["detail"] == "Invalid encoded image"


def test_extra_single_image(sd):
    answer = sd.post("extra-single-image",
                     {"image": IMAGE, "upscaler_1": "Lanczos", "upscaling_resize": 2})
    assert list(answer) == ["html_info", "image"]
    assert answer["html_info"] == ("<p>Postprocess upscale by: 2.0, "
                                   "Postprocess upscaler: Lanczos</p>")
    image = decoded(answer["image"])
    assert image.size == (128, 128)
    assert image.text["postprocessing"].startswith("Postprocess upscale by: 2.0")
    wanted = gradient().resize((128, 128), Image.Resampling.LANCZOS)
    assert max(abs(a - b) for a, b in zip(image.tobytes(), wanted.tobytes())) <= 1


def test_extras_resize(sd):
    nearest = sd.post("extra-single-image", {"image": IMAGE, "upscaler_1": "Nearest"})
    wanted = gradient().resize((128, 128), Image.Resampling.NEAREST)
    assert decoded(nearest["image"]).tobytes() == wanted.tobytes()
    same = sd.post("extra-single-image", {"image": IMAGE})
    assert decoded(same["image"]).tobytes() == gradient().tobytes()
    fields = {"image": IMAGE, "upscaler_1": "Lanczos", "resize_mode": 1,
              "upscaling_resize_w": 100, "upscaling_resize_h": 50}
    assert decoded(sd.post("extra-single-image", fields)["image"]).size == (100, 50)
    fields["upscaling_crop"] = False
    assert decoded(sd.post("extra-single-image", fields)["image"]).size == (100, 100)
    half = sd.post("extra-single-image", {"image": IMAGE, "upscaler_1": "Lanczos",
                                          "upscaling_resize": 0.5})
    assert decoded(half["image"]).size == (32, 32)


def test_extras_keep_alpha_and_parameters(sd):
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "p\nSteps: 1, Seed: 2, Sampler: x")
    picture = Image.new("RGBA", (64, 64), (255, 0, 0, 128))
    answer = sd.post("extra-single-image", {"image": encode(picture, pnginfo=text),
                                            "upscaler_1": "Lanczos"})
    image = decoded(answer["image"])
    assert image.mode == "RGBA" and image.getpixel((5, 5)) == (255, 0, 0, 128)
    assert image.text["parameters"].startswith("p\n")


def test_extras_blend_two_upscalers(sd):
    fields = {"image": IMAGE, "upscaler_1": "Lanczos", "upscaler_2": "Nearest"}
    one = sd.post("extra-single-image", {**fields, "extras_upscaler_2_visibility": 0})
    both = sd.post("extra-single-image", {**fields, "extras_upscaler_2_visibility": 1})
    assert "Postprocess upscaler 2: Nearest" in both["html_info"]
    wanted = gradient().resize((128, 128), Image.Resampling.NEAREST)
    assert decoded(both["image"]).tobytes() == wanted.tobytes()
    assert decoded(one["image"]).tobytes() != wanted.tobytes()


@pytest.mark.parametrize("fields, status", [
    ({"upscaler_1": "nope"}, 500), ({"resize_mode": 2}, 422), ({"gfpgan_visibility": 1.5}, 422),
    ({"gfpgan_visibility": 0.5}, 422), ({"codeformer_visibility": -1}, 422),
    ({"upscaling_resize": 0}, 422), ({"upscaling_resize": "x"}, 422),
    ({"upscaling_resize": 1e9, "upscaler_1": "Lanczos"}, 422),
    ({"upscaling_resize": 0.01, "upscaler_1": "Lanczos"}, 422),
    ({"resize_mode": 1, "upscaling_resize_w": 10**9, "upscaler_1": "Lanczos"}, 422),
    ({"upscaling_resize_w": 0}, 422), ({"image": ""}, 500), ({"image": "???"}, 500),
    ({"image": "https://example.com/a.png"}, 500)])
def test_extras_that_are_refused(sd, fields, status):
    sd.post("extra-single-image", {"image": IMAGE, **fields}, status)


def test_extra_batch_images(sd):
    body = {"imageList": [{"data": IMAGE, "name": "a"}, {"data": IMAGE, "name": "b"}],
            "upscaler_1": "Nearest"}
    answer = sd.post("extra-batch-images/", body)
    assert [decoded(x).size for x in answer["images"]] == [(128, 128)] * 2
    assert sd.post("extra-batch-images", {**body, "imageList": []})["images"] == []
    sd.post("extra-batch-images", {}, 422)
    sd.post("extra-batch-images", {"imageList": [{"data": IMAGE}]}, 422)
    sd.post("extra-batch-images", {"imageList": [{"data": "AAAA", "name": "x"}]}, 500)
    sd.post("extra-batch-images", {"imageList": body["imageList"] * 100}, 422)


def test_corrupt_pictures(sd):
    whole = base64.b64decode(encode(gradient(256, 256)))
    corrupt = base64.b64encode(whole[:len(whole) // 2]).decode()
    before = len(requests.get(sd.url + "/api/jobs?limit=200", timeout=30).json()["jobs"])
    for path, body in (("extra-single-image", {"image": corrupt}),
                       ("img2img", {"init_images": [corrupt]}),
                       ("img2img", {"init_images": [IMAGE], "mask": corrupt})):
        assert sd.post(path, body, 500)["detail"] == "Invalid encoded image"
    after = len(requests.get(sd.url + "/api/jobs?limit=200", timeout=30).json()["jobs"])
    assert after == before, "a job that can only fail was accepted"


def test_large_extras_keep_nobody_waiting(serve):
    server = serve()
    body = json.dumps({"imageList": [{"data": IMAGE, "name": "x"}] * 16, "upscaler_1": "Lanczos",
                       "upscaling_resize": 32})
    idle = [requests.Session() for _ in range(16)]  # connections on every thread of the server
    for session in idle:
        session.get(server.url + "/healthz", timeout=30)
    clients = [http.client.HTTPConnection(f"127.0.0.1:{server.port}", timeout=60)
               for _ in range(10)]
    for client in clients:
        client.request("POST", "/sdapi/v1/extra-batch-images", body)
    sockets = [client.sock for client in clients]
    wait_for(lambda: len(select.select(sockets, [], [], 0)[0]) == 5)
    slowest = 0
    for session in idle:
        began = time.monotonic()
        assert session.get(server.url + "/healthz", timeout=30).status_code == 200
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1, "a picture takes about a second, and there are 80"
    for client in clients:
        if select.select([client.sock], [], [], 0)[0]:
            response = client.getresponse()
            assert response.status == 429 and response.headers["Retry-After"]
            assert json.loads(response.read())["error"] == "HTTPException"
        client.close()
    began = time.monotonic()
    # The server notices in its own time that they have left.
    wait_for(lambda: requests.post(server.url + "/sdapi/v1/extra-single-image",
                                   json={"image": IMAGE}, timeout=30).status_code == 200)
    assert time.monotonic() - began < 15, "what nobody waits for any more is not done"
