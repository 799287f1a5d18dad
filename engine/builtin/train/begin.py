"""Begins from weights that are there.   python begin.py --work W --model ../pictor-mini.safetensors

Takes the file's three networks apart into what the stages go on from: vae.pt, stats.pt, tokens.pt and
diffusion.pt. The file has the trained table of tokens, in which words of no caption had taken others'
rows; those that captions hold now get the row back that the sentence encoder's vector has, and
every token that a caption holds learns a difference of its own from now on. Where training is under
way already, only the tokens of new captions are added to these.
"""
import argparse
import pathlib
import numpy as np
import torch
import common
import export
import networks
import scenes
import text
import views


def held(tokenizer, things, count):
    """The tokens that captions hold, and those that they may."""
    rng, used = np.random.default_rng(2), {common.START, common.END}
    for _ in range(count):
        used.update(tokenizer.ids(scenes.caption(scenes.scene(rng, things), rng, things)))
    said = [w for noun in things.nouns for w in (noun, *things.words[noun])]
    said += [w for v in views.VIEWS.values() for w in v[0]]
    said += [w for table in (scenes.PLACES, scenes.VIEWS, scenes.TIMES, scenes.STYLES) for v in table.values()
             for w in v]
    for word in filter(None, said):
        used.update(tokenizer.ids(word) + tokenizer.ids(scenes.plural(word)))
    return sorted(used)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--size", default="second", choices=networks.SIZES)
    args.add_argument("--model", default="../pictor-mini.safetensors", type=pathlib.Path)
    args.add_argument("--captions", default=10000, type=int)
    args = args.parse_args()
    tokenizer, size = common.Tokenizer(), networks.SIZES[args.size]
    used = held(tokenizer, scenes.Things(args.work / "drawings.zip", focus=True), args.captions)
    print(f"{len(used)} tokens have rows of their own", flush=True)
    if (args.work / "diffusion.pt").exists():
        table = common.load(args.work / "tokens.pt")
        common.save(args.work / "tokens.pt", **{**table, "used": sorted({*table["used"], *used})})
        return
    models = export.read(args.model, args.size)
    words = [b.decode("utf-8", "replace") for b in tokenizer.bytes]
    # a map from the encoder's vectors to the trained rows, from words of captions and some others; words
    # that had others' rows do not fit it: found again and again without them
    rows = models["text"].tokens.clone()
    known = [i for i in used if i < common.START]
    more = [i for i in np.random.default_rng(3).permutation(40000)[:4000].tolist() if tokenizer.ends[i]]
    some = sorted({*known, *more})
    vectors = text.Reader(common.device())([words[i] for i in some])
    vectors = torch.cat([vectors, torch.ones(len(some), 1)], 1)
    whole = torch.tensor([1. if tokenizer.ends[i] else .7 for i in some])[:, None]  # as text.table()
    vectors, weight = vectors * whole, torch.ones(len(some), 1)
    for _ in range(6):
        turn = torch.linalg.lstsq(vectors * weight, rows[some] * weight).solution
        far = (vectors @ turn - rows[some]).norm(dim=1) / rows[some].norm(dim=1)
        weight = (far < 2.5 * far.median()).float()[:, None]
    own = dict(zip(some, (weight[:, 0] > 0).tolist()))
    back = [k for k, i in enumerate(some) if not own[i] and i in set(known)]
    for k in back:
        rows[some[k]] = vectors[k] @ turn
    print(f"median distance {far.median():.3f}; {len(back)} words of captions get their own row back: " +
          ", ".join(words[some[k]] for k in back[:60]), flush=True)

    scale = rows.abs().max() / 127
    common.save(args.work / "tokens.pt", tokens=(rows / scale).round().to(torch.int8), scale=scale, used=used)

    common.save(args.work / "stats.pt", mean=torch.zeros(4), std=torch.full((4,), 1 / common.LATENT_SCALE))
    common.save(args.work / "vae.pt", ema=list(models["vae"].parameters()))
    begun = networks.Text(size["text"], size["layers"], used)
    begun.load_state_dict({**models["text"].state_dict(), "own": torch.zeros_like(begun.own)})
    begun.tokens = rows
    both = torch.nn.ModuleList([begun, models["unet"]])
    common.save(args.work / "diffusion.pt", models=both.state_dict(), opt=None, step=0, seen=0, spent=0., used=used,
                ema=[p.detach().clone() for p in both.parameters()])


if __name__ == "__main__":
    main()
