"""Pictures in an S3 bucket instead of the folder, on moto; every signature is held against botocore's."""
import base64
import io
import os
import subprocess
import time

import pytest
import requests
from bucket_server import SECRET, BucketServer
from openai_client import gradient, png, wait_for
from PIL import Image
from test_native import TINY, Native

from conftest import PROGRAM


@pytest.fixture(scope="module")
def s3_of_all():
    server = BucketServer()
    yield server
    server.close()


@pytest.fixture
def s3(s3_of_all):
    s3_of_all.heal()
    s3_of_all.faults.clear()
    s3_of_all.requests.clear()
    yield s3_of_all
    s3_of_all.heal()
    assert s3_of_all.faults == []


@pytest.fixture
def start(serve, s3):
    def start(*flags, bucket=None, prefix=""):
        bucket = bucket or s3.bucket()
        server = serve(*s3.flags(bucket, prefix), *flags, env=s3.env())
        server.s3, server.bucket, server.native = s3, bucket, Native(server.url)
        return server
    return start


def paint(server, **fields):
    job = server.native.submit(**fields)
    wait_for(lambda: server.s3.faults or server.native.job(job["id"])["state"] == "done", 30)
    assert not server.s3.faults
    job = server.native.job(job["id"])
    assert job["state"] == "done", job
    return job


def image_of(job):
    return "images/{0:.2}/{0}.png".format(job["images"][0]["id"])


def forget_near(server):
    for file in (server.folder / "data" / "near").iterdir():
        file.unlink()


def fsck(server, s3, *flags):
    done = subprocess.run([PROGRAM, "fsck", *server.place(),
                           *s3.flags(server.bucket), *flags], capture_output=True, text=True,
                          env=s3.env())
    return done.returncode, done.stdout + done.stderr


def test_a_picture_goes_to_the_bucket(start, s3):
    server = start()
    job = paint(server)
    assert s3.names(server.bucket, "images/") == [image_of(job)]
    stored = s3.client.head_object(Bucket=server.bucket, Key=image_of(job))
    assert stored["ContentType"] == "image/png" and len(stored["Metadata"]["sha256"]) == 64
    data = server.folder / "data"
    assert not list((data / "images").rglob("*.png")) and list((data / "near").iterdir())
    address = f"{server.url}/api/images/{job['images'][0]['id']}"
    near = requests.get(address).content
    forget_near(server)
    far = requests.get(address)
    assert near == far.content == s3.read(server.bucket, image_of(job))
    assert far.headers["ETag"] and far.headers["Content-Type"] == "image/png"
    assert len(list((data / "near").iterdir())) == 1  # and is near again
    assert fsck(server, s3)[0] == 0


def test_same_pictures_as_in_the_folder(start, serve):
    there, here = start(), serve()
    pictures = []
    for server in there, here:
        answer = requests.post(server.url + "/sdapi/v1/txt2img", json={**TINY, "batch_size": 2}).json()
        pictures.append(answer["images"])
    assert pictures[0] == pictures[1]


def test_inputs_thumbnails_files_and_answers(start, s3):
    server = start(prefix="/shop/a")
    begun = paint(server, init_image=base64.b64encode(png(gradient(64, 64))).decode(), strength=0.5)
    names = s3.names(server.bucket)
    assert f"shop/a/{image_of(begun)}" in names
    assert f"shop/a/inputs/{begun['id']}.init" in names
    thumb = f"{server.url}/api/images/{begun['images'][0]['id']}/thumb"
    forget_near(server)
    first = requests.get(thumb)
    assert Image.open(io.BytesIO(first.content)).format == "WEBP"
    assert any(n.startswith("shop/a/thumbs/") for n in s3.names(server.bucket))
    forget_near(server)
    s3.requests.clear()
    assert requests.get(thumb).content == first.content
    assert ["thumbs" in path for _, path in s3.requests] == [True]  # not made again
    forget_near(server)
    answer = requests.post(server.url + "/v1/images/generations",
                           json={"prompt": "a cup", "size": "64x64", "steps": 2}).json()
    assert base64.b64decode(answer["data"][0]["b64_json"])[:4] == b"\x89PNG"
    kept = requests.post(server.url + "/v1/files", data={"purpose": "user_data"},
                         files={"file": ("a.txt", b"mine" * 1000)}).json()
    forget_near(server)
    content = requests.get(f"{server.url}/v1/files/{kept['id']}/content")
    assert content.content == b"mine" * 1000 and "attachment" in content.headers["Content-Disposition"]
    assert requests.delete(f"{server.url}/v1/files/{kept['id']}").status_code == 200
    wait_for(lambda: not [n for n in s3.names(server.bucket) if "/files/" in n])


