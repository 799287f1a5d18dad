"""Kinds of files: the same weights in another container paint the same picture, and a file that would harm
is refused with what it is, by a server that goes on."""
import base64
import bisect
import io
import json
import pathlib
import struct
import subprocess
import sys
import zipfile

import pytest
import requests
from PIL import Image
from conftest import ROOT
from sdapi_client import TINY, Sdapi
from test_loras import UNET, write_lora

sys.path.insert(0, str(ROOT / "tests" / "golden"))
import torchfile  # noqa: E402
from torchfile import Call, Name, Storage, Tensor  # noqa: E402

MINI = ROOT / "engine/builtin/pictor-mini.safetensors"
CONV = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.fixture(scope="module")
def weights():
    return torchfile.read_safetensors(MINI)


def paint(server, model, prompt="a red circle"):
    """The pixels; or what was wrong."""
    answer = requests.post(server.url + "/v1/images/generations", timeout=120, json={
        "prompt": prompt, "model": model, "seed": 1, "steps": 2, "size": "64x64"})
    if answer.status_code != 200:
        return answer.status_code, answer.json()["error"]["message"]
    return base64.b64decode(answer.json()["data"][0]["b64_json"])


def pixels(png):
    return Image.open(io.BytesIO(png)).convert("RGB").tobytes()


def extras(weights):
    """A checkpoint as trainers leave it: other things around the weights, averaged ones among them."""
    ema = {"model_ema." + k[len("model."):].replace(".", ""): Tensor("F16", [1], b"\0\0")
           for k in weights if k.startswith("model.diffusion_model.")}
    return {"epoch": 3, "callbacks": {Name("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"): {
        "best_model_score": Tensor("F32", [], b"\0\0\0\0")}}, "state_dict": {**weights, **ema}}


def turned(weights):
    """Weights that lie the other way round in their storages, and all of them in one."""
    out, whole = {}, b""
    for name, t in weights.items():
        data, size = t.storage.data, 2
        if t.storage.dtype != "F16" or len(t.shape) != 2:
            out[name] = t
            continue
        rows, cols = t.shape
        turned = b"".join(data[(r * cols + c) * size:(r * cols + c + 1) * size]
                          for c in range(cols) for r in range(rows)) if rows * cols < 100000 else None
        if turned:
            out[name] = (len(whole) // size, turned, (rows, cols), (1, rows))
            whole += turned
        else:
            out[name] = t
    storage = Storage("F16", whole)
    return {k: v if isinstance(v, Tensor) else Tensor("F16", v[2], None, v[0], v[3], storage)
            for k, v in out.items()}


def test_the_same_picture(serve, weights):
    server = serve()
    models = server.folder / "data" / "models"
    models.mkdir(parents=True, exist_ok=True)
    torchfile.zipped(weights, models / "bare.pt")
    torchfile.zipped(extras(weights), models / "full.ckpt")
    torchfile.legacy({"state_dict": weights}, models / "old.CKPT")
    torchfile.zipped(turned(weights), models / "turned.pth")
    torchfile.write_safetensors(weights, models / "both.safetensors")
    torchfile.write_safetensors(weights, models / "twin.safetensors")
    (models / "both.ckpt").write_bytes(b"not this one")
    want = pixels(paint(server, "twin"))
    for name in ("bare", "full", "old", "turned", "both"):
        got = paint(server, name)
        assert isinstance(got, bytes), (name, got)
        assert pixels(got) == want, name
    listed = {m["model_name"]: m for m in Sdapi(server.url).get("sd-models")}
    assert listed["full"]["title"].startswith("full.ckpt") and listed["old"]["filename"].endswith("old.CKPT")
    assert len(listed["full"]["sha256"]) == 64


# ---- weights of few bits ----

def chosen(weights):
    """Some layers, few enough for plain Python."""
    return [k for k, t in weights.items() if "attn2.to_k.weight" in k or "attn2.to_out.0.weight" in k
            if t.shape[1] % 32 == 0][:8]


def halves(tensor):
    return struct.unpack(f"<{len(tensor.storage.data) // 2}e", tensor.storage.data)


def e4m3(bits):
    exponent, fraction = bits >> 3 & 15, bits & 7
    value = fraction * 2.0 ** -9 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7)
    return -value if bits & 0x80 else value


