"""Makes the LoRAs of Stable Diffusion 3 that merging is checked against (README.md, "flow_lora"), for the 3.5 medium of
make_sd3.py.

usage: make_sd3_lora.py      (needs the packages of requirements-flow.txt)

As make_flux1_lora.py: by diffusers' names, by PEFT's, and by those of Stability's files as ComfyUI's trainers and
kohya's scripts have them, where queries, keys and values are one weight.
"""

import os

import make_sd3
import torch
from diffusers import SD3Transformer2DModel
from make_flow_lora import FOLDER, adapted, factors, fused, write
from make_flux1 import fill
from make_flux1_lora import pairs
from safetensors.torch import load_file, save_file

ENDS = ("to_q to_k to_v to_out.0 add_q_proj add_k_proj add_v_proj to_add_out net.0.proj net.2 proj_out norm1.linear "
        "norm1_context.linear context_embedder norm_out.linear timestep_embedder.linear_1 text_embedder.linear_2").split()
STEMS = {
    "context_embedder": "context_embedder", "proj_out": "final_layer.linear",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
}
BLOCK = {
    "norm1.linear": "x_block.adaLN_modulation.1", "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.to_out.0": "x_block.attn.proj", "attn.to_add_out": "context_block.attn.proj",
    "attn2.to_out.0": "x_block.attn2.proj", "ff.net.0.proj": "x_block.mlp.fc1", "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1", "ff_context.net.2": "context_block.mlp.fc2",
}
FUSED = {
    "attn.to_q": ("x_block.attn.qkv", "attn.to_q attn.to_k attn.to_v"),
    "attn2.to_q": ("x_block.attn2.qkv", "attn2.to_q attn2.to_k attn2.to_v"),
    "attn.add_q_proj": ("context_block.attn.qkv", "attn.add_q_proj attn.add_k_proj attn.add_v_proj"),
}


def stability(loras):
    """By Stability's names."""
    out, last = {}, make_sd3.MEDIUM["num_layers"] - 1
    for name, (down, up) in loras.items():
        head, _, rest = name.partition(".")
        n, _, rest = rest.partition(".")
        swapped = torch.cat(up.chunk(2)[::-1])
        if name in STEMS:
            out[STEMS[name]] = down, up
        elif name == "norm_out.linear":
            out["final_layer.adaLN_modulation.1"] = down, swapped
        elif rest == "norm1_context.linear" and int(n) == last:
            out[f"joint_blocks.{n}.{BLOCK[rest]}"] = down, swapped
        elif rest in BLOCK:
            out[f"joint_blocks.{n}.{BLOCK[rest]}"] = down, up
        elif rest in FUSED:
            new, parts = FUSED[rest]
            out[f"joint_blocks.{n}.{new}"] = fused([loras[f"{head}.{n}.{k}"] for k in parts.split()])
    return out


def main():
    torch.manual_seed(0)
    golden = load_file(os.path.join(make_sd3.FOLDER, "golden.safetensors"))
    model = adapted(fill("transformer", SD3Transformer2DModel(**make_sd3.MEDIUM)), ENDS, 4)
    loras = factors(model)
    write("sd3-diffusers", pairs(loras, "transformer.", ".lora_A.weight", ".lora_B.weight"))
    write("sd3-peft", pairs(loras, "base_model.model.transformer.", ".lora_A.weight", ".lora_B.weight"))
    write("sd3-comfy", pairs(stability(loras), "diffusion_model.", ".lora_A.weight", ".lora_B.weight"))
    write("sd3-kohya", pairs(stability(loras), "lora_unet_", ".lora_down.weight", ".lora_up.weight", True))
    with torch.no_grad():
        said = make_sd3.velocity(model.base_model.model, golden["8x12.x"], golden["text"][None],
                                 golden["pooled"][None], 0.7175)
    path = os.path.join(FOLDER, "sd3-golden.safetensors")
    save_file({"sd3": said.float().contiguous()}, path)
    os.chmod(path, 0o644)
    print(tuple(said.shape), said.std().item())


if __name__ == "__main__":
    main()
