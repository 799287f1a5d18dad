"""POST /api/pulls: what `pictor pull` does, by the server: progress, stopping, going on, refusals, restarts."""
import json
import subprocess
import sys
import time

import pytest
import requests
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests/chaos"))
from test_pull import MODEL, SHA, Hub, small  # noqa: E402



@pytest.fixture
def hub():
    hub = Hub()
    hub.files["/m.safetensors"] = MODEL
    yield hub
    hub.close()


class Pulls:
    def __init__(self, server, key=None):
        self.url, self.headers = server.url, {"Authorization": f"Bearer {key}"} if key else {}

    def ask(self, method, path, status, **options):
        answer = requests.request(method, self.url + path, headers=self.headers, timeout=30, **options)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def add(self, ref, status=202, **more):
        return self.ask("POST", "/api/pulls", status, json={"ref": ref, **more})

    def get(self, pull):
        return self.ask("GET", f"/api/pulls/{pull['id']}", 200)

    def wait(self, pull, *states):
        end = time.monotonic() + 30
        while (now := self.get(pull))["state"] not in (states or ("done", "failed", "stopped")):
            assert time.monotonic() < end, now
            time.sleep(0.02)
        return now


@pytest.fixture
def server(serve):
    return serve("--pull-private")


@pytest.fixture
def pulls(server):
    return Pulls(server)


def models(server):
    return [m["name"] for m in requests.get(server.url + "/api/models", timeout=30).json()["models"]]


def test_a_model_comes_and_is_listed(server, pulls, hub):
    assert pulls.ask("GET", "/api/pulls", 200)["pulls"] == []
    asked = pulls.add(hub.url + "/m.safetensors", name="mine", sha256=SHA.upper())
    assert asked["state"] == "waiting" and asked["bytes"] == 0 and asked["total"] is None
    done = pulls.wait(asked)
    assert done["state"] == "done" and done["error"] is None, done
    assert done["kind"] == "model" and done["file"] == "mine.safetensors"
    assert done["bytes"] == done["total"] == len(MODEL)
    assert abs(done["created_ms"] / 1000 - time.time()) < 60 and abs(done["ended_ms"] / 1000 - time.time()) < 60
    assert "mine" in models(server)
    listed = pulls.ask("GET", "/api/pulls", 200)
    assert [p["id"] for p in listed["pulls"]] == [done["id"]]
    assert {"sd15", "sdxl"} <= {c["name"] for c in listed["catalogue"]}
    pulls.ask("DELETE", f"/api/pulls/{done['id']}", 204)
    pulls.ask("GET", f"/api/pulls/{done['id']}", 404)
    assert "mine" in models(server)  # off the list, not off the disk


def test_each_kind_goes_into_its_folder(server, pulls, hub):
    hub.files["/style.safetensors"] = small("lora_unet_a.lora_up.weight")
    done = pulls.wait(pulls.add(hub.url + "/style.safetensors"))
    assert done["state"] == "done" and done["kind"] == "lora"
    assert (server.folder / "data/loras/style.safetensors").exists()
    names = [x["name"] for x in requests.get(server.url + "/sdapi/v1/loras", timeout=30).json()]
    assert names == ["style"]
    hub.files["/new.safetensors"] = small("model.diffusion_model.joint_blocks.0")
    done = pulls.wait(pulls.add(hub.url + "/new.safetensors"))
    assert done["state"] == "done" and "cannot be painted with" in done["error"]["message"]


def test_what_broke_goes_on_where_it_was(server, pulls, hub):
    hub.breaks = [1000, 0]
    asked = pulls.add(hub.url + "/m.safetensors")
    failed = pulls.wait(asked)
    assert failed["state"] == "failed" and failed["error"]["code"] == "upstream", failed
    assert failed["bytes"] == 1000 and failed["total"] == len(MODEL)
    part = server.folder / "data/models/m.safetensors.part"
    assert part.stat().st_size == 1000 and "m" not in models(server)
    pulls.ask("POST", f"/api/pulls/{asked['id']}/resume", 200)
    assert pulls.wait(asked)["state"] == "done" and not part.exists()
    assert [h.get("Range") for _, h in hub.requests] == [None, "bytes=1000-", "bytes=1000-"]
    conflict = pulls.ask("POST", f"/api/pulls/{asked['id']}/resume", 409)
    assert conflict["error"]["message"] == "this pull is done"


