"""Makes the tensors that FLUX.2 is checked against (README.md, "flux2").

usage: make_flux2.py          (needs the packages of requirements-flow.txt)

A small random FLUX.2 [klein]: its transformer and autoencoder are diffusers', its text encoder is
transformers' Qwen3. Whole pictures are diffusers' Flux2KleinPipeline's. `dev` is a transformer that
is told its guidance.
"""

import json
import math
import os
import zlib

import numpy as np
import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from PIL import Image
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flux2")
SEED = 16
VOCABULARY, WIDTH, TOKENS = 151936, 32, 512
TRANSFORMER = dict(
    patch_size=1,
    in_channels=128,
    num_layers=2,
    num_single_layers=2,
    attention_head_dim=16,
    num_attention_heads=2,
    joint_attention_dim=3 * WIDTH,
    timestep_guidance_channels=256,
    mlp_ratio=3.0,
    axes_dims_rope=(4, 4, 4, 4),
    rope_theta=2000,
    guidance_embeds=False,
)
DEV = dict(TRANSFORMER, num_layers=1, num_single_layers=1, guidance_embeds=True)
VAE = dict(block_out_channels=(32, 32, 32, 32), layers_per_block=1, latent_channels=32)
QWEN = dict(
    vocab_size=VOCABULARY,
    hidden_size=WIDTH,
    intermediate_size=64,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=4096,
    rope_parameters={"rope_type": "default", "rope_theta": 1000000},
    rms_norm_eps=1e-6,
    tie_word_embeddings=True,
)
LAYERS = (1, 2, 3)
# "<|im_start|>user\na red apple<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", and
# without words.
HEAD, TAIL = [151644, 872, 198], [151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271]
PROMPTS = {"apple": HEAD + [64, 2518, 23268] + TAIL, "empty": HEAD + TAIL}
PAD = 151643


def weight(name, shape):
    """Matrices of two bits a value, which compress; every value is exact in F16 and BF16."""
    rng = np.random.Generator(np.random.PCG64([SEED, zlib.crc32(name.encode())]))
    if name.endswith("running_var"):
        return torch.from_numpy((0.5 + rng.integers(0, 64, size=shape) / 64).astype(np.float32))
    if name.endswith("running_mean"):
        return torch.from_numpy((rng.integers(-16, 17, size=shape) / 64).astype(np.float32))
    if len(shape) < 2:
        # Sharp attention, so that every key counts: the head norms of the transformer are twice.
        base = 0.0 if name.endswith("bias") else 2.0 if ".attn.norm_" in name else 1.0
        return torch.from_numpy((base + rng.integers(-16, 17, size=shape) / 64).astype(np.float32))
    gain = 1.0
    if "transformer." in name or "dev." in name:
        gain = 2.0 if "to_out" in name or "to_add_out" in name or "modulation" in name else 1.0
    scale = 2.0 ** round(math.log2(gain / math.sqrt(5 * math.prod(shape[1:]))))
    return torch.from_numpy(((2 * rng.integers(0, 4, size=shape) - 3) * scale).astype(np.float32))


def table():
    """The table of tokens, which is in no file: numbers of a formula."""
    i = np.arange(VOCABULARY, dtype=np.int64)[:, None]
    k = np.arange(WIDTH, dtype=np.int64)[None, :]
    return torch.from_numpy((((i * 7 + k * 13 + i * k) % 61 - 30) / 32).astype(np.float32))


def fill(component, module):
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if key == "model.embed_tokens.weight":
                tensor.copy_(table())
            elif tensor.is_floating_point() and key != "lm_head.weight":
                tensor.copy_(weight(f"{component}.{key}", tuple(tensor.shape)))
    return module.eval()


