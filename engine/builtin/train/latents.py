"""Stage 4: scenes as latents with captions.   python latents.py --work W --picture 64 --count 20000

Writes shards of 256: the mean of each latent, standardised per channel (stats.pt), and the token
ids of several captions. Existing shards are kept, so this can be repeated with a larger --count.
With --workers so many processes make the scenes, that a GPU need not wait for them.
"""
import argparse
import pathlib
import time
import torch
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
    args = args.parse_args()
    device = common.device()
    vae = common.load_vae(args.work, args.size, device, best=False)
    archive = args.work / "drawings.zip"
    atlas = compose.Atlas(archive, min(192, args.picture), device)
    folder = args.work / f"latents{args.picture}"
    folder.mkdir(exist_ok=True)
    shards = [s for s in range(-(-args.count // SHARD)) if not (folder / f"{s:04d}.pt").exists()]
    seeds = [[args.picture, s, k] for s in shards for k in range(SHARD // args.batch)]
    made = supply.supply(scenes.Things(archive, args.factor, args.focus), seeds, args.batch, args.workers,
                         mix=args.mix, style=args.style)
    start = time.time()
    for shard in shards:
        means, ids = [], []
        for _ in range(SHARD // args.batch):
            packed, rows = next(made)
            packed = {k: v.to(device) for k, v in packed.items()}
            x = 2 * compose.paint(packed, atlas, args.picture) - 1
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, common.has_bfloat16(device)):
                means.append(vae.encode(x.contiguous(memory_format=torch.channels_last))[0])
            ids.append(torch.as_tensor(rows))
        z = torch.cat(means)
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
