"""Scenes and captions: everything the built-in model knows is said here.

A scene is a background, up to three things on it and a style, as plain numbers: compose.py paints
many of them at once, caption() says one in many true ways. Coordinates and radii are fractions of
the picture's side, so one scene paints at any size. Whole combinations are held out of training
(held_out) to test composition.
"""
import json
import math
import pathlib
import zipfile
import numpy as np

# name: (rgb, other words for it)
COLOURS = {
    "red": ((222, 38, 38), ["crimson", "scarlet"]),
    "orange": ((247, 141, 28), ["tangerine"]),
    "yellow": ((250, 222, 45), ["golden", "lemon"]),
    "green": ((38, 160, 66), ["emerald"]),
    "cyan": ((60, 205, 215), ["turquoise", "teal", "aqua"]),
    "blue": ((40, 88, 220), ["azure"]),
    "navy": ((20, 28, 92), ["dark blue", "navy blue"]),
    "purple": ((132, 54, 180), ["violet"]),
    "pink": ((252, 150, 192), ["rose"]),
    "brown": ((124, 74, 38), ["chocolate"]),
    "black": ((18, 18, 18), ["dark"]),
    "white": ((247, 247, 247), ["snow white"]),
    "gray": ((130, 130, 130), ["grey"]),
}
SHAPES = {
    "circle": ["disc", "dot", "round shape"], "square": ["box"], "triangle": [],
    "star": ["five pointed star"], "heart": ["love heart"], "diamond": ["rhombus"], "hexagon": [],
    "pentagon": [], "ring": ["hoop"], "crescent": ["crescent moon"], "cross": ["plus", "plus sign"],
    "oval": ["ellipse"],
}
SOLIDS = {"sphere": ["ball", "3d ball"], "cube": ["3d cube"], "cylinder": ["3d cylinder"],
          "cone": ["3d cone"]}
PLACES = {
    "mountains": ["in the mountains", "with mountains behind", "in front of mountains"],
    "sea": ["at sea", "on the ocean", "by the sea", "with the sea behind"],
    "beach": ["on a beach", "at the beach", "on the sand by the sea"],
    "desert": ["in the desert", "on sand dunes", "in a desert"],
    "forest": ["in a forest", "in the woods", "among trees"],
    "meadow": ["in a meadow", "in a field of flowers", "on a flowery meadow"],
    "grass": ["on grass", "on a green lawn", "in a green field"],
    "snow": ["in the snow", "in winter", "on snow"],
    "city": ["in a city", "in front of a skyline", "in town"],
    "space": ["in space", "in outer space", "among the stars"],
    "underwater": ["under water", "underwater", "deep in the sea"],
    "sky": ["in the sky", "against the sky", "up in the blue sky"],
}
VIEWS = {
    "mountains": ["mountains", "a mountain landscape", "mountain peaks"],
    "sea": ["the sea", "the ocean", "a seascape"],
    "beach": ["a beach", "a sandy beach", "a sea shore"],
    "desert": ["a desert", "sand dunes", "a desert landscape"],
    "forest": ["a forest", "the woods", "a forest of fir trees"],
    "meadow": ["a meadow with flowers", "a flower field", "a flowery meadow"],
    "grass": ["a green field", "green hills", "a grassy landscape"],
    "snow": ["a snowy landscape", "a winter landscape", "snow covered hills"],
    "city": ["a city", "a city skyline", "skyscrapers"],
    "space": ["outer space", "space with stars", "the universe"],
    "underwater": ["the bottom of the sea", "an underwater scene", "the deep sea"],
    "sky": ["the blue sky", "a clear sky", "the sky"],
}
TIMES = {"day": ["", "", "by day", "in daylight", "on a sunny day"],
         "sunset": ["at sunset", "at dusk", "in the evening", "at sunrise"],
         "night": ["at night", "under a starry sky", "by night", "in moonlight"]}
