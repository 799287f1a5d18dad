"""Jobs at ComfyUI: a workflow of the operator's is filled in, run and its picture fetched."""
import base64
import io
import json
import subprocess

import pytest
import requests
from comfy import Comfy, paint_over, text_to_image
from conftest import PROGRAM
from PIL import Image
from processes import TINY, Jobs, until
from test_upstream import cloud, png


@pytest.fixture
def comfy():
    comfy = Comfy()
    yield comfy
    comfy.close()


@pytest.fixture
def front(serve, tmp_path):
    """front(comfy, workflow, settings...) is a server whose model "cloud" is v1-5 there."""
    def start(comfy, workflow=None, *lines, models="cloud = v1-5.safetensors"):
        flow = tmp_path / "flow.json"
        flow.write_text(json.dumps(workflow or text_to_image()))
        config = tmp_path / "pictor.ini"
        config.write_text("\n".join(["[upstream comfy]", "kind = comfyui", f"base_url = {comfy.url}",
                                     "key = secret-of-comfy", f"workflow = {flow}",
                                     f"models = {models}", *lines, ""]))
        server = serve(f"--config={config}")
        return server, Jobs(server.url)
    return start


def text(data):
    return base64.b64encode(data).decode()


def test_pictures(front, comfy):
    server, jobs = front(comfy)
    job = cloud(jobs, count=2, seed=(1 << 53) + 11, guidance=4.5, sampler="DPM++ 2M", scheduler="karras",
                prompt='a "red" circle\nhere', negative_prompt="blue", width=128)
    assert job["state"] == "done", job["error"]
    assert [jobs.picture(i) for i in job["images"]] == list(comfy.pictures.values()), "byte for byte"
    first, second = comfy.graphs()
    assert first["3"]["inputs"] == {
        "seed": (1 << 53) + 11, "steps": 2, "cfg": 4.5, "sampler_name": "dpmpp_2m",
        "scheduler": "karras", "denoise": 1, "model": ["4", 0], "positive": ["6", 0],
        "negative": ["7", 0], "latent_image": ["5", 0]}
    assert first["6"]["inputs"]["text"] == 'a "red" circle\nhere, 100% fine'
    assert first["7"]["inputs"]["text"] == "blue"
    assert first["5"]["inputs"] == {"width": 128, "height": 64, "batch_size": 1}
    assert first["4"]["inputs"]["ckpt_name"] == "v1-5.safetensors"
    assert first["9"] == text_to_image()["9"]
    assert second["3"]["inputs"]["seed"] == (1 << 53) + 12
    assert comfy.requests[0][2]["Authorization"] == "Bearer secret-of-comfy"


def test_what_the_client_left_out_is_the_workflows(front, comfy):
    _, jobs = front(comfy)
    assert jobs.state(jobs.submit(prompt="%seed% of all", model="cloud", seed=3))["state"] == "done"
    graph = comfy.graphs()[0]
    assert graph["3"]["inputs"]["steps"] == 12 and graph["3"]["inputs"]["sampler_name"] == "euler"
    assert graph["7"]["inputs"]["text"] == "ugly"
    assert graph["6"]["inputs"]["text"] == "%seed% of all, 100% fine", "what is put in is not read"


def test_painting_over(front, comfy):
    _, jobs = front(comfy, paint_over())
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (0, 0, 32, 64))
    out = io.BytesIO()
    mask.save(out, "PNG")
    job = cloud(jobs, init_image=text(png((9, 9, 9))), mask=text(out.getvalue()), strength=0.5,
                mask_invert=True)
    assert job["state"] == "done", job["error"]
    graph = comfy.graphs()[0]
    assert comfy.files[graph["10"]["inputs"]["image"]] == png((9, 9, 9))
    sent = Image.open(io.BytesIO(comfy.files[graph["12"]["inputs"]["image"]]))
    assert (sent.getpixel((5, 5)), sent.getpixel((60, 5))) == (0, 255)
    assert graph["3"]["inputs"]["denoise"] == 0.5
    assert "wants a picture" in cloud(jobs)["error"]["message"]
    assert "wants a mask" in cloud(jobs, init_image=text(png()))["error"]["message"]


