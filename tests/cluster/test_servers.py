"""Two servers on one database of PostgreSQL and one folder of pictures."""
import json
import subprocess
import threading
import time

import pytest
import requests
from conftest import PROGRAM, Server, shared_postgres
from processes import FINAL, TINY, Jobs, until

LONG = {**TINY, "width": 256, "height": 256, "steps": 150}


class Two:
    """Servers "a" and "b"."""

    def __init__(self, folder, database, *flags):
        self.database = database
        self.data = folder / "data"
        self.servers = []
        for name in "ab":
            own = folder / name
            own.mkdir()
            self.servers.append(Server(own, f"--data={self.data}", f"--server-name={name}",
                                       *flags, database=database))
        self.a, self.b = (Jobs(server.url) for server in self.servers)

    def runner(self, job):
        """The server that has started the job last, and the other one."""
        def found():
            return [i for i, server in enumerate(self.servers)
                    if f"event=job_started job={job} " in server.log()]
        i = until(found)[-1]
        return self.servers[i], self.servers[1 - i]

    def fsck(self):
        done = subprocess.run([PROGRAM, "fsck", f"--data={self.data}",
                               f"--database={self.database}"], capture_output=True, text=True,
                              timeout=120)
        return done.returncode, done.stdout + done.stderr

    def stop(self):
        for server in self.servers:
            server.stop()


@pytest.fixture
def two(tmp_path):
    made = []

    def make(*flags, database=None):
        made.append(Two(tmp_path, database or shared_postgres().create(), *flags))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def events_of(server, job, heard):
    with requests.get(f"{server.url}/api/jobs/{job}/events", stream=True, timeout=120) as answer:
        name = ""
        for line in answer.iter_lines(decode_unicode=True):
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                heard.append((name, json.loads(line[6:])))


def test_the_work_is_shared_and_seen_by_both(two):
    pair = two()
    jobs = [pair.a.submit(**{**TINY, "steps": 10, "seed": i}) for i in range(12)]
    for job in jobs:
        assert pair.b.state(job)["state"] == "done"
    logs = [server.log() for server in pair.servers]
    painted = [[job for job in jobs if f"event=job_started job={job} " in log] for log in logs]
    assert all(painted), "each server has painted some"
    assert sorted(painted[0] + painted[1]) == sorted(jobs), "and none was painted twice"
    lists = [requests.get(server.url + "/api/jobs", timeout=30).json() for server in pair.servers]
    assert lists[0] == lists[1] and len(lists[0]["jobs"]) == 12
    for job in jobs:
        image = pair.b.get(job)["images"][0]
        assert pair.a.picture(image) == pair.b.picture(image)
    status, said = pair.fsck()
    assert status == 0, said


def test_progress_and_the_end_are_heard_on_the_other_server(two):
    pair = two()
    job = pair.a.submit(**{**LONG, "width": 128, "height": 128, "steps": 40})
    runner, other = pair.runner(job)
    heard = []
    listener = threading.Thread(target=events_of, args=(other, job, heard))
    listener.start()
    assert Jobs(other.url).painting(job)["state"] == "running"
    assert Jobs(runner.url).state(job)["state"] == "done"
    listener.join(10)
    assert not listener.is_alive(), "the stream ends with the job"
    assert {"job", "progress", "image"} <= {name for name, _ in heard}
    assert [body["state"] for name, body in heard if name == "job"][-1] == "done"


def test_a_job_is_cancelled_by_the_other_server(two):
    pair = two()
    job = pair.a.submit(**LONG)
    runner, other = pair.runner(job)
    Jobs(runner.url).painting(job)
    began = time.monotonic()
    assert Jobs(other.url).post(job, "cancel").status_code == 200
    until(lambda: f"job={job} outcome=" in runner.log(), 15)
    assert time.monotonic() - began < 10, "within a step, on a machine that has much to do"
    assert Jobs(runner.url).get(job)["state"] == "cancelled"


def test_what_a_server_that_died_ran_is_painted(two):
    pair = two("--lease-seconds=3")
    job = pair.a.submit(**LONG)
    runner, other = pair.runner(job)
    Jobs(runner.url).painting(job)
    runner.process.kill()
    runner.process.wait()
    until(lambda: f"event=job_started job={job} " in other.log(), 30)
    Jobs(other.url).post(job, "interrupt")
    assert Jobs(other.url).state(job)["state"] == "done"
    runner.start()
    assert Jobs(runner.url).get(job)["attempts"] == 2


def test_pausing_and_keys_count_everywhere(two):
    pair = two()
    assert requests.post(pair.servers[0].url + "/api/queue/pause", timeout=30).ok
    until(lambda: requests.get(pair.servers[1].url + "/api/queue", timeout=30).json()["paused"])
    job = pair.b.submit(**TINY)
    time.sleep(1)
    assert pair.a.get(job)["state"] == "queued"
    assert requests.post(pair.servers[1].url + "/api/queue/resume", timeout=30).ok
    assert pair.a.state(job)["state"] == "done"
    key = pair.servers[0].add_key("someone")
    for server in pair.servers:
        assert requests.get(server.url + "/api/jobs", timeout=30).status_code == 401
        assert requests.get(server.url + "/api/jobs", timeout=30,
                            headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_a_repair_is_alone(two):
    pair = two()
    done = subprocess.run([PROGRAM, "fsck", "--repair", f"--data={pair.data}",
                           f"--database={pair.database}"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1 and "in use by another pictor" in done.stderr
    assert FINAL
