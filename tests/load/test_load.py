"""Many clients at once, beside painting: what everybody else notices of them, as a table.

Short, as a part of `make test`, it holds what does not depend on the machine: every request is
answered as it should be, memory stays bounded, nothing is lost. LOAD=long is for a quiet machine
(tests/run.sh build long): the numbers of clients that were promised, and the bars count, too."""
import http.client
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from processes import FINAL, LONG, TINY, Jobs, until

FULL = os.environ.get("LOAD", "short") == "long"
MIB = 1 << 20
rows = []


def size(short, long):
    return long if FULL else short


@pytest.fixture(scope="module", autouse=True)
def table(pytestconfig):
    yield
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n\n{'load':<54} {'measured':>12} {'bar':>12}")
        for what, value, bar, unit in rows:
            shown = f"{bar} {unit}" if bar is not None else ""
            print(f"{what:<54} {value:>8.1f} {unit:<3} {shown:>12}"
                  + ("  over" if bar is not None and value > bar else ""))


@pytest.fixture(autouse=True)
def bars():
    """In the long form they are promises."""
    first = len(rows)
    yield
    over = [row for row in rows[first:] if row[2] is not None and row[1] > row[2]]
    assert not (FULL and over), over


def report(what, value, bar, unit):
    """A line of the table; `bar` None: for information."""
    rows.append((what, value, bar, unit))


