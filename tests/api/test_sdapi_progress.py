"""SD WebUI dialect: progress, interrupt, skip, many clients."""
import base64
import io
import threading
import time

import pytest
import requests
from PIL import Image
from sdapi_client import Sdapi, wait_for

LONG = {"width": 128, "height": 128, "steps": 40, "sampler_name": "Euler"}


class Background(threading.Thread):
    """A request that runs beside the test; `result` is its answer or exception."""

    def __init__(self, sd, **fields):
        super().__init__(daemon=True)
        self.sd, self.fields, self.result = Sdapi(sd.url), fields, None
        self.start()

    def run(self):
        try:
            self.result = self.sd.txt2img(**self.fields)
        except Exception as error:  # pylint: disable=broad-except
            self.result = error

    def done(self, timeout=120):
        self.join(timeout)
        assert not self.is_alive()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def wait_idle(sd):
    wait_for(lambda: sd.progress()["state"]["job_count"] == 0)


@pytest.fixture(autouse=True)
def idle(sd):
    wait_idle(sd)
    yield
    sd.post("interrupt")
    wait_idle(sd)


def test_idle(sd):
    progress = sd.progress()
    assert progress == {
        "progress": 0, "eta_relative": 0,
        "state": {"skipped": False, "interrupted": False, "stopping_generation": False, "job": "",
                  "job_count": 0, "job_timestamp": "0", "job_no": 0, "sampling_step": 0,
                  "sampling_steps": 0},
        "current_image": None, "textinfo": None}
    assert sd.get("progress", params={"skip_current_image": "banana"},
                  status=422)["detail"][0]["loc"] == ["query", "skip_current_image"]


def test_busy(sd):
    job = Background(sd, **LONG)
    wait_for(lambda: sd.progress()["state"]["job_count"] == 1)
    seen, slowest = [], 0.0
    while job.is_alive():
        start = time.monotonic()
        progress = sd.progress()
        slowest = max(slowest, time.monotonic() - start)
        if progress["state"]["job_count"] == 1:
            assert progress["state"]["job"] == "scripts_txt2img"
            assert progress["state"]["sampling_steps"] == 40
            assert progress["current_image"] is None
            assert 0.01 <= progress["progress"] <= 1 and progress["eta_relative"] >= 0
            seen.append(progress["progress"])
        time.sleep(0.02)
    job.done()
    assert seen == sorted(seen) and len(set(seen)) > 3
    assert slowest < 0.5  # nothing waits for the picture; the margin is for a loaded machine
    wait_idle(sd)
    assert sd.progress()["progress"] == 0


def test_busy_with_a_second_pass(sd):
    """Each pass is a job of the WebUI's, with steps of its own."""
    job = Background(sd, width=64, height=64, steps=60, n_iter=2, enable_hr=True, hr_scale=2,
                     hr_second_pass_steps=30, sampler_name="Euler")
    seen = []
    while job.is_alive():
        progress = sd.progress()
        state = progress["state"]
        if state["job_count"] > 0:
            assert state["job_count"] == 4
            assert state["sampling_steps"] == (30 if state["job_no"] % 2 else 60), state
            assert 0 <= state["sampling_step"] <= state["sampling_steps"]
            seen.append((state["job_no"], state["sampling_step"], progress["progress"]))
    job.done()
    assert seen == sorted(seen) and [s[2] for s in seen] == sorted(s[2] for s in seen)
    assert {s[0] for s in seen} == {0, 1, 2, 3}


def test_preview(sd):
    job = Background(sd, **LONG, override_settings={"show_progress_every_n_steps": 1})
    pictures = []
    while job.is_alive():
        current = sd.progress(skip=False)["current_image"]
        if current:
            pictures.append(current)
        time.sleep(0.02)
    job.done()
    assert pictures
    image = Image.open(io.BytesIO(base64.b64decode(pictures[0])))
    image.load()
    assert image.width == image.height


def test_interrupt(sd):
    whole = sd.txt2img(**{**LONG, "steps": 3})
    job = Background(sd, **{**LONG, "steps": 150})
    wait_for(lambda: sd.progress()["state"]["sampling_step"] >= 3)
    start = time.monotonic()
    assert sd.post("interrupt") == {}
    done = job.done()
    assert time.monotonic() - start < 10
    assert len(done.images) == 1 and done.image.size == (128, 128)
    assert len(done.info["all_seeds"]) == 1
    assert sd.txt2img(**{**LONG, "steps": 3}).files == whole.files


def test_interrupt_when_idle_has_no_effect(sd):
    whole = sd.txt2img()
    sd.post("interrupt")
    assert sd.txt2img().files == whole.files


def test_interrupted_batch(sd):
    job = Background(sd, **{**LONG, "n_iter": 4})
    wait_for(lambda: sd.progress()["state"]["sampling_step"] >= 2)
    sd.post("interrupt")
    done = job.done()
    assert len(done.images) < 4
    assert len(done.info["all_seeds"]) == 4


