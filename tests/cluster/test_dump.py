"""The backup of docs/operations.md, of a PostgreSQL and a folder, and back into others."""
import shutil
import subprocess

import requests

from conftest import PROGRAM, Server, shared_postgres
from postgres import program
from processes import TINY, Jobs


def test_dumped_and_brought_back(serve, tmp_path):
    database, empty = shared_postgres().create(), shared_postgres().create()
    server = serve(database=database)
    jobs = Jobs(server.url)
    done = jobs.state(jobs.submit(**TINY, count=2))
    pictures = [jobs.picture(image) for image in done["images"]]
    backup = tmp_path / "backup"
    backup.mkdir(mode=0o700)
    subprocess.run([program("pg_dump"), "-Fc", "-f", backup / "pictor.dump", database], check=True)
    data = server.folder / "data"
    subprocess.run(["cp", "-a", data / "images", data / "inputs", data / "files", backup], check=True)
    later = jobs.submit(**TINY)
    server.stop()
    subprocess.run([program("pg_restore"), "--no-owner", "-d", empty, backup / "pictor.dump"], check=True)
    (backup / "pictor.dump").unlink()
    shutil.move(backup, tmp_path / "data")
    fsck = subprocess.run([PROGRAM, "fsck", f"--data={tmp_path / 'data'}", f"--database={empty}",
                           "--repair"], capture_output=True, text=True)
    assert fsck.returncode == 0, fsck.stdout + fsck.stderr
    (tmp_path / "again").mkdir()
    again = Server(tmp_path / "again", f"--data={tmp_path / 'data'}", database=empty)
    jobs = Jobs(again.url)
    assert [jobs.picture(image) for image in jobs.get(done["id"])["images"]] == pictures
    assert requests.get(f"{again.url}/api/jobs/{later}", timeout=30).status_code == 404
    assert jobs.state(jobs.submit(**TINY))["state"] == "done"
    again.stop()
