"""/v1/files, and pictures that are named by a file's id."""
import os
import time

import pytest
import requests
from openai_client import OpenAI, decode, gradient, hole, png, wait_for

FILES = "/v1/files"
OPTIONS = {"prompt": "p", "size": "64x64", "steps": 2, "seed": 7}
IMAGE, MASK = png(gradient()), png(hole())


@pytest.fixture
def ai(serve):
    return OpenAI(serve().url)


def add(ai, data=IMAGE, name="a.png", purpose="vision", **fields):
    answer = ai.request("POST", FILES, files={"file": (name, data)},
                        data={"purpose": purpose, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(ai, **query):
    return [f["filename"] for f in ai.request("GET", FILES, params=query).json()["data"]]


def test_life_of_a_file(ai, serve):
    file = add(ai, name="../x/\u00e9.png")
    assert file["object"] == "file" and file["id"].startswith("file-")
    assert file["bytes"] == len(IMAGE) and file["filename"] == "\u00e9.png"
    assert file["purpose"] == "vision" and file["status"] == "processed"
    assert file["expires_at"] - file["created_at"] == 30 * 24 * 3600
    path = f"{FILES}/{file['id']}"
    assert ai.request("GET", path).json() == file
    content = ai.request("GET", path + "/content")
    assert content.content == IMAGE
    assert content.headers["Content-Type"] == "application/octet-stream", "whatever it is"
    assert ai.request("DELETE", path).json() == {"id": file["id"], "object": "file",
                                                 "deleted": True}
    for method, end in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        ai.error(404, None, "id", method=method, path=path + end)
    ai.error(404, None, "id", method="GET", path=FILES + "/file-" + "0" * 31)
    assert listed(ai) == []


def test_lists(ai):
    ids = [add(ai, name=f"{i}", purpose=("vision", "batch")[i % 2])["id"] for i in range(5)]
    assert listed(ai) == ["4", "3", "2", "1", "0"]
    assert listed(ai, order="asc", limit=2) == ["0", "1"]
    assert listed(ai, order="asc", after=ids[1], limit=2) == ["2", "3"]
    assert listed(ai, after=ids[1]) == ["0"]
    assert listed(ai, purpose="batch", limit=1) == ["3"]
    page = ai.request("GET", FILES, params={"limit": 2}).json()
    assert page["has_more"] and (page["first_id"], page["last_id"]) == (ids[4], ids[3])
    assert not ai.request("GET", FILES, params={"limit": 5}).json()["has_more"]
    for query in ({"limit": 0}, {"limit": "x"}, {"order": "up"}, {"after": "file-x"}):
        ai.error(400, "invalid_value", list(query)[0], method="GET", path=FILES, params=query)


def test_they_outlive_the_server_and_are_a_keys_own(serve):
    server = serve()
    mine, other = (OpenAI(server.url, server.add_key(name)) for name in ("me", "you"))
    admin = OpenAI(server.url, server.add_key("boss", "--admin"))
    file = add(mine)
    path = f"{FILES}/{file['id']}"
    server.restart()
    assert mine.request("GET", path).json() == file
    other.error(404, None, "id", method="GET", path=path)
    other.error(404, None, "id", method="DELETE", path=path)
    assert listed(other) == [] and listed(admin) == ["a.png"]
    assert requests.get(server.url + path, timeout=30).status_code == 401


def test_what_a_dead_server_left_is_removed(serve):
    server = serve()
    file = add(OpenAI(server.url))
    folder = server.folder / "data" / "files"
    for name, age in (("0" * 32, 7200), ("1" * 32 + ".tmp", 7200), ("2" * 32, 0), ("notes", 7200)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age,) * 2)
    os.utime(folder / file["id"][5:], (0, 0))
    server.restart()
    want = sorted(["2" * 32, "notes", file["id"][5:]])
    wait_for(lambda: sorted(p.name for p in folder.iterdir()) == want, 10)


def test_limits(serve):
    ai = OpenAI(serve("--max-files-bytes-per-key=2K", "--files-days=1").url)
    first = add(ai, b"x" * 2000)
    assert first["expires_at"] - first["created_at"] == 24 * 3600
    assert "2048 bytes" in ai.error(400, "invalid_value", "file", path=FILES, data={"purpose": "vision"},
                                    files={"file": ("b", b"x" * 100)})
    ai.request("DELETE", f"{FILES}/{first['id']}")
    second = add(ai, b"x" * 100, **{"expires_after[anchor]": "created_at",
                                    "expires_after[seconds]": "3600"})
    assert second["expires_at"] - second["created_at"] == 3600


@pytest.mark.parametrize("form, code, param", [
    ({"data": {"purpose": "vision"}, "files": {"x": ("a", b"x")}}, "missing_required_parameter", "file"),
    ({"files": {"file": ("a", b"x")}}, "missing_required_parameter", "purpose"),
    ({"files": {"file": ("a", b"x")}, "data": {"purpose": "x"}}, "invalid_value", "purpose"),
    ({"files": {"file": ("a", b"x")}, "data": {"purpose": "vision", "expires_after[anchor]": "x"}},
     "invalid_value", "expires_after.anchor"),
    ({"files": {"file": ("a", b"x")}, "data": {"purpose": "vision", "expires_after[seconds]": "60",
                                               "expires_after[anchor]": "created_at"}},
     "invalid_value", "expires_after.seconds"),
    ({"files": {"file": ("a", b"x")}, "data": {"purpose": "vision", "expires_after[anchor]": "x" * 30}},
     "invalid_value", "expires_after.anchor"),
    ({"files": {"file": ("a", b"x")}, "data": {"purpose": "vision" * 9}}, "invalid_value", "purpose"),
    ({"json": {}}, "unsupported_content_type", None),
])
def test_wrong_uploads(ai, form, code, param):
    ai.error(400, code, param, path=FILES, **form)


def test_they_are_edited(ai):
    image, mask = add(ai)["id"], add(ai, MASK)["id"]
    want = ai.answer(path="/v1/images/edits", data=OPTIONS, files={"image": IMAGE, "mask": MASK})
    for body in ({"images": [{"file_id": image}], "mask": {"file_id": mask}},
                 {"image": {"file_id": image}, "mask": {"file_id": mask}}):
        assert ai.answer({**OPTIONS, **body}, path="/v1/images/edits")["data"] == want["data"]
    content = [{"type": "input_text", "text": "p"}, {"type": "input_image", "file_id": image}]
    response = ai.request("POST", "/v1/responses", json={
        "input": [{"role": "user", "content": content}], "model": "pictor-mini", "steps": 2, "seed": 7,
        "tools": [{"type": "image_generation", "size": "64x64", "input_image_mask": {"file_id": mask}}]})
    assert decode(response.json()["output"][0]["result"])[0] == decode(want["data"][0]["b64_json"])[0]
    ai.error(400, "invalid_value", "images[0].file_id", path="/v1/images/edits",
             body={**OPTIONS, "images": [{"file_id": "file-" + "0" * 32}]})
    text = add(ai, b"no picture", "a.txt")["id"]
    ai.error(400, "unsupported_file_mimetype", "images[0].file_id", path="/v1/images/edits",
             body={**OPTIONS, "images": [{"file_id": text}]})


def test_named_files_count_as_the_body(serve):
    """A small request may not have the server read files of many megabytes."""
    ai = OpenAI(serve("--max-body-bytes=64K").url)
    ids = [add(ai, png(gradient()) + b"\0" * 20000)["id"] for _ in range(4)]
    body = {"prompt": "x", "steps": 1, "images": [{"file_id": id} for id in ids]}
    said = ai.error(400, "invalid_value", "images[3].file_id", body, path="/v1/images/edits")
    assert "bytes" in said
