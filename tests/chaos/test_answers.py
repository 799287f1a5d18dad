"""Answers that nobody reads hold little memory: finished pictures lie on the disk until they are
sent, the rest has a budget, and what was needed for a moment is given back."""
import base64
import io
import json
import re
import socket
import sqlite3
import zlib
from pathlib import Path

import pytest
import requests
from PIL import Image
from processes import TINY, Jobs, until
from test_upstream import Stub, answer_of

MIB = 1 << 20


def anonymous(server):
    """Bytes of memory of the server alone: no files, no workers."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024


def noise(side):
    """A PNG that cannot be made smaller."""
    generator = __import__("random").Random(side)
    out = io.BytesIO()
    Image.frombytes("RGB", (side, side), generator.randbytes(side * side * 3)).save(
        out, "PNG", compress_level=0)
    return out.getvalue()


class Slow:
    """A client that sends a request and does not read the answer."""

    def __init__(self, server, method, path, body=None, headers=()):
        data = json.dumps(body).encode() if body is not None else b""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(120)
        self.socket.connect(("127.0.0.1", server.port))
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close",
                 "Content-Type: application/json", f"Content-Length: {len(data)}", *headers]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + data)

    def begins(self):
        """Waits for the answer's first bytes."""
        assert self.socket.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL)
        return self

    def status(self):
        return int(self.begins().socket.recv(12, socket.MSG_PEEK).split()[1])

    def read(self):
        with self.socket, self.socket.makefile("rb") as f:
            head, _, body = f.read().partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" not in head.lower():
            return head, body
        chunks, at = [], 0
        while size := int(body[at:(start := body.index(b"\r\n", at) + 2)], 16):
            chunks.append(body[start:start + size])
            at = start + size + 2
        return head, b"".join(chunks)


def gone_to_disk(server, size):
    """A picture of `size` bytes: one that was painted, whose file and row say so."""
    jobs = Jobs(server.url)
    image = jobs.state(jobs.submit(**TINY))["images"][0]
    server.stop()
    path = next((server.folder / "data" / "images").glob(f"*/{image['id']}.png"))
    data = zlib.compress(b"").ljust(size, b"\x5a")
    path.write_bytes(data)
    with sqlite3.connect(server.folder / "data" / "pictor.db") as db:
        db.execute("UPDATE images SET bytes = ? WHERE id = ?", (size, image["id"]))
    db.close()
    server.start()
    return image["url"], data


def test_pictures_that_nobody_reads_hold_no_memory(serve):
    server = serve()
    url, data = gone_to_disk(server, 12 * MIB)
    assert requests.get(server.url + url, timeout=60).content == data
    before = anonymous(server)
    clients = [Slow(server, "GET", url) for _ in range(150)]
    assert {c.status() for c in clients} == {200}
    # 64 KiB for a connection's buffers, and the allocator's share of it.
    assert anonymous(server) - before < 150 * 128 * 1024
    assert clients[7].read()[1] == data
    for c in clients:
        c.socket.close()
    until(lambda: anonymous(server) - before < 8 * MIB)


@pytest.fixture
def cloud(serve, tmp_path):
    stub = Stub()
    config = tmp_path / "pictor.ini"
    config.write_text(f"[upstream stub]\nbase_url = {stub.url}\nmodels = cloud\n")
    yield serve(f"--config={config}"), stub
    stub.close()


@pytest.mark.parametrize("path, of", [
    ("/v1/images/generations", lambda a: [d["b64_json"] for d in a["data"]]),
    ("/sdapi/v1/txt2img", lambda a: a["images"]),
])
def test_base64_is_made_as_it_is_read(cloud, path, of):
    server, stub = cloud
    side, count = 1200, 4
    picture = noise(side)
    stub.script = [(200, {}, answer_of(*[picture] * count))]
    body = {"prompt": "p", "model": "cloud", "n": count, "batch_size": count,
            "override_settings": {"sd_model_checkpoint": "cloud"}}
    if path.startswith("/v1"):
        del body["override_settings"], body["batch_size"]
    else:
        del body["n"], body["model"]
    first = requests.post(server.url + path, json=body, timeout=120)
    assert first.status_code == 200, first.text[:500]
    before = anonymous(server)
    clients = [Slow(server, "POST", path, body) for _ in range(3)]
    assert {c.status() for c in clients} == {200}
    bytes_of_one = len(first.content)
    assert bytes_of_one > count * side * side * 3
    until(lambda: anonymous(server) - before < bytes_of_one / 2)
    for c in clients:
        head, data = c.read()
        assert f"content-length: {len(data)}" in head.decode().lower()
        for text in of(json.loads(data)):
            image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
            assert image.tobytes() == Image.open(io.BytesIO(picture)).tobytes()


