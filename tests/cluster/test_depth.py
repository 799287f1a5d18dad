"""What PostgreSQL knows of all that waits without looking at it."""
import subprocess

import postgres
import pytest
from test_native import Native

from conftest import ROOT, shared_postgres

COUNTED = ("SELECT key_id, model, queued, pictures, work, money FROM backlog WHERE queued > 0 "
           "ORDER BY 1, 2")
ASKED = ("SELECT key_id, model, count(*), sum(count), sum(work), sum(money) FROM jobs "
         "WHERE state = 'queued' GROUP BY 1, 2 ORDER BY 1, 2")
MORE = ("INSERT INTO jobs (id, key_id, priority, model, prompt, count, params, created_ms) SELECT "
        "lpad(to_hex(n), 32, '0'), key_id, 0, model, prompt, 1, params, created_ms FROM jobs, "
        "generate_series(1, 1500) AS n WHERE id = '{}'")


@pytest.fixture
def waiting(serve):
    """A server that paints nothing, and a way to ask its database."""
    address = shared_postgres().create()
    server = serve("--workers=0", "--max-queue=10000", "--max-queue-per-key=10000", database=address)
    return Native(server.url), lambda sql: shared_postgres().query(address, sql), server


def test_what_waits_is_counted(waiting):
    native, ask, _ = waiting
    jobs = [native.submit(count=n, width=64 * n, steps=3) for n in (1, 2, 3, 4)]
    assert ask(COUNTED) == ask(ASKED) and "|4|10|" in ask(COUNTED)
    native.post(f"/api/jobs/{jobs[1]['id']}/cancel")
    ask(f"UPDATE jobs SET state = 'running', money = 7, lease_until = "
        f"pictor_now() + 600000 WHERE id = '{jobs[2]['id']}'")
    assert ask(COUNTED) == ask(ASKED) and "|2|5|" in ask(COUNTED)
    ask(f"UPDATE jobs SET state = 'queued' WHERE id = '{jobs[2]['id']}'")
    ask(f"DELETE FROM jobs WHERE id = '{jobs[0]['id']}'")
    assert ask(COUNTED) == ask(ASKED) and ask(COUNTED).endswith("|7")


def test_who_is_far_behind_is_told_so(waiting):
    native, ask, server = waiting
    first = native.submit()
    ask(MORE.format(first["id"]))
    last = native.submit()
    assert native.get(f"/api/jobs/{first['id']}")["position"] == 0
    assert native.get(f"/api/jobs/{last['id']}")["position"] == 1000
    # And a server that starts looks for nothing among them.
    ask("UPDATE jobs SET id = 'no id' WHERE id = lpad('5', 32, '0')")
    server.restart()
    assert "event=jobs_damaged count=1" in server.log()
    assert ask("SELECT state FROM jobs WHERE id = 'no id'") == "failed"
    assert ask("SET enable_seqscan = off; EXPLAIN UPDATE jobs SET state = 'failed' WHERE state IN "
               "('queued', 'running') AND id !~ '^[0-9a-f]{32}$'").find("jobs_nameless") > 0


def test_a_migration_gives_way(serve):
    """Whoever holds one table and then wants another is not in its way, nor it in his."""
    address = shared_postgres().create()
    files = sorted((ROOT / "migrations/postgresql").glob("*.sql"))
    for sql in (*(file.read_text() for file in files[:3]),
                "CREATE TABLE pictor_schema (version integer NOT NULL)",
                "INSERT INTO pictor_schema VALUES (3)"):
        shared_postgres().query(address, sql)
    slow = subprocess.Popen([postgres.program("psql"), "-X", "-v", "ON_ERROR_STOP=1", "-d", address,
                             "-c", "BEGIN", "-c", "SELECT * FROM backlog", "-c",
                             "SELECT pg_sleep(1.5)", "-c", "UPDATE jobs SET rank = 0", "-c",
                             "COMMIT"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while shared_postgres().query(address, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE "
                                           "'SELECT pg_sleep%'") != "1":
        pass
    serve("--workers=0", database=address)
    assert slow.wait(10) == 0, slow.stderr.read()
    assert shared_postgres().query(address, "SELECT version FROM pictor_schema") == str(len(files))
