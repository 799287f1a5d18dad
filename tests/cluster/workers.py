"""`pictor worker --server`, for tests."""
import os
import subprocess
from pathlib import Path

from conftest import PROGRAM


class Worker:
    """A worker of a server, with a folder of its own."""

    def __init__(self, folder, url, *flags, key=None, name=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.url, self.key = url, key
        self.name = name or self.folder.name
        self.flags = flags
        self.process = None
        self.start()

    def start(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("PICTOR_")}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "worker", f"--server={self.url}", f"--name={self.name}",
                 f"--data={self.folder / 'data'}", "--threads=1", *self.flags],
                stdout=log, stderr=log, cwd=self.folder,
                env={**env, **({"PICTOR_KEY": self.key} if self.key else {})})

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        assert "Sanitizer" not in self.log(), self.log()[-20000:]
