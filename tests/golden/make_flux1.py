"""Makes the tensors that FLUX.1 is checked against (README.md, "flux1").

usage: make_flux1.py          (needs the packages of requirements-flow.txt; after make_t5.py)

A small random FLUX.1 [dev]: its transformer and autoencoder are diffusers', T5 and its vocabulary
those of t5/, CLIP that of tiny/. Without what it is told of its guidance it is a [schnell]. Whole
pictures are diffusers' FluxPipeline's.
"""

import math
import os
import zlib

import numpy as np
import sentencepiece
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

import make_t5
from make_flux2 import draw, picture

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "flux1")
SEED = 11
TRANSFORMER = dict(
    patch_size=1,
    in_channels=64,
    num_layers=2,
    num_single_layers=2,
    attention_head_dim=32,
    num_attention_heads=2,
    joint_attention_dim=96,
    pooled_projection_dim=64,
    guidance_embeds=True,
    axes_dims_rope=(4, 14, 14),
)
VAE = dict(
    block_out_channels=(32, 32, 32, 32),
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    layers_per_block=1,
    latent_channels=16,
    use_quant_conv=False,
    use_post_quant_conv=False,
    scaling_factor=0.3611,
    shift_factor=0.1159,
)
PROMPT = "a red rabbit with a watch"


def weight(name, shape, twice=("to_out", "to_add_out", "norm.linear", "norm1")):
    """Matrices of two bits a value, which compress; every value is exact in F16 and BF16."""
    rng = np.random.Generator(np.random.PCG64([SEED, zlib.crc32(name.encode())]))
    if len(shape) < 2:
        # Sharp attention, so that every key counts: the head norms of the transformer are twice.
        base = 0.0 if name.endswith("bias") else 2.0 if ".attn.norm_" in name or ".attn2.norm_" in name else 1.0
        return torch.from_numpy((base + rng.integers(-16, 17, size=shape) / 64).astype(np.float32))
    gain = 2.0 if any(k in name for k in twice) and name.startswith("transformer") else 1.0
    scale = 2.0 ** round(math.log2(gain / math.sqrt(5 * math.prod(shape[1:]))))
    return torch.from_numpy(((2 * rng.integers(0, 4, size=shape) - 3) * scale).astype(np.float32))


def fill(component, module):
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            tensor.copy_(weight(f"{component}.{key}", tuple(tensor.shape)))
    return module.eval()


