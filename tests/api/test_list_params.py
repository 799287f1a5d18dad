"""GET /api/jobs?params=: jobs by the fields of their requests."""
import json

import pytest
import requests

SMALL = {"prompt": "a cat", "width": 64, "height": 64, "steps": 1}


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module()
    requests.post(server.url + "/api/queue/pause", json={}, timeout=30)  # none of them has to be painted
    for change in ({}, {"sampler": "Heun", "steps": 3}, {"sampler": "Heun", "tiling": True, "prompt": "a dog"},
                   {"guidance": 2.5, "seed": "9223372036854775807"}, {"negative_prompt": "it's \"blurry\""}):
        assert requests.post(server.url + "/api/jobs", json={**SMALL, **change}, timeout=30).status_code == 202
    return server


def found(server, params, **more):
    answer = requests.get(server.url + "/api/jobs", params={"params": json.dumps(params), **more}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["jobs"]


@pytest.mark.parametrize("params, count", [
    ({"steps": 1}, 4), ({"steps": 3}, 1), ({"steps": 3.0}, 1), ({"sampler": "Heun"}, 2), ({"sampler": "Heun", "steps": 1}, 1), ({"tiling": True}, 1),
    ({"tiling": False}, 4), ({"guidance": 2.5}, 1), ({"seed": 9223372036854775807}, 1), ({"seed": 9223372036854775806}, 0), ({"width": 64, "height": 64}, 5),
    ({"negative_prompt": "it's \"blurry\""}, 1), ({"model": "pictor-mini"}, 5), ({"steps": "1"}, 0)])
def test_jobs_by_their_fields(server, params, count):
    jobs = found(server, params)
    assert len(jobs) == count
    for job in jobs:
        assert all(job["params"][name] == value for name, value in params.items())


def test_with_words_and_pages(server):
    assert [job["params"]["prompt"] for job in found(server, {"sampler": "Heun"}, q="dog")] == ["a dog"]
    first = requests.get(server.url + "/api/jobs", params={"params": '{"steps": 1}', "limit": 3}, timeout=30).json()
    rest = found(server, {"steps": 1}, before=first["next"])
    assert len(first["jobs"]) == 3 and len(rest) == 1


@pytest.mark.parametrize("params, said", [
    ("steps", "JSON object"), ('{"steps": 1} x', "JSON object"), ('{"steps": 1', "JSON object"), ("[]", "JSON object"), ("{}", "JSON object"), ('{"nonesuch": 1}', 'no field "nonesuch"'),
    ('{"steps": [1]}', "must be text, a number"), ('{"steps": null}', "must be text, a number"), ('{"%s": 1}' % ("x" * 1000), "at most 1000 bytes")])
def test_what_is_no_search(server, params, said):
    answer = requests.get(server.url + "/api/jobs", params={"params": params}, timeout=30)
    assert answer.status_code == 400 and said in answer.json()["error"]["message"] and answer.json()["error"]["param"] == "params"
