"""Scenes, captions and pictures: everything the built-in model knows comes from here.

A scene is a background colour and one to three flat shapes. render() draws it, caption() says it in
one of many ways; both read only the scene, so a picture can be described again and again.
Coordinates and radii are fractions of the picture's side: one scene renders at any size.
"""
import math
import numpy as np
from PIL import Image, ImageDraw

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
# name: other words for it
SHAPES = {
    "circle": ["disc", "dot", "ball", "round shape"],
    "square": ["box"],
    "triangle": [],
    "star": ["five pointed star"],
    "heart": ["love heart"],
    "diamond": ["rhombus"],
    "hexagon": [],
    "pentagon": [],
    "ring": ["donut", "hoop"],
    "crescent": ["moon", "crescent moon"],
    "cross": ["plus", "plus sign"],
    "oval": ["ellipse"],
}
PLURAL = {"cross": "crosses", "box": "boxes", "plus": "pluses", "rhombus": "rhombuses"}
SIZES = {"small": (0.13, 0.17), "medium": (0.24, 0.30), "large": (0.36, 0.42)}
SIZE_WORDS = {"small": ["small", "tiny", "little"], "large": ["large", "big", "huge"]}
PLACES = {  # centre of a single shape
    "centre": (0.5, 0.5), "left": (0.27, 0.5), "right": (0.73, 0.5), "top": (0.5, 0.27),
    "bottom": (0.5, 0.73), "top left": (0.25, 0.25), "top right": (0.75, 0.25),
    "bottom left": (0.25, 0.75), "bottom right": (0.75, 0.75),
}
PLACE_WORDS = {
    "centre": ["in the center", "in the middle", "centered"], "left": ["on the left", "at the left"],
    "right": ["on the right", "at the right"], "top": ["at the top", "on top"],
    "bottom": ["at the bottom"], "top left": ["in the top left corner", "in the upper left"],
    "top right": ["in the top right corner", "in the upper right"],
    "bottom left": ["in the bottom left corner", "in the lower left"],
    "bottom right": ["in the bottom right corner", "in the lower right"],
}
CONTRAST = 95  # least distance in rgb between a shape and its background


def held_out(colour, shape, ground):
    """One combination in eight never occurs in training, so that it can test generalisation."""
    c, s, g = list(COLOURS).index(colour), list(SHAPES).index(shape), list(COLOURS).index(ground)
    return (5 * c + 3 * s + 7 * g + c * s) % 8 == 0


def distinct(a, b):
    d = np.subtract(COLOURS[a][0], COLOURS[b][0], dtype=float)
    return math.sqrt(float((d * d).sum())) >= CONTRAST


def polygon(n, start):
    return [(math.cos(start + 2 * math.pi * i / n), math.sin(start + 2 * math.pi * i / n))
            for i in range(n)]


def outline(shape):
    """Polygon in [-1, 1]^2, y down."""
    up = -math.pi / 2
    if shape == "circle":
        return polygon(72, 0)
    if shape == "oval":
        return [(x, 0.6 * y) for x, y in polygon(72, 0)]
    if shape == "square":
        return [(-.88, -.88), (.88, -.88), (.88, .88), (-.88, .88)]
    if shape == "triangle":
        return [(0, -1), (1, .8), (-1, .8)]
    if shape == "diamond":
        return [(0, -1.1), (.75, 0), (0, 1.1), (-.75, 0)]
    if shape == "hexagon":
        return polygon(6, 0)
    if shape == "pentagon":
        return polygon(5, up)
    if shape == "star":
        return [(r * x, r * y) for i, (x, y) in enumerate(polygon(10, up))
                for r in [1.1 if i % 2 == 0 else .46]]
    if shape == "heart":
        t = [2 * math.pi * i / 72 for i in range(72)]
        return [(math.sin(a) ** 3, .12 - (13 * math.cos(a) - 5 * math.cos(2 * a) -
                 2 * math.cos(3 * a) - math.cos(4 * a)) / 16) for a in t]
    if shape == "cross":
        return [(-.32, -1), (.32, -1), (.32, -.32), (1, -.32), (1, .32), (.32, .32), (.32, 1),
                (-.32, 1), (-.32, .32), (-1, .32), (-1, -.32), (-.32, -.32)]
    raise ValueError(shape)


