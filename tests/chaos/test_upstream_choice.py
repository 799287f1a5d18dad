"""Which upstream paints: lists of models, their order, limits of pictures and money."""
import json
import time

import pytest
import requests
from processes import TINY, Jobs, until
from test_upstream import KEY, Stub, answer_of, png


@pytest.fixture
def stubs():
    both = [Stub(), Stub()]
    yield both
    for stub in both:
        stub.close()


@pytest.fixture
def front(serve, tmp_path):
    """front({name: lines}) is a server with these upstreams, in this order."""
    def start(upstreams, *more):
        config = tmp_path / "pictor.ini"
        lines = []
        for name, own in upstreams.items():
            lines += [f"[upstream {name}]", f"key = {KEY}", *own]
        config.write_text("\n".join([*lines, *more, ""]))
        server = serve(f"--config={config}")
        return server, Jobs(server.url)
    return start


def paint(jobs, model, **more):
    return jobs.state(jobs.submit(**{**TINY, "model": model, **more}))


def names(server):
    return {m["name"]: m["kind"] for m in
            requests.get(server.url + "/api/models", timeout=30).json()["models"]}


def lists(stub, models, then=None):
    """Answers the list of its models, and pictures (or `then`) to all else."""
    def step(handler):
        if handler.command == "GET":
            return models if isinstance(models, tuple) else (
                200, {}, {"object": "list", "data": [{"id": name} for name in models]})
        return then(handler) if callable(then) else then
    stub.script = [step]


def orders(stub):
    return [json.loads(body) for method, _, _, body in stub.requests if method == "POST"]


def test_models_that_an_upstream_lists(front, stubs):
    stub = stubs[0]
    lists(stub, ["gpt-image-2", "gpt-image-3", "gpt-5", "pictor-mini", "x" * 300, "", 7, "a\nb"])
    server, jobs = front({"cloud": [f"base_url = {stub.url}", "models = own=gpt-image-2, gpt-image-*, "
                                    "pictor*", "list_seconds = 1"]})
    until(lambda: "gpt-image-3" in names(server))
    assert names(server) == {"pictor-mini": "local", "own": "upstream", "gpt-image-2": "upstream",
                             "gpt-image-3": "upstream"}, "what is local keeps its name"
    assert stub.requests[0][:2] == ("GET", "/v1/models")
    assert stub.requests[0][2]["Authorization"] == f"Bearer {KEY}"
    openai = requests.get(server.url + "/v1/models", timeout=30).json()["data"]
    assert {"id": "gpt-image-3", "owned_by": "cloud"}.items() <= next(
        m for m in openai if m["id"] == "gpt-image-3").items()
    assert "gpt-image-3" in [m["model_name"] for m in
                             requests.get(server.url + "/sdapi/v1/sd-models", timeout=30).json()]
    assert paint(jobs, "gpt-image-3")["state"] == "done"
    assert orders(stub)[0]["model"] == "gpt-image-3"
    assert paint(jobs, "pictor-mini")["state"] == "done" and len(orders(stub)) == 1
    lists(stub, ["gpt-image-4"])
    until(lambda: "gpt-image-4" in names(server))
    assert "gpt-image-3" not in names(server)
    refused = requests.post(server.url + "/api/jobs", timeout=30, json={"prompt": "p",
                                                                       "model": "gpt-image-3"})
    assert refused.status_code == 404
    lists(stub, ["gpt-image-3", "gpt-image-4"])
    until(lambda: "gpt-image-3" in names(server))
    assert paint(jobs, "gpt-image-3")["state"] == "done"


def test_checkpoints_that_a_webui_lists(front, stubs):
    stub = stubs[0]
    lists(stub, (200, {}, [{"title": "v1-5.ckpt [0123456789]", "model_name": "v1-5"}]))
    server, _ = front({"gpu": [f"base_url = http://127.0.0.1:{stub.port}", "kind = sdapi",
                               "models = *"]})
    until(lambda: names(server).get("v1-5") == "upstream")
    assert stub.requests[0][1] == "/sdapi/v1/sd-models"


def test_a_dead_upstream_makes_nobody_wait(front, stubs):
    """Its list is the one that it had, also after a restart."""
    stub = stubs[0]
    lists(stub, ["far"])
    server, jobs = front({"cloud": [f"base_url = {stub.url}", "models = *", "list_seconds = 1"]},
                         "[alias]", "near = far")
    until(lambda: "far" in names(server))

    def silent(handler):
        time.sleep(30)
    stub.script = [silent]
    asked = len(stub.requests)
    until(lambda: len(stub.requests) > asked)
    for _ in range(2):
        began = time.monotonic()
        for path in ("/api/models", "/v1/models", "/sdapi/v1/sd-models"):
            assert "far" in requests.get(server.url + path, timeout=30).text
        assert time.monotonic() - began < 2
        server.stop()
        server.start()
    lists(stub, ["far"])
    assert paint(jobs, "near")["state"] == "done"


