"""The Model Context Protocol at /mcp: docs/mcp.md."""
import base64
import io
import json

import pytest
import requests
from openai_client import gradient, png, wait_for
from PIL import Image

TINY = {"prompt": "a red cube", "width": 64, "height": 64, "steps": 2, "seed": 7}
LONG = {**TINY, "width": 256, "height": 256, "steps": 150, "count": 10}
MODERN, OLD = "2026-07-28", "2025-11-25"
META = "io.modelcontextprotocol/"
BOTH = "application/json, text/event-stream"
TOOLS = ["generate_image", "edit_image", "list_models", "job_status", "cancel"]


class Mcp:
    """A client of either form; `session` is what a server gave."""

    def __init__(self, url, modern=False, key=None):
        self.url, self.modern, self.id, self.session = url, modern, 0, None
        self.headers = {"Accept": BOTH}
        if key:
            self.headers["Authorization"] = f"Bearer {key}"

    def send(self, method, params=None, headers=None, note=False, **more):
        params = dict(params or {})
        own = {}
        if self.modern:
            params["_meta"] = {META + "protocolVersion": MODERN, META + "clientCapabilities": {},
                               **params.get("_meta", {})}
            own = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            if method == "tools/call":
                own["Mcp-Name"] = params["name"]
        elif self.session:
            own = {"MCP-Protocol-Version": OLD, "Mcp-Session-Id": self.session}
        body = {"jsonrpc": "2.0", "method": method, "params": params}
        if not note:
            self.id += 1
            body["id"] = self.id
        return requests.post(self.url + "/mcp", json=body, timeout=120,
                             headers={**self.headers, **own, **(headers or {})}, **more)

    def start(self):
        response = self.send("initialize", {"protocolVersion": OLD, "capabilities": {},
                                            "clientInfo": {"name": "test", "version": "1"}})
        assert response.status_code == 200
        self.session = response.headers["Mcp-Session-Id"]
        assert self.send("notifications/initialized", note=True).status_code == 202
        return response.json()["result"]

    def result(self, method, params=None, **more):
        response = self.send(method, params, **more)
        assert response.status_code == 200, response.text
        answer = response.json()
        assert answer["jsonrpc"] == "2.0" and answer["id"] == self.id
        assert ("resultType" in answer["result"]) == self.modern
        return answer["result"]

    def error(self, method, params=None, status=200, **more):
        response = self.send(method, params, **more)
        assert response.status_code == status, response.text
        return response.json()["error"]

    def call(self, name, failure=False, **arguments):
        result = self.result("tools/call", {"name": name, "arguments": arguments})
        assert result.get("isError", False) == failure, result
        return result

    def fails(self, name, **arguments):
        return self.call(name, True, **arguments)["content"][0]["text"]


@pytest.fixture(params=["old", "modern"])
def mcp(server, request):
    client = Mcp(server.url, request.param == "modern")
    if not client.modern:
        client.start()
    return client


@pytest.fixture
def old(server):
    client = Mcp(server.url)
    client.start()
    return client


def events(response):
    return [json.loads(line[6:]) for line in response.text.splitlines()
            if line.startswith("data: ")]


def kinds(result):
    return [block["type"] for block in result["content"]]


def test_begins(server):
    client = Mcp(server.url)
    result = client.start()
    assert result["protocolVersion"] == OLD
    assert result["serverInfo"]["name"] == "pictor" and result["capabilities"] == {"tools": {}}
    assert client.result("ping") == {}
    for asked, got in (("2025-06-18", "2025-06-18"), ("1999-01-01", OLD)):
        assert client.result("initialize", {"protocolVersion": asked})["protocolVersion"] == got
    assert client.error("initialize", {})["code"] == -32602


def test_discovers(server):
    result = Mcp(server.url, modern=True).result("server/discover")
    assert result["supportedVersions"][0] == MODERN and OLD in result["supportedVersions"]
    assert result["cacheScope"] == "public" and result["ttlMs"] > 0


def test_tools(mcp):
    result = mcp.result("tools/list")
    assert [t["name"] for t in result["tools"]] == TOOLS
    for tool in result["tools"]:
        schema = tool["inputSchema"]
        assert schema["type"] == "object" and schema["additionalProperties"] is False
        assert all(schema["properties"].values())
        assert set(schema["required"]) <= set(schema["properties"])
    assert result == mcp.result("tools/list")


