#!/usr/bin/env python3
"""Makes tests/golden/gguf: kinds.gguf, a tensor of every type that is read, and kinds.safetensors, what PyPI's
`gguf` makes of each in F32.

    pip install gguf numpy
    python3 make_gguf.py
    python3 make_gguf.py twin MODEL.gguf OUT.safetensors     the same of a whole model, for a look"""
import json
import os
import struct
import sys

import gguf
import numpy

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gguf")
T = gguf.GGMLQuantizationType
NUMPY = {"F32": "float32", "F16": "float16", "F64": "float64", "I64": "int64", "I32": "int32"}


def save(tensors, path):
    """Name -> array of float32."""
    header, data = {}, b""
    for name, a in sorted(tensors.items()):
        header[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [len(data), len(data) + a.nbytes]}
        data += a.astype("<f4").tobytes()
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


def random_blocks(rng, kind, rows, columns):
    """Any bits, but for scales that are finite numbers of a usual size."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (rows, columns // block, size), dtype=numpy.uint8)
    halves = {T.Q4_0: [0], T.Q5_0: [0], T.Q8_0: [0], T.Q4_1: [0, 2], T.Q5_1: [0, 2], T.Q2_K: [80, 82],
              T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0],
              T.MXFP4: []}[kind]
    for at in halves:
        scale = (rng.standard_normal(raw.shape[:2]) / 64).astype("<f2")
        raw[:, :, at:at + 2] = scale[..., None].view(numpy.uint8)
    if kind == T.MXFP4:
        raw[:, :, 0] = rng.integers(112, 124, raw.shape[:2])
    return raw.reshape(rows, -1)


def make():
    os.makedirs(FOLDER, exist_ok=True)
    rng = numpy.random.default_rng(1)
    out = gguf.GGUFWriter(os.path.join(FOLDER, "kinds.gguf"), "sd1")
    out.add_name("kinds")
    out.add_array("words", ["a", "bc"])
    out.add_array("numbers", [1, 2, 3])
    out.add_float32("half", 0.5)
    wanted = {}
    for name, type_ in NUMPY.items():
        a = (rng.standard_normal((3, 5)) * 100).astype(type_)
        out.add_tensor("plain." + name, a)
        if name != "I32":
            wanted["plain." + name] = a.astype("float32")
    for kind in (T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K):
        raw = random_blocks(rng, kind, 3, 512)
        out.add_tensor("blocks." + kind.name, raw, raw_dtype=kind)
        wanted["blocks." + kind.name] = gguf.quants.dequantize(raw, kind)
    a = rng.standard_normal((3, 512)).astype("float32")
    raw = gguf.quants.quantize(a, T.BF16)
    out.add_tensor("blocks.BF16", raw, raw_dtype=T.BF16)
    wanted["blocks.BF16"] = gguf.quants.dequantize(raw, T.BF16)
    raw = random_blocks(rng, T.Q4_K, 9, 256)  # a convolution whose rows are no blocks
    out.add_tensor("reshaped", raw, raw_dtype=T.Q4_K)
    out.add_array("comfy.gguf.orig_shape.reshaped", [8, 32, 3, 3])
    wanted["reshaped"] = gguf.quants.dequantize(raw, T.Q4_K).reshape(8, 32, 3, 3)
    for kind in (T.IQ4_NL, T.IQ4_XS, T.MXFP4):
        raw = random_blocks(rng, kind, 3, 512)
        out.add_tensor("blocks." + kind.name, raw, raw_dtype=kind)
        wanted["blocks." + kind.name] = gguf.quants.dequantize(raw, kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    save(wanted, os.path.join(FOLDER, "kinds.safetensors"))


def twin(model, path):
    tensors = {}
    for t in gguf.GGUFReader(model).tensors:
        a = gguf.quants.dequantize(t.data, t.tensor_type) if t.tensor_type not in (T.F32, T.F16) else t.data
        tensors[t.name] = numpy.asarray(a, dtype="float32").reshape([int(n) for n in reversed(t.shape)])
    save(tensors, path)


twin(*sys.argv[2:]) if sys.argv[1:2] == ["twin"] else make()
