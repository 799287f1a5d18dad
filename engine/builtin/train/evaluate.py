"""Stage 8: how often is the picture right?   python evaluate.py --work W --model M

Every bar of the model card, on prompts whose combination was held out of training where there is
one, read back by the judges (judges.py), whose own accuracy is measured first. --part .2 takes a
fifth of the prompts. Grids of the pictures go to --out.
"""
import argparse
import pathlib
import numpy as np
import torch
import common
import compose
import export
import judges
import networks
import sample
import scenes

args = argparse.ArgumentParser()
args.add_argument("--work", default="build/train", type=pathlib.Path)
args.add_argument("--model", required=True, type=pathlib.Path)
args.add_argument("--size", default="second", choices=networks.SIZES)
args.add_argument("--picture", default=256, type=int)
args.add_argument("--guidance", default=4.0, type=float)
args.add_argument("--part", default=1.0, type=float)
args.add_argument("--only", nargs="+", help="names of the measures to make")
args.add_argument("--out", type=pathlib.Path)
args = args.parse_args()
device = common.device()
judge, things = judges.load(args.work, device)
models = export.read(args.model, args.size, device)
shapes = judges.templates()
rng = np.random.default_rng(5)


def share(n):
    return max(4, int(n * args.part))


def draw(name, prompts, **how):
    images = sample.generate(models, prompts, args.picture, **{"guidance": args.guidance, **how})
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        sample.grid(images[:64]).save(args.out / f"{name}.png")
        (args.out / f"{name}.txt").write_text("\n".join(prompts[:64]) + "\n")
    return images


@torch.no_grad()
def said(images):
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(device).float() / 255
    return {k: v.cpu() for k, v in judge(x).items()}


def tell(name, bar, **figures):
    print(f"{name}: " + ", ".join(f"{k} {100 * np.mean(v):.1f}%" for k, v in figures.items()) +
          f" (wanted: {bar}; {len(next(iter(figures.values())))} pictures)", flush=True)


def hits(images, nouns):
    """Whether each noun is the retriever's first, and among its first five."""
    top = [retriever(i) for i in images]
    want = [things.nouns.index(n) for n in nouns]
    return [w in t[:1] for w, t in zip(want, top)], [w in t for w, t in zip(want, top)]


def a(noun):
    return noun if noun.split()[-1].endswith("s") else scenes.article(noun)


def on_white(noun):
    return f"{a(noun)} on a white background"


def colour_shape():
    all_of = [(c, s, g) for c in scenes.COLOURS for s in scenes.SHAPES for g in scenes.COLOURS
              if scenes.distinct(c, g) and scenes.held_out_shape(c, s, g)]
    some = [all_of[i] for i in rng.permutation(len(all_of))[:share(96)]]
    images = draw("shapes", [f"{scenes.article(c + ' ' + s)} on {scenes.article(g)} background"
                             for c, s, g in some])
    got = [judges.read_shape(i, shapes) for i in images]
    tell("colour x shape, held out", "all 90%",
         **{k: [w[i] == r[i] for w, r in zip(some, got)]
            for i, k in enumerate(("colour", "shape", "ground"))},
         all=[w == r for w, r in zip(some, got)])


def subjects():
    order = sorted(things.nouns, key=lambda n: -things.odds[things.all.index(n)])[:300]
    order = order[::max(1, round(1 / args.part))]
    first, five = hits(draw("subjects", [on_white(n) for n in order]), order)
    tell("subjects", "top 5 75%, top 1 50%", top1=first, top5=five)
    familiar = int(137 * len(order) / 300)
    tell("  familiar ones of these", "-", top1=first[:familiar], top5=five[:familiar])


def pairs():
    all_of = [(n, p) for n in things.nouns[:300] for p in scenes.HELD
              if scenes.held_out(things, n, p)]
    some = [all_of[i] for i in rng.permutation(len(all_of))[:share(100)]]
    images = draw("pairs", [f"{a(n)} {scenes.PLACES[p][0]}" for n, p in some])
    _, five = hits(images, [n for n, _ in some])
    place = [judges.PLACES[i] == p for i, (_, p) in zip(said(images)["place"].argmax(1), some)]
    tell("subject x background, held out", "both 60%", subject=five, background=place,
         both=np.logical_and(five, place))


