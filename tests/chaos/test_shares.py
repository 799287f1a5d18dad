"""No client takes what others need: connections, memory for bodies, open requests, guesses."""
import base64
import io
import json
import select
import socket
import subprocess
import time

import pytest
import requests
from PIL import Image
from processes import TINY, Jobs, until

HALF = b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


def connect(server, text=b"", source="127.0.0.1"):
    s = socket.create_connection(("127.0.0.1", server.port), timeout=60,
                                 source_address=(source, 0))
    s.sendall(text)
    return s


def is_open(s):
    s.setblocking(False)
    try:
        return s.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        s.settimeout(60)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def head(method, path, key=None, **headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def status_of(s):
    return int(s.recv(12, socket.MSG_WAITALL).split()[1])


@pytest.mark.parametrize("keys", [False, True])
def test_half_open_headers_keep_nobody_out(serve, keys):
    server = serve("--max-connections=32", "--header-timeout=600", "--request-timeout=600")
    headers = bearer(server.add_key("alice")) if keys else {}
    follower = requests.get(server.url + "/api/events", headers=headers, stream=True, timeout=60)
    flood = [connect(server, HALF) for _ in range(200)]
    until(lambda: sum(is_open(s) for s in flood) <= 16)
    assert is_open(flood[-1]) and not is_open(flood[0])  # the oldest went
    for _ in range(20):  # each on a connection of its own, while the flood goes on
        answer = requests.post(server.url + "/api/jobs", json=TINY, headers=headers, timeout=60)
        assert answer.status_code == 202, answer.text
        flood += [connect(server, HALF) for _ in range(10)]
    # Those who were let in are not pushed out.
    assert b"event:" in next(follower.iter_content(1024))
    follower.close()


def test_an_address_pushes_out_its_own_strangers(serve):
    server = serve("--max-connections=64", "--max-connections-per-address=4",
                   "--header-timeout=600", "--request-timeout=600")
    others = [connect(server, HALF, "127.0.0.2") for _ in range(4)]
    flood = [connect(server, HALF) for _ in range(100)]
    until(lambda: sum(is_open(s) for s in flood) == 4)
    assert all(is_open(s) for s in others)


def test_the_address_with_the_most_makes_room_for_others(serve):
    server = serve("--max-connections=16", "--header-timeout=600", "--request-timeout=600")
    flood = [connect(server, HALF) for _ in range(8)]
    until(lambda: all(is_open(s) for s in flood))
    others = [connect(server, HALF, f"127.0.0.{n}") for n in (2, 3, 4, 5)]
    until(lambda: [is_open(s) for s in flood] == [False] * 4 + [True] * 4)
    assert all(is_open(s) for s in others)


def trickle(s, seconds):
    """Sends a byte now and then, until the server ends it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            s.sendall(b"a")
            s.settimeout(0.2)
            if s.recv(1) == b"":
                return True
        except TimeoutError:
            pass
        except OSError:
            return True
    return False


@pytest.mark.parametrize("text", [
    HALF,
    head("POST", "/api/jobs", Content_Length=100000) + b"{",
    # Refused long before, and read on for the sake of the answer.
    head("POST", "/nowhere", Content_Length=100000) + b"{",
])
def test_what_trickles_in_has_a_deadline(serve, text):
    server = serve("--header-timeout=2", "--request-timeout=2")
    assert trickle(connect(server, text), 60)


def test_a_body_that_comes_fast_enough_has_time(serve):
    server = serve("--request-timeout=1", "--min-body-rate=20")
    body = json.dumps({**TINY, "prompt": "x" + " " * 400}).encode()
    s = connect(server, head("POST", "/api/jobs", Content_Type="application/json",
                             Content_Length=len(body)))
    began = time.monotonic()
    for at in range(0, len(body), 50):
        s.sendall(body[at:at + 50])
        time.sleep(0.3)
    assert time.monotonic() - began > 2
    assert status_of(s) == 202


def test_unfinished_bodies_of_one_key_leave_room_for_others(serve):
    server = serve("--max-body-bytes=1M", "--request-timeout=600")
    alice, bob, carol = (server.add_key(name) for name in ("alice", "bob", "carol"))
    size = 1 << 20

    def begin(key):
        s = connect(server, head("POST", "/sdapi/v1/png-info", key, Content_Length=size,
                                 Content_Type="application/json"))
        s.sendall(b" " * (size - 1))
        return s

    def finish(s):
        s.sendall(b" ")
        return status_of(s)

    # Until all is taken that she can have; one that comes while another grows may be refused.
    hogs = [begin(alice)]
    until(lambda: requests.post(server.url + "/sdapi/v1/png-info", data=b" " * size,
                                headers=bearer(alice), timeout=60).status_code == 503
          or hogs.append(begin(alice)))
    for key in (bob, carol):
        answer = requests.post(server.url + "/sdapi/v1/png-info", data=b" " * (size // 4),
                               headers=bearer(key), timeout=60)
        assert answer.status_code == 422, answer.text
    ends = [finish(s) for s in hogs]
    assert set(ends) <= {422, 503} and ends.count(422) >= 1
    assert finish(begin(alice)) == 422  # it is free again


def test_open_requests_of_one_key(serve):
    server = serve("--max-open-requests-per-key=4")
    alice, bob = server.add_key("alice"), server.add_key("bob")

    def follow(key):
        return requests.get(server.url + "/api/events", headers=bearer(key), stream=True,
                            timeout=60)

    streams = [follow(alice) for _ in range(4)]
    assert [s.status_code for s in streams] == [200] * 4
    for path in ("/api/models", "/v1/models", "/sdapi/v1/samplers"):
        answer = requests.get(server.url + path, headers=bearer(alice), timeout=60)
        assert answer.status_code == 429 and int(answer.headers["Retry-After"]) > 0, answer.text
        assert "open" in answer.text
        assert requests.get(server.url + path, headers=bearer(bob), timeout=60).status_code == 200
    streams[0].close()
    until(lambda: requests.get(server.url + "/api/models", headers=bearer(alice),
                               timeout=60).status_code == 200)
    for s in streams:
        s.close()


def basic(server, password, source="127.0.0.1", user="ann"):
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    with connect(server, f"GET /sdapi/v1/samplers HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close"
                         f"\r\nAuthorization: Basic {token}\r\n\r\n".encode(), source) as s:
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    return int(answer.split()[1]), answer


def test_guesses_are_throttled(serve):
    server = serve("--api-auth=ann:right", "--max-failures-per-minute=5")
    key = server.add_key("alice")
    assert basic(server, "right")[0] == 200
    assert [basic(server, f"wrong{n}")[0] for n in range(5)] == [401] * 5
    status, answer = basic(server, "wrong")
    assert status == 429 and b"Retry-After" in answer
    # No guess would succeed now; a key opens as ever, and others are not concerned.
    assert basic(server, "right")[0] == 429
    assert requests.get(server.url + "/api/models", headers=bearer(key),
                        timeout=60).status_code == 200
    assert basic(server, key)[0] == 200
    assert basic(server, "right", "127.0.0.2")[0] == 200
    # Whoever sends no password at all is told to.
    assert requests.get(server.url + "/api/models", timeout=60).status_code == 401
    wrong = requests.get(server.url + "/api/models", headers=bearer("pk_" + "0" * 64), timeout=60)
    assert wrong.status_code == 401


def test_inputs_of_one_key(serve):
    out = io.BytesIO()
    Image.effect_noise((256, 256), 100).convert("RGB").save(out, "PNG")
    picture = base64.b64encode(out.getvalue()).decode()
    server = serve(f"--max-input-bytes-per-key={3 * len(out.getvalue())}")
    alice, bob = server.add_key("alice"), server.add_key("bob")
    painting = requests.post(server.url + "/api/jobs", headers=bearer(bob), timeout=60,
                             json={**TINY, "width": 512, "height": 512, "steps": 150})
    assert painting.status_code == 202

    def submit(key):
        return requests.post(server.url + "/api/jobs", headers=bearer(key), timeout=60,
                             json={**TINY, "init_image": picture})
    answers = [submit(alice) for _ in range(4)]
    assert [a.status_code for a in answers] == [202, 202, 202, 429], answers[-1].text
    assert "Retry-After" in answers[-1].headers
    other = submit(bob)
    assert other.status_code == 202
    # A job without one is no matter; one that is cancelled gives its room back.
    assert requests.post(server.url + "/api/jobs", headers=bearer(alice), json=TINY,
                         timeout=60).status_code == 202
    first = answers[0].json()["id"]
    assert requests.post(f"{server.url}/api/jobs/{first}/cancel", headers=bearer(alice),
                         timeout=60).status_code == 200
    assert submit(alice).status_code == 202
    assert requests.post(f"{server.url}/api/jobs/{painting.json()['id']}/cancel",
                         headers=bearer(bob), timeout=60).status_code == 200


SLOW_DISK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPEN(name)                                                             \
    int name(const char *path, int flags, ...)                                 \
    {                                                                          \
        va_list ap;                                                            \
        va_start(ap, flags);                                                   \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;  \
        va_end(ap);                                                            \
        while (strstr(path, "slow.safetensors") && access(getenv("SLOW"), F_OK) == 0) \
            usleep(10000);                                                     \
        return ((__typeof__(&name))dlsym(RTLD_NEXT, #name))(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
"""


def test_lists_that_wait_for_the_disk_take_no_threads(serve, tmp_path):
    (tmp_path / "slow.c").write_text(SLOW_DISK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "slow.so", tmp_path / "slow.c",
                    "-ldl"], check=True)
    models, slow = tmp_path / "models", tmp_path / "slow"
    models.mkdir()
    server = serve(f"--models={models}", env={"LD_PRELOAD": str(tmp_path / "slow.so"),
                                              "SLOW": str(slow)})
    slow.touch()
    (models / "slow.safetensors").write_bytes(b"no header")
    assert requests.post(server.url + "/sdapi/v1/refresh-checkpoints",
                         timeout=60).status_code == 200
    paths = ["/api/models", "/sdapi/v1/sd-models"] * 10  # more than there are threads
    lists = [connect(server, head("GET", path)) for path in paths]
    for _ in range(10):
        assert requests.get(server.url + "/healthz", timeout=60).status_code == 200
    assert select.select(lists, [], [], 0)[0] == []
    slow.unlink()
    assert [status_of(s) for s in lists] == [200] * len(lists)
