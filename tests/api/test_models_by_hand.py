"""Models that are loaded by hand, and made the default; what a key takes up of its limits."""
import time

import pytest
import requests

SMALL = {"prompt": "a cat", "width": 64, "height": 64, "steps": 1}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def far(serve, tmp_path):
    (tmp_path / "ini").write_text("[upstream far]\nbase_url = http://127.0.0.1:9/v1\nmodels = away\nmax_retries = 0\n")
    return serve(f"--config={tmp_path / 'ini'}")


def models(server, **headers):
    answer = requests.get(server.url + "/api/models", timeout=30, **headers).json()
    return answer["default"], {model["name"]: model for model in answer["models"]}


def post(server, path, body, **headers):
    return requests.post(server.url + path, json=body, timeout=30, **headers)


def test_the_default_is_chosen(far):
    usual, known = models(far)
    assert usual == "pictor-mini" and known["away"]["edits"] == 16 and known["pictor-mini"]["edits"] == 0
    assert post(far, "/api/models/default", {"model": "away"}).status_code == 204
    assert models(far)[0] == "away"
    far.restart()
    usual, known = models(far)
    assert usual == "away" and known["away"]["default"] and not known["pictor-mini"]["default"]
    assert post(far, "/api/jobs", SMALL).json()["params"]["model"] == "away"
    unknown = post(far, "/api/models/default", {"model": "no"})
    assert unknown.status_code == 404 and unknown.json()["error"]["param"] == "model"
    assert models(far)[0] == "away"
    assert post(far, "/api/models/default", {"model": 7}).status_code == 400
    assert post(far, "/api/models/default", {}).status_code == 204
    assert models(far)[0] == "pictor-mini"


def test_a_model_is_loaded(far):
    def is_loaded(wanted):
        end = time.monotonic() + 60
        while models(far)[1]["pictor-mini"]["loaded"] != wanted:
            assert time.monotonic() < end
            time.sleep(0.1)

    is_loaded(True)  # the default is, from the start
    assert post(far, "/api/models/unload", {}).status_code == 202
    is_loaded(False)
    assert post(far, "/api/models/load", {"model": "pictor-mini"}).status_code == 202
    is_loaded(True)
    for body, status in (({"model": "no"}, 404), ({"model": "away"}, 400), ({}, 400), ({"model": ""}, 400)):
        answer = post(far, "/api/models/load", body)
        assert answer.status_code == status and answer.json()["error"]["param"] == "model", body


def test_who_may(serve):
    server = serve()
    admin, user = bearer(server.add_key("admin", "--admin")), bearer(server.add_key("user"))
    for path in ("/api/models/load", "/api/models/default"):
        assert post(server, path, {"model": "pictor-mini"}, headers=user).status_code == 403
        assert post(server, path, {"model": "pictor-mini"}, headers=admin).ok


def test_what_keys_take_up(serve):
    server = serve("--max-queue-per-key=7", "--max-requests-per-minute=600")
    admin, user = bearer(server.add_key("admin", "--admin")), bearer(server.add_key("user"))
    post(server, "/api/queue/pause", {}, headers=admin)
    for _ in range(2):
        assert post(server, "/api/jobs", SMALL, headers=user).status_code == 202
    requests.post(server.url + "/v1/files", headers=user, data={"purpose": "vision"}, files={"file": ("a.txt", b"12345")},
                  timeout=30)
    answer = requests.get(server.url + "/api/keys", headers=admin, timeout=30).json()
    assert answer["limits"] == {"queue": 7, "input_bytes": 1 << 30, "files_bytes": 1 << 30, "open_requests": 256,
                                "requests_per_minute": 600}
    use = {key["name"]: key["use"] for key in answer["keys"]}
    assert use["admin"] == {"queued": 0, "running": 0, "input_bytes": 0, "files": 0, "files_bytes": 0}
    assert (use["user"]["queued"], use["user"]["running"]) == (2, 0)