@pytest.mark.parametrize("flags, more, side, count", [
    # More in all than a stream may let pile up.
    (["--early-headers"], {}, 2400, 4),
    ([], {"stream": True}, 1200, 3),
])
def test_base64_of_streams_is_made_as_it_is_read(serve, tmp_path, flags, more, side, count):
    stub = Stub()
    picture = noise(side)
    stub.script = [(200, {}, answer_of(*[picture] * count))]
    config = tmp_path / "pictor.ini"
    config.write_text(f"[upstream stub]\nbase_url = {stub.url}\nmodels = cloud\n")
    server = serve(f"--config={config}", *flags)
    body = {"prompt": "p", "model": "cloud", "n": count, **more}
    first = requests.post(server.url + "/v1/images/generations", json=body, timeout=120)
    assert first.status_code == 200, first.text[:500]
    before = anonymous(server)
    client = Slow(server, "POST", "/v1/images/generations", body)
    assert client.status() == 200
    until(lambda: [j["state"] for j in requests.get(
        server.url + "/api/jobs", timeout=30).json()["jobs"]] == ["done"] * 2)
    until(lambda: anonymous(server) - before < side * side)  # a quarter of one in base64
    for text in (first.text, client.read()[1].decode()):
        found = re.findall(r'"b64_json":"([^"]*)"', text)
        assert len(found) == count
        for b64 in found:
            image = Image.open(io.BytesIO(base64.b64decode(b64, validate=True)))
            assert image.tobytes() == Image.open(io.BytesIO(picture)).tobytes()
    stub.close()


def test_a_picture_that_goes_away_ends_its_answer(cloud):
    server, stub = cloud
    stub.script = [(200, {}, answer_of(noise(1200)))]
    client = Slow(server, "POST", "/v1/images/generations", {"prompt": "p", "model": "cloud"})
    assert client.status() == 200
    for path in (server.folder / "data" / "images").glob("*/*.png"):
        path.write_bytes(b"")
    head, data = client.read()
    size = int(re.search(rb"content-length: (\d+)", head.lower())[1])
    assert len(data) < size
    assert requests.get(server.url + "/healthz", timeout=30).status_code == 200
    until(lambda: "answer_cut" in server.log())


def chatty(size):
    """A picture with a long text in it, for png-info."""
    from PIL.PngImagePlugin import PngInfo
    info, out = PngInfo(), io.BytesIO()
    info.add_text("parameters", "a" * size)
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return base64.b64encode(out.getvalue()).decode()


def test_png_infos_that_nobody_reads(serve):
    server = serve("--max-answers-bytes=64M")
    body = {"image": chatty(12 * MIB)}
    before = anonymous(server)
    clients = [Slow(server, "POST", "/sdapi/v1/png-info", body) for _ in range(8)]
    assert {c.status() for c in clients} == {200, 503}
    until(lambda: anonymous(server) - before < (64 + 16) * MIB)
    print(Path(f"/proc/{server.process.pid}/status").read_text())
    for c in clients:
        c.socket.close()
    until(lambda: anonymous(server) - before < 16 * MIB)


def test_what_nobody_reads_has_a_budget(serve):
    server = serve("--max-answers-bytes=2M")
    jobs = Jobs(server.url)
    for n in range(30):
        jobs.submit(**{**TINY, "prompt": f"{n} " + " " * 100_000 + "x"})
    info = {"image": chatty(MIB)}
    asks = [("GET", "/api/jobs?limit=30", None), ("POST", "/sdapi/v1/png-info", info)]
    held = [Slow(server, "POST", "/sdapi/v1/png-info", info).begins(),
            Slow(server, "GET", "/api/jobs?limit=30", None).begins()]
    held += [Slow(server, *ask).begins() for ask in asks]
    whole = {"Accept-Encoding": "identity"}  # as gzip these would be small
    answers = [requests.request(method, server.url + path, json=body, timeout=60, headers=whole)
               for method, path, body in asks]
    for answer in answers:
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0, answer.text
        assert "answers" in answer.text
    native, sdapi = (answer.json() for answer in answers)
    assert native["error"]["code"] == "busy" and sdapi["error"] == "HTTPException"
    # What is small is answered all the same.
    assert requests.get(server.url + "/v1/models", timeout=30).status_code == 200
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"
    for c in held:
        c.socket.close()
    for method, path, body in asks:
        until(lambda: requests.request(method, server.url + path, json=body,
                                       timeout=60).status_code == 200)


def test_streams_of_one_key_that_nobody_reads_leave_room_for_others(serve, tmp_path):
    stub = Stub()
    stub.script = [(200, {}, answer_of(noise(1200)))]  # 12 MiB of room for its event
    config = tmp_path / "pictor.ini"
    config.write_text(f"[upstream stub]\nbase_url = {stub.url}\nmodels = cloud\n")
    server = serve(f"--config={config}", "--max-answers-bytes=32M", "--request-timeout=600")
    alice, bob = (f"Authorization: Bearer {server.add_key(name)}" for name in ("alice", "bob"))
    body = {"prompt": "p", "model": "cloud", "stream": True}

    def follow(key):
        return Slow(server, "POST", "/v1/images/generations", body, [key])

    def has_event(client):
        return b"\r\n\r\n" in (seen := client.begins().socket.recv(2048, socket.MSG_PEEK)) and \
            b"data: " in seen
    streams = [follow(alice) for _ in range(6)]
    until(lambda: sum(map(has_event, streams)) >= 2)
    # She has no more than she leaves to others, so what they follow comes.
    answer = requests.post(server.url + "/v1/images/generations", json=body, timeout=120,
                           headers={"Authorization": bob.split(": ")[1]})
    assert answer.status_code == 200 and "image_generation.completed" in answer.text
    assert len(answer.content) > 4 * MIB
    for client in streams:
        client.socket.close()
    stub.close()
