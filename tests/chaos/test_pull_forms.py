"""`pictor pull` of what is no .safetensors file: what PyTorch writes, and GGUF."""
import hashlib
import json
import pickle
import struct
import sys

import pytest
from conftest import ROOT
from test_pull import MODEL, hub, names, pull, small  # noqa: F401

sys.path.insert(0, str(ROOT / "tests" / "golden"))
import torchfile  # noqa: E402


def torch_file(path, *tensors, legacy=False):
    weights = {name: torchfile.Tensor("F32", [1], bytes(4)) for name in tensors}
    (torchfile.legacy if legacy else torchfile.zipped)(weights, path)
    return path.read_bytes()


def gguf(*tensors):
    """GGUF, version 3, of tensors of 32 zeros each."""
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0) + b"".join(
        text(t) + struct.pack("<IQIQ", 1, 32, 0, 128 * i) for i, t in enumerate(tensors))
    return head + bytes(-len(head) % 32) + bytes(128 * len(tensors))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("tensor, ending, there", [
    ("model.diffusion_model.joint_blocks.0", ".ckpt", "models/m.ckpt"),
    ("model.diffusion_model.joint_blocks.0", ".bin", "models/m.ckpt"),
    ("lora_unet_a.lora_up.weight", ".pt", "loras/m.pt"),
    ("lora_unet_a.lora_up.weight", ".pth", "loras/m.pt"),
    ("decoder.conv_in.weight", ".pt", "vaes/m.pt"),
    ("conv_first.weight", ".pth", "upscalers/m.pth"),
    ("emb_params", ".bin", "embeddings/m.bin"),
    ("control_model.input_hint_block.0.weight", ".PTH", "controlnets/m.PTH")])
def test_what_pytorch_writes(hub, pull, tmp_path, tensor, ending, there, legacy):  # noqa: F811
    hub.files["/m" + ending] = torch_file(tmp_path / "made", tensor, legacy=legacy)
    done = pull(hub.url + "/m" + ending)
    assert (tmp_path / there).read_bytes() == hub.files["/m" + ending], done.stderr
    assert [n for n in names(pull) if "part" in n] == []
    pull(hub.url + "/m" + ending)
    assert len(hub.requests) == 1, "it is there, whatever it is called there"


@pytest.mark.parametrize("tensor, there", [("model.diffusion_model.joint_blocks.0", "models/m.gguf"),
                                           ("lora_unet_a.lora_up.weight", "loras/m.gguf"),
                                           ("control_model.input_hint_block.0.weight", "controlnets/m.gguf")])
def test_gguf(hub, pull, tmp_path, tensor, there):  # noqa: F811
    hub.files["/m.gguf"] = gguf(tensor)
    done = pull(hub.url + "/m.gguf")
    assert (tmp_path / there).exists(), done.stderr
    hub.files["/cut.gguf"] = hub.files["/m.gguf"][:-64]
    done = pull(hub.url + "/cut.gguf")
    assert done.returncode == 1 and "was removed" in done.stderr and "cut.gguf" not in names(pull)


def test_kind_that_is_not_read_from_gguf(hub, pull, tmp_path):  # noqa: F811
    hub.files["/m.gguf"] = gguf("conv_first.weight")
    done = pull(hub.url + "/m.gguf")
    assert done.returncode == 1 and "no upscaler is read from" in done.stderr
    assert (tmp_path / "upscalers/m.gguf").exists()


def test_vocabulary(hub, pull, tmp_path):  # noqa: F811
    """T5's goes to the text encoders under the name that it is looked for by; broken it does not stay."""
    made = (ROOT / "tests/golden/t5/spiece.model").read_bytes()
    for path, data in (("/broken.model", made[:-100]), ("/page.model", b"<!DOCTYPE html>" + bytes(600)),
                       ("/empty.model", b"")):
        hub.files[path] = data
        done = pull(hub.url + path)
        assert done.returncode == 1 and "removed" in done.stderr, done.stderr
    assert not (tmp_path / "text_encoders/spiece.model").exists()
    repo, file = "google/t5-v1_1-xxl", "spiece.model"
    hub.files[f"/api/models/{repo}/revision/main"] = json.dumps({"siblings": [
        {"rfilename": file, "lfs": {"sha256": hashlib.sha256(made).hexdigest(), "size": len(made)}}]}).encode()
    hub.files[f"/{repo}/resolve/main/{file}"] = made
    done = pull("spiece", HF_ENDPOINT=hub.url)
    assert done.returncode == 0 and (tmp_path / "text_encoders/spiece.model").read_bytes() == made, done.stderr
    assert "is there already" in pull("spiece", HF_ENDPOINT=hub.url).stdout
    assert [n for n in names(pull) if "part" in n] == []


class Harm:
    def __reduce__(self):
        return (eval, ("open('harmed', 'w')",))


def test_pickle_that_would_run_something(hub, pull, tmp_path):  # noqa: F811
    torchfile.zipped({"a": torchfile.Tensor("F32", [1], bytes(4)), "b": Harm()}, tmp_path / "made")
    for data in (pickle.dumps(Harm(), protocol=2), (tmp_path / "made").read_bytes()):
        hub.files["/m.ckpt"] = data
        done = pull(hub.url + "/m.ckpt")
        assert done.returncode == 1 and "eval" in done.stderr and names(pull) == [], done.stderr
        assert not (tmp_path / "harmed").exists()


def test_content_must_be_what_the_name_says(hub, pull, tmp_path):  # noqa: F811
    made = torch_file(tmp_path / "made", "conv_first.weight")
    hub.files.update({"/m.safetensors": made, "/m.ckpt": MODEL, "/m.gguf": made, "/m.pt": gguf("a")})
    for name, says in (("m.safetensors", "a PyTorch checkpoint"), ("m.ckpt", "a .safetensors file"),
                       ("m.gguf", "wanted GGUF"), ("m.pt", "a GGUF file")):
        done = pull(hub.url + "/" + name)
        assert done.returncode == 1 and says in done.stderr and names(pull) == [], done.stderr


def test_address_without_an_ending(hub, pull, tmp_path):  # noqa: F811
    for data, name in ((torch_file(tmp_path / "made", "conv_first.weight"), "up.pth"),
                       (small("conv_first.weight"), "up2.safetensors")):
        path = "/" + name.split(".")[0]
        hub.files[path] = data
        hub.requests.clear()
        assert pull(hub.url + path).returncode == 0
        assert (tmp_path / "upscalers" / name).read_bytes() == data
        assert "is there already" in pull(hub.url + path).stdout and len(hub.requests) == 1


def test_name_takes_the_ending_of_the_file(hub, pull, tmp_path):  # noqa: F811
    hub.files["/x.ckpt"] = torch_file(tmp_path / "made", "lora_unet_a.lora_up.weight")
    done = pull(hub.url + "/x.ckpt", "--name", "mine.v2")
    assert done.returncode == 0 and done.stdout.endswith("lora mine.v2\n"), done
    assert (tmp_path / "loras/mine.v2.ckpt").exists()
