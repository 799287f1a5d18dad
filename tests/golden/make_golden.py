"""Makes the tiny model and the tensors that the engine is checked against (see README.md).

usage: make_golden.py [part...]      parts: model text unet vae schedules trajectories
                                     (default: these), sensitivity (a check, writes nothing)

Needs the packages of requirements.txt. Every tensor is computed in float32 by diffusers and
transformers from the checkpoint as it is read back from disk, and once more in float64: how far the
two are apart tells how precise a float32 engine can be (column "f64" of tiny/index.txt).
"""

import functools
import json
import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.loaders import single_file_utils
from diffusers.models.upsampling import Upsample2D
from safetensors.torch import load_file, save_file

import sampling
import sdmodel

TINY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny")
MODEL = os.path.join(TINY, "tiny-ldm.safetensors")
SCALE = 0.18215


# Writing.


def save(name, tensors, doubles=None, folder=TINY):
    """Writes NAME.safetensors, returns its lines of the index; refuses degenerate values."""
    tensors = {k: v.detach().float().contiguous().clone() for k, v in tensors.items()}
    lines = []
    for key, t in tensors.items():
        assert torch.isfinite(t).all(), key
        error = "-"
        if doubles and key in doubles:
            exact = doubles[key].double()
            error = f"{((t - exact).norm() / exact.norm().clamp(min=1e-30)).item():.1e}"
        if name != "schedules" and t.numel() > 100 and not key.endswith(
            ("ids", "mask", ".weight", ".bias")
        ):
            assert 0.05 < t.std() < 20, (key, t.std())
        shape = "x".join(map(str, t.shape))
        lines.append(
            f"{name} {key} {shape} {t.mean().item():.4f} "
            f"{t.std().item() if t.numel() > 1 else 0:.4f} {error}"
        )
    path = os.path.join(folder, name + ".safetensors")
    save_file(tensors, path)
    os.chmod(path, 0o644)
    return lines


