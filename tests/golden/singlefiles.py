"""The single files that the small models of this folder are, as they are published: one for each
family and kind. For make_single.py, which opens them with diffusers, and tests/api/test_single.py,
which paints with them. Needs nothing but Python.
"""

import json
import pathlib
import struct

GOLDEN = pathlib.Path(__file__).resolve().parent
TOKENS = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
CONV_IN = "model.diffusion_model.input_blocks.0.0.weight"
FIRST, SECOND = "conditioner.embedders.0.", "conditioner.embedders.1."
NAMES = ["sd1", "sd1-v", "sd1-inpainting", "edit", "sd2", "sd2-inpainting", "sdxl", "sdxl-inpainting",
         "refiner"]


def read(path):
    """Name -> (dtype, shape, bytes)."""
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[start + t["data_offsets"][0]:start + t["data_offsets"][1]])
            for name, t in header.items()}


def write(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join([struct.pack("<Q", len(text)), text, *(t[2] for t in tensors.values())]))


def tensors_of(name):
    """One of NAMES."""
    family, _, kind = name.partition("-")
    tiny = read(GOLDEN / "tiny" / "tiny-ldm.safetensors")
    vae = {k: v for k, v in tiny.items() if k.startswith("first_stage_model.")}
    if family == "sd2":
        out = {**read(GOLDEN / "sd2" / "weights.safetensors"), **vae,
               "cond_stage_model.model.token_embedding.weight": tiny[TOKENS]}
    elif family == "sdxl":
        out = {**read(GOLDEN / "sdxl" / "weights.safetensors"), **vae,
               FIRST + "transformer.text_model.embeddings.token_embedding.weight": tiny[TOKENS],
               SECOND + "model.token_embedding.weight": tiny[TOKENS]}
    elif family == "refiner":
        own = {**read(GOLDEN / "sdxl" / "weights.safetensors"), **read(GOLDEN / "sdxl" / "refiner.safetensors")}
        out = {**{k.replace(SECOND, FIRST): v for k, v in own.items() if not k.startswith(FIRST)}, **vae,
               FIRST + "model.token_embedding.weight": tiny[TOKENS]}
    else:
        out = dict(tiny)
    if kind == "v":
        out["v_pred"] = ("F32", [1], bytes(4))
    elif kind or family == "edit":
        out[CONV_IN] = read(GOLDEN / "beside" / "golden.safetensors")[family + ".conv_in"]
    return out
