"""Sampling, as a picture server does it: DDIM with guidance, then the decoder.

As a command, a grid of the lines of a file:   python sample.py --model M --prompts P --out grid.png
"""
import argparse
import pathlib
import numpy as np
import torch
from PIL import Image
import common
import export
import networks

TOKENIZER = common.Tokenizer()


@torch.no_grad()
def generate(models, prompts, picture=128, steps=20, guidance=4.0, seed=0, negative="", batch=32):
    """uint8 [n, picture, picture, 3] from networks of export.read()."""
    device = next(models["unet"].parameters()).device
    alphas = common.alphas().to(device)
    times = torch.linspace(999, 0, steps + 1).round().long().to(device)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(prompts), 4, picture // 8, picture // 8, generator=generator).to(device)
    out = []
    for i in range(0, len(prompts), batch):
        part, x = prompts[i:i + batch], noise[i:i + batch]
        n = len(part)
        ids = torch.from_numpy(TOKENIZER.rows([negative] * n + part).astype(np.int64)).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            context = models["text"](ids)
        for k in range(steps):
            with torch.autocast(device.type, torch.bfloat16):
                e = models["unet"](torch.cat([x, x]).contiguous(memory_format=torch.channels_last),
                                   times[k].expand(2 * n), context)
            e = e.float()[:n] + guidance * (e[n:] - e[:n]).float()
            a = alphas[times[k]]
            b = alphas[times[k + 1]] if k + 1 < steps else torch.ones((), device=device)
            z = (x - (1 - a).sqrt() * e) / a.sqrt()
            x = b.sqrt() * z + (1 - b).sqrt() * e
        with torch.autocast(device.type, torch.bfloat16):
            y = models["vae"].decode(x / common.LATENT_SCALE)
        out.append(((y.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu())
    return torch.cat(out).numpy()


def grid(images, columns=8):
    images = list(images) + [np.zeros_like(images[0])] * (-len(images) % columns)
    return Image.fromarray(np.concatenate([np.concatenate(images[i:i + columns], 1)
                                           for i in range(0, len(images), columns)]))


if __name__ == "__main__":
    args = argparse.ArgumentParser()
    args.add_argument("--model", required=True, type=pathlib.Path)
    args.add_argument("--size", default="small", choices=networks.SIZES)
    args.add_argument("--prompts", required=True, type=pathlib.Path)
    args.add_argument("--out", required=True, type=pathlib.Path)
    args.add_argument("--picture", default=128, type=int)
    args.add_argument("--guidance", default=4.0, type=float)
    args.add_argument("--seed", default=0, type=int)
    args = args.parse_args()
    models = export.read(args.model, args.size, common.device())
    lines = [line.strip() for line in args.prompts.read_text().splitlines() if line.strip()]
    images = generate(models, lines, args.picture, guidance=args.guidance, seed=args.seed)
    grid(images).save(args.out)
