"""Workers on other machines: a server that paints nothing itself, and `pictor worker --server`."""
import base64
import io
import os
import signal
import time

import pytest
import requests
from PIL import Image
from processes import TINY, Jobs, until, worker_of
from workers import Worker

LONG = {**TINY, "width": 128, "height": 128, "steps": 150}


@pytest.fixture
def work(tmp_path):
    made = []

    def start(server, *flags, **options):
        made.append(Worker(tmp_path / f"w{len(made)}", server.url, *flags, **options))
        return made[-1]

    yield start
    for worker in made:
        worker.stop()


def test_a_job_is_painted_elsewhere(serve, work):
    """The same bytes as the worker beside the server paints, progress and a preview on the way."""
    server = serve("--workers=0", "--threads=1")
    jobs = Jobs(server.url)
    worker = work(server)
    job = jobs.submit(**{**TINY, "seed": 5, "count": 2, "steps": 4, "preview_every": 1})
    done = jobs.state(job)
    assert done["state"] == "done" and len(done["images"]) == 2, (done, worker.log()[-3000:])
    local = Jobs(serve("--threads=1").url)
    same = local.submit(**{**TINY, "seed": 5, "count": 2, "steps": 4, "preview_every": 1})
    assert local.state(same)["state"] == "done"
    for mine, its in zip(jobs.get(job)["images"], local.get(same)["images"]):
        assert jobs.picture(mine) == local.picture(its)
    assert "event=worker_started" not in server.log()


def test_stopped_within_a_step_or_with_what_is_there(serve, work):
    server = serve("--workers=0")
    jobs, worker = Jobs(server.url), work(server)
    job = jobs.submit(**LONG)
    jobs.painting(job)
    began = time.monotonic()
    assert jobs.post(job, "cancel").status_code == 200
    until(lambda: f"event=job_ended job={job} outcome=cancelled" in worker.log())
    assert time.monotonic() - began < 5
    job = jobs.submit(**LONG)
    jobs.painting(job)
    assert jobs.post(job, "interrupt").status_code == 200
    done = jobs.state(job)
    assert done["state"] == "done" and len(done["images"]) == 1


def test_the_server_starts_again_and_the_worker_goes_on(serve, work):
    server = serve("--workers=0", "--lease-seconds=3")
    jobs, worker = Jobs(server.url), work(server)
    job = jobs.submit(**{**LONG, "steps": 30})
    jobs.painting(job)
    server.process.kill()
    server.process.wait()
    time.sleep(1)
    server.start()
    done = jobs.state(job)
    assert (done["state"], done["attempts"]) == ("done", 1), worker.log()[-3000:]


def test_what_comes_late_is_taken_while_it_is_wanted(serve, work):
    server = serve("--workers=0", "--lease-seconds=1")
    jobs, late = Jobs(server.url), work(server)
    job = jobs.submit(**{**LONG, "steps": 20})
    jobs.painting(job)
    late.process.send_signal(signal.SIGSTOP)
    jobs.state(job, "queued")
    late.process.send_signal(signal.SIGCONT)
    done = jobs.state(job)
    assert (done["state"], done["attempts"]) == ("done", 1)
    # Somebody else has it by now: the picture that comes late is refused, and he goes on.
    job = jobs.submit(**{**LONG, "steps": 30})
    jobs.painting(job)
    late.process.send_signal(signal.SIGSTOP)
    other = work(server)
    until(lambda: f"event=job_started job={job}" in other.log())
    late.process.send_signal(signal.SIGCONT)
    until(lambda: f"job={job} outcome=taken_away" in late.log())
    done = jobs.state(job)
    assert (done["state"], done["attempts"]) == ("done", 2)
    until(lambda: f"job={job} outcome=done" in other.log())


def test_a_worker_that_dies_and_one_that_stops(serve, work):
    server = serve("--workers=0", "--lease-seconds=1")
    jobs, first = Jobs(server.url), work(server)
    job = jobs.submit(**{**LONG, "steps": 30})
    jobs.painting(job)
    pid = until(lambda: worker_of(first))
    os.kill(pid, signal.SIGKILL)  # its process that paints: said at once
    until(lambda: jobs.get(job)["attempts"] == 2)
    jobs.painting(job)
    first.stop()  # in good order: no attempt
    assert jobs.state(job, "queued")["attempts"] == 1
    second = work(server)
    jobs.painting(job)
    second.kill()
    third = work(server)
    assert jobs.state(job)["state"] == "done", third.log()[-3000:]


