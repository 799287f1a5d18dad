"""Who paints: the list of workers, beside the servers and elsewhere."""
import hashlib
import shutil
import threading

import pytest
import requests
from conftest import ROOT, shared_postgres
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


BUILTIN = ROOT / "engine" / "builtin" / "pictor-mini.safetensors"


def ask(server, name, wait=0, **about):
    """The model of the job that such a worker gets, and the job; None, None: none."""
    answer = requests.post(server.url + "/api/worker/claim", timeout=60,
                           json={"name": name, "protocol": 2, "wait": wait, **about})
    if answer.status_code == 204 or not answer.content:
        return None, None
    order = answer.json()
    return order["generate"]["model"]["name"], order["job"]


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_claims_go_by_what_a_worker_has(serve, tmp_path, store):
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(BUILTIN, models / "copy.safetensors")
    sha256 = hashlib.sha256(BUILTIN.read_bytes()).hexdigest()
    server = serve("--workers=0", f"--models={models}",
                   database=shared_postgres().create() if store == "postgresql" else None)
    jobs = Jobs(server.url)
    mini, copy = ({**TINY, "model": name} for name in ("pictor-mini", "copy"))
    known = jobs.submit(**copy)
    until(lambda: ask(server, "x")[1] == known)
    ask(server, "b", files=[sha256])
    until(lambda: "copy" in listed(server)["b"]["models"])  # by what was read of it

    def two():
        return jobs.submit(**mini), jobs.submit(**copy)

    first, second = two()
    assert ask(server, "a", warm=["copy"]) == ("copy", second)
    assert ask(server, "a", warm=["copy"]) == ("pictor-mini", first)
    first, second = two()
    assert ask(server, "b", warm=["pictor-mini"], models=["copy"]) == ("pictor-mini", first)
    first = jobs.submit(**mini)
    assert ask(server, "b", models=["copy"]) == ("copy", second)
    assert ask(server, "b", models=["copy"]) == ("pictor-mini", first)
    first, second = two()
    assert ask(server, "c") == ("pictor-mini", first)
    assert ask(server, "c", families=["sdxl"]) == (None, None)
    assert ask(server, "c", memory=1e6) == (None, None)
    assert ask(server, "c", disk=1e6) == (None, None)
    assert "waiting_for" not in jobs.get(second)  # the others, of whom nothing is known, could
    assert ask(server, "c", disk=1e9, memory=1e9, families=["sd1", "pixels"])[1] == second
    # What another one waits for who has it in memory is left to him.
    got = []
    waits = threading.Thread(target=lambda: got.append(ask(server, "d", 20, warm=["copy"])))
    waits.start()
    until(lambda: listed(server).get("d", {}).get("state") == "idle")
    second = jobs.submit(**copy)
    assert ask(server, "e") == (None, None)
    waits.join()
    assert got == [("copy", second)]
