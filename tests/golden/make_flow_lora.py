"""Makes the LoRAs of flow transformers that merging is checked against (README.md, "flow_lora"), for the models of
make_flux2.py and make_zimage.py.

usage: make_flow_lora.py       (needs the packages of requirements-flow.txt)

What a transformer with a LoRA says is computed by PEFT's own layers around diffusers' network. The same factors
are written by diffusers' names, and by those of single files as ComfyUI's trainers and kohya's scripts have them,
where queries, keys and values are one weight: diffusers' own converters have to make the first of these.
"""

import os

import make_flux2
import make_zimage
import torch
from diffusers import Flux2Transformer2DModel, ZImageTransformer2DModel
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_flux2_lora_to_diffusers,
    _convert_non_diffusers_z_image_lora_to_diffusers,
)
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flow_lora")
RANK, ALPHA = 2, 3.0
FLUX2 = ("to_q to_k to_v to_out.0 add_q_proj add_k_proj add_v_proj to_add_out linear_in linear_out to_qkv_mlp_proj "
         "attn.to_out x_embedder context_embedder norm_out.linear double_stream_modulation_img.linear").split()
ZIMAGE = "to_q to_k to_v to_out.0 w1 w2 w3 adaLN_modulation.0 cap_embedder.1 all_x_embedder.2-1".split()
FLUX2_NAMES = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "double_stream_modulation_img.linear": "double_stream_modulation_img.lin",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.linear_in": "img_mlp.0",
    "ff.linear_out": "img_mlp.2",
    "ff_context.linear_in": "txt_mlp.0",
    "ff_context.linear_out": "txt_mlp.2",
}


def randomize(module, seed):
    """Small numbers, exact in F16, in every factor."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(module.named_parameters()):
            if "lora_" in name:
                p.copy_(torch.randint(-4, 5, p.shape, generator=generator) / 32.0)
    return module.eval()


def adapted(model, ends, seed):
    targets = [name for name, module in model.named_modules()
               if isinstance(module, torch.nn.Linear) and any(f".{name}".endswith("." + end) for end in ends)]
    return randomize(get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets)), seed)


def factors(module):
    """By diffusers' names: module -> (down, up), scaled as PEFT scales them."""
    out = {}
    for key, value in get_peft_model_state_dict(module).items():
        name, _, part = key.removeprefix("base_model.model.").rpartition(".lora_")
        out.setdefault(name, {})[part[0]] = value.clone()
    return {name: (v["A"], v["B"]) for name, v in out.items()}


def fused(parts):
    """Three LoRAs of the rows of one weight as one of three times the rank."""
    down = torch.cat([a for a, _ in parts])
    return down, torch.block_diag(*[b for _, b in parts])


def single(loras, kind):
    """By the names of single files."""
    out = {}
    for name, (down, up) in loras.items():
        head, n, rest = name.split(".", 2) if name.count(".") > 1 else ("", "", name)
        if kind == "zimage":
            new = name.replace("all_x_embedder.2-1", "x_embedder").replace("to_out.0", "out")
            if ".to_" in new:
                if new.endswith("to_q"):
                    out[new.replace("to_q", "qkv")] = fused([loras[name.replace("to_q", f"to_{k}")] for k in "qkv"])
                continue
        elif head == "single_transformer_blocks":
            new = f"single_blocks.{n}." + ("linear1" if "qkv" in rest else "linear2")
        elif rest in ("attn.to_q", "attn.add_q_proj"):
            names = [name.replace("_q", f"_{k}") for k in "qkv"]
            side = "img" if "to_q" in rest else "txt"
            out[f"double_blocks.{n}.{side}_attn.qkv"] = fused([loras[k] for k in names])
            continue
        elif rest.startswith("attn.to_k") or rest.startswith("attn.to_v") or "add_k" in rest or "add_v" in rest:
            continue
        elif name == "norm_out.linear":
            a, b = up.chunk(2)
            out["final_layer.adaLN_modulation.1"] = (down, torch.cat([b, a]))
            continue
        else:
            new = FLUX2_NAMES[rest if head else name]
            new = f"double_blocks.{n}.{new}" if head else new
        out[new] = (down, up)
    return out


