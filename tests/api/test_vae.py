"""VAE files in the place of a checkpoint's own: layouts, choices, lists, and what is no VAE."""
import hashlib
import subprocess

import pytest
from conftest import PROGRAM, ROOT
from sdapi_client import Sdapi, encode, gradient
from test_native import Native
from test_sdxl import read, write

GOLDEN = ROOT / "tests" / "golden" / "tiny"
OUT = "first_stage_model.decoder.conv_out."
SMALL = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 2, "seed": 1}


def inverted():
    """The tiny model's VAE with another sign in its last layer, by its names in the single file."""
    tiny = read(GOLDEN / "tiny-ldm.safetensors")
    vae = {k: v for k, v in tiny.items() if k.startswith("first_stage_model.")}
    for part in ("weight", "bias"):
        dtype, shape, data = vae[OUT + part]
        vae[OUT + part] = (dtype, shape, bytes(b ^ 0x80 if i % 2 else b for i, b in enumerate(data)))
    return vae


def in_diffusers_layout(vae):
    out = {}
    for line in (GOLDEN / "diffusers" / "names.tsv").read_text().splitlines():
        file, name, ldm, shape = line.split("\t")
        if file.startswith("vae/"):
            out[name] = (vae[ldm][0], [int(n) for n in shape.split(",")], vae[ldm][2])
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, vae = tmp_path_factory.mktemp("vae"), inverted()
    write(folder / "models" / "tiny.safetensors", read(GOLDEN / "tiny-ldm.safetensors"))
    write(folder / "models" / "with.safetensors", read(GOLDEN / "tiny-ldm.safetensors"))
    write(folder / "vaes" / "bare.safetensors", {k.removeprefix("first_stage_model."): v for k, v in vae.items()})
    write(folder / "vaes" / "whole.safetensors", vae)
    write(folder / "vaes" / "deep" / "folder's.safetensors", in_diffusers_layout(vae))
    write(folder / "vaes" / "with.vae.safetensors", vae)
    write(folder / "vaes" / "none at all.safetensors", {"a": ("F16", [1], b"\0\0")})
    tae = read(GOLDEN.parent / "tae" / "weights.safetensors")
    write(folder / "vaes" / "taesd.safetensors", tae)
    half = {k.removeprefix("decoder.layers."): v for k, v in tae.items() if k.startswith("decoder.")}
    write(folder / "vaes" / "taesd_decoder.safetensors",
          {f"{int(k.split('.', 1)[0]) + 1}.{k.split('.', 1)[1]}": v for k, v in half.items()})
    return folder


@pytest.fixture(scope="module")
def server(serve_module, folder):
    return serve_module(f"--models={folder / 'models'}", f"--vaes={folder / 'vaes'}", "--default-model=tiny")


def test_choices(server, folder):
    api = Sdapi(server.url)

    def paint(vae=None, **fields):
        options = {"sd_vae": vae} if vae is not None else {}
        return api.txt2img(**{**SMALL, "override_settings": {**options, **fields}})

    own, other = paint(), paint("bare.safetensors")
    assert "VAE" not in own.text and own.info["sd_vae_name"] is None
    assert "VAE: bare.safetensors" in other.text and other.info["sd_vae_name"] == "bare.safetensors"
    file = (folder / "vaes" / "bare.safetensors").read_bytes()
    assert own.info["sd_vae_hash"] is None
    assert other.info["sd_vae_hash"] == hashlib.sha256(file).hexdigest()[:10]
    apart = [abs(a + b - 255) for a, b in zip(own.image.tobytes(), other.image.tobytes())]
    assert sorted(apart)[len(apart) // 2] <= 1  # the negative
    assert paint("Automatic").files == paint("None").files == own.files
    for name in ("bare", "whole", "deep/folder's", "folder's.safetensors"):
        assert paint(name).image.tobytes() == other.image.tobytes(), name
    unknown = paint("Moody.safetensors")
    assert unknown.image.tobytes() == own.image.tobytes()
    assert unknown.info["extra_generation_params"]["Ignored"] == "sd_vae Moody.safetensors"
    automatic = paint(sd_model_checkpoint="with")
    assert automatic.image.tobytes() == other.image.tobytes() and "VAE: with.vae.safetensors" in automatic.text
    none = paint("None", sd_model_checkpoint="with")
    assert none.image.tobytes() == own.image.tobytes() and "VAE" not in none.text


def test_tiny_autoencoder(server):
    api = Sdapi(server.url)

    def paint(vae, **fields):
        return api.img2img(encode(gradient()), **{**SMALL, **fields, "override_settings": {"sd_vae": vae}})

    own, tiny, half = paint("None"), paint("taesd"), paint("taesd_decoder")
    assert "VAE: taesd.safetensors" in tiny.text and "VAE: taesd_decoder.safetensors" in half.text
    assert len({p.image.tobytes() for p in (own, tiny, half)}) == 3  # half: the model's own encodes
    texts = [api.txt2img(**SMALL, override_settings={"sd_vae": vae}) for vae in ("taesd", "taesd_decoder")]
    assert texts[0].image.tobytes() == texts[1].image.tobytes()


def test_lists(server):
    api = Sdapi(server.url)
    listed = {v["model_name"]: v["filename"] for v in api.get("sd-vae")}
    assert listed["folder's.safetensors"] == "deep/folder's.safetensors" and len(listed) == 7
    assert api.request("POST", "refresh-vae").json() is None


def test_native(server):
    api = Native(server.url)
    assert "VAE: bare.safetensors" in api.done(**SMALL, model="tiny", vae="bare")["images"][0]["infotext"]
    refused = api.post("/api/jobs", {**SMALL, "model": "tiny", "vae": "Moody"}, status=400)
    assert refused["param"] == "vae" and "Moody" in refused["message"]
    failed = api.finish(api.submit(**SMALL, model="tiny", vae="none at all"))
    assert failed["state"] == "failed" and "with the VAE none at all.safetensors" in failed["error"]["message"]
    assert "VAE" not in api.done(**SMALL, model="tiny")["images"][0]["infotext"]
    failed = api.finish(api.submit(**SMALL, model="pictor-mini", vae="bare"))
    assert failed["state"] == "failed" and "built-in" in failed["error"]["message"]


def test_command(folder, tmp_path):
    def paint(*words):
        out = tmp_path / "out.png"
        done = subprocess.run([PROGRAM, "generate", f"--models={folder / 'models'}", f"--vaes={folder / 'vaes'}",
                               "--model=tiny", "--width=64", "--height=64", "--steps=2", "--seed=1", *words,
                               "-o", out, "-p", "a red circle"], capture_output=True, text=True)
        return out.read_bytes() if done.returncode == 0 else done.stderr

    assert paint() != paint("--vae=bare")
    assert "there is no such VAE" in paint("--vae=Moody")