def bfl(state):
    """A transformer as Black Forest Labs name its tensors."""
    simple = {
        "x_embedder": "img_in",
        "context_embedder": "txt_in",
        "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
        "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
        "time_guidance_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
        "time_guidance_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
        "double_stream_modulation_img.linear": "double_stream_modulation_img.lin",
        "double_stream_modulation_txt.linear": "double_stream_modulation_txt.lin",
        "single_stream_modulation.linear": "single_stream_modulation.lin",
        "proj_out": "final_layer.linear",
    }
    double = {
        "attn.norm_q.weight": "img_attn.norm.query_norm.scale",
        "attn.norm_k.weight": "img_attn.norm.key_norm.scale",
        "attn.norm_added_q.weight": "txt_attn.norm.query_norm.scale",
        "attn.norm_added_k.weight": "txt_attn.norm.key_norm.scale",
        "attn.to_out.0.weight": "img_attn.proj.weight",
        "attn.to_add_out.weight": "txt_attn.proj.weight",
        "ff.linear_in.weight": "img_mlp.0.weight",
        "ff.linear_out.weight": "img_mlp.2.weight",
        "ff_context.linear_in.weight": "txt_mlp.0.weight",
        "ff_context.linear_out.weight": "txt_mlp.2.weight",
    }
    single = {
        "attn.norm_q.weight": "norm.query_norm.scale",
        "attn.norm_k.weight": "norm.key_norm.scale",
        "attn.to_qkv_mlp_proj.weight": "linear1.weight",
        "attn.to_out.weight": "linear2.weight",
    }
    out = {f"{new}.weight": state[f"{old}.weight"] for old, new in simple.items() if f"{old}.weight" in state}
    scale, shift = state["norm_out.linear.weight"].chunk(2)
    out["final_layer.adaLN_modulation.1.weight"] = torch.cat([shift, scale])
    for key, value in state.items():
        kind, _, rest = key.partition(".")
        n, _, rest = rest.partition(".")
        if kind == "transformer_blocks" and rest in double:
            out[f"double_blocks.{n}.{double[rest]}"] = value
        elif kind == "transformer_blocks" and rest in ("attn.to_q.weight", "attn.add_q_proj.weight"):
            names = ("to_q", "to_k", "to_v") if "to_q" in rest else ("add_q_proj", "add_k_proj", "add_v_proj")
            side = "img" if "to_q" in rest else "txt"
            parts = [state[f"transformer_blocks.{n}.attn.{k}.weight"] for k in names]
            out[f"double_blocks.{n}.{side}_attn.qkv.weight"] = torch.cat(parts)
        elif kind == "single_transformer_blocks":
            out[f"single_blocks.{n}.{single[rest]}"] = value
    assert sum(v.numel() for v in out.values()) == sum(v.numel() for v in state.values())
    return out


