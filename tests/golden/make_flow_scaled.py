"""Makes the files of few bits with scales beside them that flow transformers are checked with (README.md,
"flow_scaled").

usage: make_flow_scaled.py     (needs the packages of requirements-flow.txt)

ComfyUI's formats in turn, one to a matrix, as its library comfy-kitchen writes them, and what diffusers' networks say
with the numbers that it makes of them again. FLUX.2 says each weight's format beside it, Z-Image in its metadata.
"""

import json
import os

import make_flux2
import make_zimage
import torch
from comfy_kitchen.tensor import TensorCoreMXFP8Layout, TensorCoreNVFP4Layout, TensorWiseINT8Layout
from diffusers import Flux2Transformer2DModel, ZImageTransformer2DModel
from diffusers.loaders.single_file_utils import (
    convert_flux2_transformer_checkpoint_to_diffusers,
    convert_z_image_transformer_checkpoint_to_diffusers,
)
from make_flow_blocks import FLUX2, ROWS, filled
from safetensors.torch import load_file, save_file

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flow_scaled")
KINDS = ["f8_rows", "int8", "convrot", "nvfp4", "int8_rows", "mxfp8", "f8_flat", "convrot"]


def numbers(name, rows, columns, gain):
    """Rows of different sizes, of which ROWS differ: files compress."""
    generator = torch.Generator().manual_seed(len(name) * 1000 + rows + columns)
    w = torch.randn(min(rows, ROWS), columns, generator=generator)
    w *= 2.0 ** torch.randint(-2, 3, (len(w), 1), generator=generator)
    w *= gain / w.square().mean().sqrt()
    return w.repeat(-(-rows // ROWS), 1)[:rows].contiguous()


def quantised(kind, w):
    """What lies beside "weight" and in it, the format, and the numbers that they stand for."""
    if kind.startswith("f8"):
        dtype = torch.float8_e4m3fn if kind == "f8_rows" else torch.float8_e5m2
        scale = w.abs().amax(1, keepdim=True) / torch.finfo(dtype).max
        q = (w / scale).to(dtype)
        return {"weight": q, "weight_scale": scale if kind == "f8_rows" else scale[:, 0].contiguous()}, {
            "format": "float8_e4m3fn" if kind == "f8_rows" else "float8_e5m2"}, q.float() * scale
    if kind == "nvfp4":
        q, p = TensorCoreNVFP4Layout.quantize(w)
        return {"weight": q, "weight_scale": p.block_scale, "weight_scale_2": p.scale}, {
            "format": "nvfp4"}, TensorCoreNVFP4Layout.dequantize(q, p)
    if kind == "mxfp8":
        q, p = TensorCoreMXFP8Layout.quantize(w)
        return {"weight": q, "weight_scale": p.scale.view(torch.uint8)}, {
            "format": "mxfp8"}, TensorCoreMXFP8Layout.dequantize(q, p)
    said = {"format": "int8_tensorwise"}
    if kind == "convrot":
        group = next(g for g in (256, 64, 16) if w.shape[1] % g == 0)
        q, p = TensorWiseINT8Layout.quantize(w, per_channel=True, convrot=True, convrot_groupsize=group)
        said |= {"convrot": True, "convrot_groupsize": group}
    else:
        q, p = TensorWiseINT8Layout.quantize(w, per_channel=kind == "int8_rows")
    return {"weight": q, "weight_scale": p.scale}, said, TensorWiseINT8Layout.dequantize(q, p)


def write(name, state, in_metadata):
    """Returns the numbers that the file stands for."""
    file, out, layers, n = {}, {}, {}, 0
    for key, value in sorted(state.items()):
        value = value.float()
        out[key] = value
        if value.ndim != 2 or value.shape[0] % 16 or value.shape[1] % 32 or "pad_token" in key:
            file[key] = value.to(torch.bfloat16) if value.ndim == 2 else value
            out[key] = file[key].float()
            continue
        stem = key.removesuffix(".weight")
        parts, said, out[key] = quantised(KINDS[n % len(KINDS)], numbers(key, *value.shape, value.square().mean().sqrt()))
        n += 1
        file.update({f"{stem}.{k}": v for k, v in parts.items()})
        layers[stem] = said
        if not in_metadata:
            text = json.dumps(said).encode()
            file[stem + ".comfy_quant"] = torch.tensor(list(text), dtype=torch.uint8)
    assert n >= len(KINDS), n
    text = json.dumps({"format_version": "1.0", "layers": layers})
    path = os.path.join(FOLDER, name)
    save_file({k: v.contiguous() for k, v in file.items()}, path,
              metadata={"_quantization_metadata": text} if in_metadata else None)
    os.chmod(path, 0o644)
    return {k: v.float() for k, v in out.items()}


def main():
    torch.manual_seed(0)
    os.makedirs(FOLDER, exist_ok=True)
    out = {}
    with torch.no_grad():
        model = make_flux2.fill("wide", Flux2Transformer2DModel(**FLUX2))
        state = write("flux2.safetensors", make_flux2.bfl(model.state_dict()), False)
        model = filled(model, state, convert_flux2_transformer_checkpoint_to_diffusers)
        out["flux2.text"] = make_flux2.draw(1, 24, 256)
        out["flux2.x"] = make_flux2.draw(2, 1, 128, 4, 6)
        out["flux2.y"] = make_flux2.velocity(model, out["flux2.x"], out["flux2.text"][None], 0.7175)
        golden = load_file(os.path.join(make_zimage.FOLDER, "golden.safetensors"))
        state = write("zimage.safetensors", load_file(os.path.join(make_zimage.FOLDER, "z_image_turbo.safetensors")), True)
        model = filled(ZImageTransformer2DModel(**make_zimage.TRANSFORMER), state,
                       convert_z_image_transformer_checkpoint_to_diffusers)
        out["zimage.text"], out["zimage.x"] = golden["text33"], golden["8x12.x"]
        out["zimage.y"] = make_zimage.velocity(model, golden["8x12.x"], golden["text33"], 0.3)[0]
    path = os.path.join(FOLDER, "golden.safetensors")
    save_file({k: v.float().contiguous() for k, v in out.items()}, path)
    os.chmod(path, 0o644)
    for name, value in out.items():
        print(name, tuple(value.shape), value.std().item())


if __name__ == "__main__":
    main()
