"""Keys over HTTP: /api/keys."""
import re

import requests


def call(server, method, path, status, key=None, **body):
    answer = requests.request(method, server.url + path, json=body or None, timeout=30,
                              headers={"Authorization": f"Bearer {key}"} if key else {})
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def test_made_listed_and_revoked(serve):
    server = serve()
    assert call(server, "GET", "/api/keys", 200)["keys"] == []
    for body, param in (({"name": ""}, "name"), ({"admin": True}, "name"), ({"name": "a" * 65, "admin": True}, "name"),
                        ({"name": "a\nb", "admin": True}, "name"), ({"name": "a", "admin": 1}, "admin"),
                        ({"name": "a", "scope": "all"}, "scope"), ({"name": "first"}, "admin")):
        assert call(server, "POST", "/api/keys", 400, **body)["error"]["param"] == param
    first = call(server, "POST", "/api/keys", 201, name="first", admin=True)
    assert re.fullmatch("pk_[0-9a-f]{64}", first["key"]) and first["admin"] and first["revoked_at"] is None
    call(server, "GET", "/api/keys", 401)
    key = first.pop("key")
    second = call(server, "POST", "/api/keys", 201, key, name="second")
    assert not second["admin"]
    assert call(server, "POST", "/api/keys", 400, key, name="second")["error"]["param"] == "name"
    call(server, "GET", "/api/jobs", 200, second["key"])
    for method, path, body in (("GET", "/api/keys", {}), ("POST", "/api/keys", {"name": "x"}),
                               ("POST", f"/api/keys/{first['id']}/revoke", {})):
        call(server, method, path, 403, second["key"], **body)
    listed = call(server, "GET", "/api/keys", 200, key)["keys"][0]
    assert listed == {**first, "use": listed["use"]} and not any(listed["use"].values())
    call(server, "POST", "/api/keys/second/revoke", 404, key)  # names are no ids
    for _ in range(2):
        call(server, "POST", f"/api/keys/{second['id']}/revoke", 204, key)
    call(server, "GET", "/api/jobs", 401, second["key"])
    assert call(server, "GET", "/api/keys", 200, key)["keys"][1]["revoked_at"] > 0
    assert key not in server.log() and second["key"] not in server.log()


def test_a_stranger_makes_no_first_key(serve):
    server = serve()
    server.stop()
    server.flags = ("--allow-unauthenticated", f"--listen=0.0.0.0:{server.port}")
    server.start()
    assert "pictor keys add" in call(server, "POST", "/api/keys", 403, name="mine", admin=True)["error"]["message"]
    key = server.add_key("real", "--admin")
    call(server, "POST", "/api/keys", 201, key, name="another")
