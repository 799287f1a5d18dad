"""Makes the tensors that Stable Diffusion 2.x is checked against (README.md, "sd2").

usage: make_sd2.py            (needs the packages of requirements.txt)

The text encoder and the UNet are of their own, random and small; the table of tokens and the
autoencoder, which are made as in SD 1.x, are those of tiny/tiny-ldm.safetensors. The text encoder
is computed by transformers, the UNet by diffusers, trajectories by k-diffusion around them.
"""

import math
import os
import zlib

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

import sampling
import sdmodel
from openclip import ldm_text
from make_golden import BOS, EOS, MODEL, encode, noise, save, sequences, torch_noise, webui_upsampling

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sd2")
TOKENS = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
LAYERS = 3  # OpenCLIP's; of a folder the last is left out, which no SD 2.x model runs
WIDTH, STEPS = 64, 10
UNET = dict(
    sample_size=96,
    in_channels=4,
    out_channels=4,
    block_out_channels=(64, 128),
    down_block_types=["CrossAttnDownBlock2D"] * 2,
    up_block_types=["CrossAttnUpBlock2D"] * 2,
    layers_per_block=1,
    attention_head_dim=[1, 2],  # of 64 channels each: the name is older than its meaning
    cross_attention_dim=WIDTH,
    use_linear_projection=True,
    norm_num_groups=32,
)


def text_encoder(layers):
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=1,
        max_position_embeddings=77,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
    )
    config._attn_implementation = "eager"
    return CLIPTextModel(config).eval()


def weight(component, key, shape):
    """As sdmodel.random_weight, but matrices hold two bits a value: the file compresses."""
    if len(shape) < 2 or key.endswith("embedding.weight"):
        return sdmodel.random_weight(component, key, shape)
    rng = np.random.Generator(
        np.random.PCG64([sdmodel.SEED, 2, zlib.crc32(f"{component}.{key}".encode())])
    )
    gain = next((g for part, g in sdmodel.GAINS if part in key), 1.0)
    scale = 2.0 ** round(math.log2(gain / math.sqrt(5 * math.prod(shape[1:]))))
    return torch.from_numpy(((2 * rng.integers(0, 4, size=shape) - 3) * scale).astype(np.float32))


def fill(component, module):
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                name = sdmodel.canonical(component, key)
                tensor.copy_(
                    load_file(MODEL)[TOKENS].float()
                    if name.endswith("token_embedding.weight")
                    else weight("sd2." + component, name, tuple(tensor.shape))
                )
    return module


# Names.


def ldm_unet(key):
    return "model.diffusion_model." + sdmodel.ldm_unet(key, blocks=1, bare_levels=())


def single_file(text, unet):
    """The tensors of a single file but for the autoencoder's and the tokens."""
    out, thirds = {}, {}
    for key, tensor in text.state_dict().items():
        name, third = ldm_text(sdmodel.canonical("text_encoder", key))
        if third is None:
            out[name] = tensor
        else:
            thirds.setdefault(name, [None] * 3)[third] = tensor
    out.update({name: torch.cat(parts) for name, parts in thirds.items()})
    out.update({ldm_unet(key): tensor for key, tensor in unet.state_dict().items()})
    # What published files have and nothing here needs.
    out["cond_stage_model.model.text_projection"] = torch.zeros(WIDTH, WIDTH)
    out["cond_stage_model.model.logit_scale"] = torch.tensor(4.6)
    return {k: v.contiguous() for k, v in out.items() if v.is_floating_point()}


def check_names(checkpoint, text, unet):
    """Against diffusers' own reading of single-file checkpoints."""
    theirs = single_file_utils.convert_ldm_unet_checkpoint(dict(checkpoint), unet.config)
    ours = unet.state_dict()
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    assert all(torch.equal(v, theirs[k].reshape(v.shape)) for k, v in ours.items())
    theirs = single_file_utils.convert_open_clip_checkpoint(text, dict(checkpoint))
    theirs = {sdmodel.canonical("text_encoder", k): v for k, v in theirs.items()}
    for key, value in text.state_dict().items():
        if value.is_floating_point():
            key = sdmodel.canonical("text_encoder", key)
            assert torch.equal(value, theirs[key]), key


# Tensors.


def padded(ids):
    """With 0 behind the end token, as OpenCLIP's tokenizer pads."""
    end = ids.index(EOS)
    return ids[: end + 1] + [0] * (76 - end)