def test_inputs_come_along(serve, work):
    server = serve("--workers=0")
    jobs = Jobs(server.url)
    work(server)
    job = jobs.submit(**TINY)
    image = base64.b64encode(jobs.picture(jobs.state(job)["images"][0])).decode()
    job = jobs.submit(**{**TINY, "init_image": image, "strength": 0.5})
    done = jobs.state(job)
    assert done["state"] == "done", done


def ask(server, method, path, status, key=None, **options):
    answer = requests.request(method, server.url + path, timeout=30, **options,
                              headers={"Authorization": f"Bearer {key}"} if key else {})
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def test_a_workers_key_opens_its_own_job_and_nothing_else(serve, work):
    server = serve("--workers=0")
    boss, mine, other = (server.add_key(*words) for words in
                         (("boss", "--admin"), ("mine", "--worker"), ("other", "--worker")))
    for method, path in (("GET", "/api/jobs"), ("POST", "/api/jobs"), ("GET", "/v1/models"),
                         ("GET", "/sdapi/v1/options"), ("GET", "/api/keys"), ("GET", "/metrics")):
        ask(server, method, path, 403, mine, json={} if method == "POST" else None)
    claim = {"name": "w", "protocol": 1}
    ask(server, "POST", "/api/worker/claim", 403, boss, json=claim)
    ask(server, "POST", "/api/worker/claim", 401, json=claim)
    assert "version" in str(ask(server, "POST", "/api/worker/claim", 400, mine,
                                json={**claim, "protocol": 99}))
    ask(server, "POST", "/api/worker/claim", 400, mine, json={**claim, "name": "../w"})
    assert ask(server, "POST", "/api/worker/claim", 204, mine, json=claim) is None
    ids = [ask(server, "POST", "/api/jobs", 202, boss, json=TINY)["id"] for _ in range(2)]
    order = ask(server, "POST", "/api/worker/claim", 200, mine, json=claim)
    assert order["job"] == ids[0] and order["files"] == [] and order["generate"]["index"] == 0
    held = f"/api/worker/jobs/{ids[0]}"
    query = {"token": order["token"], "worker": "w", "index": 0}
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    for key, params, job in ((other, query, ids[0]), (mine, {**query, "worker": "v"}, ids[0]),
                             (mine, {**query, "token": 9}, ids[0]), (mine, query, ids[1]),
                             (mine, query, "0" * 32)):
        path = f"/api/worker/jobs/{job}"
        ask(server, "POST", path + "/heartbeat", 404, key, params=params, json={})
        ask(server, "GET", path + "/order", 404, key, params=params)
        ask(server, "GET", path + "/inputs", 404, key, params=params)
        ask(server, "POST", path + "/image", 404, key, params=params, data=png.getvalue())
        ask(server, "POST", path + "/end", 404, key, json={"outcome": "failed"},
            params={k: v for k, v in params.items() if k != "index"})
        ask(server, "GET", "/api/worker/files/" + "0" * 64, 404, key, params={**params, "job": job})
    ask(server, "GET", "/api/worker/files/..%2f..%2fetc", 400, mine, params={**query, "job": ids[0]})
    ask(server, "POST", held + "/image", 400, mine, params=query, data=b"no picture")
    ask(server, "POST", held + "/image", 400, mine, params={**query, "index": 1}, data=png.getvalue())
    wrong = {"step": 1, "steps": 2, "width": 9, "height": 9, "preview": "AAAA"}
    ask(server, "POST", held + "/heartbeat", 400, mine, params=query, json=wrong)
    assert ask(server, "POST", held + "/heartbeat", 200, mine, params=query, json={}) == {
        "interrupted": False, "skipped": -1}
    assert ask(server, "POST", held + "/image", 200, mine, params=query,
               data=png.getvalue()) == {"next": None}
    assert ask(server, "GET", f"/api/jobs/{ids[0]}", 200, boss)["state"] == "done"
    order = ask(server, "POST", "/api/worker/claim", 200, mine, json=claim)
    ask(server, "POST", f"/api/worker/jobs/{ids[1]}/end", 200, mine,
        params={"token": order["token"], "worker": "w"},
        json={"outcome": "failed", "code": "too_large", "message": "too\nmuch"})
    assert ask(server, "GET", f"/api/jobs/{ids[1]}", 200, boss)["error"]["code"] == "too_large"
    worker = work(server, key=mine)
    job = ask(server, "POST", "/api/jobs", 202, boss, json=TINY)["id"]
    until(lambda: ask(server, "GET", f"/api/jobs/{job}", 200, boss)["state"] == "done")
    assert mine not in worker.log() + server.log()
