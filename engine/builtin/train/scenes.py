"""Scenes and captions: everything the built-in model knows is said here.

A scene is a background, things on it and a style, as plain numbers: compose.py paints
many of them at once, caption() says one in many true ways. Views (views.py) are places as subjects,
pairs (pairs.py) two things in a relation. Coordinates and radii are fractions of
the picture's side, so one scene paints at any size. Whole combinations are held out of training
(held_out) to test composition.
"""
import json
import math
import pathlib
import re
import zipfile
import numpy as np
import figures
import pairs
import views

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
    "table": ["on a table", "on a wooden table", "on the table"],
    "room": ["in a room", "in a living room", "indoors", "at home"],
    "road": ["on a road", "in the street", "on a street", "on the road"],
    "lake": ["by a lake", "at a lake", "on the shore of a lake"],
    "river": ["by a river", "at the river"],
    "jungle": ["in the jungle", "in a rainforest"],
    "moon": ["on the moon", "on the surface of the moon"],
    "night": ["under the stars", "in the night sky"],
    "autumn": ["in autumn", "in the fall", "in an autumn forest"],
}
HELD = list(PLACES)[:12]  # those of which some pairs with a noun are held out
SOFT = ((236, 242, 248), (246, 240, 230), (232, 244, 236), (248, 236, 238), (242, 242, 244), (250, 246, 226))
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
    "cartoon": ["cartoon", "comic", "comic book"], "sticker": ["sticker", "die cut sticker"],
    "clipart": ["clip art", "emoji"],
}
HANDS = {"clipart": "noto"}  # styles that are another hand's drawing of the thing
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
          "cactus": "cacti", "child": "children", "foot": "feet", "tooth": "teeth", "person": "people",
          "elf": "elves", "thief": "thieves", "loaf": "loaves", "shelf": "shelves",
          "bookshelf": "bookshelves", "dwarf": "dwarves", "ox": "oxen", "potato": "potatoes", "tomato": "tomatoes",
          "hero": "heroes", "superhero": "superheroes", "volcano": "volcanoes", "mango": "mangoes", "buffalo": "buffalo",
          "mosquito": "mosquitoes", "domino": "dominoes", "lotus": "lotuses", "calf": "calves", "shrimp": "shrimp", "samurai": "samurai"}
LINK = re.compile(r" (?=(?:with|of|in|on|from|over|at|for|to|and|that|behind|by|covering|hiding|holding|lifting|playing|"
                  r"riding|sticking|taking|throwing|wearing|making|eating|washing|walking|getting) )")  # after a head
SOUNDS = re.compile(r"uni|ufo|usb|euro|ukulele|one[- ]|uk ")  # no vowels to the ear
VOWELS = re.compile(r"[aeiou]|hour|x-ray|xray|suv|lp |vhs|mp3|f1 |atm")
NO_ARTICLE = {"santa claus", "santa", "bread", "rice", "salad", "popcorn", "money", "snow", "rain", "fire",
              "milk", "honey", "lightning", "corn", "cheese", "sushi", "spaghetti", "bacon", "meat", "yoga",
              "gold", "sheet music", "lacrosse", "curling", "water polo", "beef", "raw meat", "bamboo",
              "dynamite", "tnt", "wheat", "barley", "medicine", "paper", "sweat", "steam", "smoke", "bullion",
              "gardening", "underwear", "french bread", "noodle soup", "red wine", "hot coffee",
              "mail", "email", "glitter", "poo", "archery", "tennis", "love", "bbq", "wrestling", "planet earth",
              "cannabis", "mount fuji", "fuji", "mecca", "zzz", "rock climbing", "green tea", "sauna",
              "beach volleyball", "mahjong", "gymnastics", "bigfoot", "champagne on ice",
              "mining tools", "cryptocurrency", "narutomaki"}
FOCUS = ("fluent-emoji-flat", "own")
CONTRAST = 95  # least distance in rgb between a shape and its ground
LAYERS, PROFILE = 4, 64  # ridges of a landscape, points of each


