"""What the chaos tests know of processes, and of a server's native API."""
import io
import os
import signal
import subprocess
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from conftest import PROGRAM
from PIL import Image

FINAL = ("done", "failed", "cancelled")
TINY = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 2, "seed": 7}
LONG = {**TINY, "width": 256, "height": 256, "steps": 150}


class Listening:
    """A web server on a port of its own; `url` is its root."""

    def listen(self, handler):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def until(condition, seconds=60):
    """Waits for a true value and returns it."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)


def processes_of(server, *words):
    """The pids of the server's children that were started with just these words."""
    found = []
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            try:
                line = Path(f"/proc/{child}/cmdline").read_text()
            except OSError:
                continue
            if line.rstrip("\0").split("\0")[1:] == list(words):
                found.append(int(child))
    return found


def worker_of(server):
    """The pid of the server's worker, or None."""
    return next(iter(processes_of(server, "worker")), None)


def codecs_of(server):
    """The pids of the processes that read and write pictures."""
    return processes_of(server, "worker", "--codec")


def kill_worker(server):
    pid = until(lambda: worker_of(server))
    os.kill(pid, signal.SIGKILL)
    return pid


def inside(pid):
    """A locked process's descriptors and environment. Its own user may not look into it, so that
    only root sees them: None for others."""
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            os.listdir(f"/proc/{pid}/fd")
        return None
    fds = {int(fd.name): os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    return fds, Path(f"/proc/{pid}/environ").read_bytes()


def gone(pid):
    return not Path(f"/proc/{pid}").exists()


class Jobs:
    """Jobs through the native API."""

    def __init__(self, url):
        self.url = url

    def submit(self, **params):
        answer = requests.post(self.url + "/api/jobs", json=params, timeout=30)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def get(self, job):
        answer = requests.get(f"{self.url}/api/jobs/{job}", timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, job, verb):
        return requests.post(f"{self.url}/api/jobs/{job}/{verb}", timeout=30)

    def state(self, job, *states, seconds=60):
        """Waits until the job is in one of these states (default: a final one)."""
        return until(lambda: (j := self.get(job))["state"] in (states or FINAL) and j, seconds)

    def painting(self, job):
        """Waits until a step of it is done."""
        return until(lambda: (j := self.get(job))["state"] in FINAL
                     or (j["progress"] or {}).get("step", 0) > 0 and j)

    def picture(self, image):
        answer = requests.get(self.url + image["url"], timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.content


def size_of(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.size


def fsck(folder, *flags):
    """Exit status and the kinds of problems that `pictor fsck` names."""
    done = subprocess.run([PROGRAM, "fsck", f"--data={folder}", *flags], capture_output=True,
                          text=True, timeout=60)
    kinds = {line.split()[0] for line in done.stdout.splitlines()[1:-1] if line[0] != " "}
    return done.returncode, kinds, done.stdout + done.stderr