def test_paints(mcp, server):
    result = mcp.call("generate_image", **TINY)
    assert kinds(result) == ["text", "resource_link", "image"]
    link, preview = result["content"][1:]
    picture = requests.get(link["uri"], timeout=30)
    assert len(picture.content) == link["size"] and link["mimeType"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (64, 64)
    small = Image.open(io.BytesIO(base64.b64decode(preview["data"])))
    assert small.format == "JPEG" and preview["mimeType"] == "image/jpeg"
    data = result["structuredContent"]
    assert data["state"] == "done" and data["images"][0]["seed"] == 7
    status = mcp.call("job_status", job=data["job"])
    assert status["content"] == result["content"]
    whole = mcp.call("job_status", job=data["job"], base64=True)["content"][2]
    assert base64.b64decode(whole["data"]) == picture.content
    assert kinds(mcp.call("job_status", job=data["job"], preview=False)) == ["text",
                                                                            "resource_link"]


def test_edits(mcp):
    first = mcp.call("generate_image", **TINY)["structuredContent"]["images"][0]
    data = base64.b64encode(png(gradient(64, 64))).decode()
    for image in (first["url"], first["id"], data, "data:image/png;base64," + data):
        result = mcp.call("edit_image", **TINY, image=image, strength=0.5)
        assert result["structuredContent"]["state"] == "done"
    assert "not fetched" in mcp.fails("edit_image", **TINY, image="https://example.org/a.png")
    assert mcp.fails("edit_image", **TINY, image="0" * 32).startswith("image: ")
    assert mcp.fails("edit_image", **TINY, image="abcd").startswith("image: ")
    assert "edit_image needs" in mcp.fails("edit_image", **TINY)


def test_goes_on_without_waiting(mcp):
    job = mcp.call("generate_image", **LONG, wait=False)["structuredContent"]
    assert job["state"] in ("queued", "running")
    assert mcp.call("job_status", job=job["job"])["structuredContent"]["job"] == job["job"]
    assert mcp.call("cancel", job=job["job"])["structuredContent"]["state"] == "cancelled"
    assert mcp.call("job_status", job=job["job"])["structuredContent"]["state"] == "cancelled"
    assert mcp.fails("cancel", job=job["job"])


def test_lists_models(mcp):
    models = mcp.call("list_models")["structuredContent"]["models"]
    assert models[0]["default"] and models[0]["name"] == "pictor-mini"


def test_says_what_is_wrong(mcp):
    assert "colour: generate_image has no such argument; it takes prompt" in \
        mcp.fails("generate_image", **TINY, colour="red")
    assert mcp.fails("generate_image", **{**TINY, "steps": "many"}).startswith(
        "Invalid type for 'steps'")
    assert mcp.fails("generate_image", **TINY, wait="yes") == \
        "wait: wanted true or false, got a text"
    assert "no_such" in mcp.fails("generate_image", **TINY, model="no_such")
    assert mcp.fails("job_status", job="x")
    assert mcp.fails("job_status") == "job: job_status needs this argument"
    status = 400 if mcp.modern else 200
    assert mcp.error("tools/call", {"name": "paint"}, status)["code"] == -32602
    assert mcp.error("resources/list", None, 404 if mcp.modern else 200)["code"] == -32601


def test_progress(mcp):
    params = {"name": "generate_image", "arguments": {**TINY, "steps": 20},
              "_meta": {"progressToken": "p1"}}
    response = mcp.send("tools/call", params)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    *notes, last = events(response)
    assert last["id"] == mcp.id and last["result"]["structuredContent"]["state"] == "done"
    steps = [n["params"]["progress"] for n in notes]
    assert steps and steps == sorted(set(steps))
    assert all(n["method"] == "notifications/progress" and n["params"]["progressToken"] == "p1"
               for n in notes)


def test_types(server):
    client = Mcp(server.url)
    only = {"Accept": "text/event-stream"}
    assert events(client.send("ping", headers=only))[0]["result"] == {}
    response = client.send("tools/call", {"name": "generate_image", "arguments": TINY}, only)
    assert events(response)[-1]["result"]["isError"] is False
    assert client.send("ping", headers={"Accept": "text/html"}).status_code == 406
    assert requests.get(server.url + "/mcp", timeout=30).status_code == 405


def test_sessions(server, old):
    url, head = server.url + "/mcp", {"Mcp-Session-Id": old.session}
    assert requests.delete(url, timeout=30).status_code == 400
    assert requests.delete(url, headers=head, timeout=30).status_code == 204
    assert requests.delete(url, headers=head, timeout=30).status_code == 404
    response = old.send("ping")
    assert response.status_code == 404 and "initialize again" in response.text


def test_cancels_by_notification(old):
    params = {"name": "generate_image", "arguments": {**LONG, "wait": False}}
    job = old.result("tools/call", params)["structuredContent"]["job"]
    note = {"requestId": old.id}
    assert Mcp(old.url).send("notifications/cancelled", note, note=True).status_code == 202
    assert old.call("job_status", job=job)["structuredContent"]["state"] != "cancelled"
    old.send("notifications/cancelled", note, note=True)
    assert old.call("job_status", job=job)["structuredContent"]["state"] == "cancelled"


def test_closing_cancels(server):
    client = Mcp(server.url, modern=True)
    response = client.send("tools/call", {"name": "generate_image", "arguments": LONG,
                                          "_meta": {"progressToken": 1}}, stream=True)
    line = next(line for line in response.iter_lines() if line.startswith(b"data: "))
    job = json.loads(line[6:])["params"]["message"].split()[1].rstrip(":")
    response.close()
    wait_for(lambda: client.call("job_status", job=job)["structuredContent"]["state"] ==
             "cancelled")


def test_modern_headers(server):
    client = Mcp(server.url, modern=True)
    for name in ("MCP-Protocol-Version", "Mcp-Method"):
        error = client.error("tools/list", None, 400, headers={name: "x"})
        assert error["code"] == -32020 and name in error["message"]
    assert client.error("tools/call", {"name": "cancel"}, 400,
                        headers={"Mcp-Name": "x"})["code"] == -32020
    version = {"_meta": {META + "protocolVersion": "2027-01-01"}}
    error = client.error("tools/list", version, 400, headers={"MCP-Protocol-Version": "2027-01-01"})
    assert error["code"] == -32022 and error["data"]["requested"] == "2027-01-01"
    assert MODERN in error["data"]["supported"]
    named = base64.b64encode(b"list_models").decode()
    client.result("tools/call", {"name": "list_models"},
                  headers={"Mcp-Name": f"=?base64?{named}?="})
    old = Mcp(server.url)
    assert old.error("ping", None, 400, headers={"MCP-Protocol-Version": MODERN})["code"] == -32602
    assert old.error("ping", None, 400, headers={"MCP-Protocol-Version": "x"})["code"] == -32022


@pytest.mark.parametrize("body, code", [
    ("{", -32700), ("", -32700), ("[]", -32600), ("7", -32600), ("{}", -32600),
    ('{"jsonrpc": "1.0", "id": 1, "method": "ping"}', -32600),
    ('{"jsonrpc": "2.0", "id": [], "method": "ping"}', -32600),
    ('{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600),
    ('[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600),
])
def test_no_messages(server, body, code):
    response = requests.post(server.url + "/mcp", body, timeout=30)
    assert response.status_code == 400 and response.json()["error"]["code"] == code


def test_foreign_origin(server):
    response = Mcp(server.url).send("ping", headers={"Origin": "https://evil.example"})
    assert response.status_code == 403 and response.json()["error"]["message"]


def test_keys(serve):
    server = serve()
    mine, other = server.add_key("a"), server.add_key("b")
    response = Mcp(server.url).send("ping")
    assert response.status_code == 401 and response.json()["jsonrpc"] == "2.0"
    client, stranger = Mcp(server.url, key=mine), Mcp(server.url, key=other)
    client.start()
    job = client.call("generate_image", **TINY)["structuredContent"]
    assert stranger.fails("job_status", job=job["job"])
    assert stranger.fails("edit_image", **TINY, image=job["images"][0]["url"])
    stranger.session = client.session
    assert stranger.send("ping").status_code == 404


def test_off(serve):
    server = serve("--mcp=off")
    assert Mcp(server.url).send("ping").status_code == 404