class Things:
    """What can be drawn: shapes, solids, then the drawings of the archive. Familiar nouns (marked *
    in subjects.txt) are chosen `factor` times as often as the others. With `focus` fewer drawings
    are used: one for each noun, in one flat hand and never mirrored; and things are larger."""

    def __init__(self, archive, factor=4.0, focus=False):
        self.focus = focus
        with zipfile.ZipFile(archive) as z:
            drawings = json.loads(z.read("index.json"))["drawings"]
        first = len(SHAPES) + len(SOLIDS)
        self.wide = [1.] * first + [d[2] for d in drawings]  # what is opaque, of a drawing's side
        self.high = [1.] * first + [d[3] for d in drawings]
        of, focused, self.hand = {}, {}, {}
        for i, (label, hand, *_) in enumerate(drawings):
            of.setdefault(label, []).append(first + i)
            if hand in FOCUS or label not in focused:
                focused[label] = first + i
            self.hand[label, hand] = first + i
        self.ids, self.words, self.unseen, odds, used = {}, {}, {}, {}, set()
        self.suits, self.tint, self.label, self.dark, suit = {}, set(), {}, {}, ["soft"]
        for line in (pathlib.Path(__file__).parent / "subjects.txt").read_text().splitlines():
            if line.startswith("@"):
                suit = line.split()[1:]
            if not line or line[0] in "#@":
                continue
            name, *words = (part.strip() for part in line.split("|"))
            noun, _, labels = name.lstrip("*").partition(":")
            labels = [s.strip() for s in labels.split(";")] if labels else [noun]
            ids = [i for label in labels for i in of.get(label, [])]
            used.update(labels)
            if not ids:
                continue
            words = [[w.strip() for w in part.split(",") if w.strip()] for part in words + [""] * 3]
            self.ids[noun], self.words[noun], self.unseen[noun] = ids, words[0], words[1]
            self.label[noun] = next(s for s in labels if s in focused)
            if focus:
                self.ids[noun] = [focused[self.label[noun]]]
            if self.label[noun] + ", dark" in focused:
                self.dark[noun] = focused[self.label[noun] + ", dark"]
            self.suits[noun] = words[2][0] if words[2] else suit[0]
            if "tint" in suit:
                self.tint.add(noun)
            odds[noun] = factor if name[0] == "*" else 1.0
        self.figures = {}  # people composed of parts, who are told by them
        for name, said, _ in figures.figures():
            if name in focused:
                if name not in figures.KNOWN:
                    self.figures[name] = said
                self.ids[name], self.words[name], self.unseen[name] = [focused[name]], said, []
                self.suits[name], self.label[name], odds[name] = "soft", name, .25 if name in self.figures else 1.
        self.nouns = [n for n in self.ids if n not in self.figures]  # those that are measured
        for label, ids in of.items():
            if not focus and label not in used and label not in self.ids and len(ids) > 2:
                self.ids[label], self.words[label], self.suits[label] = ids, [], "soft"
                self.label[label], odds[label] = label, .1
        self.all, self.focused = list(self.ids), focused
        odds = np.array(list(odds.values()))
        self.odds = odds / odds.sum()

    def drawing(self, name):
        """The one drawing of a noun, or of an emoji's name after "body:"; None where there is none."""
        body, name = name.startswith("body:"), name.removeprefix("body:")
        if body and figures.BODY.get(name) in self.focused:
            return self.focused[figures.BODY[name]]
        if body and name in self.focused:
            return self.focused[name]
        return self.ids[name][0] if name in self.ids else self.focused.get(name)


def held_out_shape(colour, shape, ground):
    """One combination in eight never occurs in training."""
    c, s, g = list(COLOURS).index(colour), list(SHAPES).index(shape), list(COLOURS).index(ground)
    return (5 * c + 3 * s + 7 * g + c * s) % 8 == 0


