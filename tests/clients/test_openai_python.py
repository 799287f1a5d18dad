"""OpenAI's SDK for Python, unmodified."""
import base64
import io
import json
import time

import openai
import openai.types.responses
import pytest
from openai_client import gradient, hole, png, wait_for
from PIL import Image

TINY = {"prompt": "a red cube", "size": "64x64"}
EXTRA = {"steps": 2, "seed": 7}
IMAGE, MASK = png(gradient()), png(hole())


@pytest.fixture(scope="module")
def own(serve_module, tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "pictor.ini"
    config.write_text("[alias]\norg/name = pictor-mini\n")
    return serve_module(f"--config={config}")


@pytest.fixture
def ai(own):
    return openai.OpenAI(base_url=own.url + "/v1", api_key="sk-test", max_retries=0)


def picture(item):
    image = Image.open(io.BytesIO(base64.b64decode(item.b64_json)))
    image.load()
    return image


def test_generate(ai):
    answer = ai.images.generate(**TINY, n=2, extra_body=EXTRA)
    assert answer._request_id.startswith("req_")
    assert [picture(item).size for item in answer.data] == [(64, 64)] * 2
    assert answer.size == "64x64" and answer.usage.total_tokens > 0
    again = ai.images.generate(**TINY, n=2, extra_body=EXTRA)
    assert [item.b64_json for item in again.data] == [item.b64_json for item in answer.data]


def test_base_urls(own):
    for base in (own.url + "/v1/", own.url):
        ai = openai.OpenAI(base_url=base, api_key="x", max_retries=0)
        ai.images.generate(**TINY, extra_body=EXTRA)


def test_stream(ai):
    with ai.images.generate(prompt="x", size="256x256", stream=True, partial_images=2,
                            extra_body={"steps": 30}) as stream:
        *partials, last = list(stream)
    assert last.type == "image_generation.completed" and picture(last).size == (256, 256)
    assert [event.partial_image_index for event in partials] == list(range(len(partials)))
    for event in partials:
        assert event.type == "image_generation.partial_image"
        assert picture(event).size == (256, 256)


class Unseekable(io.RawIOBase):
    """Makes the SDK send the file in chunks."""

    def __init__(self, data):
        self.file = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.file.readinto(buffer)


@pytest.mark.parametrize("image", [
    IMAGE, ("a.png", IMAGE), ("a.png", IMAGE, "image/png"), [IMAGE], [IMAGE, ("b.png", IMAGE)],
    io.BytesIO(IMAGE), ("c.png", Unseekable(IMAGE))], ids=range(7))
def test_edit(ai, image):
    answer = ai.images.edit(image=image, prompt="p", extra_body=EXTRA)
    assert picture(answer.data[0]).size == (64, 64)


def test_edit_with_mask(ai):
    answer = ai.images.edit(image=IMAGE, mask=MASK, prompt="p", n=2, size="128x128",
                            output_format="webp", extra_body={**EXTRA, "strength": 0.9})
    assert [picture(item).format for item in answer.data] == ["WEBP"] * 2


def test_edit_stream(ai):
    events = list(ai.images.edit(image=IMAGE, prompt="p", stream=True, extra_body=EXTRA))
    assert [event.type for event in events] == ["image_edit.completed"]


def test_variation(ai):
    answer = ai.images.create_variation(image=IMAGE, size="256x256", response_format="b64_json")
    assert picture(answer.data[0]).size == (256, 256)


def test_models(ai):
    assert {"pictor-mini", "org/name"} <= {model.id for model in ai.models.list()}
    assert ai.models.retrieve("org/name").owned_by
    with pytest.raises(openai.NotFoundError):
        ai.models.retrieve("nope")
    with pytest.raises(openai.PermissionDeniedError):
        ai.models.delete("pictor-mini")


@pytest.mark.parametrize("fields, kind, code, param", [
    ({"size": "1000x1000"}, openai.BadRequestError, "invalid_value", "size"),
    ({"n": 11}, openai.BadRequestError, "integer_above_max_value", "n"),
    ({"model": "nope"}, openai.NotFoundError, "model_not_found", "model"),
    ({"quality": "x", "stream": True}, openai.BadRequestError, "invalid_value", "quality"),
])
def test_errors(ai, fields, kind, code, param):
    with pytest.raises(kind) as caught:
        ai.images.generate(**{**TINY, **fields})
    error = caught.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert error.request_id.startswith("req_")


def test_keys(serve):
    server = serve()
    key = server.add_key("user")
    url = server.url + "/v1"
    openai.OpenAI(base_url=url, api_key=key).images.generate(**TINY, extra_body=EXTRA)
    with pytest.raises(openai.AuthenticationError) as caught:
        openai.OpenAI(base_url=url, api_key="sk-wrong").models.list()
    assert caught.value.code == "invalid_api_key"


def requests_seen(server, path):
    return server.log().count(f"path={path} ")


def test_what_is_tried_again(own, serve):
    """A request that is wrong is sent once; one that a full queue refuses, after Retry-After."""
    ai = openai.OpenAI(base_url=own.url + "/v1", api_key="x", max_retries=2)
    before = requests_seen(own, "/v1/images/generations")
    with pytest.raises(openai.BadRequestError):
        ai.images.generate(prompt="")
    wait_for(lambda: requests_seen(own, "/v1/images/generations") > before)  # logged after the answer
    assert requests_seen(own, "/v1/images/generations") == before + 1

    server = serve("--max-queue=1")
    ai = openai.OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=1)
    jobs = [ai.post("/../api/jobs", cast_to=dict[str, object], body={
        "prompt": "x", "width": 512, "height": 512, "steps": 150, "count": 16})]
    state = lambda: ai.get("/../api/jobs/" + jobs[0]["id"], cast_to=dict[str, object])["state"]
    wait_for(lambda: state() == "running")
    ai.post("/../api/jobs", cast_to=dict[str, object], body={"prompt": "x"})
    start = time.monotonic()
    with pytest.raises(openai.RateLimitError):
        ai.images.generate(**TINY)
    assert time.monotonic() - start > 3
    wait_for(lambda: requests_seen(server, "/v1/images/generations") > 1)
    assert requests_seen(server, "/v1/images/generations") == 2


