"""Makes the tensors that ControlNets are checked against (README.md, "control").

usage: make_control.py        (needs the packages of requirements.txt)

A ControlNet begins as a copy of its UNet's way down, so here it is one, of the models of
make_golden.py and make_sdxl.py; what it has besides (hint block, zero convolutions) is random.
"""

import os

import torch
from diffusers import ControlNetModel
from safetensors.torch import load_file

import make_sd2
import make_sdxl
from make_golden import TINY, load, noise, save

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "control")
OWN = ("controlnet_",)


def control_of(name, unet, out):
    net = ControlNetModel.from_unet(unet).eval()
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if key.startswith(OWN):
                value = make_sd2.weight("control." + name, key, tuple(tensor.shape))
                if key.startswith(("controlnet_down", "controlnet_mid")):
                    value = value / 2
                tensor.copy_(value)
                out[f"{name}.{key}"] = value
    return net


def says(unet, net, x, t, context, image, weight, **extra):
    down, mid = net(
        x, t, encoder_hidden_states=context, controlnet_cond=image, conditioning_scale=weight,
        return_dict=False, **extra
    )
    return unet(
        x, t, context, down_block_additional_residuals=down, mid_block_additional_residual=mid,
        **extra
    ).sample


def main():
    os.makedirs(FOLDER, exist_ok=True)
    out = {}
    t = torch.tensor([500.0, 500.0])
    x = noise(140, 2, 4, 8, 16)
    image = (torch.tanh(noise(141, 1, 3, 64, 128)) + 1) / 2
    both = torch.cat([image, image])
    out["x"], out["image"] = x, image

    text = load_file(os.path.join(TINY, "text.safetensors"))
    context = torch.stack([text["prompt.skip1"], text["unicode.skip1"]])
    unet = load()["unet"]
    net = control_of("sd1", unet, out)
    out["sd1.one"] = says(unet, net, x, t, context, both, 1.0)
    out["sd1.weak"] = says(unet, net, x, t, context, both, 0.5)
    out["sd1.none"] = unet(x, t, context).sample
    again, middle = net(x, t, context, both, conditioning_scale=0.5, return_dict=False)
    other, mid = net(x, t, context, 1 - both, conditioning_scale=1.5, return_dict=False)
    out["sd1.two"] = unet(
        x, t, context,
        down_block_additional_residuals=[a + b for a, b in zip(again, other)],
        mid_block_additional_residual=middle + mid,
    ).sample

    # sd-webui-controlnet's control modes: diffusers' guess_mode has weights of nearly these
    # (logspace(-1, 0, n)), and leaves the first half of a batch out where this is the second.
    down, mid = net(x, t, context, both, return_dict=False)
    soft = [s * 0.825 ** (12 - i) for i, s in enumerate([*down, mid])]
    alone = [torch.cat([s[:1], torch.zeros_like(s[1:])]) for s in soft]
    region = torch.linspace(0, 1, 16).expand(8, 16) * torch.linspace(1, 0, 8)[:, None]
    there = [
        s * torch.nn.functional.interpolate(region[None, None], size=s.shape[-2:], mode="bilinear")
        for s in [*down, mid]
    ]
    for name, said in (("soft", soft), ("alone", alone), ("region", there)):
        out["sd1." + name] = unet(
            x, t, context, down_block_additional_residuals=said[:-1],
            mid_block_additional_residual=said[-1],
        ).sample
    out["region"] = region.contiguous()
    hidden = both.clone()
    hidden[:, :, 8:40, 32:96] = -1
    out["sd1.hidden"] = says(unet, net, x, t, context, hidden, 1.0)

    golden = load_file(os.path.join(make_sdxl.FOLDER, "golden.safetensors"))
    context = torch.stack([golden["prompt.states"], golden["unicode.states"]])
    extra = dict(added_cond_kwargs={
        "text_embeds": torch.stack([golden["prompt.pooled"], golden["unicode.pooled"]]),
        "time_ids": torch.tensor([make_sdxl.numbers(64, 128)] * 2).float(),
    })
    unet = make_sdxl.fill("unet", make_sdxl.network(2 * make_sdxl.WIDTH, 6))
    net = control_of("sdxl", unet, out)
    out["sdxl.one"] = says(unet, net, x, t, context, both, 1.0, **extra)
    lines = save("golden", out, folder=FOLDER)
    with open(os.path.join(FOLDER, "index.txt"), "w", encoding="ascii") as f:
        f.write("# file tensor shape mean std f64\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        main()
