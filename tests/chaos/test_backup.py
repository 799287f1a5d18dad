"""The backup of docs/operations.md, made beside a server that paints, and brought back."""
import shutil
import sqlite3

import requests
from processes import LONG, TINY, Jobs, fsck


def back_up(data, to):
    to.mkdir(mode=0o700)
    source, copy = sqlite3.connect(data / "pictor.db"), sqlite3.connect(to / "pictor.db")
    source.backup(copy)  # what sqlite3's .backup does
    source.close()
    copy.close()
    for name in ("images", "inputs", "files"):
        shutil.copytree(data / name, to / name)


def test_backup_and_restore(serve, tmp_path):
    server = serve()
    data, backup = server.folder / "data", tmp_path / "backup"
    jobs = Jobs(server.url)
    done = [jobs.state(jobs.submit(**TINY, count=2)) for _ in range(3)]
    pictures = {image["url"]: jobs.picture(image) for job in done for image in job["images"]}
    kept = requests.post(f"{server.url}/v1/files", timeout=30, data={"purpose": "batch"},
                         files={"file": ("lines.jsonl", b"{}")}).json()
    painting = jobs.submit(**{**LONG, "steps": 30})
    jobs.painting(painting)
    waiting = [jobs.submit(**TINY) for _ in range(3)]
    back_up(data, backup)
    later = jobs.submit(**TINY)
    server.process.kill()
    server.process.wait()
    shutil.rmtree(data)
    shutil.move(backup, data)
    status, kinds, said = fsck(data, "--repair")
    assert kinds <= {"orphan", "temporary"}, said
    server.start()
    for job in done:
        now = jobs.get(job["id"])
        assert now["state"] == "done"
        for image in now["images"]:
            assert jobs.picture(image) == pictures[image["url"]]
    assert requests.get(f"{server.url}/v1/files/{kept['id']}/content", timeout=30).content == b"{}"
    for job in (painting, *waiting):
        assert jobs.state(job, seconds=120)["state"] == "done"
    assert requests.get(f"{server.url}/api/jobs/{later}", timeout=30).status_code == 404
    server.stop()
    assert fsck(data)[0] == 0
    server.start()