@pytest.mark.parametrize("answer", [(500, {}, b""), (200, {}, b"<html>"), (200, {}, {"data": 7}),
                                    (302, {"Location": "/x"}, b""), (401, {}, {})])
def test_lists_that_are_none(front, stubs, answer):
    lists(stubs[0], answer)
    server, jobs = front({"cloud": [f"base_url = {stubs[0].url}", "models = *, own"]})
    until(lambda: "upstream_models_unknown" in server.log())
    assert set(names(server)) == {"pictor-mini", "own"}
    assert paint(jobs, "own")["state"] == "done"


def two(stubs, *first, second=()):
    return {"one": [f"base_url = {stubs[0].url}", "models = cloud=a", "max_retries = 0", *first],
            "two": [f"base_url = {stubs[1].url}", "models = cloud=b", "max_retries = 0", *second]}


def test_who_fell_over_waits_no_longer_than_what_comes_later(front, stubs):
    """Its turn is when a place gets free, not when nobody else wants one."""
    server, jobs = front({
        "one": [f"base_url = {stubs[0].url}", "models = cloud=a", "max_retries = 0"],
        "two": [f"base_url = {stubs[1].url}", "models = cloud=b, solo=c", "concurrency = 1"]})
    stubs[0].script = [(500, {}, {"error": {"message": "broken"}})]

    def slow(handler):
        time.sleep(0.4)
        return 200, {}, answer_of(png((1, 2, 3)))
    stubs[1].script = [slow]
    solo = [jobs.submit(**{**TINY, "model": "solo"}) for _ in range(3)]
    until(lambda: stubs[1].requests)
    cloud = jobs.submit(**{**TINY, "model": "cloud"})
    solo += [jobs.submit(**{**TINY, "model": "solo"}) for _ in range(4)]
    assert all(jobs.state(job)["state"] == "done" for job in [*solo, cloud])
    order = [body["model"] for body in orders(stubs[1])]
    assert order.index("b") <= 3, order


@pytest.mark.parametrize("trouble", [
    (500, {}, {"error": {"message": "broken"}}), (401, {}, {"error": {"message": "key"}}),
    (429, {}, {"error": {"message": "later"}}), (404, {}, {"error": {"message": "no such model"}}),
    (503, {"Retry-After": "0"}, b""), "closed"])
def test_the_next_one_takes_over(front, stubs, trouble):
    if trouble == "closed":
        stubs[0].close()
    server, jobs = front(two(stubs))
    stubs[0].script = [trouble]
    stubs[1].script = [(200, {}, answer_of(png((1, 2, 3))))]
    job = paint(jobs, "cloud")
    assert job["state"] == "done" and jobs.picture(job["images"][0]) == png((1, 2, 3))
    assert orders(stubs[1])[0]["model"] == "b"
    assert "event=upstream_fall_over" in server.log()
    if trouble == "closed":
        return
    for _ in range(5):
        assert paint(jobs, "cloud")["state"] == "done"
    assert len(stubs[0].requests) <= (6 if trouble[0] in (404, 429) else 5), "it is left alone"
    stubs[0].script = [None]
    until(lambda: paint(jobs, "cloud")["state"] == "done" and stubs[0].requests
          and len(orders(stubs[0])) >= 6, 20)


def test_what_another_one_would_refuse_too_is_refused(front, stubs):
    _, jobs = front(two(stubs))
    stubs[0].script = [(400, {}, {"error": {"message": "bad words", "code": "moderation_blocked"}})]
    assert "bad words" in paint(jobs, "cloud")["error"]["message"]
    assert stubs[1].requests == []


def test_what_may_have_been_painted_is_not_painted_twice(front, stubs):
    _, jobs = front(two(stubs, "timeout_seconds = 1"))

    def silent(handler):
        time.sleep(3)
        return None
    stubs[0].script = [silent]
    assert paint(jobs, "cloud")["state"] == "failed"
    assert stubs[1].requests == []


def test_all_of_them_fail(front, stubs):
    _, jobs = front(two(stubs))
    for stub, word in zip(stubs, ("first", "second")):
        stub.script = [(500, {}, {"error": {"message": word}})]
    assert "second" in paint(jobs, "cloud")["error"]["message"]
    for _ in range(4):
        paint(jobs, "cloud")
    assert "left alone" in paint(jobs, "cloud")["error"]["message"]


