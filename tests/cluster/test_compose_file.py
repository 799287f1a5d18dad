"""docker/compose.cluster.yaml, run: two servers behind nginx, three workers, of which one each dies."""
import base64
import io
import json
import os
import random
import re
import threading
import time

import pytest
import requests
from bucket_server import BucketServer
from compose_file import FILE, Cluster
from PIL import Image
from processes import FINAL, TINY, until

DOTENV = {"PICTOR_DB_PASSWORD": "0123456789abcdef", "PICTOR_PROXY_SECRET": "fedcba9876543210"}
# A worker's death shall be noticed within the test, and the machine has other tests to run.
OVERRIDE = {"PICTOR_LEASE_SECONDS": "3", "PICTOR_THREADS": "1"}
CLIENTS, EACH = 3, 4


LONG = pytest.mark.skipif("CLUSTER_KILLS" not in os.environ, reason="of make test-long")


@pytest.fixture(params=["folder", pytest.param("bucket", marks=LONG)])
def cluster(request, tmp_path):
    dotenv, s3 = dict(DOTENV), None
    if request.param == "bucket":
        s3 = BucketServer()
        dotenv.update(PICTOR_BLOBS=s3.flags(s3.bucket())[0].partition("=")[2], **s3.env())
    made = Cluster(tmp_path, dotenv, OVERRIDE)
    yield made
    made.down()
    if s3:
        s3.close()
        assert not s3.faults


def key_of(cluster, *words):
    status, said = cluster.run("server-a", "keys", "add", *words)
    assert status == 0, said
    return re.search(r"pk_[0-9a-f]{64}", said)[0]


def noise(side):
    """A PNG of which nothing can be saved, as a data: URL."""
    out = io.BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(1).randbytes(3 * side * side)).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


class Client(threading.Thread):
    """Asks again with the same Idempotency-Key when it heard nothing, or 502 and the like."""

    def __init__(self, cluster, key, number):
        super().__init__()
        self.cluster, self.number, self.auth = cluster, number, {"Authorization": f"Bearer {key}"}
        self.accepted, self.error = [], None

    def run(self):
        try:
            for i in range(EACH):
                self.accepted.append(self.submit(i))
                time.sleep(0.1)
        except Exception as error:  # shown by the test
            self.error = error

    def submit(self, i):
        body = {**TINY, "seed": self.number * 100 + i, "steps": 6}
        if i == 1:
            body.update(init_image=noise(700), strength=0.5)
            assert len(body["init_image"]) > 1 << 20
        def ask():
            try:
                answer = requests.post(
                    self.cluster.url + "/api/jobs", json=body, timeout=60,
                    headers={**self.auth, "Idempotency-Key": f"order-{self.number}-{i}"})
            except requests.RequestException:
                return None
            assert answer.status_code in (200, 202, 502, 503, 504), answer.text
            return answer.json()["id"] if answer.status_code < 300 else None
        return until(ask, 60)


def test_the_file(tmp_path):
    text = FILE.read_text()
    assert not re.search(r"(PASSWORD|SECRET|KEY): [\"']?[A-Za-z0-9]", text), "secrets are not in it"
    cluster = Cluster.__new__(Cluster)
    cluster.dotenv = {}
    with pytest.raises(KeyError, match="PICTOR_DB_PASSWORD"):
        cluster.read()
    cluster.dotenv = DOTENV
    read = cluster.read()
    services = read["services"]
    assert set(services) == {"database", "server-a", "server-b", "proxy", "worker"}
    assert services["worker"]["deploy"]["replicas"] == 3
    used = {v.split(":")[0] for s in services.values() for v in s["volumes"] if v[0] != "."}
    assert used == set(read["volumes"])
    proxy = services["proxy"]["networks"]["inside"]["ipv4_address"]
    for name in "ab":
        env = services[f"server-{name}"]["environment"]
        assert env["PICTOR_SERVER_NAME"] == name and env["PICTOR_FORWARD_AUTH_PROXIES"] == proxy
    published = [s["ports"] for s in services.values() if "ports" in s]
    assert published == [["127.0.0.1:7860:8080"]], "nginx alone, on this machine alone"


