"""Whatever happens to the worker, the server stays and tells its clients the truth."""
import base64
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
import requests
from conftest import ROOT
from processes import LONG, TINY, Jobs, gone, inside, kill_worker, size_of, until, worker_of

MINI = ROOT / "engine/builtin/pictor-mini.safetensors"


def openai(server, **fields):
    body = {"prompt": "a red circle", "size": "64x64", "steps": 12, "seed": 7, **fields}
    return requests.post(server.url + "/v1/images/generations", json=body, timeout=120)


def in_thread(function, *args, **kwargs):
    result = []
    thread = threading.Thread(target=lambda: result.append(function(*args, **kwargs)))
    thread.start()
    return lambda: (thread.join(), result[0])[1]


def running(server):
    jobs = requests.get(server.url + "/api/jobs?state=running", timeout=30).json()["jobs"]
    return [j for j in jobs if (j["progress"] or {}).get("step", 0) > 0]


def test_client_gets_its_picture_from_the_next_worker(serve):
    server = serve()
    whole = openai(server, n=2).json()["data"]
    answer = in_thread(openai, server, n=2)
    until(lambda: running(server))
    pid = kill_worker(server)
    answer = answer()
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == whole, "the pictures differ from those of an undisturbed run"
    assert worker_of(server) not in (None, pid)
    assert "worker_lost" in server.log()


def test_finished_pictures_of_a_job_are_kept(serve):
    server = serve()
    jobs = Jobs(server.url)
    job = jobs.submit(**{**TINY, "steps": 10, "count": 6})
    first = until(lambda: jobs.get(job)["images"])[0]
    kill_worker(server)
    done = jobs.state(job)
    assert done["state"] == "done" and done["attempts"] == 2
    assert [i["index"] for i in done["images"]] == list(range(6))
    assert [i["seed"] for i in done["images"]] == list(range(7, 13))
    assert done["images"][0]["id"] == first["id"], "a finished picture was painted again"


def test_worker_that_dies_idle_costs_no_attempt(serve):
    server = serve()
    jobs = Jobs(server.url)
    jobs.state(jobs.submit(**TINY))
    pid = kill_worker(server)
    until(lambda: worker_of(server) not in (None, pid))
    job = jobs.state(jobs.submit(**TINY))
    assert job["state"] == "done" and job["attempts"] == 1


def test_job_that_kills_every_worker_fails_and_the_next_one_runs(serve):
    server = serve("--max-attempts=2")
    jobs = Jobs(server.url)
    job = jobs.submit(**LONG)
    for attempt in (1, 2):
        until(lambda: jobs.get(job)["attempts"] == attempt and jobs.get(job)["state"] == "running")
        kill_worker(server)
    failed = jobs.state(job)
    assert failed["state"] == "failed"
    assert "2 attempts" in failed["error"]["message"]
    assert "signal 9" in failed["error"]["message"]
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"


def test_restarts_back_off(serve):
    server = serve()
    for _ in range(5):
        until(lambda: worker_of(server))
        kill_worker(server)
        until(lambda: not worker_of(server))
    until(lambda: len(re.findall("event=worker_lost", server.log())) == 5)
    pauses = [int(ms) for ms in re.findall(r"event=worker_lost .*restart_ms=(\d+)", server.log())]
    assert pauses == [100, 200, 400, 800, 1600]
    jobs = Jobs(server.url)
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"
    kill_worker(server)
    until(lambda: len(re.findall("event=worker_lost", server.log())) == 6)
    assert re.findall(r"event=worker_lost .*restart_ms=(\d+)", server.log())[5] == "100"


def test_server_answers_while_the_worker_stands_still(serve):
    server = serve("--lease-seconds=2")
    jobs = Jobs(server.url)
    job = jobs.submit(**LONG)
    jobs.painting(job)
    pid = worker_of(server)
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(3)
        assert jobs.get(job)["state"] == "running", "the server holds the lease, not the worker"
        assert requests.get(server.url + "/healthz", timeout=5).status_code == 200
        assert jobs.post(job, "cancel").status_code == 200
        assert jobs.get(job)["state"] == "cancelled"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"


def ready(server):
    return requests.get(server.url + "/readyz", timeout=5)


@pytest.mark.parametrize("painting", [True, False])
def test_a_worker_that_stands_still_is_replaced(serve, painting):
    server = serve()
    jobs = Jobs(server.url)
    until(lambda: ready(server).status_code == 200)
    if painting:
        job = jobs.submit(**LONG)
        jobs.painting(job)
    pid = worker_of(server)
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    until(lambda: ready(server).status_code == 503, 15)
    assert "does not answer" in ready(server).text
    until(lambda: worker_of(server) not in (None, pid), 30)
    assert time.monotonic() - began < 30, "the queue stood still"
    assert gone(pid) and "did not answer any more" in server.log()
    until(lambda: ready(server).status_code == 200)
    if painting:
        jobs.state(job, "running")
        assert jobs.get(job)["attempts"] == 2
        jobs.post(job, "cancel")
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"


def test_a_worker_that_goes_on_in_time_is_kept(serve):
    server = serve()
    jobs = Jobs(server.url)
    job = jobs.submit(**LONG)
    jobs.painting(job)
    pid = worker_of(server)
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: ready(server).status_code == 503, 15)
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: ready(server).status_code == 200, 15)
    assert worker_of(server) == pid and jobs.get(job)["attempts"] == 1
    jobs.post(job, "cancel")


