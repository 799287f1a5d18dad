"""OpenAI's SDK for Python before version 2, which many programs are still pinned to: the checks of
test_openai_python.py once more."""
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

VERSION = "1.109.1"


def test_version_1():
    folder = ROOT / "build" / "python" / f"openai-{VERSION}"
    if not (folder / "openai").exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", folder,
                        f"openai=={VERSION}"], check=True, timeout=300)
    seen = subprocess.run([sys.executable, "-c", "import openai; print(openai.VERSION)"], check=True,
                          env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True)
    assert seen.stdout.strip() == VERSION
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                           Path(__file__).with_name("test_openai_python.py")],
                          env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True,
                          text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-4000:]
