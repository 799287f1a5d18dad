"""`pictor worker --server`, for tests."""
from pathlib import Path

from conftest import PROGRAM
from program import Program


class Worker(Program):
    """A worker of a server, with a folder of its own."""
    PATIENCE = 30

    def __init__(self, folder, url, *flags, key=None, name=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.url, self.key = url, key
        self.name = name or self.folder.name
        self.flags = flags
        self.start()

    def start(self):
        self.run([PROGRAM, "worker", f"--server={self.url}", f"--name={self.name}",
                  f"--data={self.folder / 'data'}", "--threads=1", *self.flags],
                 {"PICTOR_KEY": self.key} if self.key else None)
