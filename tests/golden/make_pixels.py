"""Makes the models that unconditional diffusion over pixels is checked against (README.md, "pixels").

usage: make_pixels.py         (needs the packages of requirements.txt)

Two small random UNet2DModels of diffusers: "rgb" a pipeline's folder, "grey" a model's folder alone,
with the settings of the first published models. Whole pictures are diffusers' pipelines'.
"""

import json
import os

import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import save_file

import make_sd2
from make_golden import noise, save

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pixels")
SIDE, STEPS, SEED = 16, 10, 7
COMMON = dict(
    sample_size=SIDE,
    block_out_channels=(32, 64),
    layers_per_block=1,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    norm_num_groups=8,
)
GREY = dict(flip_sin_to_cos=False, freq_shift=1, downsample_padding=0, norm_eps=1e-6)
GREY.update(in_channels=1, out_channels=1, attention_head_dim=None)


def fill(name, module):
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            tensor.copy_(make_sd2.weight("pixels." + name, key, tuple(tensor.shape)))
    return module.eval()


def write(folder, module):
    os.makedirs(folder, exist_ok=True)
    state = module.state_dict()
    assert all(torch.equal(v, v.half().float()) for v in state.values())
    path = os.path.join(folder, "diffusion_pytorch_model.safetensors")
    save_file({k: v.half().contiguous() for k, v in state.items()}, path)
    os.chmod(path, 0o644)
    config = {k: v for k, v in module.config.items() if not k.startswith("_")}
    write_json(os.path.join(folder, "config.json"), {"_class_name": "UNet2DModel", **config})


def write_json(path, value):
    with open(path, "w", encoding="ascii") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def pictures(name, module, out):
    generator = torch.Generator().manual_seed(SEED)
    ddpm = DDPMScheduler(timestep_spacing="trailing")
    pipeline = DDPMPipeline(module, ddpm)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline(num_inference_steps=STEPS, generator=generator, output_type="np").images
    out[f"{name}.ddpm"] = torch.from_numpy(picture).permute(0, 3, 1, 2) * 2 - 1
    pipeline = DDIMPipeline(module, DDIMScheduler(timestep_spacing="trailing"))
    pipeline.scheduler = DDIMScheduler(timestep_spacing="trailing")
    pipeline.set_progress_bar_config(disable=True)
    for eta in (0, 0.5):
        generator = torch.Generator().manual_seed(SEED)
        picture = pipeline(
            num_inference_steps=STEPS,
            eta=eta,
            use_clipped_model_output=True,
            generator=generator,
            output_type="np",
        ).images
        out[f"{name}.ddim.eta{eta:g}"] = torch.from_numpy(picture).permute(0, 3, 1, 2) * 2 - 1


def main():
    out = {}
    models = {
        "rgb": fill("rgb", UNet2DModel(**COMMON)),
        "grey": fill("grey", UNet2DModel(**{**COMMON, **GREY})),
    }
    for name, module in models.items():
        channels = module.config.in_channels
        x = noise(120 + channels, 1, channels, SIDE, SIDE)
        out[f"{name}.x"] = x
        for t in (999, 400, 0):
            out[f"{name}.t{t}"] = module(x, t).sample
        x = noise(130 + channels, 1, channels, 12, 20)
        out[f"{name}.wide.x"] = x
        out[f"{name}.wide.t400"] = module(x, 400).sample
        pictures(name, module, out)
    write(os.path.join(FOLDER, "rgb", "unet"), models["rgb"])
    write(os.path.join(FOLDER, "grey"), models["grey"])
    os.makedirs(os.path.join(FOLDER, "rgb", "scheduler"), exist_ok=True)
    config = {k: v for k, v in DDPMScheduler().config.items() if not k.startswith("_")}
    write_json(
        os.path.join(FOLDER, "rgb", "scheduler", "scheduler_config.json"),
        {"_class_name": "DDPMScheduler", **config},
    )
    write_json(
        os.path.join(FOLDER, "rgb", "model_index.json"),
        {
            "_class_name": "DDPMPipeline",
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"],
        },
    )
    lines = save("golden", out, folder=FOLDER)
    with open(os.path.join(FOLDER, "index.txt"), "w", encoding="ascii") as f:
        f.write("# file tensor shape mean std f64\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        main()