def styles():
    nouns = "cat house apple car tree fish flower guitar sun bird".split()
    some = [(n, s) for n in nouns for s in list(scenes.STYLES)[:8]][::max(1, round(1 / args.part))]
    images = draw("styles", [f"{a(n)}, {scenes.STYLES[s][0]}" for n, s in some])
    style = [judges.STYLES[i] == s for i, (_, s) in zip(said(images)["style"].argmax(1), some)]
    tell("style", "80%", style=style, subject_top5=hits(images, [n for n, _ in some])[1])


def counts():
    some = [(k, n) for n in things.nouns[:share(25)] for k in range(3)]
    images = draw("counts", [[a(n), f"two {scenes.plural(n)}", f"three {scenes.plural(n)}"][k]
                             for k, n in some])
    got = said(images)["count"].argmax(1).tolist()
    tell("count", "70%", count=[i == k for i, (k, _) in zip(got, some)])


def relations():
    some = []
    while len(some) < share(60):
        c, d, g = (scenes.one_of(rng, list(scenes.COLOURS)) for _ in range(3))
        if scenes.distinct(c, g) and scenes.distinct(d, g) and scenes.distinct(c, d):
            some.append((c, scenes.one_of(rng, list(scenes.SHAPES)), d,
                         scenes.one_of(rng, list(scenes.SHAPES)), g))
    images = draw("relations", [f"{a(f'{c} {s}')} left of {a(f'{d} {t}')} on {a(g)} background"
                                for c, s, d, t, g in some])
    half = args.picture // 2
    got = [[judges.read_shape(side, shapes)[:2] for side in (i[:, :half], i[:, half:])]
           for i in images]
    tell("left of, by colour", "70%",
         colours=[(x[0], y[0]) == (w[0], w[2]) for w, (x, y) in zip(some, got)],
         colours_and_shapes=[(*x, *y) == w[:4] for w, (x, y) in zip(some, got)])


def synonyms():
    some = [(w, n) for n in things.nouns for w in things.unseen[n]][:share(100)]
    _, five = hits(draw("synonyms", [on_white(w) for w, _ in some]), [n for _, n in some])
    tell("words of no caption", "top 5 40%", top5=five)


def guidance():
    some = things.nouns[:share(64)]
    weak, strong = (hits(draw(f"guidance{g:g}", [on_white(n) for n in some], guidance=g), some)[1]
                    for g in (1., 7.))
    tell("guidance: subject in top 5", "more at 7", at1=weak, at7=strong)
    prompts = [a(n) for n in things.nouns[:share(48)]]  # grounds are then white most often
    grounds = [[judges.read_shape(i, shapes)[2] == "white" for i in
                draw("negative", prompts, negative=n)] for n in ("", "white background")]
    tell("negative prompt: white grounds", "fewer", without=grounds[0], with_it=grounds[1])


def autoencoder():
    seed = np.random.default_rng([8, 8])
    for size in (128, 256):
        atlas = compose.Atlas(args.work / "drawings.zip", min(size, 192), device)
        errors, seams = [], []
        for _ in range(share(64) // 8 + 1):
            _, x = judges.painted(seed, things, atlas, size, 8, device)
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
                y = models["vae"].decode(models["vae"].encode((2 * x - 1).contiguous(
                    memory_format=torch.channels_last))[0])
            d = (y.float().clamp(-1, 1) + 1) / 2 - x
            errors += d.square().mean((1, 2, 3)).tolist()
            step = (d[..., 1:] - d[..., :-1]).abs().mean((0, 1, 2))
            seams.append((step[7::8].mean() / step.mean()).item())
        print(f"autoencoder at {size}: PSNR {-10 * np.log10(np.mean(errors)):.1f} dB (wanted: 26 at "
              f"256; mean of each {np.mean(-10 * np.log10(errors)):.1f}), error steps at cell borders "
              f"{np.mean(seams):.2f} of the average", flush=True)


def real():
    judges.report(judge, retriever, atlas, device, share(2048))


atlas = compose.Atlas(args.work / "drawings.zip", 128, device)
retriever = judges.Retriever(things, atlas)
for measure in (real, colour_shape, subjects, pairs, styles, counts, relations, synonyms,
                guidance, autoencoder):
    if not args.only or measure.__name__ in args.only:
        measure()