def write(path, state):
    path = os.path.join(FOLDER, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    state = {k: v for k, v in state.items() if v.is_floating_point()}
    assert all(torch.equal(v, v.half().float()) for v in state.values())
    save_file({k: v.half().contiguous().clone() for k, v in state.items()}, path)
    os.chmod(path, 0o644)


def write_json(path, value):
    with open(os.path.join(FOLDER, path), "w", encoding="ascii") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def states(qwen, ids):
    row = torch.tensor([ids + [PAD] * (TOKENS - len(ids))])
    mask = torch.tensor([[1] * len(ids) + [0] * (TOKENS - len(ids))])
    out = qwen(input_ids=row, attention_mask=mask, output_hidden_states=True, use_cache=False)
    return torch.cat([out.hidden_states[k] for k in LAYERS], dim=-1)


def positions(height, width, t=0):
    grid = torch.arange(height), torch.arange(width)
    return torch.cartesian_prod(torch.tensor([t]), *grid, torch.arange(1))[None]


def velocity(model, x, text, t, references=(), guidance=None):
    """x and references [1, 128, h, w]; text [1, tokens, width]."""
    pack = lambda z: z.flatten(2).transpose(1, 2)
    images = [x, *references]
    ids = [positions(*z.shape[2:], 10 * i) for i, z in enumerate(images)]
    said = model(
        hidden_states=torch.cat([pack(z) for z in images], 1),
        timestep=torch.tensor([t]).to(x),
        guidance=None if guidance is None else torch.tensor([guidance]).to(x),
        encoder_hidden_states=text,
        txt_ids=torch.cartesian_prod(
            torch.arange(1), torch.arange(1), torch.arange(1), torch.arange(text.shape[1])
        )[None],
        img_ids=torch.cat(ids, 1),
        return_dict=False,
    )[0]
    n = x.shape[2] * x.shape[3]
    return said[:, :n].transpose(1, 2).reshape(x.shape)


def picture(seed, width, height):
    """Smooth, with edges; 8 bits."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.Generator(np.random.PCG64([SEED, seed]))
    a, b, c = rng.integers(3, 9, size=3)
    out = np.stack([(x * a + y) % 256, (x + y * b) % 256, ((x // 16 + y // 16) % 2) * 20 * c], -1)
    return out.astype(np.uint8)


def encoded(vae, image):
    x = torch.from_numpy(image).permute(2, 0, 1)[None].to(next(vae.parameters()).dtype) / 127.5 - 1
    z = Flux2KleinPipeline._patchify_latents(vae.encode(x).latent_dist.mode())
    mean, var = vae.bn.running_mean.to(z), vae.bn.running_var.to(z)
    return (z - mean[None, :, None, None]) / (var[None, :, None, None] + 1e-4).sqrt()


def decoded(vae, z):
    mean, var = vae.bn.running_mean.to(z), vae.bn.running_var.to(z)
    z = z * (var[None, :, None, None] + 1e-4).sqrt() + mean[None, :, None, None]
    return vae.decode(Flux2KleinPipeline._unpatchify_latents(z)).sample


def pipeline_of(transformer, vae, distilled):
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15
    )
    p = Flux2KleinPipeline(scheduler, vae, None, None, transformer, is_distilled=distilled)
    p.set_progress_bar_config(disable=True)
    return p


def run(p, prompt, negative, noise, steps, images=None, guidance=1.0):
    """Latents after every step, and the picture. noise [1, 128, h, w]."""
    rows, (h, w) = [], noise.shape[2:]

    def note(_, i, t, kwargs):
        rows.append(kwargs["latents"].transpose(1, 2).reshape(noise.shape)[0])
        return kwargs

    out = p(
        image=[Image.fromarray(i) for i in images] if images else None,
        prompt_embeds=prompt,
        negative_prompt_embeds=negative,
        height=16 * h,
        width=16 * w,
        num_inference_steps=steps,
        guidance_scale=guidance,
        latents=noise.clone(),
        output_type="pt",
        callback_on_step_end=note,
    ).images
    return torch.stack(rows), out[0]


def tensors(qwen, transformer, dev, vae, dtype):
    for module in (qwen, transformer, dev, vae):
        module.to(dtype)
    out = {}
    text = {name: states(qwen, ids) for name, ids in PROMPTS.items()}
    for name, value in text.items():
        out[f"{name}.states"] = value[0, :40]
        out[f"{name}.padding"] = value[0, -8:]
    short = draw(3, 1, 24, 3 * WIDTH).to(dtype)
    out["text"] = short[0]
    references = [draw(4, 1, 128, 4, 4).to(dtype), draw(5, 1, 128, 2, 5).to(dtype)]
    for i, z in enumerate(references):
        out[f"reference{i}"] = z
    for h, w in ((4, 6), (3, 5)):
        x = draw(10 * h + w, 1, 128, h, w).to(dtype)
        out[f"{h}x{w}.x"] = x
        for t in (1.0, 0.7175):
            out[f"{h}x{w}.t{t:g}"] = velocity(transformer, x, short, t)
    x = out["4x6.x"]
    out["4x6.one"] = velocity(transformer, x, short, 0.7175, references[:1])
    out["4x6.two"] = velocity(transformer, x, short, 0.7175, references)
    out["4x6.dev"] = velocity(dev, x, short, 0.7175, guidance=4.0)
    first, second = picture(1, 96, 64), picture(2, 64, 80)
    out["first"] = torch.from_numpy(first).permute(2, 0, 1)[None].float()
    out["second"] = torch.from_numpy(second).permute(2, 0, 1)[None].float()
    out["first.latent"] = encoded(vae, first)
    out["first.decoded"] = decoded(vae, out["first.latent"])
    noise = draw(7, 1, 128, 4, 6).to(dtype)
    out["noise"] = noise
    klein, base = pipeline_of(transformer, vae, True), pipeline_of(transformer, vae, False)
    for name, p, steps, images, guidance in (
        ("distilled", klein, 4, None, 1.0),
        ("base", base, 6, None, 4.0),
        ("edit1", klein, 4, [first], 1.0),
        ("edit2", klein, 4, [first, second], 1.0),
    ):
        latents, image = run(p, text["apple"], text["empty"], noise, steps, images, guidance)
        out[f"{name}.latents"] = latents
        out[f"{name}.picture"] = image[None]
    return out


def main():
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    transformer = fill("transformer", Flux2Transformer2DModel(**TRANSFORMER))
    dev = fill("dev", Flux2Transformer2DModel(**DEV))
    vae = fill("vae", AutoencoderKLFlux2(**VAE))
    qwen = fill("qwen", Qwen3ForCausalLM(Qwen3Config(**QWEN)))
    state = transformer.state_dict()
    write("transformer/diffusion_pytorch_model.safetensors", state)
    write("bfl.safetensors", bfl(state))
    write("dev.safetensors", bfl(dev.state_dict()))
    write("vae/diffusion_pytorch_model.safetensors", vae.state_dict())
    words = {k: v for k, v in qwen.state_dict().items() if "embed_tokens" not in k and "lm_head" not in k}
    write("text_encoder/model-00001-of-00002.safetensors", words)
    write_json("model_index.json", {"_class_name": "Flux2KleinPipeline", "is_distilled": True})
    with torch.no_grad():
        single = tensors(qwen, transformer, dev, vae, torch.float32)
        double = tensors(qwen, transformer, dev, vae, torch.float64)
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
