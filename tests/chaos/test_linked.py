"""Pictures that requests give as addresses on the web."""
import base64
import concurrent.futures
import io
import time

import pytest
import requests
from PIL import Image
from processes import TINY, Jobs, until
from test_upstream import Stub, png


@pytest.fixture
def web():
    stub = Stub()
    yield stub
    stub.close()


def serves(web, data=None, delay=0):
    def step(handler):
        time.sleep(delay)
        return (200, {"Content-Type": "image/png"}, png() if data is None else data)
    web.script = [step]
    return f"http://127.0.0.1:{web.port}/a.png"


def requests_with(url):
    """Each API's way to say it: (path, body)."""
    return [
        ("/v1/images/edits", {"prompt": "x", "size": "64x64", "steps": 2,
                              "images": [{"image_url": url}]}),
        ("/v1/images/edits", {"prompt": "x", "size": "64x64", "steps": 2, "image": url}),
        ("/v1/chat/completions", {"model": "pictor-mini", "steps": 2, "size": "64x64", "messages": [{
            "role": "user", "content": [{"type": "text", "text": "x"},
                                        {"type": "image_url", "image_url": {"url": url}}]}]}),
        ("/v1/responses", {"model": "pictor-mini", "tools": [{"type": "image_generation",
                                                              "size": "64x64"}], "input": [{
            "role": "user", "content": [{"type": "input_text", "text": "x"},
                                        {"type": "input_image", "image_url": url}]}]}),
        ("/sdapi/v1/img2img", {"prompt": "x", "width": 64, "height": 64, "steps": 2,
                               "init_images": [url]}),
        ("/api/jobs", {**TINY, "init_image": url}),
    ]


def send(server, path, body):
    return requests.post(server.url + path, json=body, timeout=60)


def test_off_unless_told(server, web):
    for path, body in requests_with(serves(web)):
        answer = send(server, path, body)
        assert answer.status_code in (400, 500), (path, answer.text)
    assert web.requests == []


def test_every_api(serve, web):
    server = serve("--picture-urls=any")
    for path, body in requests_with(serves(web)):
        before = len(web.requests)
        answer = send(server, path, body)
        assert answer.status_code in (200, 202), (path, answer.text)
        assert len(web.requests) == before + 1
        assert "Authorization" not in web.requests[-1][2] and web.requests[-1][0] == "GET"
    jobs = requests.get(server.url + "/api/jobs?limit=20", timeout=30).json()["jobs"]
    assert len(jobs) == 6 and all(job["params"]["has_init"] for job in jobs)


def test_batches_and_experiments(serve, web):
    server = serve("--picture-urls=any")
    url = serves(web)
    body = {"jobs": [{**TINY, "init_image": url}, TINY, {**TINY, "init_image": url}]}
    jobs = send(server, "/api/jobs/batch", body).json()["jobs"]
    assert [job["params"]["has_init"] for job in jobs] == [True, False, True]
    assert len(web.requests) == 2
    axes = [{"field": "steps", "values": [1, 2]}]
    made = send(server, "/api/experiments",
                {"name": "x", "base": {**TINY, "init_image": url}, "axes": axes})
    assert made.status_code == 202 and len(web.requests) == 3, made.text
    axes = [{"field": "init_image", "values": [url, url]}]
    made = send(server, "/api/experiments", {"name": "x", "base": TINY, "axes": axes})
    assert made.status_code == 202 and len(web.requests) == 5, made.text
    for cell in made.json()["cells"]:
        job = requests.get(server.url + "/api/jobs/" + cell["id"], timeout=30).json()
        assert job["params"]["has_init"]
    axes = [{"field": "prompt", "values": [url, url]}]
    made = send(server, "/api/experiments", {"name": "x", "base": TINY, "axes": axes})
    assert made.status_code == 202 and len(web.requests) == 5, "which is no picture"


def test_a_slow_one_holds_up_nobody_who_searches(serve, web):
    server = serve("--picture-urls=any")
    url = serves(web, delay=4)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(send, server, "/api/jobs", {**TINY, "init_image": url})
                for _ in range(3)]
        until(lambda: len(web.requests) >= 2)
        began = time.monotonic()
        for path in ("/api/jobs?q=red", "/api/tags"):
            assert requests.get(server.url + path, timeout=30).status_code == 200
        assert time.monotonic() - began < 2
        assert [job.result().status_code for job in slow] == [202] * 3


def test_not_from_the_servers_own_network(serve, web):
    server = serve("--picture-urls=internet")
    url = serves(web)
    for address in (url, url.replace("127.0.0.1", "localhost"), url.replace("127.0.0.1", "[::1]"),
                    url.replace("127.0.0.1", "0.0.0.0"), "http://169.254.169.254/latest/meta-data",
                    "http://10.0.0.1/x.png", "http://[::ffff:127.0.0.1]:%d/" % web.port):
        answer = send(server, "/v1/images/edits", {"prompt": "x", "image": address})
        assert answer.status_code == 400, (address, answer.text)
    assert "own network" in send(server, *requests_with(url)[0]).text
    assert web.requests == []


@pytest.mark.parametrize("reply, words", [
    ((404, {}, b"gone"), "404"), ((200, {}, b"<html>"), "image"), ((200, {}, b""), "image"),
    ((302, {"Location": "file:///etc/passwd"}, b""), "address"),
    ((200, {}, b"x" * 300000), "larger than")])
def test_what_does_not_come(serve, web, reply, words):
    server = serve("--picture-urls=any", "--max-body-bytes=200K")
    serves(web)
    web.script = [reply]
    answer = send(server, *requests_with(f"http://127.0.0.1:{web.port}/a.png")[0])
    assert answer.status_code in (400, 413), answer.text
    assert words in answer.text
    assert requests.get(server.url + "/api/jobs", timeout=30).json()["jobs"] == []


def test_own_links_are_looked_up(serve, web):
    server = serve("--picture-urls=any")
    job = Jobs(server.url)
    made = job.state(job.submit(**TINY))["images"][0]["id"]
    answer = send(server, "/v1/images/edits", {
        "prompt": "x", "steps": 2, "size": "64x64",
        "image": f"https://elsewhere.example/v1/images/files/{made}.png"})
    assert answer.status_code == 200, answer.text
    too_many = {"prompt": "x", "images": [{"image_url": serves(web)}] * 17}
    assert send(server, "/v1/images/edits", too_many).status_code == 400
    assert web.requests == []


def test_the_picture_is_the_one_that_came(serve, web):
    server = serve("--picture-urls=any")
    jobs = Jobs(server.url)
    color = png((250, 10, 10))
    url = serves(web, color)
    answer = send(server, "/api/jobs", {**TINY, "init_image": url, "strength": 0.1, "seed": 3})
    here = jobs.state(answer.json()["id"])
    there = jobs.state(jobs.submit(**{**TINY, "init_image": base64.b64encode(color).decode(),
                                      "strength": 0.1, "seed": 3}))
    one, two = (Image.open(io.BytesIO(jobs.picture(j["images"][0]))).tobytes() for j in (here, there))
    assert one == two
