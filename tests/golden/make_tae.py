"""Makes the tiny autoencoder that the engine's is checked against (README.md, "tae").

usage: make_tae.py            (needs the packages of requirements.txt)

A random, narrow AutoencoderTiny of diffusers and what it says.
"""

import os

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

import make_sd2
from make_golden import noise, save

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tae")
WIDTH = 32


def network():
    return AutoencoderTiny(
        encoder_block_out_channels=(WIDTH,) * 4,
        decoder_block_out_channels=(WIDTH,) * 4,
    ).eval()


def fill(module):
    """Weights that keep sizes; a block adds little to what passes it."""
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            value = make_sd2.weight("tae", key, tuple(tensor.shape))
            tensor.copy_(value / 4 if ".conv.4." in key else value)
    return module


def tensors(module):
    dtype = next(module.parameters()).dtype
    out = {}
    for h, w in ((8, 8), (5, 12)):
        latent = noise(100 + h, 1, 4, h, w).to(dtype) * 2
        image = torch.tanh(noise(110 + h, 1, 3, 8 * h, 8 * w).to(dtype))
        out[f"{h}x{w}.latent"] = latent
        out[f"{h}x{w}.decoded"] = module.decode(latent).sample
        out[f"{h}x{w}.image"] = image
        out[f"{h}x{w}.encoded"] = module.encode(image).latents
    return out


def main():
    os.makedirs(FOLDER, exist_ok=True)
    module = fill(network())
    weights = os.path.join(FOLDER, "weights.safetensors")
    state = module.state_dict()
    assert all(torch.equal(v, v.half().float()) for v in state.values())
    save_file({k: v.half().contiguous() for k, v in state.items()}, weights)
    os.chmod(weights, 0o644)
    with torch.no_grad():
        lines = save("golden", tensors(module), tensors(module.double()), FOLDER)
    with open(os.path.join(FOLDER, "index.txt"), "w", encoding="ascii") as f:
        f.write("# file tensor shape mean std f64\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