STYLES = {
    "watercolour": ["watercolour painting", "watercolor", "watercolour"],
    "oil": ["oil painting", "oil on canvas"],
    "sketch": ["pencil sketch", "pencil drawing", "sketch"],
    "pixel": ["pixel art", "8-bit pixel art"],
    "glass": ["stained glass", "stained glass window"],
    "neon": ["neon sign", "neon lights", "neon"], "photo": ["grainy photo", "photograph", "photo"],
    "line": ["line art", "ink line drawing", "outline drawing"],
}
SIZES = {"small": (.14, .19), "medium": (.26, .32), "large": (.36, .41)}
SIZE_WORDS = {"small": ["small", "tiny", "little"], "large": ["large", "big", "huge"]}
SPOTS = {
    "centre": (.5, .5), "left": (.27, .5), "right": (.73, .5), "top": (.5, .27),
    "bottom": (.5, .73), "top left": (.26, .26), "top right": (.74, .26), "bottom left": (.26, .74),
    "bottom right": (.74, .74),
}
SPOT_WORDS = {
    "centre": ["in the center", "in the middle", "centered"],
    "left": ["on the left", "at the left"], "right": ["on the right", "at the right"], "top": ["at the top"], "bottom": ["at the bottom"],
    "top left": ["in the top left corner", "in the upper left"],
    "top right": ["in the top right corner", "in the upper right"],
    "bottom left": ["in the bottom left corner", "in the lower left"],
    "bottom right": ["in the bottom right corner", "in the lower right"],
}
PLURAL = {"cross": "crosses", "plus": "pluses", "rhombus": "rhombuses", "wolf": "wolves",
          "mouse": "mice", "leaf": "leaves", "knife": "knives", "cherry": "cherries",
          "goose": "geese", "sheep": "sheep", "fish": "fish", "deer": "deer", "scarf": "scarves",
          "cactus": "cacti"}
FOCUS = "fluent-emoji-flat"
CONTRAST = 95  # least distance in rgb between a shape and its ground
LAYERS, PROFILE = 4, 64  # ridges of a landscape, points of each


class Things:
    """What can be drawn: shapes, solids, then the drawings of the archive. Familiar nouns (marked *
    in subjects.txt) are chosen `factor` times as often as the others. With `focus` fewer drawings
    are used: one for each noun, in one flat hand and never mirrored; and things are larger."""

    def __init__(self, archive, factor=4.0, focus=False):
        self.focus = focus
        with zipfile.ZipFile(archive) as z:
            self.drawings = json.loads(z.read("index.json"))["drawings"]
        first = len(SHAPES) + len(SOLIDS)
        of, focused = {}, {}
        for i, (label, hand) in enumerate(self.drawings):
            of.setdefault(label, []).append(first + i)
            if hand == FOCUS or label not in focused:
                focused[label] = first + i
        self.ids, self.words, self.unseen, odds, used = {}, {}, {}, {}, set()
        for line in (pathlib.Path(__file__).parent / "subjects.txt").read_text().splitlines():
            if not line or line[0] == "#":
                continue
            name, *words = (part.strip() for part in line.split("|"))
            noun, _, labels = name.lstrip("*").partition(":")
            labels = [s.strip() for s in labels.split(";")] if labels else [noun]
            ids = [i for label in labels for i in of.get(label, [])]
            used.update(labels)
            if not ids:
                continue
            words = [[w.strip() for w in part.split(",") if w.strip()] for part in words + ["", ""]]
            self.ids[noun], self.words[noun], self.unseen[noun] = ids, words[0], words[1]
            if focus:
                self.ids[noun] = [next(focused[s] for s in labels if s in focused)]
            odds[noun] = factor if name[0] == "*" else 1.0
        self.nouns = list(self.ids)  # those that are measured; rarer ones follow
        for label, ids in of.items():
            if not focus and label not in used and label not in self.ids and len(ids) > 2:
                self.ids[label], self.words[label] = ids, []
                odds[label] = .1
        self.all = list(self.ids)
        odds = np.array(list(odds.values()))
        self.odds = odds / odds.sum()


def held_out_shape(colour, shape, ground):
    """One combination in eight never occurs in training."""
    c, s, g = list(COLOURS).index(colour), list(SHAPES).index(shape), list(COLOURS).index(ground)
    return (5 * c + 3 * s + 7 * g + c * s) % 8 == 0


def held_out(things, noun, other):
    """One pair in ten of a noun with a place or a style never occurs in training."""
    k = (list(PLACES) + list(STYLES)).index(other)
    return (3 * things.all.index(noun) + 7 * k) % 10 == 0


def distinct(a, b):
    return math.dist(COLOURS[a][0], COLOURS[b][0]) >= CONTRAST


