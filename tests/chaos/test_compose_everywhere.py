"""compose: true in forms, batches, experiments, chat, responses and MCP."""
import json
import time

import pytest
import requests
from openai_client import gradient, png
from processes import TINY, Jobs
from test_compose import SAID, chat, completion, compose, composing  # noqa: F401 (fixtures)
from test_mcp import Mcp

IDEA = "a red fox"
SMALL = {"size": "64x64", "steps": 2, "seed": 7}


@pytest.fixture(params=["itself", "chat"])
def there(request, serve, composing, chat):  # noqa: F811
    """A server, and what it composes of IDEA by the seed 7."""
    if request.param == "chat":
        chat.script = [completion(SAID)]
        return composing(chat), SAID
    server = serve()
    return server, compose(server, theme=IDEA, seed=7).json()["text"]


def newest(server, count=1):
    jobs = requests.get(server.url + f"/api/jobs?limit={count}", timeout=30).json()["jobs"]
    return [(j["params"]["prompt"], j["params"]["composed_from"]) for j in jobs]


def edit(server, files=None, **fields):
    return requests.post(server.url + "/v1/images/edits", timeout=60, data=fields,
                         files=files or {"image": ("a.png", png(gradient()), "image/png")})


def test_forms(there):
    server, want = there
    answer = edit(server, prompt=IDEA, compose="true", **SMALL)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"][0]["revised_prompt"] == want
    assert newest(server) == [(want, IDEA)]
    # Whatever the order of the parts, and with bytes that look like text in the picture.
    odd = png(gradient()) + b'\r\n"compose"\r\n\0prompt'
    answer = edit(server, {"compose": (None, "1"), "image": ("a.png", odd), "prompt": (None, IDEA)},
                  **SMALL)
    assert answer.status_code == 200, answer.text
    assert newest(server) == [(want, IDEA)]
    plain = edit(server, prompt=IDEA, compose="false", **SMALL)
    assert plain.status_code == 200 and newest(server) == [(IDEA, None)]
    for wrong in ({"prompt": " ", "compose": "true"}, {"compose": "true"},
                  {"prompt": IDEA, "compose": "perhaps"}, {"prompt": "x" * 2001, "compose": "true"}):
        assert edit(server, **wrong).status_code == 400, wrong
    answer = requests.post(server.url + "/v1/images/variations", timeout=60,
                           data={"compose": "true"}, files={"image": png(gradient())})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "compose"


def test_batches_and_experiments(there):
    server, want = there
    idea = {**TINY, "prompt": IDEA, "seed": 7, "compose": True}
    jobs = requests.post(server.url + "/api/jobs/batch", timeout=60, json={"jobs": [
        idea, {**TINY, "prompt": "plain"}, idea]}).json()["jobs"]
    assert [j["params"]["prompt"] for j in jobs] == [want, "plain", want]
    assert [j["params"]["composed_from"] for j in jobs] == [IDEA, None, IDEA]
    answer = requests.post(server.url + "/api/jobs/batch", timeout=60, json={"jobs": [
        {**TINY, "prompt": "plain"}, {**idea, "prompt": "  "}]})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "jobs[1].prompt"
    made = requests.post(server.url + "/api/experiments", timeout=60, json={
        "name": "x", "base": idea, "axes": [{"field": "steps", "values": [1, 2]}]})
    assert made.status_code == 202, made.text
    assert newest(server, 2) == [(want, IDEA)] * 2
    again = requests.post(server.url + f"/api/experiments/{made.json()['id']}/rerun", timeout=60)
    assert again.status_code == 202 and newest(server) == [(want, IDEA)]


def test_batch_sent_again(composing, chat):  # noqa: F811
    server = composing(chat)
    chat.script = [completion(SAID)]
    body = {"jobs": [{**TINY, "prompt": IDEA, "compose": True}]}
    answers = [requests.post(server.url + "/api/jobs/batch", json=body, timeout=60,
                             headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert [a.status_code for a in answers] == [202, 202]
    assert answers[0].json()["jobs"][0]["id"] == answers[1].json()["jobs"][0]["id"]
    assert len(chat.requests) == 1
    body = {"jobs": [{**TINY, "prompt": IDEA, "compose": True}] * 17}
    answer = requests.post(server.url + "/api/jobs/batch", json=body, timeout=60)
    assert answer.status_code == 400 and "at most 16" in answer.text


def test_chat(there):
    server, want = there
    for content in (IDEA, [{"type": "text", "text": "a red"}, {"type": "text", "text": "fox"}]):
        answer = requests.post(server.url + "/v1/chat/completions", timeout=60, json={
            "model": "pictor-mini", "compose": True, **SMALL, "messages": [
                {"role": "system", "content": "x"}, {"role": "user", "content": content}]})
        assert answer.status_code == 200, answer.text
        message = answer.json()["choices"][0]["message"]
        if content == IDEA:
            assert message["revised_prompt"] == want and newest(server) == [(want, IDEA)]
        else:
            assert newest(server)[0][1] == "a red\nfox"
    picture = "data:image/png;base64," + __import__("base64").b64encode(png(gradient())).decode()
    answer = requests.post(server.url + "/v1/chat/completions", timeout=60, json={
        "compose": True, **SMALL, "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": IDEA}]}]})
    assert answer.status_code == 200 and newest(server) == [(want, IDEA)]
    for messages in (None, [], [{"role": "user", "content": []}], [{"role": "user"}], "x"):
        answer = requests.post(server.url + "/v1/chat/completions", timeout=60,
                               json={"compose": True, "messages": messages})
        assert answer.status_code == 400, answer.text


