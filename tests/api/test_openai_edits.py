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
    for size, want in (((100, 60), "104x64"), ((65, 130), "64x128"), ((20, 20), "64x64"),
                       ((640, 480), "640x480")):
        assert edit(ai, [("image", ("a", png(gradient(*size))))], steps="1")["size"] == want
    width, height = map(int, edit(ai, [("image", ("a", png(gradient(3000, 2000))))],
                                  steps="1")["size"].split("x"))
    assert 1000000 < width * height < 1100000 and abs(width / height - 1.5) < 0.02


def test_auto_size_within_the_limits(serve):
    ai = OpenAI(serve("--max-pixels=100000", "--max-side=400").url)
    for size, want in (((640, 480), "360x272"), ((1600, 400), "400x104"), ((64, 64), "64x64")):
        assert edit(ai, [("image", ("a", png(gradient(*size))))], steps="1")["size"] == want


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


def kept_and_painted(before, answer):
    """How much the left and the right half have changed."""
    _, after = decode(answer["data"][0]["b64_json"])
    difference = ImageChops.difference(before, after.convert("RGB"))
    width, height = before.size
    left, right = (0, 0, width * 3 // 8, height), (width * 5 // 8, 0, width, height)
    return (max(ImageStat.Stat(difference.crop(left)).mean),
            max(ImageStat.Stat(difference.crop(right)).mean))


@pytest.mark.parametrize("image, mask", [("image[]", "mask[]"), ("image", "mask[0]"),
                                         ("image[0]", "mask[]"), ("images[]", "mask")])
def test_names_of_the_mask(ai, image, mask):
    """Array forms, which gateways and web frameworks write for every file."""
    before = gradient(128, 64)
    files = [(image, ("a", png(before))), (mask, ("m", png(hole(128, 64))))]
    kept, painted = kept_and_painted(before, edit(ai, files, size="128x64", strength="1"))
    assert kept < 3 and painted > 8


def test_unknown_files_are_refused(ai):
    for name in ("Mask", "Image", "mask2", "image_1", "markup2", "reference_image", "x", "mask[a]"):
        wrong(ai, "unknown_parameter", name, [("image", ("a", IMAGE)), (name, ("m", MASK))])
    # A file field of a page that nobody filled in.
    edit(ai, [("image", ("a", IMAGE)), ("mask", ("", b"")), ("other", ("", b""))])


def test_a_transparent_picture_is_its_own_mask(ai):
    before = gradient(128, 64)
    clear = before.copy()
    clear.putalpha(hole(128, 64).getchannel("A"))
    answer = edit(ai, {"image": ("a", png(clear))}, size="128x64", strength="1")
    kept, painted = kept_and_painted(before, answer)
    assert kept < 3 and painted > 8
    opaque = png(before.convert("RGBA"))
    assert (edit(ai, {"image": ("a", opaque)})["data"] == edit(ai, {"image": ("a", png(before))})["data"])


def test_a_markup_lies_over_the_picture(ai):
    red, drawn = Image.new("RGB", (96, 64), (200, 0, 0)), Image.new("RGBA", (96, 64), (0, 0, 0, 0))
    drawn.paste((0, 200, 0, 255), (10, 10, 40, 40))
    both = Image.alpha_composite(red.convert("RGBA"), drawn).convert("RGB")
    want = edit(ai, {"image": ("a", png(both))}, strength="0.3")["data"]
    for name in ("markup", "markup[]"):
        assert edit(ai, {"image": ("a", png(red)), name: ("m", png(drawn))},
                    strength="0.3")["data"] == want
    body = {"prompt": "p", "steps": 2, "seed": 7, "strength": 0.3, "image": data_url(png(red))}
    assert ai.answer({**body, "markup": {"image_url": data_url(png(drawn))}},
                     path=EDITS)["data"] == want
    image = ("image", ("a", IMAGE))
    wrong(ai, "invalid_value", "markup", [image, ("markup", ("m", png(drawn)))])
    wrong(ai, "invalid_value", "markup", [image, ("markup", ("m", IMAGE))])
    wrong(ai, "invalid_value", "markup", [image, ("mask", ("m", MASK)), ("markup", ("m", MASK))])
    wrong(ai, "invalid_type", "markup", [image], markup="x")


def test_a_link_of_ours_is_its_picture(ai):
    """Which clients send back to have more done to it; nothing is fetched."""
    link = ai.answer({"prompt": "x", "size": "64x64", "steps": 2, "response_format": "url"})["data"][0]["url"]
    body = {"prompt": "p", "steps": 2, "seed": 7}
    want = ai.answer({**body, "image": data_url(ai.session.get(link).content)}, path=EDITS)["data"]
    id = link.rsplit("/", 1)[1]
    for url in (link, f"https://pictures.example/x/v1/images/files/{id}"):
        assert ai.answer({**body, "images": [{"image_url": url}]}, path=EDITS)["data"] == want
    for url in (link.replace(id, "0" * 32 + ".png"), link.replace(".png", ""), link[:-10],
                "http://127.0.0.1/images/files/"):
        ai.error(400, "invalid_value", "images[0].image_url", path=EDITS,
                 body={**body, "images": [{"image_url": url}]})


def test_several_pictures_are_blended(ai):
    """Each counts: two are their mean, in the shape of the first."""
    red, blue = (Image.new("RGB", (96, 64), color) for color in ((200, 0, 0), (0, 0, 200)))
    mean = Image.new("RGB", (96, 64), (100, 0, 100))
    one = edit(ai, {"image": ("a", png(mean))}, strength="0.3")
    two = edit(ai, [("image[]", ("a", png(red))), ("image[]", ("b", png(blue)))], strength="0.3")
    assert two["data"] == one["data"] and two["size"] == "96x64"
    wide = [("image[]", ("a", png(red))), ("image[]", ("b", png(blue.resize((300, 20)))))]
    assert edit(ai, wide, strength="0.3")["data"] == one["data"]
    json = {"prompt": "p", "steps": 2, "seed": 7, "strength": 0.3,
            "images": [data_url(png(red)), {"image_url": data_url(png(blue))}]}
    assert ai.answer(json, path=EDITS)["data"] == one["data"]
    # What the mask protects is the first picture's.
    files = [("image[]", ("a", png(red))), ("image[]", ("b", png(blue))),
             ("mask", ("m", png(hole(96, 64))))]
    kept, painted = kept_and_painted(red, edit(ai, files, strength="0.3"))
    assert kept < 3 and painted > 30
    wrong(ai, "unsupported_file_mimetype", "image[1]",
          [("image[]", ("a", IMAGE)), ("image[]", ("b", b"x"))])


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
    {"image": [data_url(IMAGE)]},
    {"image": {"url": data_url(IMAGE)}},
    {"image": {"image_url": data_url(IMAGE)}},
    {"image": {"b64_json": base64.b64encode(IMAGE).decode()}},
    {"image": {"type": "image_url", "image_url": {"url": data_url(IMAGE)}}},
    {"image": [{"type": "input_image", "image_url": data_url(IMAGE)}]},
    {"images": {"image_url": data_url(IMAGE)}},
    {"images": data_url(IMAGE)},
    {"images": [{"image_url": data_url(IMAGE)}], "image": "", "mask": ""},
    {"image": data_url(IMAGE), "mask": data_url(MASK)},
    {"image": data_url(IMAGE), "mask": [{"url": data_url(MASK)}]},
    {"images": [{"image_url": data_url(IMAGE)}], "mask": {"image_url": data_url(MASK)}},
])
def test_json(ai, fields):
    ai.answer({"prompt": "p", "steps": 2, **fields}, path=EDITS)


