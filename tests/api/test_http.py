"""HTTP itself: what connections, headers and bodies may be, and who may send them."""
import json
import re
import socket
import threading
import time
from pathlib import Path

import pytest
import requests
from openai_client import TINY, OpenAI, wait_for
from processes import TINY as JOB
from processes import Jobs
from raw_client import BODY, CHUNKED, GET, Raw, chunks, post

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def own(serve_module):
    return serve_module()


# ---- connections ----

def test_keep_alive_and_pipelining(own):
    raw = Raw(own)
    for _ in range(3):
        assert raw.send(GET).answer()[0] == 200
    raw.send(GET + b"GET /v1/nope HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET)
    assert [raw.answer()[0] for _ in range(3)] == [200, 404, 200]


def test_pipelined_behind_a_wait(own):
    """Bytes that come while a request waits for its job do not disturb it."""
    raw = Raw(own, 120)
    raw.send(post("/v1/images/generations"))
    time.sleep(0.05)
    raw.send(GET)
    assert raw.answer()[0] == 200
    assert raw.answer()[2] == b"ok\n"


def test_connection_close(own):
    raw = Raw(own)
    status, headers, _ = raw.send(GET[:-2] + b"Connection: close\r\n\r\n").answer()
    assert status == 200 and headers["connection"].lower() == "close" and raw.closed()
    raw = Raw(own)
    assert raw.send(b"GET /healthz HTTP/1.0\r\n\r\n").answer()[0] == 200 and raw.closed()


def test_head_and_options(own):
    head = requests.head(own.url + "/api/info", timeout=30)
    assert head.status_code == 200 and head.content == b""
    for path in "/api/info", "/api/queue":  # one that is packed, one that is not
        head, answer = (requests.request(method, own.url + path, timeout=30) for method in ("HEAD", "GET"))
        assert head.headers["Content-Length"] == answer.headers["Content-Length"]
    options = requests.options(own.url + "/api/jobs", timeout=30)
    assert options.status_code == 204 and options.headers["Allow"] == "POST, GET, HEAD, OPTIONS"
    assert requests.options(own.url + "/v1/nope", timeout=30).status_code == 404
    # A stream has no end to wait for, so its head comes alone.
    assert requests.head(own.url + "/api/events", timeout=30).status_code == 200


def test_headers_of_every_answer(own):
    ids = set()
    for path in ("/healthz", "/v1/models", "/sdapi/v1/samplers", "/api/nope", "/nope", "/web/nope"):
        headers = requests.get(own.url + path, timeout=30).headers
        assert re.fullmatch("req_[0-9a-f]{32}", headers["x-request-id"])
        ids.add(headers["x-request-id"])
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] in ("no-store", "no-cache")
    assert len(ids) == 6
    for id in ids:
        assert len(re.findall(f"event=http .*req={id}", own.log())) <= 1
    assert any(id in own.log() for id in ids)


def test_the_page(own):
    page = requests.get(own.url + "/", timeout=30)
    if page.status_code == 404:
        pytest.skip("this build has no page")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe" not in policy
    again = requests.get(own.url + "/", timeout=30, headers={"If-None-Match": page.headers["ETag"]})
    assert again.status_code == 304 and again.content == b""
    for path in ("/web/", "/web/..%2fREADME.md", "/web/../README.md", "/web/%2e%2e/README.md"):
        raw = Raw(own).send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert raw.answer()[0] == 404


def test_the_page_is_packed_and_kept(own):
    page = requests.get(own.url + "/", timeout=30)
    assert page.headers["Content-Encoding"] == "gzip" and page.headers["Cache-Control"] == "no-cache"
    files = set(re.findall(r'(?:href|src)="(web/@[0-9a-f]{12}/[^"]+)"', page.text))
    assert len({file.split("/")[1] for file in files}) == 1 and len(files) > 10
    for file in files:
        packed = requests.get(f"{own.url}/{file}", timeout=30)
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        plain = requests.get(f"{own.url}/web/{file.split('/')[2]}", timeout=30,
                             headers={"Accept-Encoding": "br, gzip;q=0"})
        assert "Content-Encoding" not in plain.headers and plain.content == packed.content
        assert plain.headers["Cache-Control"] == "no-cache"
        assert plain.headers["ETag"] != packed.headers["ETag"]
        assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    webp = requests.get(own.url + "/web/first/fox.webp", timeout=30)  # packing makes nothing of it
    assert webp.headers["Content-Type"] == "image/webp" and "Content-Encoding" not in webp.headers
    for accepted in ("gzip", "gzip, deflate, br", "br,GZIP; q=0.5"):
        answer = requests.get(own.url + "/web/app.js", headers={"Accept-Encoding": accepted}, timeout=30)
        assert answer.headers.get("Content-Encoding") == "gzip", accepted
    for accepted in ("", "identity", "xgzip", "gzip;q=0", "deflate, br"):
        answer = requests.get(own.url + "/web/app.js", headers={"Accept-Encoding": accepted}, timeout=30)
        assert "Content-Encoding" not in answer.headers, accepted
    other = requests.get(f"{own.url}/web/@{'0' * 12}/app.js", timeout=30)
    assert other.status_code == 200 and other.headers["Cache-Control"] == "no-cache"
    for path in ("/web/@", "/web/@x/", "/web/@x/@x/app.js"):
        assert requests.get(own.url + path, timeout=30).status_code == 404


