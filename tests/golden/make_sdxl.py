"""Makes the tensors that Stable Diffusion XL and its refiner are checked against (README.md, "sdxl").

usage: make_sdxl.py           (needs the packages of requirements.txt)

Text encoders and UNet are random and small; the table of tokens, which both text encoders have, and
the autoencoder are those of tiny/tiny-ldm.safetensors. Text encoders are computed by transformers,
the UNet by diffusers, trajectories by k-diffusion around them.
"""

import os

import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import make_sd2
import sampling
import sdmodel
from openclip import SECOND, canonical, ldm_first, ldm_second
from make_golden import EOS, MODEL, noise, save, sequences, torch_noise, webui_upsampling

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sdxl")
LAYERS, WIDTH, STEPS, NUMBER = 3, 64, 10, 32
GUIDANCE, WEIGHT = 2.0, 1.3
ZERO_TERMINAL = 4.8973451890853435e-08  # of the signal's power at the last level, as in the WebUI


def text_encoder(cls, act):
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=1,
        max_position_embeddings=77,
        hidden_act=act,
        layer_norm_eps=1e-5,
        bos_token_id=49406,
        eos_token_id=EOS,
    )
    config._attn_implementation = "eager"
    return cls(config).eval()


def network(context, numbers):
    return UNet2DConditionModel(
        sample_size=128,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64, 64),
        down_block_types=["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2,
        up_block_types=["CrossAttnUpBlock2D"] * 2 + ["UpBlock2D"],
        layers_per_block=1,
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=[1, 1, 1],  # of 64 channels each: the name is older than its meaning
        cross_attention_dim=context,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=NUMBER,
        projection_class_embeddings_input_dim=WIDTH + numbers * NUMBER,
        norm_num_groups=32,
    ).eval()


def fill(component, module):
    tokens = load_file(MODEL)[make_sd2.TOKENS].float()
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(
                    tokens
                    if key.endswith("token_embedding.weight")
                    else make_sd2.weight("sdxl." + component, key, tuple(tensor.shape))
                )
    return module


# Names.


def ldm_unet(key):
    for a, b in (("linear_1", "0"), ("linear_2", "2")):
        key = key.replace("add_embedding." + a, "label_emb.0." + b)
    if key.startswith("label_emb"):
        return "model.diffusion_model." + key
    return "model.diffusion_model." + sdmodel.ldm_unet(key, blocks=1, bare_levels=())


def single_file(first, second, unet):
    """The tensors of a single file but for the autoencoder's and the tokens."""
    out, thirds = {}, {}
    for key, tensor in first.state_dict().items():
        out[ldm_first(key)[0]] = tensor
    for key, tensor in second.state_dict().items():
        name, third = ldm_second(key)
        if third == "turned":
            out[name] = tensor.T
        elif third is None:
            out[name] = tensor
        else:
            thirds.setdefault(name, [None] * 3)[third] = tensor
    out.update({name: torch.cat(parts) for name, parts in thirds.items()})
    out.update({ldm_unet(key): tensor for key, tensor in unet.state_dict().items()})
    return {k: v.contiguous() for k, v in out.items() if v.is_floating_point()}


def check_names(checkpoint, first, second, unet):
    """Against diffusers' own reading of single-file checkpoints."""
    theirs = single_file_utils.convert_ldm_unet_checkpoint(dict(checkpoint), unet.config)
    ours = unet.state_dict()
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    assert all(torch.equal(v, theirs[k].reshape(v.shape)) for k, v in ours.items())
    # It turns the projection in place.
    copies = {k: v.clone() for k, v in checkpoint.items()}
    for module, theirs in (
        (first, single_file_utils.convert_ldm_clip_checkpoint(copies)),
        (
            second,
            single_file_utils.convert_open_clip_checkpoint(
                second, copies, prefix=SECOND + "model."
            ),
        ),
    ):
        theirs = {canonical(k): v for k, v in theirs.items()}
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                assert torch.equal(value, theirs[canonical(key)]), key


