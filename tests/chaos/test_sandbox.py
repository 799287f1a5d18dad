"""A worker that was taken over can do nothing: every system call there is, made in the real worker.

build/tests/door/pictor is the program itself but for a door in its worker: the prompt
"door:[NUMBER, ARGUMENT...]" makes that system call where a picture would be painted."""
import ctypes
import json
import os
import re
import signal
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from conftest import PROGRAM, Server, free_port
from processes import TINY, Jobs, until, worker_of

DOOR = Path(PROGRAM).parent / "tests" / "door" / "pictor"
SANITIZED = b"__asan_init" in Path(PROGRAM).read_bytes() or b"__tsan_init" in Path(
    PROGRAM).read_bytes()
KILLED = -signal.SIGSYS
HIGHEST = 470  # the newest call that Linux 6.18 has

pytestmark = [
    pytest.mark.skipif(not DOOR.exists(), reason="make tests builds the program with a door"),
    pytest.mark.skipif(SANITIZED, reason="the sanitizers need more, which is allowed there alone"),
]


def numbers():
    text = subprocess.run(["cc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"],
                          check=True, capture_output=True, text=True).stdout
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)$", text,
                                                             re.MULTILINE)}


NUMBER = numbers()
# Newer than some machines' headers.
NUMBER.update({"fchmodat2": 452, "openat2": 437, "pidfd_getfd": 438, "cachestat": 451})


class Worker:
    """A worker of the program with the door; this process is its server."""

    def __init__(self, **start):
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(60)
        output, write = os.pipe()
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {DOOR} worker 3<&{theirs.fileno()} {theirs.fileno()}<&- "
             f"2>&{write} >&{write} {write}>&-"],
            pass_fds=[theirs.fileno(), write], stdin=subprocess.DEVNULL, env={})
        theirs.close()
        os.close(write)
        self.output = output
        self.send({"type": "start", "threads": 1, "precision": "f32", "cpu": "auto",
                   "max_input_pixels": 1 << 20, "log_level": "info", "unconfined": 0, **start})
        assert self.receive()["type"] == "ready"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ours.close()
        self.process.kill()
        self.process.wait()
        os.close(self.output)

    def send(self, message):
        text = json.dumps(message).encode()
        self.ours.sendall(struct.pack("=II", len(text), 0) + text)

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.ours.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def receive(self):
        text, binary = struct.unpack("=II", self.read(8))
        message = json.loads(self.read(text))
        self.read(binary)
        return message

    def call(self, *numbers_and_texts):
        """(value, errno), or the exit status of a worker that is no more."""
        try:
            self.send({"type": "generate", "serial": 1, "index": 0,
                       "model": {"name": "x", "files": []},
                       "params": {"prompt": f"door:{json.dumps(numbers_and_texts)}"}})
            answer = self.receive()
        except (OSError, EOFError):
            return self.process.wait(60)
        assert answer["type"] == "error", answer
        value, error = re.search(r"returned (-?\d+) errno (\d+)", answer["message"]).groups()
        return int(value), int(error)


def once(name, *arguments):
    with Worker() as worker:
        return worker.call(NUMBER.get(name, name), *arguments)


# What is allowed, with arguments that let it come back: the test's own list, so that another line
# in the sandbox's has to be wanted twice.
ALLOWED = {
    "read": [3, 0, 0], "recvmsg": [3, 0, 0], "sendto": [3, 0, 0, 0, 0, 0], "write": [2, "", 0],
    "writev": [2, "", 0], "ppoll": [0, 0, "\0" * 16, 0], "poll": [0, 0, 0], "lseek": [3, 0, 0],
    "close": [77], "mmap": [0, 4096, 1, 34, -1, 0], "mprotect": [0, 0, 1], "munmap": [0, 4096],
    "mremap": [0, 4096, 4096], "madvise": [0, 0, 4], "brk": [0], "futex": ["abcd", 1, 1],
    "sched_yield": [], "clock_gettime": [0, 0], "gettimeofday": [0, 0], "time": [0],
    "clock_nanosleep": [0, 0, 0, 0], "nanosleep": [0, 0], "getrandom": ["abcdefgh", 0, 0],
    "getpid": [], "gettid": [], "tgkill": None, "rt_sigprocmask": [0, 0, 0, 8],
    "rt_sigaction": [9, 0, 0, 8], "rt_sigreturn": None, "set_robust_list": [0, 0],
    "rseq": [0, 0, 0, 0], "restart_syscall": [], "sysinfo": [0], "exit": None, "exit_group": None,
}
# Linux 6.11 and later let these two through every filter: what a probe jumps to. They refuse
# whoever calls them from anywhere else.
PROBES = (335, 336) if "open" in NUMBER else ()