def test_who_is_busy_is_waited_for(front, stubs):
    _, jobs = front(two(stubs, "concurrency = 1", second=("concurrency = 1",)))

    def slow(handler):
        time.sleep(0.5)
        return None
    stubs[0].script = [slow]
    ids = [jobs.submit(**{**TINY, "model": "cloud"}) for _ in range(3)]
    assert all(jobs.state(job)["state"] == "done" for job in ids)
    assert stubs[1].requests == []
    # Those that fall over keep to the next one's limit, too.
    running, most = [0], [0]

    def counted(handler):
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.4)
        running[0] -= 1
        return None
    stubs[0].script, stubs[1].script = [(500, {}, {})], [counted]
    ids = [jobs.submit(**{**TINY, "model": "cloud"}) for _ in range(3)]
    assert all(jobs.state(job)["state"] == "done" for job in ids)
    assert most[0] == 1 and len(stubs[1].requests) == 3


def ask(server, path, body):
    return requests.post(server.url + path, timeout=60, json=body)


def metrics(server):
    text = requests.get(server.url + "/metrics", timeout=30).text
    return {line.split()[0].removeprefix("pictor_upstream_"): float(line.split()[1])
            for line in text.splitlines() if line.startswith("pictor_upstream_") and "{" in line}


@pytest.mark.parametrize("lines, words", [
    (["max_pictures_per_day = 3"], "max_pictures_per_day"),
    (["max_pictures_per_month = 3", "max_pictures_per_day = 9"], "max_pictures_per_month"),
    (["price = 0.1", "max_money_per_day = 0.3"], "max_money_per_day"),
    (["price = 9", "prices = cloud=0.1, other=5", "max_money_per_month = 0.35"],
     "max_money_per_month"),
])
def test_limits(front, stubs, lines, words):
    stub = stubs[0]
    server, jobs = front({"paid": [f"base_url = {stub.url}", "models = cloud=a", *lines]})
    stub.script = [(500, {}, {"error": {"message": "not painted"}}), (200, {}, answer_of(png(), png())),
                   None]
    assert paint(jobs, "cloud")["state"] == "failed", "which costs nothing"
    assert paint(jobs, "cloud", count=2)["state"] == "done"
    assert words in paint(jobs, "cloud", count=2)["error"]["message"]
    figures = metrics(server)
    server.stop()
    server.start()
    assert metrics(server) == figures, "they outlive the server"
    assert figures['pictures{upstream="paid",period="day"}'] == 2
    assert figures['pictures{upstream="paid",period="month"}'] == 2
    assert figures['money{upstream="paid",period="day"}'] == (0.2 if "price" in lines[0] else 0)
    (used,) = requests.get(server.url + "/api/usage", timeout=30).json()["usage"]
    assert (used["jobs"], used["failed"], used["pictures"]) == (3, 2, 2)
    assert used["money"] == pytest.approx(0.2 if "price" in lines[0] else 0)
    kind, period = words.split("_")[1], words.split("_")[3]
    limit = float(next(line for line in lines if words in line).split("=")[1])
    assert figures[f'{kind}_limit{{upstream="paid",period="{period}"}}'] == limit
    assert paint(jobs, "cloud")["state"] == "done"
    error = paint(jobs, "cloud")["error"]
    assert error["upstream"]["status"] == 429 and error["upstream"]["code"] == "insufficient_quota"
    assert 0 < error["upstream"]["retry_after"] <= 32 * 86400
    sent = len(stub.requests)
    answer = ask(server, "/v1/images/generations", {"prompt": "x", "model": "cloud"})
    said = answer.json()["error"]
    assert (answer.status_code, said["type"], said["code"]) == (429, "insufficient_quota",
                                                                "insufficient_quota")
    assert words in said["message"] and answer.headers["x-should-retry"] == "false"
    answer = ask(server, "/sdapi/v1/txt2img", {"prompt": "x", "override_settings": {
        "sd_model_checkpoint": "cloud"}})
    assert answer.status_code == 429 and words in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert len(stub.requests) == sent, "nothing was ordered"
    assert jobs.state(jobs.submit(**TINY))["state"] == "done", "local models cost nothing"


def test_behind_a_limit_comes_the_next_one(front, stubs):
    _, jobs = front(two(stubs, "max_pictures_per_day = 1"))
    for _ in range(3):
        assert paint(jobs, "cloud")["state"] == "done"
    assert (len(stubs[0].requests), len(stubs[1].requests)) == (1, 2)
