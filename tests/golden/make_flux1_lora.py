"""Makes the LoRAs of FLUX.1 that merging is checked against (README.md, "flow_lora"), for the model of make_flux1.py.

usage: make_flux1_lora.py      (needs the packages of requirements-flow.txt)

As make_flow_lora.py; `peft` has the names that PEFT itself writes. (Diffusers' converter knows FLUX.1 at its own
width alone.)
"""

import os

import make_flux1
import torch
from diffusers import FluxTransformer2DModel
from make_flow_lora import ALPHA, FOLDER, RANK, adapted, factors, fused, write
from safetensors.torch import load_file, save_file

ENDS = ("to_q to_k to_v to_out.0 add_q_proj add_k_proj add_v_proj to_add_out net.0.proj net.2 proj_mlp proj_out "
        "norm.linear norm1.linear norm1_context.linear x_embedder context_embedder norm_out.linear").split()
STEMS = {"x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear"}
DOUBLE = {
    "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin", "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj", "ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2",
}
SINGLE = {"norm.linear": "modulation.lin", "proj_out": "linear2"}


def bfl(loras):
    """By Black Forest Labs' names."""
    out = {}
    for name, (down, up) in loras.items():
        head, _, rest = name.partition(".")
        n, _, rest = rest.partition(".")
        get = lambda names: fused([loras[f"{head}.{n}.{k}"] for k in names])
        if name in STEMS:
            out[STEMS[name]] = down, up
        elif name == "norm_out.linear":
            out["final_layer.adaLN_modulation.1"] = down, torch.cat(up.chunk(2)[::-1])
        elif head == "transformer_blocks" and rest in DOUBLE:
            out[f"double_blocks.{n}.{DOUBLE[rest]}"] = down, up
        elif head == "transformer_blocks" and rest == "attn.to_q":
            out[f"double_blocks.{n}.img_attn.qkv"] = get(("attn.to_q", "attn.to_k", "attn.to_v"))
        elif head == "transformer_blocks" and rest == "attn.add_q_proj":
            out[f"double_blocks.{n}.txt_attn.qkv"] = get(("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"))
        elif head == "single_transformer_blocks" and rest in SINGLE:
            out[f"single_blocks.{n}.{SINGLE[rest]}"] = down, up
        elif head == "single_transformer_blocks" and rest == "attn.to_q":
            out[f"single_blocks.{n}.linear1"] = get(("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"))
    return out


def pairs(loras, start, down, up, flat=False):
    out = {}
    for name, (a, b) in loras.items():
        name = start + (name.replace(".", "_") if flat else name)
        out[name + down], out[name + up] = a, b
        # The fused ones have three or four times the rank, and are to be scaled as they were apart.
        out[name + ".alpha"] = torch.tensor(ALPHA * a.shape[0] / RANK)
    return out


def main():
    torch.manual_seed(0)
    golden = load_file(os.path.join(make_flux1.FOLDER, "golden.safetensors"))
    model = make_flux1.fill("transformer", FluxTransformer2DModel(**make_flux1.TRANSFORMER))
    model = adapted(model, ENDS, 3)
    loras = factors(model)
    write("flux1-diffusers", pairs(loras, "transformer.", ".lora_A.weight", ".lora_B.weight"))
    write("flux1-peft", pairs(loras, "base_model.model.transformer.", ".lora_A.weight", ".lora_B.weight"))
    write("flux1-comfy", pairs(bfl(loras), "diffusion_model.", ".lora_A.weight", ".lora_B.weight"))
    write("flux1-kohya", pairs(bfl(loras), "lora_unet_", ".lora_down.weight", ".lora_up.weight", True))
    with torch.no_grad():
        said = make_flux1.velocity(model.base_model.model, golden["8x12.x"], golden["text"][None],
                                   golden["pooled"][None], 0.7175, 3.5)
    path = os.path.join(FOLDER, "flux1-golden.safetensors")
    save_file({"flux1": said.float().contiguous()}, path)
    os.chmod(path, 0o644)
    print(tuple(said.shape), said.std().item())


if __name__ == "__main__":
    main()
