"""Addresses that are told of jobs: docs/api.md."""
import base64
import hashlib
import hmac
import http.server
import json
import socket
import subprocess
import threading
import time

import pytest
from conftest import PROGRAM
from openai_client import wait_for
from test_native import Native, check_job

NOBODY = "0" * 32


class Listener:
    """A web server that keeps what it is told, and answers with `status`."""

    def __init__(self):
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.told.append((dict(self.headers), body))
                self.send_response(listener.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.told, self.status = [], 200
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def jobs(self):
        return [json.loads(body)["job"]["id"] for _, body in self.told]


@pytest.fixture
def listener():
    listener = Listener()
    yield listener
    listener.server.shutdown()
    listener.server.server_close()


def check(told, secret):
    """That a message is signed, by the words of the Standard Webhooks."""
    headers, body = told
    headers = {name.lower(): value for name, value in headers.items()}
    id, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    signed = f"{id}.{stamp}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == "v1," + mac
    assert headers["content-type"] == "application/json"
    message = json.loads(body)
    assert message["id"] == id
    return message


def only(api):
    webhook, = api.get("/api/webhooks")["webhooks"]
    return webhook


def test_told_and_signed(serve, listener):
    api = Native(serve("--webhook-private").url)
    made = api.post("/api/webhooks", {"url": listener.url}, 201)
    assert made["states"] == ["done", "failed", "cancelled"] and made["all"] is False
    job = api.done()
    wait_for(lambda: listener.told)
    message = check(listener.told[0], made["secret"])
    assert message["type"] == "job.done" and check_job(message["job"])["id"] == job["id"]
    assert message["job"]["images"] == job["images"]
    wait_for(lambda: only(api)["told"] == 1)
    webhook = only(api)
    assert (webhook["pending"], webhook["failed"], webhook["last_error"]) == (0, 0, None)
    assert "secret" not in webhook and webhook["last_at"]
    assert api.request("DELETE", "/api/webhooks/" + made["id"]).status_code == 204
    api.done()
    time.sleep(1.5)
    assert len(listener.told) == 1 and api.get("/api/webhooks") == {"webhooks": []}
    assert api.request("DELETE", "/api/webhooks/" + made["id"]).status_code == 404


def test_one_that_does_not_answer_hides_no_other(serve, listener):
    """However much it is still to be told."""
    deaf = socket.create_server(("127.0.0.1", 0))
    api = Native(serve("--webhook-private").url)
    api.post("/api/queue/pause")
    jobs = [api.submit() for _ in range(130)]
    api.post("/api/webhooks", {"url": f"http://127.0.0.1:{deaf.getsockname()[1]}/"}, 201)
    for job in jobs:
        api.stop(job)
    api.post("/api/webhooks", {"url": listener.url}, 201)
    job = api.submit()
    api.stop(job)
    wait_for(lambda: listener.told, 5)
    assert listener.jobs() == [job["id"]]
    deaf.close()


def test_states_and_a_secret_of_ones_own(serve, listener):
    api = Native(serve("--webhook-private").url)
    secret = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789").decode()
    made = api.post("/api/webhooks", {"url": listener.url, "states": ["cancelled"],
                                      "secret": secret}, 201)
    assert made["secret"] == secret and made["states"] == ["cancelled"]
    api.done()
    api.post("/api/queue/pause")
    job = api.submit()
    api.stop(job)
    wait_for(lambda: listener.told)
    assert check(listener.told[0], secret)["type"] == "job.cancelled"
    assert listener.jobs() == [job["id"]]


def test_told_again_and_over_a_restart(serve, listener):
    server = serve("--webhook-private")
    api = Native(server.url)
    made = api.post("/api/webhooks", {"url": listener.url}, 201)
    listener.status = 503
    job, removed = api.done(), api.done()
    wait_for(lambda: len(listener.told) >= 2)
    wait_for(lambda: only(api)["failed"] >= 2)
    assert "503" in only(api)["last_error"] and only(api)["pending"] == 2
    server.stop()
    before = len(listener.told)
    listener.status = 204
    server.start()
    api.request("DELETE", "/api/jobs/" + removed["id"])
    wait_for(lambda: only(api)["pending"] == 0)
    webhook = only(api)
    assert webhook["told"] == 2 and webhook["failed"] == 0 and webhook["last_error"] is None
    messages = [check(told, made["secret"]) for told in listener.told]
    assert {m["job"]["id"] for m in messages[before:]} == {job["id"], removed["id"]}
    assert len({m["id"] for m in messages}) == 2, "an id stays what it is"


def test_redirects_are_not_followed(serve, listener):
    api = Native(serve("--webhook-private").url)
    api.post("/api/webhooks", {"url": listener.url}, 201)
    listener.status = 302
    api.done()
    wait_for(lambda: only(api)["failed"] >= 1)
    assert "302" in only(api)["last_error"]


def test_own_network_is_refused(serve, listener):
    api = Native(serve().url)
    port = listener.url.split(":")[2]
    for host in ("127.0.0.1", "localhost", "[::1]", "0x7f.1", "169.254.169.254"):
        api.post("/api/webhooks", {"url": f"http://{host}:{port}"}, 201)
    api.done()
    wait_for(lambda: all(w["failed"] >= 1 for w in api.get("/api/webhooks")["webhooks"]))
    for webhook in api.get("/api/webhooks")["webhooks"]:
        assert webhook["last_error"] == "this address is one of the server's own network", webhook
    assert listener.told == []


def test_bad(serve):
    api = Native(serve().url)
    good = "https://example.org/hook"
    for body, param in (
            ({}, "url"), ({"url": 7}, "url"), ({"url": "example.org"}, "url"),
            ({"url": "ftp://example.org"}, "url"), ({"url": "file:///etc/passwd"}, "url"),
            ({"url": "https://"}, "url"), ({"url": "https:///x"}, "url"),
            ({"url": "https://a:b@example.org"}, "url"), ({"url": "https://exa mple.org"}, "url"),
            ({"url": "https://example.org/\r\nx: y"}, "url"),
            ({"url": "https://example.org/" + "x" * 600}, "url"),
            ({"url": good, "states": []}, "states"), ({"url": good, "states": "done"}, "states"),
            ({"url": good, "states": ["running"]}, "states"),
            ({"url": good, "secret": "hello"}, "secret"),
            ({"url": good, "secret": "whsec_aGVsbG8="}, "secret"),
            ({"url": good, "all": "yes"}, "all"), ({"url": good, "event": "done"}, "event")):
        assert api.post("/api/webhooks", body, 400)["param"] == param, body
    for _ in range(20):
        api.post("/api/webhooks", {"url": good}, 201)
    api.post("/api/webhooks", {"url": good}, 429)


def test_each_key_has_its_own(serve, listener):
    server = serve("--webhook-private")
    user, other, boss = (Native(server.url, server.add_key(name, *flags)) for name, flags in (
        ("user", ()), ("other", ()), ("boss", ("--admin",))))
    mine = user.post("/api/webhooks", {"url": listener.url + "/mine"}, 201)
    assert user.post("/api/webhooks", {"url": listener.url, "all": True}, 403)["param"] == "all"
    assert other.get("/api/webhooks") == {"webhooks": []}
    assert other.request("DELETE", "/api/webhooks/" + mine["id"]).status_code == 404
    assert len(boss.get("/api/webhooks")["webhooks"]) == 1
    for method in ("GET", "POST"):
        assert Native(server.url).request(method, "/api/webhooks", json={}).status_code == 401
    secret = other.done()
    own = user.done()
    wait_for(lambda: listener.told)
    time.sleep(0.5)
    assert listener.jobs() == [own["id"]]
    boss.post("/api/webhooks", {"url": listener.url, "all": True}, 201)
    subprocess.run([PROGRAM, "keys", "revoke", "user", *server.place()],
                   check=True, cwd=server.folder, capture_output=True)
    third = other.done()
    wait_for(lambda: len(listener.told) == 2)
    assert listener.jobs() == [own["id"], third["id"]] and secret["id"] not in listener.jobs()


@pytest.mark.parametrize("by", ["command", "api"])
def test_a_revoked_key_has_nothing_more_to_tell(serve, listener, by):
    server = serve("--webhook-private")
    boss, user = Native(server.url, server.add_key("boss", "--admin")), None
    user = Native(server.url, server.add_key("user"))
    for who in (boss, user):
        who.post("/api/webhooks", {"url": listener.url + "/" + who.headers["Authorization"][-4:]}, 201)
    listener.status = 503
    user.done(), boss.done()
    wait_for(lambda: all(w["failed"] >= 1 for w in boss.get("/api/webhooks")["webhooks"]))
    id, = [key["id"] for key in boss.get("/api/keys")["keys"] if key["name"] == "user"]
    if by == "api":
        assert boss.request("POST", f"/api/keys/{id}/revoke").status_code == 204
    else:
        subprocess.run([PROGRAM, "keys", "revoke", "user", *server.place()],
                       check=True, cwd=server.folder, capture_output=True)
    time.sleep(0.5)  # what was just being said
    listener.told.clear()
    listener.status = 200
    wait_for(lambda: any(w["told"] == 1 for w in boss.get("/api/webhooks")["webhooks"]))
    first, second = boss.get("/api/webhooks")["webhooks"]
    assert (first["pending"], first["told"], first["last_error"]) == (0, 1, None)
    assert (second["pending"], second["told"]) == (0, 0)
    assert "revoked" in second["last_error"]
    time.sleep(4)  # it would have been told again
    assert len(listener.told) == 1


@pytest.mark.parametrize("column, value", [("job_id", "x"), ("id", ""), ("state", "running"),
                                           ("state", "lost")])
def test_a_damaged_row_holds_up_nothing(serve, listener, column, value):
    server = serve("--webhook-private")
    api = Native(server.url)
    api.post("/api/webhooks", {"url": listener.url}, 201)
    listener.status = 503
    first, second = api.done(), api.done()
    wait_for(lambda: only(api)["failed"] >= 1)
    server.stop()
    server.sql(f"UPDATE deliveries SET {column} = '{value}', due_ms = 0 "
               f"WHERE job_id = '{first['id']}'")
    server.sql(f"UPDATE deliveries SET due_ms = 1 WHERE job_id = '{second['id']}'")
    listener.told.clear()
    listener.status = 200
    server.start()
    wait_for(lambda: only(api)["pending"] == 0)
    assert listener.jobs() == [second["id"]] and only(api)["told"] == 1
    assert "event=delivery_dropped" in server.log()