def test_stopped_and_resumed_over_a_restart(server, pulls, hub):
    """One is stopped while it runs, behind it one waits; the server goes down and comes back."""
    hub.breaks = [5000] + [1] * 100_000  # it gets a byte further each second
    first, second = pulls.add(hub.url + "/m.safetensors"), pulls.add(hub.url + "/m.safetensors?2", name="n")
    pulls.wait(first, "fetching")
    assert pulls.get(second)["state"] == "waiting"
    pulls.ask("DELETE", f"/api/pulls/{first['id']}", 409)
    server.stop()
    server.start()
    assert [pulls.get(p)["state"] for p in (first, second)] == ["stopped", "stopped"]
    hub.breaks.clear()
    pulls.ask("POST", f"/api/pulls/{first['id']}/resume", 200)
    assert pulls.wait(first)["state"] == "done"
    assert "Range" in hub.requests[-1][1]
    pulls.ask("DELETE", f"/api/pulls/{second['id']}", 204)

    hub.breaks = [5000] + [1] * 100_000
    third = pulls.add(hub.url + "/m.safetensors?3", name="o")
    pulls.wait(third, "fetching")
    while not (server.folder / "data/models/o.safetensors.part").exists():
        time.sleep(0.02)
    pulls.ask("POST", f"/api/pulls/{third['id']}/cancel", 200)
    stopped = pulls.wait(third)
    assert stopped["state"] == "stopped" and stopped["error"] is None
    pulls.ask("POST", f"/api/pulls/{third['id']}/cancel", 409)
    pulls.ask("DELETE", f"/api/pulls/{third['id']}", 204)
    assert sorted(p.name for p in (server.folder / "data/models").iterdir()) == ["m.safetensors"]


@pytest.mark.parametrize("status, headers, body, says", [
    (401, {"X-Error-Message": "Access to model me/repo is restricted."}, b"", ["401", "is restricted"]),
    (403, {}, b'{"error": "awaiting a review"}', ["403", "awaiting a review"]),
    (429, {"Retry-After": "17"}, b"", ["429", "in 17 seconds"])])
def test_refusals(pulls, hub, status, headers, body, says):
    hub.errors["/m.safetensors"] = (status, headers, body)
    failed = pulls.wait(pulls.add(hub.url + "/m.safetensors"))
    assert failed["state"] == "failed"
    assert all(word in failed["error"]["message"] for word in says), failed


def test_what_is_not_what_was_promised_goes(server, pulls, hub):
    failed = pulls.wait(pulls.add(hub.url + "/m.safetensors", sha256="0" * 64))
    assert failed["state"] == "failed" and "it was removed" in failed["error"]["message"]
    hub.files["/page.safetensors"] = b"<!DOCTYPE html>" + b" " * 1000
    failed = pulls.wait(pulls.add(hub.url + "/page.safetensors"))
    assert failed["state"] == "failed" and str(server.folder) not in json.dumps(failed)
    assert list((server.folder / "data/models").iterdir()) == []


def test_hub_that_redirects_to_its_cdn_with_a_token(serve, hub):
    """The hub says size and hash, and sends to another host, which must not see the token."""
    server = serve("--pull-private", "--hf-token=hf_secret", env={"HF_ENDPOINT": hub.url})
    pulls = Pulls(server)
    cdn = Hub()
    cdn.files["/blob"] = MODEL
    listing = {"siblings": [{"rfilename": "m.safetensors", "lfs": {"sha256": SHA, "size": len(MODEL)}}]}
    hub.files["/api/models/me/art/revision/main"] = json.dumps(listing).encode()
    hub.redirects["/me/art/resolve/main/m.safetensors"] = cdn.url + "/blob"
    done = pulls.wait(pulls.add("hf:me/art/m.safetensors"))
    assert done["state"] == "done", done
    assert all(h["Authorization"] == "Bearer hf_secret" for _, h in hub.requests)
    assert all("Authorization" not in h for _, h in cdn.requests) and "hf_secret" not in server.log()
    listing["siblings"][0]["lfs"]["size"] = 5
    hub.files["/api/models/me/art/revision/main"] = json.dumps(listing).encode()
    failed = pulls.wait(pulls.add("hf:me/art/m.safetensors", name="other"))
    assert failed["state"] == "failed" and "wanted one of 5" in failed["error"]["message"]
    listing["siblings"][0]["lfs"]["size"] = len(MODEL) - 1
    hub.files["/api/models/me/art/revision/main"] = json.dumps(listing).encode()
    cdn.endless.add("/blob")
    failed = pulls.wait(pulls.add("hf:me/art/m.safetensors", name="endless"))
    assert failed["state"] == "failed" and "more than the" in failed["error"]["message"], failed
    assert [p.name for p in (server.folder / "data/models").iterdir()] == ["m.safetensors"]
    cdn.close()