def noise(seed, *shape):
    rng = np.random.Generator(np.random.PCG64([sdmodel.SEED, seed]))
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def torch_noise(seed, *shape):
    """Noise that an engine with torch's CPU generator draws for itself."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def both_precisions(make):
    """make(modules) in float32 and in float64."""

    @functools.wraps(make)
    def run():
        modules = load()
        with torch.no_grad():
            single = make(modules)
            double = make({k: m.double() for k, m in modules.items()})
        return single, double

    return run


def load():
    modules = sdmodel.TINY.modules()
    sdmodel.read_ldm(MODEL, modules)
    return modules


def like(module, t):
    return t.to(next(module.parameters()).dtype)


# The model.


def make_model():
    modules = sdmodel.TINY.modules("meta")
    sdmodel.write_ldm(MODEL, modules)
    sdmodel.write_ldm(MODEL, modules, fitted_output(load()))
    check_names(sdmodel.TINY, MODEL)
    folder = os.path.join(TINY, "diffusers")
    files = {
        "text_encoder": "model.safetensors",
        "unet": "diffusion_pytorch_model.safetensors",
        "vae": "diffusion_pytorch_model.safetensors",
    }
    text_keys = (
        "attention_dropout",
        "bos_token_id",
        "eos_token_id",
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "layer_norm_eps",
        "max_position_embeddings",
        "num_attention_heads",
        "num_hidden_layers",
        "pad_token_id",
        "vocab_size",
    )
    # What the configurations of published SD 1.x folders say, and nothing about this machine.
    for component, module in modules.items():
        if component == "text_encoder":
            config = {
                "architectures": ["CLIPTextModel"],
                "model_type": "clip_text_model",
                **{k: getattr(module.config, k) for k in text_keys},
            }
        else:
            config = {
                "_class_name": type(module).__name__,
                **{k: v for k, v in module.config.items() if not k.startswith("_")},
            }
        write_json(os.path.join(folder, component, "config.json"), config)
    write_json(
        os.path.join(folder, "scheduler", "scheduler_config.json"),
        {
            "_class_name": "PNDMScheduler",
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "num_train_timesteps": 1000,
            "prediction_type": "epsilon",
            "set_alpha_to_one": False,
            "skip_prk_steps": True,
            "steps_offset": 1,
        },
    )
    write_json(
        os.path.join(folder, "model_index.json"),
        {
            "_class_name": "StableDiffusionPipeline",
            "scheduler": ["diffusers", "PNDMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    with open(os.path.join(folder, "names.tsv"), "w", encoding="ascii") as f:
        for component, key, shape in sdmodel.weights_of(modules):
            f.write(
                f"{component}/{files[component]}\t{key}\t{sdmodel.ldm_name(component, key)}\t"
                f"{','.join(map(str, shape))}\n"
            )


def fitted_output(modules):
    """The UNet's last convolution, fitted by least squares to predict the noise in smooth pictures.

    All else stays random. With it a trajectory goes from noise to something smaller and smoother,
    as a real one does, so that its last steps weigh as much as they should.
    """
    unet = modules["unet"]
    context = contexts(modules["text_encoder"])
    context = torch.cat([context["c77"], context["uncond"]])
    inputs = []
    hook = unet.conv_out.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    n, size = 64, 8
    width = 9 * unet.conv_out.in_channels + 1
    squares = torch.zeros(width, width, dtype=torch.float64)
    products = torch.zeros(width, 4, dtype=torch.float64)
    for seed in range(1000, 1040):
        x0 = 0.8 * F.interpolate(noise(seed, n, 4, 4, 4), size=(size, size), mode="bicubic")
        eps = noise(seed + 1000, n, 4, size, size)
        pick = np.random.Generator(np.random.PCG64([sdmodel.SEED, seed + 2000]))
        t = torch.from_numpy(pick.integers(0, 1000, n))
        a = sampling.ALPHAS_CUMPROD[t].view(n, 1, 1, 1)
        with torch.no_grad():
            unet(
                a.sqrt() * x0 + (1 - a).sqrt() * eps,
                t,
                context[torch.from_numpy(pick.integers(0, len(context), n))],
            )
        rows = F.unfold(inputs.pop(), 3, padding=1).transpose(1, 2).reshape(-1, width - 1)
        rows = torch.cat([rows, torch.ones(len(rows), 1)], 1).double()
        squares += rows.T @ rows
        products += rows.T @ eps.permute(0, 2, 3, 1).reshape(-1, 4).double()
    hook.remove()
    ridge = 0.01 * n * size * size * torch.eye(width, dtype=torch.float64)
    fit = torch.linalg.solve(squares + ridge, products).float()
    return {
        ("unet", "conv_out.weight"): fit[:-1].T.reshape(unet.conv_out.weight.shape),
        ("unet", "conv_out.bias"): fit[-1],
    }


def write_json(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        json.dump(value, f, indent=2, sort_keys=True)
        f.write("\n")


def check_names(shape, path):
    """The names of sdmodel.py against diffusers' own reading of single-file checkpoints."""
    checkpoint = load_file(path)
    modules = shape.modules()
    sdmodel.read_ldm(path, modules)
    theirs = {
        "unet": single_file_utils.convert_ldm_unet_checkpoint(
            dict(checkpoint), modules["unet"].config
        ),
        "vae": single_file_utils.convert_ldm_vae_checkpoint(
            dict(checkpoint), modules["vae"].config
        ),
        "text_encoder": single_file_utils.convert_ldm_clip_checkpoint(dict(checkpoint)),
    }
    for component, module in modules.items():
        ours = {
            sdmodel.canonical(component, k): v
            for k, v in module.state_dict().items()
            if v.is_floating_point()
        }
        read = {
            sdmodel.canonical(component, k): v
            for k, v in theirs[component].items()
            if not k.endswith("position_ids")
        }
        assert ours.keys() == read.keys(), ours.keys() ^ read.keys()
        for key, value in ours.items():
            assert torch.equal(value, read[key].float().reshape(value.shape)), key
            assert torch.equal(value, value.bfloat16().float()) and torch.equal(
                value, value.half().float()
            )
        print(component, len(ours), "weights:", sum(v.numel() for v in ours.values()))


# Text.

BOS, EOS = 49406, 49407


def sequences():
    """name -> 77 ids: start, at most 75 tokens, end, and the end token again as padding."""
    with open(os.path.join(TINY, "tokens.json"), encoding="ascii") as f:
        by_text = {case["text"]: case["ids"] for case in json.load(f)}
    rng = np.random.Generator(np.random.PCG64([sdmodel.SEED, 1]))
    chunks = {
        "empty": [],
        "prompt": by_text["a photo of an astronaut riding a horse on mars"],
        "unicode": by_text["a cat \U0001f431 and a dog\U0001f436!"],
        "full": by_text[
            "masterpiece, best quality, 1girl, solo, (detailed face:1.2), [blurry], highres"
        ]
        + rng.integers(0, BOS, size=75).tolist(),
    }
    return {name: [BOS] + ids[:75] + [EOS] * (76 - len(ids[:75])) for name, ids in chunks.items()}