def test_removed_with_its_job(start, s3):
    server = start()
    job = paint(server, init_image=base64.b64encode(png(gradient(64, 64))).decode())
    requests.get(f"{server.url}/api/images/{job['images'][0]['id']}/thumb")
    assert len(s3.names(server.bucket)) == 3
    assert requests.delete(f"{server.url}/api/jobs/{job['id']}").status_code == 204
    assert len(s3.names(server.bucket)) == 3  # it can be restored
    assert requests.delete(f"{server.url}/api/jobs/{job['id']}?now=true").status_code == 204
    wait_for(lambda: s3.names(server.bucket) == [])
    assert not list((server.folder / "data" / "near").iterdir())


def test_large_ones_go_in_parts(start, s3):
    server = start()
    content = bytes(range(256)) * (20 << 12)  # 20 MiB
    kept = requests.post(server.url + "/v1/files", data={"purpose": "user_data"},
                         files={"file": ("a.bin", content)}).json()
    assert sum("partNumber=" in path for _, path in s3.requests) == 3
    name = s3.names(server.bucket, "files/")[0]
    assert s3.read(server.bucket, name) == content
    forget_near(server)
    assert requests.get(f"{server.url}/v1/files/{kept['id']}/content").content == content
    s3.break_with, s3.breaks = (403, "AccessDenied"), lambda method, path: "partNumber=2" in path
    failed = requests.post(server.url + "/v1/files", data={"purpose": "user_data"},
                           files={"file": ("b.bin", content)})
    assert failed.status_code == 503 and "AccessDenied" in failed.text
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket=server.bucket)
    assert len(s3.names(server.bucket, "files/")) == 1


@pytest.mark.parametrize("flags", [(), ("--bucket-gets=redirect",)])
def test_links(start, s3, flags):
    server = start(*flags)
    job = paint(server)
    image = job["images"][0]["id"]
    for address in f"/api/images/{image}", f"/v1/images/files/{image}.png":
        asked = requests.get(server.url + address, allow_redirects=False)
        assert asked.status_code == (307 if flags else 200)
        if flags:
            assert asked.headers["Location"].startswith(f"{s3.url}/{server.bucket}/images/")
            assert SECRET not in asked.headers["Location"]
            page = {"Sec-Fetch-Site": "same-origin"}
            assert requests.get(server.url + address, headers=page, allow_redirects=False).ok
        data = s3.read(server.bucket, image_of(job))
        assert requests.get(server.url + address).content == data
        forget_near(server)
        part = requests.get(server.url + address, headers={"Range": "bytes=5-9"})  # behind the link, too
        assert part.status_code == 206 and part.content == data[5:10]
        assert part.headers["Content-Range"] == f"bytes 5-9/{len(data)}"
    saved = requests.get(f"{server.url}/api/images/{image}?download=1")
    assert saved.headers["Content-Disposition"] == f'attachment; filename="pictor-{image[:12]}.png"'
    if flags:
        link = requests.get(f"{server.url}/api/images/{image}", allow_redirects=False).headers["Location"]
        assert requests.get(link.replace(image, "0" * 32)).status_code == 403
        s3.faults.clear()


@pytest.mark.parametrize("status, code", [(500, "InternalError"), (503, "SlowDown")])
def test_tried_again(start, s3, status, code):
    server = start()
    s3.break_with, s3.left, s3.breaks = (status, code), 2, lambda method, path: method == "PUT"
    paint(server)
    assert sum(method == "PUT" and "/images/" in path for method, path in s3.requests) == 3


@pytest.mark.parametrize("status, code", [(403, "AccessDenied"), (503, "SlowDown")])
def test_a_bucket_that_is_away_loses_nothing(start, s3, status, code):
    server = start("--bucket-timeout=1")
    before = paint(server)
    s3.break_with, s3.breaks = (status, code), lambda method, path: "/images/" in path or "probe" in path
    job = server.native.submit(seed=8)
    wait_for(lambda: "store_trouble" in server.log() or code in server.log())
    assert server.native.job(job["id"])["state"] in ("queued", "running")
    refused = requests.get(f"{server.url}/api/images/{before['images'][0]['id']}")
    assert refused.status_code == 200  # it is near
    forget_near(server)
    refused = requests.get(f"{server.url}/api/images/{before['images'][0]['id']}")
    assert refused.status_code == 503 and code in refused.json()["error"]["message"]
    s3.heal()
    assert server.native.finish(job)["state"] == "done"
    assert len(s3.names(server.bucket, "images/")) == 2
    assert SECRET not in server.log()
    assert fsck(server, s3)[0] == 0


