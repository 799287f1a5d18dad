"""`pictor pull` against a server that breaks off, changes its file, lies and redirects."""
import hashlib
import json
import os
import re
import resource
import ssl
import subprocess
from http.server import BaseHTTPRequestHandler
from urllib.parse import quote

import pytest
from conftest import PROGRAM, ROOT
from processes import Listening

MODEL = (ROOT / "engine/builtin/pictor-mini.safetensors").read_bytes()
SHA = hashlib.sha256(MODEL).hexdigest()


class Hub(Listening):
    """Files by path, with ranges; `breaks` cuts the next answers off after so many bytes."""

    def __init__(self):
        self.files, self.redirects, self.breaks, self.requests = {}, {}, [], []
        self.etag, self.ranges, self.lie = '"one"', True, None
        self.errors, self.headers, self.compares = {}, {}, True
        self.endless, self.sent = set(), 0
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
                if path in hub.errors:
                    status, headers, body = hub.errors[path]
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(body)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                    return
                data = hub.files.get(path)
                if data is None:
                    self.send_error(404)
                    return
                if path in hub.endless:  # and of no length that is said
                    self.send_response(200)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    try:
                        while hub.sent < 1 << 26:
                            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                            hub.sent += len(data)
                            data = bytes(1 << 16)
                    except OSError:
                        self.close_connection = True
                    return
                start, asked = 0, self.headers.get("Range")
                same = not hub.compares or self.headers.get("If-Range") in (None, hub.etag)
                if asked and hub.ranges and same:
                    start = int(asked.removeprefix("bytes=").removesuffix("-"))
                    if start >= len(data):
                        self.send_response(416)
                        self.send_header("Content-Range", f"bytes */{len(data)}")
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
                for name, value in hub.headers.items():
                    self.send_header(name, value)
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

        self.listen(Handler)


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


