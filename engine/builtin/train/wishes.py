"""What does a stranger see?   python wishes.py paint --pictor build/pictor --out F [--model M]

Paints wishes.txt at seeds 0 and 1 in an order that tells nothing, as sheets of twelve numbered
pictures without words. Someone who has not seen the words writes a line a picture, "17 a lighthouse";
then `python wishes.py list --names N` lays wish and name side by side, to be marked by hand, and
`python wishes.py count --names N` counts the lines of N that were marked, "17 a lighthouse =": "=" is
right, "-" is wrong; for styles "s" says that only the style is right and "t" that only the thing is.
"""
import argparse
import pathlib
import random
import re
import subprocess
from PIL import Image, ImageDraw

HERE = pathlib.Path(__file__).parent
SIDE, ACROSS, DOWN, MARGIN, SEEDS = 256, 4, 3, 20, (0, 1)


def wishes():
    """(group, words, seed) of every picture, in the order of the sheets."""
    out, group = [], None
    for line in (HERE / "wishes.txt").read_text().splitlines():
        if line.startswith("["):
            group = line.strip("[]")
        elif line and line[0] != "#":
            out += [(group, line, seed) for seed in SEEDS]
    random.Random(20).shuffle(out)
    return out


def paint(args):
    args.out.mkdir(parents=True, exist_ok=True)
    some = wishes()
    for i, (_, words, seed) in enumerate(some, 1):
        path = args.out / f"{i:03d}.png"
        model = ["--model", args.model] if args.model else []
        if not path.exists():
            subprocess.run([args.pictor, "generate", "-p", words, "--seed", str(seed), "-o", path,
                            "--width", str(SIDE), "--height", str(SIDE), *model],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    each = ACROSS * DOWN
    for first in range(0, len(some), each):
        sheet = Image.new("RGB", (ACROSS * (SIDE + MARGIN), DOWN * (SIDE + MARGIN)), "white")
        for k in range(min(each, len(some) - first)):
            x, y = k % ACROSS * (SIDE + MARGIN), k // ACROSS * (SIDE + MARGIN)
            sheet.paste(Image.open(args.out / f"{first + k + 1:03d}.png").convert("RGB"), (x, y))
            ImageDraw.Draw(sheet).text((x + 4, y + SIDE + 4), str(first + k + 1), fill="black")
        sheet.save(args.out / f"sheet{first // each + 1:02d}.png")


def names(path):
    """{number: what was written of it}"""
    found = (re.match(r"\s*(\d+)[.:]?\s+(.*?)\s*$", line) for line in path.read_text().splitlines())
    return {int(m[1]): m[2] for m in found if m}


def lay(args):
    said = names(args.names)
    for i, (group, words, seed) in sorted(enumerate(wishes(), 1), key=lambda w: w[1][:2]):
        print(f"{i:3d} {group:9s} {seed} {words:42s} {said.get(i, '')}")


def count(args):
    said, marks = names(args.names), {}
    for i, (group, *_) in enumerate(wishes(), 1):
        marks.setdefault(group, []).append(said.get(i, "-")[-1])
    for group, them in [*marks.items(), ("all", sum(marks.values(), []))]:
        both, n = them.count("="), len(them)
        line = f"{group}: {both} of {n}, {100 * both / n:.0f}%"
        if group == "styles":
            line += f"; style {both + them.count('s')}, thing {both + them.count('t')}"
        print(line)


if __name__ == "__main__":
    args = argparse.ArgumentParser()
    args.add_argument("do", choices=["paint", "list", "count"])
    args.add_argument("--pictor", default="build/pictor")
    args.add_argument("--model", help="a name that pictor knows; its default otherwise")
    args.add_argument("--out", type=pathlib.Path)
    args.add_argument("--names", type=pathlib.Path)
    args = args.parse_args()
    {"paint": paint, "list": lay, "count": count}[args.do](args)
