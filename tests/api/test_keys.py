"""What a key may do, and what ends when it is revoked, beside a running server."""
import subprocess
import threading

import pytest
import requests
from conftest import PROGRAM
from openai_client import TINY, wait_for
from raw_client import Raw

LONG = {"prompt": "x", "steps": 150, "width": 512, "height": 512, "count": 16}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def revoke(server, name):
    subprocess.run([PROGRAM, "keys", "revoke", name, *server.place()],
                   check=True, capture_output=True, cwd=server.folder)


def test_what_needs_an_administrator(serve):
    server = serve()

    def ask(headers):
        return [requests.get(server.url + "/metrics", headers=headers, timeout=30),
                requests.post(server.url + "/sdapi/v1/unload-checkpoint", headers=headers,
                              timeout=30)]

    assert [a.status_code for a in ask({})] == [200, 200], "without keys everybody may"
    user, admin = bearer(server.add_key("user")), bearer(server.add_key("admin", "--admin"))
    metrics, unload = ask(user)
    assert metrics.status_code == unload.status_code == 403
    assert metrics.json()["error"]["code"] == "denied"
    assert "administer" in metrics.json()["error"]["message"]
    assert unload.json()["error"] == "HTTPException" and "administer" in unload.json()["detail"]
    assert [a.status_code for a in ask(admin)] == [200, 200]
    assert [a.status_code for a in ask({})] == [401, 401]


def test_api_auth_is_everybody(serve):
    server = serve("--api-auth=me:secret")
    answer = requests.get(server.url + "/metrics", auth=("me", "secret"), timeout=30)
    assert answer.status_code == 200
    assert requests.get(server.url + "/metrics", auth=("me", "x"), timeout=30).status_code == 401


@pytest.mark.parametrize("running", [False, True])
def test_revoked_keys_end(serve, running):
    """Their streams, the requests that wait, and their jobs, the one that is painted too."""
    server = serve()
    admin, user = bearer(server.add_key("admin", "--admin")), server.add_key("user")

    def state(job):
        return requests.get(f"{server.url}/api/jobs/{job}", headers=admin,
                            timeout=30).json()["state"]

    def submit(headers, **fields):
        return requests.post(server.url + "/api/jobs", json={**LONG, **fields}, headers=headers,
                             timeout=30).json()["id"]

    first = submit(bearer(user) if running else admin)
    wait_for(lambda: state(first) == "running")
    queued = [submit(bearer(user)) for _ in range(3)]
    other = submit(admin, priority=-50)
    answers = []
    waiting = [threading.Thread(target=lambda path=path, body=body: answers.append(requests.post(
        server.url + path, json=body, headers=bearer(user), timeout=120)))
        for path, body in (("/v1/images/generations", TINY),
                           ("/v1/images/generations", {**TINY, "stream": True}),
                           ("/sdapi/v1/txt2img", {"steps": 1, "width": 64, "height": 64}))]
    streams = [Raw(server, 60).send(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {user}\r\n\r\n".encode())
        for path in ("/api/events", f"/api/jobs/{queued[0]}/events")]
    for thread in waiting:
        thread.start()
    for stream in streams:
        assert stream.head()[0] == 200
    wait_for(lambda: len(requests.get(server.url + "/api/jobs?state=queued", headers=admin,
                                      timeout=30).json()["jobs"]) == 7)

    revoke(server, "user")
    for thread in waiting:
        thread.join(60)
    for stream in streams:
        while not stream.rest.endswith(b"\r\n0\r\n\r\n"):
            assert stream.more()
    # An answer that had begun ends with an error in it.
    assert len(answers) == 3
    for answer in answers:
        assert answer.status_code in (401, 409) or b"event: error" in answer.content or \
            not answer.content, (answer.status_code, answer.text)
        assert b"completed" not in answer.content
    wait_for(lambda: {state(job) for job in queued} == {"cancelled"})
    jobs = requests.get(server.url + "/api/jobs", headers=admin, timeout=30).json()["jobs"]
    left = {job["id"]: job["state"] for job in jobs if job["state"] != "cancelled"}
    assert set(left) == ({other} if running else {first, other}), left
    assert requests.get(server.url + "/api/jobs", headers=bearer(user),
                        timeout=30).status_code == 401
