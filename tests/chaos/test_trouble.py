"""The server's own trouble (a full disk, no descriptors, a folder that is gone) fails no job: the
job waits, clients that wait for an answer get one that says so, and painting goes on with room."""
import errno
import mmap
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest
import requests
from processes import FINAL, TINY, Jobs, fsck, until
from test_upstream import stub  # noqa: F401 (fixture)

SMALL = {**TINY, "steps": 1}
EVERY = int(os.environ.get("CHAOS_EVERY", "19"))  # of a job's calls, one in so many is tried


@pytest.fixture(scope="module")
def fault_library(tmp_path_factory):
    library = tmp_path_factory.mktemp("fault") / "fault.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library,
                    Path(__file__).parent / "fault.c", "-ldl"], check=True)
    return library


class Faults:
    """Of a server's calls below its data folder: how many there were, and which of them fail."""

    def __init__(self, path):
        path.write_bytes(bytes(32))
        self.path = path
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 32)

    @property
    def calls(self):
        return struct.unpack_from("q", self.map)[0]

    def arm(self, after, count, number):
        """The call `after` from now and `count - 1` more fail with errno `number`."""
        struct.pack_into("qq", self.map, 16, count, number)
        struct.pack_into("q", self.map, 8, self.calls + after)

    def disarm(self):
        struct.pack_into("q", self.map, 8, 0)


@pytest.fixture
def faulty(serve, fault_library, tmp_path, stub):  # noqa: F811
    """A server, whose model "cloud" is the stub's, and the faults that can be put into its calls."""
    faults = Faults(tmp_path / "control")
    data = tmp_path / "data"
    config = tmp_path / "pictor.ini"
    config.write_text(f"[upstream stub]\nbase_url = {stub.url}\nmodels = cloud = remote-model\n")
    config.chmod(0o600)
    server = serve(f"--config={config}", f"--data={data}", env={"LD_PRELOAD": str(fault_library),
                                          "FAULT_CONTROL": str(faults.path),
                                          "FAULT_FOLDER": str(data)})
    server.data = data
    return server, faults


def ready(server):
    answer = requests.get(server.url + "/readyz", timeout=30)
    return answer.status_code, answer.text


def submit(server, seed, **more):
    """The id of the job; None when it was refused for the trouble."""
    body = {**SMALL, "seed": seed, **more}
    answer = requests.post(server.url + "/api/jobs", json=body, timeout=30)
    if answer.status_code in (503, 507):
        assert "Retry-After" in answer.headers
        return None
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def final(server, job):
    """The job at its end; while nothing can be read, asks again."""
    def look():
        answer = requests.get(f"{server.url}/api/jobs/{job}", timeout=30)
        assert answer.status_code in (200, 503, 507), answer.text
        return answer.status_code == 200 and answer.json()["state"] in FINAL and answer.json()
    return until(look)


def every_call(server, faults, step, count, **more):
    """Lets each `step`-th call that a job causes fail; every accepted job is painted. Returns how
    many were."""
    numbers = [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.ENOMEM]
    at, painted = 1, 0
    while True:
        faults.arm(at, count, numbers[at % len(numbers)])
        before = faults.calls
        job = submit(server, at, **more)
        if job:
            painted += 1
            done = final(server, job)
            assert done["state"] == "done", (at, done["error"])
            assert done["attempts"] <= 1, (at, done["attempts"])
        until(lambda: ready(server)[0] == 200)
        if faults.calls < before + at:
            break
        faults.disarm()
        at += step
    faults.disarm()
    assert at > 20, "a job makes more calls than that: they were not seen"
    return painted


def test_every_call_may_fail(faulty):
    server, faults = faulty
    assert Jobs(server.url).state(submit(server, 0))["state"] == "done"
    every_call(server, faults, EVERY, 1)
    every_call(server, faults, EVERY * 3, 20)
    server.stop()
    status, kinds, said = fsck(server.data)
    assert status == 0 and not kinds, said
    server.start()


def test_every_call_of_an_order_may_fail(faulty, stub):  # noqa: F811
    """What an upstream was asked for is asked for once, whatever cannot be read or written."""
    server, faults = faulty
    painted = every_call(server, faults, EVERY, 1, model="cloud")
    painted += every_call(server, faults, EVERY * 3, 20, model="cloud")
    assert len(stub.requests) == painted