def test_slow(start, s3):
    server = start("--bucket-timeout=1")
    s3.delay = 3
    job = server.native.submit()
    wait_for(lambda: "cannot be reached" in server.log())
    s3.heal()
    assert server.native.finish(job)["state"] == "done"


def test_starts_without_its_bucket(serve, s3):
    bucket = s3.bucket()
    s3.break_with = (503, "SlowDown")
    server = serve(*s3.flags(bucket), "--bucket-timeout=1", env=s3.env())
    server.s3, server.bucket, server.native = s3, bucket, Native(server.url)
    s3.heal()
    paint(server)


def test_a_wrong_key_is_said(serve, s3):
    bucket = s3.bucket()
    server = serve(*s3.flags(bucket), "--bucket-key=AKIDEXAMPLE", "--bucket-secret=wrong")
    native = Native(server.url)
    job = native.submit()
    wait_for(lambda: "SignatureDoesNotMatch" in server.log())
    assert "bucket_key and its rights" in server.log() and "wrong" not in server.log()
    assert native.job(job["id"])["state"] in ("queued", "running")
    s3.faults.clear()


@pytest.mark.parametrize("flags, words", [
    (["--blobs=bucket"], 'blobs must be "folder" or s3://'),
    (["--blobs=s3://a"], "wants the name of a bucket"),
    (["--blobs=s3://shop?endpoint=minio:9000"], "endpoint must be http://"),
    (["--blobs=s3://shop?size=3"], "endpoint, region, style and public"),
    (["--blobs=s3://shop?style=round"], "style is path or host"),
    (["--blobs=s3://shop/../b"], "a prefix is letters"),
    (["--blobs=s3://shop?endpoint=http://127.0.0.1:1"], "wants its key: bucket_key"),
])
def test_wrong_settings(tmp_path, flags, words):
    done = subprocess.run([PROGRAM, "serve", "--listen=127.0.0.1:0", f"--data={tmp_path}", *flags],
                          capture_output=True, text=True, env={}, timeout=30)
    assert done.returncode != 0 and words in done.stderr, done.stderr


def test_fsck(start, s3):
    server = start()
    kept, gone, near, odd = (paint(server, seed=i) for i in range(4))
    server.stop()
    put = lambda name, body: s3.client.put_object(Bucket=server.bucket, Key=name, Body=body)
    s3.client.delete_object(Bucket=server.bucket, Key=image_of(gone))
    s3.client.delete_object(Bucket=server.bucket, Key=image_of(near))
    put(image_of(odd), b"short")
    put("images/ab/ab" + "0" * 30 + ".png", b"whose")
    put("thumbs/ab/ab" + "0" * 30 + ".webp", b"small")
    s3.client.create_multipart_upload(Bucket=server.bucket, Key="images/ab/x.png")
    for file in (server.folder / "data" / "near").iterdir():
        if near["images"][0]["id"] not in file.name:
            file.unlink()
    status, said = fsck(server, s3)
    kinds = sorted(line.split()[0] for line in said.splitlines()[1:-1])
    assert status == 1 and kinds == ["missing", "missing", "orphan", "size", "thumb",
                                     "upload"], said  # moto says that it is of 2010
    status, said = fsck(server, s3, "--repair")
    assert "put again" in said and "repaired" in said
    names = s3.names(server.bucket)
    assert sorted(names) == sorted([image_of(kept), image_of(near), "lost/ab" + "0" * 30 + ".png",
                                    "lost/" + image_of(odd).rpartition("/")[2]])
    assert fsck(server, s3)[0] == 0
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket=server.bucket)
    server.start()


def test_fsck_believes_lists_alone(start, s3):
    """Whatever else answers with 200 is not an empty bucket, whose rows would go."""
    server = start()
    paint(server)
    server.stop()
    forget_near(server)
    for what in "list-type=2", "uploads=":
        s3.break_with, s3.breaks = (200, "Welcome"), lambda method, path: what in path
        status, said = fsck(server, s3, "--repair")
        assert status != 0 and "no list of objects" in said and "missing" not in said, said
    s3.heal()
    assert fsck(server, s3)[0] == 0