def held_out(things, noun, other):
    """One pair in ten of a noun with a place or a style never occurs in training."""
    if other not in HELD and other not in list(STYLES)[:8]:
        return False
    k = (HELD + list(STYLES)).index(other)
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
    "table": [("flat", .62, 0, (186, 128, 78))], "room": [("flat", .7, 0, (178, 132, 92))],
    "road": [("towers", .72, .3, (150, 165, 185))], "rain": [("towers", .74, .45, (110, 120, 135))],
    "lake": [("peaks", .52, .26, (105, 125, 150)), ("hills", .56, .08, (60, 125, 75)),
             ("flat", .58, 0, (70, 150, 210)), ("hills", .9, .04, (90, 165, 70))],
    "river": [("hills", .6, .14, (110, 175, 90)), ("flat", .62, 0, (95, 170, 75))],
    "jungle": [("trees", .7, .5, (40, 120, 70)), ("hills", .75, .2, (30, 100, 55)),
               ("hills", .93, .06, (60, 120, 50))],
    "moon": [("hills", .72, .06, (165, 165, 172))], "night": [],
    "autumn": [("trees", .62, .34, (215, 120, 45)), ("hills", .85, .2, (190, 85, 40)),
               ("hills", .92, .05, (150, 105, 50))],
    "harbour": [("hills", .47, .12, (95, 150, 95)), ("flat", .5, 0, (60, 130, 190))],
    "hilltop": [("peaks", .7, .2, (120, 150, 170)), ("hills", .85, .06, (95, 160, 80))],
    "cliff": [("flat", .62, 0, (40, 120, 190)), ("hills", .82, .03, (30, 100, 170))],
    "path": [("hills", .6, .2, (70, 135, 80)), ("flat", .63, 0, (95, 165, 75))],
    "autumn path": [("trees", .62, .3, (205, 120, 55)), ("flat", .64, 0, (190, 140, 60))],
    "oasis": [("hills", .62, .14, (225, 180, 105)), ("hills", .72, .06, (215, 165, 90))],
    "rails": [("hills", .6, .16, (105, 175, 90)), ("flat", .66, 0, (125, 180, 85))],
}
WALLS = [(238, 222, 190), (200, 220, 228), (226, 208, 214), (208, 224, 200), (232, 226, 214)]


def place(rng, name, time):
    """The ground of a landscape."""
    top, low = one_of(rng, SKIES[time])
    stars, flowers, snow = 60.0 * (time == "night"), 0.0, 0.0
    disc = None
    if name == "space":
        top, low, stars, time = (5, 5, 18), (25, 10, 50), 110.0, "night"
    elif name == "underwater":
        top, low, stars = (60, 170, 215), (10, 60, 120), 0.0
    elif name in ("moon", "night"):
        top, low, stars, time = (6, 6, 22), (22, 24, 62), 90.0, "night"
    elif name in ("room", "table"):
        top = low = one_of(rng, WALLS)
        stars, time = 0.0, "day"
    elif name == "rain":
        top, low, stars, time = (120, 132, 148), (165, 175, 188), 0.0, "day"
    elif rng.random() < .5:
        disc = (rng.uniform(.15, .85), rng.uniform(.1, .3), rng.uniform(.05, .1),
                {"day": (255, 240, 150), "sunset": (255, 225, 120), "night": (235, 235, 215)}[time])
    if name == "meadow":
        flowers = 150.0
    if name == "snow" and rng.random() < .6:
        snow = 70.0
    light = {"day": (1, 1, 1), "sunset": (.9, .7, .65), "night": (.32, .35, .5)}[time]
    if name == "moon":
        light = (1, 1, 1)
    behind, before = views.extras(rng, name, np.array(light))
    layers = []
    for kind, base, height, rgb in GROUNDS[name]:
        h = ridge(rng, kind, base + rng.uniform(-.05, .05), height * rng.uniform(.7, 1.2))
        near_rgb = near(rng, rgb, 14) * light
        layers.append((h, near_rgb, near_rgb * rng.uniform(.55, .8)))
    return dict(name=name, time=time, top=near(rng, top), low=near(rng, low), disc=disc,
                layers=layers, stars=stars, flowers=flowers, snow=snow, behind=behind, before=before)


def soft(rng):
    """The pale ground of what has no place of its own."""
    rgb = near(rng, one_of(rng, SOFT), 4)
    return dict(plain(rng, "white"), name="soft", top=rgb, low=np.clip(rgb * .9, 0, 255))


def plain(rng, colour, soft=False):
    rgb = near(rng, COLOURS[colour][0])
    low = np.clip(rgb * rng.uniform(.75, .95) + rng.uniform(0, 12), 0, 255) if soft else rgb
    return dict(name=None, colour=colour, top=rgb, low=low, disc=None, layers=[], stars=0.,
                flowers=0., snow=0., behind=[], before=[])


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


def suiting(rng, things, noun, whole):
    """The ground where none is asked for."""
    name = things.suits[noun]
    if name == "soft" or not whole and held_out(things, noun, name):
        return soft(rng)
    return place(rng, name, "night" if name == "night" else "day")


