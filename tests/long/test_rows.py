"""A history of 100,000 jobs, and thousands that wait: nothing that a client does takes long."""
import contextlib
import os
import sqlite3
import time

import requests
from processes import TINY, Jobs

ROWS = int(os.environ.get("ROWS", "100000"))
WAITING = ROWS // 20


@contextlib.contextmanager
def within(seconds, what):
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    print(f"{what}: {took:.3f} s")
    assert took < seconds, f"{what} took {took:.2f} s, wanted less than {seconds}"


def get(url, **params):
    answer = requests.get(url, params=params, timeout=60)
    assert answer.status_code == 200, answer.text[:300]
    return answer.json()


def copies(db, table, where, count, **other):
    """`count` copies of one row; `other` columns are SQL over i, the copy's number."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != "sequence"]
    values = ", ".join(other.get(column, column) for column in columns)
    db.execute(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {count}) "
               f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM n, {table} "
               f"WHERE {where}")


def fill(folder, done, queued):
    """As if `done` had been painted ROWS times in the past hours, and `queued` waited often."""
    with contextlib.closing(sqlite3.connect(folder / "data" / "pictor.db")) as db, db:
        copies(db, "jobs", f"id = '{done}'", ROWS, id="printf('%032x', i)",
               prompt="'thing ' || i", created_ms=f"created_ms - ({ROWS} - i) * 100",
               finished_ms=f"finished_ms - ({ROWS} - i) * 100")
        copies(db, "images", f"job_id = '{done}'", ROWS, id="printf('%032x', i)",
               job_id="printf('%032x', i)")
        copies(db, "jobs", f"id = '{queued}'", WAITING, id=f"printf('%032x', i + {ROWS})")
        # What the server's own inserts would have written to the index of the prompts.
        db.execute("INSERT INTO jobs_search (jobs_search) VALUES ('rebuild')")


def test_a_long_history(serve):
    server = serve(f"--max-queue={2 * WAITING}", "--log-level=warn")
    jobs = Jobs(server.url)
    done = jobs.submit(**TINY)
    jobs.state(done)
    # The worker is busy with the first of these two, so that the second waits.
    slow = jobs.submit(**{**TINY, "width": 256, "height": 256, "steps": 150})
    jobs.state(slow, "running")
    queued = jobs.submit(**TINY)
    server.process.kill()
    server.process.wait()
    fill(server.folder, done, queued)

    with within(10, f"start with {ROWS} jobs"):
        server.start()
    with within(1, "newest jobs"):
        page = get(server.url + "/api/jobs", limit=50)
    assert len(page["jobs"]) == 50 and page["next"]
    with within(1, "jobs that are done"):
        page = get(server.url + "/api/jobs", limit=50, state="done")
    newest = page["jobs"][0]
    assert newest["params"]["prompt"] and len(page["jobs"]) == 50
    with within(1, "a page in the middle"):
        middle = get(server.url + "/api/jobs", limit=50, before=ROWS // 2)
    assert len(middle["jobs"]) == 50
    with within(5, "a search that finds one"):
        found = get(server.url + "/api/jobs", q="thing 77")  # and 77, 770..779, ...
    assert found["jobs"]
    with within(5, "a search that finds nothing"):
        assert get(server.url + "/api/jobs", q="nonesuch")["jobs"] == []
    with within(1, "one job"):
        get(f"{server.url}/api/jobs/{ROWS // 3:032x}")
    with within(1, "progress of the WebUI's API"):
        get(server.url + "/sdapi/v1/progress")
    with within(1, "metrics"):
        assert requests.get(server.url + "/metrics", timeout=60).status_code == 200
    with within(1, "accepting a job"):
        last = jobs.submit(**TINY)
    with within(1, "its place in the queue"):
        assert jobs.get(last)["position"] > WAITING / 2
    with within(1, "cancelling the last"):
        assert jobs.post(last, "cancel").status_code == 200
    with within(1, "removing a picture"):
        assert requests.delete(f"{server.url}/api/jobs/{newest['id']}",
                               timeout=60).status_code == 204
    jobs.post(slow, "cancel")
    with within(60, "the next job of that queue"):
        assert jobs.state(queued)["state"] == "done"