def test_it_runs_and_loses_nothing(cluster):
    cluster.up("server-a", "server-b", "proxy")
    key, admin = key_of(cluster, "somebody"), key_of(cluster, "boss", "--admin")
    cluster.dotenv["PICTOR_WORKER_KEY"] = key_of(cluster, "workers", "--worker")
    cluster.up()
    boss = {"Authorization": f"Bearer {admin}"}
    assert requests.get(cluster.url + "/healthz", timeout=30).ok
    # nginx vouches for nobody, whatever the client claims to be.
    for headers in ({}, {"Remote-User": "boss"}, {"Remote-User": "boss", "X-Pictor-Secret":
                                                  DOTENV["PICTOR_PROXY_SECRET"]}):
        assert requests.get(cluster.url + "/api/jobs", headers=headers,
                            timeout=30).status_code == 401
    heard = []

    def listen():
        while not ended.is_set():
            try:
                with requests.get(cluster.url + "/api/events", headers=boss, stream=True,
                                  timeout=30) as answer:
                    for line in answer.iter_lines(decode_unicode=True):
                        if line.startswith("event: "):
                            heard.append((time.monotonic(), line[7:]))
            except requests.RequestException:
                pass
            time.sleep(0.1)

    ended = threading.Event()
    threading.Thread(target=listen, daemon=True).start()
    clients = [Client(cluster, key, n) for n in range(CLIENTS)]
    for client in clients:
        client.start()

    def running():
        listed = requests.get(cluster.url + "/api/jobs?state=running", headers=boss, timeout=30)
        return len(listed.json()["jobs"]) == 3
    until(running)  # all three paint
    assert "event=job_started" in "".join(cluster.running[f"worker-{i}"].log() for i in range(3))
    cluster.running["server-a"].kill()
    cluster.running["worker-1"].kill()
    for client in clients:
        client.join(120)
    assert [c.error for c in clients] == [None] * CLIENTS
    jobs = [job for client in clients for job in client.accepted]
    assert len(set(jobs)) == CLIENTS * EACH

    def done(job):
        answer = requests.get(f"{cluster.url}/api/jobs/{job}", headers=boss, timeout=30)
        return answer.status_code == 200 and answer.json()["state"] in FINAL and answer.json()
    for job in jobs:
        ended_as = until(lambda j=job: done(j), 120)
        assert ended_as["state"] == "done", ended_as
        (image,) = ended_as["images"]
        picture = requests.get(cluster.url + image["url"], headers=boss, timeout=30)
        assert Image.open(io.BytesIO(picture.content)).size == (64, 64)
    painted = [i for i in range(3) if "outcome=done" in cluster.running[f"worker-{i}"].log()]
    assert {0, 2} <= set(painted), painted
    # An answer that waits, through the server that is left.
    answer = requests.post(cluster.url + "/v1/images/generations", timeout=60, headers=boss,
                           json={"prompt": "a circle", "size": "64x64", "stream": True})
    kinds = re.findall(r"^event: (.*)$", answer.text, re.M)
    assert kinds[-1] == "image_generation.completed", answer.text[:500]
    assert json.loads(answer.text.rsplit("data: ", 1)[1])["b64_json"]
    assert {"job", "progress", "image"} <= {name for _, name in heard}, set(heard)
    # As its restart policy would: it joins the others again.
    cluster.running["server-a"].start()
    cluster.running["worker-1"].start()
    cluster.answers("server-a")
    listed = requests.get(f"http://127.0.0.1:{cluster.ports['server-a']}/api/jobs?limit=100",
                          headers=boss, timeout=30).json()["jobs"]
    assert {job["id"] for job in listed} >= set(jobs) and len(listed) == len(jobs) + 1
    ended.set()
    status, said = cluster.run("server-a", "fsck")
    assert "missing" not in said and "short" not in said and "damage" not in said, said
    assert status == 0 or "orphan" in said, said