def test_timeout_cancels(own):
    ai = openai.OpenAI(base_url=own.url + "/v1", api_key="x", max_retries=0, timeout=1)
    with pytest.raises(openai.APITimeoutError):
        ai.images.generate(prompt="timed out", size="512x512", n=10, extra_body={"steps": 150})
    get = lambda: ai.with_options(timeout=30).get("/../api/jobs?q=timed+out", cast_to=dict[str, object])
    wait_for(lambda: get()["jobs"][0]["state"] == "cancelled", 20)


def test_chat(ai):
    body = {"model": "pictor-mini", "messages": [{"role": "user", "content": "a red cube"}],
            "extra_body": {"size": "64x64", **EXTRA}}
    message = ai.chat.completions.create(**body).choices[0].message
    assert message.content.startswith("![a red cube](data:image/png;base64,")
    assert message.images[0]["image_url"]["url"] in message.content
    parts = ai.chat.completions.create(**body, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == message.content


def test_responses(ai):
    body = {"model": "gpt-5", "input": "a red cube", "extra_body": EXTRA,
            "tools": [{"type": "image_generation", "size": "64x64"}]}
    answer = ai.responses.create(**body)
    [call] = [item for item in answer.output if item.type == "image_generation_call"]
    assert Image.open(io.BytesIO(base64.b64decode(call.result))).size == (64, 64)
    assert answer.output_text == "" and answer.usage.total_tokens > 0
    events = list(ai.responses.create(**body, stream=True))
    call_events = ["in_progress", "generating", "completed"]
    assert [event.type for event in events] == [
        "response.created", "response.in_progress", "response.output_item.added",
        *[f"response.image_generation_call.{name}" for name in call_events],
        "response.output_item.done", "response.completed"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert isinstance(events[-1], openai.types.responses.ResponseCompletedEvent)
    assert isinstance(events[3], openai.types.responses.ResponseImageGenCallInProgressEvent)
    assert events[-2].item.result == events[-1].response.output[0].result == call.result
    with ai.responses.stream(**body) as stream:
        assert stream.get_final_response().output[0].result == call.result
    assert ai.responses.retrieve(answer.id).output[0].result == call.result
    with pytest.raises(openai.BadRequestError) as error:
        ai.responses.create(**{**body, "tools": [{"type": "image_generation", "size": "7x7"}]})
    assert error.value.param == "tools[0].size"


def test_azure(own):
    ai = openai.AzureOpenAI(azure_endpoint=own.url, api_key="x", api_version="2025-04-01-preview",
                            max_retries=0)
    answer = ai.images.generate(**TINY, model="dall-e-3", extra_body=EXTRA)
    assert answer.data[0].url.startswith(own.url)
    assert picture(ai.images.edit(image=IMAGE, prompt="p", model="gpt-image-1",
                                  extra_body=EXTRA).data[0]).size == (64, 64)
    with pytest.raises(openai.NotFoundError) as error:
        ai.images.generate(**TINY, model="nope")
    assert error.value.code == "DeploymentNotFound"


def test_files_and_batches(ai):
    image = ai.files.create(file=("a.png", IMAGE), purpose="vision")
    assert ai.files.retrieve(image.id).bytes == len(IMAGE)
    assert ai.files.content(image.id).read() == IMAGE
    line = {"custom_id": "a", "method": "POST", "url": "/v1/images/edits", "body": {
        **TINY, **EXTRA, "images": [{"file_id": image.id}]}}
    file = ai.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    assert {item.id for item in ai.files.list()} >= {image.id, file.id}
    batch = ai.batches.create(input_file_id=file.id, endpoint="/v1/images/edits",
                              completion_window="24h")
    wait_for(lambda: ai.batches.retrieve(batch.id).status == "completed")
    batch = ai.batches.retrieve(batch.id)
    assert batch.request_counts.completed == 1 and batch.id in {b.id for b in ai.batches.list()}
    answer = json.loads(ai.files.content(batch.output_file_id).text)
    edit = ai.images.edit(image=IMAGE, prompt=TINY["prompt"], size="64x64", extra_body=EXTRA)
    assert answer["response"]["body"]["data"][0]["b64_json"] == edit.data[0].b64_json
    with pytest.raises(openai.BadRequestError):
        ai.batches.cancel(batch.id)
    assert ai.files.delete(image.id).deleted
    with pytest.raises(openai.NotFoundError):
        ai.files.retrieve(image.id)
