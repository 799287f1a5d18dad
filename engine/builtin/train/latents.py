"""Stage 4: scenes as latents with captions.   python latents.py --work W --picture 64 --count 20000

Writes shards of 256: the mean of each latent, standardised per channel (stats.pt), and the token
ids of several captions. Existing shards are kept, so this can be repeated with a larger --count.
With --workers so many processes make the scenes, that a GPU need not wait for them. With --halves
the pictures at half their size have latents, too, beside the others with the same captions.
"""
import argparse
import math
import pathlib
import time
import torch
import torch.nn.functional as F
import common
import compose
import networks
import scenes
import supply

SHARD = 256


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--size", default="small", choices=networks.SIZES)
    args.add_argument("--picture", default=128, type=int)
    args.add_argument("--count", default=20480, type=int)
    args.add_argument("--batch", default=32, type=int)
    args.add_argument("--workers", default=0, type=int)
    args.add_argument("--factor", default=4.0, type=float,
                      help="how much oftener familiar nouns come")
    args.add_argument("--focus", action="store_true", help="fewer drawings of a thing, larger")
    args.add_argument("--mix", default=scenes.MIX, type=float, nargs=5,
                      help="shares of shapes, solids, things, places, pairs")
    args.add_argument("--style", default=.2, type=float, help="share of pictures in a style")
    args.add_argument("--halves", action="store_true")
    args.add_argument("--seconds", default=math.inf, type=float, help="no more shards after these")
    args = args.parse_args()
    device = common.device()
    vae = common.load_vae(args.work, args.size, device, best=False)
    archive = args.work / "drawings.zip"
    atlas = compose.Atlas(archive, min(192, args.picture), device)
    sides = [args.picture // 2, args.picture] if args.halves else [args.picture]
    folders = [args.work / f"latents{side}" for side in sides]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    shards = [s for s in range(-(-args.count // SHARD)) if not (folders[-1] / f"{s:04d}.pt").exists()]
    seeds = [[args.picture, s, k] for s in shards for k in range(SHARD // args.batch)]
    made = supply.supply(scenes.Things(archive, args.factor, args.focus), seeds, args.batch, args.workers,
                         mix=args.mix, style=args.style)
    quick = device.type == "cuda"
    encode = torch.compile(vae.bfloat16().encode, dynamic=False) if quick else vae.encode
    start = time.time()

    def latents(x):
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, not quick and common.has_bfloat16(device)):
            x = (2 * x - 1).contiguous(memory_format=torch.channels_last)
            return encode(x.bfloat16() if quick else x)[0]

    for shard in shards:
        if time.time() - start > args.seconds:
            break
        means, ids = [[] for _ in sides], []
        for _ in range(SHARD // args.batch):
            packed, rows = next(made)
            packed = {k: v.to(device) for k, v in packed.items()}
            x = compose.paint(packed, atlas, args.picture)
            for side, into in zip(sides, means):
                into.append(latents(F.avg_pool2d(x, args.picture // side) if side < args.picture else x))
            ids.append(torch.as_tensor(rows))
        for folder, some in zip(folders, means):
            z = torch.cat(some).float()
            if not (args.work / "stats.pt").exists():
                common.save(args.work / "stats.pt", mean=z.mean((0, 2, 3)).cpu(),
                            std=z.std((0, 2, 3)).cpu())
            stats = common.load(args.work / "stats.pt", device)
            z = (z - stats["mean"][:, None, None]) / stats["std"][:, None, None]
            common.save(folder / f"{shard:04d}.pt", latents=z.half().cpu(), ids=torch.cat(ids))
        if shard % 4 == 3 or shard == shards[-1]:
            print(f"{args.picture}: shard {shard + 1} {time.time() - start:.0f}s", flush=True)


if __name__ == "__main__":
    main()