@pytest.mark.parametrize("fields, code, param", [
    ({}, "missing_required_parameter", "images"),
    ({"images": []}, "missing_required_parameter", "images"),
    ({"images": "x"}, "invalid_value", "images"),
    ({"images": 5}, "invalid_type", "images"),
    ({"image": {}}, "invalid_type", "image"),
    ({"image": [{}]}, "invalid_type", "image[0].image_url"),
    ({"image": "http://127.0.0.1/x.png"}, "invalid_value", "image"),
    ({"images": [data_url(IMAGE), {"b64_json": "A"}]}, "invalid_value", "images[1].b64_json"),
    ({"image": data_url(IMAGE), "mask": [data_url(MASK)] * 2}, "invalid_value", "mask"),
    ({"image": data_url(IMAGE), "mask": {}}, "invalid_type", "mask"),
    ({"image": data_url(IMAGE), "mask_url": "https://x/m.png"}, "unknown_parameter", "mask_url"),
    ({"image": data_url(IMAGE), "whatever": data_url(MASK)}, "unknown_parameter", "whatever"),
    ({"image": data_url(IMAGE), "reference_images": ["x"]}, "unknown_parameter",
     "reference_images"),
    ({"images": [5]}, "invalid_type", "images[0].image_url"),
    ({"images": [{}]}, "invalid_type", "images[0].image_url"),
    ({"images": [{"image_url": data_url(IMAGE), "file_id": "f"}]}, "invalid_value",
     "images[0].image_url"),
    ({"images": [{"file_id": "f"}]}, "invalid_value", "images[0].file_id"),
    ({"images": [{"image_url": "http://127.0.0.1/x.png"}]}, "invalid_value",
     "images[0].image_url"),
    ({"images": [{"image_url": "https://x/x.png"}]}, "invalid_value", "images[0].image_url"),
    ({"images": [{"image_url": "data:image/png,abc"}]}, "invalid_value", "images[0].image_url"),
    ({"images": [{"image_url": "data:image/png;base64,AAAAA"}]}, "invalid_value",
     "images[0].image_url"),
    ({"images": [{"image_url": data_url(IMAGE)}] * 17}, "array_above_max_length", "images"),
    ({"image": data_url(IMAGE), "mask": {"file_id": "f"}}, "invalid_value", "mask.file_id"),
])
def test_wrong_json(ai, fields, code, param):
    ai.error(400, code, param, {"prompt": "p", **fields}, path=EDITS)


