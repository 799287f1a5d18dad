"""Stage 5: how often is the picture right?   python evaluate.py --model ../pictor-mini.safetensors

Draws every held-out combination of colour, shape and background (or a sample of them) and reads the
picture back: colours by distance, the shape by overlap with the renderer's own. Without --model it
reads the newest checkpoint in --work. Writes a grid of the first pictures to --grid.
"""
import argparse
import collections
import pathlib
import numpy as np
import torch
from PIL import Image
import common
import render
import sample


def nearest(rgb):
    return min(COLOURS, key=lambda n: float(np.sum((COLOURS[n] - rgb) ** 2)))


def fit(m, side=48):
    """A mask cut to its bounding box, centred in a square, [side, side] in 0..1."""
    ys, xs = np.where(m > .5)
    m = m[ys.min():ys.max() + 1, xs.min():xs.max() + 1]
    n = max(m.shape)
    box = np.zeros((n, n), np.float32)
    y, x = (n - m.shape[0]) // 2, (n - m.shape[1]) // 2
    box[y:y + m.shape[0], x:x + m.shape[1]] = m
    return np.asarray(Image.fromarray(box).resize((side, side), Image.BILINEAR))


COLOURS = {n: np.array(c[0], float) for n, c in render.COLOURS.items()}
TEMPLATES = [(n, fit(render.mask(n, .5, .5, .3, a, 192))) for n in render.SHAPES
             for a in (-.08, 0, .08)]


def read(img):
    """(colour, shape, background) of a uint8 picture of one shape; shape None when there is none."""
    p = img.astype(float)
    edge = np.concatenate([p[:3].reshape(-1, 3), p[-3:].reshape(-1, 3), p[:, :3].reshape(-1, 3),
                           p[:, -3:].reshape(-1, 3)])
    ground = np.median(edge, 0)
    far = np.sqrt(((p - ground) ** 2).sum(-1))
    strong = far > max(40, .5 * np.percentile(far, 99))
    if strong.mean() < .005:
        return None, None, nearest(ground)
    colour = np.median(p[far > .8 * np.percentile(far[strong], 60)], 0)
    m = fit(strong.astype(np.float32))
    score = lambda t: np.minimum(m, t).sum() / np.maximum(m, t).sum()
    shape, best = max(((n, score(t)) for n, t in TEMPLATES), key=lambda s: s[1])
    return nearest(colour), shape if best > .7 else None, nearest(ground)


def load(args):
    """(text, unet, vae, words, to_raw): to_raw takes sampled latents to the autoencoder's."""
    words = common.Words()
    text, unet = common.build_text(), common.build_unet()
    if args.model:
        import export
        vae = common.build_vae()
        export.read(args.model, text, unet, vae)
        words.row, words.unknown = {i: i for i in range(49408)}, 0
        to_raw = lambda z: z / common.LATENT_SCALE
    else:
        words.shrink(text)
        c = common.load(args.work / "diffusion.pt")
        print("step", c["step"])
        params = list(text.parameters()) + list(unet.parameters())
        common.Ema.copy_to(type("", (), {"shadow": c["ema"]}), params)
        vae = common.load_vae(args.work)
        mean, std = common.latent_stats(args.work)
        to_raw = lambda z: z * std + mean
    for m in (text, unet, vae):
        m.eval()
        m.requires_grad_(False)
    unet.to(memory_format=torch.channels_last)
    return text, unet, vae, words, to_raw


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--model", type=pathlib.Path)
    args.add_argument("--count", default=96, type=int)
    args.add_argument("--size", default=128, type=int)
    args.add_argument("--steps", default=20, type=int)
    args.add_argument("--guidance", default=5.0, type=float)
    args.add_argument("--seed", default=0, type=int)
    args.add_argument("--grid", type=pathlib.Path)
    args.add_argument("--prompts", type=pathlib.Path, help="draw these lines instead, no reading")
    args = args.parse_args()
    text, unet, vae, words, to_raw = load(args)

    combos = [(c, s, g) for c in render.COLOURS for s in render.SHAPES for g in render.COLOURS
              if render.distinct(c, g) and render.held_out(c, s, g)]
    order = np.random.default_rng(3).permutation(len(combos))[:args.count]
    combos = [combos[i] for i in order]
    prompts = [f"{render.article(c + ' ' + s)} on {render.article(g)} background" for c, s, g in combos]
    if args.prompts:
        prompts = [p.strip() for p in args.prompts.read_text().splitlines() if p.strip()]
    z = sample.latents(text, unet, words, prompts, args.size // 8, args.steps, args.guidance, args.seed)
    images = sample.decode(vae, to_raw(z))
    if args.grid:
        n = min(len(images) // 8 * 8 or len(images), 96)
        rows = [np.concatenate(list(images[i:i + 8]), 1) for i in range(0, n, 8)]
        Image.fromarray(np.concatenate(rows)).save(args.grid)
        args.grid.with_suffix(".txt").write_text("\n".join(prompts) + "\n")
    if args.prompts:
        return
    right = collections.Counter()
    wrong = collections.Counter()
    for prompt, want, img in zip(prompts, combos, images):
        got = read(img)
        ok = [a == b for a, b in zip(want, got)]
        right.update(k for k, o in zip(("colour", "shape", "background"), ok) if o)
        right["all"] += all(ok)
        wrong.update((a, b) for a, b in zip(want, got) if a != b)
    n = len(prompts)
    print(f"size {args.size} steps {args.steps} guidance {args.guidance} combinations {n}: " +
          ", ".join(f"{k} {100 * right[k] / n:.1f}%" for k in ("colour", "shape", "background", "all")))
    print("confused:", ", ".join(f"{a}->{b} {k}" for (a, b), k in wrong.most_common(8)))


if __name__ == "__main__":
    main()
