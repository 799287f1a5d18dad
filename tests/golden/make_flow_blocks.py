"""Makes the files of few bits that flow transformers are checked with (README.md, "flow_blocks").

usage: make_flow_blocks.py     (needs the packages of requirements-flow.txt, and gguf)

GGUF files with every type of blocks, and what diffusers' networks say with the numbers that PyPI's `gguf` makes of
them, their names turned by diffusers' own converters; and F8 files of the models of make_flux2.py and make_zimage.py,
whose numbers are exact in F8: they say what those say.
"""

import json
import math
import os

import gguf
import make_flux2
import make_zimage
import numpy as np
import torch
from diffusers import Flux2Transformer2DModel, ZImageTransformer2DModel
from diffusers.loaders.single_file_utils import (
    convert_flux2_transformer_checkpoint_to_diffusers,
    convert_z_image_transformer_checkpoint_to_diffusers,
)
from safetensors.torch import load_file, save_file

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flow_blocks")
T = gguf.GGMLQuantizationType
WIDE = (T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_XS)
NARROW = (T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.IQ4_NL, T.MXFP4)
HALVES = {T.Q4_0: [0], T.Q5_0: [0], T.Q8_0: [0], T.Q4_1: [0, 2], T.Q5_1: [0, 2], T.Q2_K: [80, 82], T.Q3_K: [108],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0], T.MXFP4: []}
FLUX2 = dict(make_flux2.TRANSFORMER, num_layers=1, num_single_layers=1, attention_head_dim=64, num_attention_heads=4,
             joint_attention_dim=256, axes_dims_rope=(16, 16, 16, 16))
ROWS = 13  # that differ: files compress, and no slice of a weight begins with the first of them but the first


def blocks(rng, kind, rows, columns):
    """Any bits, at scales that make numbers of the size of 1 / sqrt(columns)."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (min(rows, ROWS), columns // block, size), dtype=np.uint8)

    def scaled(scale):
        for at in HALVES[kind]:
            raw[:, :, at:at + 2] = np.full(raw.shape[:2] + (1,), scale, "<f2").view(np.uint8)
        if kind == T.MXFP4:
            raw[:, :, 0] = 128 + round(math.log2(scale))
        return raw.reshape(len(raw), -1)

    size = gguf.quants.dequantize(scaled(1.0), kind)
    raw = scaled(1 / (math.sqrt(columns) * math.sqrt((size**2).mean())))
    return np.tile(raw, (-(-rows // ROWS), 1))[:rows]


def write(name, architecture, state, seed):
    """2-D weights in blocks of all types in turn; returns the numbers that they stand for."""
    rng, out = np.random.default_rng(seed), {}
    writer = gguf.GGUFWriter(os.path.join(FOLDER, name), architecture)
    wide, narrow = 0, 0
    for key, value in sorted(state.items()):
        value = value.float()
        if value.ndim == 2 and value.shape[1] % 32 == 0 and value.shape[0] > 1:
            if value.shape[1] % 256 == 0 and (wide + narrow) % 3:
                kind, wide = WIDE[wide % len(WIDE)], wide + 1
            else:
                kind, narrow = NARROW[narrow % len(NARROW)], narrow + 1
            raw = blocks(rng, kind, *value.shape)
            writer.add_tensor(key, raw, raw_dtype=kind)
            out[key] = torch.from_numpy(gguf.quants.dequantize(raw, kind).astype(np.float32))
        else:
            # The tokens that fill up are rows in some files, and numbers alone in others.
            out[key] = value
            writer.add_tensor(key, (value[0] if "pad_token" in key else value).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert wide >= len(WIDE) or name.startswith("zimage"), (wide, narrow)
    assert narrow >= len(NARROW), (wide, narrow)
    return out


def filled(model, state, convert):
    model.load_state_dict(convert({k: v.clone() for k, v in state.items()}))
    return model.eval()


def f8(name, path, kind):
    """A file whose numbers are exact in F8 in it: scaled as ComfyUI's are of 2024 and of 2025, or plain."""
    out = {}
    for key, value in load_file(path).items():
        if value.ndim != 2 or value.shape[0] == 1:
            out[key] = value
            continue
        # All numbers of a matrix are 1 or 3 times a power of two.
        scale = 2.0 ** math.floor(math.log2(value.float().abs().min().item()))
        if kind == "plain":
            out[key] = value.to(torch.float8_e5m2)
            assert torch.equal(out[key].float(), value.float()), key
            continue
        out[key] = (value.float() / scale).to(torch.float8_e4m3fn)
        assert torch.equal(out[key].float() * scale, value.float()), key
        stem = key.removesuffix(".weight")
        if kind == "scaled":
            out[stem + ".scale_weight"] = torch.tensor(scale)
            out[stem + ".scale_input"] = torch.tensor(1.0)
        else:
            out[stem + ".weight_scale"] = torch.tensor(scale)
            text = json.dumps({"format": "float8_e4m3fn"}).encode()
            out[stem + ".comfy_quant"] = torch.tensor(list(text), dtype=torch.uint8)
    if kind == "scaled":
        out["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    path = os.path.join(FOLDER, name)
    save_file({k: v.contiguous() for k, v in out.items()}, path)
    os.chmod(path, 0o644)


def main():
    torch.manual_seed(0)
    os.makedirs(FOLDER, exist_ok=True)
    out = {}
    with torch.no_grad():
        model = make_flux2.fill("wide", Flux2Transformer2DModel(**FLUX2))
        state = write("flux2.gguf", "flux", make_flux2.bfl(model.state_dict()), 1)
        model = filled(model, state, convert_flux2_transformer_checkpoint_to_diffusers)
        out["flux2.text"] = make_flux2.draw(1, 24, 256)
        out["flux2.x"] = make_flux2.draw(2, 1, 128, 4, 6)
        out["flux2.y"] = make_flux2.velocity(model, out["flux2.x"], out["flux2.text"][None], 0.7175)
        golden = load_file(os.path.join(make_zimage.FOLDER, "golden.safetensors"))
        state = load_file(os.path.join(make_zimage.FOLDER, "z_image_turbo.safetensors"))
        state = write("zimage.gguf", "lumina2", state, 2)
        model = filled(ZImageTransformer2DModel(**make_zimage.TRANSFORMER), state,
                       convert_z_image_transformer_checkpoint_to_diffusers)
        out["zimage.text"], out["zimage.x"] = golden["text33"], golden["8x12.x"]
        out["zimage.y"] = make_zimage.velocity(model, golden["8x12.x"], golden["text33"], 0.3)[0]
    path = os.path.join(FOLDER, "golden.safetensors")
    save_file({k: v.float().contiguous() for k, v in out.items()}, path)
    os.chmod(path, 0o644)
    for name, value in out.items():
        print(name, tuple(value.shape), value.std().item())
    f8("flux2-scaled.safetensors", os.path.join(make_flux2.FOLDER, "bfl.safetensors"), "scaled")
    f8("zimage-mixed.safetensors", os.path.join(make_zimage.FOLDER, "z_image_turbo.safetensors"), "mixed")
    f8("flux2-plain.safetensors", os.path.join(make_flux2.FOLDER, "bfl.safetensors"), "plain")


if __name__ == "__main__":
    main()
