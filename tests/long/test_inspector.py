"""The Model Context Protocol's inspector on the command line (`mcp-inspector --cli`), in both forms
of the protocol, over HTTP and over a program's stdin and stdout. It is 110 MB large and takes a
second a call, so this is no test for every day."""
import json
import subprocess
import sys

import pytest
from conftest import PROGRAM, ROOT

sys.path.insert(0, str(ROOT / "tests" / "clients"))
from test_openai_node import ENVIRONMENT, NODE, NPM  # noqa: E402

VERSION = "2.12.0"
PACKAGE = "@modelcontextprotocol/inspector"
TOOLS = ["generate_image", "edit_image", "list_models", "job_status", "cancel"]
TINY = {"prompt": "a red cube", "width": 64, "height": 64, "steps": 2, "seed": 7}


@pytest.fixture(scope="module")
def inspector():
    """node and the program, kept in the build folder."""
    folder = ROOT / "build" / "node" / f"inspector-{VERSION}"
    if not (folder / "node_modules" / PACKAGE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        subprocess.run([*NPM, "install", "--no-audit", "--no-fund", f"{PACKAGE}@{VERSION}"], cwd=folder,
                       env=ENVIRONMENT, check=True, timeout=500)
    return [NODE, folder / "node_modules" / PACKAGE / "clients" / "launcher" / "build" / "index.js", "--cli"]


@pytest.fixture(params=["http", "stdio"])
def ask(request, inspector, serve, tmp_path):
    """ask(era, flags...): exit status, what it printed, what it warned of."""
    server = serve()
    key = server.add_key("agent")
    target = ([server.url + "/mcp", "--header", f"Authorization: Bearer {key}"] if request.param == "http"
              else [PROGRAM, "mcp", "--url", server.url, "-e", f"PICTOR_KEY={key}"])

    def ask(era, *flags):
        done = subprocess.run([*inspector, *target, "--protocol-era", era, "--quiet", *flags], text=True,
                              capture_output=True, timeout=120, cwd=tmp_path, check=False,
                              env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
        return done.returncode, done.stdout, done.stderr
    return ask


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_inspector(ask, era):
    status, out, warned = ask(era, "--method", "tools/list", "--strict")
    assert status == 0 and [t["name"] for t in json.loads(out)["tools"]] == TOOLS, warned
    assert "Warning" not in warned and "Error" not in warned, warned

    call = ("--method", "tools/call", "--tool-name", "generate_image", "--tool-args-json")
    status, out, warned = ask(era, *call, json.dumps(TINY))
    result = json.loads(out)
    assert status == 0 and result["structuredContent"]["state"] == "done", warned
    assert [b["type"] for b in result["content"]] == ["text", "resource_link", "image"]

    status, out, _ = ask(era, *call, json.dumps({"colour": "red"}))
    assert status == 5 and "colour" in json.loads(out)["content"][0]["text"]
