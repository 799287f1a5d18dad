"""Makes random-weight files of SDXL's size: a checkpoint, a LoRA for it, and a ControlNet.

Not for CI: it takes minutes, 13 GB of disk and 9 GB of memory.

usage: fullsize_sdxl.py FOLDER

FOLDER/sdxl.safetensors           single-file layout, F16, 6.9 GB
FOLDER/sdxl-lora.safetensors      kohya's layout, rank 32, of every linear layer of the transformers
FOLDER/sdxl-control.safetensors   a ControlNet, diffusers' layout, F16

What is there already is kept. `modules` and `read` are for who opens such a checkpoint with
diffusers and transformers.
"""

import os
import sys
import zlib

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import openclip
import sdmodel

RANK = 32


def text_config(width, layers, heads, act):
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=4 * width, projection_dim=1280,
        num_hidden_layers=layers, num_attention_heads=heads, max_position_embeddings=77,
        hidden_act=act, layer_norm_eps=1e-5, bos_token_id=49406, eos_token_id=49407,
    )
    config._attn_implementation = "sdpa"
    return config


UNET = dict(
    sample_size=128, in_channels=4, out_channels=4, block_out_channels=(320, 640, 1280),
    down_block_types=["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2,
    up_block_types=["CrossAttnUpBlock2D"] * 2 + ["UpBlock2D"],
    layers_per_block=2, transformer_layers_per_block=(1, 2, 10), attention_head_dim=[5, 10, 20],
    cross_attention_dim=2048, use_linear_projection=True, addition_embed_type="text_time",
    addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816, norm_num_groups=32,
)


def modules():
    """The four modules without memory."""
    with torch.device("meta"):
        return {
            "text_encoder": CLIPTextModel(text_config(768, 12, 12, "quick_gelu")).eval(),
            "text_encoder_2": CLIPTextModelWithProjection(text_config(1280, 32, 20, "gelu")).eval(),
            "unet": UNet2DConditionModel(**UNET).eval(),
            "vae": AutoencoderKL(**{**sdmodel.FULL.vae, "scaling_factor": 0.13025}).eval(),
        }


def place(component, key):
    """(name in the single file, which third of it, "turned" or None)."""
    if component == "text_encoder":
        return openclip.ldm_first(key)
    if component == "text_encoder_2":
        return openclip.ldm_second(key)
    if component == "vae":
        return sdmodel.ldm_name("vae", key), None
    for a, b in (("linear_1", "0"), ("linear_2", "2")):
        key = key.replace("add_embedding." + a, "label_emb.0." + b)
    inner = key if key.startswith("label_emb") else sdmodel.ldm_unet(key, bare_levels=())
    return "model.diffusion_model." + inner, None


def value(component, key, shape):
    """float16, each tensor by its own name; about the sizes that keep activations near one."""
    if sdmodel.is_norm(key):
        return torch.full(shape, float(key.endswith(".weight")), dtype=torch.float16)
    seed = torch.Generator().manual_seed(zlib.crc32(f"{component}.{key}".encode()))
    scale = 0.1 if len(shape) < 2 or key.endswith("embedding.weight") else shape[1:].numel() ** -0.5
    return (torch.randn(shape, generator=seed) * scale).half()


def weights(module):
    return [(k, t) for k, t in module.state_dict().items() if t.is_floating_point()]


def write_checkpoint(path):
    out, thirds = {}, {}
    for component, module in modules().items():
        for key, t in weights(module):
            name, third = place(component, key)
            made = value(component, key, t.shape)
            if third == "turned":
                out[name] = made.T.contiguous()
            elif third is not None:
                thirds.setdefault(name, [None] * 3)[third] = made
            else:
                out[name] = made.reshape(sdmodel.ldm_shape(component, key, t.shape))
    out.update({name: torch.cat(parts) for name, parts in thirds.items()})
    save_file(out, path, {"format": "pt"})


def read(path, dtype):
    """The modules with the file's weights, in `dtype`."""
    made = modules()
    with safe_open(path, "pt") as f, torch.no_grad():
        for component, module in made.items():
            module.to(dtype).to_empty(device="cpu")
            for key, buffer in module.named_buffers():
                if key.endswith("position_ids"):
                    buffer.copy_(torch.arange(buffer.shape[-1]).expand(buffer.shape))
            for key, t in weights(module):
                name, third = place(component, key)
                found = f.get_tensor(name)
                found = found.T if third == "turned" else found
                t.copy_((found if third in (None, "turned") else found.chunk(3)[third]).reshape(t.shape))
    return made


def write_lora(path):
    out = {}
    for key, t in weights(modules()["unet"]):
        if ".attentions." not in key or t.ndim != 2 or not key.endswith(".weight"):
            continue
        name = "lora_unet_" + key.removesuffix(".weight").replace(".", "_")
        out[name + ".lora_down.weight"] = value("lora.down", key, torch.Size([RANK, t.shape[1]]))
        out[name + ".lora_up.weight"] = value("lora.up", key, torch.Size([t.shape[0], RANK])) / 10
        out[name + ".alpha"] = torch.tensor(float(RANK))
    save_file(out, path, {"ss_network_dim": str(RANK), "ss_network_module": "networks.lora"})


def write_control(path):
    with torch.device("meta"):
        net = ControlNetModel.from_unet(modules()["unet"], load_weights_from_unet=False)
    save_file({k: value("control", k, t.shape) for k, t in weights(net)}, path, {"format": "pt"})


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, write in (
        ("sdxl", write_checkpoint),
        ("sdxl-lora", write_lora),
        ("sdxl-control", write_control),
    ):
        path = os.path.join(sys.argv[1], name + ".safetensors")
        if not os.path.exists(path):
            write(path + ".part")
            os.rename(path + ".part", path)
        print(path, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
