"""Parts of files that are asked for with Range, and JSON that comes compressed."""
import gzip
import json
import shutil

import pytest
import requests
from conftest import ROOT
from openai_client import TINY as SMALL
from raw_client import Raw
from test_native import Native


@pytest.fixture(scope="module")
def own(serve_module, tmp_path_factory):
    loras = tmp_path_factory.mktemp("loras")
    shutil.copy(ROOT / "tests/golden/lora/peft.safetensors", loras / "ink.safetensors")
    shutil.copy(ROOT / "tests/golden/things.png", loras / "ink.preview.png")
    return serve_module(f"--loras={loras}", "--cors-origins=https://a.example")


@pytest.fixture(scope="module")
def paths(own):
    """Everything that is answered with a file."""
    image = Native(own.url).done()["images"][0]["id"]
    file = requests.post(own.url + "/v1/files", data={"purpose": "user_data"},
                         files={"file": ("a.bin", bytes(range(256)) * 5)}, timeout=30).json()["id"]
    return {"image": f"/api/images/{image}", "thumb": f"/api/images/{image}/thumb",
            "link": f"/v1/images/files/{image}.png", "file": f"/v1/files/{file}/content",
            "preview": "/api/files/preview?kind=lora&name=ink", "page": "/web/app.js"}


def ask(own, path, status=200, method="GET", **headers):
    headers = {"Accept-Encoding": "identity", **{k.replace("_", "-"): v for k, v in headers.items()}}
    answer = requests.request(method, own.url + path, headers=headers, timeout=30)
    assert answer.status_code == status, answer.text[:300]
    return answer


@pytest.mark.parametrize("name", ["image", "thumb", "link", "file", "preview", "page"])
def test_parts(own, paths, name):
    path = paths[name]
    ask(own, path)  # a thumbnail is made
    whole = ask(own, path)
    data, size, etag = whole.content, len(whole.content), whole.headers["ETag"]
    assert whole.headers["Accept-Ranges"] == "bytes" and "Content-Range" not in whole.headers
    for text, first, end in (("0-0", 0, 1), ("10-99", 10, 100), (f"{size - 5}-", size - 5, size),
                             ("-7", size - 7, size), (f"5-{size * 9}", 5, size), ("0-", 0, size)):
        part = ask(own, path, 206, Range=f"bytes={text}")
        assert part.content == data[first:end]
        assert part.headers["Content-Range"] == f"bytes {first}-{end - 1}/{size}"
        assert part.headers["Content-Length"] == str(end - first)
        assert part.headers["ETag"] == etag and part.headers["Content-Type"] == whole.headers["Content-Type"]
    for text in f"bytes={size}-", "bytes=-0", f"bytes={10 ** 30}-":
        none = ask(own, path, 416, Range=text)
        assert none.headers["Content-Range"] == f"bytes */{size}"
        assert none.headers["Cache-Control"] == "no-store" and "ETag" not in none.headers
    for text in "bytes=0-1,3-4", "bytes=5-1", "lines=0-1", "bytes=x":
        assert ask(own, path, Range=text).content == data
    assert ask(own, path, 206, Range="bytes=1-2", If_Range=etag).content == data[1:3]
    for other in '"other"', "W/" + etag, "Sat, 28 Nov 2026 00:00:00 GMT":
        assert ask(own, path, Range="bytes=1-2", If_Range=other).content == data
    head = ask(own, path, method="HEAD", Range="bytes=1-2")
    assert head.headers["Content-Length"] == str(size) and head.headers["Accept-Ranges"] == "bytes"
    if name != "preview":
        assert ask(own, path, 304, Range="bytes=1-2", If_None_Match=etag).content == b""


def test_the_416_is_of_the_dialect(own, paths):
    assert ask(own, paths["image"], 416, Range="bytes=-0").json()["error"]["code"] == "invalid"
    assert ask(own, paths["link"], 416, Range="bytes=-0").json()["error"]["type"] == "invalid_request_error"


def test_a_broken_download_goes_on(own, paths):
    """What a client does whose connection broke: the rest, on a connection that can be used again."""
    raw, data = Raw(own), ask(own, paths["image"]).content
    for first in 100, 200, len(data) - 1:
        raw.send(f"GET {paths['image']} HTTP/1.1\r\nHost: localhost\r\nRange: bytes={first}-\r\n\r\n".encode())
        assert raw.answer()[0] == 206


def test_json_is_packed(own, paths):
    for path in "/api/info", "/openapi.json", "/sdapi/v1/samplers", "/api/schema", "/sdapi/v1/options":
        plain = requests.get(own.url + path, headers={"Accept-Encoding": "gzip;q=0"}, timeout=30)
        packed = requests.get(own.url + path, headers={"Accept-Encoding": "deflate, gzip"}, timeout=30, stream=True)
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip" and packed.headers["Content-Type"] == "application/json"
        raw = packed.raw.read(decode_content=False)
        assert int(packed.headers["Content-Length"]) == len(raw) < len(plain.content) / 2
        assert json.loads(gzip.decompress(raw)) == plain.json()
        for answer in plain, packed:
            assert "Accept-Encoding" in answer.headers["Vary"] and "Origin" in answer.headers["Vary"]
        head = requests.head(own.url + path, headers={"Accept-Encoding": "gzip"}, timeout=30)
        assert head.headers["Content-Encoding"] == "gzip"


def test_what_is_not_packed(own, paths):
    took = {"Accept-Encoding": "gzip"}
    for path in "/api/queue", "/healthz", paths["image"], paths["file"]:  # small, or no JSON
        answer = requests.get(own.url + path, headers=took, timeout=30)
        assert "Content-Encoding" not in answer.headers and "Accept-Encoding" not in answer.headers["Vary"]
    painted = requests.post(own.url + "/v1/images/generations", json=SMALL, headers=took, timeout=60)
    assert painted.status_code == 200 and "Content-Encoding" not in painted.headers  # pictures
    streamed = requests.post(own.url + "/v1/images/generations", json={**SMALL, "stream": True}, headers=took,
                             timeout=60)
    assert streamed.headers["Content-Type"] == "text/event-stream" and "Content-Encoding" not in streamed.headers