def encode(text_encoder, ids, skip=1):
    """Hidden states after `skip` - 1 fewer layers and the final norm. [N, 77] -> [N, 77, C]."""
    states = []
    hooks = [
        layer.register_forward_hook(lambda module, args, out: states.append(out))
        for layer in text_encoder.encoder.layers
    ]
    out = text_encoder(torch.tensor(ids), output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    z = text_encoder.final_layer_norm(states[-skip])
    if skip == 1:
        assert torch.equal(z, out.last_hidden_state)
    assert torch.equal(states[-2], out.hidden_states[-2])
    return z


@both_precisions
def make_text(modules):
    encoder, out = modules["text_encoder"], {}
    for name, ids in sequences().items():
        out[f"{name}.ids"] = torch.tensor(ids)
        out[f"{name}.skip1"] = encode(encoder, [ids])[0]
        out[f"{name}.skip2"] = encode(encoder, [ids], 2)[0]
    assert (out["prompt.skip1"] - out["empty.skip1"]).norm() > 1
    return out


def contexts(encoder):
    ids = sequences()
    with torch.no_grad():
        z = encode(encoder, [ids[k] for k in ("prompt", "unicode", "full", "empty")])
    return {
        "c77": z[:2],
        "c154": torch.stack([torch.cat([z[0], z[2]]), torch.cat([z[1], z[3]])]),
        "cond": z[:1],
        "uncond": z[3:],
    }


# UNet.


class webui_upsampling:
    """Inside, an upsampler doubles, convolves, and only then is cut to the size of the skip tensor.

    So does the original code with the WebUI's patch; diffusers cuts before the convolution.
    (Nearest resizing from 2m to 2m-1 is leaving out the last row or column.)
    """

    def __enter__(self):
        self.forward = forward = Upsample2D.forward

        def patched(module, x, output_size=None, *args, **kwargs):
            x = forward(module, x, None, *args, **kwargs)
            return x if output_size is None else F.interpolate(x, size=output_size, mode="nearest")

        Upsample2D.forward = patched

    def __exit__(self, *_):
        Upsample2D.forward = self.forward


TIMES = {
    "t999": (999, 999),
    "t500.5": (500.5, 500.5),
    "t1": (1, 1),
    "t0": (0, 0),
    "tmix": (999, 20.25),
}


@both_precisions
def make_unet(modules):
    unet, out = modules["unet"], {}
    context = {k: like(unet, v.float()) for k, v in contexts(modules["text_encoder"]).items()}
    out["c77"], out["c154"] = context["c77"], context["c154"]

    def eps(x, time, c):
        return unet(x, like(unet, torch.tensor(time, dtype=torch.float32)), c).sample

    # 9x12 and 11x7 stand for sizes whose sides are not multiples of 8 latents.
    for i, (size, plan) in enumerate(
        [
            ((8, 8), [(t, c) for c in ("c77", "c154") for t in TIMES]),
            ((16, 24), [("t999", "c77"), ("t500.5", "c154")]),
            ((9, 12), [("t500.5", "c77"), ("t1", "c154")]),
            ((11, 7), [("tmix", "c77")]),
        ]
    ):
        name = f"{size[0]}x{size[1]}"
        x = like(unet, noise(10 + i, 2, 4, *size))
        out[f"{name}.latent"] = x
        odd = size[0] % 8 or size[1] % 8
        for t, c in plan:
            if not odd:
                out[f"{name}.{t}.{c}.eps"] = eps(x, TIMES[t], context[c])
                continue
            out[f"{name}.{t}.{c}.eps_diffusers"] = eps(x, TIMES[t], context[c])
            with webui_upsampling():
                out[f"{name}.{t}.{c}.eps"] = eps(x, TIMES[t], context[c])
            assert not torch.equal(*(out[f"{name}.{t}.{c}.{k}"] for k in ("eps", "eps_diffusers")))
    for t, time in TIMES.items():
        out[f"{t}.timestep"] = torch.tensor(time)
    one = out["8x8.t999.c77.eps"]
    for t in ("t500.5", "t1", "t0"):
        other = out[f"8x8.{t}.c77.eps"]
        # Timesteps 1 and 0 are close by nature; still far apart for the tolerance of 1e-4.
        assert (one - other).norm() > 0.005 * one.norm(), (t, (one - other).norm() / one.norm())
        one = other
    assert (out["8x8.t1.c77.eps"] - out["8x8.t1.c154.eps"]).norm() > 0.02 * one.norm()
    return out


@both_precisions
def make_merging(modules):
    """Self-attention at full resolution with the keys and values of a smaller picture."""
    unet, out = modules["unet"], {}
    context = like(unet, contexts(modules["text_encoder"])["c77"])
    time = like(unet, torch.tensor(TIMES["t500.5"], dtype=torch.float32))
    for i, size in ((10, (8, 8)), (12, (9, 12))):
        x = like(unet, noise(i, 2, 4, *size))
        for ratio in (0.5, 0.75):
            rows, columns = (
                [k * n // m for k in range(m)]
                for n, m in ((n, math.ceil(n * math.sqrt(1 - ratio))) for n in size)
            )
            kept = torch.tensor([r * size[1] + c for r in rows for c in columns])
            hooks = [
                layer.register_forward_hook(lambda _, __, tokens: tokens[:, kept])
                for stage in (unet.down_blocks[0], unet.up_blocks[3])
                for attention in stage.attentions
                for layer in (
                    attention.transformer_blocks[0].attn1.to_k,
                    attention.transformer_blocks[0].attn1.to_v,
                )
            ]
            with webui_upsampling():
                out[f"{size[0]}x{size[1]}.{ratio}.eps"] = unet(x, time, context).sample
            for hook in hooks:
                hook.remove()
    return out


@both_precisions
def make_unet_stages(modules):
    """What passes between the blocks for latent 8x8, timestep 500.5, 77 tokens."""
    unet, out, hooks = modules["unet"], {}, []
    context = like(unet, contexts(modules["text_encoder"])["c77"])

    def watch(name, module):
        def hook(_, __, result):
            # A down block returns its result and the list of skip tensors.
            out[name] = (
                result
                if torch.is_tensor(result)
                else result[0] if isinstance(result, tuple) else result.sample
            )

        hooks.append(module.register_forward_hook(hook))

    watch("time_embedding", unet.time_embedding)
    watch("conv_in", unet.conv_in)
    watch("down0.resnet0", unet.down_blocks[0].resnets[0])
    watch("down0.attention0", unet.down_blocks[0].attentions[0])
    block = unet.down_blocks[0].attentions[0].transformer_blocks[0]
    watch("down0.attention0.norm", unet.down_blocks[0].attentions[0].norm)
    for part in ("attn1", "attn2", "ff"):
        watch(f"down0.attention0.{part}", getattr(block, part))
    for i in range(4):
        watch(f"down{i}", unet.down_blocks[i])
    watch("mid", unet.mid_block)
    for i in range(4):
        watch(f"up{i}", unet.up_blocks[i])
    watch("norm_out", unet.conv_norm_out)
    time = like(unet, torch.tensor(TIMES["t500.5"], dtype=torch.float32))
    out["eps"] = unet(like(unet, noise(10, 2, 4, 8, 8)), time, context).sample
    for hook in hooks:
        hook.remove()
    return out


# VAE.


@both_precisions
def make_vae(modules):
    vae, out = modules["vae"], {}
    for i, (h, w) in enumerate([(64, 64), (96, 64)]):
        # A picture-like input: smooth shapes and a little grain, within [-1, 1].
        smooth = F.interpolate(noise(30 + i, 1, 3, 6, 6), size=(h, w), mode="bicubic")
        image = (0.5 * smooth + 0.05 * noise(40 + i, 1, 3, h, w)).clamp(-1, 1)
        z = SCALE * 4 * noise(50 + i, 1, 4, h // 8, w // 8)
        moments = vae.encode(like(vae, image)).latent_dist
        name = f"{h}x{w}"
        out[f"{name}.image"] = image
        out[f"{name}.mean"] = moments.mean
        out[f"{name}.logvar"] = moments.logvar
        out[f"{name}.scaled"] = moments.mean * SCALE
        out[f"{name}.latent"] = z
        out[f"{name}.decoded"] = vae.decode(like(vae, z) / SCALE).sample
    return out


# Schedules.


def make_schedules():
    model = sampling.Model()
    betas, alphas_cumprod = map(torch.from_numpy, sdmodel.scheduler_tables())
    out = {"betas": betas, "alphas_cumprod": alphas_cumprod, "sigmas": model.sigmas}
    probes = torch.tensor([0.01, 0.0291675, 0.03, 0.1, 0.5, 1, 1.5, 3, 7, 14, 14.614642, 20, 100])
    out["probe.sigma"], out["probe.timestep"] = probes, model.sigma_to_t(probes)
    times = torch.tensor([0, 0.25, 1, 99.5, 500.5, 750.125, 998.9, 999])
    out["probe.t"], out["probe.sigma_of_t"] = times, model.t_to_sigma(times)
    for n in (1, 2, 3, 10, 20, 30):
        for name, sigmas in sampling.schedules(n).items():
            out[f"{name}.{n}"] = sigmas
            out[f"{name}.{n}.timesteps"] = model.sigma_to_t(sigmas[sigmas > 0])
        out[f"ddim_timesteps.{n}"] = torch.from_numpy(sampling.ddim_timesteps(n))
    return out


# Trajectories.

STEPS = 10


@both_precisions
def make_trajectories(modules):
    unet = modules["unet"]
    c = {k: like(unet, v.float()) for k, v in contexts(modules["text_encoder"]).items()}
    dtype = c["cond"].dtype
    start, steps = torch_noise(60, 1, 4, 8, 16), torch_noise(61, 2 * STEPS, 4, 8, 16)
    init = 0.8 * F.interpolate(noise(62, 1, 4, 4, 8), size=(8, 16), mode="bicubic")
    mask = torch.zeros(1, 1, 8, 16)
    mask[:, :, 2:7, 3:12] = 1
    out = {
        "cond": c["cond"][0],
        "uncond": c["uncond"][0],
        "start_noise": start[0],
        "step_noise": steps,
        "init": init[0],
        "mask": mask[0],
    }
    start, init, mask = (t.to(dtype) for t in (start, init, mask))

    def model(masked=False):
        m = sampling.Model(
            lambda x, t, context: unet(x, t, context).sample, c["cond"], c["uncond"], dtype
        )
        if masked:
            m.mask, m.init = mask, init
        return m

    def add(name, sigmas, rows):
        out[f"{name}.latents"] = rows
        if sigmas is not None:
            out[f"{name}.sigmas"] = sigmas
        print(f"  {dtype} {name}: std", " ".join(f"{x.std():.2f}" for x in rows))

    tables = sampling.schedules(STEPS)
    for sampler in ("euler", "euler_a", "dpmpp_2m"):
        for schedule in ("uniform", "karras"):
            s = tables[schedule]
            add(
                f"{sampler}.{schedule}", s, sampling.run_k(model(), sampler, start * s[0], s, steps)
            )
    for sampler in sampling.K_SAMPLERS:
        if f"{sampler}.karras.latents" not in out:
            s = tables["karras"]
            add(f"{sampler}.karras", s, sampling.run_k(model(), sampler, start * s[0], s, steps))
    times = sampling.ddim_timesteps(STEPS)
    for eta in (0, 1):
        add(f"ddim.eta{eta}", None, sampling.run_ddim(model(), start, times, eta, steps))
    out["ddim.timesteps"] = torch.from_numpy(times)

    # Image to image at strength 0.6, without and with a mask.
    t_enc = int(min(0.6, 0.999) * STEPS)
    for kind, masked in (("img2img", False), ("inpaint", True)):
        for sampler, schedule in (
            ("euler", "uniform"),
            ("euler_a", "uniform"),
            ("dpmpp_2m", "karras"),
        ):
            s = tables[schedule][STEPS - t_enc - 1 :]
            add(
                f"{kind}.{sampler}.{schedule}",
                s,
                sampling.run_k(model(masked), sampler, init + start * s[0], s, steps),
            )
        a = sampling.ALPHAS_CUMPROD[times[t_enc]].double().item()
        add(
            f"{kind}.ddim.eta0",
            None,
            sampling.run_ddim(
                model(masked), a**0.5 * init + (1 - a) ** 0.5 * start, times[:t_enc], 0, steps
            ),
        )
    end = out["dpmpp_2m.karras.latents"][-1:]
    out["dpmpp_2m.karras.image"] = modules["vae"].decode(end / SCALE).sample[0]
    return out


def check_against_diffusers(out):
    """Where the conventions coincide, diffusers' schedulers must give the same trajectories."""
    from diffusers import DDIMScheduler, EulerDiscreteScheduler

    unet = load()["unet"]
    config = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    both = torch.stack([out["cond"], out["uncond"]])

    def run(scheduler, name, rows, **kwargs):
        scheduler.set_timesteps(STEPS)
        # The Euler scheduler scales the start itself: x = noise * sigma_0.
        x = out["start_noise"][None] * (
            scheduler.init_noise_sigma if isinstance(scheduler, EulerDiscreteScheduler) else 1
        )
        for i, t in enumerate(scheduler.timesteps[:rows]):
            with torch.no_grad():
                scaled = scheduler.scale_model_input(x, t)
                a, b = unet(torch.cat([scaled, scaled]), t, both).sample.chunk(2)
            more = {"variance_noise": out["step_noise"][i : i + 1], **kwargs} if kwargs else {}
            x = scheduler.step(b + sampling.GUIDANCE * (a - b), t, x, **more).prev_sample
            error = ((x[0] - out[f"{name}.latents"][i + 1]).norm() / x.norm()).item()
            assert error < 1e-4, (name, i, error)
        print(
            f"  {type(scheduler).__name__} agrees with {name}, {rows} steps, last error {error:.1e}"
        )

    run(EulerDiscreteScheduler(timestep_spacing="linspace", **config), "euler.uniform", STEPS)
    run(
        EulerDiscreteScheduler(timestep_spacing="linspace", use_karras_sigmas=True, **config),
        "euler.karras",
        STEPS,
    )
    ddim = DDIMScheduler(
        timestep_spacing="leading",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
        **config,
    )
    run(ddim, "ddim.eta0", STEPS - 1)
    run(ddim, "ddim.eta1", STEPS - 1, eta=1.0)


def check_sensitivity():
    """Leaves out each bias and each norm's scale in turn: some golden tensor must notice."""
    modules = load()
    context = contexts(modules["text_encoder"])
    ids, x = list(sequences().values()), noise(11, 2, 4, 16, 24)
    image, z = 0.5 * noise(30, 1, 3, 64, 64), 4 * noise(50, 1, 4, 8, 8)
    times = torch.tensor(TIMES["t500.5"])
    runs = {
        "text_encoder": lambda m: encode(m, ids),
        "unet": lambda m: m(x, times, context["c77"]).sample,
        "vae": lambda m: torch.cat(
            [m.encode(image).latent_dist.mean.flatten() / 2.7, m.decode(z).sample.flatten() / 0.5]
        ),
    }
    with torch.no_grad():
        for component, run in runs.items():
            module = modules[component]
            right, weak = run(module), []
            for key, tensor in module.named_parameters():
                if tensor.ndim != 1:
                    continue
                keep = tensor.clone()
                tensor.fill_(1 if sdmodel.is_norm(key) and key.endswith("weight") else 0)
                effect = ((run(module) - right).norm() / right.norm()).item()
                tensor.copy_(keep)
                if effect < 1e-3:
                    weak.append(f"{key} {effect:.0e}")
            print(
                f"{component}: {len(weak)} of {sum(p.ndim == 1 for p in module.parameters())} "
                f"vectors can be left out with an effect below 1e-3",
                *weak,
                sep="\n  ",
            )


def main():
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    parts = sys.argv[1:] or ["model", "text", "unet", "merging", "vae", "schedules", "trajectories"]
    if "model" in parts:
        make_model()
    index = os.path.join(TINY, "index.txt")
    lines = []
    if os.path.exists(index):
        with open(index, encoding="ascii") as f:
            lines = f.read().splitlines()[1:]

    def done(name, *tensors):
        lines[:] = [x for x in lines if x.split()[0] != name] + save(name, *tensors)

    if "text" in parts:
        done("text", *make_text())
    if "unet" in parts:
        done("unet", *make_unet())
        done("unet-stages", *make_unet_stages())
    if "merging" in parts:
        done("merging", *make_merging())
    if "vae" in parts:
        done("vae", *make_vae())
    if "schedules" in parts:
        done("schedules", make_schedules())
    if "trajectories" in parts:
        single, double = make_trajectories()
        check_against_diffusers(single)
        done("trajectories", single, double)
    if "sensitivity" in parts:
        check_sensitivity()
    with open(index, "w", encoding="ascii") as f:
        f.write("# file tensor shape mean std f64\n" + "\n".join(sorted(lines)) + "\n")


if __name__ == "__main__":
    main()
