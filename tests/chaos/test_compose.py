"""Descriptions out of ideas: by pictor's own words, by a chat model, and in requests for pictures."""
import json
import re
import time
from pathlib import Path

import pytest
import requests
from processes import TINY, Jobs
from test_upstream import KEY, Stub

WORDS = set(re.search(r"WORDS = new Set\('([^']*)'", (
    Path(__file__).parents[2] / "web" / "words.js").read_text())[1].split())
SAID = "An oil painting of a harbour at dawn, in the manner of Turner."


@pytest.fixture
def chat():
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture
def composing(serve):
    def start(chat, *more):
        return serve(f"--compose-url={chat.url}", "--compose-model=writer", f"--compose-key={KEY}", *more)
    return start


def compose(server, **fields):
    return requests.post(server.url + "/api/compose", timeout=60, json=fields)


def completion(text):
    return (200, {"Content-Type": "application/json"}, {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "writer",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": text, "refusal": None}}]})


def streamed(*pieces, delay=0.0):
    def step(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        events = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}] + [
            {"choices": [{"index": 0, "delta": {"content": p}}]} for p in pieces] + ["[DONE]"]
        for event in events:
            data = f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            time.sleep(delay)
        handler.wfile.write(b"0\r\n\r\n")
        return "gone"
    return step


def events(text):
    return [(m[1], json.loads(m[2])) for m in re.finditer(r"event: (\w+)\ndata: (.*)\n\n", text)]


def test_by_itself(server):
    first, again, other = (compose(server, theme="a red fox", seed=s).json() for s in (7, 7, 8))
    assert first == again and first["text"] != other["text"]
    assert first["by"] == "pictor" and first["seed"] == 7 and first["theme"] == "a red fox"
    assert "a red fox" in first["text"]
    texts = {compose(server, theme="a red fox").json()["text"] for _ in range(8)}
    assert len(texts) > 4, "another one each time"
    streamed_text = events(compose(server, theme="a red fox", seed=7, stream=True).text)
    assert [name for name, _ in streamed_text] == ["piece", "done"]
    assert streamed_text[1][1] == first


@pytest.mark.parametrize("seed", [2**53 + 1, 2**63 + 5, 2**64 - 1])
def test_seeds_of_64_bits(server, seed):
    answer = compose(server, theme="a red fox", seed=seed)
    assert answer.json()["seed"] == seed and str(seed) in answer.text


def test_in_words_that_the_model_knows(server):
    for seed in range(200):
        text = compose(server, theme="a red fox", seed=seed, model="pictor-mini").json()["text"]
        assert set(text.split()) <= WORDS, set(text.split()) - WORDS


@pytest.mark.parametrize("fields, param", [
    ({}, "theme"), ({"theme": ""}, "theme"), ({"theme": " \n"}, "theme"), ({"theme": 7}, "theme"),
    ({"theme": "x" * 2001}, "theme"), ({"theme": "x", "seed": -2}, "seed"),
    ({"theme": "x", "seed": "y"}, "seed"), ({"theme": "x", "foo": 1}, "foo"),
    ({"theme": "x", "stream": "yes"}, "stream")])
def test_what_is_no_idea(server, fields, param):
    answer = compose(server, **fields)
    assert answer.status_code == 400 and param in answer.text, answer.text


def test_what_means_something_in_prompts_does_not(server):
    text = compose(server, theme="a {red|blue} (fox:1.3) <lora:x:1> [a|b] # no", seed=1).json()["text"]
    assert not set("{}()[]<>|#") & set(text)


def test_requests_in_every_api(server):
    jobs = Jobs(server.url)
    job = jobs.state(jobs.submit(**{**TINY, "prompt": "a red fox", "compose": True}))
    want = compose(server, theme="a red fox", seed=TINY["seed"]).json()["text"]
    assert job["params"]["prompt"] == job["revised_prompt"] == want
    assert job["params"]["composed_from"] == "a red fox"
    assert "Composed from: a red fox" in job["images"][0]["infotext"]
    plain = jobs.state(jobs.submit(**TINY))
    assert plain["revised_prompt"] is None and plain["params"]["composed_from"] is None
    answer = requests.post(server.url + "/v1/images/generations", timeout=60, json={
        "prompt": "a red fox", "compose": True, "seed": 7, "size": "64x64", "steps": 2}).json()
    assert answer["data"][0]["revised_prompt"] == want
    answer = requests.post(server.url + "/v1/images/generations", timeout=60, stream=True, json={
        "prompt": "a red fox", "compose": True, "seed": 7, "size": "64x64", "steps": 2, "stream": True})
    assert json.loads(re.search("data: (.*)", answer.text)[1])["revised_prompt"] == want
    answer = requests.post(server.url + "/sdapi/v1/txt2img", timeout=60, json={
        "prompt": "a red fox", "compose": True, "seed": 7, "width": 64, "height": 64, "steps": 2})
    info = json.loads(answer.json()["info"])
    assert info["prompt"] == info["revised_prompt"] == want
    assert "compose" not in answer.json()["parameters"]
    answer = requests.post(server.url + "/sdapi/v1/txt2img", timeout=60, json={
        "prompt": "a fox", "seed": 7, "width": 64, "height": 64, "steps": 2})
    assert "revised_prompt" not in json.loads(answer.json()["info"])
    for path, body in (("/api/jobs", {"prompt": " ", "compose": True}),
                       ("/v1/images/generations", {"compose": True}),
                       ("/sdapi/v1/txt2img", {"compose": True})):
        answer = requests.post(server.url + path, json=body, timeout=30)
        assert answer.status_code in (400, 422), answer.text
    answer = requests.post(server.url + "/v1/images/edits", timeout=30, data={
        "prompt": "x", "compose": "true"}, files={"image": ("a.png", b"x")})
    assert answer.status_code == 400


def test_by_a_chat_model(composing, chat):
    server = composing(chat)
    chat.script = [completion(f'<think>a harbour...</think>\n"{SAID}"\n')]
    answer = compose(server, theme="a harbour at dawn", seed=1).json()
    assert answer == {"text": SAID, "by": "writer", "theme": "a harbour at dawn", "seed": 1}
    (method, path, headers, _), = chat.requests
    assert (method, path) == ("POST", "/v1/chat/completions")
    assert headers["Authorization"] == f"Bearer {KEY}"
    sent = chat.json()
    assert sent["model"] == "writer" and [m["role"] for m in sent["messages"]] == ["system", "user"]
    assert sent["messages"][1]["content"] == "a harbour at dawn"
    chat.script = [streamed("An oil ", "painting\n of a [fox].")]
    assert compose(server, theme="x").json()["text"] == "An oil painting of a fox ."


def test_its_words_as_they_come(composing, chat):
    server = composing(chat)
    chat.script = [streamed("An oil ", "painting", delay=0.5)]
    began, times = time.monotonic(), []
    answer = requests.post(server.url + "/api/compose", json={"theme": "x", "stream": True},
                           stream=True, timeout=60)
    text = ""
    for line in answer.iter_lines(chunk_size=1):
        if line.startswith(b"event: piece"):
            times.append(time.monotonic() - began)
        text += line.decode() + "\n"
    assert len(times) == 2 and times[1] - times[0] > 0.3
    assert [(n, d.get("text")) for n, d in events(text)] == [
        ("piece", "An oil "), ("piece", "painting"), ("done", "An oil painting")]


def test_pictures_of_what_it_says(composing, chat):
    server = composing(chat)
    chat.script = [completion(SAID)]
    jobs = Jobs(server.url)
    job = jobs.state(jobs.submit(**{**TINY, "prompt": "a harbour", "compose": True}))
    assert job["params"]["prompt"] == SAID and job["state"] == "done"
    for more in ({}, {"stream": True}):
        answer = requests.post(server.url + "/v1/images/generations", timeout=60, json={
            "prompt": "a harbour", "compose": True, "size": "64x64", "steps": 2, **more})
        assert answer.status_code == 200 and SAID in answer.text
    answer = requests.post(server.url + "/sdapi/v1/txt2img", timeout=60, json={
        "prompt": "a harbour", "compose": True, "width": 64, "height": 64, "steps": 2})
    assert json.loads(answer.json()["info"])["revised_prompt"] == SAID


@pytest.mark.parametrize("step, words", [
    ((500, {}, {"error": {"message": "no room"}}), "no room"),
    ((401, {}, {"error": {"message": f"bad key {KEY}"}}), "status 401"),
    (completion(None), "no text"), (completion("  "), "said nothing"), ((200, {}, b"<html>"), "no text"),
    (completion("x" * 5000), "more than 4000 bytes"), (completion("<think>for ever"), "said nothing")])
def test_a_chat_model_that_fails(composing, chat, step, words):
    """Its failure is told; the bare idea is not painted instead."""
    server = composing(chat)
    chat.script = [step]
    answer = compose(server, theme="x")
    assert answer.status_code == 502 and words in answer.text and KEY not in answer.text
    assert events(compose(server, theme="x", stream=True).text)[-1][0] == "error"
    answer = requests.post(server.url + "/v1/images/generations", timeout=30,
                           json={"prompt": "x", "compose": True})
    assert answer.status_code == 502 and answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["message"]
    listed = requests.get(server.url + "/api/jobs", timeout=30).json()["jobs"]
    assert listed == [] and KEY not in server.log()


def test_one_that_does_not_answer(composing, chat):
    server = composing(chat, "--compose-timeout=1")

    def silent(handler):
        time.sleep(3)
        return None
    chat.script = [silent]
    assert compose(server, theme="x").status_code == 502


def test_a_request_that_is_sent_again(composing, chat):
    """Under its Idempotency-Key it is one request, and composed once."""
    server = composing(chat)
    chat.script = [completion(SAID), completion("Something else.")]
    answers = [requests.post(server.url + "/api/jobs", timeout=60, headers={"Idempotency-Key": "once"},
                             json={**TINY, "prompt": "a harbour", "compose": True}) for _ in range(2)]
    assert [a.status_code for a in answers] == [202, 202], answers[1].text
    assert answers[0].json()["id"] == answers[1].json()["id"] and len(chat.requests) == 1