def write_names(first, second, unet):
    """What a diffusers folder is made of; the last column as in sd2/names.tsv, or "turned"."""
    parts = [
        ("text_encoder/model.safetensors", first, ldm_first),
        ("text_encoder_2/model.safetensors", second, ldm_second),
        ("unet/diffusion_pytorch_model.safetensors", unet, lambda key: (ldm_unet(key), None)),
    ]
    with open(os.path.join(FOLDER, "names.tsv"), "w", encoding="ascii") as f:
        for file, module, named in parts:
            for key, tensor in module.state_dict().items():
                if tensor.is_floating_point():
                    name, third = named(key)
                    shape = ",".join(map(str, tensor.shape))
                    key = key if module is unet else canonical(key)
                    f.write(f"{file}\t{key}\t{name}\t{shape}\t{'-' if third is None else third}\n")


# Tensors.


def states(first, second, row):
    """(states of both encoders side by side, pooled) of one sequence."""
    a = first(torch.tensor([row]), output_hidden_states=True)
    b = second(torch.tensor([make_sd2.padded(row)]), output_hidden_states=True)
    return torch.cat([a.hidden_states[-2], b.hidden_states[-2]], -1)[0], b.text_embeds[0]


def weighted(state, row):
    """All of the prompt's tokens at WEIGHT: each encoder's mean is put back to what it was."""
    end, out = row.index(EOS), []
    for part in state.chunk(2, -1):
        w = torch.ones(77, 1).to(part)
        w[1:end] = WEIGHT
        out.append(part * w * (part.mean() / (part * w).mean()))
    return torch.cat(out, -1)


def numbers(height, width, beauty=None):
    """Size, place of the crop, size again or, of the refiner, beauty."""
    return [height, width, 0, 0] + ([height, width] if beauty is None else [beauty])


def ask(unet, x, t, context, pooled, ids):
    extra = {"text_embeds": pooled, "time_ids": torch.tensor(ids).to(x)}
    return unet(x, t, context, added_cond_kwargs=extra).sample


class Guided:
    """What sampling.run_k takes: a model's answer to two prompts."""

    def __init__(self, wrapper, alphas_cumprod, unet, contexts, pooled, ids):
        def call(x, t, **kwargs):
            return ask(unet, x, t, contexts, pooled, ids)

        self.k, self.mask = wrapper(call, alphas_cumprod.to(contexts), quantize=False), None
        self.k.get_eps = self.k.get_v = call

    def denoise(self, x, sigma):
        a, b = self.k(torch.cat([x, x]), torch.cat([sigma, sigma])).chunk(2)
        return b + GUIDANCE * (a - b)


def zero_terminal():
    """Lin et al. 2023, algorithm 1."""
    root = sampling.ALPHAS_CUMPROD.sqrt()
    first, last = root[0].clone(), root[-1].clone()
    out = ((root - last) * (first / (first - last))) ** 2
    out[-1] = ZERO_TERMINAL
    return out


def trajectories(out, unet, dtype):
    start = torch_noise(60, 1, 4, 8, 16).to(dtype)
    out["start_noise"] = start[0]
    contexts = torch.stack([out["prompt.states"], torch.zeros_like(out["prompt.states"])])
    pooled = torch.stack([out["prompt.pooled"], torch.zeros_like(out["prompt.pooled"])])
    ids = [numbers(64, 128)] * 2
    tables = sampling.schedules(STEPS)
    external = sampling.kexternal
    eps = Guided(
        external.DiscreteEpsDDPMDenoiser, sampling.ALPHAS_CUMPROD, unet, contexts, pooled, ids
    )
    v = Guided(external.DiscreteVDDPMDenoiser, zero_terminal(), unet, contexts, pooled, ids)
    runs = {
        "euler.uniform": ("euler", eps, tables["uniform"]),
        "dpmpp_2m.karras": ("dpmpp_2m", eps, tables["karras"]),
        "euler.zero_terminal": ("euler", v, v.k.get_sigmas(STEPS).float()),
    }
    for name, (sampler, model, s) in runs.items():
        out[f"{name}.sigmas"] = s
        rows = sampling.run_k(model, sampler, start * s[0].to(start), s, torch.zeros(1))
        # With a sigma of 4519 only the end is of unit size.
        out[f"{name}.latents"] = rows[-1:] if model is v else rows


