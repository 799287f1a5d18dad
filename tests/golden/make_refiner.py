"""Makes the tensors that a picture of two models is checked against (README.md, "refiner").

usage: make_refiner.py        (needs the packages of requirements.txt)

SDXL and its refiner are those of sdxl/. Trajectories are computed by k-diffusion around diffusers'
UNets, with the SD WebUI's rule for when the refiner takes over; Euler's agrees with diffusers' own
two pipelines, denoising_end of the one being denoising_start of the other.
"""

import os

import torch
from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from safetensors.torch import load_file

import make_sdxl
import sampling
from make_golden import load, save, torch_noise, webui_upsampling
from make_sdxl import GUIDANCE, STEPS, WIDTH, Guided

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "refiner")
AT, LATER = 0.5, 0.8


class Refined:
    """Two models, of which the second answers once that share of the trained times is behind, or
    of the calls."""

    def __init__(self, base, refiner, at, calls=None):
        self.base, self.refiner, self.calls, self.mask = base, refiner, calls, None
        self.at = at
        self.made, self.switched = 0, False

    def denoise(self, x, sigma):
        t = torch.argmin((self.base.k.sigmas.to(sigma) - sigma.max()).abs())
        done = self.made / self.calls if self.calls else (999 - t) / 1000
        self.switched = self.switched or bool(done >= self.at)
        self.made += 1
        return (self.refiner if self.switched else self.base).denoise(x, sigma)


def run_pipelines(unet, refiner, start, golden):
    vae = load()["vae"]
    vae.register_to_config(scaling_factor=0.13025, force_upcast=False)
    scheduler = EulerDiscreteScheduler(
        timestep_spacing="linspace",
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
    )

    def words(first):
        states, pooled = golden["prompt.states"][None][..., first:], golden["prompt.pooled"][None]
        return dict(
            guidance_scale=GUIDANCE,
            prompt_embeds=states,
            negative_prompt_embeds=torch.zeros_like(states),
            pooled_prompt_embeds=pooled,
            negative_pooled_prompt_embeds=torch.zeros_like(pooled),
            num_inference_steps=STEPS,
            output_type="latent",
        )

    base = StableDiffusionXLPipeline(vae, None, None, None, None, unet, scheduler)
    other = StableDiffusionXLImg2ImgPipeline(
        vae, None, None, None, None, refiner, scheduler, requires_aesthetics_score=True
    )
    for pipeline in base, other:
        pipeline.set_progress_bar_config(disable=True)
    half = base(height=64, width=128, latents=start, denoising_end=AT, **words(0)).images
    size = (64, 128)
    return other(
        image=half,
        denoising_start=AT,
        original_size=size,
        target_size=size,
        negative_original_size=size,
        negative_target_size=size,
        **words(WIDTH),
    ).images[0]


def main():
    os.makedirs(FOLDER, exist_ok=True)
    golden = load_file(os.path.join(make_sdxl.FOLDER, "golden.safetensors"))
    networks = {
        "base": make_sdxl.fill("unet", make_sdxl.network(2 * WIDTH, 6)),
        "refiner": make_sdxl.fill("unet", make_sdxl.network(WIDTH, 5)),
    }
    states, pooled = golden["prompt.states"], golden["prompt.pooled"]
    contexts = torch.stack([states, torch.zeros_like(states)])
    pooled = torch.stack([pooled, torch.zeros_like(pooled)])
    start = torch_noise(61, 1, 4, 8, 16)
    out = {"start_noise": start[0]}

    def both(at, calls):
        eps = sampling.kexternal.DiscreteEpsDDPMDenoiser
        levels = sampling.ALPHAS_CUMPROD
        base = Guided(
            eps, levels, networks["base"], contexts, pooled, [make_sdxl.numbers(64, 128)] * 2
        )
        ids = [make_sdxl.numbers(64, 128, beauty) for beauty in (6.0, 2.5)]
        refiner = Guided(eps, levels, networks["refiner"], contexts[..., WIDTH:], pooled, ids)
        return Refined(base, refiner, at, calls)

    tables = sampling.schedules(STEPS)
    runs = {
        "euler.uniform": ("euler", "uniform", AT, None),
        "dpmpp_2m.karras": ("dpmpp_2m", "karras", LATER, None),
        "dpmpp_2m.karras.steps": ("dpmpp_2m", "karras", LATER, STEPS),
        "heun.karras.steps": ("heun", "karras", LATER, 2 * STEPS),
    }
    for name, (sampler, table, at, calls) in runs.items():
        s = tables[table]
        out[f"{name}.sigmas"] = s
        rows = sampling.run_k(both(at, calls), sampler, start * s[0], s, torch.zeros(1))
        out[f"{name}.latents"] = rows[-1:]
    theirs = run_pipelines(networks["base"], networks["refiner"], start, golden)
    end = out["euler.uniform.latents"][0]
    error = ((theirs - end).norm() / end.norm()).item()
    assert error < 1e-4, error
    print(f"  diffusers' two pipelines agree, error {error:.1e}")
    lines = save("golden", out, folder=FOLDER)
    with open(os.path.join(FOLDER, "index.txt"), "w", encoding="ascii") as f:
        f.write("# file tensor shape mean std f64\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    with torch.no_grad(), webui_upsampling():
        main()
