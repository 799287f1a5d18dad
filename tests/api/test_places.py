"""Where things lie on the server is told to its log and to nobody else.

Every kind of trouble with a file, a folder or the database is made, every dialect is asked about it,
and no answer may hold the place of the data folder."""
import base64
import io
import json
import sqlite3
import time

import pytest
import requests
from PIL import Image

PAINTS = [
    ("/v1/images/generations", lambda m, i: {"prompt": "a", "size": "64x64", "steps": 1,
                                             **({"model": m} if m else {})}),
    ("/v1/images/generations", lambda m, i: {"prompt": "a", "size": "64x64", "steps": 1,
                                             "stream": True, **({"model": m} if m else {})}),
    ("/sdapi/v1/txt2img", lambda m, i: {
        "prompt": "a", "width": 64, "height": 64, "steps": 1,
        "override_settings": {"sd_model_checkpoint": m} if m else {}}),
    ("/sdapi/v1/img2img", lambda m, i: {
        "prompt": "a", "width": 64, "height": 64, "steps": 1, "init_images": [i],
        "override_settings": {"sd_model_checkpoint": m} if m else {}}),
    ("/sdapi/v1/options", lambda m, i: {"sd_model_checkpoint": m} if m else {}),
    ("/api/jobs", lambda m, i: {"prompt": "a", "width": 64, "height": 64, "steps": 1,
                                **({"model": m} if m else {})}),
    ("/api/jobs", lambda m, i: {"prompt": "a", "width": 64, "height": 64, "steps": 1, "init": i,
                                **({"model": m} if m else {})}),
]
LISTS = ["/api/jobs", "/api/models", "/api/info", "/readyz", "/metrics", "/v1/models",
         "/sdapi/v1/sd-models", "/sdapi/v1/options", "/sdapi/v1/cmd-flags", "/sdapi/v1/memory",
         "/sdapi/v1/progress", "/sdapi/v1/loras", "/sdapi/v1/sd-vae", "/sdapi/v1/upscalers",
         "/internal/pending-tasks"]


def picture():
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


class Client:
    """Every answer is looked through: its body, its headers, and pictures' texts."""

    def __init__(self, server):
        self.server, self.failed = server, 0

    def ask(self, method, path, **more):
        r = requests.request(method, self.server.url + path, timeout=60, **more)
        for place in (str(self.server.folder), "pictor.db", "postgresql://", "pictor@"):
            assert place not in r.text and place not in str(r.headers), (path, more, r.text)
        self.failed += r.status_code >= 400
        return r

    def paint(self, model=None):
        """One request of each kind; waits for the jobs of those who do not wait by themselves."""
        jobs = []
        for path, body in PAINTS:
            r = self.ask("POST", path, json=body(model, picture()))
            if path == "/api/jobs" and r.status_code == 202:
                jobs.append(r.json()["id"])
        files = {"image": ("a.png", base64.b64decode(picture()), "image/png")}
        self.ask("POST", "/v1/images/edits", files=files,
                 data={"prompt": "a", "size": "64x64", **({"model": model} if model else {})})
        for job in jobs:
            state = self.state(job)
            if state in ("queued", "running"):  # it waits for the trouble to end
                self.ask("POST", f"/api/jobs/{job}/cancel")
                state = "failed" if self.state(job) == "cancelled" else state
            self.failed += state == "failed"
            if state != "running":
                self.ask("GET", f"/api/jobs/{job}/events")
                self.ask("POST", f"/api/jobs/{job}/retry")

    def state(self, job, seconds=5):
        end = time.monotonic() + seconds
        while True:
            state = self.ask("GET", "/api/jobs/" + job).json().get("state", "lost")
            if state not in ("queued", "running") or time.monotonic() > end:
                return state
            time.sleep(0.02)

    def look(self):
        for path in LISTS:
            self.ask("GET", path)


def put(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


MODELS = {
    "page": b"<!DOCTYPE html><html><p>sign in</p></html>",
    "empty": b"",
    "short": b"\x40\0\0\0\0\0\0\0{",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "zip": b"PK\3\4" + bytes(60),
    "gguf": b"GGUF" + bytes(60),
    "pickle": b"\x80\x02}q\x00." + bytes(60),
    "json": b"\x02\0\0\0\0\0\0\0[]",
    "other": b"\x3f\0\0\0\0\0\0\0" + json.dumps(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(63) + bytes(4),
}


@pytest.fixture(scope="module")
def broken(serve_module):
    return serve_module()


@pytest.mark.parametrize("name", [*MODELS, "parts", "half", "gone", "none"])
def test_models(broken, name):
    models = broken.folder / "data" / "models"
    for known, data in MODELS.items():
        put(models, known + ".safetensors", data)
    (models / "parts" / "unet").mkdir(parents=True, exist_ok=True)
    put(models, "half/unet/x.safetensors", MODELS["page"])
    put(models, "gone.safetensors", MODELS["other"])
    client = Client(broken)
    client.ask("POST", "/sdapi/v1/refresh-checkpoints")
    if name == "gone":
        (models / "gone.safetensors").unlink()
    client.paint(name)
    client.look()
    assert client.failed >= len(PAINTS) - 1, "what was to fail did not"
    if name != "none":
        assert f"where={models}/{name}" in broken.log(), "the log knows the place"


def test_models_folder_away(serve):
    server = serve()
    data = server.folder / "data"
    client = Client(server)
    (data / "models").rename(data / "away")
    time.sleep(1.1)
    client.paint("unheard-of")
    client.ask("POST", "/sdapi/v1/refresh-checkpoints")
    client.look()
    assert client.failed
    assert f"where={data}/models" in server.log()


def test_pictures(serve):
    server = serve()
    data = server.folder / "data"
    client = Client(server)
    client.paint()
    ids = [i["id"] for j in client.ask("GET", "/api/jobs").json()["jobs"]
           for i in j.get("images", [])]
    assert len(ids) >= 3
    files = sorted((data / "images").glob("*/*.png"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    files[2].unlink()
    files[2].mkdir()
    before = client.failed
    for i in ids:
        client.ask("GET", "/api/images/" + i)
    assert client.failed >= before + 3
    for folder in ("images", "inputs"):
        (data / folder).rename(data / (folder + ".away"))
        (data / folder).write_bytes(b"")
    client.paint()
    client.look()
    assert f"where={data}/images" in server.log()


def test_database(serve):
    server = serve()
    place = server.database.split("pictor@")[1] if server.database else server.folder / "data/pictor.db"
    client = Client(server)
    client.paint()
    submits = [(path, body) for path, body in PAINTS[::2] if path != "/sdapi/v1/options"]
    for table in ("images", "jobs"):
        server.sql(f"ALTER TABLE {table} RENAME TO {table}_away")
    for path, body in submits:
        client.ask("POST", path, json=body(None, picture()))
    client.look()
    client.ask("GET", "/api/jobs/" + "0" * 32)
    for table in ("images", "jobs"):
        server.sql(f"ALTER TABLE {table}_away RENAME TO {table}")
    if not server.database:
        with sqlite3.connect(server.folder / "data" / "pictor.db", isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            client.ask("POST", submits[0][0], json=submits[0][1](None, picture()))
            other.execute("ROLLBACK")
    assert client.failed >= len(submits)
    assert str(place) in server.log()
