"""Makes the LoRAs that merging is checked against (README.md, "lora"), for the model of make_sdxl.py.

usage: make_lora.py           (needs the packages of requirements.txt, and peft)

What a model with a LoRA says is computed by PEFT's own layers around diffusers' and transformers'
networks, or by diffusers' own loader of foreign layouts: no weights are merged there.
"""

import os

import torch
from diffusers import StableDiffusionXLPipeline
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

import make_sdxl
from make_golden import save, sequences, webui_upsampling

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lora")
GOLDEN = load_file(os.path.join(make_sdxl.FOLDER, "golden.safetensors"))
RANK, ALPHA = 2, 3.0
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def networks():
    fill = make_sdxl.fill
    return (
        fill("text_encoder", make_sdxl.text_encoder(CLIPTextModel, "quick_gelu")),
        fill("text_encoder_2", make_sdxl.text_encoder(CLIPTextModelWithProjection, "gelu")),
        fill("unet", make_sdxl.network(2 * make_sdxl.WIDTH, 6)),
    )


def randomize(module, seed):
    """Small numbers, exact in F16, in every factor of an adapter; lengths of DoRA change by a tenth."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(module.named_parameters()):
            if "lora_magnitude" in name:
                p.mul_(0.9 + 0.2 * torch.rand(p.shape, generator=generator))
                p.copy_(p.half().float())
            elif "lora_" in name or "hada_" in name or "lokr_" in name:
                steps = torch.randint(-4, 5, p.shape, generator=generator)
                p.copy_(steps / (8.0 if "hada_" in name else 16.0 if "lokr_" in name else 32.0))
    return module


def unet_says(unet):
    context = torch.stack([GOLDEN["prompt.states"], GOLDEN["unicode.states"]])
    pooled = torch.stack([GOLDEN["prompt.pooled"], GOLDEN["unicode.pooled"]])
    ids = [make_sdxl.numbers(64, 64)] * 2
    t = torch.tensor([999.0, 999.0])
    return make_sdxl.ask(unet, GOLDEN["8x8.latent"], t, context, pooled, ids)


def write(name, tensors):
    path = os.path.join(FOLDER, name + ".safetensors")
    for key, value in tensors.items():
        assert torch.equal(value.half().float(), value.float()), key
    save_file({k: v.detach().half().contiguous() for k, v in tensors.items()}, path)
    os.chmod(path, 0o644)


def state(module, prefix):
    """What PEFT saves, as diffusers calls it."""
    return {
        prefix + k.removeprefix("base_model.model."): v.clone()
        for k, v in get_peft_model_state_dict(module).items()
    }


def with_alpha(tensors, alpha, last):
    """PEFT keeps alpha in a file of its own: kohya's layout has it beside each module's tensors."""
    modules = {k.rsplit(part, 1)[0] for k in tensors for part in last if part in k}
    return {**tensors, **{m + ".alpha": torch.tensor(alpha) for m in modules}}


def peft_layout(out):
    """Linear layers, convolutions and both text encoders in the layout of diffusers; alpha is the
    rank, as that layout has no alpha."""
    first, second, unet = networks()
    config = dict(r=RANK, lora_alpha=RANK)
    targets = ATTENTION + ["ff.net.0.proj", "ff.net.2", "conv1", "conv", "proj_in", "linear_1"]
    unet = randomize(get_peft_model(unet, LoraConfig(target_modules=targets, **config)), 1)
    first = randomize(get_peft_model(first, LoraConfig(target_modules=TEXT, **config)), 2)
    second = randomize(get_peft_model(second, LoraConfig(target_modules=TEXT, **config)), 3)
    tensors = {**state(unet, "unet."), **state(first, "text_encoder.")}
    tensors.update(state(second, "text_encoder_2."))
    write("peft", tensors)
    out["peft.unet"] = unet_says(unet)
    row = sequences()["prompt"]
    out["peft.states"], out["peft.pooled"] = make_sdxl.states(first, second, row)
    for name, p in unet.named_parameters():
        if "lora_B" in name:
            p.mul_(0.5)
    out["peft.half"] = unet_says(unet)


def kohya_layout(out):
    """kohya's layout with the single file's block names, read by diffusers' own converter."""
    tensors = {}
    generator = torch.Generator().manual_seed(4)
    unet = networks()[2]
    for key, weight in sorted(unet.state_dict().items()):
        module = key.removesuffix(".weight")
        if not key.endswith(".weight") or "attentions" not in key or weight.ndim != 2:
            continue
        flat = "lora_unet_" + make_sdxl.ldm_unet(key).removeprefix("model.diffusion_model.")
        flat = flat.removesuffix(".weight").replace(".", "_")
        for part, shape in (("down", (RANK, weight.shape[1])), ("up", (weight.shape[0], RANK))):
            steps = torch.randint(-4, 5, shape, generator=generator)
            tensors[f"{flat}.lora_{part}.weight"] = steps / 32.0
        tensors[flat + ".alpha"] = torch.tensor(ALPHA)
        assert module
    write("kohya", tensors)
    converted, alphas = StableDiffusionXLPipeline.lora_state_dict(
        dict(tensors), unet_config=unet.config
    )[:2]
    StableDiffusionXLPipeline.load_lora_into_unet(converted, alphas, unet)
    out["kohya.unet"] = unet_says(unet)


