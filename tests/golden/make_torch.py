#!/usr/bin/env python3
"""Makes tests/golden/torch: what torch.save writes, and beside it the same tensors as safetensors.

    python3 make_torch.py           writes the files
    python3 make_torch.py float8    writes those of types that Debian's torch does not have
    python3 make_torch.py check     torch reads what torchfile.py writes of the tiny model

Made with Debian 12's python3-torch (1.13.1), float8 with PyPI's 2.15."""
import collections
import json
import os
import struct
import sys
import tempfile

import torch

import torchfile

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "torch")
NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64",
         torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL", torch.int16: "I16"}


def raw(t):
    return t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""


def twin(tensors, path):
    header, data = {}, b""
    for name, t in sorted(tensors.items()):
        bits = t.view(torch.uint8) if t.dtype == torch.bool else t
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape),
                        "data_offsets": [len(data), len(data) + len(raw(bits))]}
        data += raw(bits)
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


def state():
    """Every type, and every kind of view."""
    g = torch.Generator().manual_seed(1)
    base = torch.randn(6, 8, generator=g)
    d = collections.OrderedDict()
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        d["weight." + NAMES[dtype]] = torch.randn(3, 5, generator=g).to(dtype)
    d["ids"] = torch.arange(-3, 9)
    d["small.I32"] = torch.arange(4, dtype=torch.int32)
    d["small.U8"] = torch.arange(5, dtype=torch.uint8)
    d["small.I16"] = torch.arange(3, dtype=torch.int16)
    d["flags"] = torch.tensor([True, False, True])
    d["scalar"] = torch.tensor(2.5)
    d["empty"] = torch.zeros(0, 4)
    d["shared.whole"] = base
    d["shared.rows"] = base[2:5]
    d["shared.columns"] = base[:, 1:4]
    d["shared.turned"] = base.t()
    d["shared.every_other"] = base[::2, ::3]
    d["shared.number"] = base[3, 3]
    d["expanded"] = torch.randn(4, 1, generator=g).expand(4, 3)
    d["channels_last"] = torch.randn(2, 3, 4, 5, generator=g).to(memory_format=torch.channels_last)
    d["permuted"] = torch.randn(2, 3, 4, generator=g).permute(2, 0, 1)
    return d


def save(value, name, **options):
    torch.save(value, os.path.join(FOLDER, name), **options)


def make():
    os.makedirs(FOLDER, exist_ok=True)
    plain = state()
    save(plain, "plain.pt")
    save(plain, "legacy.pt", _use_new_zipfile_serialization=False)
    save(plain, "protocol4.pt", pickle_protocol=4)
    save(plain, "legacy4.pt", pickle_protocol=4, _use_new_zipfile_serialization=False)
    twin(plain, os.path.join(FOLDER, "plain.safetensors"))

    # As trainers write it: numbers, strings, lists, an optimizer, and parameters instead of tensors.
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    trained = {"epoch": 3, "global_step": 470000, "name": "trained", "lr": 1e-4, "big": 1 << 70, "minus": -5,
               "none": None, "set": {1, 2}, "tuple": (1, (2.0, "x")), "long": "x" * 300, "bytes": b"\0\1",
               "state_dict": module.state_dict(), "optimizer_states": [optimizer.state_dict()],
               "size": torch.Size([2, 3]), "dtype": torch.float16, "device": torch.device("cpu")}
    save(trained, "trained.ckpt")
    save(trained, "trained-legacy.ckpt", _use_new_zipfile_serialization=False)
    twin(module.state_dict(), os.path.join(FOLDER, "trained.safetensors"))

    # An upscaler, and an embedding as the first textual inversions were written.
    ema = {"conv.weight": torch.nn.Parameter(torch.ones(2, 3)), "conv.bias": torch.nn.Parameter(torch.zeros(2))}
    save({"params": {"conv.weight": torch.zeros(2, 3)}, "params_ema": ema}, "upscaler.pth")
    twin(ema, os.path.join(FOLDER, "upscaler.safetensors"))
    words = torch.nn.ParameterDict({"*": torch.nn.Parameter(torch.arange(8.0).reshape(2, 4))})
    save({"string_to_token": {"*": 265}, "string_to_param": words, "name": "word", "step": 10}, "words.pt")
    twin({"string_to_param.*": words["*"]}, os.path.join(FOLDER, "words.safetensors"))


def float8():
    numbers = torch.linspace(-3, 3, 24).reshape(4, 6)
    tensors = {"e4m3": numbers.to(torch.float8_e4m3fn), "e5m2": numbers.to(torch.float8_e5m2),
               "turned": numbers.to(torch.float8_e4m3fn).t(), "f16": numbers.half()}
    NAMES.update({torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2"})
    save(tensors, "float8.pt")
    twin(tensors, os.path.join(FOLDER, "float8.safetensors"))


def check():
    want = torchfile.read_safetensors(os.path.join(HERE, "tiny", "tiny-ldm.safetensors"))
    for write in (torchfile.zipped, torchfile.legacy):
        with tempfile.NamedTemporaryFile() as f:
            write({"state_dict": want, "global_step": 1}, f.name)
            got = torch.load(f.name)["state_dict"]
        assert list(got) == list(want)
        for name, t in got.items():
            assert tuple(t.shape) == want[name].shape and raw(t) == want[name].storage.data, name
    print("torch", torch.__version__, "reads", len(want), "tensors of both formats")


{"check": check, "float8": float8}.get(" ".join(sys.argv[1:]), make)()
