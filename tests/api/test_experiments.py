"""Named sweeps that the server keeps: docs/api.md."""
import base64
import concurrent.futures
import csv
import io

import pytest
from openai_client import gradient, png
from test_native import TINY, Native

NOBODY = "0" * 32
SWEEP = {"name": "Cubes", "base": {k: v for k, v in TINY.items() if k != "seed"},
         "axes": [{"field": "prompt", "find": "red", "values": ["red", "blue"]},
                  {"field": "sampler", "values": ["Euler", "Euler a", "Heun"]}]}


def make(api, status=202, **changes):
    return api.post("/api/experiments", {**SWEEP, **changes}, status)


def finish(api, experiment):
    for cell in experiment["cells"]:
        assert api.finish({"id": cell["id"]})["state"] == "done"
    return api.get("/api/experiments/" + experiment["id"])


def pixels(api, cell):
    return [api.request("GET", image["url"]).content for image in cell["images"]]


@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module()


@pytest.fixture(scope="module")
def api(server):
    return Native(server.url)


def test_a_sweep(server, api):
    made = make(api)
    assert (made["name"], made["rerun_of"], made["picks"]) == ("Cubes", None, [])
    assert [cell["values"] for cell in made["cells"]] == [
        [colour, sampler] for colour in ("red", "blue") for sampler in ("Euler", "Euler a", "Heun")]
    seed = made["base"]["seed"]
    jobs = [api.job(cell["id"])["params"] for cell in made["cells"]]
    assert {job["seed"] for job in jobs} == {seed} and len({job["subseed"] for job in jobs}) == 1
    assert jobs[4]["prompt"] == "a blue cube" and jobs[4]["sampler"] == "Euler a"
    server.restart()
    done = finish(api, made)
    assert [cell["state"] for cell in done["cells"]] == ["done"] * 6
    listed = api.get("/api/experiments")["experiments"][0]
    assert listed["id"] == made["id"] and (listed["cells"], listed["picks"]) == (6, 0)
    again = api.post(f"/api/experiments/{made['id']}/rerun", status=202)
    assert again["rerun_of"] == made["id"] and again["id"] != made["id"]
    again = finish(api, again)
    assert [pixels(api, c) for c in again["cells"]] == [pixels(api, c) for c in done["cells"]]
    # What was removed is made from the request that is kept.
    api.post("/api/delete", {"jobs": [done["cells"][0]["id"]]})
    done = api.get("/api/experiments/" + made["id"])
    assert done["cells"][0]["state"] == "removed" and done["cells"][0]["images"] == []
    third = finish(api, api.post(f"/api/experiments/{made['id']}/rerun", status=202))
    assert [pixels(api, c) for c in third["cells"]] == [pixels(api, c) for c in again["cells"]]
    assert api.request("DELETE", "/api/experiments/" + made["id"]).status_code == 204
    api.get("/api/experiments/" + made["id"], 404)
    api.job(done["cells"][1]["id"])


def test_a_long_list(serve):
    """It is read a few records at a time: none is left out or comes twice, newest first."""
    server = serve()
    api = Native(server.url)
    assert api.get("/api/experiments") == {"experiments": []}
    api.post("/api/queue/pause", {})
    axes = [{"field": "sampler", "values": ["Euler"]}]
    ids = []
    for count in range(1, 42):
        ids.insert(0, make(api, name=f"Number {count}", axes=axes)["id"])
        if count in (20, 40, 41):
            listed = api.get("/api/experiments")["experiments"]
            assert sorted(one["id"] for one in listed) == sorted(ids), count
            times = [one["created_at"] for one in listed]
            assert times == sorted(times, reverse=True)


def test_short_texts_do_not_become_endless_ones(api):
    """One place of 60,000 becomes 60,000 bytes each: 3.6 GB, if somebody makes them."""
    axes = [{"field": "prompt", "find": "a", "values": ["b" * 60000, "c"]}]
    refused = make(api, 413, base={**SWEEP["base"], "prompt": "a" * 60000}, axes=axes)
    assert refused["param"] == "prompt" and "60000 places" in refused["message"]
    words = "a red cube, " * 400
    refused = make(api, 413, axes=[{"field": "prompt", "values": [f"{i} {words}"
                                                                  for i in range(60)]}])
    assert "262144" in refused["message"]
    assert api.get("/api/queue")["queued"] == 0


