"""What is deleted is there no more, and can be restored for undo_seconds: docs/api.md."""
import json
import subprocess
import threading
import time

import pytest
import requests
from conftest import PROGRAM
from test_native import TINY, Native, wait_for

NOBODY = "0" * 32


@pytest.fixture(scope="module")
def place(serve_module):
    return serve_module("--undo-seconds=600")


@pytest.fixture(scope="module")
def api(place):
    return Native(place.url)


def files(server):
    return sum(path.is_file() for name in ("images", "inputs")
               for path in ((server.folder / "data") / name).rglob("*"))


def nowhere(api, job):
    """In no list, search, tag or link of any dialect."""
    for path in (f"/api/jobs/{job['id']}", f"/v1/responses/resp_{job['id']}"):
        assert api.request("GET", path).status_code == 404
    for query in ("", "?state=done", "?tag=undone", "?favourite=true", "?q=undo", "?model=pictor-mini",
                  "?since=1", "?params=%7B%22steps%22%3A2%7D"):
        assert job["id"] not in [j["id"] for j in api.get("/api/jobs" + query)["jobs"]], query
    assert api.get("/api/tags") == {"tags": []}
    for image in job["images"]:
        for path in (image["url"], image["url"] + "/thumb", f"/v1/images/files/{image['id']}.png"):
            assert api.request("GET", path).status_code == 404, path
    assert api.request("POST", "/api/marks", json={"jobs": [job["id"]], "add": ["x"]}).status_code == 404
    for verb in ("retry", "cancel"):
        assert api.request("POST", f"/api/jobs/{job['id']}/{verb}").status_code == 404


def marked(api, **fields):
    job = api.done(prompt="a red cube to undo", count=2, **fields)
    body = {"jobs": [job["id"]], "images": [job["images"][1]["id"]], "add": ["undone"], "favourite": True}
    assert api.request("POST", "/api/marks", json=body).status_code == 204
    return api.job(job["id"])


def test_a_job_comes_back_as_it_was(place, api):
    before, newer = marked(api), api.done()
    pictures = [api.request("GET", image["url"]).content for image in before["images"]]
    assert api.request("DELETE", f"/api/jobs/{before['id']}").status_code == 204
    nowhere(api, before)
    api.request("DELETE", f"/api/jobs/{before['id']}").status_code == 404
    place.restart()
    nowhere(api, before)
    assert api.post(f"/api/jobs/{before['id']}/restore") == before
    assert api.job(before["id"]) == before
    assert [api.request("GET", image["url"]).content for image in before["images"]] == pictures
    for query in ("?tag=undone", "?favourite=true", "?q=to+undo", "?state=done"):
        ids = [job["id"] for job in api.get("/api/jobs" + query)["jobs"]]
        assert before["id"] in ids
    assert ids.index(newer["id"]) < ids.index(before["id"])  # at its place in the history
    api.post(f"/api/jobs/{before['id']}/restore", status=404)
    assert api.post(f"/api/jobs/{before['id']}/retry", status=202)["params"] == before["params"]
    api.request("DELETE", f"/api/jobs/{before['id']}?now=true")


def test_a_picture_comes_back_by_itself(place, api):
    job = marked(api)
    first, second = job["images"]
    path = f"/api/jobs/{job['id']}"
    assert api.request("DELETE", f"{path}/images/{second['id']}").status_code == 204
    assert [image["id"] for image in api.job(job["id"])["images"]] == [first["id"]]
    assert api.request("GET", second["url"]).status_code == 404
    api.post(f"/api/jobs/{NOBODY}/images/{second['id']}/restore", status=404)
    api.post(f"{path}/images/{first['id']}/restore", status=404)
    # its job goes, too: the picture went before, so it does not come back with that
    assert api.request("DELETE", path).status_code == 204
    assert job["id"] in api.post(f"{path}/images/{second['id']}/restore", status=409)["message"]
    assert [image["id"] for image in api.post(f"{path}/restore")["images"]] == [first["id"]]
    assert api.post(f"{path}/images/{second['id']}/restore") == job
    assert api.request("GET", second["url"]).status_code == 200
    api.request("DELETE", f"{path}?now=true")


def test_gone_now_is_gone(place, api):
    job, other, third = marked(api), api.done(), api.done()
    begin = files(place)
    # one that is there, one that was deleted before, and one of whose pictures was
    assert api.request("DELETE", f"/api/jobs/{other['id']}?now=1").status_code == 204
    assert api.request("DELETE", f"/api/jobs/{job['id']}/images/{job['images'][0]['id']}").status_code == 204
    assert api.request("DELETE", f"/api/jobs/{third['id']}").status_code == 204
    assert files(place) == begin - 1
    for name in (job["id"], third["id"]):
        assert api.request("DELETE", f"/api/jobs/{name}?now=true").status_code == 204
        assert api.request("DELETE", f"/api/jobs/{name}?now=true").status_code == 404
    wait_for(lambda: files(place) == begin - 4)
    for name in (job["id"], third["id"], other["id"]):
        api.post(f"/api/jobs/{name}/restore", status=404)
    job = marked(api)
    image = job["images"][0]["id"]
    assert api.request("DELETE", f"/api/jobs/{job['id']}/images/{image}").status_code == 204
    assert api.request("DELETE", f"/api/jobs/{job['id']}/images/{image}?now=true").status_code == 204
    api.post(f"/api/jobs/{job['id']}/images/{image}/restore", status=404)
    assert api.request("DELETE", f"/api/jobs/{job['id']}?now=true").status_code == 204
    wait_for(lambda: files(place) == begin - 4)
    for text in ("now=maybe", "now=", "now=true&now=true"):
        answer = api.request("DELETE", f"/api/jobs/{job['id']}?{text}")
        assert answer.status_code == 400 and answer.json()["error"]["param"] == "now"