def test_cancelling_frees_the_worker_within_a_step(serve):
    server = serve()
    jobs = Jobs(server.url)
    slow = jobs.submit(**LONG)
    jobs.painting(slow)
    began = time.monotonic()
    until(lambda: jobs.get(slow)["progress"]["step"] >= 3)
    two_steps = time.monotonic() - began
    quick = jobs.submit(**TINY)
    began = time.monotonic()
    assert jobs.post(slow, "cancel").status_code == 200
    jobs.state(quick, "running", "done")
    assert time.monotonic() - began < 2 * two_steps + 1, "150 steps take far longer"
    assert jobs.state(quick)["state"] == "done"
    assert jobs.get(slow)["state"] == "cancelled" and jobs.get(slow)["images"] == []


def test_interrupting_keeps_what_is_painted(serve):
    server = serve()
    jobs = Jobs(server.url)
    job = jobs.submit(**{**LONG, "count": 3})
    jobs.painting(job)
    assert jobs.post(job, "interrupt").status_code == 200
    done = jobs.state(job)
    assert done["state"] == "done"
    assert [i["index"] for i in done["images"]] == [0]
    assert size_of(jobs.picture(done["images"][0])) == (256, 256)


def test_previews_and_progress_arrive(serve):
    server = serve()
    jobs = Jobs(server.url)
    job = jobs.submit(**{**TINY, "steps": 8, "preview_every": 2})
    events = requests.get(f"{server.url}/api/jobs/{job}/events", stream=True, timeout=60)
    text = "".join(chunk.decode() for chunk in events.iter_content(None))
    assert "data:image/jpeg;base64," in text and '"step":8' in text.replace(" ", "")
    picture = re.search(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", text)[1]
    assert size_of(base64.b64decode(picture)) == (32, 32)


def test_worker_is_locked_in(serve):
    server = serve()
    pid = until(lambda: worker_of(server))
    until(lambda: requests.get(server.url + "/readyz", timeout=5).status_code == 200)
    status = Path(f"/proc/{pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) > 0
    if seen := inside(pid):
        fds, environment = seen
        assert set(fds) <= {0, 1, 2, 3} and fds[3].startswith("socket:")
        assert b"HOME=" not in environment and b"PATH=" not in environment.replace(
            b"LD_LIBRARY_PATH=", b"")


def test_unloading_gives_memory_back_and_the_next_job_loads_again(serve):
    server = serve()
    jobs = Jobs(server.url)
    loaded = lambda: requests.get(server.url + "/api/models", timeout=30).json()["models"][0]["loaded"]
    until(loaded)
    assert requests.post(server.url + "/sdapi/v1/unload-checkpoint", timeout=30).ok
    until(lambda: not loaded())
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"
    assert loaded()


def test_idle_models_are_unloaded(serve):
    server = serve("--idle-unload-seconds=1")
    loaded = lambda: requests.get(server.url + "/api/models", timeout=30).json()["models"][0]["loaded"]
    until(loaded)
    until(lambda: not loaded(), 10)


def test_stopping_lets_the_client_have_what_is_nearly_done(serve):
    server = serve()
    answer = in_thread(openai, server)
    until(lambda: running(server))
    pid = worker_of(server)
    server.process.terminate()
    assert answer().status_code == 200
    assert server.process.wait(30) == 0
    until(lambda: gone(pid))
    server.start()


def test_stopping_keeps_what_takes_too_long(serve):
    server = serve()
    jobs = Jobs(server.url)
    slow = jobs.submit(**{**LONG, "count": 10})
    jobs.painting(slow)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 20
    server.start()
    assert jobs.get(slow)["state"] in ("queued", "running")
    jobs.painting(slow)
    assert jobs.post(slow, "cancel").status_code == 200


def test_worker_ends_with_a_server_that_is_killed(serve):
    server = serve()
    pid = until(lambda: worker_of(server))
    jobs = Jobs(server.url)
    job = jobs.submit(**LONG)
    jobs.painting(job)
    server.process.kill()
    server.process.wait()
    until(lambda: gone(pid), 5)
    server.start()
    assert jobs.post(job, "cancel").status_code == 200


def test_model_that_vanished_fails_its_job(serve, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(MINI, models / "gone.safetensors")
    server = serve(f"--models={models}")
    jobs = Jobs(server.url)
    slow = jobs.submit(**LONG)
    jobs.painting(slow)
    job = jobs.submit(**{**TINY, "model": "gone"})
    (models / "gone.safetensors").unlink()
    requests.post(server.url + "/sdapi/v1/refresh-checkpoints", timeout=30)
    jobs.post(slow, "cancel")
    failed = jobs.state(job)
    assert failed["state"] == "failed" and failed["error"]["code"] == "not_found"


def test_file_that_is_no_model_fails_its_job_and_nothing_else(serve, tmp_path):
    """It was one when the job was accepted, or the request would have been refused."""
    models = tmp_path / "models"
    models.mkdir()
    others = {"zeros": b"\0" * 1000,
              "text": b"\x10\0\0\0\0\0\0\0{\"\xff\xfe\": not json" + b"x" * 99}
    for name in others:
        shutil.copy(MINI, models / f"{name}.safetensors")
    server = serve(f"--models={models}")
    jobs = Jobs(server.url)
    pid = until(lambda: worker_of(server))
    slow = jobs.submit(**LONG)
    jobs.painting(slow)
    accepted = [jobs.submit(**{**TINY, "model": name}) for name in others]
    for name, data in others.items():
        (models / "new").write_bytes(data)
        (models / "new").rename(models / f"{name}.safetensors")
    jobs.post(slow, "cancel")
    for job in accepted:
        failed = jobs.state(job)
        assert failed["state"] == "failed" and failed["attempts"] == 1, failed
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"
    assert worker_of(server) == pid
