"""Files of models reach a worker on another machine by their SHA-256."""
import hashlib
import shutil
import subprocess

from conftest import ROOT
from processes import TINY, Jobs, until
from test_loras import fill
from workers import Worker

BUILTIN = ROOT / "engine" / "builtin" / "pictor-mini.safetensors"


def test_fetched_once_continued_and_checked(serve, tmp_path):
    models, loras, files = tmp_path / "models", tmp_path / "loras", tmp_path / "files"
    models.mkdir()
    shutil.copy(BUILTIN, models / "copy.safetensors")
    fill(loras)
    flags = f"--models={models}", f"--loras={loras}", "--threads=1"
    server = serve("--workers=0", *flags)
    jobs = Jobs(server.url)
    data = BUILTIN.read_bytes()
    name = hashlib.sha256(data).hexdigest()
    lora = hashlib.sha256((loras / "style.safetensors").read_bytes()).hexdigest()
    files.mkdir()
    (files / f"{name}.part").write_bytes(data[:100000])  # an earlier worker ended here
    (files / f"{lora}.part").write_bytes(b"something else")
    words = {**TINY, "model": "copy", "prompt": "a red circle <lora:style:0.8>"}
    worker = Worker(tmp_path / "w", server.url, f"--worker-files={files}")
    try:
        job = jobs.submit(**words)
        done = jobs.state(job)
        assert done["state"] == "done", (done, worker.log()[-3000:])
        assert f"sha256={name} bytes={len(data)} from=100000" in worker.log()
        assert "sent another file" in worker.log()  # what the broken part became; then it was whole
        assert sorted(p.name for p in files.iterdir()) == sorted([name, lora])
        assert (files / name).read_bytes() == data
        fetched = worker.log().count("event=worker_file_fetched")
        again = jobs.state(jobs.submit(**{**words, "seed": 8}))
        assert again["state"] == "done"
        assert worker.log().count("event=worker_file_fetched") == fetched
    finally:
        worker.stop()
    local = Jobs(serve(*flags).url)
    same = local.state(local.submit(**words))
    assert jobs.picture(done["images"][0]) == local.picture(same["images"][0])


def test_what_does_not_fit_waits_for_who_has_room(serve, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(BUILTIN, models / "copy.safetensors")
    server = serve("--workers=0", f"--models={models}")
    jobs = Jobs(server.url)
    job = jobs.submit(**{**TINY, "model": "copy"})
    assert jobs.get(job)["waiting_for"] == "no worker is connected"
    worker = Worker(tmp_path / "w", server.url, "--worker-files-limit=1M")
    try:
        until(lambda: "1048576 of disk" in jobs.get(job)["waiting_for"])
        small = jobs.submit(**{**TINY, "model": "pictor-mini"})
        assert jobs.state(small)["state"] == "done"
        waits = jobs.get(job)
        assert waits["state"] == "queued" and waits["attempts"] == 0
        large = Worker(tmp_path / "l", server.url)
        done = jobs.state(job)
        large.stop()
        assert done["state"] == "done" and "waiting_for" not in done
        assert f"job={job}" not in worker.log()
    finally:
        worker.stop()


BAD_DISK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

FILE *fopen(const char *path, const char *mode)
{
    if (strstr(path, "bad.safetensors")) {
        errno = EIO;
        return NULL;
    }
    return ((__typeof__(&fopen))dlsym(RTLD_NEXT, "fopen"))(path, mode);
}
"""


def test_a_file_that_cannot_be_read_holds_up_nobody(serve, tmp_path):
    (tmp_path / "bad.c").write_text(BAD_DISK)
    subprocess.run(["cc", "-shared", "-fPIC", "-D_FILE_OFFSET_BITS=32", "-o", tmp_path / "bad.so",
                    tmp_path / "bad.c", "-ldl"], check=True)
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(BUILTIN, models / "bad.safetensors")
    server = serve("--workers=0", f"--models={models}", env={"LD_PRELOAD": str(tmp_path / "bad.so")})
    jobs = Jobs(server.url)
    bad = jobs.submit(**{**TINY, "model": "bad"})
    good = jobs.submit(**{**TINY, "model": "pictor-mini"})
    worker = Worker(tmp_path / "w", server.url)
    try:
        failed = jobs.state(bad)
        assert failed["state"] == "failed" and "cannot be read: Input/output error" in \
            failed["error"]["message"], failed
        assert str(models) not in str(failed)
        assert jobs.state(good)["state"] == "done"
    finally:
        worker.stop()
