"""POST /v1/images/edits and /v1/images/variations: forms of every client, JSON, and what is wrong
with them."""
import base64
import io
import json
import struct
import zlib

import pytest
import requests
from openai_client import OpenAI, decode, events, gradient, hole, png
from PIL import Image, ImageChops, ImageStat

EDITS = "/v1/images/edits"
IMAGE = png(gradient())
MASK = png(hole())
FORM = {"prompt": "p", "steps": "2", "seed": "7"}


@pytest.fixture(scope="module")
def ai(server):
    return OpenAI(server.url)


def edit(ai, files, **fields):
    return ai.answer(path=EDITS, files=files, data={**FORM, **fields})


def data_url(data, mime="image/png"):
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


# ---- forms ----

@pytest.mark.parametrize("names", [["image"], ["image[]"], ["image", "image"],
                                   ["image[]", "image[]"], ["image[0]", "image[1]"]])
def test_names_of_the_image(ai, names):
    answer = edit(ai, [(name, ("a.png", IMAGE, "image/png")) for name in names])
    assert answer["size"] == "64x64", "the size of the input"


@pytest.mark.parametrize("filename, mime", [
    ("a.png", "application/octet-stream"), ("upload", "application/octet-stream"),
    ("unknown_file", None), ("\u00e9 \"x\".png", "image/png"), ("a.exe", "text/html")])
def test_the_type_is_in_the_bytes(ai, filename, mime):
    edit(ai, [("image", (filename, IMAGE, mime))])


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_formats(ai, kind):
    edit(ai, [("image", ("a", png(gradient(), format=kind), "x/y"))])


def test_text_fields(ai):
    answer = edit(ai, [("image", ("a", IMAGE))], n="2", stream="false", size="auto",
                  prompt="two\r\nlines", output_format="jpeg", output_compression="50",
                  input_fidelity="high", background="auto", quality="low", user="u",
                  partial_images="0", strength="0.5", guidance_scale="2.5")
    assert len(answer["data"]) == 2 and answer["output_format"] == "jpeg"
    assert edit(ai, [("image", ("a", IMAGE))], size="128x64")["size"] == "128x64"


def test_auto_size(ai):
    for size, want in (((100, 60), "96x64"), ((65, 130), "64x128"), ((20, 20), "64x64")):
        assert edit(ai, [("image", ("a", png(gradient(*size))))])["size"] == want
    width, height = map(int, edit(ai, [("image", ("a", png(gradient(3000, 2000))))],
                                  steps="1")["size"].split("x"))
    model = ai.request("GET", "/api/models").json()["models"][0]
    assert width * height <= 1.6 * model["width"] * model["height"]
    assert abs(width / height - 1.5) < 0.05


def test_mask(ai):
    before = gradient(128, 64)
    answer = ai.answer(path=EDITS, data={**FORM, "size": "128x64", "strength": "1"}, files={
        "image": ("a", png(before)), "mask": ("m", png(hole(128, 64)))})
    _, after = decode(answer["data"][0]["b64_json"])
    difference = ImageChops.difference(before, after.convert("RGB"))
    kept = ImageStat.Stat(difference.crop((0, 0, 40, 64))).mean
    painted = ImageStat.Stat(difference.crop((88, 0, 128, 64))).mean
    assert max(kept) < 3, "outside of the mask the picture stays"
    assert max(painted) > 8, "inside it is painted"


def hand_made(boundary="b", *parts, end=True):
    body = b""
    for head, data in parts:
        body += b"--" + boundary.encode() + b"\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n"
    return body + (b"--" + boundary.encode() + b"--\r\n" if end else b"")


def part(name, filename=None):
    head = f'Content-Disposition: form-data; name="{name}"'
    return head + (f'; filename="{filename}"\r\nContent-Type: application/octet-stream'
                   if filename else "")


TEXTS = [(part(k), v.encode()) for k, v in FORM.items()]


def test_order_of_parts(ai):
    image = (part("image", "x.png"), IMAGE)
    for parts in ([image, *TEXTS], [*TEXTS, image], [TEXTS[0], image, *TEXTS[1:]]):
        ai.answer(path=EDITS, data=hand_made("b", *parts),
                  headers={"Content-Type": "multipart/form-data; boundary=b"})