def asked(rng, things, nouns, style, whole):
    """A ground that captions always tell: a colour, or a place by some light."""
    at = one_of(rng, PLACES)
    if rng.random() < .45 or not whole and any(held_out(things, n, at) for n in nouns):
        return plain(rng, one_of(rng, ["white", one_of(rng, COLOURS)], [.2, .8]), rng.random() < .3)
    return place(rng, at, one_of(rng, TIMES, [.7, .15, .15]))


MIX = (.12, .02, .58, .1, .18)


def scene(rng, things, whole=False, mix=MIX, style=.2):
    """A random scene as a plain dict; `whole` holds no combination out, for judges; `style` is the
    share of pictures in one; mix: shares of shapes, solids, things, places and pairs."""
    what = one_of(rng, ["shape", "solid", "noun", "view", "pair"], [*mix, 0.][:5])
    s = dict(what=what, kind="one", size="medium", spot="centre", style=None, names=[], items=[],
             said=True, colour=None, dark=False)
    if what != "shape" and rng.random() < style:
        s["style"] = one_of(rng, STYLES)
    if what == "view":
        if rng.random() < .25:
            s["ground"] = place(rng, one_of(rng, list(PLACES)[:12]), one_of(rng, TIMES, [.6, .2, .2]))
        else:
            s["view"], where, time, s["items"] = views.view(rng, things)
            s["ground"] = place(rng, where, time)
        return s
    if what == "pair":
        s["names"], s["items"], s["words"] = pairs.pair(rng, things)
        s["said"] = rng.random() < .5
        known = [n for n in s["names"] if n in things.ids]
        if s["said"]:
            s["ground"] = asked(rng, things, known, s["style"], whole)
        else:
            some = known and rng.random() < .7
            s["ground"] = suiting(rng, things, known[0], whole) if some else soft(rng)
        return s
    odds = [.4, .13, .08, .07, .25, .07] if what == "shape" else [.68, .07, .07, .05, .1, .03]
    s["kind"] = one_of(rng, ["one", "spot", "two", "three", "beside", "above"], odds)
    pair = s["kind"] in ("beside", "above")
    tints, paints = [None, None], [None, None]
    if what == "noun":
        while True:
            s["names"] = [one_of(rng, things.all, things.odds) for _ in range(1 + pair)]
            if whole or not s["style"] or not any(held_out(things, n, s["style"]) for n in s["names"]):
                break
        ids = [int(one_of(rng, things.ids[n])) for n in s["names"]]
        n = s["names"][0]
        if n in things.figures and s["kind"] in ("two", "three"):
            s["kind"] = "one"
        if s["style"] in HANDS:
            ids = [things.hand.get((things.label[n], HANDS[s["style"]]), i)
                   for n, i in zip(s["names"], ids)]
        elif n in things.dark and rng.random() < .2:
            ids[0], s["dark"] = things.dark[n], True
        elif n in things.tint and rng.random() < .2:
            s["colour"] = one_of(rng, COLOURS)
            paints[0] = near(rng, COLOURS[s["colour"]][0])
        s["said"] = rng.random() < .55
        s["ground"] = (asked(rng, things, s["names"], s["style"], whole) if s["said"] else
                       suiting(rng, things, n, whole))
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
        return dict(made, flip=flip[i], paint=paints[i])

    if s["kind"] == "one":
        s["size"] = one_of(rng, SIZES, [.06, .34, .6] if things.focus else [.15, .5, .35])
        r = rng.uniform(*SIZES[s["size"]])
        if s["ground"]["name"] in (None, "soft", "space", "sky", "underwater", "night") or what != "noun":
            s["items"] = [make(0, .5, .5, r, .04)]
        else:  # it stands on the ground
            foot = rng.uniform(.84, .92) - (.12 if s["size"] == "small" else .0)
            s["items"] = [dict(views.stands(things, ids[0], .5 + rng.uniform(-.04, .04), foot, r,
                                            rng.normal(0, .03)),
                               rgb=tints[0], paint=paints[0], flip=flip[0])]
    elif s["kind"] == "spot":
        s["spot"] = one_of(rng, SPOTS)
        s["size"] = "small" if " " in s["spot"] or rng.random() < .5 else "medium"
        r = rng.uniform(.15, .19) if s["size"] == "small" else rng.uniform(.2, .24)
        s["items"] = [make(0, *SPOTS[s["spot"]], r, .03)]
    else:
        s["items"] = arrange(rng, s["kind"], make)
    return s


