"""The native API: docs/api.md."""
import base64
import http.client
import io
import json
import re
import socket
import threading
import time

import pytest
import requests
from openai_client import gradient, png, wait_for
from PIL import Image

TINY = {"prompt": "a red cube", "width": 64, "height": 64, "steps": 2, "seed": 7}
LONG = {**TINY, "width": 256, "height": 256, "steps": 150, "count": 10}
FINAL = ("done", "failed", "cancelled")
STATES = ("queued", "running") + FINAL


class Native:
    def __init__(self, url, key=None):
        self.url = url
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def request(self, method, path, **kwargs):
        kwargs["headers"] = {**self.headers, **kwargs.get("headers", {})}
        return requests.request(method, self.url + path, timeout=120, **kwargs)

    def get(self, path, status=200, **kwargs):
        return self.answer(self.request("GET", path, **kwargs), status)

    def post(self, path, body=None, status=200, **kwargs):
        if body is not None:
            kwargs["json"] = body
        return self.answer(self.request("POST", path, **kwargs), status)

    @staticmethod
    def answer(response, status):
        assert response.status_code == status, response.text[:500]
        assert response.headers["Content-Type"] == "application/json"
        body = response.json()
        if status >= 400:
            assert list(body) == ["error"]
            assert list(body["error"]) == ["code", "message", "param"]
            assert body["error"]["message"]
            return body["error"]
        return body

    def submit(self, **fields):
        return self.post("/api/jobs", {**TINY, **fields}, 202)

    def job(self, id):
        return check_job(self.get("/api/jobs/" + id))

    def finish(self, job):
        wait_for(lambda: self.job(job["id"])["state"] in FINAL)
        return self.job(job["id"])

    def done(self, **fields):
        job = self.finish(self.submit(**fields))
        assert job["state"] == "done", job["error"]
        return job

    def stop(self, job):
        self.request("POST", f"/api/jobs/{job['id']}/cancel")


def check_job(job):
    assert list(job) == ["id", "state", "position", "priority", "attempts", "created_at",
                         "started_at", "finished_at", "params", "progress", "images",
                         "revised_prompt", "usage", "notes",
                         "error", "favourite", "tags"]
    assert re.fullmatch(r"[0-9a-f]{32}", job["id"])
    assert job["state"] in STATES
    assert (job["position"] >= 0) == (job["state"] == "queued")
    assert abs(job["created_at"] / 1000 - time.time()) < 600
    assert (job["finished_at"] is not None) == (job["state"] in FINAL)
    assert (job["error"] is not None) == (job["state"] == "failed")
    assert set(job["progress"]) == {"image", "step", "steps", "eta_seconds", "ahead"}
    return job


@pytest.fixture(scope="module")
def api(serve_module):
    return Native(serve_module().url)


# ---- jobs ----

def test_submit_and_get(api):
    response = api.request("POST", "/api/jobs", json=TINY)
    assert response.status_code == 202
    job = check_job(response.json())
    assert response.headers["Location"] == "/api/jobs/" + job["id"]
    for name, value in TINY.items():
        assert job["params"][name] == value
    done = api.finish(job)
    assert done["state"] == "done" and done["attempts"] == 1
    assert done["created_at"] <= done["started_at"] <= done["finished_at"]
    image, = done["images"]
    assert list(image) == ["id", "index", "url", "width", "height", "seed", "subseed", "format",
                           "bytes", "infotext", "favourite", "tags"]
    assert (image["index"], image["width"], image["height"], image["seed"]) == (0, 64, 64, 7)
    assert image["url"] == "/api/images/" + image["id"] and image["infotext"]


