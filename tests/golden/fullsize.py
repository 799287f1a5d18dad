"""Makes a random-weight model of SD 1.5's size, and its golden tensors.

Not for CI: it takes minutes and 2.2 GB.

usage: fullsize.py FOLDER

FOLDER/full-ldm.safetensors   single-file layout, F16, 2.1 GB, written tensor by tensor
FOLDER/text.safetensors       NAME.ids, NAME.skip1, NAME.skip2 [77, 768] as for the tiny model
FOLDER/unet.safetensors       c77 [2, 77, 768], latent [2, 4, 64, 64], t999.eps, t500.5.eps (both
                              rows at that timestep); small.latent [1, 4, 24, 32],
                              small.t20.25.eps (row 0 of c77)
FOLDER/vae.safetensors        HxW.image, .mean, .scaled, .latent, .decoded for 256x256 and 512x512
FOLDER/index.txt              every tensor: file, name, shape, mean, std, float64 error

All golden tensors are F32, computed in float32 by diffusers and transformers; those of the text
encoder and the small UNet call in float64 too. An existing model file is kept.
"""

import os
import sys
import time

import torch
import torch.nn.functional as F

import sdmodel
from make_golden import SCALE, encode, noise, save, sequences

SEQUENCES = ("prompt", "empty", "full")


def component(path, name):
    """One component with its weights; the others stay without memory."""
    modules = sdmodel.FULL.modules("meta")
    module = modules[name].to_empty(device="cpu")
    # Buffers that are not weights (position ids) are lost with the meta device.
    for key, buffer in module.named_buffers():
        if key.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]).expand(buffer.shape))
    sdmodel.read_ldm(path, {name: module}, partial=True)
    return module


def text(path, folder):
    encoder = component(path, "text_encoder")
    ids = {k: v for k, v in sequences().items() if k in SEQUENCES}

    def run():
        out = {f"{k}.skip{n}": encode(encoder, [v], n)[0] for k, v in ids.items() for n in (1, 2)}
        return {**out, **{f"{k}.ids": torch.tensor(v) for k, v in ids.items()}}

    out = run()
    encoder.double()
    return out, save("text", out, run(), folder)


def unet(path, folder, context):
    model = component(path, "unet")
    x, small = noise(70, 2, 4, 64, 64), noise(71, 1, 4, 24, 32)
    out = {"c77": context, "latent": x, "small.latent": small}
    for t in (999.0, 500.5):
        start = time.monotonic()
        out[f"t{t:g}.eps"] = model(x, torch.tensor([t, t]), context).sample
        print(f"  UNet 64x64, batch 2: {time.monotonic() - start:.0f} s")
    when = torch.tensor([20.25])
    out["small.t20.25.eps"] = model(small, when, context[:1]).sample
    assert (out["t999.eps"] - out["t500.5.eps"]).norm() > 0.02 * out["t999.eps"].norm()
    model.double()
    double = model(small.double(), when.double(), context[:1].double()).sample
    return save("unet", out, {"small.t20.25.eps": double}, folder)


def vae(path, folder):
    model, out = component(path, "vae"), {}
    for i, side in enumerate((256, 512)):
        smooth = F.interpolate(noise(72 + i, 1, 3, 8, 8), size=(side, side), mode="bicubic")
        image = (0.5 * smooth + 0.05 * noise(74 + i, 1, 3, side, side)).clamp(-1, 1)
        z = SCALE * 4 * noise(76 + i, 1, 4, side // 8, side // 8)
        start = time.monotonic()
        mean = model.encode(image).latent_dist.mean
        encode_time = time.monotonic() - start
        decoded = model.decode(z / SCALE).sample
        decode_time = time.monotonic() - start - encode_time
        print(f"  VAE {side}x{side}: encode {encode_time:.0f} s, decode {decode_time:.0f} s")
        for name, t in [
            ("image", image),
            ("mean", mean),
            ("scaled", mean * SCALE),
            ("latent", z),
            ("decoded", decoded),
        ]:
            out[f"{side}x{side}.{name}"] = t
    return save("vae", out, None, folder)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "full-ldm.safetensors")
    if not os.path.exists(path):
        sdmodel.write_ldm(path + ".part", sdmodel.FULL.modules("meta"))
        os.rename(path + ".part", path)
    print(path, os.path.getsize(path), "bytes")
    with torch.no_grad():
        states, lines = text(path, folder)
        lines += unet(path, folder, torch.stack([states["prompt.skip1"], states["empty.skip1"]]))
        lines += vae(path, folder)
    with open(os.path.join(folder, "index.txt"), "w", encoding="ascii") as f:
        f.write("# file tensor shape mean std f64\n" + "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
