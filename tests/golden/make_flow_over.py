"""Makes the pictures that FLUX.1 and Stable Diffusion 3 paint over others (README.md, "flow_over").

usage: make_flow_over.py      (needs the packages of requirements-flow.txt; after make_flux1.py and make_sd3.py)

The models are those of flux1/ and sd3/. A picture begun from one, and one of which the left third is
painted over, are diffusers' FluxImg2ImgPipeline's and FluxInpaintPipeline's, and Stable Diffusion 3's
of either; FLUX.1 Kontext's and Fill's are those of FluxKontextPipeline and FluxFillPipeline. Kontext
is [dev] by another name; of Fill `fill.safetensors` has what takes a latent in, which is wider, and
all else is [dev]'s. Pictures are encoded without chance: to the middle of what the encoder says.
Latents are decoded here: StableDiffusion3InpaintPipeline leaves the autoencoder's shift out.
"""

import os

import numpy as np
import sentencepiece
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxFillPipeline,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxKontextPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
)
from diffusers.pipelines.flux import (
    pipeline_flux_fill,
    pipeline_flux_img2img,
    pipeline_flux_inpaint,
    pipeline_flux_kontext,
)
from diffusers.pipelines.stable_diffusion_3 import (
    pipeline_stable_diffusion_3_img2img,
    pipeline_stable_diffusion_3_inpaint,
)
from PIL import Image

import make_flux1
import make_sd3
from make_flux1 import HERE, clip_pooled, fill, t5_states, unpack, write
from make_flux2 import draw, picture

FOLDER = os.path.join(HERE, "flow_over")
HEIGHT, WIDTH = 8, 12  # of a latent
STEPS, STRENGTH = 8, 0.75


def without_chance(noise):
    mode = lambda encoding, generator=None, sample_mode=None: encoding.latent_dist.mode()
    # Kontext's draws no noise of an even shape otherwise: the latents are given.
    for module in (pipeline_flux_img2img, pipeline_flux_inpaint, pipeline_flux_fill, pipeline_flux_kontext,
                   pipeline_stable_diffusion_3_img2img, pipeline_stable_diffusion_3_inpaint):
        module.retrieve_latents = mode
        module.randn_tensor = lambda *_, **__: noise.clone()


def run(p, **kwargs):
    """The picture [1, 3, h, w] in 0..1."""
    p.set_progress_bar_config(disable=True)
    z = p(height=8 * HEIGHT, width=8 * WIDTH, output_type="latent", **kwargs).images
    z = unpack(z, HEIGHT, WIDTH) if z.ndim == 3 else z
    config = p.vae.config
    return (p.vae.decode(z / config.scaling_factor + config.shift_factor).sample / 2 + 0.5).clamp(0, 1)


def flux1(out, modules, tokens, first, mask, dtype):
    dev, wide, schnell, vae = modules
    for module in modules:
        module.to(dtype)
    pooled = clip_pooled(dtype)
    dynamic = dict(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)
    parts = lambda kind, model: kind(
        FlowMatchEulerDiscreteScheduler(**(dict(shift=1.0) if model is schnell else dynamic)),
        vae, None, None, None, None, model)
    over = dict(image=first, num_inference_steps=STEPS, strength=STRENGTH)
    for name, kind, model, padded, kwargs in (
        ("schnell.over", FluxImg2ImgPipeline, schnell, 256, over),
        ("schnell.part", FluxInpaintPipeline, schnell, 256, dict(over, mask_image=mask)),
        ("dev.over", FluxImg2ImgPipeline, dev, 512, over),
        ("dev.part", FluxInpaintPipeline, dev, 512, dict(over, mask_image=mask)),
        ("kontext", FluxKontextPipeline, dev, 512, dict(
            image=first, num_inference_steps=4, max_area=64 * WIDTH * HEIGHT, _auto_resize=False)),
        ("fill", FluxFillPipeline, wide, 512, dict(image=first, mask_image=mask, num_inference_steps=4)),
    ):
        out[f"flux1.{name}.picture"] = run(
            parts(kind, model), prompt_embeds=t5_states(tokens, padded, dtype), pooled_prompt_embeds=pooled,
            guidance_scale=30.0 if name == "fill" else 3.5, **kwargs)


def sd3(out, medium, vae, clips, tokens, first, mask, dtype):
    for module in (medium, vae):
        module.to(dtype)
    make_flux1.PROMPT, prompt = "", make_flux1.PROMPT
    negative = make_sd3.said(clips, [], t5_states(tokens, 256, dtype), dtype)
    make_flux1.PROMPT = prompt
    positive = make_sd3.said(clips, make_sd3.WORDS, t5_states(tokens, 256, dtype), dtype)
    over = dict(image=first, num_inference_steps=STEPS, strength=STRENGTH,
                sigmas=[1 - i / STEPS for i in range(STEPS)], guidance_scale=make_sd3.GUIDANCE)
    for name, kind, kwargs in (
        ("over", StableDiffusion3Img2ImgPipeline, over),
        ("part", StableDiffusion3InpaintPipeline, dict(over, mask_image=mask)),
    ):
        p = kind(transformer=medium, scheduler=FlowMatchEulerDiscreteScheduler(shift=make_sd3.SHIFT), vae=vae,
                 text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None, text_encoder_3=None,
                 tokenizer_3=None)
        out[f"sd3.{name}.picture"] = run(
            p, prompt_embeds=positive[0], pooled_prompt_embeds=positive[1], negative_prompt_embeds=negative[0],
            negative_pooled_prompt_embeds=negative[1], **kwargs)


def models():
    dev = fill("transformer", FluxTransformer2DModel(**make_flux1.TRANSFORMER))
    state = {k: v.clone() for k, v in dev.state_dict().items()}
    wide = FluxTransformer2DModel(**dict(make_flux1.TRANSFORMER, in_channels=384, out_channels=64)).eval()
    weight = make_flux1.weight("fill.x_embedder.weight", (64, 384))
    wide.load_state_dict(dict(state, **{"x_embedder.weight": weight}))
    write(FOLDER, "fill.safetensors", {"img_in.weight": weight})
    schnell = FluxTransformer2DModel(**dict(make_flux1.TRANSFORMER, guidance_embeds=False)).eval()
    schnell.load_state_dict({k: v for k, v in state.items() if "guidance_embedder" not in k})
    return dev, wide, schnell, fill("vae", AutoencoderKL(**make_flux1.VAE))


def main():
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    flux = models()
    medium = fill("transformer", SD3Transformer2DModel(**make_sd3.MEDIUM))
    vae = fill("vae", AutoencoderKL(**dict(make_flux1.VAE, scaling_factor=1.5305, shift_factor=0.0609)))
    clips = [make_sd3.clip(0), make_sd3.clip(1)]
    tokens = sentencepiece.SentencePieceProcessor(model_file=os.path.join(HERE, "t5", "spiece.model"))
    first = picture(1, 96, 64)
    mask = np.zeros((64, 96), np.uint8)
    mask[:, :32] = 255
    found = []
    with torch.no_grad():
        for dtype in (torch.float32, torch.float64):
            out = {"first": torch.from_numpy(first).permute(2, 0, 1)[None].float()}
            noise = draw(7, 1, 16, HEIGHT, WIDTH).to(dtype)
            without_chance(noise)
            shown = Image.fromarray(first), Image.fromarray(mask)
            flux1(out, flux, tokens, *shown, dtype)
            sd3(out, medium, vae, clips, tokens, *shown, dtype)
            found.append(out)
    make_flux1.finish(FOLDER, *found)


if __name__ == "__main__":
    main()
