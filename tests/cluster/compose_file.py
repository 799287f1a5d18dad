"""What docker/compose.cluster.yaml says, as processes of this machine: its commands, environments,
volumes and nginx' template, with Debian's nginx and the tests' PostgreSQL in the places of images.
Whatever the file says that is not understood here is an error."""
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import yaml
from conftest import PROGRAM, ROOT, free_port
from postgres import Postgres
from program import Program

FILE = ROOT / "docker/compose.cluster.yaml"
KNOWN = {"build", "image", "read_only", "tmpfs", "cap_drop", "security_opt", "restart", "init",
         "hostname", "environment", "volumes", "networks", "depends_on", "ports", "command",
         "deploy", "healthcheck"}


def filled_in(value, env):
    """${NAME}, ${NAME:-default} and ${NAME:?message}, as Compose does it."""
    if isinstance(value, dict):
        return {k: filled_in(v, env) for k, v in value.items()}
    if isinstance(value, list):
        return [filled_in(v, env) for v in value]
    if not isinstance(value, str):
        return value

    def one(match):
        name, kind, rest = match.groups()
        if kind == ":?" and not env.get(name):
            raise KeyError(f"{name}: {rest}")
        return env.get(name) or (rest if kind == ":-" else "")
    return re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", one, value)


def image():
    """Of docker/Dockerfile: the environment, and the words of ENTRYPOINT and CMD."""
    text = (ROOT / "docker/Dockerfile").read_text().split("\nFROM ")[-1]
    env = dict(w.split("=", 1) for line in re.findall(r"^ENV (.*)$", text, re.M)
               for w in line.split())
    entry, command = (json.loads(re.search(rf"^{word} (\[.*\])$", text, re.M)[1])
                      for word in ("ENTRYPOINT", "CMD"))
    assert entry == ["pictor"]
    return env, command


class Service(Program):
    """A container: a process, its log, what it has for volumes."""
    OTHERS = ("PICTOR_", "AWS_")

    def __init__(self, folder, command, env):
        self.folder, self.command, self.env = Path(folder), command, env
        self.folder.mkdir(parents=True)

    def start(self):
        self.run(self.command, self.env)


class Cluster:
    """The services; `dotenv` is docker/.env."""

    def __init__(self, folder, dotenv, override=None):
        """`override`: environment that an override file would add to all of pictor."""
        self.folder, self.dotenv, self.override = Path(folder), dict(dotenv), override or {}
        self.database = Postgres(durable=True)
        self.address = self.database.create()
        self.ports = {"server-a": free_port(), "server-b": free_port(), "proxy": free_port()}
        self.running = {}
        self.url = f"http://127.0.0.1:{self.ports['proxy']}"

    def read(self):
        read = filled_in(yaml.safe_load(FILE.read_text()), self.dotenv)
        for name, service in read["services"].items():
            assert set(service) <= KNOWN, (name, set(service) - KNOWN)
        return read

    def local(self, text, of):
        """Names and places of containers, as they are here."""
        database = self.read()["services"]["database"]["environment"]
        text = text.replace(
            f"{database['POSTGRES_USER']}:{database['POSTGRES_PASSWORD']}@database/"
            f"{database['POSTGRES_DB']}", self.address.partition("://")[2])
        for name, port in self.ports.items():
            text = re.sub(rf"\b{name}:\d+", f"127.0.0.1:{port}", text)
        networks = self.read()["services"]["proxy"]["networks"]
        text = text.replace(networks["inside"]["ipv4_address"], "127.0.0.1")
        for volume in self.read()["services"][of].get("volumes", []):
            name, place = volume.split(":")[:2]
            text = text.replace(place, str(self.folder / "volumes" / name))
        return text

    def pictor(self, name, words=None):
        """Command and environment of a container of the service."""
        service = self.read()["services"][name]
        env, command = image()
        env.update(service["environment"])
        env.update(self.override)
        if name in self.ports:
            env["PICTOR_LISTEN"] = env["PICTOR_LISTEN"].replace("7860", str(self.ports[name]))
        return ([PROGRAM, *(self.local(w, name) for w in words or service.get("command", command))],
                {k: self.local(v, name) for k, v in env.items()})

    def run(self, name, *words):
        """docker compose run --rm NAME WORDS: what it says."""
        command, env = self.pictor(name, words)
        done = subprocess.run(command, capture_output=True, text=True, timeout=120,
                              env={**os.environ, **env}, cwd=self.folder)
        return done.returncode, done.stdout + done.stderr

    def proxy(self):
        service = self.read()["services"]["proxy"]
        source, place = service["volumes"][0].split(":")[:2]
        assert place == "/etc/nginx/templates/default.conf.template"
        assert service["ports"] == ["127.0.0.1:7860:8080"]
        conf = (FILE.parent / source).read_text()
        for name, value in service["environment"].items():
            conf = conf.replace("${%s}" % name, value)
        conf = conf.replace("listen 8080;", f"listen 127.0.0.1:{self.ports['proxy']};")
        folder = self.folder / "proxy"
        folder.mkdir()
        temporary = "\n".join(f"    {kind}_temp_path {folder}/{kind};" for kind in
                              ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(
            f"daemon off;\n{'user root;' if os.geteuid() == 0 else ''}\nworker_processes 1;\n"
            f"pid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n    access_log off;\n"
            f"{temporary}\n{self.local(conf, 'proxy')}\n}}\n")
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        return [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")], {}

    def up(self, *names):
        """docker compose up -d NAMES; all, without any."""
        for name, service in self.read()["services"].items():
            if names and name not in names or name == "database":
                continue
            for i in range(service.get("deploy", {}).get("replicas", 1)):
                number = f"{name}-{i}" if "deploy" in service else name
                if number in self.running:
                    continue
                for volume in service["volumes"]:
                    (self.folder / "volumes" / volume.split(":")[0].strip("./")).mkdir(
                        parents=True, exist_ok=True)
                command, env = self.proxy() if name == "proxy" else self.pictor(name)
                self.running[number] = Service(self.folder / "containers" / number, command, env)
                self.running[number].start()
            if name in self.ports:
                self.answers(name)

    def answers(self, name):
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/healthz",
                                       timeout=5).close()
                return
            except OSError:
                assert time.monotonic() < end, self.running[name].log()[-4000:]
                time.sleep(0.05)

    def down(self):
        try:
            for name in sorted(self.running, key=lambda n: n == "proxy"):
                self.running[name].stop()
        finally:
            for service in self.running.values():
                if service.process.poll() is None:
                    service.kill()
            self.database.close()