def test_an_axis_of_pictures(api):
    """They stay with the jobs, as those of the base do."""
    pictures = [base64.b64encode(png(image)).decode()
                for image in (gradient(), gradient().rotate(180))]
    made = make(api, axes=[{"field": "init_image", "values": pictures}])
    assert [cell["values"] for cell in made["cells"]] == [["picture 1"], ["picture 2"]]
    done = finish(api, made)
    again = finish(api, api.post(f"/api/experiments/{made['id']}/rerun", status=202))
    assert [pixels(api, c) for c in again["cells"]] == [pixels(api, c) for c in done["cells"]]
    assert len({pixels(api, c)[0] for c in done["cells"]}) == 2
    api.post("/api/delete", {"jobs": [done["cells"][0]["id"]]})
    api.post(f"/api/experiments/{made['id']}/rerun", status=409)


def test_changes_at_the_same_time(api):
    """None undoes another one; none brings back what was removed."""
    made = finish(api, make(api, axes=[{"field": "steps", "values": [1]}]))
    path, pick = "/api/experiments/" + made["id"], made["cells"][0]["images"][0]["id"]
    for k in range(20):
        bodies = [{"name": f"N{k}"}, {"picks": [pick] if k % 2 else []}] * 2
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda body: api.post(path, body), bodies))
        now = api.get(path)
        assert (now["name"], now["picks"]) == (f"N{k}", [pick] if k % 2 else [])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        changes = [pool.submit(api.request, "POST", path, json={"name": "again"})
                   for _ in range(12)]
        api.request("DELETE", path)
    assert {c.result().status_code for c in changes} <= {200, 404}
    api.get(path, 404)


def test_picks_and_exports(api):
    made = finish(api, make(api, name="=sum", base={**SWEEP["base"], "count": 2}, axes=[
        {"field": "prompt", "values": ["=1+1", 'say "hi", red']}, {"field": "guidance",
                                                                   "values": [-0.0, 5.5]}]))
    pick, other = made["cells"][2]["images"][1], made["cells"][0]["images"][0]
    path = "/api/experiments/" + made["id"]
    assert api.post(path, {"picks": [pick["id"], other["id"]]})["picks"] == [pick["id"],
                                                                             other["id"]]
    assert api.post(path, {"name": "New", "picks": [pick["id"]]})["name"] == "New"
    assert api.post(path, {})["picks"] == [pick["id"]]
    stranger = api.done()["images"][0]["id"]
    for body, param in (({"picks": [stranger]}, "picks"), ({"picks": [NOBODY]}, "picks"),
                        ({"picks": pick["id"]}, "picks"), ({"picks": [7]}, "picks"),
                        ({"name": ""}, "name"), ({"name": "x" * 201}, "name"),
                        ({"cells": []}, "cells")):
        assert api.post(path, body, 400)["param"] == param
    assert api.get(path)["picks"] == [pick["id"]]
    exported = api.request("GET", path + "/export?format=csv")
    assert exported.headers["Content-Type"].startswith("text/csv")
    assert "attachment" in exported.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(exported.text)))
    assert len(rows) == 8 and list(rows[0]) == ["cell", "prompt", "guidance", "job", "state",
                                               "image", "seed", "picked"]
    assert rows[0]["prompt"] == "'=1+1" and rows[4]["prompt"] == 'say "hi", red'
    assert [row["image"] for row in rows if row["picked"] == "true"] == [pick["id"]]
    assert rows[2]["guidance"] == "5.5" and int(rows[1]["seed"]) == int(rows[0]["seed"]) + 1
    whole = api.get(path + "/export")
    assert whole == api.get(path + "/export?format=json")
    assert whole["cells"][3]["job"]["params"]["guidance"] == 5.5
    assert api.get(path + "/export?format=xml", 400)["param"] == "format"


