"""Makes a random-weight file of SD 2.1's size.

Not for CI: it takes minutes, 2.6 GB of disk and 6 GB of memory.

usage: fullsize_sd2.py FOLDER

FOLDER/sd2.safetensors  single-file layout, F16, 2.6 GB, with a tensor `v_pred`
"""

import os
import sys

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

import make_sd2
import sdmodel

UNET = dict(
    sample_size=96, in_channels=4, out_channels=4, block_out_channels=(320, 640, 1280, 1280),
    down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3, layers_per_block=2,
    attention_head_dim=[5, 10, 20, 20], cross_attention_dim=1024, use_linear_projection=True,
)
TEXT = dict(
    vocab_size=49408, hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
    num_attention_heads=16, max_position_embeddings=77, hidden_act="gelu",
)


def ldm_unet(key):
    return "model.diffusion_model." + sdmodel.ldm_unet(key)


def main(folder):
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float16)
    make_sd2.ldm_unet = ldm_unet  # of as many levels and blocks as SD 1.5 has
    make_sd2.WIDTH = TEXT["hidden_size"]
    unet = UNet2DConditionModel(**UNET)
    out = make_sd2.single_file(CLIPTextModel(CLIPTextConfig(**TEXT)), unet)
    vae = AutoencoderKL(**sdmodel.FULL.vae).state_dict()
    for key, value in vae.items():
        shape = sdmodel.ldm_shape("vae", key, value.shape)
        out[sdmodel.ldm_name("vae", key)] = value.reshape(shape)
    out["v_pred"] = torch.zeros(1)
    save_file({k: v.half().contiguous() for k, v in out.items()}, os.path.join(folder, "sd2.safetensors"))


if __name__ == "__main__":
    with torch.no_grad():
        main(sys.argv[1])
