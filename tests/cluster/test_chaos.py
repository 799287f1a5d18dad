"""Two servers, three workers elsewhere, PostgreSQL and a bucket, and what happens to them: servers,
workers and the database are killed, the network between any two is cut or stands still, the bucket
fails or is slow, several at a time. Afterwards every job that was accepted is done exactly once, or
has failed and says why, and none is there that nobody ordered.

CLUSTER_ROUNDS: how many (12); CHAOS_SEED: which, it is printed."""
import base64
import hashlib
import io
import os
import random
import subprocess
import threading
import time

import pytest
import requests
from bucket_server import BucketServer
from conftest import PROGRAM, free_port
from gates import Gate
from PIL import Image
from postgres import Postgres
from processes import FINAL, TINY, until
from program import Program
from workers import Worker

ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "12"))
SEED = int(os.environ.get("CHAOS_SEED", time.time_ns() % 1000000))
CLIENTS, WAITING = 6, 3
SEEDS = (7, 50)
FORBIDDEN = {"missing", "size", "short", "damage", "strange"}


def pixels(data):
    image = Image.open(io.BytesIO(data))
    assert image.size == (64, 64)
    return hashlib.sha256(image.tobytes()).hexdigest()


class Process(Program):
    """A server that is started again when it ends, as a service manager would."""

    def __init__(self, folder, name, database, s3, bucket):
        self.folder = folder / name
        self.folder.mkdir()
        self.port, self.starts = free_port(), 0
        self.url = f"http://127.0.0.1:{self.port}"
        self.place = [f"--data={self.folder / 'data'}", f"--database={database}",
                      *s3.flags(bucket), "--bucket-timeout=3"]
        self.words = ["serve", f"--listen=127.0.0.1:{self.port}", f"--server-name={name}",
                      "--workers=0", "--lease-seconds=3", "--max-attempts=50",
                      "--max-queue-per-key=1000", *self.place]
        self.env = s3.env()
        self.start()

    def start(self):
        self.starts += 1
        self.run([PROGRAM, *self.words], self.env)

    def keep(self):
        if self.process.poll() is not None:
            self.start()

    def ready(self):
        self.keep()
        try:
            return requests.get(self.url + "/readyz", timeout=10).status_code == 200
        except requests.RequestException:
            return False


class Client(threading.Thread):
    """Orders until it hears that the order is accepted, by one server or the other."""

    def __init__(self, servers, seed):
        super().__init__()
        self.servers, self.random, self.seed = servers, random.Random(seed), seed
        self.accepted, self.stop, self.error = {}, threading.Event(), None
        self.left = lambda: 0

    def run(self):
        number = 0
        try:
            while not self.stop.is_set():
                if self.left() >= WAITING:
                    self.stop.wait(0.1)
                    continue
                self.order(number)
                number += 1
        except Exception as error:  # shown by the test
            self.error = error

    def order(self, number):
        asked = {**TINY, "seed": self.random.choice(SEEDS), "count": self.random.choice((1, 1, 2))}
        kind = self.random.choice(("text", "text", "picture"))
        if kind == "picture":
            asked.update(init_image=self.picture, strength=1.0)
        while True:  # also after `stop`: whether the last one was accepted must be known
            server = self.random.choice(self.servers)
            try:
                answer = requests.post(server.url + "/api/jobs", json=asked, timeout=10, headers={
                    "Idempotency-Key": f"{self.seed}-{number}"})
            except requests.RequestException:
                time.sleep(0.1)
                continue
            if answer.status_code in (200, 202):
                self.accepted[answer.json()["id"]] = asked
                return
            assert answer.status_code in (429, 503), answer.text
            assert answer.headers.get("Retry-After"), answer.headers
            time.sleep(0.2)


class Stage:
    """All of it, and what can happen to it."""

    def __init__(self, folder):
        self.database, self.s3 = Postgres(durable=True), BucketServer()
        self.bucket = self.s3.bucket()
        self.address = self.database.create()
        name = self.address.rpartition("/")[2]
        self.to_database = [Gate(("127.0.0.1", self.database.port)) for _ in range(2)]
        self.servers = [Process(folder, n, f"postgresql://pictor@127.0.0.1:{g.port}/{name}",
                                self.s3, self.bucket) for n, g in zip("ab", self.to_database)]
        for server in self.servers:
            until(lambda s=server: self.up(s), 60)
        self.to_servers = [Gate(("127.0.0.1", self.servers[i % 2].port)) for i in range(3)]
        self.workers = [Worker(folder / f"w{i}", gate.url)
                        for i, gate in enumerate(self.to_servers)]

    @staticmethod
    def up(server):
        server.keep()
        try:
            return requests.get(server.url + "/healthz", timeout=5).ok
        except requests.RequestException:
            return False

    def faults(self, rng):
        """Each is a name and what ends it."""
        def server():
            one = rng.choice(self.servers)
            one.kill()
            return f"server {one.folder.name} killed", one.start

        def worker():
            one = rng.choice(self.workers)
            one.kill()
            return f"worker {one.name} killed", one.start

        def database():
            if self.database.process.poll() is None:
                self.database.kill()
            return "database killed", lambda: (self.database.process.poll() is not None
                                               and self.database.start())

        def network():
            gate = rng.choice(self.to_database + self.to_servers)
            mode = rng.choice(("cut", "stall"))
            gate.set(mode)
            return f"gate {(self.to_database + self.to_servers).index(gate)} {mode}", \
                lambda: gate.set("pass")

        def bucket():
            self.s3.break_with = rng.choice([(500, "InternalError"), (503, "SlowDown")])
            share = rng.choice((0.5, 1.0))
            chance = random.Random(rng.random())
            self.s3.breaks = lambda method, path: chance.random() < share
            return f"bucket {self.s3.break_with[0]} x{share}", self.s3.heal

        def slow():
            self.s3.delay = rng.choice((0.5, 5))
            return f"bucket takes {self.s3.delay} s", self.s3.heal

        return rng.sample([server, worker, database, network, network, bucket, slow],
                          rng.choice((1, 1, 2, 3)))

    def all_well(self):
        if self.database.process.poll() is not None:
            self.database.start()
        for gate in self.to_database + self.to_servers:
            gate.set("pass")
        self.s3.heal()
        for server in self.servers:
            until(lambda s=server: s.ready(), 90)

    def rows(self, sql):
        text = self.database.query(self.address, sql)
        return [line.split("|") for line in text.splitlines()]

    def fsck(self, *flags):
        done = subprocess.run([PROGRAM, "fsck", *flags, *self.servers[0].place],
                              capture_output=True, text=True, timeout=300,
                              env={**os.environ, **self.servers[0].env})
        kinds = {line.split()[0] for line in done.stdout.splitlines()[1:-1] if line[0] != " "}
        return done.returncode, kinds, done.stdout + done.stderr

    def close(self):
        for one in self.workers + self.servers:
            if one.process.poll() is None:
                one.kill()
        for gate in self.to_database + self.to_servers:
            gate.close()
        self.s3.close()
        self.database.close()


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    yield made
    made.close()