def as_floats(tensor, values):
    return Tensor("F32", tensor.shape, struct.pack(f"<{len(values)}f", *values))


def write_gguf(tensors, path):
    """Name -> (type of GGML's, shape, bytes), or a Tensor; as stable-diffusion.cpp does."""
    types = {"F32": 0, "F16": 1, "Q8_0": 8, "I64": 27}
    head, data = b"", b""
    for name, t in tensors.items():
        kind, shape, raw = t if isinstance(t, tuple) else (t.storage.dtype, t.shape, t.storage.data)
        head += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", types[kind], len(data))
        data += raw + bytes(-len(raw) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0) + head
    path.write_bytes(head + bytes(-len(head) % 32) + data)


def test_few_bits(serve, weights):
    """8 bits with a scale, in both kinds of file, paint what their values in F32 paint."""
    scaled, scaled_twin, blocks, blocks_twin = dict(weights), dict(weights), dict(weights), dict(weights)
    positive = [e4m3(b) for b in range(0x7f)]
    for n, name in enumerate(chosen(weights)):
        t, values, scale = weights[name], halves(weights[name]), (n % 7 + 1) / 4096
        bits = [bisect.bisect(positive, abs(v) / scale) - 1 | (v < 0) << 7 for v in values]
        scaled[name] = Tensor("F8_E4M3", t.shape, bytes(bits))
        beside = ".scale_weight" if n % 2 else ".weight_scale"
        scaled[name.replace(".weight", beside)] = Tensor("F32", [] if n % 3 else [1], struct.pack("<f", scale))
        scaled_twin[name] = as_floats(t, [e4m3(b) * scale for b in bits])
        raw, plain = b"", []
        for i in range(0, len(values), 32):
            d, = struct.unpack("<e", struct.pack("<e", max(map(abs, values[i:i + 32])) / 127))
            q = [max(-127, min(127, round(v / d))) if d else 0 for v in values[i:i + 32]]
            raw += struct.pack("<e32b", d, *q)
            plain += [v * d for v in q]
        blocks[name], blocks_twin[name] = ("Q8_0", t.shape, raw), as_floats(t, plain)
    scaled["scaled_fp8"] = Tensor("F8_E4M3", [2], bytes(2))
    table = next(k for k, t in weights.items() if t.storage.dtype == "F8_E4M3")
    blocks[table] = Tensor("F16", weights[table].shape, b"".join(
        struct.pack("<e", e4m3(b)) for b in weights[table].storage.data))
    server = serve()
    models = server.folder / "data" / "models"
    models.mkdir(parents=True, exist_ok=True)
    torchfile.write_safetensors(scaled, models / "scaled.safetensors")
    torchfile.write_safetensors(scaled_twin, models / "scaled-twin.safetensors")
    write_gguf(blocks, models / "blocks.gguf")
    torchfile.write_safetensors(blocks_twin, models / "blocks-twin.safetensors")
    torchfile.write_safetensors({**scaled, "scaled_fp8": scaled["scaled_fp8"], chosen(weights)[0].replace(
        ".weight", ".weight_scale"): Tensor("F32", [2], bytes(8))}, models / "rows.safetensors")
    write_lora(server.folder / "data" / "loras" / "a.safetensors", "lora_unet_", UNET, "attn2.to_k", 1)
    plain = paint(server, "pictor-mini")
    for name in ("scaled", "blocks"):
        got, want = paint(server, name), paint(server, name + "-twin")
        assert isinstance(got, bytes) and isinstance(want, bytes), (got, want)
        assert pixels(got) == pixels(want) != pixels(plain), name
    # A LoRA is merged into numbers, and what is left afterwards are the blocks.
    prompt = "a red circle <lora:a:1>"
    want, before = pixels(paint(server, "blocks-twin", prompt)), pixels(paint(server, "blocks"))
    assert pixels(paint(server, "blocks", prompt)) == want != before
    assert pixels(paint(server, "blocks")) == before
    status, message = paint(server, "rows")
    assert status >= 400 and "wanted one finite number" in message


