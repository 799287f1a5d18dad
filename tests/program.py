"""A process of a test's, with a folder of its own and its log there."""
import os
import subprocess


class Program:
    """Made by a class that sets `folder` and calls run()."""
    OTHERS = ("PICTOR_",)  # what it does not take over from this process's environment
    PATIENCE = 60  # seconds that its end may take
    process = None

    def run(self, words, env=None):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(self.OTHERS)}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd=self.folder,
                                            env={**kept, **(env or {})})

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(self.PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        # ThreadSanitizer says what it saw and goes on.
        assert "Sanitizer" not in self.log(), self.log()[-20000:]
