"""Where a request begins and ends, whom it is for, and what its query says: one meaning or an error."""
import gzip
import json

import pytest
import requests
from openai_client import TINY
from raw_client import BODY, GET, Raw

HOST = b"Host: localhost\r\n"
INNER = b"GET /v1/smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
PATHS = ("/api/jobs/x/cancel", "/v1/images/generations", "/sdapi/v1/interrupt")


def message(path, status, body):
    """The text of an error, which has the shape of its dialect."""
    answer = json.loads(body)
    if path.startswith("/sdapi"):
        assert answer["error"] == "HTTPException" and answer["body"] == "", answer
        return answer["detail"]
    return answer["error"]["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("head, status", [
    (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", 400),
    (b"Content-Length: 5\r\nContent-Length: %d\r\n" % (5 + len(INNER)), 400),
    (b"Content-Length: 5\r\nContent-Length: 5\r\n", 400),
    (b"Content-Length : 5\r\n", 400),
    (b"Transfer-Encoding: gzip\r\n", 501),
    (b"Transfer-Encoding: gzip, chunked\r\n", 501),
    (b"Transfer-Encoding: xchunked\r\n", 501),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 501),
])
def test_one_end(server, path, head, status):
    """Refused at once, before a body that ends nobody knows where, and nothing after it is read."""
    raw = Raw(server)
    raw.send(b"POST %s HTTP/1.1\r\n" % path.encode() + HOST + head + b"\r\n0\r\n\r\n" + INNER)
    got, headers, body = raw.answer()
    assert got == status and headers["connection"] == "close"
    assert message(path, status, body)
    assert raw.closed() and raw.rest == b""


@pytest.mark.parametrize("value", [b"x", b"-1", b"+5", b"0x5", b"5,5", b"5 5", b"", b"9" * 30])
def test_length_is_a_number(server, value):
    raw = Raw(server)
    raw.send(b"POST /sdapi/v1/interrupt HTTP/1.1\r\n" + HOST + b"Content-Length: " + value +
             b"\r\n\r\n0\r\n\r\n" + INNER)
    assert raw.closed()
    assert raw.rest.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413")) and b"smuggled" not in raw.rest


@pytest.mark.parametrize("path", ("/api/jobs", "/v1/models", "/sdapi/v1/options"))
@pytest.mark.parametrize("hosts", [b"", HOST + HOST, HOST + b"Host: evil.example\r\n", b"Host:\r\n"])
def test_one_host(server, path, hosts):
    raw = Raw(server)
    status, headers, body = raw.send(
        b"GET %s HTTP/1.1\r\n" % path.encode() + hosts + b"\r\n").answer()
    assert status == 400 and "Host" in message(path, status, body)
    if hosts != b"Host:\r\n":
        assert headers["connection"] == "close" and raw.closed()


def test_old_clients_need_no_host(server):
    assert Raw(server).send(b"GET /healthz HTTP/1.0\r\n\r\n").answer()[0] == 200


def test_absolute_targets(server):
    """As clients of proxies write them; their host counts, not the header's."""
    def get(target, host=b"localhost"):
        return Raw(server).send(b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, host)).answer()

    port = b"%d" % server.port
    assert get(b"http://localhost/healthz")[2] == b"ok\n"
    assert get(b"http://127.0.0.1:" + port + b"/healthz", b"evil.example")[2] == b"ok\n"
    assert get(b"HTTP://LOCALHOST//api/jobs?limit=1")[0] == 200
    assert get(b"http://localhost")[0] == get(b"/")[0]
    assert get(b"http://evil.example/api/jobs")[0] == 403
    for target in (b"http:///healthz", b"ftp://localhost/healthz", b"localhost:80",
                   b"http://a@localhost/healthz"):
        assert get(target)[0] == 400, target


def test_many_slashes(server):
    for path in ("//api/jobs", "/api//jobs", "//v1/models", "///sdapi/v1//samplers", "//"):
        raw = Raw(server).send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert raw.answer()[0] == 200, path
    raw = Raw(server, 120).send(
        b"POST //v1//images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        % len(BODY) + BODY)
    assert raw.answer()[0] == 200
    # An escaped one is a character of a name.
    raw = Raw(server).send(b"GET /api%2F/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert raw.answer()[0] == 404


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x-none"])
def test_encoded_bodies_are_refused_by_name(server, coding):
    for path in PATHS:
        answer = requests.post(server.url + path, data=gzip.compress(BODY), timeout=30,
                               headers={"Content-Encoding": coding,
                                        "Content-Type": "application/json"})
        assert answer.status_code == 415 and answer.headers["Accept-Encoding"] == "identity"
        assert f'"{coding}"' in message(path, 415, answer.content)
    assert requests.post(server.url + "/v1/images/generations", json=TINY, timeout=60,
                         headers={"Content-Encoding": "identity"}).status_code == 200


def test_misspelt_queries(server):
    """The native API refuses them; the others, whose clients add words of their own, name them."""
    def get(path):
        return requests.get(server.url + path, timeout=30)

    for query, name in (("limitt=3", "limitt"), ("limit=3&Before=1", "Before"), ("x", "x"),
                        ("limit=1&q=a&%6cimit2=1", None), ("limit+before=1", "limit before")):
        answer = get("/api/jobs?" + query)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert name is None or (error["param"] == name and f'"{name}"' in error["message"])
        assert "limit model params q since state tag until" in error["message"]
    assert get("/api/models?x=1").json()["error"]["message"].endswith("it can have: none")
    twice = get("/api/jobs?limit=1&limit=2")  # of two, neither is taken in silence
    assert twice.status_code == 400 and twice.json()["error"]["param"] == "limit", twice.text
    assert get("/api/jobs?limit=1&before=0&state=done&q=").status_code == 200
    progress = get("/sdapi/v1/progress?skip_current_images=true&skip_current_image=true")
    assert progress.status_code == 200
    assert progress.headers["x-ignored-parameters"] == "skip_current_images"
    models = get("/v1/models?api-version=2024-02-01&a=1")
    assert models.status_code == 200 and models.headers["x-ignored-parameters"] == "api-version, a"
    assert "x-ignored-parameters" not in get("/v1/models").headers
    assert get("/healthz?from=watchdog").status_code == 200


def test_a_name_twice(server):
    """Which of the two counts depends on who reads it."""
    for path, status in (("/api/jobs", 400), ("/v1/images/generations", 400),
                         ("/sdapi/v1/txt2img", 422), ("/sdapi/v1/options", 422)):
        for body in ('{"prompt": "a", "steps": 1, "prompt": "b"}',
                     '{"prompt": "a", "x": [{"y": 1, "\\u0079": 2}]}'):
            answer = requests.post(server.url + path, data=body, timeout=30,
                                   headers={"Content-Type": "application/json"})
            assert answer.status_code == status and "twice" in answer.text, (path, answer.text)
    form = [("prompt", (None, "a")), ("prompt", (None, "b"))]
    answer = requests.post(server.url + "/v1/images/edits", files=form, timeout=30)
    assert answer.status_code == 400 and "'prompt' twice" in answer.text


def test_too_large_in_each_shape(serve):
    server = serve("--max-body-bytes=100K")
    for path in ("/api/jobs", "/v1/images/generations", "/v1/images/edits", "/sdapi/v1/txt2img"):
        for body in (b"x" * 200000, iter([b"x" * 1000] * 200)):  # announced, and in chunks
            answer = requests.post(server.url + path, data=body, timeout=30,
                                   headers={"Content-Type": "application/json"})
            assert answer.status_code == 413, (path, answer.text)
            assert "at most 102400 bytes" in message(path, 413, answer.content)