def test_defaults(api):
    model, = [m for m in api.get("/api/models")["models"] if m["default"]]
    job = api.post("/api/jobs", {"prompt": "", "steps": 1}, 202)
    params = job["params"]
    assert params["model"] == model["name"]
    assert (params["width"], params["height"]) == (model["width"], model["height"])
    assert params["guidance"] == model["guidance"]
    assert params["sampler"] == "Euler a" and params["scheduler"] == "automatic"
    assert 0 <= params["seed"] < 2 ** 32 and params["count"] == 1
    assert api.post("/api/jobs", {"prompt": "", "steps": 1, "seed": -1},
                    202)["params"]["seed"] != params["seed"]
    api.post("/api/jobs", {**TINY, **dict.fromkeys(
        ["model", "guidance", "sampler", "eta", "init_image", "mask", "priority"])}, 202)


def test_all_fields(api):
    fields = {"negative_prompt": "n", "model": "pictor-mini", "guidance": 2.5, "sampler": "Euler",
              "scheduler": "karras", "seed": 2 ** 53 - 10, "count": 2, "eta": 0.5, "rng": "cpu",
              "clip_skip": 2, "subseed": 3, "subseed_strength": 0.25, "format": "jpeg",
              "quality": 50, "preview_every": 1, "tag": "mine", "strength": 0.5,
              "fit": "pad", "fill": "noise", "mask_blur": 2.5, "mask_invert": True,
              "mask_only_area": True, "mask_padding": 8, "hires_width": 128, "hires_height": 128,
              "hires_steps": 1, "hires_strength": 0.5, "hires_upscaler": "Lanczos",
              "guidance_low": 0.5, "guidance_high": 5.5, "guidance_alternate": True,
              "reuse_every": 2, "token_merging": 0.5}
    job = api.done(**fields, priority=3)
    for name, value in fields.items():
        assert job["params"][name] == value, name
    assert job["priority"] == 3 and job["params"]["has_init"] is False
    # With a variation it is the subseed that counts on.
    assert [i["seed"] for i in job["images"]] == [2 ** 53 - 10] * 2


@pytest.mark.parametrize("seed", [6004799503160661, 2 ** 53 + 1, 2 ** 63, 2 ** 64 - 4])
def test_every_digit_of_a_seed(api, seed):
    """As a number or as text, in JSON that is compared as text: Python's own integers are exact."""
    for given in (seed, str(seed)):
        job = api.done(seed=given, subseed=given, steps=1, count=4)
        raw = api.request("GET", "/api/jobs/" + job["id"]).text
        assert f'"seed":{seed},"subseed":{seed},' in raw and "e+" not in raw
        assert [i["seed"] for i in job["images"]] == [seed + i for i in range(4)]
        assert [i["subseed"] for i in job["images"]] == [seed + i for i in range(4)]
        for i, image in enumerate(job["images"]):
            assert f"Seed: {seed + i}," in image["infotext"]
    again = api.post(f"/api/jobs/{job['id']}/retry", status=202)
    assert again["params"]["seed"] == again["params"]["subseed"] == seed
    body = {**TINY, "seed": seed, "steps": 1}
    one, other = (requests.post(api.url + "/sdapi/v1/txt2img", json={**body, "seed": seed + i})
                  .json()["images"] for i in range(2))
    assert one != other


def test_speed_is_a_setting_and_a_field(serve):
    """A job says itself, or the server does; either stands in the job and in the infotext."""
    api = Native(serve("--reuse-every=2", "--token-merging=0.5").url)
    fast, exact = api.done(), api.done(reuse_every=1, token_merging=0)
    assert fast["params"]["reuse_every"] == 2 and fast["params"]["token_merging"] == 0.5
    assert "Token merging ratio: 0.5, Feature reuse: 2," in fast["images"][0]["infotext"]
    assert "Token" not in exact["images"][0]["infotext"]
    pictures = [Image.open(io.BytesIO(api.request("GET", job["images"][0]["url"]).content))
                for job in (fast, exact)]
    assert pictures[0].tobytes() != pictures[1].tobytes()


