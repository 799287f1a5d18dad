"""What happens in transactions that are open for long is heard all the same."""
import subprocess
import threading
import time

import pytest
import requests
from conftest import shared_postgres
from postgres import program
from processes import until


class Session:
    """psql on one connection."""

    def __init__(self, address):
        self.process = subprocess.Popen([program("psql"), "-X", "-q", "-A", "-t", "-d", address],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, sql):
        self.process.stdin.write(sql + ";\nSELECT 'said';\n")
        self.process.stdin.flush()
        while self.process.stdout.readline().strip() != "said":
            assert self.process.poll() is None

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture
def session():
    made = []

    def start(address):
        made.append(Session(address))
        return made[-1]

    yield start
    for one in made:
        one.close()


def listen(server):
    """The events that come from now on, without those of the first moment."""
    heard = []

    def read():
        with requests.get(server.url + "/api/events", stream=True, timeout=60) as answer:
            for line in answer.iter_lines(decode_unicode=True):
                if line.startswith("event: "):
                    heard.append(line[7:])

    threading.Thread(target=read, daemon=True).start()
    time.sleep(1.5)
    return heard


TOLD = "INSERT INTO news (at_ms, kind) VALUES (pictor_now(), '{}')"


def test_what_was_open_when_it_began_to_listen(serve, session):
    database = shared_postgres().create()
    server = serve(database=database)
    early, late = session(database), session(database)
    server.stop()
    early.run("BEGIN")
    early.run(TOLD.format("queue"))
    late.run(TOLD.format("probe"))
    server.start()
    heard = listen(server)
    assert "queue" not in heard
    early.run("COMMIT")
    until(lambda: "queue" in heard, 10)


def test_what_a_large_transaction_brings_late(serve, session):
    database = shared_postgres().create()
    server = serve(database=database)
    heard = listen(server)
    large, small = session(database), session(database)
    large.run("BEGIN")
    large.run("INSERT INTO news (at_ms, kind) SELECT pictor_now(), 'probe' FROM "
              "generate_series(1, 3000)")
    large.run(TOLD.format("queue"))
    for _ in range(3):
        small.run(TOLD.format("probe"))
    time.sleep(1.5)
    assert "queue" not in heard
    large.run("COMMIT")
    until(lambda: "queue" in heard, 10)
