"""Sampling, as a picture server does it: DDIM with guidance, then the decoder.

As a command, a grid of the lines of a file:   python sample.py --model M --prompts P --out grid.png
"""
import argparse
import functools
import pathlib
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
import common
import export
import networks

TOKENIZER = common.Tokenizer()


def denoise(models, x, times, context, guidance):
    """DDIM from the first of the times to no noise; context: of nothing, then of the words."""
    n, alphas, quick = len(x), common.alphas().to(x.device), common.has_bfloat16(x.device)
    kind = torch.bfloat16 if quick else torch.float32
    if (cpu := common.unet_cpu(x.device)):
        unet = functools.partial(cpu.run, models["unet"])
        context = context.transpose(0, 1).bfloat16().contiguous()
    else:
        unet = models["unet"]
    for k, t in enumerate(times):
        both = torch.cat([x, x]).to(kind).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, quick and not cpu):
            e = unet(both, t.expand(2 * n), context).float()
        e = e[:n] + guidance * (e[n:] - e[:n])
        a = alphas[t]
        b = alphas[times[k + 1]] if k + 1 < len(times) else torch.ones((), device=x.device)
        x = b.sqrt() * (x - (1 - a).sqrt() * e) / a.sqrt() + (1 - b).sqrt() * e
    return x


def decode(models, z):
    with torch.autocast(z.device.type, torch.bfloat16, common.has_bfloat16(z.device)):
        y = models["vae"].decode(z / common.LATENT_SCALE)
    return y.float().clamp(-1, 1)


@torch.no_grad()
def generate(models, prompts, picture, steps=20, guidance=4.0, seed=0, negative="", batch=32,
             strength=common.DETAIL):
    """uint8 [n, picture, picture, 3] from networks of export.read(). Larger ones than it can
    compose are composed small, enlarged, and painted over."""
    device, small = next(models["unet"].parameters()).device, min(picture, common.COMPOSE)
    generator, quick = torch.Generator().manual_seed(seed), common.has_bfloat16(device)
    draws = [torch.randn(len(prompts) + 16, 4, side // 8, side // 8, generator=generator).to(device)
             for side in (small, picture)]
    times = torch.linspace(999, 0, steps + 1).round().long()[:-1].to(device)
    again = torch.linspace(999 * strength, 0, round(steps * strength) + 1).long()[:-1].to(device)
    out = []
    for i in range(0, len(prompts), batch):
        part = prompts[i:i + batch]
        n = len(part)
        part = part + part[:1] * (-n % 16)  # as many as fast.cpp takes
        ids = TOKENIZER.rows([negative] * len(part) + part).astype(np.int64)
        with torch.autocast(device.type, torch.bfloat16, quick):
            context = models["text"](torch.from_numpy(ids).to(device))
        y = decode(models, denoise(models, draws[0][i:i + len(part)], times, context, guidance))
        if picture > small:
            y = F.interpolate(y, size=picture, mode="bicubic", antialias=True)
        if picture > small and strength > 0:
            with torch.autocast(device.type, torch.bfloat16, quick):
                z = models["vae"].encode(y.contiguous(memory_format=torch.channels_last))[0]
            a = common.alphas()[again[0]].item()
            z = a ** .5 * common.LATENT_SCALE * z.float() + (1 - a) ** .5 * draws[1][i:i + len(part)]
            y = decode(models, denoise(models, z, again, context, guidance))
        out.append(((y[:n] + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu())
    return torch.cat(out).numpy()


def grid(images, columns=8):
    images = list(images) + [np.zeros_like(images[0])] * (-len(images) % columns)
    return Image.fromarray(np.concatenate([np.concatenate(images[i:i + columns], 1)
                                           for i in range(0, len(images), columns)]))


if __name__ == "__main__":
    args = argparse.ArgumentParser()
    args.add_argument("--model", required=True, type=pathlib.Path)
    args.add_argument("--size", default="second", choices=networks.SIZES)
    args.add_argument("--prompts", required=True, type=pathlib.Path)
    args.add_argument("--out", required=True, type=pathlib.Path)
    args.add_argument("--picture", default=256, type=int)
    args.add_argument("--guidance", default=4.0, type=float)
    args.add_argument("--seed", default=0, type=int)
    args = args.parse_args()
    models = export.read(args.model, args.size, common.device())
    lines = [line.strip() for line in args.prompts.read_text().splitlines() if line.strip()]
    images = generate(models, lines, args.picture, guidance=args.guidance, seed=args.seed)
    grid(images).save(args.out)
