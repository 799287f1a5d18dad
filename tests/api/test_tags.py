"""Tags that a request gives its job from the start, in every dialect."""
import io
import json

import pytest
import requests
from PIL import Image
from sdapi_client import Sdapi
from test_mcp import Mcp
from test_native import TINY, Native

WANTED = ["cats", "häuser", "two words"]
FAULTY = [["a,b"], [""], [" x"], ["x" * 101], [7], ["t"] * 33, "cats", {"a": 1}]
SMALL = {"prompt": "a red cube", "size": "64x64", "steps": 2, "seed": 7}


@pytest.fixture(scope="module")
def api(serve_module):
    return Native(serve_module().url)


def newest(api, count=1):
    """The tags of the newest job, which are those that were wanted."""
    jobs = api.get(f"/api/jobs?limit={count}")["jobs"]
    return [sorted(job["tags"]) for job in jobs]


def test_native(api):
    job = api.submit(tags=WANTED + ["cats"])
    assert job["tags"] == sorted(WANTED) and job["images"] == []
    done = api.finish(job)
    assert done["tags"] == sorted(WANTED) and done["images"][0]["tags"] == []
    assert {"tag": "häuser", "jobs": 1} in api.get("/api/tags")["tags"]
    found = api.get("/api/jobs", params={"tag": "two words"})["jobs"]
    assert [j["id"] for j in found] == [job["id"]]
    assert "tags" not in done["params"], "what is said of a job is no field of its request"
    assert api.post(f"/api/jobs/{job['id']}/retry", status=202)["tags"] == []
    for none in (None, []):
        assert api.submit(tags=none)["tags"] == []


def test_native_batch(api):
    body = {"jobs": [{**TINY, "tags": ["first"]}, TINY, {**TINY, "tags": ["third", "cats"]}]}
    jobs = api.post("/api/jobs/batch", body, status=202)["jobs"]
    assert [job["tags"] for job in jobs] == [["first"], [], ["cats", "third"]]
    body["jobs"][1] = {**TINY, "tags": ["a,b"]}
    error = api.post("/api/jobs/batch", body, status=400)
    assert error["param"] == "jobs[1].tags"


def test_native_experiment(api):
    made = api.post("/api/experiments", {"name": "x", "base": {**TINY, "tags": ["sweep"]},
                                         "axes": [{"field": "steps", "values": [1, 2]}]}, status=202)
    assert [api.job(cell["id"])["tags"] for cell in made["cells"]] == [["sweep"]] * 2


@pytest.mark.parametrize("tags", FAULTY)
def test_faults(api, tags):
    before = [job["id"] for job in api.get("/api/jobs")["jobs"]]
    error = api.post("/api/jobs", {**TINY, "tags": tags}, status=400)
    assert error["param"] == "tags" and error["message"].startswith("tags")
    answer = requests.post(api.url + "/v1/images/generations", timeout=60,
                           json={**SMALL, "tags": tags})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["param"] == "tags" and error["code"] in ("invalid_value", "invalid_type")
    answer = requests.post(api.url + "/sdapi/v1/txt2img", timeout=60,
                           json={"width": 64, "height": 64, "steps": 1, "tags": tags})
    assert answer.status_code == 422 and "tags" in answer.text
    assert "tags" in Mcp(api.url, modern=True).fails("generate_image", **TINY, tags=tags)
    assert [job["id"] for job in api.get("/api/jobs")["jobs"]] == before, "nothing is queued"


def test_openai(api):
    api.post("/v1/images/generations", {**SMALL, "tags": WANTED})
    assert newest(api) == [sorted(WANTED)]
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    answer = requests.post(api.url + "/v1/images/edits", files={"image": picture.getvalue()},
                           data={**SMALL, "tags": json.dumps(WANTED)}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert newest(api) == [sorted(WANTED)]
    api.post("/v1/chat/completions",
             {"model": "pictor-mini", "messages": [{"role": "user", "content": "a cube"}],
              "size": "64x64", "steps": 2, "tags": ["chat"]})
    assert newest(api) == [["chat"]]
    api.post("/v1/responses", {"model": "pictor-mini", "input": "a cube", "steps": 2,
                               "tools": [{"type": "image_generation", "size": "64x64"}],
                               "tags": ["responses"]})
    assert newest(api) == [["responses"]]


def test_sdapi(api):
    sd = Sdapi(api.url)
    painted = sd.txt2img(tags=WANTED)
    assert newest(api) == [sorted(WANTED)]
    assert "tags" not in painted.parameters and "Ignored" not in painted.info_text
    # A job of a script each.
    sd.txt2img(prompt="a|b", script_name="prompt matrix", tags=["matrix"],
               script_args=[False, False, "positive", "comma", 0])
    assert newest(api, 2) == [["matrix"]] * 2


def test_mcp(api):
    said = Mcp(api.url, modern=True).call("generate_image", **TINY, tags=WANTED)
    assert api.job(said["structuredContent"]["job"])["tags"] == sorted(WANTED)