def write(name, tensors):
    for key, value in tensors.items():
        assert torch.equal(value.half().float(), value.float()), key
    path = os.path.join(FOLDER, name + ".safetensors")
    save_file({k: v.detach().half().contiguous() for k, v in tensors.items()}, path)
    os.chmod(path, 0o644)


def layouts(kind, loras):
    def pairs(loras, start, down, up, flat=False):
        out = {}
        for name, (a, b) in loras.items():
            name = start + (name.replace(".", "_") if flat else name)
            out[name + down], out[name + up] = a, b
            # The fused ones have three times the rank, and are to be scaled as the three were.
            out[name + ".alpha"] = torch.tensor(ALPHA * a.shape[0] / RANK)
        return out

    write(f"{kind}-diffusers", pairs(loras, "transformer.", ".lora_A.weight", ".lora_B.weight"))
    write(f"{kind}-comfy", pairs(single(loras, kind), "diffusion_model.", ".lora_A.weight", ".lora_B.weight"))
    write(f"{kind}-kohya", pairs(single(loras, kind), "lora_unet_", ".lora_down.weight", ".lora_up.weight", True))


def same_by_diffusers(kind, loras):
    """What diffusers makes of the single files' names is what was trained."""
    if kind == "zimage":
        # It knows the fused ones by dots alone.
        state = {k.replace("lora_down", "lora.down").replace("lora_up", "lora.up"): v
                 for k, v in load_file(os.path.join(FOLDER, "zimage-kohya.safetensors")).items()
                 if "embedder" not in k and "adaLN" not in k and "feed_forward" not in k}
        found = _convert_non_diffusers_z_image_lora_to_diffusers(state)
    else:
        state = {k: v for k, v in load_file(os.path.join(FOLDER, "flux2-comfy.safetensors")).items()
                 if "final_layer" not in k and not k.endswith(".alpha")}
        found = _convert_non_diffusers_flux2_lora_to_diffusers(state)
    checked = 0
    for key, up in found.items():
        if key.endswith(".lora_B.weight"):
            name = key.removeprefix("transformer.").removesuffix(".lora_B.weight")
            product = up.float() @ found[key.replace("lora_B", "lora_A")].float()
            a, b = loras[name]
            want = b @ a * (ALPHA / RANK if kind == "zimage" else 1)
            assert torch.allclose(product, want, atol=1e-3), name
            checked += 1
    print(kind, "by diffusers:", checked)


def main():
    torch.manual_seed(0)
    os.makedirs(FOLDER, exist_ok=True)
    out = {}
    golden = load_file(os.path.join(make_flux2.FOLDER, "golden.safetensors"))
    model = make_flux2.fill("transformer", Flux2Transformer2DModel(**make_flux2.TRANSFORMER))
    model = adapted(model, FLUX2, 1)
    loras = factors(model)
    layouts("flux2", loras)
    same_by_diffusers("flux2", loras)
    with torch.no_grad():
        out["flux2"] = make_flux2.velocity(model, golden["4x6.x"], golden["text"][None], 0.7175)
    golden = load_file(os.path.join(make_zimage.FOLDER, "golden.safetensors"))
    model = make_zimage.fill_own("transformer", ZImageTransformer2DModel(**make_zimage.TRANSFORMER))
    model = adapted(model, ZIMAGE, 2)
    loras = factors(model)
    layouts("zimage", loras)
    same_by_diffusers("zimage", loras)
    with torch.no_grad():
        out["zimage"] = make_zimage.velocity(model.base_model.model, golden["8x12.x"], golden["text33"], 0.3)[0]
    path = os.path.join(FOLDER, "golden.safetensors")
    save_file({k: v.float().contiguous() for k, v in out.items()}, path)
    os.chmod(path, 0o644)
    for name, value in out.items():
        print(name, tuple(value.shape), value.std().item())


if __name__ == "__main__":
    main()