@pytest.mark.parametrize("path, body", [
    ("/sdapi/v1/txt2img", SMALL),
    ("/v1/images/generations", {"prompt": "a", "size": "64x64"}),
])
def test_clients_are_told_and_their_jobs_cancelled(faulty, path, body):
    server, faults = faulty
    assert requests.post(server.url + path, json=body, timeout=60).status_code == 200
    jobs = Jobs(server.url)
    kept = jobs.submit(**{**TINY, "steps": 60, "width": 128, "height": 128})
    jobs.painting(kept)
    faults.arm(1, 10**9, errno.ENOSPC)
    began = time.monotonic()
    answer = requests.post(server.url + path, json=body, timeout=60)
    assert time.monotonic() - began < 15
    assert answer.status_code == 507 and "Retry-After" in answer.headers, answer.text
    until(lambda: ready(server)[0] == 503)  # at the latest when what is painted cannot be kept
    text = ready(server)[1]
    assert "full" in text or "space" in text, text
    faults.disarm()
    until(lambda: ready(server)[0] == 200)
    assert requests.post(server.url + path, json=body, timeout=60).status_code == 200
    assert jobs.state(kept)["state"] == "done"
    states = [job["state"] for job in
              requests.get(server.url + "/api/jobs", timeout=30).json()["jobs"]]
    assert "failed" not in states


def test_data_folder_deleted_under_the_server(faulty):
    server, _ = faulty
    moved = server.data.with_name("moved")
    assert Jobs(server.url).state(submit(server, 0))["state"] == "done"
    server.data.rename(moved)
    until(lambda: ready(server)[0] == 503, 10)
    answer = requests.post(server.url + "/sdapi/v1/txt2img", json=SMALL, timeout=30)
    assert answer.status_code == 503 and "Retry-After" in answer.headers, answer.text
    moved.rename(server.data)
    until(lambda: ready(server)[0] == 200, 10)
    assert requests.post(server.url + "/sdapi/v1/txt2img", json=SMALL,
                         timeout=60).status_code == 200
    shutil.rmtree(server.data)
    until(lambda: ready(server)[0] == 503, 10)
    answer = requests.post(server.url + "/v1/images/generations", json={"prompt": "a"}, timeout=30)
    assert answer.status_code == 503, answer.text


@pytest.fixture
def small_disk(tmp_path, request):
    """A file system of its own that can be filled; takes root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = getattr(request, "param", "3m")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
                      capture_output=True).returncode:
        pytest.skip("a small file system takes root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("small_disk", ["80m"], indirect=True)
def test_what_could_be_restored_goes_when_a_disk_is_full(serve, small_disk):
    server = serve(f"--data={small_disk}")
    job = submit(server, 1)
    assert final(server, job)["state"] == "done"
    assert requests.delete(f"{server.url}/api/jobs/{job}", timeout=30).status_code == 204
    kept, = (small_disk / "images").rglob("*.png")
    with open(small_disk / "filler", "wb", 0) as filler, pytest.raises(OSError):
        while True:
            filler.write(bytes(4096))
    submit(server, 2)  # it is seen to be full
    until(lambda: not kept.exists())


def test_jobs_are_removed_from_a_full_disk(serve, small_disk):
    """Removing makes room, so it must not need any."""
    server = serve(f"--data={small_disk}")
    ids = [submit(server, seed) for seed in range(8)]
    assert {final(server, job)["state"] for job in ids} == {"done"}
    with open(small_disk / "filler", "wb", 0) as filler, pytest.raises(OSError):
        while True:
            filler.write(bytes(4096))
    for job in ids:  # such a disk has no room for second thoughts
        answer = requests.delete(f"{server.url}/api/jobs/{job}", timeout=30)
        assert answer.status_code == 204, answer.text
    assert not list((small_disk / "images").rglob("*.png"))
    assert requests.get(server.url + "/api/jobs", timeout=30).json()["jobs"] == []
    (small_disk / "filler").unlink()
    until(lambda: ready(server)[0] == 200)
    assert final(server, submit(server, 99))["state"] == "done"
