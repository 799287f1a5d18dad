"""A bucket that takes long holds up those who need it, and nobody else."""
import base64
import concurrent.futures
import threading
import time

import pytest
import requests
from bucket_server import BucketServer
from openai_client import gradient, png
from processes import TINY, Jobs, until

INIT = base64.b64encode(png(gradient(64, 64))).decode()
SLOW, FOR_OTHERS = 5, 3  # seconds
INPUTS = 9  # more than the server has threads for connections


@pytest.fixture(scope="module")
def shared_s3():
    made = BucketServer()
    yield made
    made.close()


@pytest.fixture
def s3(shared_s3):
    yield shared_s3
    shared_s3.heal()


def submit(server, **more):
    return requests.post(server.url + "/api/jobs", timeout=60,
                         json={**TINY, "init_image": INIT, "strength": 0.5, **more})


def others_are_served(server, job):
    """Each of these on connections of its own, so that every thread of the server gets some."""
    def once(path):
        began = time.monotonic()
        answer = requests.get(server.url + path, timeout=60)
        return path, answer.status_code, time.monotonic() - began
    paths = ["/healthz", "/", "/api/jobs", f"/api/jobs/{job}", "/api/jobs?q=circle", "/readyz"] * 4
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for path, status, seconds in pool.map(once, paths):
            assert status == 200 and seconds < FOR_OTHERS, (path, status, seconds)
    began = time.monotonic()
    answer = requests.post(server.url + "/api/jobs", json=TINY, timeout=60)
    assert answer.status_code == 202 and time.monotonic() - began < FOR_OTHERS, answer.text


def test_requests_that_need_it_wait_alone(serve, s3):
    bucket = s3.bucket()
    server = serve(*s3.flags(bucket), "--threads=1", env=s3.env())
    jobs = Jobs(server.url)
    first = jobs.submit(**TINY)
    image = jobs.state(first)["images"][0]
    kept = threading.Event()
    beats = []

    def events():
        with requests.get(server.url + "/api/events", stream=True, timeout=60) as answer:
            for line in answer.iter_lines(decode_unicode=True):
                if line:
                    beats.append(time.monotonic())
                if kept.is_set():
                    return
    threading.Thread(target=events, daemon=True).start()
    for copy in (server.folder / "data/near").iterdir():
        copy.unlink()
    s3.delay = SLOW
    ways = [lambda: submit(server)] * INPUTS + [
        lambda: requests.post(server.url + "/sdapi/v1/img2img", timeout=60, json={
            "prompt": "p", "width": 64, "height": 64, "steps": 2, "init_images": [INIT]}),
        lambda: requests.post(server.url + "/v1/images/edits", timeout=60,
                              data={"prompt": "p", "size": "64x64", "stream": "true"},
                              files={"image": ("a.png", png(gradient(64, 64)), "image/png")}),
        lambda: requests.post(server.url + "/v1/files", timeout=60, data={"purpose": "vision"},
                              files={"file": ("a.png", png(gradient(64, 64)), "image/png")}),
        lambda: requests.get(server.url + image["url"], timeout=60)]
    with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
        began = time.monotonic()
        asked = [pool.submit(way) for way in ways]
        time.sleep(0.7)
        others_are_served(server, first)
        said = [one.result() for one in asked[:INPUTS]]
        assert time.monotonic() - began > SLOW
        assert [a.status_code for a in said] == [202] * INPUTS, said[0].text[:300]
        s3.heal()  # the others wait for their pictures behind all of these
        answers = [one.result() for one in asked]
        assert [a.status_code for a in answers] == [202] * INPUTS + [200] * 4, \
            [(a.status_code, a.text[:300]) for a in answers]
    assert "event: error" not in answers[INPUTS + 1].text and "completed" in answers[INPUTS + 1].text
    for answer in answers[:INPUTS]:
        assert jobs.state(answer.json()["id"])["state"] == "done"
    assert beats
    kept.set()


def test_more_than_may_wait_are_told_to_come_again(serve, s3):
    server = serve(*s3.flags(s3.bucket()), "--threads=1", env=s3.env())
    jobs = Jobs(server.url)
    first = jobs.submit(**TINY)
    jobs.state(first)
    s3.delay = SLOW
    with concurrent.futures.ThreadPoolExecutor(45) as pool:
        answers = list(pool.map(lambda _: submit(server), range(45)))
    s3.heal()
    told = [a for a in answers if a.status_code == 503]
    assert told and all(a.status_code in (202, 503) for a in answers)
    assert all(int(a.headers["Retry-After"]) > 0 for a in told), told[0].headers
    assert "wait for the place of the pictures" in told[0].json()["error"]["message"]
    accepted = [a.json()["id"] for a in answers if a.status_code == 202]
    assert len(accepted) >= 30
    for job in accepted[3:]:
        jobs.post(job, "cancel")
    assert all(jobs.state(job)["state"] == "done" for job in accepted[:3])


def test_clients_that_leave_and_a_server_that_stops_meanwhile(serve, s3):
    server = serve(*s3.flags(s3.bucket()), "--threads=1", env=s3.env())
    jobs = Jobs(server.url)
    jobs.state(jobs.submit(**TINY))
    s3.delay = 2
    for path in ("/api/jobs", "/sdapi/v1/img2img"):
        body = {**TINY, "init_image": INIT, "strength": 0.5} if "jobs" in path else \
            {"prompt": "p", "width": 64, "height": 64, "steps": 2, "init_images": [INIT]}
        with pytest.raises(requests.Timeout):
            requests.post(server.url + path, json=body, timeout=0.7)
    time.sleep(2.5)
    states = until(lambda: [j["state"] for j in requests.get(
        server.url + "/api/jobs", timeout=30).json()["jobs"]])
    assert len(states) >= 2 and jobs.state(jobs.submit(**TINY))["state"] == "done"

    def late():
        try:
            return submit(server).status_code
        except requests.RequestException:
            return 0
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(late) for _ in range(6)]
        time.sleep(0.5)
        server.process.terminate()
        server.process.wait(30)
        assert {one.result() for one in asked} <= {0, 202, 503}
    s3.heal()
    server.start()
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"