@pytest.mark.parametrize("fields, param", [
    (lambda p: {"image": p}, "image"), (lambda p: {"image": [p]}, "image[0]"),
    (lambda p: {"images": [p]}, "images[0]"),
    (lambda p: {"images": [{"image_url": p}]}, "images[0].image_url"),
    (lambda p: {"images": [data_url(IMAGE), {"image_url": p}]}, "images[1].image_url"),
    (lambda p: {"image": [data_url(IMAGE), {"b64_json": p}]}, "image[1].b64_json"),
    (lambda p: {"image": data_url(IMAGE), "mask": p}, "mask"),
    (lambda p: {"image": data_url(IMAGE), "mask": {"image_url": p}}, "mask"),
])
def test_wrong_pictures_in_json(ai, fields, param):
    """The error names the very field that holds the picture."""
    for data, code, type in ((b"<html>", "unsupported_file_mimetype", "invalid_request_error"),
                             (IMAGE[:-20], "invalid_image_file", "image_generation_user_error"),
                             (png(gradient(9, 9)), "invalid_image_file",
                              "image_generation_user_error")):
        ai.error(400, code, param, {"prompt": "p", **fields(data_url(data))}, path=EDITS, type=type)


def test_a_picture_for_a_generation(ai):
    """Gateways send edits as generations with a picture: it is painted over."""
    one = {"prompt": "p", "steps": 2, "seed": 7, "size": "64x64"}
    painted = ai.images({**one, "image": data_url(IMAGE)})
    assert painted == ai.images({**one, "images": [{"image_url": data_url(IMAGE)}]}, path=EDITS)
    assert painted != ai.images(one)
    assert ai.images({**one, "image": "", "images": []}) == ai.images(one)
    ai.error(400, "missing_required_parameter", "images", {**one, "mask": data_url(MASK)})


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
    varied = {"seed": "7", "steps": "2", "response_format": "b64_json"}
    plain, other, empty = (ai.answer(path="/v1/images/variations", data={**varied, **prompt}, files={
        "image": ("a.png", IMAGE)})["data"] for prompt in ({}, {"prompt": "a cat"}, {"prompt": ""}))
    assert plain != other and plain == empty
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