def test_with_a_picture(api):
    source = base64.b64encode(png(gradient(64, 64))).decode()
    made = finish(api, make(api, base={**SWEEP["base"], "init_image": source},
                            axes=[{"field": "strength", "values": [0.3, 0.9]}]))
    assert "init_image" not in made["base"]
    path = f"/api/experiments/{made['id']}/rerun"
    again = finish(api, api.post(path, status=202))
    assert [pixels(api, c) for c in again["cells"]] == [pixels(api, c) for c in made["cells"]]
    api.post("/api/delete", {"jobs": [made["cells"][1]["id"]]})
    assert api.post(path, status=409)["code"] == "cancelled"


def test_all_or_nothing(api):
    before = (len(api.get("/api/experiments")["experiments"]),
              len(api.get("/api/jobs?limit=200")["jobs"]))
    axis = SWEEP["axes"][1]
    for changes, param in (
            ({"name": ""}, "name"), ({"name": 7}, "name"), ({"base": []}, "base"),
            ({"axes": []}, "axes"), ({"axes": {}}, "axes"), ({"axes": [axis] * 5}, "axes"),
            ({"axes": [axis, axis]}, "axes[1]"), ({"axes": [7]}, "axes[0]"),
            ({"axes": [{"field": "steps"}]}, "axes[0].values"),
            ({"axes": [{"field": "steps", "values": []}]}, "axes[0]"),
            ({"axes": [{"field": "steps", "values": [1], "step": 1}]}, "axes[0].step"),
            ({"axes": [{"field": "prompt", "find": "green", "values": ["x"]}]}, "axes[0]"),
            ({"axes": [{"field": "prompt", "find": "red", "values": [1]}]}, "axes[0]"),
            ({"axes": [{"field": "steps", "values": list(range(1, 202))}]}, "axes[0]"),
            ({"axes": [{"field": "steps", "values": [1, 2, "x"]}]}, "steps"),
            ({"axes": [{"field": "stpes", "values": [1]}]}, "stpes"),
            ({"axes": [{"field": "width", "values": [64, 7]}]}, "width"),
            ({"base": {**SWEEP["base"], "stpes": 1}}, "stpes"),
            ({"picks": []}, "picks")):
        assert make(api, 400, **changes)["param"] == param, changes
    assert make(api, 404, axes=[{"field": "model", "values": ["pictor-mini", "none"]}])[
        "param"] == "model"
    assert before == (len(api.get("/api/experiments")["experiments"]),
                      len(api.get("/api/jobs?limit=200")["jobs"]))
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", ""), ("POST", "/rerun"),
                         ("GET", "/export")):
        response = api.request(method, f"/api/experiments/{NOBODY}{path}", json={})
        assert response.status_code == 404, (method, path)


def test_seeds_as_an_axis(api):
    made = make(api, axes=[{"field": "seed", "values": [1, 2 ** 64 - 1, "9007199254740993"]}])
    assert [api.job(c["id"])["params"]["seed"] for c in made["cells"]] == [1, 2 ** 64 - 1,
                                                                          2 ** 53 + 1]
    assert made["cells"][1]["values"] == [2 ** 64 - 1]


def test_another_key(serve):
    server = serve("--max-queue-per-key=5")
    user, other, boss = (Native(server.url, server.add_key(name, *flags)) for name, flags in (
        ("user", ()), ("other", ()), ("boss", ("--admin",))))
    assert make(user, 413)["code"] == "too_large"
    made = make(user, axes=SWEEP["axes"][1:])
    path = "/api/experiments/" + made["id"]
    for method, more in (("GET", ""), ("POST", ""), ("DELETE", ""), ("POST", "/rerun"),
                         ("GET", "/export")):
        assert other.request(method, path + more, json={}).status_code == 404
        assert Native(server.url).request(method, path + more, json={}).status_code == 401
    assert other.get("/api/experiments") == {"experiments": []}
    assert boss.get("/api/experiments")["experiments"][0]["id"] == made["id"]
    assert boss.get(path)["cells"][0]["id"] == made["cells"][0]["id"]
    assert make(user, 403, base={**SWEEP["base"], "priority": 3})["param"] == "priority"
    assert make(boss, base={**SWEEP["base"], "priority": 3}, axes=SWEEP["axes"][1:])
