"""`pictor mcp`: the Model Context Protocol on stdin and stdout, by its SDK and line by line."""
import asyncio
import json
import os
import subprocess

import pytest
from conftest import PROGRAM
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client

TINY = {"prompt": "a red cube", "width": 64, "height": 64, "steps": 4, "seed": 7}
OLD, MODERN = "2025-11-25", "2026-07-28"
META = "io.modelcontextprotocol/"


def message(method, params=None, id=None):
    body = {"jsonrpc": "2.0", "method": method, "params": params or {}}
    return {**body, "id": id} if id is not None else body


def talk(url, *messages, key=None):
    text = "".join((m if isinstance(m, str) else json.dumps(m)) + "\n" for m in messages)
    env = {**os.environ, **({"PICTOR_KEY": key} if key else {})}
    done = subprocess.run([PROGRAM, "mcp", "--url", url], input=text, text=True, timeout=120,
                          capture_output=True, env=env, check=True)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("mode", ["legacy", "auto", MODERN])
def test_sdk(server, mode):
    told = []

    async def progress(done, total, text):
        told.append(done)

    async def main():
        parameters = StdioServerParameters(command=str(PROGRAM), args=["mcp", "--url", server.url])
        async with Client(stdio_client(parameters), mode=mode) as client:
            assert client.protocol_version == (OLD if mode == "legacy" else MODERN)
            assert len((await client.list_tools()).tools) == 5
            return await client.call_tool("generate_image", TINY, progress_callback=progress)
    result = asyncio.run(main())
    assert [block.type for block in result.content] == ["text", "resource_link", "image"]
    assert told == sorted(told)


def test_lines(server):
    start = message("initialize", {"protocolVersion": OLD}, 1)
    answers = talk(server.url, start, message("notifications/initialized"), "{", "[1]", "",
                   message("ping", id="p"))
    assert [a.get("id") for a in answers] == [1, None, None, "p"]
    assert [a["error"]["code"] for a in answers[1:3]] == [-32700, -32600]


def test_cancels(server):
    meta = {META + "protocolVersion": MODERN, META + "clientCapabilities": {}}
    call = {"name": "generate_image", "_meta": meta,
            "arguments": {**TINY, "width": 256, "height": 256, "steps": 150, "count": 10}}
    note = {"requestId": 1, "_meta": meta}
    assert talk(server.url, message("tools/call", call, 1),
                message("notifications/cancelled", note)) == []


def test_nobody_there():
    answer, = talk("http://127.0.0.1:9", message("ping", id=1))
    assert answer["id"] == 1 and "http://127.0.0.1:9/mcp" in answer["error"]["message"]


def test_keys(serve):
    server = serve()
    key = server.add_key("a")
    refused, = talk(server.url, message("ping", id=1))
    assert refused["id"] == 1 and "key" in refused["error"]["message"]
    assert talk(server.url, message("ping", id=1), key=key)[0]["result"] == {}


def test_used_wrongly():
    done = subprocess.run([PROGRAM, "mcp", "--url", "ftp://x"], text=True, capture_output=True,
                          check=False)
    assert done.returncode == 2 and "http://" in done.stderr
