"""`pictor pull` against a server that breaks off, changes its file, lies and redirects."""
import hashlib
import json
import os
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import PROGRAM, ROOT

MODEL = (ROOT / "engine/builtin/pictor-mini.safetensors").read_bytes()
SHA = hashlib.sha256(MODEL).hexdigest()


class Hub:
    """Files by path, with ranges; `breaks` cuts the next answers off after so many bytes."""

    def __init__(self):
        self.files, self.redirects, self.breaks, self.requests = {}, {}, [], []
        self.etag, self.ranges, self.lie = '"one"', True, None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.requests.append((self.path, dict(self.headers.items())))
                path = self.path.split("?")[0]
                if path in hub.redirects:
                    self.send_response(302)
                    self.send_header("Location", hub.redirects[path])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data = hub.files.get(path)
                if data is None:
                    self.send_error(404)
                    return
                start, asked = 0, self.headers.get("Range")
                if asked and hub.ranges and self.headers.get("If-Range") in (None, hub.etag):
                    start = int(asked.removeprefix("bytes=").removesuffix("-"))
                    if start >= len(data):
                        self.send_response(416)
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                        return
                    self.send_response(206)
                    says = f"bytes {start}-{len(data) - 1}/{len(data)}"
                    if hub.lie:
                        says, start = hub.lie(start, len(data))
                    self.send_header("Content-Range", says)
                else:
                    self.send_response(200)
                self.send_header("ETag", hub.etag)
                self.send_header("Content-Length", str(len(data) - start))
                self.end_headers()
                end = start + hub.breaks.pop(0) if hub.breaks else len(data)
                try:
                    self.wfile.write(data[start:end])
                except OSError:
                    pass
                if end < len(data):
                    self.close_connection = True

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hub():
    hub = Hub()
    hub.files["/m.safetensors"] = MODEL
    yield hub
    hub.close()


@pytest.fixture
def pull(tmp_path):
    def run(*words, **environment):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PICTOR_")}
        return subprocess.run([PROGRAM, "pull", f"--data={tmp_path}", *words], cwd=tmp_path,
                              capture_output=True, text=True, timeout=60,
                              env={**clean, **environment})
    run.folder = tmp_path / "models"
    return run


def names(pull):
    return sorted(p.name for p in pull.folder.iterdir())


def test_whole_file(hub, pull):
    done = pull(hub.url + "/m.safetensors")
    assert done.returncode == 0, done.stderr
    assert SHA in done.stdout and names(pull) == ["m.safetensors"]
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL
    listed = subprocess.run([PROGRAM, "models", f"--models={pull.folder}"], capture_output=True,
                            text=True, timeout=60)
    assert "\nm  " in listed.stdout
    hub.requests.clear()
    assert pull(hub.url + "/m.safetensors").returncode == 0 and hub.requests == []


def test_goes_on_where_it_stopped(hub, pull):
    hub.breaks = [1000, 5_000_000]
    for have in (1000, 5_001_000):
        assert pull(hub.url + "/m.safetensors").returncode == 1
        assert (pull.folder / "m.safetensors.part").stat().st_size == have
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert [h.get("Range") for _, h in hub.requests] == [None, "bytes=1000-", "bytes=5001000-"]
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL
    assert names(pull) == ["m.safetensors"]


def test_never_glues_two_versions(hub, pull):
    hub.breaks = [1000]
    hub.files["/m.safetensors"] = b"\0" * len(MODEL)
    assert pull(hub.url + "/m.safetensors").returncode == 1
    hub.files["/m.safetensors"], hub.etag = MODEL, '"two"'
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL


def test_server_without_ranges(hub, pull):
    hub.ranges, hub.breaks = False, [1000]
    assert pull(hub.url + "/m.safetensors").returncode == 1
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL


@pytest.mark.parametrize("says, start", [("bytes 0-{last}/{size}", 0), ("bytes 1000-{last}/*", 1000)])
def test_ranges_that_will_do(hub, pull, says, start):
    hub.breaks = [1000]
    hub.lie = lambda _, size: (says.format(last=size - 1, size=size), start)
    assert pull(hub.url + "/m.safetensors").returncode == 1
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL


@pytest.mark.parametrize("says", ["bytes 999-{last}/{size}", "bytes 1001-{last}/{size}", "",
                                  "bytes 1000-1999/{size}", "bytes 1000-", "bytes */{size}",
                                  "bytes 1000-{size}/{size}", "words 1000-{last}/{size}"])
def test_another_range_than_asked_for(hub, pull, says):
    hub.breaks = [1000]
    hub.lie = lambda start, size: (says.format(last=size - 1, size=size), start)
    assert pull(hub.url + "/m.safetensors").returncode == 1
    done = pull(hub.url + "/m.safetensors")
    assert done.returncode == 1 and "from byte 1000 to its end" in done.stderr
    assert (pull.folder / "m.safetensors.part").stat().st_size == 1000
    hub.lie = None
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL


def test_part_that_was_complete(hub, pull):
    pull.folder.mkdir(parents=True)
    (pull.folder / "m.safetensors.part").write_bytes(MODEL)
    (pull.folder / "m.safetensors.part.etag").write_text(hub.etag)
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert names(pull) == ["m.safetensors"]


