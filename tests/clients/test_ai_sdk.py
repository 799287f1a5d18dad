"""Vercel's AI SDK for Node: pictures, the Responses API and chat. The checks are in ai_sdk.mjs."""
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from test_openai_node import ENVIRONMENT, NODE, NPM

PACKAGES = ["ai@7.0.173", "@ai-sdk/openai@4.0.118", "@ai-sdk/openai-compatible@3.0.92"]
SCRIPT = Path(__file__).with_name("ai_sdk.mjs")
CHECKS = re.findall(r"^  async (\w+)\(\) \{", SCRIPT.read_text(), re.M)


@pytest.fixture(scope="module")
def folder():
    """node_modules, kept in the build folder."""
    folder = ROOT / "build" / "node" / "ai-sdk"
    if not (folder / "node_modules" / "ai").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        subprocess.run([*NPM, "install", "--no-audit", "--no-fund", *PACKAGES], cwd=folder,
                       env=ENVIRONMENT, check=True, timeout=300)
    return folder


@pytest.mark.parametrize("check", CHECKS)
def test_ai_sdk(folder, server, check):
    done = subprocess.run([NODE, SCRIPT, check, server.url + "/v1", folder], env=ENVIRONMENT,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
