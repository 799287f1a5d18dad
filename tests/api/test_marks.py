"""Tags, favourites, what lists are narrowed by, and removal of many: docs/api.md."""
import json
import threading
import time

import pytest
from test_native import Native, check_job

NOBODY = "0" * 32


def many(api, *jobs):
    return {job["id"] for job in api.get("/api/jobs" + (jobs[0] if jobs else ""))["jobs"]}


@pytest.fixture(scope="module")
def marked(serve_module):
    """A server with four jobs of two pictures, which tests mark."""
    server = serve_module()
    api = Native(server.url)
    jobs = [api.done(prompt=f"a {colour} cube", count=2, seed=i)
            for i, colour in enumerate(("red", "green", "blue", "grey"))]
    return server, api, jobs


def mark(api, status=204, **body):
    response = api.request("POST", "/api/marks", json=body)
    assert response.status_code == status, response.text
    return response


def test_marks_stay_and_are_found(marked):
    server, api, jobs = marked
    red, green, blue, grey = jobs
    assert red["favourite"] is False and red["tags"] == []
    assert all(i["favourite"] is False and i["tags"] == [] for i in red["images"])
    mark(api, jobs=[red["id"], green["id"]], add=["cubes", "häuser"], favourite=True)
    mark(api, images=[blue["images"][1]["id"], green["images"][0]["id"]], add=["cubes", "best"])
    mark(api, images=[blue["images"][0]["id"]], favourite=True)
    server.restart()
    red, green, blue, grey = (check_job(api.job(job["id"])) for job in jobs)
    assert red["favourite"] is True and red["tags"] == ["cubes", "häuser"]
    assert blue["favourite"] is False and blue["tags"] == []
    assert [i["favourite"] for i in blue["images"]] == [True, False]
    assert [i["tags"] for i in blue["images"]] == [[], ["best", "cubes"]]
    assert [i["tags"] for i in green["images"]] == [["best", "cubes"], []]
    ids = {job["id"]: name for job, name in zip(jobs, ("red", "green", "blue", "grey"))}

    def found(query):
        return sorted(ids[id] for id in many(api, query))

    assert found("?tag=cubes") == ["blue", "green", "red"]
    assert found("?tag=cubes,best") == ["blue", "green"]
    assert found("?tag=best,h%C3%A4user") == ["green"]
    assert found("?tag=nothing") == []
    assert found("?favourite=true") == ["blue", "green", "red"]
    assert found("?favourite=1&tag=best&q=blue") == ["blue"]
    assert found("?favourite=true&state=done&q=gre") == ["green"]
    assert found("?favourite=true&state=queued") == []
    assert found("?favourite=false") == ["blue", "green", "grey", "red"]
    assert found("?q=ube&model=pictor-mini&tag=cubes,cubes") == ["blue", "green", "red"]
    assert found("?model=other") == []
    page = api.get("/api/jobs?tag=cubes&limit=2")
    assert [ids[job["id"]] for job in page["jobs"]] == ["blue", "green"]
    page = api.get(f"/api/jobs?tag=cubes&limit=2&before={page['next']}")
    assert [ids[job["id"]] for job in page["jobs"]] == ["red"] and page["next"] is None
    assert api.get("/api/tags") == {"tags": [{"tag": "best", "jobs": 2}, {"tag": "cubes", "jobs": 3},
                                             {"tag": "häuser", "jobs": 2}]}
    mark(api, jobs=[red["id"]], remove=["häuser", "never there"], favourite=False)
    red = api.job(red["id"])
    assert red["favourite"] is False and red["tags"] == ["cubes"]
    assert found("?favourite=true") == ["blue", "green"]


