"""Makes the tensors that networks which are shown what they paint over are checked against
(README.md, "beside").

usage: make_beside.py         (needs the packages of requirements.txt)

The models are those of make_golden.py, make_sd2.py and make_sdxl.py but for the UNet's first
convolution, which takes 9 channels (inpainting) or 8 (InstructPix2Pix). Whole trajectories are
computed by diffusers' pipelines.
"""

import os

import numpy as np
import torch
from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionXLInpaintPipeline,
    UNet2DConditionModel,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from safetensors.torch import load_file

import make_sd2
import make_sdxl
import sdmodel
from make_golden import TINY, load, save, webui_upsampling

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "beside")
HEIGHT, WIDTH, STEPS, GUIDANCE, IMAGE_GUIDANCE = 64, 128, 10, 7.5, 1.5


def picture():
    """A picture and a mask over it, of which some edges lie within a latent pixel."""
    rng = np.random.Generator(np.random.PCG64(sdmodel.SEED))
    coarse = Image.fromarray(rng.integers(0, 256, (8, 16, 3), dtype=np.uint8))
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[12:50, 20:91] = 255
    return coarse.resize((WIDTH, HEIGHT), Image.BICUBIC), Image.fromarray(mask)


def scheduler(prediction):
    return EulerDiscreteScheduler(
        timestep_spacing="linspace",
        steps_offset=1,  # of no effect with this spacing; others are warned of
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
    )


def widened(unet, channels, name):
    """The network with a first convolution of so many channels, whose first four are as they were."""
    wide = UNet2DConditionModel(**{**unet.config, "in_channels": channels}).eval()
    state = unet.state_dict()
    shape = (state["conv_in.weight"].shape[0], channels, 3, 3)
    weight = make_sd2.weight("beside." + name, "conv_in.weight", shape)
    weight[:, :4] = state["conv_in.weight"]
    wide.load_state_dict({**state, "conv_in.weight": weight})
    return wide


def seen(name, out):
    """Notes what stood beside the latent in the network's first call."""

    def hook(module, args, kwargs):
        if f"{name}.beside" not in out:
            out[f"{name}.beside"] = args[0][:1, 4:].clone()

    return hook


def run(name, pipeline, unet, out, start, **arguments):
    hook = unet.register_forward_pre_hook(seen(name, out), with_kwargs=True)
    pipeline.set_progress_bar_config(disable=True)
    out[f"{name}.latents"] = pipeline(
        num_inference_steps=STEPS,
        latents=start,
        output_type="latent",
        **arguments,
    ).images
    out[f"{name}.conv_in"] = unet.conv_in.weight.data
    hook.remove()


def main():
    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mode()
    torch.manual_seed(0)
    os.makedirs(FOLDER, exist_ok=True)
    image, mask = picture()
    out = {
        "picture": torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1,
        "mask": torch.from_numpy(np.array(mask)).float() / 255,
    }
    tiny = load()
    text = load_file(os.path.join(TINY, "text.safetensors"))
    start = load_file(os.path.join(TINY, "trajectories.safetensors"))["start_noise"][None]
    plain = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    plain.update(text_encoder=None, tokenizer=None, vae=tiny["vae"])
    words = dict(
        guidance_scale=GUIDANCE,
        prompt_embeds=text["prompt.skip1"][None],
        negative_prompt_embeds=text["empty.skip1"][None],
    )
    over = dict(image=image, mask_image=mask, strength=1.0, height=HEIGHT, width=WIDTH)

    unet = widened(tiny["unet"], 9, "sd1")
    pipeline = StableDiffusionInpaintPipeline(unet=unet, scheduler=scheduler("epsilon"), **plain)
    run("sd1", pipeline, unet, out, start, **over, **words)

    unet = widened(tiny["unet"], 8, "edit")
    pipeline = StableDiffusionInstructPix2PixPipeline(
        unet=unet, scheduler=scheduler("epsilon"), **plain
    )
    edited = dict(image=image, image_guidance_scale=IMAGE_GUIDANCE)
    run("edit", pipeline, unet, out, start, **edited, **words)

    golden = load_file(os.path.join(make_sd2.FOLDER, "golden.safetensors"))
    unet = widened(make_sd2.fill("unet", UNet2DConditionModel(**make_sd2.UNET).eval()), 9, "sd2")
    pipeline = StableDiffusionInpaintPipeline(
        unet=unet, scheduler=scheduler("v_prediction"), **plain
    )
    words = dict(
        guidance_scale=GUIDANCE,
        prompt_embeds=golden["prompt.states"][None],
        negative_prompt_embeds=golden["empty.states"][None],
    )
    run("sd2", pipeline, unet, out, start, **over, **words)

    golden = load_file(os.path.join(make_sdxl.FOLDER, "golden.safetensors"))
    unet = widened(make_sdxl.fill("unet", make_sdxl.network(2 * make_sdxl.WIDTH, 6)), 9, "sdxl")
    vae = load()["vae"]
    vae.register_to_config(scaling_factor=0.13025, force_upcast=False)
    pipeline = StableDiffusionXLInpaintPipeline(
        vae, None, None, None, None, unet, scheduler("epsilon")
    )
    words = dict(
        guidance_scale=make_sdxl.GUIDANCE,
        prompt_embeds=golden["prompt.states"][None],
        negative_prompt_embeds=torch.zeros_like(golden["prompt.states"])[None],
        pooled_prompt_embeds=golden["prompt.pooled"][None],
        negative_pooled_prompt_embeds=torch.zeros_like(golden["prompt.pooled"])[None],
    )
    run("sdxl", pipeline, unet, out, start, **over, **words)
    lines = save("golden", out, folder=FOLDER)
    with open(os.path.join(FOLDER, "index.txt"), "w", encoding="ascii") as f:
        f.write("# file tensor shape mean std f64\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    with torch.no_grad(), webui_upsampling():
        main()
