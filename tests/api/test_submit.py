"""Requests that are sent again, and several as one: docs/api.md."""
import base64
import concurrent.futures

import pytest
from openai_client import gradient, png
from test_native import TINY, Native, check_job

NOBODY = "0" * 32


@pytest.fixture(scope="module")
def api(serve_module):
    api = Native(serve_module("--max-queue=40").url)
    api.post("/api/queue/pause")
    return api


def send(api, name, body=None, path="/api/jobs", status=202):
    response = api.request("POST", path, json={**TINY, "seed": -1} if body is None else body,
                           headers={"Idempotency-Key": name})
    assert response.status_code == status, response.text
    return response


def count(api):
    return api.get("/api/queue")["queued"]


# ---- sent again ----

def test_sent_again_is_one_job(api):
    before = count(api)
    first, again = send(api, "one"), send(api, "one")
    job = check_job(first.json())
    assert again.json()["id"] == job["id"] and again.json()["params"] == job["params"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert count(api) == before + 1
    assert send(api, "two").json()["id"] != job["id"]
    error = send(api, "one", {**TINY, "seed": 1}, status=409).json()["error"]
    assert error["code"] == "invalid" and error["param"] == "Idempotency-Key"
    # What was refused is nobody's.
    assert send(api, "three", {**TINY, "width": 7}, status=400).json()["error"]["param"] == "width"
    send(api, "three")
    api.request("POST", f"/api/jobs/{job['id']}/cancel")
    assert send(api, "one").json()["state"] == "cancelled", "as it is now"
    api.request("DELETE", "/api/jobs/" + job["id"])
    send(api, "one", status=404)


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_bad_names(api, name):
    error = send(api, name, status=400).json()["error"]
    assert error["param"] == "Idempotency-Key"
    send(api, "x" * 255)


def test_at_the_same_time(api):
    before = count(api)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = {r.json()["id"] for r in pool.map(lambda _: send(api, "race"), range(8))}
    assert len(ids) == 1 and count(api) == before + 1


def test_retry(api):
    job = send(api, "to retry").json()
    path = f"/api/jobs/{job['id']}/retry"
    copy = send(api, "again", {}, path).json()
    assert copy["id"] != job["id"] and send(api, "again", {}, path).json()["id"] == copy["id"]
    send(api, "again", {}, f"/api/jobs/{copy['id']}/retry", 409)


def test_over_a_restart_and_for_each_key(serve):
    server = serve()
    one, two = (Native(server.url, server.add_key(name)) for name in ("one", "two"))
    job, other = send(one, "n").json(), send(two, "n").json()
    assert job["id"] != other["id"]
    server.restart()
    assert send(one, "n").json()["id"] == job["id"]
    assert send(two, "n").json()["id"] == other["id"]
    send(Native(server.url), "n", status=401)


# ---- several at once ----

def batch(api, jobs, status=202, **headers):
    return api.post("/api/jobs/batch", {"jobs": jobs}, status, headers=headers)


def test_batch(serve):
    server = serve()
    api = Native(server.url)
    source = base64.b64encode(png(gradient(64, 64))).decode()
    jobs = batch(api, [{**TINY, "prompt": "a"}, {**TINY, "prompt": "b", "seed": 2 ** 63 + 1},
                       {**TINY, "prompt": "c", "init_image": source, "strength": 0.5}])["jobs"]
    assert [check_job(job)["params"]["prompt"] for job in jobs] == ["a", "b", "c"]
    assert jobs[1]["params"]["seed"] == 2 ** 63 + 1 and jobs[2]["params"]["has_init"]
    assert [api.finish(job)["state"] for job in jobs] == ["done"] * 3
    assert jobs[0]["id"] in {job["id"] for job in api.get("/api/jobs")["jobs"]}
    once = {"Idempotency-Key": "batch"}
    many = batch(api, [TINY] * 3, **once)["jobs"]
    server.restart()
    assert [j["id"] for j in batch(api, [TINY] * 3, **once)["jobs"]] == [j["id"] for j in many]
    batch(api, [TINY] * 2, 409, **once)
    send(api, "batch", TINY, status=409)


def test_a_batch_of_which_some_were_removed(api):
    name = {"Idempotency-Key": "some are gone"}
    first = batch(api, [TINY, TINY, TINY], **name)["jobs"]
    gone = [first[0]["id"], first[2]["id"]]
    for id in gone:
        api.post(f"/api/jobs/{id}/cancel")
        assert api.request("DELETE", "/api/jobs/" + id).status_code == 204
    again = batch(api, [TINY, TINY, TINY], **name)
    assert [job["id"] for job in again["jobs"]] == [first[1]["id"]] and again["removed"] == gone
    api.post(f"/api/jobs/{first[1]['id']}/cancel")


def test_all_or_none(api):
    before = count(api)
    for jobs, param in (
            ([], "jobs"), ("x", "jobs"), ({}, "jobs"), ([TINY] * 501, "jobs"),
            ([TINY, 7], "jobs[1]"), ([TINY, {**TINY, "width": 7}], "jobs[1].width"),
            ([{**TINY, "size": 7}, TINY], "jobs[0].size"),
            ([TINY, {**TINY, "init_image": "not base64!"}], "jobs[1].init_image"),
            ([TINY, TINY, {**TINY, "seed": "x"}], "jobs[2].seed")):
        assert batch(api, jobs, 400)["param"] == param
    assert api.post("/api/jobs/batch", {"jobs": [TINY], "all": True}, 400)["param"] == "all"
    assert api.post("/api/jobs/batch", {}, 400)["param"] == "jobs"
    assert batch(api, [TINY, {**TINY, "model": "none"}], 404)["param"] == "jobs[1].model"
    assert batch(api, [TINY] * 41, 413)["code"] == "too_large", "there is never room for so many"
    assert batch(api, [TINY] * (41 - before), 429)["code"] == "busy"
    assert count(api) == before
    batch(api, [TINY] * (40 - before))
    batch(api, [TINY], 429)


def test_batch_with_keys(serve):
    server = serve("--max-queue-per-key=3")
    user, boss = Native(server.url, server.add_key("user")), Native(
        server.url, server.add_key("boss", "--admin"))
    boss.post("/api/queue/pause")
    assert batch(user, [TINY, {**TINY, "priority": 5}], 403)["param"] == "jobs[1].priority"
    batch(user, [TINY] * 2)
    assert batch(user, [TINY] * 2, 429)["code"] == "busy"
    batch(user, [TINY])
    assert batch(boss, [{**TINY, "priority": 5}])["jobs"][0]["position"] == 0
    assert Native(server.url).request("POST", "/api/jobs/batch",
                                      json={"jobs": [TINY]}).status_code == 401
