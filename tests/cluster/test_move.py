"""`pictor migrate-store`: the rows of a store into another database, and back."""
import re
import sqlite3
import subprocess
import time

import pytest
import requests
from conftest import PROGRAM, Server, shared_postgres
from processes import TINY, Jobs, until

ROWS = 4000


def move(source, target, data):
    return subprocess.run([PROGRAM, "migrate-store", str(source), str(target), f"--data={data}"],
                          capture_output=True, text=True, timeout=300)


def moved(source, target, data):
    done = move(source, target, data)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: (int(rows), sum_) for name, rows, sum_ in
            re.findall(r"^(\w+) +(\d+)  ([0-9a-f]{16})$", done.stdout, re.M)}


def history(url, key):
    jobs, after = [], ""
    while True:
        page = requests.get(f"{url}/api/jobs?limit=200{after}", timeout=60,
                            headers={"Authorization": f"Bearer {key}"}).json()
        jobs += page["jobs"]
        if not page.get("next"):
            return jobs
        after = f"&before={page['next']}"


@pytest.fixture
def folder(tmp_path):
    """A data folder with a history, a queue, keys and tags."""
    server = Server(tmp_path)
    jobs = Jobs(server.url)
    done = jobs.submit(**{**TINY, "count": 2, "prompt": "a Ünï \"quoted\" circle"})
    assert jobs.state(done)["state"] == "done"
    gone = jobs.submit(**TINY)
    assert jobs.state(gone)["state"] == "done"
    assert requests.delete(f"{server.url}/api/jobs/{gone}", timeout=30).status_code == 204
    (tmp_path / "gone").write_text(gone)
    assert requests.post(server.url + "/api/queue/pause", timeout=30).ok
    jobs.submit(**TINY)
    jobs.submit(**{**TINY, "prompt": "second"})
    key = server.add_key("me", "--admin")
    server.stop()
    return tmp_path / "data", key


def serving(tmp_path, name, data, database=None):
    own = tmp_path / name
    own.mkdir()
    return Server(own, f"--data={data}", database=database)


def test_there_and_back(tmp_path, folder):
    data, key = folder
    with_key = {"Authorization": f"Bearer {key}"}
    server = serving(tmp_path, "before", data)
    before = history(server.url, key)
    server.stop()
    address = shared_postgres().create()
    there = moved(data, address, data)
    assert there["jobs"][0] == 3 and there["images"][0] == 2 and there["keys"][0] == 1
    assert there["jobs_aside"][0] == 1 and there["images_aside"][0] == 1
    again = move(data, address, data)
    assert again.returncode == 1 and "is not empty" in again.stderr

    server = serving(tmp_path, "there", data, address)
    assert history(server.url, key) == before
    picture = before[-1]["images"][0]["url"]
    assert requests.get(server.url + picture, headers=with_key, timeout=30).status_code == 200
    assert requests.post(server.url + "/api/queue/resume", headers=with_key, timeout=30).ok
    until(lambda: all(job["state"] == "done" for job in history(server.url, key)))
    new = requests.post(server.url + "/api/jobs", json=TINY, headers=with_key, timeout=30)
    assert new.status_code == 202, new.text
    until(lambda: history(server.url, key)[0]["state"] == "done")
    after = history(server.url, key)
    assert after[0]["id"] == new.json()["id"] and len(after) == 4
    server.stop()

    for old in data.glob("pictor.db*"):
        old.unlink()
    assert moved(address, data, data)["jobs"][0] == 4
    server = serving(tmp_path, "back", data)
    assert history(server.url, key) == after
    found = requests.get(server.url + "/api/jobs?q=quoted", headers=with_key, timeout=30)
    assert len(found.json()["jobs"]) == 1, "the index of prompts was made anew"
    gone = (tmp_path / "gone").read_text()
    back = requests.post(f"{server.url}/api/jobs/{gone}/restore", headers=with_key, timeout=30)
    assert back.status_code == 200 and len(back.json()["images"]) == 1, back.text
    server.stop()
    assert subprocess.run([PROGRAM, "fsck", f"--data={data}"], timeout=60).returncode == 0


def test_an_interrupted_move_goes_on(tmp_path, folder):
    data, _ = folder
    with sqlite3.connect(data / "pictor.db") as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(jobs)")
                   if row[1] not in ("sequence", "id")]
        names = ", ".join(columns)
        db.execute(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) "
                   f"INSERT INTO jobs (id, {names}) SELECT printf('%032x', i), {names} "
                   "FROM n, (SELECT * FROM jobs WHERE state = 'queued' LIMIT 1)")
    db.close()
    address = shared_postgres().create()
    tool = subprocess.Popen([PROGRAM, "migrate-store", data, address, f"--data={data}"],
                            stdout=subprocess.DEVNULL)
    count = "SELECT count(*) FROM jobs"

    def some():
        try:
            return int(shared_postgres().query(address, count)) > 0
        except subprocess.CalledProcessError: # no table yet
            return False
    until(some)
    tool.kill()
    tool.wait()
    assert int(shared_postgres().query(address, count)) <= ROWS + 3
    time.sleep(0.5)
    refused = subprocess.run([PROGRAM, "serve", "--listen=127.0.0.1:0", f"--data={data}",
                              f"--database={address}"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "migrate-store" in refused.stderr
    assert moved(data, address, data)["jobs"][0] == ROWS + 3


def test_bad_words(tmp_path):
    done = move(tmp_path / "none", shared_postgres().create(), tmp_path)
    assert done.returncode == 1 and "there is no store" in done.stderr
    done = move(tmp_path, "mysql://x/y", tmp_path)
    assert done.returncode == 1
    assert subprocess.run([PROGRAM, "migrate-store"], capture_output=True,
                          timeout=30).returncode == 2
