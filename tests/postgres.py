"""A PostgreSQL of the tests' own: Debian's programs, a data folder of its own, a socket in it and a
port of this machine. It does not run as root, so there it becomes the user nobody."""
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"),
                   key=lambda path: int(path.split("/")[4]))
    return found[-1] if found else shutil.which(name)


class Postgres:
    def __init__(self, durable=True):
        """`durable`: whether what is committed outlives a kill (fsync costs nothing on a RAM disk
        and much on others)."""
        self.folder = Path(tempfile.mkdtemp(prefix="pictor-pg-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.process = None
        self.names = 0
        self.user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
        if self.user:
            shutil.chown(self.folder, self.user["user"], self.user["group"])
        subprocess.run([program("initdb"), "-D", self.data, "-U", "pictor", "-A", "trust",
                        "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"],
                       check=True, capture_output=True, cwd=self.folder, **self.user)
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(f"listen_addresses = '127.0.0.1'\nport = {self.port}\n"
                       f"unix_socket_directories = '{self.folder}'\nmax_connections = 100\n"
                       f"fsync = {'on' if durable else 'off'}\nshared_buffers = 64MB\n"
                       "log_min_messages = warning\njit = off\n")
        self.start()

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([program("postgres"), "-D", self.data], stdout=log,
                                            stderr=log, cwd=self.folder, start_new_session=True,
                                            **self.user)
        end = time.monotonic() + 60
        while subprocess.run([program("pg_isready"), "-q", "-h", "127.0.0.1", "-p",
                              str(self.port)]).returncode:
            assert self.process.poll() is None and time.monotonic() < end, self.log()[-4000:]
            time.sleep(0.05)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def kill(self):
        """As a machine that loses its power: all of its processes at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def address(self, name):
        return f"postgresql://pictor@127.0.0.1:{self.port}/{name}"

    def create(self):
        """A new database's address."""
        self.names += 1
        name = f"pictor_{self.names}"
        self.query("postgres", f"CREATE DATABASE {name}")
        return self.address(name)

    def query(self, address, sql):
        """What psql answers, a line a row."""
        if "://" not in address:
            address = self.address(address)
        return subprocess.run([program("psql"), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d",
                               address, "-c", sql], check=True, capture_output=True,
                              text=True).stdout.strip()