def tensors(first, second, unet, refiner):
    dtype = next(unet.parameters()).dtype
    out = {}
    for name, row in sequences().items():
        out[f"{name}.ids"] = torch.tensor(row)
        out[f"{name}.states"], out[f"{name}.pooled"] = states(first, second, row)
    out["weighted.states"] = weighted(out["prompt.states"], sequences()["prompt"])
    context = torch.stack([out["prompt.states"], out["unicode.states"]])
    pooled = torch.stack([out["prompt.pooled"], out["unicode.pooled"]])
    for size, seed in (((8, 8), 90), ((9, 12), 91)):
        x = noise(seed, 2, 4, *size).to(dtype)
        name, (h, w) = f"{size[0]}x{size[1]}", (8 * size[0], 8 * size[1])
        out[f"{name}.latent"] = x
        for t in (999.0, 500.5):
            at = torch.tensor([t, t])
            out[f"{name}.t{t:g}"] = ask(unet, x, at, context, pooled, [numbers(h, w)] * 2)
            # The second prompt is what the refiner leads away from.
            out[f"{name}.t{t:g}.refiner"] = ask(
                refiner,
                x,
                at,
                context[..., WIDTH:],
                pooled,
                [numbers(h, w, 6.0), numbers(h, w, 2.5)],
            )
    trajectories(out, unet, dtype)
    return out


def check_against_diffusers(out, unet):
    scheduler = EulerDiscreteScheduler(
        timestep_spacing="linspace",
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
    )
    scheduler.set_timesteps(STEPS)
    context = torch.stack([out["prompt.states"], torch.zeros_like(out["prompt.states"])])
    pooled = torch.stack([out["prompt.pooled"], torch.zeros_like(out["prompt.pooled"])])
    x = out["start_noise"][None] * out["euler.uniform.sigmas"][0]
    for i, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, t)
        both = torch.cat([scaled, scaled])
        a, b = ask(unet, both, t, context, pooled, [numbers(64, 128)] * 2).chunk(2)
        x = scheduler.step(b + GUIDANCE * (a - b), t, x).prev_sample
        error = ((x[0] - out["euler.uniform.latents"][i + 1]).norm() / x.norm()).item()
        assert error < 1e-4, (i, error)
    print(f"  EulerDiscreteScheduler agrees, last error {error:.1e}")


def write_weights(name, checkpoint):
    for key, value in checkpoint.items():
        assert torch.equal(value, sdmodel.exact(value)), key
    path = os.path.join(FOLDER, name + ".safetensors")
    save_file(
        {k: v.half() for k, v in checkpoint.items() if "token_embedding" not in k}, path
    )
    os.chmod(path, 0o644)


def main():
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    os.makedirs(FOLDER, exist_ok=True)
    first = fill("text_encoder", text_encoder(CLIPTextModel, "quick_gelu"))
    second = fill("text_encoder_2", text_encoder(CLIPTextModelWithProjection, "gelu"))
    unet, refiner = fill("unet", network(2 * WIDTH, 6)), fill("unet", network(WIDTH, 5))
    checkpoint = single_file(first, second, unet)
    check_names(checkpoint, first, second, unet)
    write_weights("weights", checkpoint)
    # What the refiner has in a shape of its own; names and shapes seed the other weights.
    other = {ldm_unet(k): v for k, v in refiner.state_dict().items()}
    write_weights("refiner", {k: v for k, v in other.items() if not torch.equal(v, checkpoint[k])})
    write_names(first, second, unet)
    with torch.no_grad(), webui_upsampling():
        modules = first, second, unet, refiner
        single = tensors(*modules)
        check_against_diffusers(single, unet)
        lines = save("golden", single, tensors(*(m.double() for m in modules)), FOLDER)
    with open(os.path.join(FOLDER, "index.txt"), "w", encoding="ascii") as f:
        f.write("# file tensor shape mean std f64\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
