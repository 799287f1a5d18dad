"""What the tests of the SD WebUI dialect share: a client that checks what every answer must have."""
import base64
import io
import json
import time

import requests
from PIL import Image

TINY = {"width": 64, "height": 64, "steps": 2, "seed": 1}


def wait_for(condition, timeout=300):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


class Sdapi:
    def __init__(self, url, **session):
        self.url = url
        self.session = requests.Session()
        for name, value in session.items():
            setattr(self.session, name, value)

    def request(self, method, path, **kwargs):
        if not path.startswith("/"):
            path = "/sdapi/v1/" + path
        kwargs.setdefault("timeout", 120)
        return self.session.request(method, self.url + path, **kwargs)

    def get(self, path, status=200, **kwargs):
        return self.answer(self.request("GET", path, **kwargs), status)

    def post(self, path, body=None, status=200, **kwargs):
        if body is not None:
            kwargs["json"] = body
        return self.answer(self.request("POST", path, **kwargs), status)

    @staticmethod
    def answer(response, status):
        assert response.status_code == status, response.text[:500]
        assert response.headers["Content-Type"] == "application/json"
        body = response.json()
        if status >= 400:
            assert "detail" in body
        return body

    def txt2img(self, **fields):
        return Painted(self.post("txt2img", {**TINY, **fields}))

    def img2img(self, image, **fields):
        return Painted(self.post("img2img", {**TINY, "init_images": [image], **fields}))

    def progress(self, skip=True):
        return self.get("progress", params={"skip_current_image": str(skip).lower()})


class Painted:
    """An answer of txt2img or img2img."""

    def __init__(self, body):
        assert list(body) == ["images", "parameters", "info"]
        self.images = [Image.open(io.BytesIO(base64.b64decode(x, validate=True)))
                       for x in body["images"]]
        self.files = [base64.b64decode(x) for x in body["images"]]
        self.parameters = body["parameters"]
        self.info_text = body["info"]
        self.info = json.loads(body["info"])
        for image in self.images:
            image.load()

    @property
    def image(self):
        assert len(self.images) == 1
        return self.images[0]

    @property
    def text(self):
        return self.info["infotexts"][0]


def encode(image, prefix="", format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return prefix + base64.b64encode(buffer.getvalue()).decode()


def gradient(width=64, height=64):
    image = Image.new("RGB", (width, height))
    image.putdata([(x * 255 // width, y * 255 // height, 128)
                   for y in range(height) for x in range(width)])
    return image


def half_mask(width=64, height=64):
    """The right half is white: to be repainted."""
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (width // 2, 0, width, height))
    return mask
