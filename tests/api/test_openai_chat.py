"""POST /v1/chat/completions: pictures for clients that speak nothing else."""
import base64
import json
import re

import pytest
from openai_client import OpenAI, decode, gradient, hole, png

CHAT = "/v1/chat/completions"
OPTIONS = {"size": "64x64", "steps": 2, "seed": 7}
IMAGE = "data:image/png;base64," + base64.b64encode(png(gradient())).decode()


def user(content):
    return {"messages": [{"role": "system", "content": "You are a painter."},
                         {"role": "user", "content": "ignored"},
                         {"role": "assistant", "content": "Here it is."},
                         {"role": "user", "content": content}], **OPTIONS}


@pytest.fixture(scope="module")
def ai(server):
    return OpenAI(server.url)


def ask(ai, body, **kwargs):
    answer = ai.request("POST", CHAT, json=body, **kwargs)
    assert answer.status_code == 200, answer.text[:500]
    return answer.json()


def data_of(url):
    head, text = url.split(",", 1)
    assert re.fullmatch("data:image/(png|jpeg|webp);base64", head)
    return decode(text)[0]


def shown(message):
    """The picture of a message, which is in it twice."""
    alt, url = re.fullmatch(r"!\[([^\]]*)\]\((\S+)\)", message["content"]).groups()
    [image] = message["images"]
    assert image["type"] == "image_url" and image["image_url"]["url"] == url
    return alt, url


def test_the_last_message_is_painted(ai):
    answer = ask(ai, {**user("a red cube"), "model": "dall-e-3", "temperature": 0.7})
    assert answer["object"] == "chat.completion" and answer["model"] == "dall-e-3"
    assert answer["id"].startswith("chatcmpl-")
    [choice] = answer["choices"]
    assert choice["finish_reason"] == "stop" and choice["message"]["role"] == "assistant"
    alt, url = shown(choice["message"])
    assert alt == "a red cube"
    same = ai.images({"prompt": "a red cube", **OPTIONS})
    assert data_of(url) == same[0]
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_links_and_choices(ai, serve):
    answer = ask(ai, {**user("x"), "n": 2, "response_format": "url", "output_format": "jpeg"})
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    for choice in answer["choices"]:
        url = shown(choice["message"])[1]
        assert ai.session.get(url).headers["Content-Type"] == "image/jpeg"
    public = OpenAI(serve("--public-url=http://pictures.example").url)
    url = shown(ask(public, user("x"))["choices"][0]["message"])[1]
    assert url.startswith("http://pictures.example/v1/images/files/")


def test_pictures_are_edited(ai):
    parts = [{"type": "text", "text": "more"}, {"type": "text", "text": "blue"},
             {"type": "image_url", "image_url": {"url": IMAGE, "detail": "auto"}}]
    answer = ask(ai, user(parts))
    same = ai.answer({"prompt": "more\nblue", "images": [IMAGE], **OPTIONS}, path="/v1/images/edits")
    assert data_of(shown(answer["choices"][0]["message"])[1]) == decode(same["data"][0]["b64_json"])[0]
    mask = "data:image/png;base64," + base64.b64encode(png(hole())).decode()
    assert ask(ai, {**user(parts), "mask": mask}) != answer


def test_alt_text_is_text(ai):
    alt, _ = shown(ask(ai, user("a [b](c)\n<d> `e` \u00e9" + "\u732b" * 100))["choices"][0]["message"])
    assert len(alt.encode()) <= 100 and alt.startswith("a  b  c   d   e  \u00e9\u732b")


def test_what_is_ignored_is_named(ai):
    answer = ai.request("POST", CHAT, json={**user("x"), "temperature": 1, "max_tokens": 5,
                                            "tools": [], "stream": False, "stop": None})
    assert answer.headers["x-ignored-parameters"] == "temperature, max_tokens, tools"


def chunks(text):
    *blocks, end = [b for b in text.split("\n\n") if not b.startswith(":")]
    assert end == "" and blocks.pop() == "data: [DONE]"
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


def test_stream(ai):
    body = {**user("x"), "stream": True, "n": 2, "stream_options": {"include_usage": True}}
    answer = ai.request("POST", CHAT, json=body)
    assert answer.headers["Content-Type"] == "text/event-stream"
    *parts, usage = chunks(answer.content.decode())
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] > 0
    messages = [{"content": ""}, {"content": ""}]
    for part in parts:
        assert part["object"] == "chat.completion.chunk" and part["id"] == usage["id"]
        [choice] = part["choices"]
        delta, message = choice["delta"], messages[choice["index"]]
        message["content"] += delta.get("content", "")
        message.update({name: delta[name] for name in ("role", "images") if name in delta})
        if choice["finish_reason"]:
            message["end"] = choice["finish_reason"]
    whole = ask(ai, {**user("x"), "n": 2})
    for message, choice in zip(messages, whole["choices"]):
        assert message["role"] == "assistant" and message["end"] == "stop"
        assert shown(message) == shown(choice["message"])


@pytest.mark.parametrize("body, code, param", [
    ({}, "missing_required_parameter", "messages"),
    ({"messages": "x"}, "invalid_type", "messages"),
    ({"messages": []}, "invalid_value", "messages"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, "invalid_value", "messages"),
    ({"messages": [{"role": "user"}]}, "invalid_type", "messages"),
    (user(""), "missing_required_parameter", "messages"),
    (user([{"type": "input_audio", "input_audio": {}}]), "invalid_value", "messages"),
    (user([{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "http://x"}}]),
     "invalid_value", "messages"),
    (user("x" * 32001), "string_above_max_length", "messages"),
    (user([{"type": "text", "text": "x" * 1000}] * 5000), "string_above_max_length", "messages"),
    ({**user("x"), "size": "7x7"}, "invalid_value", "size"),
    ({**user("x"), "n": 11}, "integer_above_max_value", "n"),
    ({**user("x"), "stream": "yes"}, "invalid_type", "stream"),
    ([], None, None),
])
def test_wrong(ai, body, code, param):
    ai.error(400, code, param, body, path=CHAT)


def test_unknown_model(ai):
    ai.error(404, "model_not_found", "model", {**user("x"), "model": "gpt-5"}, path=CHAT)
    ai.error(405, "method_not_supported", None, method="GET", path=CHAT)
