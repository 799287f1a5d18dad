"""Makes the tensors that Z-Image is checked against (README.md, "zimage").

usage: make_zimage.py          (needs the packages of requirements-flow.txt)

A small random Z-Image: its transformer and autoencoder (FLUX.1's) are diffusers', its text encoder is
transformers' Qwen3, that of FLUX.2's (make_flux2.py). Whole pictures are diffusers' ZImagePipeline's.
"""

import math
import os
import zlib

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    ZImageImg2ImgPipeline,
    ZImageInpaintPipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from diffusers.pipelines.z_image import pipeline_z_image_img2img, pipeline_z_image_inpaint
from make_flux2 import HEAD, QWEN, WIDTH, draw, fill, picture
from PIL import Image
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "zimage")
SEED = 17
TRANSFORMER = dict(
    in_channels=16,
    dim=96,
    n_layers=2,
    n_refiner_layers=1,
    n_heads=3,
    n_kv_heads=3,
    cap_feat_dim=WIDTH,
    axes_dims=[8, 12, 12],
    axes_lens=[256, 64, 64],
)
VAE = dict(
    block_out_channels=(32,) * 4,
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    layers_per_block=1,
    latent_channels=16,
    scaling_factor=0.3611,
    shift_factor=0.1159,
    use_quant_conv=False,
    use_post_quant_conv=False,
    mid_block_add_attention=True,
)
# "<|im_start|>user\na red apple<|im_end|>\n<|im_start|>assistant\n", and without words.
TAIL = [151645, 198, 151644, 77091, 198]
PROMPTS = {"apple": HEAD + [64, 2518, 23268] + TAIL, "empty": HEAD + TAIL}


def weight(name, shape):
    """Matrices of two bits a value, which compress; every value is exact in F16 and BF16."""
    rng = np.random.Generator(np.random.PCG64([SEED, zlib.crc32(name.encode())]))
    if len(shape) < 2 or shape[0] == 1:
        base = 1.0 if "norm" in name or "cap_embedder.0" in name else 0.0
        base = 0.0 if name.endswith("bias") else 2.0 if ".norm_q" in name or ".norm_k" in name else base
        return torch.from_numpy((base + rng.integers(-16, 17, size=shape) / 64).astype(np.float32))
    gain = 2.0 if "adaLN" in name else 1.0
    scale = 2.0 ** round(math.log2(gain / math.sqrt(5 * math.prod(shape[1:]))))
    return torch.from_numpy(((2 * rng.integers(0, 4, size=shape) - 3) * scale).astype(np.float32))


def fill_own(component, module):
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            tensor.copy_(weight(f"{component}.{key}", tuple(tensor.shape)))
    return module.eval()


def comfy(state):
    """A transformer as ComfyUI names its tensors."""
    out = {}
    for key, value in state.items():
        name = key.replace("all_x_embedder.2-1.", "x_embedder.").replace("all_final_layer.2-1.", "final_layer.")
        name = name.replace(".attention.to_out.0.", ".attention.out.")
        name = name.replace(".attention.norm_", ".attention.").replace("attention.q.", "attention.q_norm.")
        name = name.replace("attention.k.", "attention.k_norm.")
        if ".attention.to_" in name:
            if ".to_q." in name:
                parts = [state[key.replace("to_q", k)] for k in ("to_q", "to_k", "to_v")]
                out[name.replace("to_q", "qkv")] = torch.cat(parts)
            continue
        out[name] = value
    assert sum(v.numel() for v in out.values()) == sum(v.numel() for v in state.values())
    return out


def original(state):
    """FLUX.1's autoencoder as Black Forest Labs name its tensors (ae.safetensors)."""
    out = {}
    for key, value in state.items():
        parts = key.split(".")
        name = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        if parts[1] == "down_blocks":
            name = name.replace("down_blocks", "down").replace("resnets", "block")
            name = name.replace("downsamplers.0", "downsample")
        elif parts[1] == "up_blocks":
            name = name.replace(f"up_blocks.{parts[2]}", f"up.{3 - int(parts[2])}").replace("resnets", "block")
            name = name.replace("upsamplers.0", "upsample")
        elif parts[2] == "resnets":
            name = name.replace(f"mid_block.resnets.{parts[3]}", f"mid.block_{int(parts[3]) + 1}")
        elif parts[2] == "attentions":
            name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
            for a, b in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
                name = name.replace(a, b)
            if value.ndim == 2:
                value = value[:, :, None, None]
        out[name] = value
    return out