def dora(out):
    config = LoraConfig(r=RANK, lora_alpha=RANK, use_dora=True, target_modules=ATTENTION + ["conv2"])
    unet = randomize(get_peft_model(networks()[2], config), 5)
    write("dora", state(unet, "unet."))
    out["dora.unet"] = unet_says(unet)


def lycoris(out):
    """LoHa and LoKr, of linear layers and of 3x3 convolutions with a tensor in the middle."""
    targets = ["to_q", "to_k", "to_v", "conv1", "ff.net.0.proj"]
    for name, cls, seed, extra in (
        ("loha", LoHaConfig, 6, {}),
        ("lokr", LoKrConfig, 7, {"decompose_both": True, "decompose_factor": 4}),
        ("lokr_whole", LoKrConfig, 8, {"decompose_factor": -1}),
    ):
        rank = 64 if name == "lokr_whole" else RANK
        config = cls(
            r=rank, alpha=ALPHA, use_effective_conv2d=True, target_modules=targets, **extra
        )
        unet = randomize(get_peft_model(networks()[2], config), seed)
        tensors = state(unet, "lora_unet_")
        # kohya's form of the names.
        flat = {}
        for key, value in tensors.items():
            module, part = key.rsplit(".", 1)
            flat[module.replace(".", "_") + "." + part] = value
        parts = (".hada_", ".lokr_")
        if name == "lokr_whole":  # without factors LyCORIS has no scale; PEFT's is alpha / r
            for key in flat:
                if key.endswith("lokr_w1"):
                    flat[key] = flat[key] * ALPHA / rank
            write(name, {k: v.half().float() for k, v in flat.items()})
        else:
            write(name, with_alpha(flat, ALPHA, parts))
        out[name + ".unet"] = unet_says(unet)


def main():
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    os.makedirs(FOLDER, exist_ok=True)
    out = {}
    with torch.no_grad(), webui_upsampling():
        for make in (peft_layout, kohya_layout, dora, lycoris):
            make(out)
    plain = GOLDEN["8x8.t999"]
    for key, value in out.items():
        if value.shape == plain.shape:
            change = ((value - plain).norm() / plain.norm()).item()
            print(f"  {key} changes the UNet's answer by {change:.2f}")
            assert 0.02 < change < 2, key
    lines = save("golden", out, None, FOLDER)
    with open(os.path.join(FOLDER, "index.txt"), "w", encoding="ascii") as f:
        f.write("# file tensor shape mean std f64\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