def test_dates(marked):
    _, api, jobs = marked
    times = [job["created_at"] for job in jobs]
    all_of = {job["id"] for job in jobs}
    assert times == sorted(times) and times[0] < times[-1]
    assert many(api, f"?since={times[0]}&until={times[-1] + 1}") == all_of
    assert many(api, f"?since={times[1]}") == {j["id"] for j in jobs if j["created_at"] >= times[1]}
    assert many(api, f"?until={times[2]}") == {j["id"] for j in jobs if j["created_at"] < times[2]}
    assert many(api, f"?since={times[1]}&until={times[2]}&q=cube&model=pictor-mini") == {
        j["id"] for j in jobs if times[1] <= j["created_at"] < times[2]}
    assert many(api, f"?since={int(time.time() * 1000) + 10**6}") == set()
    for query, param in (("since=x", "since"), ("until=-1", "until"), ("since=5&until=5", "until"),
                         ("favourite=maybe", "favourite"), ("tag=,", "tag"), ("tag=a,", "tag"),
                         ("tag=" + "x" * 101, "tag"), ("tag=%20a", "tag"), ("tag=a%0A", "tag"),
                         ("tag=" + ",".join(map(str, range(33))), "tag"),
                         ("model=" + "m" * 201, "model"), ("q=" + "q" * 201, "q"),
                         ("tags=a", "tags")):
        assert api.get("/api/jobs?" + query, 400)["param"] == param, query


def test_bad_marks_change_nothing(marked):
    _, api, jobs = marked
    grey = jobs[3]
    id, image = grey["id"], grey["images"][0]["id"]
    for body, param in (
            ({}, "jobs"), ({"jobs": [id]}, None), ({"jobs": id, "add": ["a"]}, "jobs"),
            ({"jobs": [7], "add": ["a"]}, "jobs"), ({"jobs": ["../x"], "add": ["a"]}, "jobs"),
            ({"images": [image.upper()], "favourite": True}, "images"),
            ({"jobs": [id], "add": [""]}, "add"), ({"jobs": [id], "add": ["a,b"]}, "add"),
            ({"jobs": [id], "add": ["a\nb"]}, "add"), ({"jobs": [id], "add": ["x" * 101]}, "add"),
            ({"jobs": [id], "remove": [" a"]}, "remove"), ({"jobs": [id], "add": [None]}, "add"),
            ({"jobs": [id], "favourite": "yes"}, "favourite"),
            ({"jobs": [id], "add": [str(i) for i in range(33)]}, "add"),
            ({"jobs": [id] * 1001, "favourite": True}, "jobs"),
            ({"jobs": [id], "star": True}, "star")):
        response = api.request("POST", "/api/marks", json=body)
        assert response.status_code == 400, (body, response.text)
        assert response.json()["error"]["param"] == param, body
    mark(api, 404, jobs=[id, NOBODY], add=["half"])
    mark(api, 404, jobs=[id], images=[image, NOBODY], favourite=True)
    mark(api, 404, images=[id], add=["half"])
    mark(api, jobs=[id], add=[str(i) for i in range(20)])
    mark(api, 400, jobs=[id], add=[str(i) for i in range(10, 43)][:32])
    job = api.job(id)
    assert len(job["tags"]) == 20 and job["favourite"] is False
    assert job["images"][0]["favourite"] is False and job["images"][0]["tags"] == []
    # a picture's are counted apart from its job's, and a favourite is no tag
    mark(api, images=[image], favourite=True, add=[str(i) for i in range(32)])
    mark(api, 400, images=[image], add=["one more"])
    mark(api, images=[image], favourite=False, remove=[str(i) for i in range(32)])
    mark(api, jobs=[id], remove=[str(i) for i in range(20)])


def test_changes_are_events(marked):
    _, api, jobs = marked
    response = api.request("GET", "/api/events", stream=True)
    mark(api, jobs=[jobs[3]["id"]], images=[jobs[3]["images"][0]["id"]], add=["seen"])
    events = (json.loads(line[6:]) for line in response.iter_lines() if line.startswith(b"data: "))
    event = next(event for event in events if event["tags"])
    response.close()
    assert event["id"] == jobs[3]["id"] and event["tags"] == ["seen"]
    assert event["images"][0]["tags"] == ["seen"]


