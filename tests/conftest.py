"""A real `pictor serve` for the tests that speak HTTP. $PICTOR is the program (build/pictor)."""
import contextlib
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import conformance_openai
import conformance_sdapi
import postgres
from program import Program

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("PICTOR", str(ROOT / "build" / "pictor"))
for shared in ("api", "chaos"):  # what tests of other folders use, too
    sys.path.insert(0, str(ROOT / "tests" / shared))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# The store that the servers of all tests have: sqlite, or a database each of one PostgreSQL.
STORE = os.environ.get("STORE", "sqlite")
POSTGRES = []


def shared_postgres():
    """The one of this run; started when it is first needed."""
    if not POSTGRES:
        POSTGRES.append(postgres.Postgres(durable=False))
    return POSTGRES[0]


class Server(Program):
    """One server on a free port of this machine, with a data folder of its own."""
    PATIENCE = 30

    def __init__(self, folder, *flags, env=None, under=(), database=None):
        """`under`: a command that runs the server, such as prlimit. `database`: of a PostgreSQL."""
        if not database and STORE == "postgresql":
            database = shared_postgres().create()
        self.database = database
        self.folder, self.flags, self.env = Path(folder), flags, env or {}
        self.under = under
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.run([*self.under, PROGRAM, "serve", f"--listen=127.0.0.1:{self.port}",
                  *self.place(), *self.flags], self.env)
        end = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < end, self.log()[-4000:]
            time.sleep(0.05)

    def place(self):
        """The flags by which commands find this server's store."""
        return [f"--data={self.folder / 'data'}",
                *([f"--database={self.database}"] if self.database else [])]

    def sql(self, text):
        """What nobody but a test does to the store."""
        if self.database:
            return shared_postgres().query(self.database, text)
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "pictor.db",
                                                isolation_level=None)) as db:
            return db.execute(text)

    def answers(self):
        try:
            urllib.request.urlopen(self.url + "/healthz", timeout=5).close()
            return True
        except OSError:
            return False

    def restart(self):
        self.stop()
        self.start()

    def add_key(self, name, *flags):
        """The plain key of a new user; `--admin` for one who may see everything."""
        text = subprocess.run([PROGRAM, "keys", "add", name, *self.place(), *flags], check=True,
                              capture_output=True, text=True, cwd=self.folder).stdout
        return re.search(r"pk_[0-9a-f]{64}", text)[0]


def factory(tmp_path_factory):
    servers = []

    def start(*flags, **options):
        servers.append(Server(tmp_path_factory.mktemp("server"), *flags, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def serve(tmp_path_factory):
    """serve(flags...) starts a server for one test."""
    yield from factory(tmp_path_factory)


@pytest.fixture(scope="module")
def serve_module(tmp_path_factory):
    """The same for the tests of one file."""
    yield from factory(tmp_path_factory)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server that all tests share which leave nothing behind that others would notice."""
    server = Server(tmp_path_factory.mktemp("shared"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sd(server):
    """The SD WebUI dialect of the shared server."""
    from sdapi_client import Sdapi
    return Sdapi(server.url)


# ---- the pages that a run makes ----

OUTCOMES = {}


def pytest_runtest_logreport(report):
    name = Path(report.location[0]).name + "::" + report.location[2].split("[")[0]
    if report.when == "call" or report.failed:
        OUTCOMES.setdefault(name, set()).add(report.outcome)


def pytest_sessionfinish():
    for one in POSTGRES:
        one.close()
    if os.environ.get("CONFORMANCE") and OUTCOMES:
        earlier = ROOT / "build" / "conformance.json"
        seen = json.loads(earlier.read_text()) if earlier.exists() else {}
        seen.update({name: sorted(found) for name, found in OUTCOMES.items()})
        earlier.write_text(json.dumps(seen))
        outcomes = {name: set(found) for name, found in seen.items()}
        for name, page in (("conformance-openai.md", conformance_openai),
                           ("sdapi-cases.md", conformance_sdapi)):
            (ROOT / "docs" / name).write_text(page.table(outcomes))
