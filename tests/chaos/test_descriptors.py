"""Descriptors: what strangers can hold open leaves enough for accepted jobs, and when they let go
the server hears everybody again."""
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
import requests
from conftest import PROGRAM
from processes import FINAL, TINY, Jobs, codecs_of, until, worker_of

CONNECTIONS = 64


def prlimit(soft, hard):
    return ("prlimit", f"--nofile={soft}:{hard}")


def refusal(tmp_path, hard, connections):
    done = subprocess.run([*prlimit(hard, hard), PROGRAM, "serve", "--listen=127.0.0.1:0",
                           f"--data={tmp_path / 'data'}", f"--max-connections={connections}"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.fixture
def needed(tmp_path):
    """How many descriptors a server with CONNECTIONS connections asks for."""
    return int(re.search(r"needs (\d+) descriptors", refusal(tmp_path, 100, CONNECTIONS))[1])


def open_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def half_open(port, text=b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "):
    s = socket.create_connection(("127.0.0.1", port), timeout=10)
    s.sendall(text)
    return s


def test_what_does_not_fit_is_refused_with_the_numbers(tmp_path):
    said = refusal(tmp_path, 1000, 1024)
    need, rest = (int(re.search(p, said)[1]) for p in (r"needs (\d+)", r"and (\d+) for the rest"))
    assert need == 2 * 1024 + rest and "the limit is 1000" in said
    assert f"--max-connections {(1000 - rest) // 2}" in said
    assert not (tmp_path / "data").exists()


def test_what_is_said_to_fit_does(tmp_path, serve):
    fit = re.search(r"--max-connections (\d+)", refusal(tmp_path, 1000, 1024))[1]
    serve(f"--max-connections={fit}", under=prlimit(1000, 1000))
    assert "needs" in refusal(tmp_path, 1000, int(fit) + 1)


def test_headers_and_loras_are_counted(needed):
    # At once: eight files of a model on each of eight threads that serve and on one that reads in
    # the background, eight and 16 LoRAs on their way to the worker; 100 hold database and codecs.
    assert needed - 2 * CONNECTIONS >= 9 * 8 + 8 + 16 + 100


def test_the_limit_is_raised_as_far_as_allowed(serve):
    server = serve(under=prlimit(64, 4096))
    limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    assert re.search(r"^Max open files +4096 +4096", limits, re.M), limits


def test_the_rest_is_less_than_what_is_kept_for_it(serve, needed):
    server = serve(f"--max-connections={CONNECTIONS}", under=prlimit(needed, needed))
    jobs = Jobs(server.url)
    kept = needed - 2 * CONNECTIONS
    for job in [jobs.submit(**TINY) for _ in range(4)]:
        assert jobs.state(job)["state"] == "done"
        assert open_count(server.process.pid) < kept / 2
    assert worker_of(server) and codecs_of(server)


@pytest.mark.parametrize("text", [
    b"", b"GET /healthz HTTP/1.1\r\nX-Slow: ",
    b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n{"])
def test_half_open_connections_fail_no_job_and_leave_nobody_deaf(serve, needed, text):
    # Strangers may have everything, and keep it.
    server = serve(f"--max-connections={CONNECTIONS}", "--reserved-connections=0",
                   "--header-timeout=600", "--request-timeout=600", under=prlimit(needed, needed))
    with requests.Session() as session:
        def get(path):
            answer = session.get(server.url + path, timeout=30)
            assert answer.status_code == 200, answer.text
            return answer.json()
        accepted = [session.post(server.url + "/api/jobs", json={**TINY, "seed": n},
                                 timeout=30).json()["id"] for n in range(12)]
        strangers = [half_open(server.port, text) for _ in range(4 * CONNECTIONS)]
        until(lambda: open_count(server.process.pid) > CONNECTIONS)
        final = [until(lambda: (j := get(f"/api/jobs/{job}"))["state"] in FINAL and j)
                 for job in accepted]
        assert [job["state"] for job in final] == ["done"] * 12
        assert {job["attempts"] for job in final} == {1}
        picture = final[0]["images"][0]["url"]
        assert session.get(server.url + picture, timeout=30).status_code == 200
    for s in strangers:
        s.close()
    # As many as there may be are heard again, all at once.
    clients = [half_open(server.port, b"") for _ in range(CONNECTIONS)]
    for s in clients:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    for s in clients:
        s.settimeout(60)
        assert s.recv(100).startswith(b"HTTP/1.1 200")
        s.close()
    assert Jobs(server.url).state(Jobs(server.url).submit(**TINY))["state"] == "done"
    for trouble in ("claim_failed", "job_failed", "open files"):
        assert trouble not in server.log()
