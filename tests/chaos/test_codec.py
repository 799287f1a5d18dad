"""Pictures are read in processes of their own: whatever one does to them, the server stays."""
import base64
import io
import json
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from conftest import PROGRAM, Server
from PIL import Image
from processes import LONG, TINY, Jobs, codecs_of, gone, inside, until, worker_of
from test_sandbox import DOOR, NUMBER, SANITIZED, attacks


def png(side=64, colour="red"):
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, "png")
    return out.getvalue()


def submit(server, picture, **params):
    body = {**TINY, "init_image": base64.b64encode(picture).decode(), "strength": 0.5, **params}
    return requests.post(server.url + "/api/jobs", json=body, timeout=60)


def all_there(server):
    return until(lambda: len(pids := codecs_of(server)) >= 2 and pids)


def test_they_are_locked_in(serve):
    server = serve()
    assert submit(server, png()).status_code == 202
    for pid in all_there(server):
        until(lambda: "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text())
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        assert len(tasks) <= os.cpu_count() or SANITIZED  # those that enlarge pictures
        for line in ("NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000",
                     "CapPrm:\t0000000000000000"):
            assert all(line in (t / "status").read_text() for t in tasks) or SANITIZED, line
        if seen := inside(pid):
            fds, environment = seen
            assert set(fds) == {0, 1, 2, 3} and fds[3].startswith("socket:")
            assert fds[1] == fds[2] and fds[2].startswith("pipe:")
            assert b"HOME=" not in environment


def test_the_server_itself_reads_no_picture():
    """Only what runs in a worker, and what people call by hand, has a decoder in it; a worker's
    keeper on another machine packs the pixels of its own worker."""
    found = subprocess.run(
        ["grep", "-rlE", r"\bimage_(probe|decode|texts_read|encode[a-z_]*)\(", "server"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True).stdout.split()
    assert set(found) == {"server/worker/worker.c", "server/worker/worker_codec.c",
                          "server/cli/cli_picture.c", "server/remote/remote_keeper.c"}
    keeper = Path(__file__).parents[2] / "server/remote/remote_keeper.c"
    assert set(re.findall(r"\bimage_\w+\(", keeper.read_text())) == {
        "image_encode_png(", "image_file_free("}


def test_one_that_dies_idle_is_replaced_and_nobody_notices(serve):
    server = serve()
    jobs = Jobs(server.url)
    for _ in range(3):
        for pid in all_there(server):
            os.kill(pid, signal.SIGKILL)
        answer = submit(server, png())
        assert answer.status_code == 202, answer.text
        assert jobs.state(answer.json()["id"])["state"] == "done"


def test_one_that_stands_still_is_replaced(serve):
    """Nor is a connection closed for its deadline that the server has not come to read."""
    server = serve("--header-timeout=2")
    assert submit(server, png()).status_code == 202
    pid = all_there(server)[0]
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: submit(server, png(256)), range(4)))
    assert time.monotonic() - began < 50
    # Whoever has met it hears of it; the others wait at most for a thread that waits for it.
    assert sorted(a.status_code for a in answers) in ([202, 202, 202, 202], [202, 202, 202, 400])
    if any(a.status_code == 400 for a in answers):
        until(lambda: gone(pid))
    else:
        os.kill(pid, signal.SIGCONT)
    assert submit(server, png()).status_code == 202


def test_they_read_while_the_worker_paints(serve):
    server = serve()
    jobs = Jobs(server.url)
    slow = jobs.submit(**LONG)
    jobs.painting(slow)
    assert submit(server, png(512)).status_code == 202
    assert jobs.get(slow)["state"] == "running"
    jobs.post(slow, "cancel")


def test_they_end_with_a_server_that_is_killed(serve):
    server = serve()
    pids = all_there(server)
    server.process.kill()
    server.process.wait()
    for pid in pids:
        until(lambda: gone(pid), 5)
    server.start()


@pytest.mark.skipif(not DOOR.exists() or SANITIZED, reason="see test_sandbox.py")
class TestTakenOver:
    @pytest.fixture
    def server(self, tmp_path, monkeypatch):
        monkeypatch.setattr("conftest.PROGRAM", str(DOOR))
        server = Server(tmp_path)
        yield server
        server.stop()

    def call(self, server, name, *arguments):
        return submit(server, f"door:{json.dumps([NUMBER[name], *arguments])}".encode())

    def test_it_can_do_nothing(self, server, tmp_path):
        [database] = (tmp_path / "data").glob("*.db")
        painter = until(lambda: worker_of(server))
        assert "returned" in self.call(server, "getpid").text, "the door opens"
        for name, *arguments in attacks(server.process.pid, database, tmp_path / "log"):
            answer = self.call(server, name, *arguments)
            assert answer.status_code == 400, (name, answer.text)
            assert "system call that its sandbox forbids" in answer.text, (name, answer.text)
        assert submit(server, png()).status_code == 202
        assert worker_of(server) == painter
        assert database.stat().st_size > 0

    def test_a_picture_that_ends_its_decoder_is_the_clients_fault(self, server):
        jobs = Jobs(server.url)
        long = jobs.submit(**LONG)
        for _ in range(5):
            assert self.call(server, "exit_group", 7).status_code == 400
            answer = self.call(server, "tgkill", 1, 1, 6)
            assert answer.status_code == 400
        assert jobs.get(long)["state"] == "running"
        jobs.post(long, "cancel")
        both = [requests.post(server.url + path, json=body, timeout=60) for path, body in [
            ("/sdapi/v1/png-info", {"image": base64.b64encode(png()).decode()}),
            ("/sdapi/v1/extra-single-image", {"image": base64.b64encode(png()).decode()})]]
        assert [a.status_code for a in both] == [200, 200]