def mask(shape, x, y, r, angle, size, over=4):
    """Coverage [size, size] in 0..1, anti-aliased by drawing `over` times larger."""
    s = size * over
    img = Image.new("L", (s, s))
    draw = ImageDraw.Draw(img)

    def disc(cx, cy, rad, fill):
        draw.ellipse([(cx - rad) * s, (cy - rad) * s, (cx + rad) * s, (cy + rad) * s], fill=fill)

    if shape == "ring":
        disc(x, y, r, 255)
        disc(x, y, r * .58, 0)
    elif shape == "crescent":
        disc(x, y, r, 255)
        a = angle - .25
        disc(x + .45 * r * math.cos(a), y + .45 * r * math.sin(a), r * .82, 0)
    else:
        ca, sa = math.cos(angle), math.sin(angle)
        draw.polygon([((x + r * (px * ca - py * sa)) * s, (y + r * (px * sa + py * ca)) * s)
                      for px, py in outline(shape)], fill=255)
    return np.asarray(img.reduce(over), np.float32) / 255


def shade(rng, name, jitter=8):
    return np.clip(np.add(COLOURS[name][0], rng.integers(-jitter, jitter + 1, 3)), 0, 255).tolist()


def scene(rng):
    """A random scene as a plain dict."""
    names = list(COLOURS)
    kind = rng.choice(["one", "place", "two", "three", "pair"], p=[.52, .16, .08, .06, .18])
    while True:
        ground = str(rng.choice(names))
        colour = str(rng.choice(names))
        shape = str(rng.choice(list(SHAPES)))
        if distinct(colour, ground) and not held_out(colour, shape, ground):
            break
    size = str(rng.choice(["small", "medium", "large"], p=[.2, .55, .25]))
    place = "centre"
    items = []

    def add(colour, shape, x, y, r, jitter=.03):
        jx, jy = rng.uniform(-jitter, jitter, 2)
        items.append(dict(colour=colour, shape=shape, x=float(x + jx), y=float(y + jy), r=float(r),
                          angle=float(rng.normal(0, .04)), rgb=shade(rng, colour)))

    if kind == "one":
        add(colour, shape, .5, .5, rng.uniform(*SIZES[size]))
    elif kind == "place":
        place = str(rng.choice(list(PLACES)))
        size = "small" if " " in place or rng.random() < .5 else "medium"
        r = rng.uniform(*SIZES[size]) if size == "small" else rng.uniform(.2, .24)
        add(colour, shape, *PLACES[place], r)
    elif kind == "two":
        size = "medium"
        r = rng.uniform(.17, .21)
        add(colour, shape, .27, .5, r)
        add(colour, shape, .73, .5, r)
    elif kind == "three":
        size = "medium"
        r = rng.uniform(.13, .155)
        for x in (.19, .5, .81):
            add(colour, shape, x, .5, r, .02)
    else:
        size = "medium"
        while True:
            c2, s2 = str(rng.choice(names)), str(rng.choice(list(SHAPES)))
            if distinct(c2, ground) and not held_out(c2, s2, ground) and (c2 != colour or s2 != shape):
                break
        upright = bool(rng.random() < .3)
        place = "above" if upright else "beside"
        a, b = ((.5, .26), (.5, .74)) if upright else ((.26, .5), (.74, .5))
        r = rng.uniform(.17, .205)
        add(colour, shape, *a, r)
        add(c2, s2, *b, r)
    return dict(kind=str(kind), size=size, place=place, ground=ground, ground_rgb=shade(rng, ground),
                items=items)


def render(sc, size):
    """uint8 [size, size, 3]."""
    img = np.empty((size, size, 3), np.float32)
    img[:] = sc["ground_rgb"]
    for it in sc["items"]:
        m = mask(it["shape"], it["x"], it["y"], it["r"], it["angle"], size)[..., None]
        img += m * (np.asarray(it["rgb"], np.float32) - img)
    return np.clip(img + .5, 0, 255).astype(np.uint8)


