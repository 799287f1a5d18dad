"""Who paints: the list of workers, beside the servers and elsewhere."""
import requests
from conftest import only_sqlite
from processes import TINY, Jobs, until
from test_servers import two  # noqa: F401
from workers import Worker

LONG = {**TINY, "width": 128, "height": 128, "steps": 150}


def listed(server, key=None):
    answer = requests.get(server.url + "/api/workers", timeout=30,
                          headers={"Authorization": f"Bearer {key}"} if key else {})
    assert answer.status_code == 200, answer.text
    return {worker["name"]: worker for worker in answer.json()["workers"]}


def test_beside_and_elsewhere(serve, tmp_path):
    server = serve("--threads=1")
    jobs = Jobs(server.url)
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"
    mine = until(lambda: [w for w in listed(server).values()
                          if w["local"] and w["state"] == "idle" and w["seconds_per_step"]])[0]
    assert mine["warm"] == ["pictor-mini"] and "pictor-mini" in mine["models"]
    assert mine["device"].startswith("cpu ") and mine["cpu"] in mine["device"]
    assert mine["version"] and mine["host"] and mine["memory"] > 0 and mine["key"] is None
    assert {"sd1", "sdxl", "flux1"} <= set(mine["families"])
    first, second = (jobs.submit(**LONG) for _ in range(2))
    jobs.painting(first)
    worker = Worker(tmp_path / "w", server.url, name="far")
    try:
        jobs.painting(second)
        far = until(lambda: listed(server).get("far"))
        both = until(lambda: sorted(w["job"] for w in listed(server).values()) ==
                     sorted([first, second]) and listed(server))
        assert {w["state"] for w in both.values()} == {"painting"}
        assert far["local"] is False and far["job"] == second and far["device"].startswith("cpu ")
        assert far["disk"] == 100 << 30 and abs(far["seen_at"] - far["since"]) < 60000
        for job in first, second:
            jobs.post(job, "interrupt")
            assert jobs.state(job)["state"] == "done"
        far = until(lambda: listed(server)["far"]["state"] == "idle" and
                    listed(server)["far"]["warm"] and listed(server)["far"])
        assert far["warm"] == far["models"] == ["pictor-mini"] and far["job"] is None
        assert far["seconds_per_step"] > 0 and far["seconds_per_megapixel_step"] > 0
        text = requests.get(server.url + "/metrics", timeout=30).text
        assert 'pictor_worker_up{worker="worker:far"} 1' in text
        assert 'pictor_worker_up{worker="local' in text
        assert 'pictor_worker_step_seconds{worker="worker:far"}' in text
        assert 'pictor_jobs_ended_total{worker="worker:far",model="pictor-mini"' in text
    finally:
        worker.stop()
    until(lambda: listed(server)["far"]["state"] == "away")


@only_sqlite
def test_what_a_claim_may_say(serve):
    server = serve("--workers=0")
    boss, mine = server.add_key("boss", "--admin"), server.add_key("w", "--worker")
    assert requests.get(server.url + "/api/workers", timeout=30).status_code == 401
    assert requests.get(server.url + "/api/workers", timeout=30,
                        headers={"Authorization": f"Bearer {mine}"}).status_code == 403

    def claim(status, **more):
        answer = requests.post(server.url + "/api/worker/claim", timeout=30,
                               json={"name": "n", "protocol": 2, **more},
                               headers={"Authorization": f"Bearer {mine}"})
        assert answer.status_code == status, answer.text
        return answer.content and answer.json()["error"]

    for name, wrong in (("files", ["../x"]), ("files", ["A" * 64]), ("files", "x"), ("models", [1]),
                        ("models", ["a\nb"]), ("models", ["x" * 200]), ("models", [""]),
                        ("warm", ["x"] * 513), ("families", {}), ("memory", -1), ("pace", "fast"),
                        ("device", "x" * 128)):
        assert claim(400, **{name: wrong})["param"] == name, name
    assert listed(server, boss) == {}
    claim(204)
    bare = listed(server, boss)["n"]
    assert bare["families"] == bare["models"] == bare["warm"] == [] and bare["device"] is None
    claim(204, models=["a", "<b>"], warm=["a"], device="cpu scalar 1 threads f32", disk=5,
          files=["0" * 64])
    told = listed(server, boss)["n"]
    assert told["models"] == ["a", "<b>"] and told["warm"] == ["a"] and told["cpu"] == "scalar"
    assert told["disk"] == 5 and told["memory"] is None
    keys = requests.get(server.url + "/api/keys", timeout=30,
                        headers={"Authorization": f"Bearer {boss}"}).json()["keys"]
    assert told["key"] == next(key["id"] for key in keys if key["name"] == "w")


def test_each_server_tells_of_all(two, tmp_path):  # noqa: F811
    servers = two("--threads=1")
    a, b = servers.servers
    worker = Worker(tmp_path / "w", a.url, name="far")
    try:
        for server in a, b:
            until(lambda: set(listed(server)) == {"a", "b", "far"})
            far = until(lambda: listed(server)["far"]["state"] == "idle" and listed(server)["far"])
            assert far["device"].startswith("cpu ")
        ids = [servers.b.submit(**LONG) for _ in range(3)]
        until(lambda: {w["state"] for w in listed(b).values()} == {"painting"})
        for server in a, b:
            assert {w["job"] for w in listed(server).values()} == set(ids)
        for job in ids:
            servers.b.post(job, "cancel")
        until(lambda: {w["state"] for w in listed(b).values()} == {"idle"})
    finally:
        worker.stop()
    until(lambda: listed(b)["far"]["state"] == "away")
    a.stop()
    until(lambda: "a" not in listed(b))
    a.start()
    until(lambda: {"a", "b"} <= set(listed(b)))