def test_the_servers_own_network_is_out_of_reach(serve, hub):
    pulls = Pulls(serve())
    for ref in (hub.url + "/m.safetensors", hub.url.replace("127.0.0.1", "localhost") + "/m.safetensors",
                "http://[::1]:1/m.safetensors", "http://[::ffff:127.0.0.1]:1/m.safetensors",
                "http://169.254.169.254/m.safetensors", "http://10.0.0.1/m.safetensors"):
        failed = pulls.wait(pulls.add(ref))
        assert failed["error"]["code"] == "denied" and "pull_private" in failed["error"]["message"], failed
    assert hub.requests == []


@pytest.mark.parametrize("body, says", [
    ({}, "ref"), ({"ref": "file:///etc/passwd"}, "short name"), ({"ref": "a\nb"}, "control"),
    ({"ref": "sd15", "name": "../x/.."}, "name"), ({"ref": "sd15", "sha256": "12"}, "64"),
    ({"ref": "sd15", "folder": "/"}, "folder"), ({"ref": "x" * 2000}, "ref")])
def test_wrong_orders(pulls, body, says):
    error = pulls.ask("POST", "/api/pulls", 400, json=body)["error"]
    assert says in error["message"], error


def test_a_model_of_several_parts(serve, hub):
    """One pull, of all their sizes; removed while it is broken off, nothing of any part stays."""
    from test_pull import publish_set
    parts = publish_set(hub)
    server = serve("--pull-private", env={"HF_ENDPOINT": hub.url})
    pulls, total = Pulls(server), sum(map(len, parts.values()))
    ware = {c["name"]: c for c in pulls.ask("GET", "/api/pulls", 200)["catalogue"]}
    assert ware["flux2-klein"]["needs"] == ["qwen_3_4b", "flux2-vae"] and ware["flux2-vae"]["family"] is None
    assert ware["flux2-klein"]["megabytes"] == sum(
        (4301, ware["qwen_3_4b"]["megabytes"], ware["flux2-vae"]["megabytes"]))
    hub.breaks = [10**9] * 3 + [50, 0]
    failed = pulls.wait(asked := pulls.add("flux2-klein"))
    assert failed["state"] == "failed" and failed["total"] == total, failed
    pulls.ask("DELETE", f"/api/pulls/{asked['id']}", 204)
    assert not list((server.folder / "data/models").glob("*.part"))
    hub.breaks.clear()
    done = pulls.wait(pulls.add("flux2-klein"))
    assert done["state"] == "done" and done["kind"] == "model" and done["file"] == "flux2-klein.gguf", done
    assert done["bytes"] == done["total"] == total
    for path, data in parts.items():
        assert (server.folder / "data" / path).read_bytes() == data
    failed = pulls.wait(pulls.add("flux2-klein", sha256="0" * 64))
    assert failed["state"] == "failed" and "one file's" in failed["error"]["message"]


def test_only_administrators(serve):
    server = serve()
    user, admin = server.add_key("user"), server.add_key("admin", "--admin")
    Pulls(server, user).ask("GET", "/api/pulls", 403)
    Pulls(server, user).add("sd15", 403)
    Pulls(server, admin).ask("GET", "/api/pulls", 200)


def test_whole_repository(serve, hub, tmp_path):
    """A folder: progress is of all its files; one that is given up leaves nothing."""
    from test_pull_repo import publish, read
    path = tmp_path / "tiny"
    subprocess.run([sys.executable, ROOT / "tests/golden/make_folder.py", path], check=True)
    (path / "unet" / "empty.txt").write_bytes(b"")
    files = read(path)
    publish(hub, files)
    server = serve("--pull-private", env={"HF_ENDPOINT": hub.url})
    pulls = Pulls(server)
    hub.breaks = [10**9] * 4 + [100, 0] + [0] * 20
    asked = pulls.add("hf:me/tiny")
    failed = pulls.wait(asked)
    total = sum(map(len, files.values()))
    assert failed["state"] == "failed" and failed["total"] == total and failed["file"] == "tiny", failed
    assert (server.folder / "data/models/.tiny.part").exists() and "tiny" not in models(server)
    hub.breaks.clear()
    pulls.ask("POST", f"/api/pulls/{asked['id']}/resume", 200)
    done = pulls.wait(asked)
    assert done["state"] == "done" and done["kind"] == "model" and done["bytes"] == total, done
    assert "tiny" in models(server) and read(server.folder / "data/models/tiny") == files
    again = pulls.wait(pulls.add("hf:me/tiny"))
    assert again["state"] == "done", again  # what is there is what is wanted
    hub.breaks = [10**9] * 4 + [100, 0] + [0] * 20
    asked = pulls.add("hf:me/tiny", name="other")
    assert pulls.wait(asked)["state"] == "failed"
    pulls.ask("DELETE", f"/api/pulls/{asked['id']}", 204)
    assert sorted(p.name for p in (server.folder / "data/models").iterdir()) == ["tiny"]
