"""PostgreSQL killed and restarted under servers that work. CLUSTER_KILLS: how often (3)."""
import os
import random
import time

import pytest
import requests
from postgres import Postgres
from processes import TINY, Jobs, until
from test_servers import Two

KILLS = int(os.environ.get("CLUSTER_KILLS", "3"))


@pytest.fixture
def mortal():
    """A PostgreSQL that may be killed."""
    one = Postgres(durable=True)
    yield one
    one.close()


def ready(server):
    return requests.get(server.url + "/readyz", timeout=30).status_code == 200


def test_while_it_is_gone_every_dialect_says_so(mortal, serve):
    server = serve(database=mortal.create())
    until(lambda: ready(server))
    mortal.kill()
    until(lambda: not ready(server), 10)
    answer = requests.get(server.url + "/healthz", timeout=30)
    assert answer.status_code == 200 and "the database cannot be reached" in answer.text
    image = {"prompt": "a circle", "size": "64x64"}
    for path, body, message in (
            ("/api/jobs", TINY, lambda a: a["error"]["message"]),
            ("/v1/images/generations", image, lambda a: a["error"]["message"]),
            ("/sdapi/v1/txt2img", TINY, str)):
        answer = requests.post(server.url + path, json=body, timeout=60)
        assert answer.status_code == 503, (path, answer.text)
        assert "the database cannot be reached" in message(answer.json()), answer.text
        assert "127.0.0.1" not in answer.text, "where it is concerns no client"
    mortal.start()
    until(lambda: ready(server), 30)
    jobs = Jobs(server.url)
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"


def test_none_is_lost_and_none_painted_twice_into_the_history(mortal, tmp_path):
    rng = random.Random(7)
    pair = Two(tmp_path, mortal.create(), "--lease-seconds=5", "--max-attempts=50")
    accepted = []
    try:
        for _ in range(KILLS):
            for _ in range(8):
                jobs = rng.choice([pair.a, pair.b])
                try:
                    answer = requests.post(jobs.url + "/api/jobs", timeout=60, json={
                        **TINY, "steps": rng.randrange(2, 12), "count": rng.randrange(1, 4)})
                except requests.RequestException:
                    continue
                if answer.status_code == 202:
                    accepted.append(answer.json()["id"])
                else:
                    assert answer.status_code == 503, answer.text
                time.sleep(rng.random() * 0.2)
            mortal.kill()
            time.sleep(rng.random())
            mortal.start()
        for server in pair.servers:
            until(lambda s=server: ready(s), 60)
        assert accepted
        for job in accepted:
            ended = pair.a.state(job, seconds=240)
            assert ended["state"] == "done", ended
            assert len(ended["images"]) == ended["params"]["count"]
            for image in ended["images"]:
                assert pair.b.picture(image)
        # What the answer was lost of may have been accepted all the same, and is painted, too.
        until(lambda: requests.get(pair.a.url + "/api/queue",
                                   timeout=30).json()["queued"] == 0, 120)
    finally:
        pair.stop()
    status, said = pair.fsck()
    assert "missing" not in said and "short" not in said and "damage" not in said, said
    assert status == 0 or "orphan" in said, said