def test_streamed_upload(ai):
    """As Node's createReadStream sends it: chunked, a chunk for each piece."""
    body = hand_made("openai-1", *TEXTS, (part("image", "x.png"), IMAGE))
    want = ai.images(path=EDITS, data=body,
                     headers={"Content-Type": "multipart/form-data; boundary=openai-1"})
    for step in (1, 7, 1000):
        pieces = (body[i:i + step] for i in range(0, len(body), step))
        assert want == ai.images(path=EDITS, data=pieces, headers={
            "Content-Type": 'multipart/form-data; boundary="openai-1"'})


def test_stream(ai):
    response = ai.request("POST", EDITS, files={"image": ("a", IMAGE)},
                          data={**FORM, "stream": "true", "n": "2"})
    found = events(response.text)
    assert [name for name, _ in found] == ["image_edit.completed"] * 2
    want = edit(ai, {"image": ("a", IMAGE)}, n="2")["data"]
    assert [data["b64_json"] for _, data in found] == [item["b64_json"] for item in want]


# ---- JSON ----

@pytest.mark.parametrize("fields", [
    {"images": [{"image_url": data_url(IMAGE)}]},
    {"images": [{"image_url": data_url(IMAGE)}] * 2},
    {"images": [data_url(IMAGE)]},                                       # LiteLLM
    {"image": base64.b64encode(IMAGE).decode()},                         # Ollama
    {"image": data_url(IMAGE)},
    {"images": [{"image_url": data_url(IMAGE)}], "mask": {"image_url": data_url(MASK)}},
])
def test_json(ai, fields):
    ai.answer({"prompt": "p", "steps": 2, **fields}, path=EDITS)


@pytest.mark.parametrize("fields, code, param", [
    ({}, "missing_required_parameter", "images"),
    ({"images": []}, "missing_required_parameter", "images"),
    ({"images": "x"}, "invalid_type", "images"),
    ({"images": [5]}, "invalid_type", "images[0].image_url"),
    ({"images": [{}]}, "invalid_type", "images[0].image_url"),
    ({"images": [{"image_url": data_url(IMAGE), "file_id": "f"}]}, "invalid_value",
     "images[0].image_url"),
    ({"images": [{"file_id": "f"}]}, "invalid_value", "images[0].image_url"),
    ({"images": [{"image_url": "http://127.0.0.1/x.png"}]}, "invalid_value",
     "images[0].image_url"),
    ({"images": [{"image_url": "https://x/x.png"}]}, "invalid_value", "images[0].image_url"),
    ({"images": [{"image_url": "data:image/png,abc"}]}, "invalid_value", "images[0].image_url"),
    ({"images": [{"image_url": "data:image/png;base64,AAAAA"}]}, "invalid_value",
     "images[0].image_url"),
    ({"images": [{"image_url": data_url(IMAGE)}] * 17}, "array_above_max_length", "images"),
    ({"image": data_url(IMAGE), "mask": {"file_id": "f"}}, "invalid_value", "mask"),
])
def test_wrong_json(ai, fields, code, param):
    ai.error(400, code, param, {"prompt": "p", **fields}, path=EDITS)


# ---- what is wrong with forms ----

def wrong(ai, code, param, files, type="invalid_request_error", **fields):
    data = {k: v for k, v in {**FORM, **fields}.items() if v is not None}
    return ai.error(400, code, param, path=EDITS, files=files, data=data, type=type)


def test_missing_parts(ai):
    wrong(ai, "missing_required_parameter", "image", {"x": ("a", b"")})
    wrong(ai, "missing_required_parameter", "prompt", {"image": ("a", IMAGE)}, prompt=None)


def test_image_as_text(ai):
    wrong(ai, "invalid_type", "image", {"x": ("a", b"")}, image="x")
    wrong(ai, "invalid_type", "mask", {"image": ("a", IMAGE)}, mask="x")


