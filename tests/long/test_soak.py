"""Many clients of all three APIs at once for a while: every request is answered as it should be,
the server always says that it lives, and neither memory nor descriptors grow.

SOAK_SECONDS sets how long; the seed is printed and can be given as SOAK_SEED."""
import base64
import io
import os
import random
import threading
import time
from pathlib import Path

import requests
from openai_client import gradient, hole, png
from PIL import Image
from processes import fsck, until, worker_of
from sdapi_client import encode, half_mask

SECONDS = int(os.environ.get("SOAK_SECONDS", "600"))
SEED = int(os.environ.get("SOAK_SEED", time.time_ns() % 1000000))
CLIENTS = 24
GROWTH = 48 << 20  # bytes: what allocators keep of the largest pictures at once is no leak


class Client(threading.Thread):
    def __init__(self, server, seed, stop):
        super().__init__()
        self.url, self.random, self.stop = server.url, random.Random(seed), stop
        self.counts, self.error = {}, None

    def run(self):
        verbs = [self.native, self.cancelled, self.openai, self.edit, self.stream, self.txt2img,
                 self.inpaint, self.lists, self.wrong, self.gone]
        self.session = requests.Session()
        try:
            while not self.stop.is_set():
                verb = self.random.choice(verbs)
                verb()
                self.counts[verb.__name__] = self.counts.get(verb.__name__, 0) + 1
        except Exception as error:  # shown by the test
            self.error = error

    def post(self, path, statuses=(200, 202), **kwargs):
        answer = self.session.post(self.url + path, timeout=300, **kwargs)
        if answer.status_code == 429:
            assert int(answer.headers["Retry-After"]) > 0
            self.stop.wait(0.5)
            return None
        assert answer.status_code in statuses, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer.json() if answer.text.startswith("{") else answer

    def picture(self, data):
        image = Image.open(io.BytesIO(data))
        image.load()

    def tiny(self, **more):
        side = self.random.choice((64, 64, 64, 96, 128))
        return {"prompt": "a red circle " * self.random.randint(1, 40), "steps": 2,
                "seed": self.random.randrange(1 << 31), "width": side, "height": 64, **more}

    def native(self):
        job = self.post("/api/jobs", json=self.tiny(count=self.random.randint(1, 3)))
        while job and job["state"] in ("queued", "running") and not self.stop.wait(0.1):
            job = self.session.get(f"{self.url}/api/jobs/{job['id']}", timeout=60).json()
        if job and job["state"] == "done":
            image = self.session.get(self.url + job["images"][0]["url"], timeout=60)
            self.picture(image.content)
        assert not job or job["state"] != "failed", job

    def cancelled(self):
        job = self.post("/api/jobs", json=self.tiny(steps=50))
        if job:
            self.stop.wait(self.random.random() / 2)
            self.post(f"/api/jobs/{job['id']}/cancel", statuses=(200, 409))

    def openai(self):
        answer = self.post("/v1/images/generations", json={
            "prompt": "a penguin", "size": "64x64", "steps": 2, "response_format": "b64_json",
            "output_format": self.random.choice(("png", "jpeg", "webp"))})
        if answer:
            self.picture(base64.b64decode(answer["data"][0]["b64_json"]))

    def edit(self):
        self.post("/v1/images/edits", data={"prompt": "a cat", "size": "64x64", "steps": 2},
                  files={"image": ("a.png", png(gradient()), "image/png"),
                         "mask": ("m.png", png(hole()), "image/png")})

    def stream(self):
        answer = self.post("/v1/images/generations", json={
            "prompt": "a penguin", "size": "64x64", "steps": 4, "stream": True,
            "partial_images": 2})
        assert answer is None or "image_generation.completed" in answer.text

    def txt2img(self):
        answer = self.post("/sdapi/v1/txt2img", json=self.tiny(batch_size=2))
        if answer:
            self.picture(base64.b64decode(answer["images"][0]))

    def inpaint(self):
        answer = self.post("/sdapi/v1/img2img", json=self.tiny(
            init_images=[encode(gradient())], mask=encode(half_mask())))
        if answer:
            self.picture(base64.b64decode(answer["images"][0]))

    def lists(self):
        for path in ("/", "/api/jobs?limit=20", "/api/models", "/v1/models", "/metrics",
                     "/sdapi/v1/progress", "/sdapi/v1/samplers", "/sdapi/v1/options"):
            assert self.session.get(self.url + path, timeout=60).status_code == 200

    def wrong(self):
        self.post("/api/jobs", statuses=(400,), data=b"{\"prompt\": ")
        self.post("/v1/images/edits", statuses=(400,), data={"prompt": "a"},
                  files={"image": ("a.png", png(gradient())[:100], "image/png")})
        self.post("/sdapi/v1/txt2img", statuses=(422,), json={"width": "wide"})

    def gone(self):
        """A client that does not wait."""
        try:
            requests.post(self.url + "/v1/images/generations", timeout=(10, 0.2), json={
                "prompt": "a penguin", "size": "128x128", "steps": 20})
        except requests.Timeout:
            pass


def resident(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return 0


def state(server):
    pid, worker = server.process.pid, until(lambda: worker_of(server))
    return {"server": resident(pid), "worker": resident(worker),
            "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
            "threads": len(list(Path(f"/proc/{pid}/task").iterdir()))}


def quiet(server):
    """Nothing is painted and nothing waits."""
    until(lambda: not any(requests.get(f"{server.url}/api/jobs?state={word}", timeout=30)
                          .json()["jobs"] for word in ("queued", "running")), 300)
    time.sleep(2)  # connections are closed
    return state(server)


def busy(server, seconds, seed):
    stop = threading.Event()
    clients = [Client(server, seed + n, stop) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    slowest, end = 0, time.monotonic() + seconds
    try:
        while time.monotonic() < end and all(client.is_alive() for client in clients):
            start = time.monotonic()
            assert requests.get(server.url + "/healthz", timeout=60).status_code == 200
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.2)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert [client.error for client in clients if client.error] == []
    total = {}
    for client in clients:
        for name, count in client.counts.items():
            total[name] = total.get(name, 0) + count
    print(f"{sum(total.values())} requests in {seconds} s, /healthz in {slowest:.3f} s: {total}")
    return slowest, total


def test_nothing_grows(serve):
    print(f"SOAK_SEED={SEED}")
    server = serve("--max-queue=40", "--log-level=error")
    busy(server, SECONDS / 4, SEED)  # everything has been used once
    before = quiet(server)
    slowest, total = busy(server, SECONDS * 3 / 4, SEED + CLIENTS)
    after = quiet(server)
    print(f"before {before}\nafter  {after}")
    assert len(total) == 10  # every verb of Client was used
    assert slowest < 2
    assert after["server"] < before["server"] + GROWTH
    assert after["worker"] < before["worker"] + GROWTH
    assert after["descriptors"] <= before["descriptors"] + 2
    assert after["threads"] <= before["threads"]
    server.stop()
    status, kinds, text = fsck(server.folder / "data")
    assert status == 0, text
    server.start()
