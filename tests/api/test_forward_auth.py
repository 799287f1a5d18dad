"""Users that a proxy in front has let in: its header counts from its address and with its secret."""
import socket
import subprocess

import pytest
import requests
from test_native import TINY, Native

from conftest import PROGRAM

SECRET = "a secret of the proxy"
FLAGS = ("--forward-auth-header=Remote-User", f"--forward-auth-secret={SECRET}",
         "--forward-auth-admins=root,eve")


@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module(*FLAGS)


def user(server, name, secret=SECRET, **more):
    native = Native(server.url)
    native.headers = {"Remote-User": name, **({"X-Pictor-Secret": secret} if secret else {}), **more}
    return native


def test_users_have_jobs_of_their_own(server):
    anna, ben, root = user(server, "anna"), user(server, "ben"), user(server, "root")
    job = anna.finish(anna.submit())
    assert anna.job(job["id"])["state"] == "done"
    assert ben.request("GET", f"/api/jobs/{job['id']}").status_code == 404
    assert root.job(job["id"])["id"] == job["id"]
    assert user(server, "anna").get("/api/jobs")["jobs"][0]["id"] == job["id"]  # the same key
    names = {k["name"] for k in root.get("/api/keys")["keys"]}
    assert {"user:anna", "user:ben", "user:root"} <= names
    assert anna.request("GET", "/api/keys").status_code == 403
    assert "anna" not in server.log()


@pytest.mark.parametrize("name, secret, words", [
    ("anna", None, "X-Pictor-Secret must have"), ("anna", "wrong", "X-Pictor-Secret is not"),
    ("anna", SECRET + "x", "X-Pictor-Secret is not"), ("x" * 60, SECRET, "1..59 bytes"),
    ("{http.reverse_proxy.header.Remote-User}", SECRET, "its own placeholder")])
def test_refused(server, name, secret, words):
    answer = user(server, name, secret).request("GET", "/api/jobs")
    assert answer.status_code == 401 and words in answer.json()["error"]["message"]


def test_a_second_name_is_none(server):
    """A proxy that adds its header leaves a client's own before it."""
    names = b"Remote-User: root\r\nremote-user: anna\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 10) as s:
        s.sendall(b"GET /api/keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + names +
                  b"X-Pictor-Secret: " + SECRET.encode() + b"\r\n\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_without_the_header_a_key_is_needed(server):
    assert requests.get(server.url + "/api/jobs").status_code == 401
    key = server.add_key("program")
    headers = {"Authorization": f"Bearer {key}"}
    assert requests.get(server.url + "/api/jobs", headers=headers).status_code == 200
    # What is presented as a key counts, whatever else is said.
    headers["Remote-User"], headers["X-Pictor-Secret"] = "root", SECRET
    assert requests.get(server.url + "/api/keys", headers=headers).status_code == 403
    headers["Authorization"] = "Bearer pk_wrong"
    assert requests.get(server.url + "/api/jobs", headers=headers).status_code == 401


def test_nobody_can_present_a_users_key(server):
    user(server, "anna").get("/api/jobs")
    for guess in "user:anna", "user", "anna", "useranna":
        headers = {"Authorization": f"Bearer {guess}"}
        assert requests.get(server.url + "/api/jobs", headers=headers).status_code == 401


def test_a_revoked_user_stays_out(server):
    user(server, "mallory").get("/api/jobs")
    subprocess.run([PROGRAM, "keys", "revoke", "user:mallory", *server.place()],
                   check=True, capture_output=True)
    answer = user(server, "mallory").request("GET", "/api/jobs")
    assert answer.status_code == 401 and "revoked" in answer.json()["error"]["message"]


def test_other_addresses(serve):
    server = serve(*FLAGS, "--forward-auth-proxies=10.0.0.0/8, fd00::/8")
    answer = user(server, "root").request("GET", "/api/jobs")
    assert answer.status_code == 401
    assert "forward_auth_proxies" in answer.json()["error"]["message"]


def test_pages_of_others_have_no_rights(server):
    """What the proxy adds, it adds to every request of the browser's."""
    answer = user(server, "root", Origin="https://evil.example").request(
        "POST", "/api/jobs", json=TINY)
    assert answer.status_code == 403


@pytest.mark.parametrize("flags, words", [
    (["--forward-auth-header=Remote-User"], "forward_auth_secret of at least 16"),
    (["--forward-auth-header=Remote-User", "--forward-auth-secret=short"], "at least 16"),
    (["--forward-auth-header=Remote User", f"--forward-auth-secret={SECRET}"], "name of a header"),
    (["--forward-auth-proxies=10.0.0.1/8"], "addresses and networks"),
])
def test_wrong_settings(tmp_path, flags, words):
    done = subprocess.run([PROGRAM, "serve", "--listen=127.0.0.1:0", f"--data={tmp_path}", *flags],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and words in done.stderr, done.stderr