# ---- folders ----

def folder_of(path):
    """The tiny model in diffusers' layout."""
    subprocess.run([sys.executable, ROOT / "tests/golden/make_folder.py", path], check=True)
    return path


def shards(part, stem, count):
    """The one file of a network becomes several, as diffusers saves a large one."""
    whole, = part.glob("*.safetensors")
    tensors = torchfile.read_safetensors(whole)
    whole.unlink()
    weight_map = {}
    for i in range(count):
        name = f"{stem}-{i + 1:05}-of-{count:05}.safetensors"
        some = {k: tensors[k] for k in sorted(tensors)[i::count]}
        weight_map.update(dict.fromkeys(some, name))
        torchfile.write_safetensors(some, part / name)
    (part / f"{stem}.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_folders(serve, tmp_path):
    models = tmp_path / "data" / "models"
    models.mkdir(parents=True)
    parts, pickles, gap = (folder_of(models / name) for name in ("parts", "pickles", "gap"))
    folder_of(models / "whole")
    shards(parts / "unet", "diffusion_pytorch_model", 3)
    shards(parts / "text_encoder", "model.fp16", 2)
    (parts / "vae" / "diffusion_pytorch_model.safetensors").rename(
        parts / "vae" / "diffusion_pytorch_model.fp16.safetensors")
    for part in ("unet", "vae", "text_encoder"):
        file, = (pickles / part).glob("*.safetensors")
        name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
        (torchfile.legacy if part == "vae" else torchfile.zipped)(
            torchfile.read_safetensors(file), pickles / part / name)
        file.unlink()
    (pickles / "unet" / "optimizer.bin").write_bytes(b"none of the weights")
    shards(gap / "unet", "diffusion_pytorch_model", 2)
    (gap / "unet" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    server = serve(f"--data={tmp_path / 'data'}")
    want = pixels(paint(server, "whole"))
    for name in ("parts", "pickles"):
        got = paint(server, name)
        assert isinstance(got, bytes), (name, got)
        assert pixels(got) == want, name
    status, message = paint(server, "gap")
    assert status >= 400 and "diffusion_pytorch_model-00002-of-00002.safetensors (one of 2)" in message


# ---- what is refused ----

HOSTILE = {
    # Called when it is unpickled, as the real ones do it.
    "code": (lambda w: {"state_dict": w, "x": Call(Name("posix", "system"), "touch /tmp/pictor-was-here")},
             "names posix.system"),
    "eval": (lambda w: {**w, "x": Call(Name("builtins", "eval"), "1")}, "names builtins.eval"),
    "import": (lambda w: [Call(Name("runpy", "_run_code"), "1", {})], "names runpy._run_code"),
    "list": (lambda w: list(w.values()), "wanted a dict of tensors"),
    "nothing": (lambda w: {"state_dict": {}}, "no tensor in it"),
    "shape": (lambda w: {**w, CONV: Tensor("F16", [3, 3], bytes(18))}, "UNet: wanted channels"),
    "beyond": (lambda w: {**w, CONV: Tensor("F16", [320, 4, 3, 3], bytes(18))}, "reaches element 11520"),
    "short": (lambda w: {**w, CONV: Tensor("F16", [9], None, storage=Storage("F16", bytes(4), 9))},
              "wanted 9 elements"),
    "huge": (lambda w: {**w, CONV: Tensor("F16", [1 << 40, 1 << 40], bytes(4))}, "shape too large"),
    "bomb": (lambda w: {"x": Tensor("F16", [1 << 20, 1 << 20], bytes(4), strides=[0, 0])}, "larger than the file"),
    "another": (lambda w: {"x": Tensor("F32", [2], bytes(8))}, "no model of a kind that pictor runs"),
    "ema": (lambda w: {"model_ema.diffusion_modelout2bias": Tensor("F32", [2], bytes(8))}, "averaged weights alone"),
}


@pytest.fixture(scope="module")
def hostile(serve_module, weights, tmp_path_factory):
    data = tmp_path_factory.mktemp("hostile")
    models = data / "models"
    models.mkdir()
    for name, (make, _) in HOSTILE.items():
        torchfile.zipped(make(weights), models / (name + ".ckpt"))
    torchfile.legacy(HOSTILE["code"][0](weights), models / "old-code.pt")
    torchfile.zipped(weights, models / "deflated.ckpt", zipfile.ZIP_DEFLATED)
    torchfile.zipped(weights, models / "cut.ckpt")
    whole = (models / "cut.ckpt").read_bytes()
    (models / "cut.ckpt").write_bytes(whole[:len(whole) // 2])
    torchfile.legacy(weights, models / "old-cut.ckpt")
    whole = (models / "old-cut.ckpt").read_bytes()
    (models / "old-cut.ckpt").write_bytes(whole[:len(whole) // 2])
    with zipfile.ZipFile(models / "zipbomb.ckpt", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("archive/data.pkl", bytes(50_000_000))
    with zipfile.ZipFile(models / "photos.ckpt", "w") as z:
        z.writestr("holiday.jpg", b"...")
    server = serve_module(f"--data={data}")
    server.models = models
    return server


@pytest.mark.parametrize("name,says", [(k, v[1]) for k, v in HOSTILE.items()] + [
    ("old-code", "names posix.system"), ("deflated", "compressed (deflate"), ("cut", "cut short"),
    ("old-cut", "cut short"), ("zipbomb", "compressed (deflate"), ("photos", "no data.pkl")])
def test_hostile(hostile, name, says):
    problem = {m["name"]: m for m in requests.get(hostile.url + "/api/models").json()["models"]}[name]["problem"]
    assert says in problem
    status, message = paint(hostile, name)
    assert status in (400, 422) and says in message, message


@pytest.mark.parametrize("network,name", [
    ("UNet", "model.diffusion_model.out.2.bias"), ("VAE", "first_stage_model.decoder.conv_out.bias"),
    ("UNet", "cond_stage_model.transformer.text_model.final_layer_norm.bias")])
def test_weights_that_are_no_numbers(hostile, weights, network, name):
    nan = Tensor("F16", weights[name].shape, b"\x00\x7e" * weights[name].shape[0])
    torchfile.write_safetensors({**weights, name: nan}, hostile.models / f"nan-{name}.safetensors")
    Sdapi(hostile.url).post("refresh-checkpoints", {})
    status, message = paint(hostile, f"nan-{name}")
    assert status >= 400 and f"{network} made numbers that are none" in message


def test_it_goes_on_and_no_code_ran(hostile):
    assert isinstance(paint(hostile, "pictor-mini"), bytes)
    assert not pathlib.Path("/tmp/pictor-was-here").exists()


# ---- LoRAs ----

def test_lora(serve):
    server = serve()
    folder = server.folder / "data" / "loras"
    write_lora(folder / "a.safetensors", "lora_unet_", UNET, "attn2.to_v", 1)
    torchfile.zipped(torchfile.read_safetensors(folder / "a.safetensors"), folder / "b.pt")
    torchfile.zipped({"x": Call(Name("os", "system"), "true")}, folder / "evil.pt")
    api = Sdapi(server.url)
    assert [x["path"] for x in api.get("loras")] == ["a.safetensors", "b.pt", "evil.pt"]

    def picture(prompt):
        return pixels(base64.b64decode(api.post("txt2img", {**TINY, "prompt": prompt})["images"][0]))
    plain, a, b = picture("a cat"), picture("a cat <lora:a:1>"), picture("a cat <lora:b:1>")
    assert a == b != plain
    answer = requests.post(server.url + "/sdapi/v1/txt2img", json={**TINY, "prompt": "a cat <lora:evil:1>"})
    assert answer.status_code >= 400 and "names os.system" in answer.text
    assert picture("a cat") == plain