def test_pictures_take_the_place_of_those_before(front, comfy):
    server, jobs = front(comfy, paint_over(), "concurrency = 2")
    picture, other = text(png((9, 9, 9))), text(png((7, 7, 7)))
    for image in (picture, other):
        job = cloud(jobs, init_image=image, mask=text(png()))
        assert job["state"] == "done", job["error"]
    assert len(comfy.files) == 2, "one to begin from and one mask"
    assert comfy.files[comfy.graphs()[1]["10"]["inputs"]["image"]] == png((7, 7, 7))
    comfy.seconds = 1
    ids = [jobs.submit(**{**TINY, "model": "cloud", "init_image": image, "mask": text(png())})
           for image in (picture, other, picture, other)]
    assert [jobs.state(id)["state"] for id in ids] == ["done"] * 4
    assert len(comfy.files) == 4, "two jobs at a time"
    names = set(comfy.files)
    server.restart()
    assert cloud(jobs, init_image=picture, mask=text(png()))["state"] == "done"
    assert set(comfy.files) == names


def test_a_workflow_without_pictures_takes_none(front, comfy):
    _, jobs = front(comfy)
    assert "takes no picture" in cloud(jobs, init_image=text(png()))["error"]["message"]
    assert comfy.requests == []


def test_every_api(front, comfy):
    server, _ = front(comfy)
    answer = requests.post(server.url + "/v1/images/generations", timeout=60, json={
        "prompt": "x", "model": "cloud", "size": "64x64"})
    assert answer.status_code == 200, answer.text
    answer = requests.post(server.url + "/sdapi/v1/txt2img", timeout=60, json={
        "prompt": "x", "width": 64, "height": 64, "sampler_name": "Euler a",
        "override_settings": {"sd_model_checkpoint": "cloud"}})
    assert answer.status_code == 200, answer.text
    assert comfy.graphs()[1]["3"]["inputs"]["sampler_name"] == "euler_ancestral"


def test_what_the_workflow_has_no_place_for_is_noted(front, comfy):
    flow = text_to_image()
    flow["3"]["inputs"].update(seed=7, sampler_name="euler")
    _, jobs = front(comfy, flow)
    job = cloud(jobs, seed=9, sampler="DDIM", steps=3, guidance=4, tiling=True, width=128)
    assert job["state"] == "done", job["error"]
    assert {note.split(":")[0] for note in job["notes"]} == {"seed", "sampler", "tiling"}
    assert "not told of it" in job["notes"][0]


def test_its_checkpoints_are_listed(front, comfy):
    comfy.checkpoints += ["sdxl/base.safetensors"]
    server, jobs = front(comfy, None, models="*")
    until(lambda: "sdxl/base.safetensors" in requests.get(server.url + "/v1/models", timeout=30).text)
    job = jobs.state(jobs.submit(**{**TINY, "model": "sdxl/base.safetensors"}))
    assert job["state"] == "done"
    assert comfy.graphs()[0]["4"]["inputs"]["ckpt_name"] == "sdxl/base.safetensors"


def test_errors_are_told(front, comfy):
    server, jobs = front(comfy, None, models="cloud = v1-5.safetensors, gone = gone.ckpt")
    job = jobs.state(jobs.submit(**{**TINY, "model": "gone"}))
    assert "ckpt_name: 'gone.ckpt' not in" in job["error"]["message"]
    comfy.fails = "Allocation on device"
    assert "Allocation on device" in cloud(jobs)["error"]["message"]
    comfy.fails = None
    for path, trouble, words in (
            ("/prompt", (200, {}), "did not say"), ("/prompt", (500, b"oops"), "status 500"),
            ("/prompt", (200, {"prompt_id": "../x"}), "did not say"),
            ("/prompt", (401, b""), "refused this server's key"), ("/view", (404, b""), "hand out"),
            ("/view", (200, b"no picture"), "cannot be read")):
        comfy.trouble = {path: trouble}
        assert words in cloud(jobs)["error"]["message"], path
    comfy.trouble = {}
    assert cloud(jobs)["state"] == "done"


