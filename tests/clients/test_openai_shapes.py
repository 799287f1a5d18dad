"""Requests as well-known clients send them to OpenAI's images API, replayed, and what those clients
read of the answers. Clients that go through OpenAI's SDKs are replayed with the SDK. Their sizes are
in test_openai_generations.py; what is painted here is small, and in one step."""
import base64
import io
import json
import uuid

import openai
import pytest
import requests
from openai_client import gradient, hole, png
from PIL import Image

IMAGE, MASK = png(gradient()), png(hole())
BEARER = {"Authorization": "Bearer sk-anything"}
TEXT = "text/plain; charset=utf-8"


def picture(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def part(name, value, kind=None, file=None):
    """One part of a form, its bytes."""
    head = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
    head += f"\r\nContent-Type: {kind}" if kind else ""
    return head.encode() + b"\r\n\r\n" + (value if isinstance(value, bytes) else value.encode())


def post_form(url, parts, headers, chunked=False):
    mark = f"--------------------------{uuid.uuid4().int % 10**24:024d}"
    body = b"".join(f"--{mark}\r\n".encode() + p + b"\r\n" for p in parts) + f"--{mark}--\r\n".encode()
    data = (body[i:i + 777] for i in range(0, len(body), 777)) if chunked else body
    return requests.post(url, data=data, timeout=120, headers={
        **headers, "Content-Type": f"multipart/form-data; boundary={mark}"})


# ---- SillyTavern ----

@pytest.mark.parametrize("model, size, more", [
    ("dall-e-2", "64x64", {"response_format": "b64_json"}),
    ("dall-e-3", "64x128", {"quality": "standard", "style": "vivid", "response_format": "b64_json"}),
    ("gpt-image-1", "128x64", {"quality": "auto", "moderation": "low"}),
])
def test_sillytavern(server, model, size, more):
    """Of the answer it takes data[0].b64_json and calls it a PNG, whatever the model."""
    answer = requests.post(server.url + "/v1/images/generations", headers=BEARER, timeout=120, json={
        "prompt": "a cat", "model": model, "size": size, "n": 1, "steps": 1, **more})
    assert answer.ok, answer.text
    image = picture(base64.b64decode(answer.json()["data"][0]["b64_json"]))
    assert image.format == "PNG" and f"{image.width}x{image.height}" == size


def test_sillytavern_as_of_stable_diffusion_cpp(server):
    """Its kind of server that speaks both dialects: is there, by OPTIONS; which models, by one
    dialect; pictures by the other."""
    assert requests.options(server.url + "/v1/images/generations", timeout=60).ok
    models = requests.get(server.url + "/v1/models", timeout=60).json()["data"]
    answer = requests.post(server.url + "/sdapi/v1/txt2img", timeout=120, json={
        "model": models[0]["id"], "prompt": "a cat", "negative_prompt": "bad", "width": 64, "height": 64,
        "steps": 2, "cfg_scale": 7, "seed": 5, "batch_size": 1, "sampler_name": "euler_a",
        "scheduler": "karras"})
    assert answer.ok, answer.text
    assert picture(base64.b64decode(answer.json()["images"][0])).size == (64, 64)


# ---- Open WebUI ----

USER = {"X-OpenWebUI-User-Name": "A%20User", "X-OpenWebUI-User-Id": "1", "X-OpenWebUI-User-Role": "admin",
        "X-OpenWebUI-User-Email": "a@example.org"}


@pytest.mark.parametrize("query", ["", "?api-version=2025-04-01-preview"])
def test_open_webui(server, query):
    answer = requests.post(server.url + "/v1/images/generations" + query, timeout=120,
                           headers={**BEARER, **USER}, json={
                               "model": "flux-klein" if not query else "dall-e-2", "prompt": "a cat", "n": 1,
                               "size": "64x64", "response_format": "b64_json", "steps": 1})
    if not query:  # a name that this server does not have: its user reads the reason phrase alone
        assert answer.status_code == 404 and answer.reason
        return
    [item] = answer.json()["data"]
    assert "url" not in item and picture(base64.b64decode(item["b64_json"])).size == (64, 64)


def test_open_webui_prefers_links(server):
    """It fetches them with its Authorization and needs a type of images."""
    answer = requests.post(server.url + "/v1/images/generations", headers=BEARER, timeout=120, json={
        "model": "dall-e-3", "prompt": "a cat", "n": 2, "size": "64x64", "steps": 1})
    for item in answer.json()["data"]:
        link = requests.get(item["url"], headers={"Authorization": "Bearer sk-anything"}, timeout=60)
        assert link.headers["Content-Type"].split("/")[0] == "image"
        assert picture(link.content).size == (64, 64)


@pytest.mark.parametrize("images", [1, 2])
def test_open_webui_edits(server, images):
    """A form of aiohttp: each text has a type; `image` of one picture, `image[]` of several."""
    name = "image" if images == 1 else "image[]"
    parts = [part(*field, TEXT) for field in (
        ("model", "gpt-image-1"), ("prompt", "a dog"), ("n", "1"), ("size", "64x64"),
        ("background", "auto"), ("steps", "1"))]
    parts += [part(name, IMAGE, "image/png", f"{uuid.uuid4()}.png")] * images
    answer = post_form(server.url + "/v1/images/edits", parts, {**BEARER, **USER})
    assert answer.ok, answer.text
    assert picture(base64.b64decode(answer.json()["data"][0]["b64_json"])).size == (64, 64)


# ---- LibreChat ----

def test_librechat_dalle(server):
    """Through the SDK; it saves what the link leads to, without a key."""
    ai = openai.OpenAI(base_url=server.url + "/v1", api_key="sk-anything")
    answer = ai.images.generate(model="dall-e-3", quality="standard", style="vivid", size="64x64",
                                prompt="a cat in the rain", n=1, extra_body={"steps": 1})
    link = requests.get(answer.data[0].url, timeout=60)
    assert link.headers["Content-Type"] == "image/png" and picture(link.content).size == (64, 64)


@pytest.mark.parametrize("output, more", [("png", {}), ("webp", {"output_compression": 100})])
def test_librechat_image_tools(server, output, more):
    ai = openai.OpenAI(base_url=server.url + "/v1", api_key="sk-anything")
    answer = ai.images.generate(model="gpt-image-1", prompt="a cat", n=1, background="auto",
                                output_format=output, quality="auto", size="auto",
                                extra_body={"steps": 1}, **more)
    assert picture(base64.b64decode(answer.data[0].b64_json)).format == output.upper()


@pytest.mark.parametrize("root, headers", [
    ("/v1/images/edits", BEARER),
    ("/openai/deployments/gpt-image-1/images/edits?api-version=2025-04-01-preview", {"api-key": "x"})])
def test_librechat_edits(server, root, headers):
    """The package form-data over axios: streams of files, so chunks; texts without a type; any
    number of `image[]`. With Azure, by its header."""
    parts = [part("model", "gpt-image-1"), part("prompt", "make it blue"), part("quality", "auto"),
             part("size", "auto"), part("steps", "1"),
             part("image[]", IMAGE, "image/png", "img-1.png"), part("image[]", IMAGE, "image/png", "img-2.png")]
    answer = post_form(server.url + root, parts, headers, chunked=True)
    assert answer.ok, answer.text
    assert picture(base64.b64decode(answer.json()["data"][0]["b64_json"])).size == (64, 64)


# ---- Dify ----

@pytest.mark.parametrize("azure", [False, True], ids=["openai", "azure"])
def test_dify(server, azure):
    """Its tools: pictures as base64, and for edits also what they cost, by parts."""
    if azure:
        ai = openai.AzureOpenAI(azure_endpoint=server.url, api_key="x", api_version="2025-04-01-preview",
                                azure_deployment="gpt-image-1")
    else:
        ai = openai.OpenAI(base_url=server.url + "/v1", api_key="sk-anything")
    made = ai.images.generate(prompt="a cat", model="dall-e-3", size="64x64", n=1, style="vivid",
                              quality="hd", response_format="b64_json", extra_body={"steps": 1})
    assert picture(base64.b64decode(made.data[0].b64_json)).size == (64, 64)
    image, mask = io.BytesIO(IMAGE), io.BytesIO(MASK)
    image.name, mask.name = "input_image.png", "mask_image.png"
    edit = ai.images.edit(prompt="a dog", model="gpt-image-1", image=[image], mask=mask, size="64x64",
                          quality="high", n=1, extra_body={"steps": 1})
    assert edit.data[0].b64_json and not edit.data[0].b64_json.startswith("data:")
    usage = edit.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens == (usage.input_tokens_details.text_tokens +
                                  usage.input_tokens_details.image_tokens)


# ---- n8n ----

def test_n8n(server):
    """Its credentials are tried by the list of models; a node of version 1 wants a link or base64,
    with the fields that its options name; newer ones send none of response_format to gpt-image."""
    listed = requests.get(server.url + "/v1/models", headers=BEARER, timeout=60)
    assert listed.ok and all(isinstance(m["id"], str) for m in listed.json()["data"])

    def generate(**body):
        answer = requests.post(server.url + "/v1/images/generations", headers=BEARER, timeout=120,
                               json={"prompt": "a cat", "steps": 1, **body})
        assert answer.ok, answer.text
        return answer.json()["data"]

    [item] = generate(model="dall-e-2", response_format="url", size="64x64", n=1)
    assert requests.get(item["url"], timeout=60).headers["Content-Type"] == "image/png"
    [item] = generate(model="dall-e-3", response_format="b64_json", size="128x64", quality="hd",
                      style="natural")
    assert picture(base64.b64decode(item["b64_json"])).size == (128, 64)
    items = generate(model="gpt-image-1-mini", n=2, size="64x64", quality="medium")
    assert all(picture(base64.b64decode(i["b64_json"])).size == (64, 64) for i in items)


@pytest.mark.parametrize("model", ["dall-e-2", "gpt-image-1"])
def test_n8n_edits(server, model):
    ours = [("n", "1"), ("size", "64x64"), ("user", "u"), ("output_compression", "90"), ("steps", "1")]
    theirs = {"dall-e-2": [("response_format", "b64_json")],
              "gpt-image-1": [("background", "auto"), ("input_fidelity", "low"), ("output_format", "jpeg"),
                              ("quality", "low")]}
    parts = [part("image", IMAGE, "image/png", "a.png"), part("prompt", "a dog"), part("model", model)]
    parts += [part(*field) for field in ours + theirs[model]]
    parts.append(part("mask", MASK, "image/png", "mask.png"))
    answer = post_form(server.url + "/v1/images/edits", parts, BEARER)
    assert answer.ok, answer.text
    image = picture(base64.b64decode(answer.json()["data"][0]["b64_json"]))
    assert image.size == (64, 64) and image.format == ("PNG" if model == "dall-e-2" else "JPEG")


def test_n8n_reads_what_is_wrong(server):
    """Its nodes show error.message of the body."""
    answer = requests.post(server.url + "/v1/images/generations", headers=BEARER, timeout=60,
                           json={"prompt": "", "model": "dall-e-2"})
    assert answer.status_code == 400 and json.loads(answer.text)["error"]["message"]
