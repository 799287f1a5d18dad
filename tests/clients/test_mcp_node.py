"""The Model Context Protocol's SDK for JavaScript. The checks are in mcp_sdk.mjs."""
import shutil
import subprocess
from pathlib import Path

from conftest import ROOT
from test_openai_node import ENVIRONMENT, NODE, NPM

PACKAGE = "@modelcontextprotocol/sdk"
VERSION = "1.32.2"


def test_sdk(server):
    folder = ROOT / "build" / "node" / f"mcp-{VERSION}"
    if not (folder / "node_modules" / PACKAGE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        subprocess.run([*NPM, "install", "--no-audit", "--no-fund", f"{PACKAGE}@{VERSION}"],
                       cwd=folder, env=ENVIRONMENT, check=True, timeout=300)
    shutil.copy(Path(__file__).with_name("mcp_sdk.mjs"), folder)
    done = subprocess.run([NODE, "mcp_sdk.mjs", server.url + "/mcp"], cwd=folder, text=True,
                          capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