def article(phrase):
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def plural(word):
    return PLURAL.get(word, word + "s")


def caption(sc, rng):
    """One of many true captions of a scene."""
    def pick(words):
        return str(words[rng.integers(len(words))])

    def colour(name):
        return name if rng.random() < .75 else pick(COLOURS[name][1])

    def shape(name):
        return name if rng.random() < .8 or not SHAPES[name] else pick(SHAPES[name])

    first = sc["items"][0]
    size = ""
    if sc["kind"] in ("one", "place") and sc["size"] in SIZE_WORDS and rng.random() < .75:
        size = pick(SIZE_WORDS[sc["size"]]) + " "
    c1, s1 = colour(first["colour"]), shape(first["shape"])
    if sc["kind"] in ("two", "three"):
        number = pick({"two": ["two", "two", "2", "a pair of"], "three": ["three", "3"]}[sc["kind"]])
        thing = f"{number} {c1} {plural(s1)}"
    elif sc["kind"] == "pair":
        second = sc["items"][1]
        a = f"{c1} {s1}"
        b = f"{colour(second['colour'])} {shape(second['shape'])}"
        if sc["place"] == "beside":
            left, right = article(a), article(b)
            thing = pick([f"{left} left of {right}", f"{right} right of {left}",
                          f"{left} to the left of {right}", f"{left} and {right}",
                          f"{left} next to {right}", f"{left} on the left and {right} on the right",
                          f"{a} and {b}", f"{left} and {right} side by side"])
        else:
            top, low = article(a), article(b)
            thing = pick([f"{top} above {low}", f"{low} below {top}", f"{top} on top of {low}",
                          f"{low} under {top}", f"{a} above {b}"])
    else:
        thing = f"{size}{c1} {s1}"
        if rng.random() < .65:
            thing = article(thing)
        if sc["kind"] == "place" or rng.random() < .1:
            if sc["kind"] != "place" or rng.random() < .9:
                thing += " " + pick(PLACE_WORDS[sc["place"]])
    if rng.random() < .12:
        thing = pick(["a picture of ", "an image of ", "a drawing of ", "a painting of ", "an icon of ",
                      "a photo of ", "an illustration of "]) + thing
    g = colour(sc["ground"])
    way = rng.random()
    if way < .45:
        text = f"{thing} {pick(['on', 'on', 'on', 'against', 'over', 'with'])} " \
               f"{article(g)} {pick(['background', 'background', 'background', 'ground', 'backdrop'])}"
    elif way < .55:
        text = f"{thing} on {g}"
    elif way < .66:
        text = f"{thing}, {g} background"
    elif way < .76:
        text = f"{g} background with {thing}"
    elif way < .82:
        text = f"{thing} in front of {article(g)} background"
    else:
        text = thing
    if rng.random() < .06:
        text += pick([", flat", ", simple", ", minimal", ", vector art", ", clean", ", high quality"])
    return text


def texture(rng, size):
    """Pictures for the autoencoder alone: gradients, stripes, blobs and collages of any colour."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    col = rng.uniform(0, 255, (4, 3)).astype(np.float32)
    kind = rng.integers(3)
    a = rng.uniform(0, 2 * math.pi)
    t = x * math.cos(a) + y * math.sin(a)
    if kind == 0:
        t = np.clip(t + .5 * (1 - math.cos(a) - math.sin(a)), 0, 1)
    elif kind == 1:
        t = np.clip(.5 + 4 * np.sin(t * rng.uniform(10, 50)), 0, 1)
    else:
        t = .5 + .5 * np.sin(t * rng.uniform(3, 9)) * np.cos((x - y) * rng.uniform(3, 9))
    img = col[0] + t[..., None] * (col[1] - col[0])
    for c in rng.uniform(0, 255, (rng.integers(0, 7), 3)):
        m = mask(str(rng.choice(list(SHAPES))), rng.uniform(0, 1), rng.uniform(0, 1),
                 rng.uniform(.05, .4), rng.uniform(0, 6.3), size, 2)[..., None]
        img = img + m * (c.astype(np.float32) - img)
    return np.clip(img, 0, 255).astype(np.uint8)