def bomb(width, height):
    """The header of a PNG that says it is huge."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk +
            struct.pack(">I", zlib.crc32(chunk)))


@pytest.mark.parametrize("data", [IMAGE[:-20], IMAGE[:40], bomb(20000, 20000), bomb(2**31 - 1, 1),
                                  bomb(0, 0), png(gradient(1, 1)), png(gradient(15, 64)),
                                  png(gradient(), format="JPEG")[:200], b"\xff\xd8\xff"])
def test_broken_pictures(ai, data):
    wrong(ai, "invalid_image_file", "image", {"image": ("a", data)},
          type="image_generation_user_error")


@pytest.mark.parametrize("data", [b"", b"<html></html>", png(gradient(), format="GIF"), b"\0" * 99])
def test_no_pictures(ai, data):
    wrong(ai, "unsupported_file_mimetype", "image", {"image": ("a", data)})


def test_wrong_masks(ai):
    image = ("image", ("a", IMAGE))
    wrong(ai, "invalid_value", "mask", [image, ("mask", ("m", png(hole(32, 32))))])
    wrong(ai, "invalid_value", "mask", [image, ("mask", ("m", IMAGE))])
    wrong(ai, "invalid_value", "mask", [image, ("mask", ("m", MASK)), ("mask", ("m", MASK))])
    wrong(ai, "unsupported_file_mimetype", "mask", [image, ("mask", ("m", b"x"))])


def test_too_many_images(ai):
    wrong(ai, "array_above_max_length", "image", [("image[]", ("a", IMAGE))] * 17)


@pytest.mark.parametrize("fields, code, param", [
    ({"n": "abc"}, "invalid_type", "n"), ({"n": "10abc"}, "invalid_type", "n"),
    ({"n": "1.0"}, "invalid_type", "n"), ({"n": "11"}, "integer_above_max_value", "n"),
    ({"stream": "maybe"}, "invalid_type", "stream"), ({"size": "5"}, "invalid_value", "size"),
    ({"strength": "2"}, "invalid_value", "strength"),
    ({"strength": "nan"}, "invalid_type", "strength"),
    ({"output_compression": "1e1"}, "invalid_type", "output_compression"),
    ({"input_fidelity": "x"}, "invalid_value", "input_fidelity"),
])
def test_wrong_text_fields(ai, fields, code, param):
    wrong(ai, code, param, {"image": ("a", IMAGE)}, **fields)


def test_empty_number(ai):
    ai.error(400, "invalid_type", "n", path=EDITS, data=hand_made(
        "b", *TEXTS, (part("n"), b""), (part("image", "x"), IMAGE)),
        headers={"Content-Type": "multipart/form-data; boundary=b"})


@pytest.mark.parametrize("kind, body", [
    ("multipart/form-data", hand_made("b", *TEXTS)),
    ("multipart/form-data; boundary=c", hand_made("b", *TEXTS)),
    ("multipart/form-data; boundary=b", hand_made("b", *TEXTS, end=False)),
    ("multipart/form-data; boundary=b", b""),
    ("multipart/form-data; boundary=b", b"--b\r\nX: " + b"x" * 9000 + b"\r\n\r\nv\r\n--b--\r\n"),
    ("multipart/form-data; boundary=b", hand_made("b", *[(part(f"x{i}"), b"v")
                                                         for i in range(10000)])),
])
def test_broken_forms(ai, kind, body):
    ai.error(400, None, None, path=EDITS, data=body, headers={"Content-Type": kind})


def test_content_type(ai):
    ai.error(400, "unsupported_content_type", None, path=EDITS, data=b"x",
             headers={"Content-Type": "text/plain"})


# ---- variations ----

def test_variations(ai):
    answer = ai.answer(path="/v1/images/variations", files={"image": ("a.png", IMAGE)},
                       data={"n": "2", "size": "64x64", "steps": "2", "response_format": "b64_json",
                             "model": "pictor-mini", "user": "u"})
    assert len(answer["data"]) == 2
    item, = ai.answer(path="/v1/images/variations", files={"image": ("a.png", IMAGE)},
                      data={"steps": "2"})["data"]
    assert list(item) == ["url"], "as OpenAI's variations"
    ai.error(400, "missing_required_parameter", "image", path="/v1/images/variations",
             files={"x": ("a", b"")})


def test_upload_that_breaks_off(ai):
    """The client gives up halfway: no answer, no job, and the server goes on."""
    jobs = ai.request("GET", "/api/jobs").json()["jobs"]

    def halfway():
        yield hand_made("b", *TEXTS)[:-10]
        raise ConnectionError

    with pytest.raises((ConnectionError, requests.RequestException)):
        requests.post(ai.url + EDITS, data=halfway(), timeout=30,
                      headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert ai.request("GET", "/api/jobs").json()["jobs"] == jobs
