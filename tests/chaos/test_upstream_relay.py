"""What an upstream is asked and what it says come through whole: several pictures, usage, partial
pictures, the fields that only it knows."""
import base64
import io
import json
import time

import pytest
import requests
from PIL import Image
from processes import TINY, until
from test_upstream import answer_of, cloud, form, front, painted, png, stub  # noqa: F401 (fixtures)

USAGE = {"total_tokens": 100, "input_tokens": 50, "output_tokens": 50,
         "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}}


def text(data):
    return base64.b64encode(data).decode()


def events(answer):
    """Of a stream: (event, data), in order."""
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line[:12])
        if "data" in lines:
            found.append((lines.get("event"), json.loads(lines["data"])))
    return found


def streams(stub, *parts, delay=0.2, ending=b"\r\n"):
    """Answers with events, each in pieces."""
    def step(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in parts:
            data = (f"event: {part.get('type')}".encode() + ending + b"data: " +
                    json.dumps(part).encode() + ending + ending)
            for i in range(0, len(data), 100):
                piece = data[i:i + 100]
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(delay)
        handler.wfile.write(b"0\r\n\r\n")
        return "gone"
    stub.script = [step]


def partial(i, data, kind="image_generation"):
    return {"type": f"{kind}.partial_image", "partial_image_index": i, "b64_json": text(data),
            "created_at": 1, "size": "64x64"}


def completed(data, kind="image_generation", **more):
    return {"type": f"{kind}.completed", "b64_json": text(data), "usage": USAGE, **more}


def test_all_pictures_of_an_edit(front, stub):
    server, jobs = front(stub.url)
    colors = [(10, 0, 0), (20, 0, 0), (30, 0, 0)]
    answer = requests.post(server.url + "/v1/images/edits", timeout=60, data={
        "model": "cloud", "prompt": "both", "size": "64x64"},
        files=[("image[]", (f"{c[0]}.png", png(c, (64 + c[0], 64)), "image/png")) for c in colors])
    assert answer.status_code == 200, answer.text
    sent = [value for name, value in form(stub.requests[0]) if name == "image[]"]
    assert [Image.open(io.BytesIO(p)).getpixel((0, 0)) for p in sent] == colors
    assert [Image.open(io.BytesIO(p)).size[0] for p in sent] == [74, 84, 94]
    job = requests.get(server.url + "/api/jobs?limit=1", timeout=30).json()["jobs"][0]
    assert job["params"]["more_images"] == 2
    again = jobs.state(jobs.post(job["id"], "retry").json()["id"])
    assert again["state"] == "done" and form(stub.requests[1]) == form(stub.requests[0])
    done = cloud(jobs, init_image=text(png((1, 0, 0))), images=[text(png((2, 0, 0)))])
    assert done["state"] == "done"
    sent = [value for name, value in form(stub.requests[2]) if name == "image[]"]
    assert [Image.open(io.BytesIO(p)).getpixel((0, 0))[0] for p in sent] == [1, 2]


@pytest.mark.parametrize("fields, words", [
    ({"images": ["AAAA"]}, "init_image"),
    ({"images": ["AAAA"], "init_image": text(png())}, "images"),
    ({"images": [7], "init_image": text(png())}, "wanted texts"),
    ({"images": {}, "init_image": text(png())}, "wanted a list"),
    ({"images": [text(png())] * 16, "init_image": text(png())}, "at most 15"),
    ({"images": [text(png())], "init_image": text(png()), "model": "pictor-mini"}, "takes one picture"),
    ({"relay": {"quality": "hd"}, "model": "pictor-mini"}, "another server"),
    ({"relay": {"quality": 7}}, "relay.quality: wanted a text"),
    ({"relay": {"foo": "x"}}, "relay.foo: wanted no field"),
    ({"relay": {"partial_images": 9}}, "from 0 to 3"),
    ({"relay": []}, "relay"),
])
def test_what_cannot_be_sent_on(front, stub, fields, words):
    server, _ = front(stub.url)
    answer = requests.post(server.url + "/api/jobs", timeout=30,
                           json={"prompt": "p", "model": "cloud", **fields})
    assert answer.status_code == 400 and words in answer.text, answer.text
    assert stub.requests == []


def test_its_words_from_every_api(front, stub):
    server, jobs = front(stub.url, models="cloud = gpt-image-2")
    asked = {"quality": "high", "background": "transparent", "moderation": "low", "user": "u",
             "input_fidelity": "high", "output_compression": 40}
    assert cloud(jobs, relay=asked)["state"] == "done"
    assert {**stub.json(), **asked} == stub.json()
    answer = requests.post(server.url + "/sdapi/v1/txt2img", timeout=60, json={
        "prompt": "x", "override_settings": {"sd_model_checkpoint": "cloud"}, "relay": asked})
    assert answer.status_code == 200, answer.text
    assert {**stub.json(1), **asked} == stub.json(1)
    assert "relay" not in answer.json()["parameters"]
    answer = requests.post(server.url + "/sdapi/v1/txt2img", timeout=60,
                           json={"prompt": "x", "relay": {"quality": "high"}})
    assert answer.status_code == 422 and "another server" in answer.text


def test_usage_comes_back(front, stub):
    server, jobs = front(stub.url)
    stub.script = [(200, {}, {**answer_of(png()), "usage": USAGE})]
    assert painted(server).json()["usage"] == USAGE
    job = cloud(jobs, count=2)  # in two orders: one picture came each time
    assert job["usage"] == {"total_tokens": 200, "input_tokens": 100, "output_tokens": 100,
                            "input_tokens_details": {"text_tokens": 20, "image_tokens": 80}}
    answer = painted(server, stream=True)
    assert events(answer)[-1][1]["usage"] == USAGE
    stub.script = [(200, {}, {**answer_of(png()), "usage": USAGE})]
    body = {"model": "cloud", "messages": [{"role": "user", "content": "x"}]}
    said = requests.post(server.url + "/v1/chat/completions", json=body, timeout=60).json()["usage"]
    assert said == {"prompt_tokens": USAGE["input_tokens"], "total_tokens": USAGE["total_tokens"],
                    "completion_tokens": USAGE["output_tokens"],
                    "prompt_tokens_details": USAGE["input_tokens_details"]}
    answer = requests.post(server.url + "/v1/chat/completions", timeout=60, json={
        **body, "stream": True, "stream_options": {"include_usage": True}})
    assert json.dumps(said, separators=(",", ":")) in answer.text
    said = requests.post(server.url + "/v1/responses", timeout=60,
                         json={"model": "cloud", "input": "x"}).json()["usage"]
    details = {**USAGE["input_tokens_details"], "cached_tokens": 0}
    assert said == {**USAGE, "input_tokens_details": details,
                    "output_tokens_details": {"reasoning_tokens": 0}}
    stub.script = [(200, {}, {**answer_of(png()), "usage": {"total_tokens": "x"}})]
    said = requests.post(server.url + "/v1/responses", timeout=60,
                         json={"model": "cloud", "input": "x"}).json()["usage"]
    assert said["total_tokens"] == said["input_tokens"] + said["output_tokens"] > 0
    stub.script = [(200, {}, {**answer_of(png()), "usage": {"x": "y" * 10000}})]
    assert cloud(jobs)["usage"] is None
    stub.script = [None]
    assert cloud(jobs)["usage"] is None


def test_partial_pictures_pass_through(front, stub):
    server, jobs = front(stub.url, models="cloud = gpt-image-2")
    first, second, whole = png((1, 1, 1)), png((2, 2, 2)), png((3, 3, 3))
    streams(stub, partial(0, first), partial(1, second), completed(whole, revised_prompt="so"))
    answer = painted(server, stream=True, partial_images=2)
    sent = stub.json()
    assert sent["stream"] is True and sent["partial_images"] == 2 and sent["n"] == 1
    assert "steps" not in sent
    found = events(answer)
    assert [name for name, _ in found] == ["image_generation.partial_image"] * 2 + [
        "image_generation.completed"]
    assert [base64.b64decode(d["b64_json"]) for _, d in found] == [first, second, whole]
    assert [d.get("partial_image_index") for _, d in found] == [0, 1, None]
    assert found[2][1]["usage"] == USAGE and found[2][1]["revised_prompt"] == "so"
    painted(server)
    assert "stream" not in stub.json(1) and "partial_images" not in stub.json(1)
    # Who looks on in another API gets them as previews.
    streams(stub, partial(0, first), completed(whole), delay=2)
    job = jobs.submit(**{**TINY, "model": "cloud", "preview_every": 1})
    until(lambda: requests.get(f"{server.url}/api/jobs/{job}", timeout=30).json()["progress"]["step"] == 1)
    assert jobs.state(job)["state"] == "done" and stub.json(2)["partial_images"] == 2


def test_partial_pictures_of_an_edit(front, stub):
    server, _ = front(stub.url, models="cloud = gpt-image-2")
    streams(stub, partial(0, png(), "image_edit"), completed(png((3, 3, 3)), "image_edit"), ending=b"\n")
    answer = requests.post(server.url + "/v1/images/edits", timeout=60, data={
        "model": "cloud", "prompt": "a hat", "size": "64x64", "stream": "true",
        "partial_images": "1"}, files={"image": ("a.png", png(), "image/png")})
    assert [name for name, _ in events(answer)] == ["image_edit.partial_image",
                                                    "image_edit.completed"], answer.text
    sent = dict(form(stub.requests[0]))
    assert sent["stream"] == b"true" and sent["partial_images"] == b"1"


def test_servers_that_do_not_stream(front, stub):
    """What is answered whole is taken whole; dall-e is not asked."""
    server, _ = front(stub.url, models="cloud = gpt-image-2, old = dall-e-3")
    answer = painted(server, stream=True, partial_images=2)
    assert [name for name, _ in events(answer)] == ["image_generation.completed"]
    painted(server, model="old", stream=True, partial_images=2)
    assert "stream" not in stub.json(1)


@pytest.mark.parametrize("parts, status, words", [
    ([{"type": "error", "error": {"type": "image_generation_user_error", "code": "moderation_blocked",
                                  "message": "not this", "param": None}}], 400, "not this"),
    ([partial(0, png()), {"type": "error", "error": {"type": "server_error", "message": "oops"}}],
     502, "oops"),
    ([partial(0, png())], 502, "no picture"),
    ([], 502, "no picture"),
    ([{"type": "image_generation.completed", "b64_json": "AAAA"}], 502, "cannot be read"),
])
def test_streams_that_go_wrong(front, stub, parts, status, words):
    server, jobs = front(stub.url, models="cloud = gpt-image-2")
    streams(stub, *parts, delay=0)
    error = cloud(jobs, relay={"partial_images": 1})["error"]
    assert words in error["message"]
    if status == 400:
        assert error["upstream"]["status"] == 400
        assert error["upstream"]["code"] == "moderation_blocked"
    answer = painted(server, stream=True, partial_images=1)
    assert events(answer)[-1][0] == "error" and words in answer.text