def picture():
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def test_every_accepted_job_is_done_once(stage):
    print(f"CHAOS_SEED={SEED}")
    rng = random.Random(SEED)
    a = stage.servers[0]
    stage.all_well()
    given = picture()

    def finished(job):
        answer = requests.get(f"{a.url}/api/jobs/{job}", timeout=30)
        return answer.status_code == 200 and answer.json()["state"] in FINAL and answer.json()

    def bytes_of(image):
        answer = requests.get(a.url + image["url"], timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.content

    wanted = {}  # (with a picture, seed) -> what it looks like when nothing happens
    for with_picture in (False, True):
        for seed in SEEDS:
            body = {**TINY, "seed": seed, "count": 2,
                    **({"init_image": given, "strength": 1.0} if with_picture else {})}
            job = requests.post(a.url + "/api/jobs", json=body, timeout=30).json()["id"]
            for image in until(lambda j=job: finished(j))["images"]:
                wanted[with_picture, image["seed"]] = pixels(bytes_of(image))

    clients = [Client(stage.servers, SEED + n) for n in range(CLIENTS)]
    for client in clients:
        client.picture = given
        client.left = lambda: waiting[0] // CLIENTS
    waiting, watching = [0], threading.Event()

    def watch():
        while not watching.wait(0.5):
            try:
                waiting[0] = requests.get(a.url + "/api/queue", timeout=5).json()["queued"]
            except (requests.RequestException, ValueError, KeyError):
                pass

    threading.Thread(target=watch, daemon=True).start()
    for client in clients:
        client.start()
    began = time.monotonic()
    try:
        for n in range(ROUNDS):
            undo = []
            for fault in stage.faults(rng):
                name, end = fault()
                undo.append(end)
                print(f"round {n}: {name}", flush=True)
                time.sleep(rng.random() * 0.3)
            time.sleep(rng.choice((0.2, 1.0, 2.5)) * rng.random())
            rng.shuffle(undo)
            for end in undo:
                end()
                time.sleep(rng.random() * 0.3)
            for one in stage.servers:
                one.keep()
            time.sleep(rng.random() * 0.8)
            assert not any(c.error for c in clients), [c.error for c in clients]
        stage.all_well()
    finally:
        for client in clients:
            client.stop.set()
        stage.all_well()
        for client in clients:
            client.join(120)
        watching.set()
    seconds = time.monotonic() - began
    assert [c.error for c in clients] == [None] * CLIENTS
    accepted = {job: asked for client in clients for job, asked in client.accepted.items()}
    assert accepted
    outcomes, attempts = {}, 0
    for job, asked in accepted.items():
        done = until(lambda j=job: finished(j), 180)
        outcomes[done["state"]] = outcomes.get(done["state"], 0) + 1
        attempts += done["attempts"]
        if done["state"] == "failed":
            assert done["error"]["message"] and done["attempts"] == 50, done
            continue
        assert done["state"] == "done", done
        assert [i["index"] for i in done["images"]] == list(range(asked["count"])), done
        for image in done["images"]:
            assert pixels(bytes_of(image)) == wanted["init_image" in asked, image["seed"]]
    print(f"{len(accepted)} jobs over {ROUNDS} rounds in {seconds:.0f} s: {outcomes}, "
          f"{attempts} attempts")
    there = {row[0] for row in stage.rows("SELECT id FROM jobs")}
    assert len(there) == len(accepted) + len(SEEDS) * 2 and there >= set(accepted), \
        "what nobody ordered"
    assert stage.rows("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')") == [["0"]]
    for one in stage.workers + stage.servers:
        one.stop()
    status, kinds, text = stage.fsck()
    assert not kinds & FORBIDDEN, text
    if status != 0:  # objects whose rows were never written
        stage.fsck("--repair")
        status, _, text = stage.fsck()
    assert status == 0, text
    assert not stage.s3.faults