# ---- bodies ----

def test_expect_continue(own):
    raw = Raw(own, 120)
    raw.send(post("/v1/images/generations", b"", b"Content-Type: application/json\r\n"
                  b"Expect: 100-continue\r\n", len(BODY)))
    assert raw.head()[0] == 100
    assert raw.send(BODY).answer()[0] == 200
    # An answer that is known before the body comes instead of the 100.
    raw = Raw(own)
    raw.send(post("/v1/images/nope", b"", b"Expect: 100-continue\r\n", 1000))
    status, headers, _ = raw.answer()
    assert status == 404 and headers["connection"] == "close" and raw.closed()


def test_chunked(own):
    raw = Raw(own, 120)
    for size in (1, 3, len(BODY)):
        pieces = [BODY[i:i + size] for i in range(0, len(BODY), size)]
        assert raw.send(CHUNKED % b"/v1/images/generations" + chunks(*pieces)).answer()[0] == 200
    assert raw.send(CHUNKED % b"/v1/images/generations" + chunks()).answer()[0] == 400


def test_bodies_of_routes_without_one(own):
    """Ignored, whatever it is; but not for ever."""
    for body in (b"", b'""', b"{}", b"garbage", b"x" * 60000):
        raw = Raw(own)
        assert raw.send(post("/api/jobs/x/cancel", body)).answer()[0] == 404
        assert raw.send(GET).answer()[0] == 200
    assert Raw(own).send(post("/api/jobs/x/cancel", b"x" * 70000)).answer()[0] == 413