def test_painting_over(api):
    picture = png(gradient())
    for text in (base64.b64encode(picture).decode(),
                 "data:image/png;base64," + base64.b64encode(picture).decode()):
        job = api.done(init_image=text, mask=text, strength=0.5)
        assert job["params"]["has_init"] and job["params"]["has_mask"]
        assert "init_image" not in job["params"]


@pytest.mark.parametrize("fields, param", [
    ({"prompt": None}, "prompt"), ({"prompt": 5}, "prompt"), ({"stepz": 1}, "stepz"),
    ({"width": 65}, "width"), ({"width": 8}, "width"), ({"height": "64"}, "height"),
    ({"steps": 0}, "steps"), ({"steps": 1.5}, "steps"), ({"count": 0}, "count"),
    ({"count": 1000}, "count"), ({"seed": -2}, "seed"), ({"seed": 2 ** 64}, "seed"), ({"seed": "7x"}, "seed"), ({"seed": 1.5}, "seed"),
    ({"seed": 2 ** 64 - 1, "count": 2}, "seed"), ({"subseed": -2 ** 70}, "subseed"),
    ({"sampler": "nope"}, "sampler"), ({"scheduler": "nope"}, "scheduler"),
    ({"format": "gif"}, "format"), ({"fit": "x"}, "fit"), ({"fill": "x"}, "fill"),
    ({"strength": 2}, "strength"), ({"mask": base64.b64encode(png(gradient())).decode()}, "mask"),
    ({"init_image": "!!!!"}, "init_image"), ({"init_image": "AAAA"}, "init_image"),
    ({"init_image": "http://127.0.0.1/x.png"}, "init_image"), ({"priority": 1000}, "priority"),
    ({"guidance_low": -1}, "guidance_low"), ({"guidance_high": 1001}, "guidance_high"),
    ({"reuse_every": 0}, "reuse_every"), ({"token_merging": 0.91}, "token_merging"),
    ({"token_merging": "x"}, "token_merging"), ({"tag": "x" * 200}, "tag"), ({"hires_width": 128}, "hires_height"),
])
def test_wrong_fields(api, fields, param):
    body = {k: v for k, v in {**TINY, **fields}.items() if k != "prompt" or v is not None}
    error = api.post("/api/jobs", body, 400)
    assert error["code"] == "invalid" and error["param"] == param, error


def test_other_errors(api):
    assert api.post("/api/jobs", {**TINY, "model": "nope"}, 404)["param"] == "model"
    error = api.post("/api/jobs", {**TINY, "width": 4096, "height": 4096}, 413)
    assert error["code"] == "too_large"
    exact = api.post("/api/jobs", {**TINY, "seed": 2 ** 64}, 400)["message"]
    assert str(2 ** 64 - 1) in exact and str(2 ** 64) in exact
    assert "range" in api.answer(api.request("POST", "/api/jobs", data=b'{"prompt":"x","eta":1e999}'),
                                 400)["message"]
    assert api.post("/api/jobs", {**TINY, "prompt": "x" * 200000}, 413)["param"] == "prompt"
    assert api.post("/api/jobs", {**TINY, "prompt": "x " * 17000}, 413)["param"] == "prompt"
    assert api.post("/api/jobs", status=400)["code"] == "invalid"
    for path in ("/api/jobs/x", "/api/jobs/" + "0" * 32, "/api/jobs/..%2f..%2fx", "/api/nope",
                 "/api/images/x", "/api/images/" + "0" * 32, "/api/images/..%2fpictor.db",
                 "/api/jobs/x/events"):
        assert api.get(path, 404)["code"] == "not_found"
    assert api.request("PUT", "/api/jobs").headers["Allow"] == "POST, GET, HEAD"


