"""`pictor pull` of whole repositories, and of models by CivitAI's addresses."""
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from urllib.parse import quote

import pytest
from conftest import PROGRAM, ROOT
from test_pull import MODEL, hub, names, pull, small  # noqa: F401
from test_pull_forms import torch_file

GOLDEN = ROOT / "tests/golden"
DECOYS = ["README.md", "tiny.safetensors", "tiny.ckpt", "unet/diffusion_pytorch_model.bin",
          "unet/diffusion_pytorch_model.non_ema.safetensors", "unet/diffusion_flax_model.msgpack",
          "unet/openvino_model.xml", "vae/diffusion_pytorch_model.fp16.bin", "unet/.hidden.json",
          "safety_checker/config.json", "safety_checker/model.safetensors", "vae/deep/config.json",
          "text_encoder/pytorch_model.bin", "text_encoder/flax_model.msgpack", "text_encoder/model.onnx",
          "unet/diffusion_pytorch_model.safetensors.index.json", "extra/config.json"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Path -> bytes of the tiny model in diffusers' layout."""
    path = tmp_path_factory.mktemp("made") / "tiny"
    subprocess.run([sys.executable, GOLDEN / "make_folder.py", path], check=True)
    return read(path)


def read(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def publish(hub, files, repo="me/tiny", revision="main"):  # noqa: F811
    """As Hugging Face: what is large has the SHA-256 of its content, what is small has its size."""
    tree = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": p}
            for p in sorted({os.path.dirname(f) for f in files} - {""})]
    for path, data in files.items():
        item = {"type": "file", "oid": "0" * 40, "size": len(data), "path": path}
        if len(data) > 2000:
            item["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        tree.append(item)
        hub.files[f"/{repo}/resolve/{quote(revision, safe='')}/{quote(path)}"] = data
    hub.files[f"/api/models/{repo}/tree/{quote(revision, safe='')}"] = json.dumps(tree).encode()
    return tree


def fetched(hub):  # noqa: F811
    return [p.split("/main/")[1] for p, _ in hub.requests if "/resolve/" in p]


def test_folder(hub, pull, tiny):  # noqa: F811
    half = tiny["unet/diffusion_pytorch_model.safetensors"]
    files = {**tiny, **{d: b"no" * 2000 for d in DECOYS}, "tokenizer/vocab.json": b"{}",
             "unet/diffusion_pytorch_model.fp16.safetensors": half,
             "unet/diffusion_pytorch_model.safetensors": b"twice as large"}
    files["model_index.json"] = json.dumps({**json.loads(tiny["model_index.json"]),
                                            "tokenizer": ["transformers", "CLIPTokenizer"],
                                            "safety_checker": ["x", "y"], "image_encoder": [None, None],
                                            "requires_safety_checker": True}).encode()
    publish(hub, files)
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url, HF_TOKEN="hf_secret")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("model tiny\n") and names(pull) == ["tiny"]
    wanted = {**tiny, "model_index.json": files["model_index.json"], "tokenizer/vocab.json": b"{}",
              "unet/diffusion_pytorch_model.fp16.safetensors": half}
    del wanted["unet/diffusion_pytorch_model.safetensors"]
    assert read(pull.folder / "tiny") == wanted
    assert all(h["Authorization"] == "Bearer hf_secret" for _, h in hub.requests)
    listed = subprocess.run([PROGRAM, "models", f"--models={pull.folder}"], capture_output=True,
                            text=True, timeout=60)
    assert "\ntiny  " in listed.stdout, listed
    hub.requests.clear()
    assert "is there already" in pull("hf:me/tiny", HF_ENDPOINT=hub.url).stdout
    assert fetched(hub) == ["model_index.json"]


def test_another_model_of_the_name(hub, pull, tiny):  # noqa: F811
    publish(hub, tiny)
    assert pull("hf:me/tiny", HF_ENDPOINT=hub.url).returncode == 0
    weights = "vae/diffusion_pytorch_model.safetensors"
    publish(hub, {**tiny, weights: tiny[weights][:-8] + b"\1" * 8}, "you/tiny")
    done = pull("hf:you/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "another model has this name" in done.stderr, done
    assert read(pull.folder / "tiny") == tiny


@pytest.mark.parametrize("ref", ["{url}/me/tiny", "{url}/me/tiny/", "{url}/me/tiny/tree/main",
                                 "{url}/me/tiny?x=y", "hf:me/tiny@main"])
def test_ways_to_say_it(hub, pull, tiny, ref):  # noqa: F811
    publish(hub, tiny)
    done = pull(ref.format(url=hub.url), "--name", "mine", HF_ENDPOINT=hub.url)
    assert done.returncode == 0 and names(pull) == ["mine"], done.stderr


def test_shards(hub, pull, tiny):  # noqa: F811
    weights = tiny["unet/diffusion_pytorch_model.safetensors"]
    size = int.from_bytes(weights[:8], "little")
    header, data = json.loads(weights[8:8 + size]), weights[8 + size:]
    files = {k: v for k, v in tiny.items() if k != "unet/diffusion_pytorch_model.safetensors"}
    chosen = sorted(n for n in header if n != "__metadata__")
    for i in (0, 1):
        part, body = {}, b""
        for name in chosen[i::2]:
            start, end = header[name]["data_offsets"]
            part[name] = {**header[name], "data_offsets": [len(body), len(body) + end - start]}
            body += data[start:end]
        head = json.dumps(part).encode()
        files[f"unet/diffusion_pytorch_model-0000{i + 1}-of-00002.safetensors"] = \
            len(head).to_bytes(8, "little") + head + body
    files["unet/diffusion_pytorch_model.safetensors.index.json"] = b"{}"
    files["unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors"] = b"the other half lacks"
    files["unet/diffusion_pytorch_model.fp16.safetensors.index.json"] = b"{}"
    publish(hub, files)
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    assert read(pull.folder / "tiny") == {k: v for k, v in files.items() if "fp16" not in k}


@pytest.mark.parametrize("kind", ["grey", "rgb"])
def test_model_without_words(hub, pull, kind):  # noqa: F811
    files = read(GOLDEN / "pixels" / kind)
    if kind == "grey":
        files["diffusion_pytorch_model.bin"] = b"no"
        files["other.safetensors"] = b"no"
    publish(hub, files)
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    if kind == "grey":
        del files["diffusion_pytorch_model.bin"], files["other.safetensors"]
    assert read(pull.folder / "tiny") == files


@pytest.mark.parametrize("files, there", [
    ({"config.json": b"{}", "diffusion_pytorch_model.safetensors": b"no", "a/b.safetensors": b"no",
      "diffusion_pytorch_model.fp16.safetensors": small("control_model.input_hint_block.0.weight")},
     "controlnets/tiny.safetensors"),
    ({"README.md": b"", "style.safetensors": small("lora_unet_a.lora_up.weight")}, "loras/tiny.safetensors")])
def test_repository_of_one_file(hub, pull, tmp_path, files, there):  # noqa: F811
    publish(hub, files)
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 0 and (tmp_path / there).exists(), done.stderr


def test_goes_on_where_it_stopped(hub, pull, tiny):  # noqa: F811
    publish(hub, tiny)
    order = fetched_order(hub, pull, tiny)
    weights = [f for f in order if f.endswith("safetensors")]
    hub.requests.clear()
    # model_index.json is asked for twice: what is in it, and as a file.
    hub.breaks = [10**9] * (2 + order.index(weights[1])) + [1000, 0]
    assert pull("hf:me/tiny", HF_ENDPOINT=hub.url).returncode == 1
    part = pull.folder / ".tiny.part"
    assert names(pull) == [".tiny.part"] and (part / weights[0]).exists()
    assert (part / (weights[1] + ".part")).stat().st_size == 1000
    (part / "unet/stray.safetensors").write_bytes(b"of another choice")
    hub.requests.clear()
    hub.breaks.clear()
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 0 and read(pull.folder / "tiny") == tiny, done.stderr
    assert weights[0] not in fetched(hub) and weights[1] in fetched(hub)
    assert [h.get("Range") for p, h in hub.requests if p.endswith(weights[1])] == ["bytes=1000-"]


def fetched_order(hub, pull, tiny):  # noqa: F811
    assert pull("hf:me/tiny", "--name", "first", HF_ENDPOINT=hub.url).returncode == 0
    order = fetched(hub)[1:]
    for path in sorted((pull.folder / "first").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (pull.folder / "first").rmdir()
    return order


def test_file_that_changed_in_between(hub, pull, tiny):  # noqa: F811
    """What came earlier is of another commit: as large, but not the same."""
    weights = "unet/diffusion_pytorch_model.safetensors"
    old = tiny[weights][:-8] + b"\1" * 8
    part = pull.folder / ".tiny.part" / "unet"
    part.mkdir(parents=True)
    (part / "diffusion_pytorch_model.safetensors").write_bytes(old)
    publish(hub, tiny)
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 0 and read(pull.folder / "tiny") == tiny, done.stderr


def test_wrong_hash_and_wrong_size(hub, pull, tiny):  # noqa: F811
    publish(hub, tiny)
    weights = "/me/tiny/resolve/main/vae/diffusion_pytorch_model.safetensors"
    hub.files[weights] = hub.files[weights][:-8] + b"\1" * 8
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "vae/diffusion_pytorch_model.safetensors" in done.stderr
    assert "hashes to" in done.stderr and "tiny" not in names(pull)
    hub.files[weights] += b"more"
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "bytes" in done.stderr and "tiny" not in names(pull)
    publish(hub, tiny)
    assert pull("hf:me/tiny", HF_ENDPOINT=hub.url).returncode == 0


@pytest.mark.parametrize("change, says", [
    (lambda f: f.update({"model_index.json": b"{}"}), "names no parts"),
    (lambda f: f.update({"model_index.json": b"no"}), "model_index.json"),
    (lambda f: f.update({"model_index.json": json.dumps({"unet": ["a", "b"], "../x": ["a", "b"]}).encode()}),
     '"../x"'),
    (lambda f: f.update({"model_index.json": json.dumps({"prior": ["a", "b"]}).encode()}), "does not have"),
    (lambda f: f.pop("vae/diffusion_pytorch_model.safetensors"), '"vae" has no weights'),
    (lambda f: (f.clear(), f.update({"a.safetensors": b"", "b.ckpt": b""})), "name one (a.safetensors, b.ckpt"),
    (lambda f: (f.clear(), f.update({"README.md": b""})), "no file of weights")])
def test_repositories_that_are_no_model(hub, pull, tiny, change, says):  # noqa: F811
    files = dict(tiny)
    change(files)
    publish(hub, files)
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and says in done.stderr and names_of(pull) == [], done.stderr


@pytest.mark.parametrize("answer", [b"{}", b"[3, null]", b"[]", b"no", b'[{"type": "file", "path": 3}]'])
def test_trees_that_are_none(hub, pull, answer):  # noqa: F811
    hub.files["/api/models/me/tiny/tree/main"] = answer
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "me/tiny" in done.stderr


def pages(hub, tree, count, link='<{}>; rel="next"'):  # noqa: F811
    """The list of files in as many pages, each of which says where the next one is."""
    path, size = "/api/models/me/tiny/tree/main", -(-len(tree) // count)
    for i in range(count):
        body = json.dumps(tree[i * size:(i + 1) * size]).encode()
        more = f"{hub.url}{path}{i + 1}?recursive=true&cursor=x%3D"
        hub.errors[f"{path}{i or ''}"] = 200, {"Link": link.format(more)} if i + 1 < count else {}, body


def test_pages(hub, pull, tiny):  # noqa: F811
    pages(hub, publish(hub, tiny), 3, '<http://x.invalid/>; rel="first", <{}>; title="a"; rel="next"')
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    assert sum("/tree/main" in path for path, _ in hub.requests) == 3
    assert (pull.folder / "tiny" / "unet" / "diffusion_pytorch_model.safetensors").exists()


def test_pages_that_are_none(hub, pull, tiny):  # noqa: F811
    tree, path = publish(hub, tiny), "/api/models/me/tiny/tree/main"
    pages(hub, tree, 2, '<http://x.invalid/tree>; rel="next"')
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "not its own" in done.stderr and "the rest of its answer" in done.stderr
    pages(hub, tree, 2)
    hub.errors[path + "1"] = 200, {}, b"{}"
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "wanted a list on its page 2" in done.stderr
    hub.errors[path + "1"] = 200, {"Link": f'<{hub.url}{path}1>; rel="next"'}, b"[]"  # for ever
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "more than 100 pages" in done.stderr


def test_refused_and_used_wrongly(hub, pull, tiny):  # noqa: F811
    hub.errors["/api/models/me/tiny/tree/main"] = (
        401, {"X-Error-Message": "Access to model me/tiny is restricted."}, b"")
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "is restricted" in done.stderr
    hub.errors.clear()
    publish(hub, tiny)
    for words, says in ((("--sha256", "0" * 64), "one file's"), (("--name", "x.ckpt"), "without the ending")):
        done = pull("hf:me/tiny", *words, HF_ENDPOINT=hub.url)
        assert done.returncode == 1 and says in done.stderr, done.stderr
    (pull.folder).mkdir(exist_ok=True)
    (pull.folder / "tiny").write_text("something else")
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 1 and "something else of this name" in done.stderr
    (pull.folder / "tiny").unlink()
    part = pull.folder / ".tiny.part"
    part.mkdir(exist_ok=True)
    held = os.open(part, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    done = pull("hf:me/tiny", HF_ENDPOINT=hub.url)
    os.close(held)
    assert done.returncode == 1 and "another pull" in done.stderr


def version(hub, *files):  # noqa: F811
    """What CivitAI says of a version with these files: (name, data, more)."""
    listed = []
    for name, data, more in files:
        hub.files["/d/" + name] = data
        listed.append({"name": name, "sizeKB": len(data) / 1024, "downloadUrl": f"{hub.url}/d/{name}",
                       "hashes": {"SHA256": hashlib.sha256(data).hexdigest().upper()}, **more})
    return {"id": 456, "files": listed}


@pytest.mark.parametrize("ref, asked", [
    ("{url}/models/123/a-name", "models/123"), ("{url}/models/123", "models/123"),
    ("{url}/models/123?modelVersionId=456", "model-versions/456"),
    ("{url}/models/123/a-name?a=b&modelVersionId=456#x", "model-versions/456"),
    ("{url}/api/download/models/456?type=Model", "model-versions/456"), ("civitai:456", "model-versions/456")])
def test_civitai_addresses(hub, pull, ref, asked):  # noqa: F811
    newest = version(hub, ("m.safetensors", MODEL, {"primary": True}))
    hub.files["/api/v1/models/123"] = json.dumps({"modelVersions": [newest, {"id": 7, "files": []}]}).encode()
    hub.files["/api/v1/model-versions/456"] = json.dumps(newest).encode()
    done = pull(ref.format(url=hub.url), CIVITAI_ENDPOINT=hub.url, CIVITAI_TOKEN="secret")
    assert done.returncode == 0 and "as promised" in done.stdout, done.stderr
    assert names(pull) == ["m.safetensors"] and hub.requests[0][0] == "/api/v1/" + asked
    assert all(h["Authorization"] == "Bearer secret" for _, h in hub.requests)


def test_civitai_file_that_is_meant(hub, pull, tmp_path):  # noqa: F811
    pickle = torch_file(tmp_path / "made", "conv_first.weight")
    files = [("data.zip", b"PK", {"type": "Training Data", "primary": True}),
             ("v.safetensors", small("decoder.conv_in.weight"), {"type": "VAE"}),
             ("up.pth", pickle, {"type": "Model", "primary": True}),
             ("up.safetensors", small("conv_first.weight"), {"type": "Model"})]

    def fetch(count, ref="civitai:456"):
        hub.files["/api/v1/model-versions/456"] = json.dumps(version(hub, *files[:count])).encode()
        return pull(ref, CIVITAI_ENDPOINT=hub.url)
    done = fetch(1)
    assert done.returncode == 1 and "no file that is read" in done.stderr
    assert fetch(2).returncode == 0 and (tmp_path / "vaes/v.safetensors").exists()
    assert fetch(4).returncode == 0 and (tmp_path / "upscalers/up.safetensors").exists()
    del files[3], files[1]
    assert fetch(2).returncode == 0 and (tmp_path / "upscalers/up.pth").exists()


def test_civitai_lies(hub, pull):  # noqa: F811
    for change, says in (({"hashes": {"SHA256": "0" * 64}}, "wanted 000"), ({"hashes": {"SHA256": "x"}}, "64"),
                         ({"sizeKB": 5}, "bytes"), ({"downloadUrl": "file:///etc/passwd"}, "no address")):
        told = version(hub, ("m.safetensors", MODEL, change))
        hub.files["/api/v1/model-versions/456"] = json.dumps(told).encode()
        done = pull("civitai:456", CIVITAI_ENDPOINT=hub.url)
        assert done.returncode == 1 and says in done.stderr and names_of(pull) == [], done.stderr
    hub.files["/api/v1/models/123"] = b'{"modelVersions": []}'
    for ref, says in (("models/123", "no version"), ("models/abc", "/models/NUMBER"),
                      ("models/123?modelVersionId=x", "/models/NUMBER"), ("models/99", "404")):
        done = pull(f"{hub.url}/{ref}", CIVITAI_ENDPOINT=hub.url)
        assert done.returncode == 1 and says in done.stderr, done.stderr


def names_of(pull):  # noqa: F811
    return names(pull) if pull.folder.exists() else []