def bfl(state):
    """A transformer as Black Forest Labs name its tensors."""
    stems = {
        "x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear",
        "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
        "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
        "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
        "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
        "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
        "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    }
    double = {
        "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin",
        "attn.to_out.0": "img_attn.proj", "attn.to_add_out": "txt_attn.proj",
        "ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2",
        "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2",
    }
    norms = {
        "attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm",
        "attn.norm_added_q": "txt_attn.norm.query_norm", "attn.norm_added_k": "txt_attn.norm.key_norm",
    }
    single = {"norm.linear": "modulation.lin", "proj_out": "linear2"}
    out = {}
    for key, value in state.items():
        stem, end = key.rsplit(".", 1)
        kind, _, rest = stem.partition(".")
        n, _, rest = rest.partition(".")
        if stem in stems:
            out[f"{stems[stem]}.{end}"] = value
        elif stem == "norm_out.linear":
            scale, shift = value.chunk(2)
            out[f"final_layer.adaLN_modulation.1.{end}"] = torch.cat([shift, scale])
        elif kind == "transformer_blocks":
            get = lambda names: torch.cat([state[f"{kind}.{n}.attn.{k}.{end}"] for k in names])
            if rest in double:
                out[f"double_blocks.{n}.{double[rest]}.{end}"] = value
            elif rest in norms:
                out[f"double_blocks.{n}.{norms[rest]}.scale"] = value
            elif rest == "attn.to_q":
                out[f"double_blocks.{n}.img_attn.qkv.{end}"] = get(("to_q", "to_k", "to_v"))
            elif rest == "attn.add_q_proj":
                out[f"double_blocks.{n}.txt_attn.qkv.{end}"] = get(("add_q_proj", "add_k_proj", "add_v_proj"))
        elif rest in single:
            out[f"single_blocks.{n}.{single[rest]}.{end}"] = value
        elif rest in ("attn.norm_q", "attn.norm_k"):
            out[f"single_blocks.{n}.norm.{'query' if rest.endswith('q') else 'key'}_norm.scale"] = value
        elif rest == "attn.to_q":
            parts = [state[f"{kind}.{n}.{k}.{end}"] for k in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")]
            out[f"single_blocks.{n}.linear1.{end}"] = torch.cat(parts)
    assert sum(v.numel() for v in out.values()) == sum(v.numel() for v in state.values())
    return out


def bfl_vae(state):
    """An autoencoder as Black Forest Labs name its tensors: its projections are convolutions."""
    swaps = (
        ("mid_block.resnets.0.", "mid.block_1."), ("mid_block.resnets.1.", "mid.block_2."),
        ("mid_block.attentions.0.", "mid.attn_1."), ("group_norm.", "norm."), ("to_q.", "q."), ("to_k.", "k."),
        ("to_v.", "v."), ("to_out.0.", "proj_out."), ("conv_norm_out.", "norm_out."),
        ("conv_shortcut.", "nin_shortcut."), ("downsamplers.0.", "downsample."), ("upsamplers.0.", "upsample."),
        ("resnets.", "block."),
    )
    out = {}
    for key, value in state.items():
        for a, b in swaps:
            key = key.replace(a, b)
        key = key.replace("down_blocks.", "down.")
        if "up_blocks." in key:
            head, n, rest = key.replace("up_blocks.", "up.").split(".", 3)[0:2], key.split(".")[2], key.split(".", 3)[3]
            key = f"decoder.up.{3 - int(n)}.{rest}"
        if ".attn_1." in key and value.ndim == 2:
            value = value[:, :, None, None]
        out[key] = value
    return out


def write(folder, path, state):
    path = os.path.join(folder, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    assert all(torch.equal(v, v.half().float()) for v in state.values())
    save_file({k: v.half().contiguous().clone() for k, v in state.items()}, path)
    os.chmod(path, 0o644)


def t5_states(tokens, padded, dtype):
    """Of the prompt, filled up."""
    model = T5EncoderModel(T5Config(**make_t5.CONFIG)).eval()
    state = load_file(os.path.join(HERE, "t5", "model.safetensors"))
    model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    ids = tokens.encode(PROMPT) + [1]
    return model.to(dtype)(input_ids=torch.tensor([ids + [0] * (padded - len(ids))])).last_hidden_state


def clip_pooled(dtype):
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=1,
        max_position_embeddings=77, hidden_act="quick_gelu", bos_token_id=49406, eos_token_id=49407,
    )
    model = CLIPTextModel(config).eval()
    prefix = "cond_stage_model.transformer."
    state = {k.removeprefix(prefix): v for k, v in load_file(os.path.join(HERE, "tiny", "tiny-ldm.safetensors")).items()
             if k.startswith(prefix)}
    names = model.state_dict()
    state = {k if k in names else k.removeprefix("text_model."): v.float() for k, v in state.items()
             if not k.endswith("position_ids")}
    model.load_state_dict(state)
    words = [320, 736, 10274, 593, 320, 1239]  # of CLIP's tokenizer
    row = [49406] + words + [49407] * (76 - len(words))
    return model.to(dtype)(input_ids=torch.tensor([row])).pooler_output


def pack(z):
    return FluxPipeline._pack_latents(z, *z.shape)


def unpack(z, h, w):
    return FluxPipeline._unpack_latents(z, 8 * h, 8 * w, 8)


def velocity(model, x, text, pooled, t, guidance):
    """x [1, 16, h, w]; text [1, tokens, width]."""
    h, w = x.shape[2:]
    said = model(
        hidden_states=pack(x),
        timestep=torch.tensor([t]).to(x),
        guidance=None if guidance is None else torch.tensor([guidance]).to(x),
        pooled_projections=pooled,
        encoder_hidden_states=text,
        txt_ids=torch.zeros(text.shape[1], 3).to(x),
        img_ids=FluxPipeline._prepare_latent_image_ids(1, h // 2, w // 2, x.device, x.dtype),
        return_dict=False,
    )[0]
    return unpack(said, h, w)


def run(transformer, vae, text, pooled, noise, steps, guidance):
    dev = transformer.config.guidance_embeds
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift=3.0 if dev else 1.0, use_dynamic_shifting=dev, base_shift=0.5, max_shift=1.15
    )
    p = FluxPipeline(scheduler, vae, None, None, None, None, transformer)
    p.set_progress_bar_config(disable=True)
    rows, (h, w) = [], noise.shape[2:]

    def note(_, i, t, kwargs):
        rows.append(unpack(kwargs["latents"], h, w)[0])
        return kwargs

    image = p(
        prompt_embeds=text, pooled_prompt_embeds=pooled, height=8 * h, width=8 * w, num_inference_steps=steps,
        guidance_scale=guidance, latents=pack(noise), output_type="pt", callback_on_step_end=note,
    ).images
    return torch.stack(rows), image[0]


def tensors(transformer, schnell, vae, tokens, dtype):
    for module in (transformer, schnell, vae):
        module.to(dtype)
    out = {"text": draw(3, 1, 24, 96).to(dtype)[0], "pooled": draw(4, 1, 64).to(dtype)[0]}
    for h, w in ((8, 12), (6, 10)):
        x = draw(10 * h + w, 1, 16, h, w).to(dtype)
        out[f"{h}x{w}.x"] = x
        for t in (1.0, 0.7175):
            args = out["text"][None], out["pooled"][None], t
            out[f"{h}x{w}.t{t:g}"] = velocity(transformer, x, *args, 3.5)
    out["8x12.schnell"] = velocity(schnell, out["8x12.x"], *args, None)
    image = picture(1, 96, 64)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].to(dtype) / 127.5 - 1
    out["picture"] = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    out["picture.latent"] = (vae.encode(x).latent_dist.mode() - 0.1159) * 0.3611
    out["picture.decoded"] = vae.decode(out["picture.latent"] / 0.3611 + 0.1159).sample
    noise = draw(7, 1, 16, 8, 12).to(dtype)
    out["noise"] = noise
    out["prompt.pooled"] = clip_pooled(dtype)
    for name, model, padded, steps, guidance in (("dev", transformer, 512, 6, 3.5), ("schnell", schnell, 256, 4, 0.0)):
        text = t5_states(tokens, padded, dtype)
        out[f"{name}.states"] = text[0, :8]
        latents, image = run(model, vae, text, out["prompt.pooled"], noise, steps, guidance)
        out[f"{name}.latents"] = latents
        out[f"{name}.picture"] = image[None]
    return out


def finish(folder, single, double):
    lines = []
    for name, value in single.items():
        error = ((value - double[name]).norm() / double[name].norm()).item()
        shape = ",".join(map(str, value.shape))
        lines.append(f"{name} {shape} {value.mean():.4g} {value.std():.4g} {error:.1e}")
    path = os.path.join(folder, "golden.safetensors")
    save_file({k: v.float().contiguous() for k, v in single.items()}, path)
    os.chmod(path, 0o644)
    with open(os.path.join(folder, "index.txt"), "w", encoding="ascii") as f:
        f.write("# tensor shape mean std f64\n" + "\n".join(lines) + "\n")
    print("\n".join(lines))


def main():
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    transformer = fill("transformer", FluxTransformer2DModel(**TRANSFORMER))
    schnell = FluxTransformer2DModel(**dict(TRANSFORMER, guidance_embeds=False)).eval()
    state = {k: v.clone() for k, v in transformer.state_dict().items()}
    schnell.load_state_dict({k: v for k, v in state.items() if "guidance_embedder" not in k})
    vae = fill("vae", AutoencoderKL(**VAE))
    write(FOLDER, "transformer/diffusion_pytorch_model.safetensors", state)
    write(FOLDER, "bfl.safetensors", bfl(state))
    write(FOLDER, "ae.safetensors", bfl_vae(vae.state_dict()))
    tokens = sentencepiece.SentencePieceProcessor(model_file=os.path.join(HERE, "t5", "spiece.model"))
    with torch.no_grad():
        single = tensors(transformer, schnell, vae, tokens, torch.float32)
        double = tensors(transformer, schnell, vae, tokens, torch.float64)
    finish(FOLDER, single, double)


if __name__ == "__main__":
    main()