def test_list(api):
    ids = [api.done(prompt=f"listed {word}")["id"] for word in ("one", "two", "three")]
    page = api.get("/api/jobs?q=listed&limit=2")
    assert [job["id"] for job in page["jobs"]] == ids[:0:-1]
    rest = api.get(f"/api/jobs?q=listed&limit=2&before={page['next']}")
    assert [job["id"] for job in rest["jobs"]] == ids[:1] and rest["next"] is None
    assert api.get("/api/jobs?q=listed%20two")["jobs"][0]["id"] == ids[1]
    assert api.get("/api/jobs?q=100%25_nothing")["jobs"] == []
    assert api.get("/api/jobs?q=" + "l" * 200)["jobs"] == []
    answer = api.request("GET", "/api/jobs?q=" + "l" * 201)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "q"
    assert all(job["state"] == "done" for job in api.get("/api/jobs?state=done")["jobs"])
    assert api.get("/api/jobs?state=failed")["jobs"] == []
    for query, param in (("state=x", "state"), ("limit=0", "limit"), ("limit=201", "limit"),
                         ("limit=x", "limit"), ("before=-1", "before"), ("before=1x", "before")):
        assert api.get("/api/jobs?" + query, 400)["param"] == param


def test_cancel(api):
    running, waiting = api.submit(**LONG), api.submit()
    wait_for(lambda: api.job(running["id"])["state"] == "running")
    assert api.job(waiting["id"])["position"] == 0
    for job in (waiting, running):
        assert api.post(f"/api/jobs/{job['id']}/cancel")["state"] == "cancelled"
        again = api.post(f"/api/jobs/{job['id']}/cancel", status=409)
        assert "already cancelled" in again["message"]
    assert api.post("/api/jobs/" + "0" * 32 + "/cancel", status=404)
    api.done()


def test_interrupt(api):
    job = api.submit(**{**LONG, "count": 1, "width": 512, "height": 512})
    wait_for(lambda: api.job(job["id"])["progress"]["step"] > 0)
    api.post(f"/api/jobs/{job['id']}/interrupt")
    done = api.finish(job)
    assert done["state"] == "done" and len(done["images"]) == 1
    assert api.post(f"/api/jobs/{job['id']}/interrupt", status=409)


def test_retry(api):
    picture = base64.b64encode(png(gradient())).decode()
    first = api.done(init_image=picture, mask=picture, strength=0.5)
    second = api.post(f"/api/jobs/{first['id']}/retry", status=202)
    assert second["id"] != first["id"] and second["params"] == first["params"]
    second = api.finish(second)
    files = [api.request("GET", job["images"][0]["url"]).content for job in (first, second)]
    assert files[0] == files[1]
    api.post("/api/jobs/" + "0" * 32 + "/retry", status=404)


def test_delete(api):
    job = api.submit(**LONG)
    assert "still" in api.answer(api.request("DELETE", "/api/jobs/" + job["id"]), 409)["message"]
    api.stop(job)
    job = api.done()
    response = api.request("DELETE", "/api/jobs/" + job["id"])
    assert response.status_code == 204 and response.content == b""
    api.get("/api/jobs/" + job["id"], 404)
    api.get(job["images"][0]["url"], 404)
    assert api.request("DELETE", "/api/jobs/" + job["id"]).status_code == 404


# ---- pictures ----

def test_picture(api):
    for kind in ("png", "jpeg", "webp"):
        image, = api.done(format=kind)["images"]
        response = api.request("GET", image["url"])
        assert response.headers["Content-Type"] == "image/" + kind
        assert "immutable" in response.headers["Cache-Control"]
        assert len(response.content) == image["bytes"]
        assert Image.open(io.BytesIO(response.content)).size == (64, 64)
        assert "Content-Disposition" not in response.headers
        again = api.request("GET", image["url"],
                            headers={"If-None-Match": response.headers["ETag"]})
        assert again.status_code == 304 and again.content == b""
        saved = api.request("GET", image["url"] + "?download=1").headers["Content-Disposition"]
        assert re.fullmatch(r'attachment; filename="pictor-[0-9a-f]+\.(png|jpg|webp)"', saved)