class Process:
    """What a server takes of its machine, since this was made."""

    def __init__(self, server):
        self.pid = server.process.pid
        self.ticks, self.began = self.cpu(), time.monotonic()

    def cpu(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def share(self):
        return 100 * (self.cpu() - self.ticks) / (time.monotonic() - self.began)

    def resident(self):
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


class Crowd:
    """Connections that each sent a request; a thread reads what comes, or nobody does."""

    def __init__(self, server, count, request, reads=True, buffer=None):
        self.received, self.stopped = {}, False
        self.selector = selectors.DefaultSelector()
        self.sockets = []
        for _ in range(count):
            s = socket.socket()
            if buffer:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            s.connect(("127.0.0.1", server.port))
            s.sendall(request)
            s.setblocking(False)
            self.sockets.append(s)
            self.received[s] = b""
            self.selector.register(s, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.read, daemon=True)
        if reads:
            self.thread.start()

    def read(self):
        while not self.stopped:
            for key, _ in self.selector.select(0.1):
                data = key.fileobj.recv(65536)
                if not data:
                    self.selector.unregister(key.fileobj)
                self.received[key.fileobj] = (self.received[key.fileobj] + data)[:64]

    def heads(self):
        return [data[9:12] for data in self.received.values()]

    def close(self):
        self.stopped = True
        if self.thread.is_alive():
            self.thread.join()
        for s in self.sockets:
            s.close()


def request(method, path, body=None):
    data = json.dumps(body).encode() if body is not None else b""
    return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n").encode() + data


def times(server, count, method, path, body=None, expect=200):
    """Milliseconds of `count` requests on one connection, sorted."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        connection.request(method, path, json.dumps(body) if body else None,
                           {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        text = answer.read()
        taken.append(1000 * (time.perf_counter() - began))
        assert answer.status == expect, (path, answer.status, text[:300])
    connection.close()
    return sorted(taken)


def probe(server, what, health=20, submit=5):
    """How long others wait: p99 of /healthz, the median of a submission."""
    health_times = times(server, size(100, 500), "GET", "/healthz")
    report(f"{what}: /healthz p99", health_times[int(len(health_times) * .99) - 1], health, "ms")
    submit_times = times(server, size(20, 100), "POST", "/api/jobs", TINY, 202)
    report(f"{what}: submit p50", submit_times[len(submit_times) // 2], submit, "ms")


def queued(server):
    text = requests.get(server.url + "/metrics", timeout=60).text
    return int(re.search(r'^pictor_jobs\{state="queued"\} (\d+)$', text, re.M)[1])


@pytest.fixture
def painting(serve):
    """A server that paints for as long as the test takes."""
    server = serve("--max-connections=4096", "--max-connections-per-address=4096",
                   "--max-queue=10000", "--max-steps=1000")
    jobs = Jobs(server.url)
    ids = [jobs.submit(**{**LONG, "steps": 1000, "count": 16}) for _ in range(2)]
    jobs.painting(ids[0])
    server.jobs = jobs
    yield server
    for job in ids:
        jobs.post(job, "cancel")


def test_waiting_clients_and_event_streams(painting):
    waiting = Crowd(painting, size(100, 1000), request("POST", "/sdapi/v1/txt2img", TINY))
    streams = Crowd(painting, size(45, 450), request("GET", "/api/events"))
    until(lambda: streams.heads().count(b"200") == len(streams.sockets), 120)
    until(lambda: queued(painting) >= len(waiting.sockets), 120)
    serve = Process(painting)
    what = f"{len(waiting.sockets)} waiting, {len(streams.sockets)} streams"
    time.sleep(size(2, 20))
    report(f"{what}: serve's share of a core", serve.share(), 10, "%")
    probe(painting, what)
    report(f"{what}: resident", serve.resident(), 150, "MB")
    assert set(waiting.heads()) == {b""}  # nobody was turned away
    waiting.close()
    # Whoever leaves takes the job along.
    until(lambda: queued(painting) <= 1 + size(20, 100), 120)
    streams.close()


def test_slow_readers(painting):
    before = Process(painting)
    held = before.resident()
    crowd = Crowd(painting, size(50, 450), request("GET", "/api/events"), reads=False,
                  buffer=4096)
    ids = [painting.jobs.submit(**TINY) for _ in range(size(50, 500))]
    what = f"{len(crowd.sockets)} readers that do not read"
    probe(painting, what)
    report(f"{what}: more memory", before.resident() - held, 100, "MB")
    for job in ids:
        assert painting.jobs.post(job, "cancel").status_code == 200
    # They hear the end of it when they read again, or were cut off; nobody is left half-told.
    crowd.thread.start()
    until(lambda: all(h == b"200" for h in crowd.heads()), 120)
    crowd.close()


def test_descriptors_run_out(serve):
    server = serve("--max-connections=64", "--header-timeout=600", "--request-timeout=600")
    jobs = Jobs(server.url)
    with requests.Session() as session:
        ids = [session.post(server.url + "/api/jobs", json=TINY, timeout=60).json()["id"]
               for _ in range(size(20, 100))]
        flood = Crowd(server, size(200, 2000), b"GET / HTTP/1.1\r\nX-Slow: ", reads=False)
        probe(server, f"{len(flood.sockets)} half-open headers")
        done = [until(lambda: (j := session.get(f"{server.url}/api/jobs/{job}",
                                                timeout=60).json())["state"] in FINAL and j)
                for job in ids]
        assert {job["state"] for job in done} == {"done"}
        flood.close()
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"


def test_search_storm(painting):
    words = "a" * 100 + " " * 20_000
    for n in range(size(20, 200)):
        painting.jobs.submit(**{**TINY, "prompt": f"{words}{n}"})
    # In a process of their own: its searches and the probe would wait for one interpreter.
    count = size(4, 16)
    with subprocess.Popen([sys.executable, __file__, painting.url, str(count)], text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as searching:
        first = searching.stdout.readline()
        probe(painting, f"{count} who search")
        answers = [int(status) for status in (first + searching.communicate("")[0]).split()]
    # All are answered: with what there is, or with "later".
    assert set(answers) <= {200, 429, 503} and 200 in answers


def search(url, count):
    """Searches with `count` threads for what is nearly there, until the input ends."""
    stop = threading.Event()

    def searcher():
        while not stop.is_set():
            answer = requests.get(url + "/api/jobs", timeout=120,
                                  params={"q": "a" * 99 + "b", "limit": 100})
            print(f"{answer.status_code}\n", end="", flush=True)
    threads = [threading.Thread(target=searcher) for _ in range(count)]
    for t in threads:
        t.start()
    sys.stdin.read()
    stop.set()
    for t in threads:
        t.join()


def test_a_long_queue(painting):
    count = size(500, 9500)
    taken = times(painting, count, "POST", "/api/jobs", TINY, 202)
    report(f"{count} queued: submit p99", taken[int(count * .99) - 1], None, "ms")
    probe(painting, f"{count} queued")
    page = times(painting, 20, "GET", "/api/jobs?limit=50")
    report(f"{count} queued: a page of the history", page[10], 20, "ms")
    assert queued(painting) >= count
    began = time.monotonic()
    painting.process.kill()
    painting.process.wait()
    painting.start()
    report(f"{count} queued: killed and back", time.monotonic() - began, 5, "s")
    assert queued(painting) >= count


if __name__ == "__main__":
    search(sys.argv[1], int(sys.argv[2]))