def test_names_that_lead_elsewhere(start, s3):
    """Who may write into the bucket may not write beside the data folder, nor remove what is there."""
    server = start()
    server.stop()
    outside = server.folder / "mine.webp"
    outside.write_bytes(b"mine")
    for name in ("thumbs/../../mine.webp", "images/../../new.png", "images/ab/../../../new.tmp"):
        s3.client.put_object(Bucket=server.bucket, Key=name, Body=b"theirs")
    fsck(server, s3, "--repair")
    migrate(server, s3, "--back")
    assert outside.read_bytes() == b"mine" and not list(server.folder.rglob("new.*"))
    server.start()


def test_bytes_that_changed_are_no_picture(start, s3):
    server = start()
    job = paint(server)
    body = bytearray(s3.read(server.bucket, image_of(job)))
    sha = s3.client.head_object(Bucket=server.bucket, Key=image_of(job))["Metadata"]
    body[-20] ^= 1
    s3.client.put_object(Bucket=server.bucket, Key=image_of(job), Body=bytes(body), Metadata=sha)
    forget_near(server)
    broken = requests.get(f"{server.url}/api/images/{job['images'][0]['id']}")
    assert broken.status_code == 500 and "other bytes" in broken.json()["error"]["message"]


def test_old_pictures_are_read_where_they_lie(serve, s3):
    server = serve()
    server.s3, server.native, server.bucket = s3, Native(server.url), s3.bucket()
    old = paint(server)
    content = requests.get(f"{server.url}/api/images/{old['images'][0]['id']}").content
    server.flags, server.env = s3.flags(server.bucket), s3.env()
    server.restart()
    assert requests.get(f"{server.url}/api/images/{old['images'][0]['id']}").content == content
    new = paint(server, seed=9)
    assert s3.names(server.bucket, "images/") == [image_of(new)]
    assert fsck(server, s3)[0] == 0


def test_near_has_a_limit(start, s3):
    server = start("--bucket-near=16M")
    near = server.folder / "data" / "near"
    long_ago = time.time() - 7200
    for i in range(40):
        file = near / f"files-old{i}"
        file.write_bytes(bytes(1 << 20))

        os.utime(file, (long_ago, long_ago))
    server.restart()  # counts them
    paint(server)
    wait_for(lambda: sum(f.stat().st_size for f in near.iterdir()) <= 16 << 20)


def migrate(server, s3, *flags):
    done = subprocess.run([PROGRAM, "migrate-blobs", f"--data={server.folder / 'data'}",
                           *s3.flags(server.bucket), *flags], capture_output=True, text=True,
                          env=s3.env())
    return done.returncode, done.stdout + done.stderr


def test_moving_in_and_back(serve, s3):
    server = serve()
    server.s3, server.native, server.bucket = s3, Native(server.url), s3.bucket()
    jobs = [paint(server, seed=i, init_image=base64.b64encode(png(gradient(64, 64))).decode())
            for i in range(2)]
    addresses = [f"{server.url}/api/images/{j['images'][0]['id']}" for j in jobs]
    thumb = requests.get(addresses[0] + "/thumb").content
    before = [requests.get(a).content for a in addresses]
    images, inputs = server.folder / "data" / "images", server.folder / "data" / "inputs"
    s3.break_with, s3.breaks = (403, "AccessDenied"), lambda method, path: "/inputs/" in path
    status, said = migrate(server, s3, "--remove")
    assert status == 1 and "3 files moved, 0 were there, 2 failed" in said
    assert "the bucket refuses (403)" in said
    assert len(list(inputs.iterdir())) == 2 and not list(images.rglob("*.png"))
    s3.heal()
    s3.client.put_object(Bucket=server.bucket, Key=f"inputs/{jobs[0]['id']}.init", Body=b"other")
    assert "2 files moved, 0 were there, 0 failed" in migrate(server, s3)[1]
    assert "0 files moved, 2 were there, 0 failed" in migrate(server, s3, "--remove")[1]
    assert not list(inputs.iterdir()) and len(s3.names(server.bucket)) == 5
    folder_flags, server.flags, server.env = server.flags, s3.flags(server.bucket), s3.env()
    server.restart()
    assert [requests.get(a).content for a in addresses] == before
    assert fsck(server, s3)[0] == 0
    assert "5 files moved, 0 were there, 0 failed" in migrate(server, s3, "--back")[1]
    assert "0 files moved, 5 were there, 0 failed" in migrate(server, s3, "--back", "--remove")[1]
    assert s3.names(server.bucket) == []
    server.flags = folder_flags
    server.restart()
    assert [requests.get(a).content for a in addresses] == before
    assert requests.get(addresses[0] + "/thumb").content == thumb
