"""Makes the pictures that single files are checked with (README.md, "single"): the files that tests
make of the small models, opened and painted with by diffusers' from_single_file.

usage: make_single.py         (needs the packages of requirements.txt, peft, and CLIP's vocabulary
                               as make_words.py does)

diffusers reads the weights from the single file alone; of the folder that it wants beside it only
the configurations are used, which are not those of published sizes.
"""

import os
import pathlib
import tempfile

import numpy as np
import torch
from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders import single_file, single_file_utils
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

import make_beside
import make_sd2
import make_sdxl
import singlefiles
from make_golden import load
from make_words import tokenizer

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "single")
HEIGHT, WIDTH, STEPS, SEED, GUIDANCE, IMAGE_GUIDANCE = 64, 128, 10, 7, 2.0, 1.5
PROMPT, NEGATIVE = "a photo of a red cat on mars", "blue"
LORA = "lora/kohya.safetensors"


def scheduler(v):
    return EulerDiscreteScheduler(
        timestep_spacing="linspace", beta_start=0.00085, beta_end=0.012, steps_offset=1,
        beta_schedule="scaled_linear", prediction_type="v_prediction" if v else "epsilon")


def pipeline_of(name, folder):
    """(its class, one of the right sizes whose weights are of no use)."""
    family, _, kind = name.partition("-")
    tiny = load()
    tokens = tokenizer(folder, "!" if family == "sd2" else "<|endoftext|>")
    plain = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    channels = 9 if kind == "inpainting" else 8 if family == "edit" else 4
    vae = tiny["vae"]
    if family in ("sd1", "sd2", "edit"):
        cls = (StableDiffusionInpaintPipeline if kind == "inpainting" else
               StableDiffusionInstructPix2PixPipeline if family == "edit" else StableDiffusionPipeline)
        unet = UNet2DConditionModel(**make_sd2.UNET) if family == "sd2" else tiny["unet"]
        text = make_sd2.text_encoder(make_sd2.LAYERS - 1) if family == "sd2" else tiny["text_encoder"]
        unet = UNet2DConditionModel(**{**unet.config, "in_channels": channels})
        return cls, cls(vae, text, tokens, unet, scheduler(family == "sd2" or kind == "v"), **plain)
    vae.register_to_config(scaling_factor=0.13025, force_upcast=False)
    second = make_sdxl.text_encoder(CLIPTextModelWithProjection, "gelu")
    padded = tokenizer(folder, "!")
    if family == "refiner":
        cls = StableDiffusionXLImg2ImgPipeline
        return cls, cls(vae, None, second, None, padded, make_sdxl.network(make_sdxl.WIDTH, 5),
                        scheduler(False), requires_aesthetics_score=True)
    cls = StableDiffusionXLInpaintPipeline if kind else StableDiffusionXLPipeline
    unet = make_sdxl.network(2 * make_sdxl.WIDTH, 6)
    unet = UNet2DConditionModel(**{**unet.config, "in_channels": channels})
    first = make_sdxl.text_encoder(CLIPTextModel, "quick_gelu")
    return cls, cls(vae, first, second, tokens, padded, unet, scheduler(False))


def told_apart():
    """diffusers tells SDXL's two text encoders apart by their widths, which are the same here."""
    whole = single_file.create_diffusers_clip_model_from_ldm
    is_first = single_file_utils.is_clip_sdxl_model

    def create(cls, *args, **kwargs):
        second = cls is CLIPTextModelWithProjection
        single_file_utils.is_clip_sdxl_model = (lambda checkpoint: False) if second else is_first
        return whole(cls, *args, **kwargs)

    single_file.create_diffusers_clip_model_from_ldm = create


def opened(name, folder):
    """From the single file; the folder has configurations alone."""
    path, config = folder / f"{name}.safetensors", folder / name
    singlefiles.write(path, singlefiles.tensors_of(name))
    cls, like = pipeline_of(name, folder)
    like.save_pretrained(config)
    for weights in config.rglob("*.safetensors"):
        weights.unlink()
    pipe = cls.from_single_file(str(path), config=str(config), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def arguments(name, pipe):
    """What makes pictor's own request of it: it begins at the picture and the noise of a step."""
    image, _ = make_beside.picture()
    words = dict(prompt=PROMPT, negative_prompt=NEGATIVE, num_inference_steps=STEPS,
                 guidance_scale=GUIDANCE, generator=torch.Generator("cpu").manual_seed(SEED))
    size = dict(height=HEIGHT, width=WIDTH)
    if name == "edit":
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
        start = pipe.vae.encode(pixels).latent_dist.mode() * pipe.vae.config.scaling_factor
        noise = torch.randn(start.shape, generator=words["generator"])
        pipe.scheduler.set_timesteps(STEPS)
        return dict(words, image=image, image_guidance_scale=IMAGE_GUIDANCE,
                    latents=noise + start / pipe.scheduler.init_noise_sigma)
    if name == "refiner":
        return dict(words, image=image, strength=0.5)
    if name.endswith("inpainting"):
        white = Image.new("L", (WIDTH, HEIGHT), 255)
        return dict(words, **size, image=image, mask_image=white, strength=0.99)
    return dict(words, **size)


def main():
    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mode()
    told_apart()
    torch.manual_seed(0)
    os.makedirs(FOLDER, exist_ok=True)
    image, _ = make_beside.picture()
    out = {"picture": torch.from_numpy(np.array(image))}
    with tempfile.TemporaryDirectory() as folder:
        for name in singlefiles.NAMES:
            pipe = opened(name, pathlib.Path(folder))
            images = {name: pipe(**arguments(name, pipe), output_type="np").images[0]}
            if name == "sdxl":
                pipe.load_lora_weights(str(singlefiles.GOLDEN / LORA))
                images["sdxl-lora"] = pipe(**arguments(name, pipe), output_type="np").images[0]
            for key, value in images.items():
                assert value.shape == (HEIGHT, WIDTH, 3) and value.std() > 0.02, (key, value.std())
                levels = np.ascontiguousarray((value * 255).astype(np.uint8))  # cut, as the WebUI does
                out[key] = torch.from_numpy(levels)
                print(key, value.mean(), value.std(), flush=True)
    path = os.path.join(FOLDER, "golden.safetensors")
    save_file(out, path)
    os.chmod(path, 0o644)


if __name__ == "__main__":
    with torch.no_grad():
        main()
