"""What the tests of the OpenAI dialect share: answers are checked for what each must have."""
import base64
import io
import json
import re
import time

import requests
from PIL import Image

TINY = {"prompt": "a red cube", "size": "64x64", "steps": 2, "seed": 7}
FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}


def decode(text):
    data = base64.b64decode(text, validate=True)
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return data, picture


def pixels(data):
    return Image.open(io.BytesIO(data)).tobytes()


def wait_for(condition, timeout=300):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def png(image, **options):
    out = io.BytesIO()
    image.save(out, options.pop("format", "PNG"), **options)
    return out.getvalue()


def gradient(width=64, height=64, mode="RGB"):
    image = Image.new("RGB", (width, height))
    image.putdata([(x * 255 // width, y * 255 // height, 128)
                   for y in range(height) for x in range(width)])
    return image.convert(mode)


def hole(width=64, height=64):
    """An OpenAI mask: the right half is transparent, to be repainted."""
    mask = Image.new("RGBA", (width, height), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (width // 2, 0, width, height))
    return mask


class OpenAI:
    def __init__(self, url, key=None):
        self.url = url
        self.session = requests.Session()
        if key:
            self.session.headers["Authorization"] = f"Bearer {key}"

    def request(self, method, path, **kwargs):
        kwargs.setdefault("timeout", 120)
        response = self.session.request(method, self.url + path, **kwargs)
        assert re.fullmatch(r"req_[0-9a-f]{32}", response.headers["x-request-id"])
        return response

    def answer(self, body=None, path="/v1/images/generations", **kwargs):
        """A 200 with pictures, checked."""
        before = time.time()
        if body is not None:
            kwargs["json"] = body
        response = self.request("POST", path, **kwargs)
        assert response.status_code == 200, response.text[:500]
        assert response.headers["Content-Type"] == "application/json"
        assert int(response.headers["openai-processing-ms"]) >= 0
        answer = response.json()
        assert isinstance(answer["created"], int)
        assert before - 5 < answer["created"] < time.time() + 5
        usage = answer["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        for side, kinds in (("input_tokens", "input_tokens_details"),
                            ("output_tokens", "output_tokens_details")):
            assert sum(usage[kinds].values()) == usage[side]
            assert set(usage[kinds]) == {"text_tokens", "image_tokens"}
        assert answer["background"] == "opaque"
        assert answer["quality"] in ("low", "medium", "high", "xhigh", "max")
        for item in answer["data"]:
            assert len(item) == 1, "exactly one of b64_json and url"
            if "b64_json" in item:
                _, picture = decode(item["b64_json"])
                assert picture.format == FORMATS[answer["output_format"]]
                assert f"{picture.width}x{picture.height}" == answer["size"]
        return answer

    def images(self, body=None, **kwargs):
        return [decode(item["b64_json"])[0] for item in self.answer(body, **kwargs)["data"]]

    def error(self, status, code, param, body=None, path="/v1/images/generations", method="POST",
              type="invalid_request_error", **kwargs):
        """An error of exactly that kind; returns its message."""
        if body is not None:
            kwargs["json"] = body
        response = self.request(method, path, **kwargs)
        assert response.status_code == status, response.text[:500]
        assert response.headers["Content-Type"] == "application/json"
        assert set(response.json()) == {"error"}
        error = response.json()["error"]
        assert list(error) == ["message", "type", "param", "code"]
        assert (error["type"], error["code"], error["param"]) == (type, code, param), error
        assert error["message"]
        return error["message"]

    def stream(self, body=None, path="/v1/images/generations", **kwargs):
        """All events of a stream: [(name, data)]."""
        if body is not None:
            kwargs["json"] = {**body, "stream": True}
        response = self.request("POST", path, **kwargs)
        assert response.status_code == 200, response.text[:500]
        assert response.headers["Content-Type"] == "text/event-stream"
        return events(response.content.decode())


def events(text):
    """Strict: every event ends with an empty line, has a name and one line of JSON."""
    assert text.endswith("\n\n")
    found = []
    for block in text[:-2].split("\n\n"):
        if block.startswith(":"):
            assert block == ": ping"
            continue
        name, data = block.split("\n")
        assert name.startswith("event: ") and data.startswith("data: ")
        found.append((name[7:], json.loads(data[6:])))
    return found
