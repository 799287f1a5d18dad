"""The Model Context Protocol's SDK for Python, unmodified, in both forms of the protocol."""
import asyncio
import base64
import io

import pytest
from mcp.client import Client
from PIL import Image

TINY = {"prompt": "a red cube", "width": 64, "height": 64, "steps": 4, "seed": 7}
MODES = {"legacy": "2025-11-25", "auto": "2026-07-28", "2026-07-28": "2026-07-28"}


@pytest.fixture(params=list(MODES))
def session(server, request):
    """Runs a coroutine function with a connected client."""
    def run(talk):
        async def main():
            async with Client(server.url + "/mcp", mode=request.param) as client:
                assert client.protocol_version == MODES[request.param]
                return await talk(client)
        return asyncio.run(main())
    return run


def test_lists_and_calls(session):
    async def talk(client):
        tools = await client.list_tools()
        models = await client.call_tool("list_models", {})
        return [t.name for t in tools.tools], models
    names, models = session(talk)
    assert "generate_image" in names and not models.is_error
    assert models.structured_content["models"][0]["name"] == "pictor-mini"


def test_paints_with_progress(session):
    told = []

    async def progress(done, total, message):
        told.append(done)

    async def talk(client):
        first = await client.call_tool("generate_image", TINY, progress_callback=progress)
        link = first.structured_content["images"][0]["url"]
        return first, await client.call_tool("edit_image", {**TINY, "image": link})
    first, edited = session(talk)
    for result in (first, edited):
        assert [block.type for block in result.content] == ["text", "resource_link", "image"]
        assert Image.open(io.BytesIO(base64.b64decode(result.content[2].data))).size == (64, 64)
    assert told == sorted(told)


def test_says_what_is_wrong(session):
    async def talk(client):
        return await client.call_tool("generate_image", {**TINY, "colour": "red"})
    result = session(talk)
    assert result.is_error and "colour" in result.content[0].text
