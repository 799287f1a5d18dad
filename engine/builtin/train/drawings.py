"""Stage 1: the drawings, as one small file.   python drawings.py --work W

Fetches free icon sets from npm, keeps the drawings whose name is the name of an emoji of a thing
(no flags, no signs; people in two of their skin tones), adds some of further sets (icons.txt) and this
project's own (own.txt, figures.py), renders them with librsvg (rsvg-convert), trims them, and writes W/drawings.zip:
NNNN.webp of 192 pixels with transparency, and index.json with the name, the set, width and height (of 1)
of each. Renderings are kept in W/rendered, so that a further set costs only itself.
"""
import argparse
import concurrent.futures
import hashlib
import io
import json
import pathlib
import re
import subprocess
import tarfile
import zipfile
from PIL import Image
import figures

SETS = {"@iconify-json/fluent-emoji": "1.2.7", "@iconify-json/fluent-emoji-flat": "1.2.6",
        "@iconify-json/noto": "1.2.9", "@iconify-json/noto-v1": "1.2.5",
        "@iconify-json/twemoji": "1.2.5", "@iconify-json/emojione": "1.2.3",
        "@iconify-json/fxemoji": "1.2.2", "@iconify-json/streamline-emojis": "1.2.4"}
FURTHER = {"@iconify-json/streamline-ultimate-color": "1.2.2", "@iconify-json/streamline-kameleon-color": "1.2.2",
           "@iconify-json/flat-ui": "1.2.3", "@iconify-json/flat-color-icons": "1.2.3",
           "@iconify-json/icon-park": "1.2.4"}  # those of icons.txt
DISC = re.compile(r"(<g[^>]*>)?<path[^>]*/>")  # the ground of each drawing of Kameleon
BLUES = "#2F88FF", "#43CCF8"  # the fills of Icon Park
NAMES = ("emojibase-data", "17.0.0")
GROUPS = {0, 1, 3, 4, 5, 6, 7}  # faces, people, animals, food, places, activities, objects
SKIP = re.compile(r"o’clock|thirty|globe with|map of|castle of|with slash|oncoming|button|facing right|"
                  r"finger|gesturing|wheelchair|white cane|family:|kiss:|couple with heart:|deaf")
TONE = re.compile(r"-(medium-light|medium-dark|medium|light|dark)(-skin-tone)?$")
TONES = {"medium-light": "", "dark": ", dark"}  # people are drawn in the first where none is named
SIDE, LARGE = 192, 256


def package(folder, name, version):
    """The folder of an npm package, fetched once."""
    into = folder / name.split("/")[-1]
    if not into.exists():
        spec = f"{name}@{version}"
        made = subprocess.run(["npm", "pack", "--silent", "--pack-destination", folder, spec],
                              check=True, capture_output=True, text=True).stdout.split()[-1]
        with tarfile.open(folder / made) as tar:
            tar.extractall(into, **{"filter": "data"} if hasattr(tarfile, "data_filter") else {})
    return into / "package" if (into / "package").exists() else into