def test_hash_must_be_the_promised_one(hub, pull):
    done = pull(hub.url + "/m.safetensors", "--sha256", "0" * 64)
    assert done.returncode == 1 and SHA in done.stderr and names(pull) == []
    assert pull(hub.url + "/m.safetensors", "--sha256", SHA.upper()).returncode == 0


def test_file_that_is_no_model(hub, pull):
    hub.files["/page.safetensors"] = b"<html>please log in</html>"
    done = pull(hub.url + "/page.safetensors")
    assert done.returncode == 1 and "cannot be painted with" in done.stderr


@pytest.mark.parametrize("words, status", [
    ((), 2), (("a", "b"), 2), (("--what", "a"), 2), (("--help",), 0), (("ftp://x/y",), 1),
    (("hf:a",), 1), (("hf:a/b",), 1), (("hf:a/b/",), 1), (("civitai:x",), 1), (("civitai:",), 1),
    (("http://127.0.0.1:1/m.safetensors",), 1), (("http://127.0.0.1:1/",), 1),
    (("http://127.0.0.1:1/..",), 1), (("http://127.0.0.1:1/m", "--name", "../m"), 1),
    (("http://127.0.0.1:1/m", "--sha256", "12"), 1)])
def test_used_wrongly(pull, words, status):
    done = pull(*words)
    assert done.returncode == status, done
    assert not pull.folder.exists() or names(pull) == []


def test_no_secure_connection(hub, pull, tmp_path):
    done = pull(hub.url.replace("http:", "https:") + "/m.safetensors")
    assert done.returncode == 1 and "is it https that is spoken there?" in done.stderr
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
                    "-subj", "/CN=localhost", "-keyout", tmp_path / "pem", "-out", tmp_path / "pem"],
                   check=True, capture_output=True)
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(tmp_path / "pem")
    hub.server.socket = secure.wrap_socket(hub.server.socket, server_side=True)
    done = pull(hub.url.replace("http://127.0.0.1", "https://localhost") + "/m.safetensors")
    assert done.returncode == 1 and "does not trust the server's certificate" in done.stderr
    assert names(pull) == []


def test_missing_file(hub, pull):
    done = pull(hub.url + "/nothing.safetensors")
    assert done.returncode == 1 and "no such file" in done.stderr


def test_hugging_face(hub, pull):
    hub.files["/api/models/me/repo/revision/main"] = json.dumps({"siblings": [
        {"rfilename": "README.md"},
        {"rfilename": "sub/model.safetensors", "lfs": {"sha256": SHA, "size": len(MODEL)}}]}).encode()
    other = Hub()
    other.files["/cdn"] = MODEL
    hub.redirects["/me/repo/resolve/main/sub/model.safetensors"] = \
        other.url.replace("127.0.0.1", "localhost") + "/cdn"
    done = pull("hf:me/repo/sub/model.safetensors", HF_ENDPOINT=hub.url, HF_TOKEN="hf_secret")
    other.close()
    assert done.returncode == 0, done.stderr
    assert "as promised" in done.stdout and names(pull) == ["model.safetensors"]
    assert all(h.get("Authorization") == "Bearer hf_secret" for _, h in hub.requests)
    assert "Authorization" not in other.requests[0][1], "the token went to another host"


def test_hugging_face_lies(hub, pull):
    hub.files["/api/models/me/repo/revision/v2"] = json.dumps({"siblings": [
        {"rfilename": "m.safetensors", "lfs": {"sha256": "1" * 64}}]}).encode()
    hub.files["/me/repo/resolve/v2/m.safetensors"] = MODEL
    done = pull("hf:me/repo@v2/m.safetensors", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "wanted " + "1" * 64 in done.stderr and names(pull) == []
    done = pull("hf:me/repo@v2/other.safetensors", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "has no file" in done.stderr


def test_civitai(hub, pull):
    other = Hub()
    other.files["/d/7"] = MODEL
    hub.files["/d/7"] = MODEL
    for address, secret in ((hub.url + "/d/7", True), (other.url + "/d/7", False)):
        hub.files["/api/v1/model-versions/77"] = json.dumps({"files": [
            {"name": "x.ckpt", "downloadUrl": hub.url + "/no"},
            {"name": "../../evil.safetensors", "downloadUrl": address, "primary": True,
             "hashes": {"SHA256": SHA.upper()}}]}).encode()
        done = pull("civitai:77", CIVITAI_ENDPOINT=hub.url, CIVITAI_TOKEN="secret")
        assert done.returncode == 0, done.stderr
        assert names(pull) == ["evil.safetensors"], "a name from outside is a name, not a path"
        (pull.folder / "evil.safetensors").unlink()
        server = hub if secret else other
        assert (server.requests[-1][1].get("Authorization") == "Bearer secret") == secret
    other.close()


def test_two_at_a_time(hub, pull):
    import fcntl
    pull.folder.mkdir(parents=True)
    with open(pull.folder / "m.safetensors.part", "wb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        done = pull(hub.url + "/m.safetensors")
        assert done.returncode == 1 and "another pull" in done.stderr
