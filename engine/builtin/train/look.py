"""What is trained on, to be looked at.   python look.py --work W --out sheet.png

Random scenes with one caption each; --only noun, view, pair, shape or solid, --nouns for every noun's
drawing in turn, --views for every view.
"""
import argparse
import pathlib
import textwrap
import numpy as np
import torch
from PIL import Image, ImageDraw
import compose
import scenes
import views

WHAT = ("shape", "solid", "noun", "view", "pair")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--out", required=True, type=pathlib.Path)
    args.add_argument("--only", choices=WHAT)
    args.add_argument("--nouns", action="store_true")
    args.add_argument("--views", action="store_true")
    args.add_argument("--style", default=.2, type=float)
    args.add_argument("--first", default=0, type=int, help="of the nouns or views")
    args.add_argument("--count", default=60, type=int)
    args.add_argument("--across", default=10, type=int)
    args.add_argument("--picture", default=128, type=int)
    args.add_argument("--seed", default=0, type=int)
    args = args.parse_args()
    torch.manual_seed(args.seed)
    rng, things = np.random.default_rng(args.seed), scenes.Things(args.work / "drawings.zip", focus=True)
    some, said = [], []
    if args.nouns or args.views:
        for name in (list(views.VIEWS) if args.views else things.nouns)[args.first:args.first + args.count]:
            if args.views:
                view, where, time, items = views.view(rng, things, name)
                s = dict(what="view", view=view, items=items, style=None, said=True, colour=None, dark=False,
                         kind="one", names=[], ground=scenes.place(rng, where, time))
                said.append(scenes.caption(s, rng, things))
            else:
                s = dict(items=[scenes.item(rng, things.ids[name][0], None, .5, .5, .4, 0, 0)], style=None,
                         ground=scenes.suiting(rng, things, name, True))
                said.append(name)
            some.append(s)
    else:
        mix = [float(args.only == w) for w in WHAT] if args.only else scenes.MIX
        some = [scenes.scene(rng, things, mix=mix, style=args.style) for _ in range(args.count)]
        said = [scenes.caption(s, rng, things) for s in some]
    atlas = compose.Atlas(args.work / "drawings.zip", min(192, args.picture))
    x = torch.cat([compose.paint(compose.pack(some[i:i + 20]), atlas, args.picture)
                   for i in range(0, len(some), 20)])
    side, high = args.picture, args.picture + 36
    sheet = Image.new("RGB", (args.across * side, -(-len(some) // args.across) * high), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (img, words) in enumerate(zip((255 * x).byte().permute(0, 2, 3, 1).numpy(), said)):
        at = i % args.across * side, i // args.across * high
        sheet.paste(Image.fromarray(img), at)
        draw.text((at[0] + 2, at[1] + side), "\n".join(textwrap.wrap(words, side // 6)), fill="black", spacing=0)
    sheet.save(args.out)


if __name__ == "__main__":
    main()