def test_skip_of_the_only_picture(sd):
    job = Background(sd, **{**LONG, "steps": 150})
    wait_for(lambda: sd.progress()["state"]["sampling_step"] >= 3)
    assert sd.post("skip") is None
    assert len(job.done().images) == 1


def test_skip_goes_on_with_the_next_picture(sd):
    fields = {**LONG, "steps": 60, "seed": 4, "n_iter": 2}
    whole = sd.txt2img(**{**fields, "n_iter": 1, "seed": 5})
    job = Background(sd, **fields)
    wait_for(lambda: sd.progress()["state"]["sampling_step"] >= 3)
    assert sd.post("skip") is None
    done = job.done()
    assert len(done.images) == 2 and done.info["all_seeds"] == [4, 5]
    assert done.images[1].tobytes() == whole.image.tobytes()


def test_interrupt_of_several_jobs(sd):
    """Of a request that is a job a picture, no next one begins; skipping one, it does."""
    from sdapi_client import Painted, encode, gradient
    body = {**LONG, "steps": 60, "denoising_strength": 1, "init_images": [encode(gradient(128, 128))] * 3,
            "batch_size": 3}
    for word, pictures in (("interrupt", 1), ("skip", 3)):
        job = Background(sd)
        job.done()
        job = threading.Thread(target=lambda: answers.append(Sdapi(sd.url).post("img2img", body)))
        answers = []
        job.start()
        wait_for(lambda: sd.progress()["state"]["sampling_step"] >= 3)
        sd.post(word)
        job.join(120)
        assert len(Painted(answers[0]).images) == pictures


def test_hang_up_cancels(sd):
    for seconds in (0.3, 0.33, 0.37, 0.42, 0.48):
        with pytest.raises(requests.exceptions.ReadTimeout):
            sd.request("POST", "txt2img", timeout=seconds,
                       json={**LONG, "width": 512, "steps": 150, "n_iter": 8})
        wait_idle(sd)
        jobs = sd.session.get(sd.url + "/api/jobs?limit=1").json()["jobs"]
        assert jobs[0]["state"] == "cancelled"


def test_many_clients(sd):
    jobs = [Background(sd, seed=i) for i in range(20)]
    wait_for(lambda: sd.progress()["state"]["job_count"] != 0)
    slowest = 0.0
    for _ in range(10):
        start = time.monotonic()
        sd.get("samplers")
        slowest = max(slowest, time.monotonic() - start)
    assert slowest < 0.5
    for i, job in enumerate(jobs):
        assert job.done().info["seed"] == i


def test_task_id(sd):
    task = "task(x%d)" % time.time_ns()

    def state():
        return sd.post("/internal/progress", {"id_task": task})

    unknown = state()
    assert (unknown["active"], unknown["queued"], unknown["completed"]) == (False, False, False)
    assert unknown["progress"] is None and unknown["textinfo"] == "Waiting..."
    first = Background(sd, **LONG)
    wait_for(lambda: sd.progress()["state"]["job_count"] == 1)
    second = Background(sd, **LONG, force_task_id=task)
    wait_for(lambda: state()["queued"])
    assert state()["textinfo"].startswith("In queue: ")
    assert task in sd.get("/internal/pending-tasks")["tasks"]
    first.done()
    wait_for(lambda: state()["active"])
    active = state()
    assert 0 < active["progress"] <= 1
    second.done()
    assert state()["completed"]


def test_task_id_among_many_jobs(serve):
    """A task is found however many jobs came after it, by those alone who may see it."""
    server = serve("--max-queue-per-key=1000")
    users = [{"Authorization": f"Bearer {server.add_key(name)}"} for name in ("one", "two")]

    def post(path, user, **body):
        answer = requests.post(server.url + path, json=body, headers=users[user], timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def state(user, task):
        answer = post("/internal/progress", user, id_task=task)
        return [name for name in ("active", "queued", "completed") if answer[name]]

    fields = {"prompt": "x", "steps": 1, "width": 64, "height": 64}
    for user in (0, 1):
        post("/sdapi/v1/txt2img", user, **fields, force_task_id="both")
    post("/sdapi/v1/txt2img", 0, **fields, force_task_id="mine")
    post("/api/jobs", 0, **{**fields, "steps": 150, "count": 16, "width": 512, "height": 512})
    for _ in range(210):
        post("/api/jobs", 0, **fields)
    assert state(0, "mine") == ["completed"] and state(1, "mine") == []
    assert state(0, "both") == state(1, "both") == ["completed"]
    post("/api/jobs", 0, **fields, tag="both")
    assert state(0, "both") == ["queued"] and state(1, "both") == ["completed"]
    assert state(0, "") == []
