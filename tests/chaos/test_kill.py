"""`pictor serve` is killed (SIGKILL) again and again while clients submit jobs: afterwards every job
that was accepted is done exactly once, with the pictures an undisturbed server paints.

CHAOS_KILLS sets how often; the seed of the moments is printed and can be given as CHAOS_SEED."""
import hashlib
import io
import os
import random
import threading
import time

import pytest
import requests
from PIL import Image
from processes import TINY, Jobs, fsck, until

KILLS = int(os.environ.get("CHAOS_KILLS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", time.time_ns() % 1000000))
CLIENTS = 3
WAITING = 6        # jobs a client lets wait, so that the end does not take for ever
PICTURES = (1, 2, 3)
SEEDS = (7, 50)    # few, so that what each must look like is known
FORBIDDEN = {"missing", "size", "short", "damage", "strange"}  # what no crash may leave


def pixels(data):
    """Of the pixels alone: the model's hash in the text is known only a moment after the start."""
    image = Image.open(io.BytesIO(data))
    assert image.size == (64, 64)
    return hashlib.sha256(image.tobytes()).hexdigest()


class Client(threading.Thread):
    """Submits jobs as fast as the server takes them, whatever happens to it."""

    def __init__(self, url, seed):
        super().__init__()
        self.url, self.random = url, random.Random(seed)
        self.accepted = {}  # id -> what was asked
        self.stop = threading.Event()
        self.error = None

    def run(self):
        session = requests.Session()
        try:
            while not self.stop.is_set():
                self.submit(session)
        except Exception as error:  # shown by the test
            self.error = error

    def submit(self, session):
        asked = {**TINY, "seed": self.random.choice(SEEDS), "count": self.random.choice(PICTURES)}
        try:
            queued = session.get(self.url + "/api/jobs?state=queued&limit=50", timeout=10)
            if len(queued.json()["jobs"]) >= WAITING * CLIENTS:
                self.stop.wait(0.05)
                return
            answer = session.post(self.url + "/api/jobs", json=asked, timeout=10)
        except (requests.RequestException, ValueError):
            self.stop.wait(0.01)  # it was just killed; whether the job was accepted is unknown
            return
        assert answer.status_code == 202, answer.text
        self.accepted[answer.json()["id"]] = asked


def test_no_accepted_job_is_lost_or_done_twice(serve):
    print(f"CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    server = serve("--max-attempts=100", "--log-level=warn")
    jobs = Jobs(server.url)

    wanted = {}  # seed -> what an undisturbed server paints
    for seed in SEEDS:
        job = jobs.state(jobs.submit(**{**TINY, "seed": seed, "count": max(PICTURES)}))
        for image in job["images"]:
            wanted[image["seed"]] = pixels(jobs.picture(image))

    clients = [Client(server.url, SEED + n) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    kills = 0
    try:
        # A slow machine accepts little between two kills.
        while kills < KILLS or sum(len(c.accepted) for c in clients) < KILLS / 2:
            time.sleep(chance.choice((0.02, 0.3, 1.5)) * chance.random())
            server.process.kill()
            server.process.wait()
            server.start()
            kills += 1
            assert kills < 20 * KILLS and not any(c.error for c in clients)
    finally:
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join()
    assert [client.error for client in clients] == [None] * CLIENTS
    accepted = {job: asked for client in clients for job, asked in client.accepted.items()}
    print(f"{len(accepted)} jobs accepted over {kills} kills")
    attempts = 0
    for job, asked in accepted.items():
        done = jobs.state(job, seconds=120)
        assert done["state"] == "done", done
        assert [i["index"] for i in done["images"]] == list(range(asked["count"]))
        assert [i["seed"] for i in done["images"]] == [asked["seed"] + n
                                                       for n in range(asked["count"])]
        for image in done["images"]:
            assert pixels(jobs.picture(image)) == wanted[image["seed"]]
        attempts += done["attempts"]
    print(f"{attempts} attempts")

    # Jobs that were accepted without their client hearing of it are done, too: nothing hangs.
    until(lambda: not any(requests.get(f"{server.url}/api/jobs?state={state}", timeout=30)
                          .json()["jobs"] for state in ("queued", "running")), 120)
    server.stop()
    data = server.folder / "data"
    status, kinds, text = fsck(data)
    assert not kinds & FORBIDDEN, text
    # What was killed left files without rows: the next start puts them away.
    time.sleep(2)
    server.start()
    until(lambda: fsck(data)[0] == 0)


def test_jobs_whose_clients_lost_the_server_are_not_painted(serve):
    """Who asked by an open request heard nothing, and asks again. Who was told an id waits."""
    server = serve()
    jobs = Jobs(server.url)
    slow = {"prompt": "p", "steps": 150, "width": 512, "height": 512}
    before = jobs.submit(**slow)

    def ask(path, body):
        with pytest.raises(requests.RequestException):
            requests.post(server.url + path, json=body, timeout=60)
    asked = [threading.Thread(target=ask, args=ask_args) for ask_args in [
        ("/v1/images/generations", {"prompt": "p"}),
        ("/v1/images/generations", {"prompt": "p", "stream": True}),
        ("/sdapi/v1/txt2img", {"prompt": "p"})]]
    for thread in asked:
        thread.start()

    def states():
        listed = requests.get(server.url + "/api/jobs", timeout=30).json()["jobs"]
        return {job["id"]: job["state"] for job in listed}
    until(lambda: len(states()) == 4)
    jobs.painting(before)
    after = jobs.submit(**TINY)
    server.process.kill()
    server.process.wait()
    for thread in asked:
        thread.join()
    server.start()
    found = states()
    assert found[before] in ("queued", "running") and found[after] in ("queued", "running", "done")
    assert sorted(found.values()).count("cancelled") == 3
    assert "jobs_cancelled count=3" in server.log()
    jobs.post(before, "cancel")
    assert jobs.state(after)["state"] == "done"


def test_killed_at_every_moment_of_one_job(serve):
    """One job, killed a little later each time, until it is through."""
    server = serve("--max-attempts=1", "--log-level=warn")
    jobs = Jobs(server.url)
    asked = {**TINY, "count": 4}
    reference = [pixels(jobs.picture(i)) for i in jobs.state(jobs.submit(**asked))["images"]]
    job = jobs.submit(**asked)
    for n in range(200):
        time.sleep(0.02 * n)
        if jobs.get(job)["state"] == "done":
            break
        server.process.kill()
        server.process.wait()
        server.start()
    done = jobs.get(job)
    assert done["state"] == "done" and done["attempts"] == 1, "a server's death is not the job's"
    assert [pixels(jobs.picture(i)) for i in done["images"]] == reference
