"""Schemathesis against /openapi.json: requests made of the document, good and bad, one by one and in
sequences, for half an hour. No answer is a 5xx that the document does not list, and every answer is
one that it describes. SCHEMATHESIS_MINUTES is how long all parts together take."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

VERSION = "4.32.5"
MINUTES = float(os.environ.get("SCHEMATHESIS_MINUTES", "30"))
HERE = Path(__file__).parent

# Streams that end when the client leaves are tested in tests/api; what stops the server or revokes
# its key stops this test; OpenAI's routes stand at five roots, and what is behind them is one.
PARTS = {
    "native": (0.3, ["--include-tag=native", "--exclude-path-regex=/(events|revoke)$"]),
    "openai": (0.3, ["--include-path-regex=^/v1/"]),
    "roots": (0.07, ["--include-tag=openai", "--exclude-path-regex=^/v1/"]),
    "sdapi": (0.3, ["--include-tag=sdapi", "--exclude-path-regex=/server-(stop|kill|restart)$"]),
    "rest": (0.03, ["--include-tag=page", "--include-tag=mcp"]),
}


@pytest.fixture(scope="module")
def folder():
    """Schemathesis and what it needs, kept in the build folder."""
    folder = ROOT / "build" / "python" / f"schemathesis-{VERSION}"
    if not (folder / "schemathesis").exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", folder,
                        f"schemathesis=={VERSION}"], check=True, timeout=500)
    return folder


@pytest.mark.parametrize("part", PARTS)
def test_no_violation(serve, folder, part, tmp_path):
    """What is painted is small, and the server refuses what is not."""
    share, filters = PARTS[part]
    seconds = max(int(MINUTES * 60 * share), 5)
    server = serve("--max-pixels=65536", "--max-steps=2", "--max-count=2",
                   "--max-connections-per-address=1024")
    key = server.add_key("schemathesis", "--admin")
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml", "run",
         server.url + "/openapi.json", "--phases=coverage,fuzzing,stateful", "--no-color",
         f"--max-time={seconds}", "--generation-database=none", f"--header=Authorization: Bearer {key}",
         *filters],
        cwd=tmp_path, capture_output=True, text=True, timeout=seconds + 600,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{HERE}"})
    print(done.stdout[-1500:])  # how many requests it made: pytest -rA
    report = done.stdout[-20000:] + done.stderr[-2000:]
    assert done.returncode == 0, report
    assert " generated" in done.stdout and server.answers(), report
