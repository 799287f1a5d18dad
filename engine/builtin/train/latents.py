"""Stage 2: scenes as latents.   python latents.py --work build/train --size 64 --count 2048

Writes shards of 256 scenes with the mean of their latents; existing shards are kept, so this can be
repeated with a larger count. Stage 3 makes the ones at 128 pixels itself, a few at a time.
"""
import argparse
import pathlib
import numpy as np
import torch
import common
import fast
import render

SHARD = 256


def make_shard(vae, work, size, shard):
    """Writes one shard unless it exists."""
    folder = work / f"latents{size}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{shard:04d}.pt"
    if path.exists():
        return
    rng = np.random.default_rng([size, shard])
    scenes = [render.scene(rng) for _ in range(SHARD)]
    out = []
    for i in range(0, SHARD, 16):
        x = np.stack([render.render(s, size) for s in scenes[i:i + 16]])
        x = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            d = vae.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist
        out.append(d.mean.float())
    common.save(path, scenes=scenes, latents=torch.cat(out))


if __name__ == "__main__":
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--size", default=64, type=int)
    args.add_argument("--count", default=2048, type=int)
    args = args.parse_args()
    fast.install()
    vae = common.load_vae(args.work / "vae.pt")
    for shard in range(args.count // SHARD):
        make_shard(vae, args.work, args.size, shard)
        print(f"{args.size}: {shard + 1}/{args.count // SHARD}", flush=True)
