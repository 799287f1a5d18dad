"""stream: true, as the SDKs read it, and clients that leave."""
import socket
import time

import pytest
import requests
from openai_client import TINY, OpenAI, decode, pixels, wait_for

PARTIAL, COMPLETED = "image_generation.partial_image", "image_generation.completed"
COMMON = {"type", "b64_json", "created_at", "size", "quality", "background", "output_format"}
# Long enough for a client to leave in the middle.
LONG = {**TINY, "size": "256x256", "steps": 150, "n": 10}


@pytest.fixture(scope="module")
def ai(serve_module):
    return OpenAI(serve_module().url)


def states(ai):
    return [job["state"] for job in ai.request("GET", "/api/jobs?limit=5").json()["jobs"]]


def test_completed(ai):
    (name, data), = ai.stream(TINY)
    assert name == COMPLETED == data["type"]
    assert set(data) == COMMON | {"usage"}
    assert abs(data["created_at"] - time.time()) < 5
    assert data["usage"]["total_tokens"] == (data["usage"]["input_tokens"] +
                                             data["usage"]["output_tokens"])
    want, = ai.images(TINY)
    assert decode(data["b64_json"])[0] == want


def test_several(ai):
    found = ai.stream({**TINY, "n": 3})
    assert [name for name, _ in found] == [COMPLETED] * 3
    assert [decode(data["b64_json"])[0] for _, data in found] == ai.images({**TINY, "n": 3})


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_partial_images(ai, output_format):
    body = {**TINY, "size": "256x128", "steps": 40, "output_format": output_format}
    found = ai.stream({**body, "partial_images": 2})
    partials = [data for name, data in found if name == PARTIAL]
    assert 1 <= len(partials) <= 2
    assert [data["partial_image_index"] for data in partials] == list(range(len(partials)))
    for data in partials:
        assert set(data) == COMMON | {"partial_image_index"}
        _, picture = decode(data["b64_json"])
        assert picture.size == (256, 128) and picture.format == output_format.upper()
    name, last = found[-1]
    assert name == COMPLETED
    # Previews change nothing.
    want, = ai.images(body)
    assert pixels(decode(last["b64_json"])[0]) == pixels(want)


def test_no_partial_images(ai):
    assert [name for name, _ in ai.stream({**TINY, "partial_images": 0})] == [COMPLETED]


def test_connection_can_be_used_again(ai):
    for _ in range(2):
        response = ai.session.post(ai.url + "/v1/images/generations", json={**TINY, "stream": True})
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert "Connection" not in response.headers


def test_errors_before_the_stream_are_plain(ai):
    ai.error(400, "invalid_value", "size", {**TINY, "stream": True, "size": "7"})
    ai.error(404, "model_not_found", "model", {**TINY, "stream": True, "model": "x"})


def leave(url, body):
    """Sends a request and closes the connection while it is served."""
    response = requests.post(url + "/v1/images/generations", json=body, stream=True,
                             timeout=(5, 1.5))
    response.close()


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_leaves_while_painting(ai, stream):
    try:
        leave(ai.url, {**LONG, "stream": stream})
    except requests.Timeout:
        assert not stream
    wait_for(lambda: states(ai)[0] == "cancelled", 15)
    assert "running" not in states(ai) and "queued" not in states(ai)
    ai.answer(TINY)


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_leaves_the_queue(ai, stream):
    first = ai.request("POST", "/api/jobs", json={"prompt": "x", "steps": 150, "count": 10,
                                                  "width": 256, "height": 256}).json()["id"]
    connection = socket.create_connection(("127.0.0.1", int(ai.url.rsplit(":")[-1])))
    body = b'{"prompt":"left","size":"64x64","stream":%s}' % (b"true" if stream else b"false")
    connection.sendall(b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\n"
                       b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                       % (len(body), body))
    newest = lambda: ai.request("GET", "/api/jobs?limit=1").json()["jobs"][0]
    wait_for(lambda: newest()["params"]["prompt"] == "left")
    assert newest()["state"] == "queued"
    connection.close()
    wait_for(lambda: newest()["state"] == "cancelled", 5)
    assert ai.request("GET", "/api/jobs/" + first).json()["state"] in ("queued", "running", "done")
    ai.request("POST", f"/api/jobs/{first}/cancel")


def test_cancelled_by_others(ai):
    """Whoever waits for a job that somebody cancels is told; a retry would be pointless."""
    import threading
    answers = []
    threads = [threading.Thread(target=lambda stream=stream: answers.append(requests.post(
        ai.url + "/v1/images/generations", json={**LONG, "stream": stream}, timeout=60)))
        for stream in (False, True)]
    for thread in threads:
        thread.start()
    active = lambda: [job["id"] for job in ai.request("GET", "/api/jobs?limit=5").json()["jobs"]
                      if job["state"] in ("queued", "running")]
    wait_for(lambda: len(active()) == 2)
    for job in active():
        ai.request("POST", f"/api/jobs/{job}/cancel")
    for thread in threads:
        thread.join(30)
    plain, streamed = sorted(answers, key=lambda answer: answer.status_code, reverse=True)
    assert plain.status_code == 409 and plain.headers["x-should-retry"] == "false"
    assert plain.json()["error"]["code"] == "cancelled"
    assert streamed.status_code == 200
    last = streamed.text.rstrip().split("\n\n")[-1]
    assert last.startswith('event: error\ndata: {"error":{"message":"The job was cancelled."')
    assert '"type":"error"' in last


def test_early_headers(serve):
    ai = OpenAI(serve("--early-headers").url)
    response = ai.request("POST", "/v1/images/generations", json=TINY)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert len(response.json()["data"]) == 1
    ai.error(400, "invalid_value", "size", {**TINY, "size": "7"})