def test_thumbnails_are_made_once(serve):
    server = serve()
    api = Native(server.url)
    job = api.done(width=768, height=256, steps=1)
    image, = job["images"]
    for _ in range(2):
        answer = api.request("GET", image["url"] + "/thumb")
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "image/webp"
        assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
        small = Image.open(io.BytesIO(answer.content))
        assert small.size == (512, 170) and "parameters" not in small.info
        assert len(answer.content) < image["bytes"] / 4
        file, = server.folder.glob(f"data/thumbs/*/{image['id']}.webp")
        assert file.read_bytes() == answer.content
    again = api.request("GET", image["url"] + "/thumb",
                        headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    assert api.request("GET", f"/api/images/{'0' * 32}/thumb").status_code == 404
    path = f"/api/jobs/{job['id']}/images/{image['id']}"
    assert api.request("DELETE", path + "?now=true").status_code == 204
    assert not file.exists() and not list(server.folder.glob(f"data/images/*/{image['id']}.png"))
    assert api.request("GET", image["url"] + "/thumb").status_code == 404
    assert api.answer(api.request("DELETE", path), 404)["code"] == "not_found"


def test_one_picture_of_several_is_removed(api):
    job = api.done(count=3)
    first, middle, last = job["images"]
    path = f"/api/jobs/{job['id']}/images/"
    assert api.request("DELETE", path + middle["id"]).status_code == 204
    left = api.answer(api.request("GET", "/api/jobs/" + job["id"]), 200)["images"]
    assert left == [first, last]
    assert api.request("GET", middle["url"]).status_code == 404
    running = api.submit(width=256, height=256, steps=150)
    answer = api.request("DELETE", f"/api/jobs/{running['id']}/images/{first['id']}")
    assert "still" in api.answer(answer, 409)["message"]
    api.request("POST", f"/api/jobs/{running['id']}/cancel")


def test_known_picture_is_not_read(serve):
    server = serve()
    api = Native(server.url)
    image, = api.done()["images"]
    etag = api.request("GET", image["url"]).headers["ETag"]
    file, = server.folder.glob(f"data/images/*/{image['id']}.png")
    file.unlink()
    assert api.request("GET", image["url"], headers={"If-None-Match": etag}).status_code == 304
    assert api.request("GET", image["url"]).status_code == 500


# ---- events ----

class Events(threading.Thread):
    """Reads a stream until it ends or `stop` is called."""

    def __init__(self, api, path, last_id=None):
        super().__init__(daemon=True)
        self.found, self.ids, self.ended = [], [], False
        self.connection = http.client.HTTPConnection(api.url.split("//")[1], timeout=60)
        headers = {"Last-Event-ID": last_id} if last_id else {}
        self.connection.request("GET", path, headers={**api.headers, **headers})
        self.socket = self.connection.sock
        self.response = self.connection.getresponse()
        self.status = self.response.status
        if self.status == 200:
            assert self.response.headers["Content-Type"] == "text/event-stream"
            self.start()

    def run(self):
        name = None
        try:
            for line in self.response:
                line = line.decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("id: "):
                    self.ids.append(line[4:])
                elif line.startswith("data: "):
                    self.found.append((name, json.loads(line[6:])))
            self.ended = True
        except (http.client.HTTPException, OSError):
            pass

    def names(self):
        return [name for name, _ in self.found]

    def stop(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.join(10)


def test_events_of_a_job(api):
    blocker = api.submit(**LONG)
    job = api.submit(steps=30, count=2, preview_every=10, width=128, height=128)
    events = Events(api, f"/api/jobs/{job['id']}/events")
    wait_for(lambda: events.found)
    name, snapshot = events.found[0]
    assert name == "job" and check_job(snapshot)["id"] == job["id"]
    api.stop(blocker)
    events.join(300)
    assert events.ended
    name, last = events.found[-1]
    assert name == "job" and check_job(last)["state"] == "done"
    assert {name for name, _ in events.found} == {"job", "progress", "image"}
    steps = [(d["image"], d["step"]) for name, d in events.found if name == "progress"]
    assert steps == sorted(steps) and {d["id"] for _, d in events.found} == {job["id"]}
    previews = [d["preview"] for name, d in events.found if name == "progress" and d["preview"]]
    assert previews
    for preview in previews:
        head, data = preview.split(",")
        assert head == "data:image/jpeg;base64"
        Image.open(io.BytesIO(base64.b64decode(data))).load()
    images = [d for name, d in events.found if name == "image"]
    assert [d["index"] for d in images] == [0, 1]
    assert [d["image"] for d in images] == last["images"]


def test_events_of_a_final_job(api):
    job = api.done()
    events = Events(api, f"/api/jobs/{job['id']}/events")
    events.join(10)
    assert events.ended and events.found == [("job", job)]


def test_events_of_all(api):
    events = Events(api, "/api/events")
    first, second = api.done(), api.done()
    ours = {first["id"], second["id"]}  # a job of the test before may still come to its end
    wait_for(lambda: {d["id"] for name, d in events.found
                      if name == "job" and d["state"] == "done"} >= ours)
    assert "image" in events.names()
    events.stop()


def test_a_stream_goes_on_where_it_was_cut_off(api):
    events = Events(api, "/api/events")
    first = api.done()
    wait_for(lambda: ("job", api.job(first["id"])) in events.found)
    events.stop()
    place, seen = events.ids[-1], len(events.found)
    second = api.done(count=2)
    resumed = Events(api, "/api/events", last_id=place)
    wait_for(lambda: ("job", api.job(second["id"])) in resumed.found)
    assert [d["id"] for name, d in resumed.found if name == "image"] == [second["id"]] * 2
    assert not [d for _, d in resumed.found if d["id"] == first["id"]], "told twice"
    assert "missed" not in resumed.names() and len(set(events.ids)) == seen
    assert not set(events.ids) & set(resumed.ids)
    resumed.stop()


@pytest.mark.parametrize("last_id", ["0", "00000000-1", "\t-end", "x" * 4000, "{run}-999999999999",
                                     "{run}-", "{run}-1x", "{run}-" + "9" * 30])
def test_what_a_stream_has_missed_is_said(api, last_id):
    events = Events(api, "/api/events")
    api.done()
    wait_for(lambda: events.ids)
    events.stop()
    resumed = Events(api, "/api/events", last_id=last_id.format(run=events.ids[0].split("-")[0]))
    wait_for(lambda: resumed.found)
    name, said = resumed.found[0]
    assert name == "missed" and "list the jobs" in said["message"]
    job = api.done()
    wait_for(lambda: ("job", api.job(job["id"])) in resumed.found)
    resumed.stop()


def test_missed_since_a_restart(serve):
    server = serve()
    api = Native(server.url)
    events = Events(api, "/api/events")
    api.done()
    wait_for(lambda: events.ids)
    events.stop()
    server.restart()
    resumed = Events(api, "/api/events", last_id=events.ids[-1])
    wait_for(lambda: resumed.names() == ["missed"])
    resumed.stop()


def test_a_stream_of_a_job_goes_on(api):
    job = api.submit(**LONG)
    path = f"/api/jobs/{job['id']}/events"
    events = Events(api, path)
    wait_for(lambda: "progress" in events.names())
    events.stop()
    resumed = Events(api, path, last_id=events.ids[-1])
    wait_for(lambda: "progress" in resumed.names())
    assert "job" not in resumed.names(), "it was told before"
    api.stop(job)
    resumed.join(10)
    assert resumed.ended and resumed.found[-1][1]["state"] == "cancelled"
    # One that was cut off before the end hears of it; one that has heard of it is to stop asking.
    late = Events(api, path, last_id=events.ids[-1])
    late.join(10)
    assert late.ended and late.found == [("job", api.job(job["id"]))]
    assert Events(api, path, last_id=late.ids[-1]).status == 204
    assert Events(api, path, last_id=resumed.ids[-1]).status == 204


def test_a_key_resumes_its_own(serve):
    server = serve()
    alice, bob = (Native(server.url, server.add_key(name)) for name in ("alice", "bob"))
    events = Events(alice, "/api/events")
    alice.done()
    wait_for(lambda: events.ids)
    events.stop()
    job = alice.done()
    others = Events(bob, "/api/events", last_id=events.ids[0])
    resumed = Events(alice, "/api/events", last_id=events.ids[0])
    wait_for(lambda: ("job", alice.job(job["id"])) in resumed.found)
    assert others.found == []
    for stream in (others, resumed):
        stream.stop()


def test_deleted_jobs_are_told(serve):
    server = serve()
    alice, bob = (Native(server.url, server.add_key(name)) for name in ("alice", "bob"))
    events = [Events(who, "/api/events") for who in (alice, bob)]
    job = alice.done()
    assert alice.request("DELETE", "/api/jobs/" + job["id"]).status_code == 204
    wait_for(lambda: events[0].found[-1:] == [("deleted", {"id": job["id"]})])
    assert events[1].found == [], "another key's job"
    for stream in events:
        stream.stop()


def test_reader_that_leaves_keeps_the_job(api):
    job = api.submit(**LONG)
    events = Events(api, f"/api/jobs/{job['id']}/events")
    wait_for(lambda: "progress" in events.names())
    events.stop()
    time.sleep(1)
    assert api.job(job["id"])["state"] == "running"
    api.stop(job)


def test_ping(api):
    with requests.get(api.url + "/api/events", stream=True, timeout=40) as response:
        # An earlier test's job may still have an event or two; after them it is quiet.
        assert ": ping" in response.iter_lines(decode_unicode=True)


# ---- lists and probes ----

def test_models(api):
    answer = api.get("/api/models")
    assert answer["default"] == "pictor-mini"
    model = answer["models"][0]
    assert list(model) == ["name", "kind", "title", "architecture", "width", "height", "guidance",
                           "steps", "sampler", "scheduler", "flow", "negative_prompt", "guidance_told", "problem",
                           "bytes", "trigger", "description", "base", "weight", "preview", "format", "edits", "loaded", "default"]
    assert model["bytes"] > 1e6 and model["format"] == "built in"
    assert model["name"] == "pictor-mini" and model["kind"] == "local" and model["default"]


def test_info(api):
    info = api.get("/api/info")
    assert re.fullmatch(r"\d+\.\d+\.\d+", info["version"])
    assert {"name": "Euler a", "alias": "k_euler_a", "default_scheduler": "uniform", "flow": True} in info[
        "samplers"]
    assert {"name": "karras", "label": "Karras"} in info["schedulers"]
    assert info["limits"]["max_steps"] == 150 and info["keys_required"] is False
    assert info["defaults"]["sampler"] == "Euler a" and info["examples"]


def test_probes(api):
    for path in ("/healthz", "/health"):
        assert api.request("GET", path).text == "ok\n"
    wait_for(lambda: api.request("GET", "/readyz").status_code == 200)


def test_metrics(api):
    api.done()
    blocker, waiting = api.submit(**LONG), api.submit()
    wait_for(lambda: api.job(blocker["id"])["state"] == "running")
    text = api.request("GET", "/metrics").text
    assert 'pictor_queue_depth{model="pictor-mini"} 1' in text
    assert re.search(r'pictor_queue_oldest_seconds\{model="pictor-mini"\} \d+\.\d{3}\n', text)
    assert 'pictor_jobs{state="queued"} 1\npictor_jobs{state="running"} 1\n' in text
    api.stop(waiting)
    api.stop(blocker)
    text = api.request("GET", "/metrics").text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r'pictor_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? '
                            r'[0-9.e+-]+', line), line
    assert 'pictor_jobs{state="queued"} 0' in lines
    assert re.search(r'pictor_http_requests_total\{api="native",class="2xx"\} [1-9]', text)


# ---- keys ----

def test_keys_see_their_own(serve):
    server = serve()
    alice = Native(server.url, server.add_key("alice"))
    bob = Native(server.url, server.add_key("bob"))
    boss = Native(server.url, server.add_key("boss", "--admin"))
    assert Native(server.url).get("/api/info")["keys_required"] is True
    assert Native(server.url).get("/api/jobs", 401)["code"] == "denied"
    assert Native(server.url, "pk_" + "0" * 64).get("/api/jobs", 401)["code"] == "denied"

    events = [Events(who, "/api/events") for who in (alice, bob, boss)]
    job = alice.done()
    path, picture = "/api/jobs/" + job["id"], job["images"][0]["url"]
    for who, status in ((alice, 200), (bob, 404), (boss, 200)):
        assert who.request("GET", path).status_code == status
        assert who.request("GET", picture).status_code == status
        assert Events(who, path + "/events").status == status
        assert [j["id"] for j in who.get("/api/jobs")["jobs"]] == ([job["id"]] if status == 200
                                                                  else [])
    assert bob.post(path + "/cancel", status=404)
    assert bob.post(path + "/retry", status=404)
    assert bob.request("DELETE", path).status_code == 404
    wait_for(lambda: "image" in events[0].names() and "image" in events[2].names())
    assert events[1].found == []
    for stream in events:
        stream.stop()
    assert boss.request("DELETE", path).status_code == 204
    # Nobody goes before the others without the right to.
    assert alice.post("/api/jobs", {**TINY, "priority": 1}, 403)["param"] == "priority"
    assert alice.done(priority=-1)["priority"] == -1 and boss.done(priority=1)["priority"] == 1


def test_requests_a_minute(serve):
    server = serve("--max-requests-per-minute=2")
    alice, bob = server.add_key("alice"), server.add_key("bob")

    def ask(path, key=alice, body=b"{}"):
        return requests.post(server.url + path, body, timeout=60,
                             headers={"Authorization": f"Bearer {key}"})

    assert ask("/api/jobs", body=b"not json").status_code == 400  # counts as well
    job = ask("/api/jobs", body=json.dumps(TINY).encode())
    assert job.status_code == 202
    for path in ("/api/jobs", f"/api/jobs/{job.json()['id']}/retry", "/v1/images/generations",
                 "/images/edits", "/sdapi/v1/txt2img", "/sdapi/v1/extra-single-image"):
        answer = ask(path)
        assert answer.status_code == 429 and 1 <= int(answer.headers["Retry-After"]) <= 30, path
        error = answer.json()
        if path.startswith("/api"):
            assert error["error"]["code"] == "busy"
        elif path.startswith("/sdapi"):
            assert error["error"] == "HTTPException" and "2 times a minute" in error["detail"]
        else:
            assert error["error"]["type"] == "rate_limit_error"
            assert error["error"]["code"] == "rate_limit_exceeded"
    assert ask(f"/api/jobs/{job.json()['id']}/cancel").status_code in (200, 409)
    assert Native(server.url, alice).get("/api/jobs")["jobs"]
    assert ask("/api/jobs", bob).status_code == 400, "each key by itself"


def test_who_waits_as_told_is_served(serve):
    server = serve("--max-requests-per-minute=60")
    headers = {"Authorization": "Bearer " + server.add_key("alice")}
    for _ in range(200):
        answer = requests.post(server.url + "/api/jobs", b"", headers=headers, timeout=60)
        if answer.status_code == 429:
            break
    assert answer.headers["Retry-After"] == "1"
    time.sleep(1)
    assert requests.post(server.url + "/api/jobs", b"", headers=headers,
                         timeout=60).status_code == 400
