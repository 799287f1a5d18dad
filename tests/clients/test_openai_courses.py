"""The scripts that courses and OpenAI's own guides begin with, word for word, run against a server
without any configuration: nothing but the base URL (in the environment) is changed."""
import io
import os
import subprocess
import sys

import pytest
from openai_client import gradient, hole, png
from PIL import Image, ImageChops, ImageStat

GENERATE = """
import requests
from openai import OpenAI
client = OpenAI()

response = client.images.generate(
    model="dall-e-2",
    prompt="a white siamese cat",
    size="512x512",
    quality="standard",
    n=1,
)

image_url = response.data[0].url
open("out.png", "wb").write(requests.get(image_url).content)
"""

GENERATE_3 = """
import urllib.request
from openai import OpenAI
client = OpenAI()

response = client.images.generate(
    model="dall-e-3",
    prompt="a white siamese cat",
    size="1024x1024",
    quality="hd",
    style="vivid",
    n=1,
)
urllib.request.urlretrieve(response.data[0].url, "out.png")
"""

GPT_IMAGE = """
import base64
from openai import OpenAI
client = OpenAI()

result = client.images.generate(
    model="gpt-image-1",
    prompt="A children's book drawing of a veterinarian listening to the heartbeat of an otter.",
)
image_bytes = base64.b64decode(result.data[0].b64_json)
with open("out.png", "wb") as f:
    f.write(image_bytes)
"""

PARTIAL = """
import base64
from openai import OpenAI
client = OpenAI()

stream = client.images.generate(
    prompt="Draw a gorgeous image of a river made of white owl feathers",
    model="gpt-image-2",
    stream=True,
    partial_images=2,
)
for event in stream:
    if event.type == "image_generation.partial_image":
        image_bytes = base64.b64decode(event.b64_json)
        with open(f"river{event.partial_image_index}.png", "wb") as f:
            f.write(image_bytes)
    if event.type == "image_generation.completed":
        open("out.png", "wb").write(base64.b64decode(event.b64_json))
"""

VARIATION = """
import requests
from openai import OpenAI
client = OpenAI()

response = client.images.create_variation(
    model="dall-e-2",
    image=open("image.png", "rb"),
    n=1,
    size="256x256",
)
open("out.png", "wb").write(requests.get(response.data[0].url).content)
"""

OLDEST_VARIATION = """
import requests
from openai import OpenAI
client = OpenAI()

response = client.images.create_variation(image=open("image.png", "rb"), n=2, size="256x256")
for item in response.data:
    open("out.png", "wb").write(requests.get(item.url).content)
"""

EDIT = """
import requests
from openai import OpenAI
client = OpenAI()

response = client.images.edit(
    model="dall-e-2",
    image=open("image.png", "rb"),
    mask=open("mask.png", "rb"),
    prompt="A sunlit indoor lounge area with a pool containing a flamingo",
    n=1,
    size="256x256",
)
open("out.png", "wb").write(requests.get(response.data[0].url).content)
"""

EDIT_GPT = """
import base64
from openai import OpenAI
client = OpenAI()

result = client.images.edit(
    model="gpt-image-1",
    image=[open("image.png", "rb"), open("image.png", "rb")],
    mask=open("mask.png", "rb"),
    prompt="A sunlit indoor lounge area with a pool containing a flamingo",
)
open("out.png", "wb").write(base64.b64decode(result.data[0].b64_json))
"""

MODELS = """
from openai import OpenAI
client = OpenAI()
for model in ("dall-e-2", "dall-e-3", "gpt-image-1", "gpt-image-2.6-sunburst"):
    assert client.models.retrieve(model).id == model
"""


@pytest.fixture
def run(server, tmp_path):
    """Runs a script in a folder with image.png and mask.png; gives the picture it wrote."""
    (tmp_path / "image.png").write_bytes(png(gradient(256, 256)))
    (tmp_path / "mask.png").write_bytes(png(hole(256, 256)))
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("OPENAI")}

    def run(script):
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=300,
                              capture_output=True, text=True,
                              env={**environment, "OPENAI_BASE_URL": server.url + "/v1",
                                   "OPENAI_API_KEY": "sk-none"})
        assert done.returncode == 0, done.stderr[-3000:]
        out = tmp_path / "out.png"
        if out.exists():
            image = Image.open(io.BytesIO(out.read_bytes()))
            image.load()
            return image
        return None
    return run


@pytest.mark.parametrize("script, size, contrast", [
    (GENERATE, (512, 512), 5), (GENERATE_3, (1024, 1024), 5), (GPT_IMAGE, None, 5),
    (PARTIAL, None, 5),
    # Without words the model may paint little more than a ground, and the seed is any.
    (VARIATION, (256, 256), 0.5), (OLDEST_VARIATION, (256, 256), 0.5),
], ids=["dall-e-2", "dall-e-3", "gpt-image", "partial", "variation", "oldest-variation"])
def test_scripts(run, script, size, contrast):
    image = run(script)
    assert image.format == "PNG" and (size is None or image.size == size)
    stddev = max(ImageStat.Stat(image.convert("RGB")).stddev)
    assert stddev > contrast, "it is a picture of something"


@pytest.mark.parametrize("script", [EDIT, EDIT_GPT], ids=["dall-e-2", "gpt-image"])
def test_edits_with_an_alpha_mask(run, script):
    image = run(script)
    assert image.size == (256, 256)
    difference = ImageChops.difference(gradient(256, 256), image.convert("RGB"))
    assert max(ImageStat.Stat(difference.crop((0, 0, 112, 256))).mean) < 1, "it is protected"
    assert max(ImageStat.Stat(difference.crop((144, 0, 256, 256))).mean) > 5, "it is painted over"


def test_models(run):
    run(MODELS)
