"""What prompts and pictures can do beyond words: styles, pictures that go on where they end."""
import base64
import io
import json

import pytest
from PIL import Image, ImageChops
from sdapi_client import TINY, Sdapi

STYLES = """name,prompt,negative_prompt
Oil,"oil painting of {prompt}, old",blurry
Good,best quality,
"""


@pytest.fixture(scope="module")
def api(serve_module):
    server = serve_module()
    (server.folder / "data" / "styles.csv").write_text(STYLES)
    return Sdapi(server.url)


def paint(api, **fields):
    body = api.post("txt2img", {**TINY, **fields})
    image = Image.open(io.BytesIO(base64.b64decode(body["images"][0])))
    return image.convert("RGB"), json.loads(body["info"])


def test_styles(api):
    assert api.get("prompt-styles") == [
        {"name": "Oil", "prompt": "oil painting of {prompt}, old", "negative_prompt": "blurry"},
        {"name": "Good", "prompt": "best quality", "negative_prompt": ""}]
    styled, info = paint(api, prompt="a cat", negative_prompt="x", styles=["Oil", "Moody", "Good"])
    assert info["prompt"] == "oil painting of a cat, old, best quality"
    assert info["negative_prompt"] == "x, blurry"
    assert info["styles"] == ["Oil", "Moody", "Good"]
    assert info["extra_generation_params"]["Ignored"] == "style Moody"
    plain, _ = paint(api, prompt=info["prompt"], negative_prompt=info["negative_prompt"])
    assert styled.tobytes() == plain.tobytes()


def test_styles_are_changed(serve):
    own = Sdapi(serve().url)
    assert own.get("prompt-styles") == []
    made = own.post("prompt-styles", {"name": "Oil / old", "prompt": 'oil, "thick" {prompt}', "negative_prompt": "flat"})
    assert own.get("prompt-styles") == [made]
    assert own.txt2img(prompt="a cat", styles=["Oil / old"]).info["prompt"] == 'oil, "thick" a cat'
    own.post("prompt-styles", {"name": "B"})
    changed = own.post("prompt-styles", {"name": "Oil / old", "prompt": "x"})
    assert own.get("prompt-styles") == [changed, {"name": "B", "prompt": "", "negative_prompt": ""}]
    assert own.answer(own.request("DELETE", "prompt-styles/Oil%20/%20old"), 200) is None
    assert [s["name"] for s in own.get("prompt-styles")] == ["B"]
    own.answer(own.request("DELETE", "prompt-styles/Moody"), 404)
    for body in ({}, {"name": ""}, {"name": "a\nb"}, {"name": "x" * 201}, {"name": "y", "prompt": ["z"]}):
        own.post("prompt-styles", body, 422)


def test_styles_do_not_explode(api):
    detail = api.post("txt2img", {**TINY, "prompt": "x", "styles": ["Oil"] * 10000}, 422)["detail"]
    assert detail[0]["loc"] == ["body", "styles"] and "at most 64 styles, got 10000" in detail[0]["msg"]


def seam(image):
    """How much steeper the step over the edges is than those beside it."""
    def step(a, b):
        pair = [image.crop((x % image.width, 0, x % image.width + 1, image.height)) for x in (a, b)]
        data = ImageChops.difference(*pair).tobytes()
        return sum(data) / len(data)
    return step(-1, 0) / (1 + step(-2, -1) + step(0, 1))


def test_edges_meet(api):
    fields = {"prompt": "green hills under a blue sky, mountains", "width": 128, "height": 128,
              "steps": 8, "seed": 3}
    tiled, info = paint(api, **fields, tiling=True)
    plain, _ = paint(api, **fields)
    assert "Tiling: True" in info["infotexts"][0]
    assert seam(tiled) < 1 < seam(plain)
