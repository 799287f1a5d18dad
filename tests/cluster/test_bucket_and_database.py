"""Two servers that share a PostgreSQL and a bucket, and no folder."""
import base64
import subprocess

import pytest
import requests
from bucket_server import BucketServer
from conftest import PROGRAM, Server, shared_postgres
from openai_client import gradient, png
from processes import TINY, Jobs


@pytest.fixture
def s3():
    server = BucketServer()
    yield server
    server.close()


@pytest.fixture
def pair(tmp_path, s3):
    database, bucket, servers = shared_postgres().create(), s3.bucket(), []
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        servers.append(Server(folder, f"--data={folder / 'data'}", f"--server-name={name}",
                              *s3.flags(bucket, ""), env=s3.env(), database=database))
    servers[0].bucket = bucket
    yield servers
    for server in servers:
        server.stop()


def test_nothing_but_the_bucket_and_the_database_is_shared(pair, s3):
    a, b = (Jobs(server.url) for server in pair)
    init = "data:image/png;base64," + base64.b64encode(png(gradient(64, 64))).decode()
    jobs = [a.submit(**{**TINY, "seed": i, "steps": 8, "init_image": init, "strength": 0.5})
            for i in range(10)]
    assert all(b.state(job)["state"] == "done" for job in jobs)
    logs = [server.log() for server in pair]
    assert all(any(f"event=job_started job={job} " in log for job in jobs) for log in logs), \
        "each has painted some, from pictures that came to the other"
    for job in jobs:
        image = a.get(job)["images"][0]
        assert a.picture(image) == b.picture(image)
    assert requests.delete(f"{pair[1].url}/api/jobs/{jobs[0]}", timeout=30).status_code == 204
    assert requests.get(f"{pair[0].url}/api/jobs/{jobs[0]}", timeout=30).status_code == 404
    done = subprocess.run([PROGRAM, "fsck", f"--data={pair[0].folder / 'data'}",
                           f"--database={pair[0].database}", *s3.flags(pair[0].bucket, "")],
                          capture_output=True, text=True, timeout=120, env=s3.env())
    assert done.returncode == 0, done.stdout + done.stderr
    assert not s3.faults