def test_what_is_removed_takes_its_marks_along(serve):
    api = Native(serve().url)
    one, two = api.done(count=2), api.done()
    running = api.submit(width=256, height=256, steps=150, count=10)
    mark(api, images=[i["id"] for i in one["images"]], add=["gone"])
    mark(api, jobs=[two["id"]], add=["kept"])
    kept, lost = one["images"]
    answer = api.post("/api/delete", {"jobs": [two["id"], running["id"], NOBODY],
                                      "images": [lost["id"], NOBODY]})
    assert answer["jobs"] == [two["id"]] and answer["images"] == [lost["id"]]
    assert [(f["id"], f["code"]) for f in answer["failed"]] == [
        (running["id"], "invalid"), (NOBODY, "not_found"), (NOBODY, "not_found")]
    api.stop(running)
    api.get("/api/jobs/" + two["id"], 404)
    assert [i["id"] for i in api.job(one["id"])["images"]] == [kept["id"]]
    assert api.request("GET", lost["url"]).status_code == 404
    assert api.get("/api/tags") == {"tags": [{"tag": "gone", "jobs": 1}]}
    api.post("/api/delete", {"images": [kept["id"]]})
    assert api.get("/api/tags") == {"tags": []}
    for body, param in (({}, "jobs"), ({"jobs": []}, "jobs"), ({"jobs": ["x"]}, "jobs"),
                        ({"jobs": [one["id"]], "force": True}, "force")):
        assert api.post("/api/delete", body, 400)["param"] == param


def test_a_large_change_is_made_in_pieces(serve):
    """And what is wrong with its end is said before its beginning is changed."""
    server = serve("--max-queue=1000")
    api = Native(server.url)
    api.post("/api/queue/pause")
    ids = [job["id"] for _ in range(2) for job in
           api.post("/api/jobs/batch", {"jobs": [{"prompt": "x"}] * 200}, 202)["jobs"]]
    tags = [f"tag {i:02}" for i in range(32)]
    mark(api, 404, jobs=ids + [NOBODY], add=tags)
    assert api.get("/api/tags") == {"tags": []}
    mark(api, jobs=[ids[-1]], add=["one more"])
    error = mark(api, 400, jobs=ids, add=tags).json()["error"]
    assert "32 tags" in error["message"]
    assert api.get("/api/tags") == {"tags": [{"tag": "one more", "jobs": 1}]}
    longest, done = 0, threading.Event()

    def ask():
        nonlocal longest
        while not done.is_set():
            began = time.monotonic()
            api.post("/api/jobs", {"prompt": "x"}, 202)
            longest = max(longest, time.monotonic() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    began = time.monotonic()
    mark(api, jobs=ids, add=tags, remove=["one more"], favourite=True)
    took = time.monotonic() - began
    done.set()
    asking.join()
    assert {t["jobs"] for t in api.get("/api/tags")["tags"]} == {len(ids)}
    assert len(api.get("/api/tags")["tags"]) == 32
    assert api.get("/api/jobs/" + ids[0])["favourite"] is True
    assert longest < max(0.5, took / 3), "nobody else waits for all of it"


def test_another_key_sees_and_changes_nothing(serve):
    server = serve()
    mine, other, boss = (Native(server.url, server.add_key(name, *flags)) for name, flags in (
        ("mine", ()), ("other", ()), ("boss", ("--admin",))))
    job = mine.done()
    body = {"jobs": [job["id"]], "add": ["secret"], "favourite": True}
    assert other.request("POST", "/api/marks", json=body).status_code == 404
    assert Native(server.url).request("POST", "/api/marks", json=body).status_code == 401
    assert Native(server.url).request("GET", "/api/tags").status_code == 401
    assert Native(server.url).request("POST", "/api/delete", json=body).status_code == 401
    mark(mine, **body)
    assert other.get("/api/tags") == {"tags": []} and many(other, "?tag=secret") == set()
    assert boss.get("/api/tags") == {"tags": [{"tag": "secret", "jobs": 1}]}
    assert many(boss, "?favourite=true") == many(mine, "?tag=secret") == {job["id"]}
    image = job["images"][0]["id"]
    answer = other.post("/api/delete", {"jobs": [job["id"]], "images": [image]})
    assert answer["jobs"] == answer["images"] == []
    assert [f["code"] for f in answer["failed"]] == ["not_found"] * 2
    assert mine.job(job["id"])["images"]
    assert boss.post("/api/delete", {"jobs": [job["id"]]})["jobs"] == [job["id"]]