def test_many_at_once(place, api):
    one, two = marked(api), api.done()
    lost = one["images"][0]["id"]
    body = {"jobs": [two["id"], NOBODY], "images": [lost]}
    answer = api.post("/api/delete", body)
    assert (answer["jobs"], answer["images"]) == ([two["id"]], [lost])
    answer = api.post("/api/restore", body)
    assert (answer["jobs"], answer["images"]) == ([two["id"]], [lost])
    assert [(item["id"], item["code"]) for item in answer["failed"]] == [(NOBODY, "not_found")]
    assert api.job(one["id"]) == one and api.job(two["id"]) == two
    api.post("/api/delete", body)
    answer = api.post("/api/delete", {"jobs": [one["id"], two["id"]], "images": [lost], "now": True})
    assert answer["jobs"] == [one["id"], two["id"]]
    assert [item["id"] for item in api.post("/api/restore", body)["failed"]] == [two["id"], NOBODY, lost]
    for wrong, param in (({}, "jobs"), ({"jobs": ["x"]}, "jobs"), ({"jobs": [NOBODY], "now": True}, "now")):
        assert api.post("/api/restore", wrong, 400)["param"] == param
    assert api.post("/api/delete", {"jobs": [NOBODY], "now": "yes"}, 400)["param"] == "now"


def test_restoring_is_an_event(place, api):
    job = api.done()
    seen = []
    response = api.request("GET", "/api/events", stream=True)

    def read():
        try:
            seen.extend(line for line in response.iter_lines() if line.startswith((b"event:", b"data:")))
        except (AttributeError, OSError, requests.RequestException):
            pass  # closed below

    threading.Thread(target=read, daemon=True).start()
    api.request("DELETE", f"/api/jobs/{job['id']}")
    wait_for(lambda: b"event: deleted" in seen)
    api.post(f"/api/jobs/{job['id']}/restore")
    wait_for(lambda: any(line.startswith(b"data:") and json.loads(line[5:]).get("state") == "done"
                         for line in seen[seen.index(b"event: deleted"):]))
    response.close()


def test_keys_have_their_own(serve):
    server = serve()
    boss = Native(server.url, server.add_key("boss", "--admin"))
    mine, other = (Native(server.url, server.add_key(name)) for name in ("mine", "other"))
    job = mine.done()
    assert mine.request("DELETE", f"/api/jobs/{job['id']}").status_code == 204
    other.post(f"/api/jobs/{job['id']}/restore", status=404)
    assert other.request("DELETE", f"/api/jobs/{job['id']}?now=true").status_code == 404
    assert other.post("/api/restore", {"jobs": [job["id"]]})["failed"][0]["code"] == "not_found"
    mine.post(f"/api/jobs/{job['id']}/restore")
    image = job["images"][0]["id"]
    assert boss.request("DELETE", f"/api/jobs/{job['id']}/images/{image}").status_code == 204
    other.post(f"/api/jobs/{job['id']}/images/{image}/restore", status=404)
    assert mine.post(f"/api/jobs/{job['id']}/images/{image}/restore") == job


def test_the_time_ends(serve):
    server = serve("--undo-seconds=2")
    api = Native(server.url)
    assert api.get("/api/info")["limits"]["undo_seconds"] == 2
    job, other = api.done(init_image=None), api.done(count=2)
    image = other["images"][0]["id"]
    api.post("/api/delete", {"jobs": [job["id"]], "images": [image]})
    assert files(server) == 3
    wait_for(lambda: files(server) == 1)
    answer = api.post("/api/restore", {"jobs": [job["id"]], "images": [image]})
    assert [item["code"] for item in answer["failed"]] == ["not_found"] * 2


def test_without_time_deleting_is_final(serve):
    server = serve("--undo-seconds=0")
    api = Native(server.url)
    job = api.done()
    assert api.request("DELETE", f"/api/jobs/{job['id']}").status_code == 204
    wait_for(lambda: files(server) == 0)
    api.post(f"/api/jobs/{job['id']}/restore", status=404)


def test_what_is_aside_fits_its_files(serve):
    """fsck and the search for orphans count it; what is left of its files is found."""
    server = serve()
    api = Native(server.url)
    job, other = api.done(), api.done(count=2)
    api.post("/api/delete", {"jobs": [job["id"]], "images": [other["images"][0]["id"]]})
    server.restart()  # the start looks for files without rows
    time.sleep(1.5)
    assert files(server) == 3
    server.stop()
    fsck = [PROGRAM, "fsck", *server.place()]
    done = subprocess.run(fsck, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    next(((server.folder / "data") / "images").rglob(f"{job['images'][0]['id']}.*")).unlink()
    assert "missing" in subprocess.run(fsck, capture_output=True, text=True, timeout=60).stdout
    subprocess.run([*fsck, "--repair"], capture_output=True, timeout=60, check=False)
    assert subprocess.run(fsck, capture_output=True, timeout=60).returncode == 0
    server.start()
    assert api.post(f"/api/jobs/{job['id']}/restore")["images"] == []
