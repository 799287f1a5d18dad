"""Orders at an upstream cost money: none is sent before it is noted, and what became of one that was
out when the server ended cannot be known; so it is not sent again unless the operator says so."""
import signal
import sqlite3
import threading

import pytest
from processes import FINAL, TINY, until
from test_upstream import Stub, answer_of, front, png, stub  # noqa: F401 (fixtures)


def held(gate):
    """A reply that comes when the gate opens, to whoever is still there."""
    def reply(handler):
        gate.wait(60)
        return (200, {}, answer_of(png()))
    return reply


def tokens(stub):
    return [headers["Idempotency-Key"] for _, _, headers, _ in stub.requests]


def kill(server):
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def noted(server):
    """The tokens in the database."""
    db = sqlite3.connect(f"file:{server.folder}/data/pictor.db?mode=ro", uri=True, timeout=30)
    with db:
        rows = [row[0] for row in db.execute("SELECT token FROM orders")]
    db.close()
    return rows


def test_an_order_is_noted_before_it_is_sent(front, stub):
    server, jobs = front(stub.url, "max_retries = 2")
    seen = []

    def look(handler):
        seen.append((handler.headers["Idempotency-Key"], noted(server)))
        if len(seen) == 1:
            return (503, {"Retry-After": "0"}, {})
        return (200, {}, answer_of(png()))
    stub.script = [look]
    assert jobs.state(jobs.submit(**TINY, model="cloud"))["state"] == "done"
    assert jobs.state(jobs.submit(**TINY, model="cloud"))["state"] == "done"
    for token, rows in seen:
        assert len(token) == 32 and token in rows
    first, again, other = (token for token, _ in seen)
    assert first == again != other  # the second request was the first order once more


def test_what_cannot_be_known_is_not_ordered_again(front, stub, gate):
    server, jobs = front(stub.url, "concurrency = 1")
    stub.script = [held(gate)]
    out = jobs.submit(**TINY, model="cloud")
    until(lambda: stub.requests)
    waiting = jobs.submit(**TINY, model="cloud")
    kill(server)
    gate.set()
    server.start()
    job = jobs.state(out)
    assert job["state"] == "failed" and job["error"]["code"] == "upstream"
    assert "not ordered again" in job["error"]["message"]
    # Its neighbour, of which nothing was out, is none the worse.
    job = jobs.state(waiting)
    assert job["state"] == "done" and job["attempts"] == 1
    assert len(stub.requests) == 2 and len(set(tokens(stub))) == 2


def test_ordered_again_where_the_operator_says_so(front, stub, gate):
    server, jobs = front(stub.url, "retry_unknown = on")
    stub.script = [held(gate)]
    out = jobs.submit(**TINY, model="cloud")
    until(lambda: stub.requests)
    kill(server)
    gate.set()
    server.start()
    assert jobs.state(out)["state"] == "done"
    first, again = tokens(stub)
    assert first == again


def test_what_was_refused_is_no_open_question(front, stub):
    server, jobs = front(stub.url)
    stub.script = [(503, {"Retry-After": "50"}, {}), None]
    out = jobs.submit(**TINY, model="cloud")
    until(lambda: stub.requests and not noted(server))
    kill(server)
    server.start()
    assert jobs.state(out)["state"] == "done"


def test_a_server_that_stops_sends_no_more_orders(front, stub, gate):
    server, jobs = front(stub.url)
    stub.script = [held(gate), (200, {}, answer_of(png()))]
    out = jobs.submit(**TINY, count=2, model="cloud")  # one answer has one picture of two
    until(lambda: stub.requests)
    server.process.terminate()
    until(lambda: "stopping" in server.log())
    gate.set()
    server.process.wait(60)
    assert len(stub.requests) == 1
    server.start()
    job = jobs.state(out)
    assert job["state"] == "done" and len(job["images"]) == 2
    assert len(stub.requests) == 2


def test_a_server_that_cannot_wait_any_longer_does_not_order_again(front, stub, gate):
    server, jobs = front(stub.url)
    stub.script = [held(gate)]
    out = jobs.submit(**TINY, model="cloud")
    until(lambda: stub.requests)
    server.process.terminate()
    assert server.process.wait(60) == 0
    gate.set()
    server.start()
    assert jobs.state(out)["state"] == "failed"
    assert len(stub.requests) == 1


def test_kills_at_any_moment_order_nothing_twice(front, stub):
    server, jobs = front(stub.url, "concurrency = 3")
    ids = [jobs.submit(**TINY, model="cloud") for _ in range(12)]
    for kills in (2, 5, 8):
        until(lambda: len(stub.requests) >= kills)
        kill(server)
        server.start()
    final = [jobs.state(job) for job in ids]
    failed = [job for job in final if job["state"] != "done"]
    assert all(job["state"] == "failed" and "not ordered again" in job["error"]["message"]
               for job in failed)
    assert len(failed) <= 3 * 3  # at most those that were out
    assert len(stub.requests) <= len(ids) == len([j for j in final if j["state"] in FINAL])
    assert len(set(tokens(stub))) == len(stub.requests)