def plain(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


def own():
    """(name, SVG) of each drawing in own.txt, and of the people composed of parts."""
    made = {name: svg for name, _, svg in figures.figures()}
    for line in (pathlib.Path(__file__).parent / "own.txt").read_text().splitlines():
        if line.startswith("  "):
            made[name] += line.strip()
        elif line and line[0] != "#":
            name = line.strip()
            made[name] = ""
    return [(name, f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{body}</svg>')
            for name, body in made.items()]


def wrap(icons, icon, body):
    """An icon of a set as a file of its own."""
    w, h = (icon.get(k, icons.get(k, 16)) for k in ("width", "height"))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {w} {h}">{body}</svg>')


def further(folder):
    """(thing, set, SVG) of each drawing that icons.txt names."""
    made = []
    for line in (pathlib.Path(__file__).parent / "icons.txt").read_text().splitlines():
        if line.startswith("@"):
            kind = line.split()[1]
            name = "@iconify-json/" + kind
            icons = json.loads((package(folder, name, FURTHER[name]) / "icons.json").read_text())
        elif line and line[0] != "#":
            slug, thing, *fills = (part.strip() for part in line.split(":"))
            body = icons["icons"][slug]["body"]
            if kind == "streamline-kameleon-color":
                body = DISC.sub(lambda found: found[1] or "", body, count=1)
            for old, new in zip(BLUES, fills[0].split() if fills else ()):
                body = body.replace(old, new)
            made.append((thing, kind, wrap(icons, icons["icons"][slug], body)))
    return made


def draw(svg, kept):
    """WebP of an SVG, trimmed to what is opaque and centred; None when there is nothing to see."""
    path = kept / (hashlib.sha1(svg.encode()).hexdigest() + ".webp")
    if not path.exists():
        path.write_bytes(render(svg) or b"")
    return path.read_bytes()


def size(data):
    """Width and height of what is opaque, of 1."""
    img = Image.open(io.BytesIO(data)).convert("RGBA").getchannel("A")
    left, top, right, bottom = img.point(lambda a: 255 * (a > 40)).getbbox()
    return round((right - left) / SIDE, 2), round((bottom - top) / SIDE, 2)


def render(svg):
    made = subprocess.run(["rsvg-convert", "-w", str(LARGE), "-h", str(LARGE)], input=svg.encode(),
                          capture_output=True)
    if made.returncode:  # a few of the sets' drawings are not valid
        return None
    img = Image.open(io.BytesIO(made.stdout)).convert("RGBA")
    box = img.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox()
    if box is None:
        return None
    img = img.crop(box)
    scale = (SIDE - 8) / max(img.size)
    img = img.resize([max(1, round(n * scale)) for n in img.size], Image.LANCZOS)
    out = Image.new("RGBA", (SIDE, SIDE))
    out.paste(img, ((SIDE - img.width) // 2, (SIDE - img.height) // 2))
    data = io.BytesIO()
    out.save(data, "WEBP", quality=72, alpha_quality=60, method=5)
    return data.getvalue()


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--jobs", default=1, type=int)
    args.add_argument("--sets", nargs="+", choices=SETS, help="fewer than all")
    args = args.parse_args()
    folder = args.work / "icons"
    folder.mkdir(parents=True, exist_ok=True)
    kept = args.work / "rendered"
    kept.mkdir(exist_ok=True)
    emoji = json.loads((package(folder, *NAMES) / "en/data.json").read_text())
    label = {plain(e["label"]): (e["label"], e["group"] == 1) for e in emoji
             if e.get("group") in GROUPS and not SKIP.search(e["label"])}
    jobs = [(name, "own", svg) for name, svg in own()]
    for name in args.sets or SETS:
        icons = json.loads((package(folder, name, SETS[name]) / "icons.json").read_text())
        toned = {TONE.sub("", slug) for slug in icons["icons"] if TONE.search(slug)}
        for slug, icon in icons["icons"].items():
            tone = None if plain(slug) in label else TONE.search(slug)  # a police car light is no light police car
            bare = TONE.sub("", slug) if tone else slug
            thing, person = label.get(plain(re.sub(r"-\d$", "", bare)), (None, False))
            if thing is None or person and bare in toned and (not tone or tone[1] not in TONES):
                continue
            if tone and person:
                thing += TONES[tone[1]]
            jobs.append((thing, name.split("/")[1], wrap(icons, icon, icon["body"])))
    jobs += further(folder)
    index = []
    with zipfile.ZipFile(args.work / "drawings.new", "w") as out, \
            concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        made = pool.map(lambda job: draw(job[2], kept), jobs)
        for (thing, kind, _), data in zip(jobs, made):
            if data:
                out.writestr(f"{len(index):04d}.webp", data)
                index.append([thing, kind, *size(data)])
        out.writestr("index.json", json.dumps({"drawings": index}))
    (args.work / "drawings.new").rename(args.work / "drawings.zip")
    print(f"{len(index)} drawings of {len({n for n, *_ in index})} things, "
          f"{(args.work / 'drawings.zip').stat().st_size} bytes")


if __name__ == "__main__":
    main()