def test_every_call_that_is_not_listed_kills():
    allowed = {NUMBER[name] for name in ALLOWED if name in NUMBER}
    wanted = [n for n in [*range(HIGHEST + 1), 0x40000000, 0x40000002, 0x7fffffff]
              if n not in allowed and n not in PROBES]
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda n: once(n, -1, 0, 0, 0, 0, 0), wanted))
    names = {number: name for name, number in NUMBER.items()}
    assert {names.get(n, n): o for n, o in zip(wanted, outcomes) if o != KILLED} == {}


def test_every_call_that_is_listed_comes_back():
    with Worker() as worker:
        for name, arguments in ALLOWED.items():
            if arguments is not None and name in NUMBER:
                assert isinstance(worker.call(NUMBER[name], *arguments), tuple), name
    assert once("exit_group", 7) == 7


def test_allowed_calls_with_arguments_that_are_not():
    ours = os.getpid()
    for name, *arguments in [
        ("mmap", 0, 4096, 5, 34, -1, 0),  # executable
        ("mprotect", 0, 4096, 7),
        ("tgkill", ours, ours, 0),
        ("tgkill", -1, ours, 9),
        ("write", 4, "x", 1),
        ("writev", 17, "", 0),
        ("read", 4, "x", 1),
        ("sendto", 3, "x", 1, 0, "\x01\0/tmp/x", 8),
        ("sendto", 5, "x", 1, 0, 0, 0),
    ]:
        assert once(name, *arguments) == KILLED, name


def attacks(victim, file, log):
    """What once worked, and what a patient attacker would try next."""
    at = -100  # AT_FDCWD
    return [
        ("openat", at, str(file), os.O_RDONLY | os.O_TRUNC),
        ("openat", at, str(file), os.O_RDONLY),
        ("openat", at, f"/proc/{victim}/environ", os.O_RDONLY),
        ("openat2", at, str(file), "\0" * 24, 24),
        ("name_to_handle_at", at, str(file), "\0" * 200, "\0" * 8, 0),
        ("fcntl", 3, 8, victim),  # F_SETOWN
        ("fcntl", 3, 10, 9),  # F_SETSIG
        ("fcntl", 3, 4, 0o20000),  # F_SETFL O_ASYNC
        ("ioctl", 3, 0x5452, "\x01\0\0\0"),  # FIOASYNC
        ("ioctl", 2, 0x5412, "x"),  # TIOCSTI
        ("fchmodat2", at, str(file), 0o777, 0),
        ("fchmodat", at, str(file), 0o777),
        ("fchmod", 2, 0o777),
        ("setpriority", 0, victim, 19),
        ("sched_setaffinity", victim, 8, "\x01\0\0\0\0\0\0\0"),
        ("sched_setscheduler", victim, 5, "\0\0\0\0"),
        ("prlimit64", victim, 7, "\0" * 16, 0),
        ("ftruncate", 2, 0),
        ("truncate", str(log), 0),
        ("pwrite64", 2, "x", 1, 0),
        ("kill", victim, 9),
        ("kill", -1, 9),
        ("tkill", victim, 9),
        ("rt_sigqueueinfo", victim, 9, "\0" * 128),
        ("pidfd_open", victim, 0),
        ("ptrace", 16, victim, 0, 0),
        ("process_vm_readv", victim, 0, 0, 0, 0, 0),
        ("process_vm_writev", victim, 0, 0, 0, 0, 0),
        ("socket", 2, 1, 0),
        ("connect", 3, "\x01\0/tmp/x", 9),
        ("execve", "/bin/true", 0, 0),
        ("clone", 17, 0, 0, 0, 0),
        ("clone3", "\0" * 88, 88),
        ("unshare", 0x10000000),
        ("memfd_create", "x", 0),
        ("prctl", 4, 1, 0, 0, 0),  # PR_SET_DUMPABLE
        ("seccomp", 1, 0, 0),
        ("io_uring_setup", 1, "\0" * 120),
        ("unlinkat", at, str(file), 0),
        ("mkdirat", at, "/tmp/x", 0o700),
        ("dup", 3),
        ("sendmsg", 3, "\0" * 56, 0),
    ]


def test_attacks(tmp_path):
    file, log = tmp_path / "pictor.db", tmp_path / "log"
    file.write_bytes(b"precious")
    log.write_bytes(b"lines")
    before = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0), os.stat(file).st_mode
    for name, *arguments in attacks(os.getpid(), file, log):
        assert once(name, *arguments) == KILLED, name
    assert (file.read_bytes(), log.read_bytes()) == (b"precious", b"lines")
    assert before == (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0),
                      os.stat(file).st_mode)


