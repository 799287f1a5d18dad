"""Makes the tensors that Stable Diffusion 3 and 3.5 are checked against (README.md, "sd3").

usage: make_sd3.py            (needs the packages of requirements-flow.txt; after make_t5.py)

Small random ones: `medium` is a 3.5 medium, whose heads are normed and whose first blocks attend
twice, `three` a 3. Transformers and autoencoder are diffusers', the CLIPs transformers', T5 and its
vocabulary those of t5/. Whole pictures are diffusers' StableDiffusion3Pipeline's, at the times that
other programs visit: 1, 1 - 1/N ..., shifted once.
"""

import os
import sys

import numpy as np
import sentencepiece
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

import make_flux1
from make_flux1 import HERE, VAE, fill, finish, t5_states, write
from make_flux2 import draw
from safetensors.torch import save_file

FOLDER = os.path.join(HERE, "sd3")
MEDIUM = dict(
    sample_size=16,
    patch_size=2,
    in_channels=16,
    out_channels=16,
    num_layers=3,
    attention_head_dim=32,
    num_attention_heads=2,
    joint_attention_dim=96,
    caption_projection_dim=64,
    pooled_projection_dim=64,
    pos_embed_max_size=12,
    dual_attention_layers=(0, 1),
    qk_norm="rms_norm",
)
THREE = dict(MEDIUM, num_layers=2, attention_head_dim=64, num_attention_heads=1, dual_attention_layers=(), qk_norm=None)
# 3.5 large has norms of queries and keys in every block, and no block of two attentions.
LARGE = dict(MEDIUM, num_layers=5, attention_head_dim=16, num_attention_heads=4, dual_attention_layers=())
SHIFT, STEPS, GUIDANCE = 3.0, 5, 4.5
WORDS = [320, 736, 10274, 593, 320, 1239]  # "a red rabbit with a watch", by CLIP's tokenizer
VOCABULARY, WIDTH = 49408, 32


def table(which):
    """The tables of tokens, which are in no file: numbers of a formula."""
    i = np.arange(VOCABULARY, dtype=np.int64)[:, None]
    k = np.arange(WIDTH, dtype=np.int64)[None, :]
    return torch.from_numpy((((i * 7 + k * (13 + which) + i * k) % 61 - 30) / 32).astype(np.float32))


def clip(which):
    config = CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=4 * WIDTH, projection_dim=WIDTH,
        num_hidden_layers=3, num_attention_heads=1, max_position_embeddings=77,
        hidden_act="gelu" if which else "quick_gelu", bos_token_id=49406, eos_token_id=49407,
    )
    model = fill(f"clip{which}", CLIPTextModelWithProjection(config))
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith("token_embedding.weight"):
                tensor.copy_(table(which))
    return model


def said(clips, words, t5, dtype):
    """States and what is pooled, as the pipeline puts them together."""
    states, pooled = [], []
    for which, model in enumerate(clips):
        row = [49406] + words + [49407]
        row += [0 if which else 49407] * (77 - len(row))
        out = model.to(dtype)(input_ids=torch.tensor([row]), output_hidden_states=True)
        states.append(out.hidden_states[-2])
        pooled.append(out.text_embeds if which else plain(model, row, out))
    both = torch.cat(states, -1)
    both = torch.nn.functional.pad(both, (0, t5.shape[-1] - both.shape[-1]))
    return torch.cat([both, t5], 1), torch.cat(pooled, -1)


def plain(model, row, out):
    """What CLIP-L pools, not projected."""
    return out.last_hidden_state[:, row.index(49407)]


def sai(state, layers):
    """A transformer as Stability names its tensors."""
    stems = {
        "pos_embed.proj": "x_embedder.proj", "context_embedder": "context_embedder", "proj_out": "final_layer.linear",
        "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
        "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
        "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
        "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    }
    names = {
        "norm1.linear": "x_block.adaLN_modulation.1", "norm1_context.linear": "context_block.adaLN_modulation.1",
        "attn.to_out.0": "x_block.attn.proj", "attn.to_add_out": "context_block.attn.proj",
        "attn2.to_out.0": "x_block.attn2.proj", "ff.net.0.proj": "x_block.mlp.fc1", "ff.net.2": "x_block.mlp.fc2",
        "ff_context.net.0.proj": "context_block.mlp.fc1", "ff_context.net.2": "context_block.mlp.fc2",
        "attn.norm_q": "x_block.attn.ln_q", "attn.norm_k": "x_block.attn.ln_k",
        "attn.norm_added_q": "context_block.attn.ln_q", "attn.norm_added_k": "context_block.attn.ln_k",
        "attn2.norm_q": "x_block.attn2.ln_q", "attn2.norm_k": "x_block.attn2.ln_k",
    }
    fused = {
        "attn.to_q": ("x_block.attn.qkv", ("attn.to_q", "attn.to_k", "attn.to_v")),
        "attn2.to_q": ("x_block.attn2.qkv", ("attn2.to_q", "attn2.to_k", "attn2.to_v")),
        "attn.add_q_proj": ("context_block.attn.qkv", ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),
    }
    swapped = lambda v: torch.cat(v.chunk(2)[::-1])
    out = {"pos_embed": state["pos_embed.pos_embed"]}
    for key, value in state.items():
        stem, end = key.rsplit(".", 1)
        if stem in stems:
            out[f"{stems[stem]}.{end}"] = value
        elif stem == "norm_out.linear":
            out[f"final_layer.adaLN_modulation.1.{end}"] = swapped(value)
        elif stem.startswith("transformer_blocks."):
            _, n, rest = stem.split(".", 2)
            if rest == "norm1_context.linear" and int(n) == layers - 1:
                value = swapped(value)
            if rest in names:
                out[f"joint_blocks.{n}.{names[rest]}.{end}"] = value
            elif rest in fused:
                name, parts = fused[rest]
                parts = [state[f"transformer_blocks.{n}.{k}.{end}"] for k in parts]
                out[f"joint_blocks.{n}.{name}.{end}"] = torch.cat(parts)
    assert sum(v.numel() for v in out.values()) == sum(v.numel() for v in state.values())
    return {f"model.diffusion_model.{k}": v for k, v in out.items()}


def velocity(model, x, text, pooled, t):
    return model(hidden_states=x, timestep=torch.tensor([1000 * t]).to(x), encoder_hidden_states=text,
                 pooled_projections=pooled, return_dict=False)[0]


def run(transformer, vae, prompt, negative, noise):
    p = StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT), vae=vae, text_encoder=None,
        tokenizer=None, text_encoder_2=None, tokenizer_2=None, text_encoder_3=None, tokenizer_3=None)
    p.set_progress_bar_config(disable=True)
    rows, (h, w) = [], noise.shape[2:]

    def note(_, i, t, kwargs):
        rows.append(kwargs["latents"][0])
        return kwargs

    image = p(
        prompt_embeds=prompt[0], pooled_prompt_embeds=prompt[1], negative_prompt_embeds=negative[0],
        negative_pooled_prompt_embeds=negative[1], height=8 * h, width=8 * w, guidance_scale=GUIDANCE,
        sigmas=[1 - i / STEPS for i in range(STEPS)], latents=noise.clone(), output_type="pt",
        callback_on_step_end=note,
    ).images
    return torch.stack(rows), image[0]