def test_a_history_that_cannot_be_asked_for_a_while(front, comfy):
    comfy.seconds = 2
    server, jobs = front(comfy)
    job = jobs.submit(**{**TINY, "model": "cloud"})
    until(lambda: comfy.graphs())
    comfy.trouble = {f"/history/{run}": (502, b"") for run in comfy.pending} | {"/queue": (502, b"")}
    until(lambda: len([1 for _, path, _, _ in comfy.requests if "/history" in path]) >= 2)
    comfy.trouble = {}
    assert jobs.state(job)["state"] == "done" and len(comfy.graphs()) == 1


def test_what_takes_too_long(front, comfy):
    comfy.seconds = 30
    _, jobs = front(comfy, None, "timeout_seconds = 2")
    assert "longer than 2 s" in cloud(jobs)["error"]["message"]
    until(lambda: comfy.interrupted)


def test_who_does_not_wait_any_more(front, comfy):
    comfy.seconds = 30
    _, jobs = front(comfy)
    job = jobs.submit(**{**TINY, "model": "cloud"})
    until(lambda: any("/queue" in path for _, path, _, _ in comfy.requests))
    run = comfy.pending[0]
    jobs.post(job, "cancel")
    until(lambda: comfy.interrupted == [run] and not comfy.pending)


def progress_of(server, job):
    return requests.get(f"{server.url}/api/jobs/{job}", timeout=30).json()["progress"]


def test_what_waits_there_says_so_and_interrupts_nobody(front, comfy):
    """Behind others' runs: how many there are, whatever order the list has; cancelled, it alone goes."""
    strangers = [comfy.add_stranger() for _ in range(3)]
    server, jobs = front(comfy)
    job = jobs.submit(**{**TINY, "model": "cloud"})
    until(lambda: progress_of(server, job)["ahead"] == 3)
    progress = progress_of(server, job)
    assert progress["eta_seconds"] is None and progress["step"] == 0
    comfy.pending.pop(0)
    until(lambda: progress_of(server, job)["ahead"] == 2)
    jobs.post(job, "cancel")
    until(lambda: comfy.pending == strangers[1:])
    assert comfy.interrupted == []


def test_steps_are_heard(front, comfy):
    comfy.seconds = 4
    server, jobs = front(comfy)
    job = jobs.submit(**{**TINY, "model": "cloud", "steps": 8, "preview_every": 1})
    with requests.get(f"{server.url}/api/jobs/{job}/events", stream=True, timeout=30) as stream:
        said = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith(b"data: {")]
    steps = [s for s in said if "step" in s and s["steps"] == 8]
    assert len({s["step"] for s in steps}) >= 4 and [s["step"] for s in steps] == sorted(s["step"] for s in steps)
    assert all(s["ahead"] == 0 for s in steps)
    previews = [s["preview"] for s in steps if s["preview"]]
    assert previews, "its previews are shown"
    picture = Image.open(io.BytesIO(base64.b64decode(previews[-1].split(",")[1])))
    assert picture.getpixel((2, 2))[1] > 150
    assert not comfy.sockets or until(lambda: not comfy.sockets)  # closed with the job


def test_a_server_without_a_websocket(front, comfy):
    comfy.speaks = False
    comfy.seconds = 1.5
    _, jobs = front(comfy)
    assert cloud(jobs, count=2)["state"] == "done"
    assert len([1 for _, path, _, _ in comfy.requests if path.startswith("/ws")]) <= 2


@pytest.mark.parametrize("content, words", [
    ("{}", "object of nodes"), ("[", "a workflow"), ('{"nodes": [], "links": []}', "Export (API)"),
    ('{"1": {"class_type": "X"}}', "class_type and inputs"),
    ('{"1": {"class_type": "X", "inputs": {"text": "fixed"}}}', "%prompt%"), (None, "workflow")])
def test_files_that_are_no_workflow(tmp_path, content, words):
    flow, config = tmp_path / "flow.json", tmp_path / "pictor.ini"
    if content is not None:
        flow.write_text(content)
    config.write_text(f"[upstream c]\nkind = comfyui\nbase_url = http://127.0.0.1:1\n"
                      f"workflow = {flow}\nmodels = a\n")
    run = subprocess.run([PROGRAM, "serve", f"--config={config}", "--listen=127.0.0.1:0",
                          f"--data={tmp_path / 'data'}"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and words in run.stderr, run.stderr