def near(rng, rgb, jitter=8):
    return np.clip(np.add(rgb, rng.integers(-jitter, jitter + 1, 3)), 0, 255).astype(np.float32)


def one_of(rng, words, p=None):
    words = list(words)
    return words[rng.choice(len(words), p=p)]


def ridge(rng, kind, base, height):
    """Heights of a ridge along the picture, 0 the top."""
    x = np.linspace(0, 1, PROFILE)
    if kind == "flat":
        return np.full(PROFILE, base)
    if kind == "towers":
        widths = rng.integers(4, 9)
        return base - height * np.repeat(rng.uniform(0, 1, PROFILE // widths + 1), widths)[:PROFILE]
    if kind == "trees":  # triangles, none like the other
        f, p = rng.uniform(5, 9), rng.uniform(0, 1)
        saw = np.abs(2 * ((f * x + p) % 1) - 1)
        tall = .6 + .4 * np.sin(17 * np.floor(f * x + p) + 40 * p)
        return base - height * saw * tall
    waves = 0
    for f, a in ((1.3, .6), (2.7, .3), (6.1, .12)):
        wave = np.sin(2 * math.pi * (f * rng.uniform(.7, 1.3) * x + rng.uniform(0, 1)))
        waves = waves + a * (np.arcsin(wave) * 2 / math.pi if kind == "peaks" else wave)
    return base - height * (.5 + .5 * waves)


SKIES = {"day": [((90, 170, 240), (200, 230, 250)), ((60, 140, 230), (170, 215, 245))],
         "sunset": [((90, 60, 140), (252, 150, 70)), ((230, 90, 80), (255, 210, 120))],
         "night": [((8, 10, 40), (30, 40, 100)), ((5, 5, 25), (25, 25, 70))]}
GROUNDS = {  # (kind, base, height, rgb) of the ridges, far to near
    "mountains": [("peaks", .62, .42, (110, 120, 150)), ("peaks", .75, .3, (80, 95, 120)),
                  ("hills", .9, .12, (60, 110, 60))],
    "sea": [("flat", .55, 0, (30, 110, 190)), ("hills", .8, .04, (20, 90, 170))],
    "beach": [("flat", .45, 0, (40, 130, 200)), ("hills", .72, .06, (235, 210, 150))],
    "desert": [("hills", .68, .16, (225, 170, 95)), ("hills", .85, .18, (205, 145, 75))],
    "forest": [("trees", .62, .34, (40, 105, 70)), ("trees", .85, .42, (25, 80, 45)),
               ("hills", .92, .05, (35, 70, 35))],
    "meadow": [("hills", .62, .12, (110, 175, 80)), ("hills", .75, .1, (90, 165, 60))],
    "grass": [("hills", .62, .16, (95, 180, 75)), ("hills", .8, .12, (65, 150, 55))],
    "snow": [("peaks", .6, .2, (190, 205, 225)), ("hills", .8, .15, (240, 245, 252))],
    "city": [("towers", .7, .4, (120, 130, 150)), ("towers", .85, .4, (70, 75, 95)),
             ("flat", .92, 0, (60, 60, 65))],
    "space": [], "sky": [],
    "underwater": [("hills", .82, .12, (30, 90, 120)), ("hills", .93, .08, (190, 170, 110))],
}


def place(rng, name, time):
    """The ground of a landscape."""
    top, low = one_of(rng, SKIES[time])
    stars, flowers, snow = 60.0 * (time == "night"), 0.0, 0.0
    disc = None
    if name == "space":
        top, low, stars, time = (5, 5, 18), (25, 10, 50), 110.0, "night"
    elif name == "underwater":
        top, low, stars = (60, 170, 215), (10, 60, 120), 0.0
    elif rng.random() < .5:
        disc = (rng.uniform(.15, .85), rng.uniform(.1, .3), rng.uniform(.05, .1),
                {"day": (255, 240, 150), "sunset": (255, 225, 120), "night": (235, 235, 215)}[time])
    if name == "meadow":
        flowers = 150.0
    if name == "snow" and rng.random() < .6:
        snow = 70.0
    light = {"day": (1, 1, 1), "sunset": (.9, .7, .65), "night": (.32, .35, .5)}[time]
    layers = []
    for kind, base, height, rgb in GROUNDS[name]:
        h = ridge(rng, kind, base + rng.uniform(-.05, .05), height * rng.uniform(.7, 1.2))
        near_rgb = near(rng, rgb, 14) * light
        layers.append((h, near_rgb, near_rgb * rng.uniform(.55, .8)))
    return dict(name=name, time=time, top=near(rng, top), low=near(rng, low), disc=disc,
                layers=layers, stars=stars, flowers=flowers, snow=snow)


def plain(rng, colour, soft=False):
    rgb = near(rng, COLOURS[colour][0])
    low = np.clip(rgb * rng.uniform(.75, .95) + rng.uniform(0, 12), 0, 255) if soft else rgb
    return dict(name=None, colour=colour, top=rgb, low=low, disc=None, layers=[], stars=0.,
                flowers=0., snow=0.)


def item(rng, thing, rgb, x, y, r, jitter=.03, tilt=.04):
    jx, jy = rng.uniform(-jitter, jitter, 2)
    return dict(thing=thing, rgb=rgb, x=x + jx, y=y + jy, r=r, angle=rng.normal(0, tilt),
                flip=False)


def arrange(rng, kind, make):
    """Items of an arrangement; make(i, x, y, r, jitter) draws the i-th different thing."""
    if kind == "two":
        r = rng.uniform(.18, .22)
        return [make(0, x, .5, r, .02) for x in (.27, .73)]
    if kind == "three":
        r = rng.uniform(.135, .16)
        return [make(0, x, .5, r, .015) for x in (.18, .5, .82)]
    r = rng.uniform(.18, .22)
    (ax, ay), (bx, by) = ((.5, .26), (.5, .74)) if kind == "above" else ((.26, .5), (.74, .5))
    return [make(0, ax, ay, r, .02), make(1, bx, by, r, .02)]


def scene(rng, things, whole=False, mix=(.34, .03, .54, .09), style=.2):
    """A random scene as a plain dict; `whole` holds no combination out, for judges; `style` is the
    share of pictures in one."""
    what = one_of(rng, ["shape", "solid", "noun", "view"], mix)
    s = dict(what=what, kind="one", size="medium", spot="centre", style=None, names=[], items=[])
    if what != "shape" and rng.random() < style:
        s["style"] = one_of(rng, STYLES)
    if what == "view":
        s["ground"] = place(rng, one_of(rng, PLACES), one_of(rng, TIMES, [.6, .2, .2]))
        return s
    odds = [.4, .13, .08, .07, .25, .07] if what == "shape" else [.64, .08, .07, .05, .12, .04]
    s["kind"] = one_of(rng, ["one", "spot", "two", "three", "beside", "above"], odds)
    pair = s["kind"] in ("beside", "above")
    tints = [None, None]
    if what == "noun":
        while True:
            s["names"] = [one_of(rng, things.all, things.odds) for _ in range(1 + pair)]
            at = one_of(rng, PLACES) if rng.random() < .38 else None
            with_it = [w for w in (at, s["style"]) if w]
            if whole or not any(held_out(things, n, w) for n in s["names"] for w in with_it):
                break
        ids = [int(one_of(rng, things.ids[n])) for n in s["names"]]
        if at:
            s["ground"] = place(rng, at, one_of(rng, TIMES, [.7, .15, .15]))
        else:
            s["ground"] = plain(rng, one_of(rng, ["white", one_of(rng, COLOURS)], [.2, .8]),
                                rng.random() < .3)
    else:
        kinds = list(SHAPES if what == "shape" else SOLIDS)
        while True:
            ground = one_of(rng, COLOURS)
            named = [(one_of(rng, COLOURS), one_of(rng, kinds)) for _ in range(1 + pair)]
            free = whole or what == "solid"
            if (all(distinct(c, ground) and (free or not held_out_shape(c, k, ground))
                    for c, k in named) and (not pair or named[0] != named[1])):
                break
        s["names"] = named
        ids = [kinds.index(k) + (len(SHAPES) if what == "solid" else 0) for _, k in named]
        tints = [near(rng, COLOURS[c][0]) for c, _ in named]
        s["ground"] = plain(rng, ground)
    flip = [bool(what == "noun" and not things.focus and rng.random() < .5) for _ in range(2)]

    def make(i, x, y, r, jitter):
        made = item(rng, ids[i], tints[i], x, y, r, jitter)
        return dict(made, flip=flip[i])

    if s["kind"] == "one":
        s["size"] = one_of(rng, SIZES, [.06, .34, .6] if things.focus else [.15, .5, .35])
        low = .1 * (s["ground"]["name"] not in (None, "space", "sky", "underwater"))
        s["items"] = [make(0, .5, .5 + low, rng.uniform(*SIZES[s["size"]]), .04)]
    elif s["kind"] == "spot":
        s["spot"] = one_of(rng, SPOTS)
        s["size"] = "small" if " " in s["spot"] or rng.random() < .5 else "medium"
        r = rng.uniform(.15, .19) if s["size"] == "small" else rng.uniform(.2, .24)
        s["items"] = [make(0, *SPOTS[s["spot"]], r, .03)]
    else:
        s["items"] = arrange(rng, s["kind"], make)
    return s


def article(phrase):
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def plural(word):
    if word in PLURAL:
        return PLURAL[word]
    if word.endswith("s"):
        return word
    return word + ("es" if word.endswith(("sh", "ch", "x")) else "s")


def caption(s, rng, things):
    """One of many true captions of a scene."""
    def pick(words):
        return words[rng.integers(len(words))]

    def other(name, words, p):
        return pick(words) if words and rng.random() < p else name

    def colour(name):
        return other(name, COLOURS[name][1], .25)

    def called(name):
        if s["what"] == "noun":
            return other(name, things.words[name], .25)
        c, k = name
        return colour(c) + " " + other(k, (SHAPES if s["what"] == "shape" else SOLIDS)[k], .2)

    def single(name):
        word = called(name)
        return word if word.split()[-1].endswith("s") and s["what"] == "noun" else article(word)

    g = s["ground"]
    if s["what"] == "view":
        thing = pick(VIEWS[g["name"]])
    elif s["kind"] in ("two", "three"):
        number = pick({"two": ["two", "two", "2", "a pair of"], "three": ["three", "3"]}[s["kind"]])
        thing = f"{number} {plural(called(s['names'][0]))}"
    elif s["kind"] in ("beside", "above"):
        a, b = single(s["names"][0]), single(s["names"][1])
        thing = pick([f"{a} left of {b}", f"{b} right of {a}", f"{a} to the left of {b}",
                      f"{a} and {b}", f"{a} next to {b}", f"{a} on the left and {b} on the right"]
                     if s["kind"] == "beside" else
                     [f"{a} above {b}", f"{b} below {a}", f"{a} over {b}", f"{b} under {a}"])
    else:
        thing = single(s["names"][0])
        if rng.random() < .15:
            thing = called(s["names"][0])
        if s["size"] in SIZE_WORDS and rng.random() < .5:
            size = pick(SIZE_WORDS[s["size"]]) + " "
            thing = "a " + size + thing.removeprefix("an ").removeprefix("a ")
        if s["kind"] == "spot":
            thing += " " + pick(SPOT_WORDS[s["spot"]])
    if g["name"]:
        if s["what"] != "view":
            thing += " " + (pick(PLACES[g["name"]]) if rng.random() < .85 else "")
        if g["name"] not in ("space", "underwater"):
            thing += " " + pick(TIMES[g["time"]])
        if g["snow"] and rng.random() < .3:
            thing += " " + pick(["while it snows", "with falling snow"])
    else:
        c, way = colour(g["colour"]), rng.random()
        if way < .5:
            thing += f" {pick(['on', 'on', 'on', 'against', 'with'])} {article(c)} " + \
                pick(["background", "background", "background", "ground", "backdrop"])
        elif way < .6:
            thing += f" on {c}"
        elif way < .72:
            thing += f", {c} background"
        elif way < .8:
            thing = f"{c} background with {thing}"
    if s["style"]:
        style = pick(STYLES[s["style"]])
        thing = pick([f"{style} of {thing}", f"{article(style)} of {thing}", f"{thing}, {style}",
                      f"{thing} as {style}", f"{thing} in {style} style"])
    elif rng.random() < .1:
        thing = pick(["a picture of ", "an image of ", "a drawing of ", "an illustration of ",
                      "an icon of "]) + thing
    return " ".join(thing.split())