def article(phrase):
    if phrase.startswith("the "):
        return phrase
    return ("an " if VOWELS.match(phrase) and not SOUNDS.match(phrase) else "a ") + phrase


def many(word):
    """Whether a word is a plural already."""
    head = LINK.split(word)[0]
    return head.endswith("s") and not head.endswith(("ss", "us", "is", "gas", "lens", "canvas", "atlas"))


def plural(word):
    first, *rest = LINK.split(word, maxsplit=1)
    if rest:
        return f"{plural(first)} {rest[0]}"
    first, _, last = word.rpartition(" ")
    if last in PLURAL:
        return f"{first} {PLURAL[last]}".strip()
    if many(word):
        return word
    if word.endswith("man") and last not in ("human", "shaman"):
        return word[:-2] + "en"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("sh", "ch", "x", "s")) else "s")


def caption(s, rng, things):
    """One of many true captions of a scene."""
    def pick(words):
        return words[rng.integers(len(words))]

    def other(name, words, p):
        return pick(words) if words and rng.random() < p else name

    def colour(name):
        return other(name, COLOURS[name][1], .25)

    def called(name):
        if s["what"] in ("noun", "pair"):
            word = other(name, things.words.get(name, []), .7 if name in things.figures else .25)
            if name == s["names"][0] and s["colour"]:
                word = f"{colour(s['colour'])} {word}"
            if name == s["names"][0] and s["dark"]:
                word = pick(["black ", "african ", "dark skinned "]) + word
            elif rng.random() < .05:
                word = pick(["cute ", "beautiful ", "little ", "happy "]) + word
            return word
        c, k = name
        return colour(c) + " " + other(k, (SHAPES if s["what"] == "shape" else SOLIDS)[k], .2)

    def single(name):
        word = called(name)
        some = many(word) or word in NO_ARTICLE
        return word if some and s["what"] in ("noun", "pair") else article(word)

    g, low_sun = s["ground"], False
    if s["what"] == "view":
        thing = pick(views.VIEWS[s["view"]][0]) if "view" in s else pick(VIEWS[g["name"]])
        low_sun = "view" not in s and g["time"] == "sunset" and g["name"] != "underwater" and rng.random() < .35
        if low_sun:
            thing = pick(["a sunset", "sunset", "a sunrise", "sunrise"]) + pick(["", " over " + VIEWS[g["name"]][0]])
    elif s["what"] == "pair":
        a, b = (single(n) for n in s["names"])
        thing = pick(s["words"]).format(a=a, b=b)
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
            bare = thing.removeprefix("an ").removeprefix("a ")
            thing = size + bare if many(bare) or bare in NO_ARTICLE else "a " + size + bare
        if s["kind"] == "spot":
            thing += " " + pick(SPOT_WORDS[s["spot"]])
    if not s["said"]:
        if g["name"] in PLACES and rng.random() < .15:
            thing += " " + pick(PLACES[g["name"]])
    elif g["name"]:
        if s["what"] != "view":
            thing += " " + pick(PLACES[g["name"]])
        if g["name"] not in ("space", "underwater", "room", "table", "moon", "night", "rain") and not low_sun:
            thing += " " + pick(TIMES[g["time"]])
        if g["snow"] and rng.random() < .3:
            thing += " " + pick(["while it snows", "with falling snow"])
    else:
        c, way = colour(g["colour"]), rng.random()
        if way < .6:
            thing += f" {pick(['on', 'on', 'on', 'against', 'with'])} {article(c)} " + \
                pick(["background", "background", "background", "ground", "backdrop"])
        elif way < .72:
            thing += f" on {c}"
        elif way < .86:
            thing += f", {c} background"
        else:
            thing = f"{c} background with {thing}"
    if s["style"]:
        style = pick(STYLES[s["style"]])
        thing = pick([f"{style} of {thing}", f"{article(style)} of {thing}", f"{thing}, {style}",
                      f"{thing} as {style}", f"{thing} in {style} style"])
    elif rng.random() < .1:
        thing = pick(["a picture of ", "an image of ", "a drawing of ", "an illustration of ",
                      "an icon of "]) + thing
    return " ".join(thing.split())
