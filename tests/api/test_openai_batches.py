"""/v1/batches: files of requests that are painted while nobody waits."""
import io
import json
import time

import pytest
from openai_client import OpenAI, decode, gradient, png, wait_for

BATCHES, URL = "/v1/batches", "/v1/images/generations"
BODY = {"prompt": "a red cube", "size": "64x64", "steps": 2, "seed": 7}
LONG = {"prompt": "x", "size": "512x512", "steps": 150, "n": 10}


def line(id, body=BODY, **fields):
    return {"custom_id": id, "method": "POST", "url": URL, "body": body, **fields}


def upload(ai, lines, purpose="batch"):
    text = "\n".join(item if isinstance(item, str) else json.dumps(item) for item in lines) + "\n"
    return ai.request("POST", "/v1/files", files={"file": ("in.jsonl", text.encode())},
                      data={"purpose": purpose}).json()["id"]


def create(ai, lines, **fields):
    answer = ai.request("POST", BATCHES, json={"input_file_id": upload(ai, lines), "endpoint": URL,
                                               "completion_window": "24h", **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(ai, batch):
    return ai.request("GET", f"{BATCHES}/{batch['id']}").json()


def end(ai, batch):
    final = ("completed", "failed", "expired", "cancelled")
    wait_for(lambda: get(ai, batch)["status"] in final, 120)
    return get(ai, batch)


def lines_of(ai, file):
    text = ai.request("GET", f"/v1/files/{file}/content").text
    return {item["custom_id"]: item for item in map(json.loads, text.splitlines())}


def test_lines_are_not_streamed(ai):
    done = end(ai, create(ai, [line("a", {**BODY, "stream": True}), line("b"),
                               line("c", {**BODY, "partial_images": 2})]))
    assert done["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
    bad = lines_of(ai, done["error_file_id"])
    for id, name in (("a", "stream"), ("c", "partial_images")):
        assert bad[id]["response"]["status_code"] == 400
        assert bad[id]["response"]["body"]["error"]["param"] == name


def test_deleted(ai):
    batch = create(ai, [line("a")])
    done = end(ai, batch)
    path = f"{BATCHES}/{batch['id']}"
    running = create(ai, [line("a", LONG)])
    busy = ai.request("DELETE", f"{BATCHES}/{running['id']}")
    assert busy.status_code == 409 and "cancel" in busy.json()["error"]["message"]
    answer = ai.request("DELETE", path)
    assert answer.status_code == 200
    assert answer.json() == {"id": batch["id"], "object": "batch", "deleted": True}
    assert ai.request("GET", path).status_code == ai.request("DELETE", path).status_code == 404
    assert [b["id"] for b in ai.request("GET", BATCHES).json()["data"]] == [running["id"]]
    assert "a" in lines_of(ai, done["output_file_id"]), "its files are deleted by themselves"
    ai.request("POST", f"{BATCHES}/{running['id']}/cancel")


@pytest.fixture
def ai(serve):
    return OpenAI(serve().url)


def test_a_batch(ai):
    batch = create(ai, [line("a"), "", line("b", {**BODY, "n": 2, "stream": False, "partial_images": 0}),
                        line("c", {**BODY, "model": "dall-e-3"}), line("d", {**BODY, "size": "7x7"}),
                        line("e", {"prompt": ""})], metadata={"for": "tests"})
    assert batch["object"] == "batch" and batch["id"].startswith("batch_")
    assert batch["status"] == "validating" and batch["expires_at"] - batch["created_at"] == 86400
    done = end(ai, batch)
    assert done["status"] == "completed" and done["metadata"] == {"for": "tests"}
    assert done["request_counts"] == {"total": 5, "completed": 3, "failed": 2}
    for name in ("in_progress_at", "finalizing_at", "completed_at"):
        assert done[name] >= batch["created_at"]
    good = lines_of(ai, done["output_file_id"])
    assert list(good) == ["a", "b", "c"]
    for item in good.values():
        assert item["response"]["status_code"] == 200 and item["error"] is None
    plain = ai.answer({**BODY, "n": 2})
    for name in ("data", "size", "quality", "output_format", "usage"):
        assert good["b"]["response"]["body"][name] == plain[name]
    assert good["a"]["response"]["body"]["data"] == plain["data"][:1]
    url = good["c"]["response"]["body"]["data"][0]["url"]
    assert ai.session.get(url).content == decode(plain["data"][0]["b64_json"])[0]
    bad = lines_of(ai, done["error_file_id"])
    assert {id: (item["response"]["status_code"], item["response"]["body"]["error"]["param"])
            for id, item in bad.items()} == {"d": (400, "size"), "e": (400, "prompt")}
    file = ai.request("GET", f"/v1/files/{done['output_file_id']}").json()
    assert file["purpose"] == "batch_output" and file["filename"].endswith("_output.jsonl")


def test_edits(ai):
    image = ai.request("POST", "/v1/files", files={"file": ("a.png", png(gradient()))},
                       data={"purpose": "vision"}).json()["id"]
    body = {**BODY, "images": [{"file_id": image}]}
    batch = create(ai, [line("a", body, url="/v1/images/edits")], endpoint="/v1/images/edits",
                   output_expires_after={"anchor": "created_at", "seconds": 3600})
    done = end(ai, batch)
    item = lines_of(ai, done["output_file_id"])["a"]
    assert item["response"]["body"]["data"] == ai.answer(body, path="/v1/images/edits")["data"]
    assert done["error_file_id"] is None
    file = ai.request("GET", f"/v1/files/{done['output_file_id']}").json()
    assert file["expires_at"] - file["created_at"] == 3600


@pytest.mark.parametrize("lines, code, where", [
    ([], "empty_file", None),
    (["{"], "invalid_json_line", 1),
    ([line("a"), line("a")], "duplicate_custom_id", 2),
    ([line("a", method="GET")], "invalid_method", 1),
    ([line("a", url="/v1/images/edits")], "mismatched_url", 1),
    ([line("a", body=[])], "missing_required_parameter", 1),
    ([line("")], "missing_required_parameter", 1),
])
def test_wrong_files(ai, lines, code, where):
    done = end(ai, create(ai, lines))
    assert done["status"] == "failed" and done["failed_at"]
    [error] = done["errors"]["data"]
    assert (error["code"], error["line"]) == (code, where)


def test_wrong_requests(ai):
    file = upload(ai, [line("a")])
    body = {"input_file_id": file, "endpoint": URL, "completion_window": "24h"}
    for fields, code, param in (
            ({"endpoint": "/v1/chat/completions"}, "invalid_value", "endpoint"),
            ({"endpoint": None}, "missing_required_parameter", "endpoint"),
            ({"completion_window": "1h"}, "invalid_value", "completion_window"),
            ({"input_file_id": "file-x"}, "invalid_value", "input_file_id"),
            ({"input_file_id": 5}, "invalid_type", "input_file_id"),
            ({"input_file_id": upload(ai, [], "vision")}, "invalid_value", "input_file_id"),
            ({"metadata": {"a": 1}}, "invalid_type", "metadata"),
            ({"output_expires_after": {"anchor": "x", "seconds": 3600}}, "invalid_value",
             "output_expires_after.anchor"),
            ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, "invalid_value",
             "output_expires_after.seconds")):
        ai.error(400, code, param, {**body, **fields}, path=BATCHES)
    ai.error(404, None, "id", method="GET", path=BATCHES + "/batch_x")
    ai.error(404, None, "id", path=BATCHES + "/batch_x/cancel")


def test_cancel(ai):
    batch = create(ai, [line("a"), *(line(f"l{i}", LONG) for i in range(6))])
    wait_for(lambda: get(ai, batch)["request_counts"]["completed"] == 1)
    wait_for(lambda: any(j["state"] == "running" for j in ai.request("GET", "/api/jobs").json()["jobs"]))
    assert ai.request("POST", f"{BATCHES}/{batch['id']}/cancel").json()["status"] == "cancelling"
    done = end(ai, batch)
    assert done["status"] == "cancelled" and done["cancelling_at"] and done["cancelled_at"]
    assert list(lines_of(ai, done["output_file_id"])) == ["a"]
    assert len(lines_of(ai, done["error_file_id"])) == 6
    wait_for(lambda: all(j["state"] in ("done", "cancelled")
                         for j in ai.request("GET", "/api/jobs").json()["jobs"]))
    ai.error(400, "invalid_value", None, path=f"{BATCHES}/{batch['id']}/cancel")


def test_it_goes_on_after_a_restart(serve):
    """And no request is painted twice."""
    server = serve()
    ai = OpenAI(server.url)
    batch = create(ai, [line(str(i), {**BODY, "size": "128x128", "steps": 20}) for i in range(8)])
    for n in (1, 4):
        wait_for(lambda: get(ai, batch)["request_counts"]["completed"] >= n)
        server.process.kill()
        server.process.wait()
        server.start()
    done = end(ai, batch)
    assert done["status"] == "completed" and done["request_counts"]["completed"] == 8
    assert len(lines_of(ai, done["output_file_id"])) == 8
    jobs = ai.request("GET", "/api/jobs", params={"limit": 100}).json()["jobs"]
    assert len(jobs) == 8 and {job["state"] for job in jobs} == {"done"}


def test_lists_and_keys(serve):
    server = serve()
    mine, other = (OpenAI(server.url, server.add_key(name)) for name in ("me", "you"))
    batches = [create(mine, [line("a")]) for _ in range(3)]
    ids = [batch["id"] for batch in reversed(batches)]
    page = mine.request("GET", BATCHES, params={"limit": 2}).json()
    assert [batch["id"] for batch in page["data"]] == ids[:2] and page["has_more"]
    assert (page["first_id"], page["last_id"]) == (ids[0], ids[1])
    rest = mine.request("GET", BATCHES, params={"after": ids[1]}).json()
    assert [batch["id"] for batch in rest["data"]] == ids[2:] and not rest["has_more"]
    assert other.request("GET", BATCHES).json()["data"] == []
    other.error(404, None, "id", method="GET", path=f"{BATCHES}/{ids[0]}")
    other.error(404, None, "id", path=f"{BATCHES}/{ids[0]}/cancel")
    assert {end(mine, batch)["status"] for batch in batches} == {"completed"}
    mine.error(400, "invalid_value", "limit", method="GET", path=BATCHES, params={"limit": 0})


def test_a_revoked_keys_batch_ends(serve):
    """Else its lines became jobs for as long as there are some, though each is cancelled."""
    server = serve()
    boss, mine = OpenAI(server.url, server.add_key("boss", "--admin")), OpenAI(server.url, server.add_key("me"))
    batch = create(mine, [line(str(i), LONG) for i in range(100)])
    wait_for(lambda: get(mine, batch)["status"] == "in_progress")
    id = next(k["id"] for k in boss.request("GET", "/api/keys").json()["keys"] if k["name"] == "me")
    assert boss.request("POST", f"/api/keys/{id}/revoke").status_code == 204
    done = end(boss, batch)
    assert done["status"] == "cancelled" and done["request_counts"] == {"total": 100, "completed": 0, "failed": 100}
    jobs = boss.request("GET", "/api/jobs", params={"limit": 100}).json()["jobs"]
    assert len(jobs) < 50
    wait_for(lambda: all(j["state"] == "cancelled" for j in boss.request("GET", "/api/jobs").json()["jobs"]))


def test_one_keys_batches_do_not_hold_up_anothers(serve):
    server = serve()
    mine, other = (OpenAI(server.url, server.add_key(name)) for name in ("me", "you"))
    batches = [create(mine, [line("a", LONG), line("b", LONG)]) for _ in range(5)]
    wait_for(lambda: [get(mine, b)["status"] for b in batches].count("in_progress") == 4)
    late = create(other, [line("a", {"prompt": ""})])
    assert end(other, late)["status"] == "completed"
    assert {get(mine, b)["status"] for b in batches} <= {"in_progress", "validating"}
    for batch in batches:
        mine.request("POST", f"{BATCHES}/{batch['id']}/cancel")
    assert {end(mine, batch)["status"] for batch in batches} == {"cancelled"}
    wait_for(lambda: all(j["state"] in ("done", "cancelled")
                         for j in mine.request("GET", "/api/jobs").json()["jobs"]))