def test_too_large(serve):
    server = serve("--max-body-bytes=100K")
    ai = OpenAI(server.url)
    big = {**TINY, "padding": "x" * 110000}
    assert "at most 102400 bytes" in ai.error(413, None, None, big)
    assert "at most 102400 bytes" in ai.error(
        413, None, None, data=iter([json.dumps(big).encode()]),
        headers={"Content-Type": "application/json"})
    # Announced far beyond what would be read: refused at once, before any of it came.
    raw = Raw(server).send(post("/v1/images/generations", b"", length=10 ** 12))
    status, headers, _ = raw.answer()
    assert status == 413 and headers["connection"] == "close" and raw.closed()
    # Chunked without end: cut off.
    raw = Raw(server).send(CHUNKED % b"/v1/images/generations")
    with pytest.raises((ConnectionError, AssertionError)):
        for _ in range(10000):
            raw.send(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        assert False
    ai.answer(TINY)


def test_who_waits_holds_no_body(serve):
    """There is room for four of the largest bodies; more than four clients may wait."""
    server = serve("--max-body-bytes=100K")
    body = json.dumps({**TINY, "steps": 150, "size": "512x512", "padding": "x" * 90000}).encode()
    waiting = []
    for count in range(1, 9):
        waiting.append(Raw(server).send(post("/v1/images/generations", body)))
        wait_for(lambda: len(requests.get(server.url + "/api/jobs", timeout=30).json()["jobs"])
                 == count, 20)


def test_errors_are_utf8(own):
    """What an error quotes of the request is cut to some number of bytes."""
    for i in range(4):
        name = "x" * i + "\u20ac" * 90
        for field in ("model", "sampler", "size", "quality"):
            answer = requests.post(own.url + "/v1/images/generations",
                                   json={**TINY, field: name}, timeout=30)
            assert 400 <= answer.status_code < 500
            assert answer.content.decode() and name[:i + 1] in answer.json()["error"]["message"]


@pytest.mark.parametrize("text", [
    b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 100,
    b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 20000 + b"\r\n",
    b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    CHUNKED % b"/api/jobs" + b"zz\r\n", CHUNKED % b"/api/jobs" + b"ffffffffffffffffff\r\n",
    b"GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"get /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
])
def test_no_http(own, text):
    raw = Raw(own, 2)
    try:
        raw.send(text).socket.shutdown(socket.SHUT_WR)
        raw.closed()
    except (ConnectionError, OSError):
        pass
    if raw.rest:
        assert 400 <= int(raw.rest.split()[1]) < 600, raw.rest[:200]
    assert requests.get(own.url + "/healthz", timeout=30).status_code == 200


def test_slow_clients(serve):
    """Headers and bodies that trickle in are cut off, and disturb nobody meanwhile."""
    server = serve("--request-timeout=2")
    slow = [Raw(server, 20), Raw(server, 20)]
    slow[0].send(b"GET /healthz HTTP/1.1\r\n")
    slow[1].send(post("/api/jobs", b"{", length=1000))
    start = time.monotonic()
    cut = [False, False]
    while not all(cut) and time.monotonic() - start < 15:
        for i, raw in enumerate(slow):
            if not cut[i]:
                try:
                    raw.send(b"X" if i else b"X: y\r\n")
                    raw.socket.settimeout(0.1)
                    cut[i] = raw.socket.recv(100) == b""
                except TimeoutError:
                    pass
                except ConnectionError:
                    cut[i] = True
        assert requests.get(server.url + "/healthz", timeout=5).ok
        time.sleep(0.2)
    assert all(cut)


def test_waiting_outlives_the_timeout(serve):
    """The timeout is for sending a request, not for waiting for its answer."""
    ai = OpenAI(serve("--request-timeout=1").url)
    first = ai.request("POST", "/api/jobs", json={"prompt": "x", "steps": 150, "count": 16,
                                                  "width": 512, "height": 512}).json()["id"]
    answers = []
    threads = [threading.Thread(target=lambda body=body: answers.append(
        requests.post(ai.url + "/v1/images/generations", json=body, timeout=120)))
        for body in (TINY, {**TINY, "stream": True})]
    for thread in threads:
        thread.start()
    time.sleep(4)
    assert not answers
    ai.request("POST", f"/api/jobs/{first}/cancel")
    for thread in threads:
        thread.join(60)
    assert [answer.status_code for answer in answers] == [200, 200]


def test_many_waiting(own):
    """More clients wait at once than there are threads; all get their picture."""
    ai = OpenAI(own.url)
    blocker = ai.request("POST", "/api/jobs", json={"prompt": "x", "steps": 150, "count": 16,
                                                    "width": 512, "height": 512}).json()["id"]
    count = 100  # max_queue_per_key
    body = json.dumps({**TINY, "steps": 1, "response_format": "url"}).encode()
    connections = [Raw(own, 120).send(post("/v1/images/generations", body)) for _ in range(count)]
    metric = lambda: int(re.search(r"pictor_http_waiting (\d+)",
                                   ai.request("GET", "/metrics").text)[1])
    wait_for(lambda: metric() >= count - 1)
    start = time.monotonic()
    assert requests.get(own.url + "/healthz", timeout=5).ok
    assert time.monotonic() - start < 1
    ai.request("POST", f"/api/jobs/{blocker}/cancel")
    statuses = [raw.answer()[0] for raw in connections]
    assert statuses.count(200) >= count - 1 and set(statuses) <= {200, 429}
    wait_for(lambda: metric() == 0)


def test_stop_answers_who_waits(serve):
    server = serve()
    ai = OpenAI(server.url)
    ai.request("POST", "/api/jobs", json={"prompt": "x", "steps": 150, "count": 16, "width": 512,
                                          "height": 512})
    waiting = Raw(server).send(post("/v1/images/generations"))
    events = Raw(server).send(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert events.head()[0] == 200
    wait_for(lambda: "pictor_http_waiting 1" in ai.request("GET", "/metrics").text)
    server.stop()
    status, headers, _ = waiting.answer()
    assert status == 503 and 1 <= int(headers["retry-after"]) <= 60
    assert events.closed()
    server.start()
    newest = requests.get(server.url + "/api/jobs", timeout=30).json()["jobs"][0]
    assert newest["state"] == "cancelled", "its client was told to try again"


# ---- who may ask ----

def routes():
    text = (ROOT / "server" / "routes.c").read_text()
    rows = re.findall(r'\{(GET|POST|DELETE), "([^"]+)",([^}]*)\}', text)
    assert len(rows) > 60
    return [(method, path, bool(re.search(r"ROUTE_OPEN\b", rest))) for method, path, rest in rows]


def test_every_route_needs_a_key(serve):
    server = serve("--max-failures-per-minute=60000")
    key = server.add_key("user")
    for method, pattern, is_open in routes():
        path = re.sub(r"\{[a-z.]+\}", "0" * 32, pattern)
        for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic Og=="}):
            answer = requests.request(method, server.url + path, headers=header, timeout=30,
                                      stream=True)
            if is_open:
                assert answer.status_code in (200, 404, 503), (method, path, answer.status_code)
            else:
                assert answer.status_code == 401, (method, path, answer.status_code)
                assert answer.headers["WWW-Authenticate"]
            answer.close()
        if not is_open:
            answer = requests.request(method, server.url + path, timeout=30, stream=True,
                                      headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code != 401, (method, path)
            answer.close()


def test_openai_without_key(serve):
    server = serve()
    key = server.add_key("user")
    ai = OpenAI(server.url)
    ai.error(401, None, None, TINY)
    ai.error(401, "invalid_api_key", None, TINY, headers={"Authorization": "Bearer sk-wrong"})
    for scheme in ("Bearer", "bearer", "BEARER"):
        ai.answer(TINY, headers={"Authorization": f"{scheme} {key}"})
    assert key not in server.log()


def test_host(own):
    for host, status in (("localhost", 200), ("127.0.0.1:1", 200), ("[::1]:80", 200),
                         ("evil.example", 403), ("localhost.evil.example", 403), ("a b", 400)):
        answer = requests.get(own.url + "/v1/models", headers={"Host": host}, timeout=30)
        assert answer.status_code == status, host
    answer = requests.get(own.url + "/api/jobs", headers={"Host": "evil.example"}, timeout=30)
    assert "allowed_hosts" in answer.json()["error"]["message"]


def test_foreign_pages(own):
    job = {"prompt": "x", "steps": 1, "width": 64, "height": 64}
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"},
                    {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://localhost:1"}):
        answer = requests.post(own.url + "/api/jobs", json=job, headers=headers, timeout=30)
        assert answer.status_code == 403 and "cors_origins" in answer.json()["error"]["message"]
        assert "Access-Control-Allow-Origin" not in answer.headers
    for headers in ({"Origin": own.url, "Sec-Fetch-Site": "same-origin"},
                    {"Sec-Fetch-Site": "none"}, {}):
        assert requests.post(own.url + "/api/jobs", json=job, headers=headers,
                             timeout=30).status_code == 202


def test_cors(serve):
    server = serve("--cors-origins=https://app.example")
    server.add_key("user")
    good = {"Origin": "https://app.example"}
    preflight = requests.options(server.url + "/v1/images/generations", timeout=30, headers={
        **good, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-stainless-os"})
    assert preflight.status_code == 204, "needs no key"
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert (preflight.headers["Access-Control-Allow-Headers"] ==
            "authorization, content-type, x-stainless-os")
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    answer = requests.post(server.url + "/v1/images/generations", json=TINY, headers=good,
                           timeout=30)
    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "x-request-id" in answer.headers["Access-Control-Expose-Headers"]
    assert answer.headers["Vary"] == "Origin"
    for origin in ("https://evil.example", "https://app.example.evil", "http://app.example"):
        answer = requests.options(server.url + "/v1/images/generations", timeout=30, headers={
            "Origin": origin, "Access-Control-Request-Method": "POST"})
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_dashboard_asks_for_what_there_is(own):
    """config/grafana.json: every figure that it shows is one of /metrics."""
    text = requests.get(own.url + "/metrics", timeout=30).text
    board = json.loads((ROOT / "config" / "grafana.json").read_text())
    asked = {name for panel in board["panels"] for target in panel["targets"]
             for name in re.findall(r"pictor_\w+", target["expr"])}
    told = set(re.findall(r"^# TYPE (\w+)", text, re.M))
    assert asked and asked <= told, asked - told


def test_a_requests_own_name_goes_through(serve):
    server = serve()
    answer = requests.post(server.url + "/api/jobs", json=JOB, timeout=60,
                           headers={"X-Request-Id": "shop-4711.a_B"})
    assert answer.headers["x-request-id"] == "shop-4711.a_B"
    job = answer.json()["id"]
    Jobs(server.url).state(job)
    log = server.log()
    assert f"event=job_accepted job={job} req=shop-4711.a_B " in log
    assert "path=/api/jobs status=202" in log and log.count("req=shop-4711.a_B") == 2
    assert f"event=job_started job={job} " in log and f"event=job_ended job={job} " in log
    for name in ("x" * 65, "a b", "a\"b", ""):
        answer = requests.get(server.url + "/api/jobs", headers={"X-Request-Id": name}, timeout=60)
        assert re.fullmatch("req_[0-9a-f]{32}", answer.headers["x-request-id"]), name
