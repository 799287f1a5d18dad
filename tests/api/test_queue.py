"""The queue paused, resumed and put in order: docs/api.md."""
import json
import time

from openai_client import wait_for
from test_native import FINAL, Native

NOBODY = "0" * 32


def line(api):
    jobs = api.get("/api/jobs?state=queued")["jobs"]
    return [job["params"]["prompt"] for job in sorted(jobs, key=lambda job: job["position"])]


def move(api, job, status=200, **body):
    return api.post(f"/api/jobs/{job['id']}/move", body, status)


def test_paused_over_a_restart_and_in_the_order_given(serve):
    server = serve()
    api = Native(server.url)
    assert api.get("/api/queue") == {"paused": False, "queued": 0, "running": 0}
    assert api.post("/api/queue/pause") == {"paused": True, "queued": 0, "running": 0}
    a, b, c, d, e = (api.submit(prompt=name) for name in "abcde")
    assert line(api) == list("abcde")
    assert move(api, d)["position"] == 0 and line(api) == list("dabce")
    assert move(api, e, before=b["id"])["position"] == 2 and line(api) == list("daebc")
    assert move(api, d, before=c["id"])["position"] == 3 and line(api) == list("aebdc")
    assert move(api, a, before=None)["position"] == 0
    high = api.submit(prompt="high", priority=50)
    assert line(api) == list("aebdc") + ["high"], "those behind c in no order yet"
    time.sleep(0.3)
    server.restart()
    assert api.get("/api/queue") == {"paused": True, "queued": 6, "running": 0}
    assert line(api) == list("aebdc") + ["high"]
    assert "pictor_queue_paused 1" in api.request("GET", "/metrics").text
    assert move(api, high)["position"] == 0
    time.sleep(0.3)
    assert api.get("/api/queue")["queued"] == 6
    assert api.post("/api/queue/resume")["paused"] is False
    jobs = [api.finish(job) for job in (high, a, e, b, d, c)]
    assert [job["state"] for job in jobs] == ["done"] * 6
    started = [job["started_at"] for job in jobs]
    assert started == sorted(started)


def test_before_what_a_job_was_moved_stays_there(serve):
    api = Native(serve().url)
    api.post("/api/queue/pause")
    first, second, _ = (api.submit(prompt=name) for name in "abc")
    move(api, second, before=first["id"])
    api.submit(prompt="high", priority=50)
    assert line(api) == ["b", "a", "high", "c"]


def test_what_runs_is_painted(serve):
    api = Native(serve().url)
    job = api.submit(width=256, height=256, steps=20)
    wait_for(lambda: api.job(job["id"])["state"] == "running")
    api.post("/api/queue/pause")
    wait_for(lambda: api.job(job["id"])["state"] in FINAL)
    assert api.job(job["id"])["state"] == "done"
    queued = api.submit()
    assert api.post(f"/api/jobs/{queued['id']}/cancel")["state"] == "cancelled"


def test_bad_moves(serve):
    api = Native(serve().url)
    done = api.done()
    api.post("/api/queue/pause")
    a, b = api.submit(), api.submit()
    assert move(api, done, 409)["code"] == "invalid"
    assert move(api, a, 409, before=done["id"])["param"] == "before"
    assert move(api, a, 409, before=a["id"])["param"] == "before"
    assert move(api, {"id": NOBODY}, 404)["code"] == "not_found"
    assert move(api, a, 400, before=NOBODY)["param"] == "before"
    assert move(api, a, 400, before="first")["param"] == "before"
    assert move(api, a, 400, before=7)["param"] == "before"
    assert move(api, a, 400, after=b["id"])["param"] == "after"
    assert api.post(f"/api/jobs/{a['id']}/move", None, 400)["code"] == "invalid"
    assert api.get("/api/queue?all=1", 400)["param"] == "all"
    assert [api.job(job["id"])["position"] for job in (a, b)] == [0, 1]


def test_only_administrators(serve):
    server = serve()
    user, other, boss = (Native(server.url, server.add_key(name, *flags)) for name, flags in (
        ("user", ()), ("other", ()), ("boss", ("--admin",))))
    boss.post("/api/queue/pause")
    jobs = [user.submit(prompt="1"), user.submit(prompt="2"), other.submit(prompt="3")]
    for api, status in ((user, 403), (Native(server.url), 401)):
        for path in ("/api/queue/pause", "/api/queue/resume", f"/api/jobs/{jobs[1]['id']}/move"):
            assert api.request("POST", path, json={}).status_code == status
    assert user.get("/api/queue") == {"paused": True, "queued": 2, "running": 0}
    assert boss.get("/api/queue") == {"paused": True, "queued": 3, "running": 0}
    assert Native(server.url).request("GET", "/api/queue").status_code == 401
    move(boss, jobs[1])
    assert line(boss) == ["2", "1", "3"] or line(boss) == ["2", "3", "1"]
    move(boss, jobs[2], before=jobs[1]["id"])
    assert line(boss) == ["3", "2", "1"]


def test_it_is_told_of(serve):
    server = serve()
    api = Native(server.url)
    user = Native(server.url, server.add_key("user"))
    boss = Native(server.url, server.add_key("boss", "--admin"))
    response = user.request("GET", "/api/events", stream=True)
    lines = response.iter_lines()
    boss.post("/api/queue/pause")

    def told():
        for text in lines:
            if text == b"event: queue":
                return json.loads(next(l for l in lines if l.startswith(b"data: "))[6:])

    assert told() == {"paused": True}
    job = boss.submit()
    move(boss, job)
    assert told() == {"paused": True}
    boss.post("/api/queue/resume")
    assert told() == {"paused": False}
    response.close()
    assert api.request("GET", "/api/events").status_code == 401