def test_a_worker_of_a_real_server(tmp_path, monkeypatch):
    """The server that started the worker stays as it was, and paints with the next one."""
    monkeypatch.setattr("conftest.PROGRAM", str(DOOR))
    server = Server(tmp_path, "--max-attempts=1")
    try:
        jobs = Jobs(server.url)
        [database] = (tmp_path / "data").glob("*.db")
        size = database.stat().st_size
        for name in ("openat", "setpriority", "fcntl"):
            arguments = next(a for a in attacks(server.process.pid, database, tmp_path / "log")
                             if a[0] == name)[1:]
            call = json.dumps([NUMBER[name], *arguments])
            failed = jobs.state(jobs.submit(**{**TINY, "prompt": f"door:{call}"}))
            assert failed["state"] == "failed"
            assert "system call that its sandbox forbids" in failed["error"]["message"]
            assert jobs.state(jobs.submit(**TINY))["state"] == "done"
        assert database.stat().st_size >= size
        assert os.getpriority(os.PRIO_PROCESS, server.process.pid) == 0
        assert server.log().count("event=worker_lost") == 3
    finally:
        server.stop()


def test_no_privileges(serve):
    server = serve()
    pid = until(lambda: worker_of(server))
    until(lambda: requests.get(server.url + "/readyz", timeout=5).status_code == 200)
    status = Path(f"/proc/{pid}/status").read_text()
    for line in ("NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000",
                 "CapPrm:\t0000000000000000", "CapInh:\t0000000000000000",
                 "CapAmb:\t0000000000000000"):
        assert line in status
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = (task / "status").read_text()
        assert "Seccomp:\t2" in status and "CapEff:\t0000000000000000" in status
        assert "CapBnd:\t0000000000000000" in status or os.getuid() != 0


def test_the_shipped_program_has_no_door():
    assert b"PICTOR_TEST_DOOR" in DOOR.read_bytes()
    assert b"PICTOR_TEST_DOOR" not in Path(PROGRAM).read_bytes()


def test_its_log_lines_say_who_wrote_them(tmp_path, monkeypatch):
    """A worker cannot pretend to be the server, and cannot fill the disk."""
    monkeypatch.setattr("conftest.PROGRAM", str(DOOR))
    server = Server(tmp_path)
    try:
        jobs = Jobs(server.url)
        line = "ts=2000-01-01T00:00:00.000Z level=info event=key_added name=mallory\nhello\x1b[2J\n"
        call = json.dumps([NUMBER["write"], 2, line, len(line)])
        jobs.state(jobs.submit(**{**TINY, "prompt": f"door:{call}"}))
        until(lambda: "hello" in server.log())
        assert re.search(r"name=mallory by=worker( job=[0-9a-f]{32})?\n", server.log())
        assert re.search(r"event=worker_output job=[0-9a-f]{32} text=hello\?\[2J\n", server.log())
        blank = " " * 60000  # spaces are no tokens: a prompt may hold so many
        big = f"x{blank}x\ny{blank}y\n"
        for _ in range(6):
            call = json.dumps([NUMBER["write"], 2, big, len(big)])
            jobs.state(jobs.submit(**{**TINY, "prompt": f"door:{call}"}))
        assert len(server.log()) < 100000
    finally:
        server.stop()


# ---- a kernel without seccomp ----

def without_seccomp():
    """Between fork and exec: from now on seccomp(2) is a call that does not exist."""
    class Filter(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte),
                    ("k", ctypes.c_uint)]

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]

    code = (Filter * 4)(Filter(0x20, 0, 0, 0), Filter(0x15, 0, 1, NUMBER["seccomp"]),
                        Filter(0x06, 0, 0, 0x00050000 | 38), Filter(0x06, 0, 0, 0x7fff0000))
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(4, code)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0


def start(tmp_path, listen, *flags):
    with open(tmp_path / "log", "wb") as log:
        return subprocess.Popen(
            [PROGRAM, "serve", f"--listen={listen}:{free_port()}", f"--data={tmp_path / 'data'}",
             *flags], stdout=log, stderr=log, preexec_fn=without_seccomp)


def test_without_seccomp_nobody_else_is_let_in(tmp_path):
    process = start(tmp_path, "0.0.0.0", "--allow-unauthenticated")
    try:
        assert process.wait(30) == 1
        assert "--allow-unconfined" in (tmp_path / "log").read_text()
    finally:
        process.kill()


@pytest.mark.parametrize("listen, flags", [
    ("127.0.0.1", []), ("0.0.0.0", ["--allow-unauthenticated", "--allow-unconfined"])])
def test_without_seccomp_it_warns(tmp_path, listen, flags):
    process = start(tmp_path, listen, *flags)
    try:
        until(lambda: "event=worker_ready" in (tmp_path / "log").read_text(), 30)
        log = (tmp_path / "log").read_text()
        assert "event=workers_unconfined" in log and "event=sandbox_open" in log
    finally:
        process.terminate()
        process.wait(30)