def tensors(medium, three, vae, clips, tokens, dtype):
    for module in (medium, three, vae):
        module.to(dtype)
    out = {"text": draw(3, 1, 24, 96).to(dtype)[0], "pooled": draw(4, 1, 64).to(dtype)[0]}
    for h, w in ((8, 12), (6, 10)):
        x = draw(10 * h + w, 1, 16, h, w).to(dtype)
        out[f"{h}x{w}.x"] = x
        for name, model in (("medium", medium), ("three", three)):
            for t in (1.0, 0.7175):
                out[f"{h}x{w}.{name}.t{t:g}"] = velocity(model, x, out["text"][None], out["pooled"][None], t)
    noise = draw(7, 1, 16, 8, 12).to(dtype)
    out["noise"] = noise
    make_flux1.PROMPT, prompt = "", make_flux1.PROMPT
    empty = t5_states(tokens, 256, dtype)
    make_flux1.PROMPT = prompt
    spoken = t5_states(tokens, 256, dtype)
    for name, model, t5 in (("medium", medium, True), ("three", three, True), ("mute", medium, False)):
        positive = said(clips, WORDS, spoken if t5 else torch.zeros_like(spoken), dtype)
        negative = said(clips, [], empty if t5 else torch.zeros_like(spoken), dtype)
        latents, image = run(model, vae, positive, negative, noise)
        out[f"{name}.latents"] = latents
        out[f"{name}.picture"] = image[None]
    out["prompt.states"] = positive[0][0, :77]
    out["prompt.pooled"] = positive[1]
    return out


def large():
    """Of 3.5 large the transformer alone, in files of its own."""
    model = fill("large", SD3Transformer2DModel(**LARGE))
    write(FOLDER, "large.safetensors", sai(model.state_dict(), LARGE["num_layers"]))
    out = {"text": draw(3, 1, 24, 96)[0], "pooled": draw(4, 1, 64)[0]}
    with torch.no_grad():
        for h, w in ((8, 12), (6, 10)):
            out[f"{h}x{w}.x"] = draw(10 * h + w, 1, 16, h, w)
            for t in (1.0, 0.7175):
                out[f"{h}x{w}.large.t{t:g}"] = velocity(model, out[f"{h}x{w}.x"], out["text"][None], out["pooled"][None], t)
    path = os.path.join(FOLDER, "golden-large.safetensors")
    save_file({k: v.contiguous() for k, v in out.items()}, path)
    os.chmod(path, 0o644)


def main():
    if sys.argv[1:] == ["large"]:
        return large()
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    medium = fill("transformer", SD3Transformer2DModel(**MEDIUM))
    three = fill("transformer3", SD3Transformer2DModel(**THREE))
    vae = fill("vae", AutoencoderKL(**dict(VAE, scaling_factor=1.5305, shift_factor=0.0609)))
    clips = [clip(0), clip(1)]
    write(FOLDER, "transformer/diffusion_pytorch_model.safetensors", medium.state_dict())
    write(FOLDER, "medium.safetensors", sai(medium.state_dict(), 3))
    write(FOLDER, "three.safetensors", sai(three.state_dict(), 2))
    for which, model in enumerate(clips):
        state = {k: v for k, v in model.state_dict().items() if not k.endswith("token_embedding.weight")}
        write(FOLDER, f"clip_{'lg'[which]}.safetensors", state)
    tokens = sentencepiece.SentencePieceProcessor(model_file=os.path.join(HERE, "t5", "spiece.model"))
    with torch.no_grad():
        single = tensors(medium, three, vae, clips, tokens, torch.float32)
        double = tensors(medium, three, vae, clips, tokens, torch.float64)
    finish(FOLDER, single, double)


if __name__ == "__main__":
    main()