def write(path, state):
    path = os.path.join(FOLDER, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    assert all(torch.equal(v, v.half().float()) for v in state.values())
    save_file({k: v.half().contiguous().clone() for k, v in state.items()}, path)
    os.chmod(path, 0o644)


def states(qwen, ids):
    out = qwen(input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    return out.hidden_states[-2][0]


def velocity(model, x, text, t):
    """x [1, 16, h, w], text [tokens, width], and what the words became before the picture saw them."""
    said = []
    hook = model.context_refiner[-1].register_forward_hook(lambda _, __, out: said.append(out))
    y = model([x[0][:, None]], torch.tensor([1 - t]).to(x), [text], return_dict=False)[0]
    hook.remove()
    return -y[0][:, 0][None], said[0][0]


def pipeline_of(kind, transformer, vae, shift=3.0):
    p = kind(FlowMatchEulerDiscreteScheduler(shift=shift), vae, None, None, transformer)
    p.set_progress_bar_config(disable=True)
    return p


def run(p, prompt, negative, h, w, **kwargs):
    """Latents after every step, and the picture."""
    rows = []

    def note(_, i, t, kwargs):
        rows.append(kwargs["latents"][0])
        return kwargs

    out = p(
        prompt_embeds=[prompt],
        negative_prompt_embeds=[negative],
        height=8 * h,
        width=8 * w,
        output_type="pt",
        callback_on_step_end=note,
        **kwargs,
    ).images
    return torch.stack(rows), out[0]


def encoded(vae, image):
    x = torch.from_numpy(image).permute(2, 0, 1)[None].to(next(vae.parameters()).dtype) / 127.5 - 1
    return (vae.encode(x).latent_dist.mode() - vae.config.shift_factor) * vae.config.scaling_factor


def tensors(qwen, transformer, vae, dtype):
    for module in (qwen, transformer, vae):
        module.to(dtype)
    out = {}
    text = {name: states(qwen, ids) for name, ids in PROMPTS.items()}
    for name, value in text.items():
        out[f"{name}.states"] = value
    for n in (1, 31, 32, 33):
        out[f"text{n}"] = draw(n, n, WIDTH).to(dtype)
    for h, w, n in ((8, 12, 33), (8, 16, 32), (6, 10, 1), (2, 2, 31)):
        x = draw(10 * h + w, 1, 16, h, w).to(dtype)
        out[f"{h}x{w}.x"] = x
        for t in (1.0, 0.3):
            out[f"{h}x{w}.t{t:g}"], out[f"text{n}.said"] = velocity(transformer, x, out[f"text{n}"], t)
    first = picture(1, 96, 64)
    out["first"] = torch.from_numpy(first).permute(2, 0, 1)[None].float()
    out["first.latent"] = encoded(vae, first)
    out["first.decoded"] = vae.decode(out["first.latent"] / vae.config.scaling_factor + vae.config.shift_factor).sample
    noise = draw(7, 1, 16, 8, 12).to(dtype)
    out["noise"] = noise
    mode = lambda encoding, generator=None, sample_mode=None: encoding.latent_dist.mode()
    pipeline_z_image_img2img.retrieve_latents = mode
    pipeline_z_image_inpaint.retrieve_latents = mode
    again = lambda *_, **__: noise.clone()
    pipeline_z_image_img2img.randn_tensor = again
    pipeline_z_image_inpaint.randn_tensor = again
    mask = np.zeros((64, 96), np.uint8)
    mask[:, :32] = 255
    shown = dict(image=Image.fromarray(first), num_inference_steps=8, strength=0.75, guidance_scale=0.0)
    for name, kind, kwargs in (
        ("turbo", ZImagePipeline, dict(latents=noise.clone(), num_inference_steps=8, guidance_scale=0.0)),
        ("base", ZImagePipeline, dict(latents=noise.clone(), num_inference_steps=6, guidance_scale=1.0)),
        ("over", ZImageImg2ImgPipeline, shown),
        ("part", ZImageInpaintPipeline, dict(shown, mask_image=Image.fromarray(mask))),
    ):
        p = pipeline_of(kind, transformer, vae, 6.0 if name == "base" else 3.0)
        out[f"{name}.latents"], image = run(p, text["apple"], text["empty"], 8, 12, **kwargs)
        out[f"{name}.picture"] = image[None]
    return out


def main():
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    transformer = fill_own("transformer", ZImageTransformer2DModel(**TRANSFORMER))
    vae = fill_own("vae", AutoencoderKL(**VAE))
    qwen = fill("qwen", Qwen3ForCausalLM(Qwen3Config(**QWEN)))
    state = transformer.state_dict()
    write("transformer/diffusion_pytorch_model.safetensors", state)
    write("z_image_turbo.safetensors", comfy(state))
    write("vae/diffusion_pytorch_model.safetensors", vae.state_dict())
    write("ae.safetensors", original(vae.state_dict()))
    with torch.no_grad():
        single = tensors(qwen, transformer, vae, torch.float32)
        double = tensors(qwen, transformer, vae, torch.float64)
    lines = []
    for name, value in single.items():
        error = ((value - double[name]).norm() / double[name].norm()).item()
        shape = ",".join(map(str, value.shape))
        lines.append(f"{name} {shape} {value.mean():.4g} {value.std():.4g} {error:.1e}")
    path = os.path.join(FOLDER, "golden.safetensors")
    save_file({k: v.float().contiguous() for k, v in single.items()}, path)
    os.chmod(path, 0o644)
    with open(os.path.join(FOLDER, "index.txt"), "w", encoding="ascii") as f:
        f.write("# tensor shape mean std f64\n" + "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