class VModel(sampling.kexternal.DiscreteVDDPMDenoiser):
    """v(x, t, context) in the discrete schedule, with guidance."""

    def __init__(self, unet, cond, uncond):
        super().__init__(
            lambda x, t, context: unet(x, t, context).sample,
            sampling.ALPHAS_CUMPROD.to(cond.dtype),
            quantize=False,
        )
        self.context, self.mask = torch.cat([cond, uncond]), None

    def get_v(self, x, t, context):
        return self.inner_model(x, t, context)

    def denoise(self, x, sigma):
        a, b = self.forward(
            torch.cat([x, x]), torch.cat([sigma, sigma]), context=self.context
        ).chunk(2)
        return b + sampling.GUIDANCE * (a - b)


def tensors(text, unet):
    dtype = next(unet.parameters()).dtype
    ids = {k: padded(v) for k, v in sequences().items()}
    out = {}
    for name, row in ids.items():
        out[f"{name}.ids"] = torch.tensor(row)
        out[f"{name}.states"] = encode(text, [row])[0]
    c77 = torch.stack([out["prompt.states"], out["unicode.states"]])
    for size, seed in (((8, 8), 80), ((9, 12), 81)):
        x = noise(seed, 2, 4, *size).to(dtype)
        name = f"{size[0]}x{size[1]}"
        out[f"{name}.latent"] = x
        for t in (999.0, 500.5):
            out[f"{name}.t{t:g}"] = unet(x, torch.tensor([t, t]), c77).sample
    start = torch_noise(60, 1, 4, 8, 16).to(dtype)
    model = VModel(unet, out["prompt.states"][None], out["empty.states"][None])
    out["start_noise"] = start[0]
    tables = sampling.schedules(STEPS)
    for sampler, schedule in (("euler", "uniform"), ("dpmpp_2m", "karras")):
        s = tables[schedule]
        out[f"{sampler}.{schedule}.sigmas"] = s
        out[f"{sampler}.{schedule}.latents"] = sampling.run_k(
            model, sampler, start * s[0], s, torch.zeros(1)
        )
    return out


def check_against_diffusers(out, unet):
    scheduler = EulerDiscreteScheduler(
        timestep_spacing="linspace",
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
    )
    scheduler.set_timesteps(STEPS)
    context = torch.stack([out["prompt.states"], out["empty.states"]])
    # It starts with sqrt(sigma^2 + 1) times the noise where the spacing is another.
    x = out["start_noise"][None] * scheduler.init_noise_sigma
    for i, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, t)
        a, b = unet(torch.cat([scaled, scaled]), t, context).sample.chunk(2)
        x = scheduler.step(b + sampling.GUIDANCE * (a - b), t, x).prev_sample
        error = ((x[0] - out["euler.uniform.latents"][i + 1]).norm() / x.norm()).item()
        assert error < 1e-4, (i, error)
    print(f"  EulerDiscreteScheduler agrees, last error {error:.1e}")


def main():
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    os.makedirs(FOLDER, exist_ok=True)
    whole, text = fill("text_encoder", text_encoder(LAYERS)), text_encoder(LAYERS - 1)
    unet = fill("unet", UNet2DConditionModel(**UNET).eval())
    left = text.load_state_dict(whole.state_dict(), strict=False)
    assert not left.missing_keys, left
    checkpoint = single_file(whole, unet)
    check_names(checkpoint, whole, unet)
    for key, value in checkpoint.items():
        assert torch.equal(value, sdmodel.exact(value)) or "logit" in key, key
    del checkpoint["cond_stage_model.model.token_embedding.weight"]
    weights = os.path.join(FOLDER, "weights.safetensors")
    save_file({k: v.half() for k, v in checkpoint.items()}, weights)
    os.chmod(weights, 0o644)
    with open(os.path.join(FOLDER, "names.tsv"), "w", encoding="ascii") as f:
        for key, tensor in text.state_dict().items():
            key = sdmodel.canonical("text_encoder", key)
            if tensor.is_floating_point():
                name, third = ldm_text(key)
                shape = ",".join(map(str, tensor.shape))
                third = "-" if third is None else third
                f.write(f"text_encoder/model.safetensors\t{key}\t{name}\t{shape}\t{third}\n")
        for key, tensor in unet.state_dict().items():
            shape = ",".join(map(str, tensor.shape))
            f.write(
                f"unet/diffusion_pytorch_model.safetensors\t{key}\t{ldm_unet(key)}\t{shape}\t-\n"
            )
    with torch.no_grad(), webui_upsampling():
        single = tensors(text, unet)
        check_against_diffusers(single, unet)
        lines = save("golden", single, tensors(text.double(), unet.double()), FOLDER)
    with open(os.path.join(FOLDER, "index.txt"), "w", encoding="ascii") as f:
        f.write("# file tensor shape mean std f64\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