def small(tensor):
    """A sound file of one tensor."""
    head = json.dumps({tensor: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(head).to_bytes(8, "little") + head + bytes(4)


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
    hub.breaks = [1000, 0]  # nothing more comes: it gives up for now
    assert pull(hub.url + "/m.safetensors").returncode == 1
    assert (pull.folder / "m.safetensors.part").stat().st_size == 1000
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert [h.get("Range") for _, h in hub.requests] == [None, "bytes=1000-", "bytes=1000-"]
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL
    assert names(pull) == ["m.safetensors"]


def test_goes_on_by_itself_while_something_comes(hub, pull):
    hub.breaks = [1000, 5_000_000]
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert [h.get("Range") for _, h in hub.requests] == [None, "bytes=1000-", "bytes=5001000-"]
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL


def test_never_glues_two_versions(hub, pull):
    for hub.compares in (True, False):  # not every server knows If-Range
        hub.breaks, hub.etag = [5000, 0], '"one"'
        hub.files["/m.safetensors"] = MODEL[:1000] + b"\0" * (len(MODEL) - 1000)
        assert pull(hub.url + "/m.safetensors").returncode == 1
        hub.files["/m.safetensors"], hub.etag = MODEL, '"two"'
        assert pull(hub.url + "/m.safetensors").returncode == 0
        assert (pull.folder / "m.safetensors").read_bytes() == MODEL
        (pull.folder / "m.safetensors").unlink()


def test_never_glues_two_files(hub, pull):
    """The ETags of two servers may be the same, and mean nothing to each other."""
    hub.files["/other/m.safetensors"] = MODEL[:1000] + b"\0" * (len(MODEL) - 1000)
    hub.breaks = [5000, 0]
    assert pull(hub.url + "/other/m.safetensors").returncode == 1
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL


def test_server_without_ranges(hub, pull):
    hub.ranges, hub.breaks = False, [1000, 0]
    assert pull(hub.url + "/m.safetensors").returncode == 1
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL


@pytest.mark.parametrize("says, start", [("bytes 0-{last}/{size}", 0), ("bytes 1000-{last}/*", 1000)])
def test_ranges_that_will_do(hub, pull, says, start):
    hub.breaks = [1000, 0]
    hub.lie = lambda _, size: (says.format(last=size - 1, size=size), start)
    assert pull(hub.url + "/m.safetensors").returncode == 1
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL


@pytest.mark.parametrize("says", ["bytes 999-{last}/{size}", "bytes 1001-{last}/{size}", "",
                                  "bytes 1000-1999/{size}", "bytes 1000-", "bytes */{size}",
                                  "bytes 1000-{size}/{size}", "words 1000-{last}/{size}"])
def test_another_range_than_asked_for(hub, pull, says):
    hub.breaks = [1000, 0]
    hub.lie = lambda start, size: (says.format(last=size - 1, size=size), start)
    assert pull(hub.url + "/m.safetensors").returncode == 1
    done = pull(hub.url + "/m.safetensors")
    assert done.returncode == 1 and "from byte 1000 to its end" in done.stderr
    assert (pull.folder / "m.safetensors.part").stat().st_size == 1000
    hub.lie = None
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL


def test_pipe_where_the_etag_should_be(hub, pull):
    pull.folder.mkdir(parents=True)
    os.mkfifo(pull.folder / "m.safetensors.part.etag")
    (pull.folder / "m.safetensors.part").write_bytes(MODEL[:1000])
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert names(pull) == ["m.safetensors"]


def test_part_that_was_complete(hub, pull):
    pull.folder.mkdir(parents=True)
    (pull.folder / "m.safetensors.part").write_bytes(MODEL)
    known = f"{hub.etag}\n{hub.url}/m.safetensors\n"
    (pull.folder / "m.safetensors.part.etag").write_text(known)
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert names(pull) == ["m.safetensors"] and len(hub.requests) == 1


def test_part_that_was_too_long(hub, pull):
    pull.folder.mkdir(parents=True)
    (pull.folder / "m.safetensors.part").write_bytes(MODEL + b"more")
    known = f"{hub.etag}\n{hub.url}/m.safetensors\n"
    (pull.folder / "m.safetensors.part.etag").write_text(known)
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL and len(hub.requests) == 2


def test_hash_must_be_the_promised_one(hub, pull):
    done = pull(hub.url + "/m.safetensors", "--sha256", "0" * 64)
    assert done.returncode == 1 and SHA in done.stderr and names(pull) == []
    assert pull(hub.url + "/m.safetensors", "--sha256", SHA.upper()).returncode == 0


NO_MODELS = {
    "page": (b"<html>please log in</html>", "a web page (HTML)"),
    "long-page": (b"<!DOCTYPE html><html>" + b"<p>please log in</p>" * 100_000, "a web page (HTML)"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "pickle": (b"\x80\x02}q\x00." + bytes(60), "a PyTorch checkpoint"),
    "empty": (b"", "empty"),
    "short": (MODEL[:-1], "cut short"),
    "stub": (MODEL[:1000], "cut short"),
    "other": (bytes(5000), "zeros"),
}


@pytest.mark.parametrize("name", NO_MODELS)
def test_file_that_is_no_model(hub, pull, name):
    hub.files["/m.safetensors"], says = NO_MODELS[name]
    for more in ((), ("--sha256", hashlib.sha256(NO_MODELS[name][0]).hexdigest())):
        done = pull(hub.url + "/m.safetensors", *more)
        assert done.returncode == 1 and says in done.stderr and names(pull) == []
    hub.files["/m.safetensors"] = MODEL
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL


def test_page_in_place_of_the_rest(hub, pull):
    hub.breaks = [1000, 0]
    assert pull(hub.url + "/m.safetensors").returncode == 1
    hub.headers, hub.etag = {"Content-Type": "text/html; charset=utf-8"}, '"page"'
    done = pull(hub.url + "/m.safetensors")
    assert done.returncode == 1 and "text/html" in done.stderr and "login" in done.stderr
    hub.headers, hub.etag = {}, '"one"'
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert hub.requests[-1][1]["Range"] == "bytes=1000-", "what had come was worth keeping"


def test_what_has_the_name_already(hub, pull):
    pull.folder.mkdir(parents=True)
    there = pull.folder / "m.safetensors"
    there.write_bytes(NO_MODELS["page"][0])  # as earlier versions left it
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert there.read_bytes() == MODEL
    other = small("a")
    there.write_bytes(other)
    done = pull(hub.url + "/m.safetensors", "--sha256", SHA)
    assert done.returncode == 1 and "another model has this name" in done.stderr
    assert there.read_bytes() == other, "somebody's model is not overwritten"


def test_valid_file_that_cannot_be_painted_with(hub, pull):
    hub.files["/m.safetensors"] = small("model.diffusion_model.joint_blocks.0")
    for _ in range(2):  # the second time it is there already, and that is no success either
        done = pull(hub.url + "/m.safetensors")
        assert done.returncode == 1 and "cannot be painted with" in done.stderr
        assert names(pull) == ["m.safetensors"]
    assert len(hub.requests) == 1


@pytest.mark.parametrize("tensor, folder", [
    ("lora_unet_a.lora_up.weight", "loras"), ("decoder.conv_in.weight", "vaes"),
    ("conv_first.weight", "upscalers"), ("emb_params", "embeddings"),
    ("control_model.input_hint_block.0.weight", "controlnets"),
    ("text_model.final_layer_norm.weight", "text_encoders")])
def test_each_kind_has_its_folder(hub, pull, tensor, folder):
    hub.files["/m.safetensors"] = small(tensor)
    done = pull(hub.url + "/m.safetensors")
    assert done.returncode == 0, done.stderr
    there = pull.folder.parent / folder / "m.safetensors"
    assert there.read_bytes() == hub.files["/m.safetensors"] and names(pull) == []
    assert str(there.relative_to(pull.folder.parent)) in done.stdout
    again = pull(hub.url + "/m.safetensors")
    assert again.returncode == 0 and "is there already" in again.stdout
    assert len(hub.requests) == 1


@pytest.mark.parametrize("status, headers, body, says", [
    (401, {"X-Error-Message": "Access to model me/repo is restricted."}, b"",
     ["401", "wants a key", "is restricted"]),
    (401, {}, b'{"error": "Invalid \x1b[31mcredentials"}', ["401"]),
    (403, {}, b'{"error": "Your request to access this model is awaiting a review"}',
     ["403", "awaiting a review"]),
    (403, {"Content-Type": "text/html"}, b"<html>" + b"x" * 100_000, ["403"]),
    (404, {}, b"Entry not found", ["404", "no such file"]),
    (429, {"Retry-After": "17"}, b"", ["429", "in 17 seconds"]),
    (503, {}, b"", ["503", "later"]), (500, {}, b'{"message": "oops"}', ["500", "oops"])])
def test_refusals(hub, pull, status, headers, body, says):
    hub.errors["/m.safetensors"] = (status, headers, body)
    done = pull(hub.url + "/m.safetensors")
    assert done.returncode == 1 and names(pull) == []
    assert all(word in done.stderr for word in says) and "\x1b" not in done.stderr, done.stderr
    hub.errors["/api/models/me/repo/revision/main"] = (status, headers, body)
    done = pull("hf:me/repo/m.safetensors", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and all(word in done.stderr for word in says), done.stderr


@pytest.mark.parametrize("words, status", [
    ((), 0), (("a", "b"), 2), (("--what", "a"), 2), (("--help",), 0), (("ftp://x/y",), 1),
    (("hf:a",), 1), (("hf:a/b/",), 1), (("hf:a/b@",), 1), (("civitai:x",), 1), (("civitai:",), 1),
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


@pytest.mark.parametrize("ref, revision, path", [
    ("hf:me/repo/a b/My Model v1.safetensors", "main", "a b/My Model v1.safetensors"),
    ("hf:me/repo/v1#2.safetensors", "main", "v1#2.safetensors"),
    ("hf:me/repo/a?b.safetensors", "main", "a?b.safetensors"),
    ("hf:me/repo/100%25.safetensors", "main", "100%25.safetensors"),
    ("hf:me/repo/a@b.safetensors", "main", "a@b.safetensors"),
    ("hf:me/repo/k\u00e4se.safetensors", "main", "k\u00e4se.safetensors"),
    ("hf:me/repo@v 2/m.safetensors", "v 2", "m.safetensors"),
    ("hf:me/repo@refs/pr/1/sub/m.safetensors", "refs/pr/1", "sub/m.safetensors"),
    ("hf:me/repo@my%2Fbranch/m.safetensors", "my/branch", "m.safetensors"),
    ("{url}/me/repo/blob/main/a%20b.safetensors?download=true", "main", "a b.safetensors"),
    ("{url}/me/repo/resolve/refs%2Fpr%2F1/m.safetensors", "refs/pr/1", "m.safetensors")])
def test_hugging_face_paths(hub, pull, ref, revision, path):
    quoted = quote(revision, safe="")
    hub.files[f"/api/models/me/repo/revision/{quoted}"] = json.dumps({"siblings": [
        {"rfilename": path, "lfs": {"sha256": SHA, "size": len(MODEL)}}]}).encode()
    hub.files[f"/me/repo/resolve/{quoted}/{quote(path)}"] = MODEL
    done = pull(ref.format(url=hub.url), HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    assert names(pull) == [path.split("/")[-1]]


@pytest.mark.parametrize("path, name", [
    ("/files/My%20Model.safetensors", "My Model.safetensors"),
    ("/a/b c.safetensors", "b c.safetensors"),
    ("/x%2Fy.safetensors", "y.safetensors"), ("/100%zz", "100%zz.safetensors"),
    ("/a%00b%20c", "a%00b%20c.safetensors"),
    ("/%2e%2e%2fevil.safetensors", "evil.safetensors"), ("/k%C3%A4se", "k\u00e4se.safetensors")])
def test_names_out_of_addresses(hub, pull, path, name):
    hub.files[path.replace(" ", "%20")] = MODEL
    assert pull(hub.url + path).returncode == 0
    assert names(pull) == [name]


@pytest.mark.parametrize("path", ["/%2e%2e", "/a%0Ab.safetensors", "/a%ff.safetensors",
                                  "/%2Ehidden", "/a%5Cb"])
def test_names_that_are_none(hub, pull, path):
    done = pull(hub.url + path)
    assert done.returncode == 1 and "--name" in done.stderr and hub.requests == []


def test_wrong_size(hub, pull):
    hub.files["/api/models/me/repo/revision/main"] = json.dumps({"siblings": [
        {"rfilename": "m.safetensors", "lfs": {"size": len(MODEL) + 1}}]}).encode()
    hub.files["/me/repo/resolve/main/m.safetensors"] = MODEL
    done = pull("hf:me/repo/m.safetensors", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and str(len(MODEL) + 1) in done.stderr and names(pull) == []


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


FINISH = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>
int flock(int fd, int how)
{
    rename(getenv("FINISH_PART"), getenv("FINISH_MODEL"));
    return (int)syscall(SYS_flock, fd, how);
}
"""


def test_another_that_finishes_just_then(hub, pull, tmp_path):
    """Between opening the part and locking it the other pull makes it a model, which stays whole."""
    library, source = tmp_path / "finish.so", tmp_path / "finish.c"
    source.write_text(FINISH)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    pull.folder.mkdir(parents=True)
    part, model = pull.folder / "m.safetensors.part", pull.folder / "m.safetensors"
    part.write_bytes(MODEL)
    done = pull(hub.url + "/m.safetensors", LD_PRELOAD=str(library), FINISH_PART=str(part),
                FINISH_MODEL=str(model))
    assert done.returncode == 1 and "another pull" in done.stderr
    assert model.read_bytes() == MODEL and hub.requests == []


def test_short_names(hub, pull):
    listed = pull().stdout
    assert pull.folder.exists() is False
    names_here = re.findall(r"^([a-z0-9_-]+) +([a-z0-9]+) +\d+\.\d GB  \S", listed, re.M)
    refs = re.findall(r"hf:([^/\s]+/[^/\s]+)/(\S+\.(?:safetensors|gguf|model));", listed)
    assert len(names_here) == len(refs) >= 7
    assert {"sd15", "sdxl", "sdxl-turbo", "lcm"} <= {name for name, _ in names_here}
    repo, file = dict(zip([name for name, _ in names_here], refs))["sd-turbo"]
    assert repo == "stabilityai/sd-turbo"
    hub.files[f"/api/models/{repo}/revision/main"] = json.dumps({"siblings": [
        {"rfilename": file, "lfs": {"sha256": SHA, "size": len(MODEL)}}]}).encode()
    hub.files[f"/{repo}/resolve/main/{file}"] = MODEL
    done = pull("sd-turbo", HF_ENDPOINT=hub.url)
    assert done.returncode == 0 and names(pull) == ["sd-turbo.safetensors"], done.stderr


def publish_set(hub, lies=False):
    """flux2-klein and its parts, small: name here -> (folder, content)."""
    vae = small("decoder.conv_in.weight")
    parts = {
        ("leejet/FLUX.2-klein-4B-GGUF", "flux-2-klein-4b-Q8_0.gguf"): ("models/flux2-klein.gguf", gguf("double_blocks.0")),
        ("Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q8_0.gguf"): ("text_encoders/qwen_3_4b.gguf", gguf("blk.0.attn_q.weight")),
        ("Comfy-Org/flux2-dev", "split_files/vae/flux2-vae.safetensors"): ("vaes/flux2-vae.safetensors", vae),
    }
    for (repo, file), (_, data) in parts.items():
        sha = hashlib.sha256(b"other" if lies and data == vae else data).hexdigest()
        hub.files[f"/api/models/{repo}/revision/main"] = json.dumps({"siblings": [
            {"rfilename": file, "lfs": {"sha256": sha, "size": len(data)}}]}).encode()
        hub.files[f"/{repo}/resolve/main/{file}"] = data
    return dict(parts.values())


def gguf(tensor):
    """A sound GGUF file of one tensor."""
    import struct
    name = tensor.encode()
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", len(name)) + name
    head += struct.pack("<IQIQ", 1, 32, 0, 0)
    return head + bytes(-len(head) % 32) + bytes(128)


def test_a_model_of_several_parts(hub, pull):
    """Sizes and licences first; each part in the folder of its kind; what is there is not fetched again."""
    parts = publish_set(hub)
    done = pull("flux2-klein", HF_ENDPOINT=hub.url)
    for path, data in parts.items():
        assert (pull.folder.parent / path).read_bytes() == data, done
    first, second, third, total = done.stdout.splitlines()[:4]
    assert first.startswith("flux2-klein.gguf") and first.endswith("Apache-2.0")
    assert second.startswith("qwen_3_4b.gguf") and third.startswith("flux2-vae.safetensors")
    assert total.split()[-2] == f"{sum(map(len, parts.values())) / 1e6:.1f}"
    fetched = [path for path, _ in hub.requests if "/resolve/" in path]
    assert len(fetched) == 3 and "klein" in fetched[-1], "what wants the others comes last"
    hub.requests.clear()
    (pull.folder / "flux2-klein.gguf").unlink()
    pull("flux2-klein", HF_ENDPOINT=hub.url)
    assert [path for path, _ in hub.requests if "/resolve/" in path] == fetched[-1:]
    refused = pull("flux2-klein", "--sha256", SHA, HF_ENDPOINT=hub.url)
    assert refused.returncode == 1 and "one file's" in refused.stderr


def test_a_part_that_is_another(hub, pull):
    """It goes, and what wants it does not come."""
    publish_set(hub, lies=True)
    done = pull("flux2-klein", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "flux2-vae" in done.stderr and "it was removed" in done.stderr, done
    assert names(pull) == []
    assert [p.name for p in (pull.folder.parent / "vaes").glob("*")] == []


def test_a_part_alone(hub, pull):
    parts = publish_set(hub)
    assert pull("flux2-vae", HF_ENDPOINT=hub.url).returncode == 0
    assert (pull.folder.parent / "vaes/flux2-vae.safetensors").read_bytes() == parts["vaes/flux2-vae.safetensors"]


def test_short_name_whose_file_is_another(hub, pull):
    file = "v1-5-pruned-emaonly.safetensors"
    repo = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    hub.files[f"/api/models/{repo}/revision/main"] = json.dumps({"siblings": [
        {"rfilename": file, "lfs": {"sha256": SHA, "size": len(MODEL)}}]}).encode()
    hub.files[f"/{repo}/resolve/main/{file}"] = MODEL
    done = pull("sd15", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "wanted 6ce0161689" in done.stderr and names(pull) == []


def test_disk_that_takes_no_more(hub, pull, tmp_path):
    def limit():  # as a quota does it; Python leaves SIGXFSZ ignored
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    done = subprocess.run([PROGRAM, "pull", f"--data={tmp_path}", hub.url + "/m.safetensors"],
                          preexec_fn=limit, restore_signals=False, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1 and "cannot write the file" in done.stderr, done
    assert len(hub.requests) == 1, "trying again would not help"
    assert "m.safetensors" not in names(pull)
    assert pull(hub.url + "/m.safetensors").returncode == 0
    assert (pull.folder / "m.safetensors").read_bytes() == MODEL
    assert hub.requests[-1][1].get("Range"), "what had come was kept"