def test_responses(there):
    server, want = there
    for given in (IDEA, [{"role": "user", "content": IDEA}],
                  [{"role": "user", "content": [{"type": "input_text", "text": IDEA}]}]):
        answer = requests.post(server.url + "/v1/responses", timeout=60, json={
            "model": "gpt-5", "input": given, "compose": True, "steps": 2, "seed": 7,
            "tools": [{"type": "image_generation", "size": "64x64"}]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["output"][0]["revised_prompt"] == want
        assert newest(server) == [(want, IDEA)]
    for given in (None, [], {}, 7, [{"role": "user", "content": 7}]):
        answer = requests.post(server.url + "/v1/responses", timeout=60,
                               json={"input": given, "compose": True})
        assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("modern", [False, True])
def test_mcp(there, modern):
    server, want = there
    client = Mcp(server.url, modern)
    tools = {t["name"]: t["inputSchema"]["properties"] for t in client.result("tools/list")["tools"]}
    assert "compose" in tools["generate_image"] and "composed_from" not in tools["edit_image"]
    said = client.call("generate_image", **{**TINY, "prompt": IDEA}, compose=True)
    assert said["structuredContent"]["revised_prompt"] == want
    assert newest(server) == [(want, IDEA)]
    assert "prompt" in client.fails("generate_image", **{**TINY, "prompt": 7}, compose=True)
    assert client.fails("generate_image", **{**TINY, "prompt": " "}, compose=True)
    assert client.fails("generate_image", **TINY, compose="yes")
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "generate_image", "arguments": {**TINY, "compose": True}}})
    answer = requests.post(server.url + "/mcp", timeout=60, headers=Mcp(server.url).headers | {
        "Content-Type": "application/json"}, data=body.replace('"compose"', '"\\u0063ompose"'))
    assert answer.status_code == 200, "it ends"


def test_a_chat_model_that_fails(composing, chat):  # noqa: F811
    server = composing(chat)
    chat.script = [(500, {}, {"error": {"message": "no room"}})]
    client = Mcp(server.url, True)
    assert "no room" in client.fails("generate_image", **TINY, compose=True)
    for path, body in (
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
            ("/v1/responses", {"input": "x"}), ("/api/jobs/batch", {"jobs": [{**TINY, "compose": True}]}),
            ("/api/experiments", {"name": "x", "base": {**TINY, "compose": True},
                                  "axes": [{"field": "steps", "values": [1, 2]}]})):
        more = {"compose": True} if path.startswith("/v1") else {}
        answer = requests.post(server.url + path, json={**body, **more}, timeout=60)
        assert answer.status_code == 502 and "no room" in answer.text, answer.text
    assert edit(server, prompt="x", compose="true").status_code == 502
    assert newest(server) == []


@pytest.mark.parametrize("by", ["itself", "chat"])
def test_files_of_batches(serve, composing, chat, by):  # noqa: F811
    chat.script = [completion(SAID), completion(SAID), (500, {}, {"error": {"message": "no room"}})]
    server = composing(chat) if by == "chat" else serve()
    body = {"prompt": IDEA, "compose": True, **SMALL, "response_format": "url"}
    lines = [{"custom_id": str(i), "method": "POST", "url": "/v1/images/generations", "body": body}
             for i in range(3)]
    data = "\n".join(json.dumps(line) for line in lines)
    file = requests.post(server.url + "/v1/files", data={"purpose": "batch"}, timeout=30,
                         files={"file": ("b.jsonl", data)}).json()
    batch = requests.post(server.url + "/v1/batches", timeout=30, json={
        "input_file_id": file["id"], "endpoint": "/v1/images/generations",
        "completion_window": "24h"}).json()
    end = time.monotonic() + 60
    while batch["status"] not in ("completed", "failed") and time.monotonic() < end:
        time.sleep(0.1)
        batch = requests.get(server.url + f"/v1/batches/{batch['id']}", timeout=30).json()
    assert batch["status"] == "completed", batch
    want = compose(server, theme=IDEA, seed=7).json().get("text", SAID)
    good = 2 if by == "chat" else 3
    assert batch["request_counts"] == {"total": 3, "completed": good, "failed": 3 - good}
    text = requests.get(server.url + f"/v1/files/{batch['output_file_id']}/content", timeout=30).text
    answers = [json.loads(line) for line in text.splitlines()]
    revised = [a["response"]["body"]["data"][0]["revised_prompt"] for a in answers]
    assert revised == [SAID if by == "chat" else want] * good
    if by == "chat":
        text = requests.get(server.url + f"/v1/files/{batch['error_file_id']}/content", timeout=30).text
        assert "no room" in text
