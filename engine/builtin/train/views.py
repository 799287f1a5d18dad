"""Places as pictures of their own, and what stands in them: tables, and how they become scenes.

A view is a place of scenes.GROUNDS or a ground of this file, with drawings that stand in it, far to
near. Coordinates are fractions of the picture's side; things are placed by where they stand.
"""
import math
import numpy as np
import scenes

# how far a drawing reaches from its middle at radius 1: compose.lay's cell, and its margin
REACH = 2.25 / 2 * 184 / 192

# name: (captions, place, times, [(drawings, how many, x from, x to, stands at, radius from, to)])
VIEWS = {
    "city street": (
        ["a city street", "a street in the city", "a street with houses and cars",
         "a busy street"],
        "road", "day sunset night", [
            ("street house;tower block;shop;tower block", 4, .12, .88, .7, .15, .19),
            ("car;taxi;bus;sports car", 2, .25, .75, .9, .11, .14)]),
    "village": (
        ["a village", "a village in the hills", "a small village", "houses in the hills"],
        "grass", "day sunset night", [
            ("house;cottage;street house", 3, .12, .88, .62, .08, .1),
            ("church", 1, .4, .6, .6, .1, .12),
            ("tree;fir tree", 2, .1, .9, .7, .08, .1),
            ("cottage;house", 2, .2, .8, .86, .13, .16)]),
    "harbour": (
        ["a harbour", "a harbor with boats", "boats in a harbour", "a port with ships",
         "a harbour with boats"],
        "harbour", "day sunset night", [
            ("street house;shop;house", 4, .1, .9, .47, .08, .1),
            ("lighthouse", 1, .86, .9, .48, .13, .15),
            ("sailboat;boat;sailing ship", 3, .15, .85, .72, .1, .14)]),
    "cottage by a lake": (
        ["a cottage by a lake", "a house at the lake", "a cottage on the lake shore",
         "a cabin by a lake"],
        "lake", "day sunset night", [
            ("fir tree;tree", 3, .08, .92, .6, .07, .1),
            ("cottage;log cabin;house", 1, .25, .4, .68, .17, .2)]),
    "boat on a lake": (
        ["a boat on a lake", "a sailing boat on a lake", "a lake with a boat",
         "a rowing boat on the lake"],
        "lake", "day sunset night", [
            ("fir tree;tree", 3, .08, .92, .58, .06, .08),
            ("sailboat;canoe;boat", 1, .4, .6, .78, .14, .18)]),
    "lake": (
        ["a lake", "a mountain lake", "a lake in the mountains"],
        "lake", "day sunset night", [
            ("fir tree;fir tree;tree", 4, .06, .94, .6, .08, .11)]),
    "river": (
        ["a river", "a river through the fields", "a stream in a valley"],
        "river", "day sunset", [
            ("tree;bush;fir tree", 3, .06, .25, .8, .1, .13),
            ("tree;bush", 2, .8, .94, .75, .09, .12)]),
    "bridge": (
        ["a bridge over a river", "a stone bridge", "an old bridge over the river"],
        "river", "day sunset", [
            ("tree;bush", 2, .08, .2, .66, .1, .12),
            ("stone bridge", 1, .48, .54, .8, .24, .27),
            ("bush;tree", 1, .86, .94, .85, .1, .12)]),
    "farm": (
        ["a farm", "a farm with a red barn", "a farmyard", "a barn in a field with cows"],
        "grass", "day sunset", [
            ("barn", 1, .25, .38, .66, .17, .2),
            ("windmill;house;tree", 1, .72, .82, .62, .12, .15),
            ("fence", 3, .1, .9, .78, .11, .12),
            ("body:cow;sheep;hay bale;tractor;body:pig", 2, .25, .8, .93, .1, .13)]),
    "windmill": (
        ["a windmill in a field", "a field with a windmill", "a windmill on a hill"],
        "meadow", "day sunset", [
            ("windmill", 1, .4, .62, .74, .2, .24),
            ("tree;bush;house", 2, .1, .9, .8, .08, .1)]),
    "castle": (
        ["a castle on a hill", "a castle on the hill", "an old castle on a hilltop",
         "a fairy tale castle"],
        "hilltop", "day sunset night", [
            ("castle", 1, .47, .53, .5, .2, .24),
            ("fir tree;tree;bush", 4, .08, .92, .84, .07, .1)]),
    "lighthouse": (
        ["a lighthouse by the sea", "a lighthouse on the coast", "a lighthouse on a cliff"],
        "cliff", "day sunset night", [
            ("lighthouse", 1, .26, .3, .62, .22, .25),
            ("sailboat", 1, .7, .8, .62, .06, .08)]),
    "forest path": (
        ["a forest path", "a path through the forest", "a path in the woods",
         "a trail through the forest"],
        "path", "day sunset", [
            ("fir tree;tree", 3, .04, .3, .7, .13, .16),
            ("fir tree;tree", 3, .72, .96, .7, .13, .16),
            ("tree;fir tree", 1, .06, .14, .95, .2, .23),
            ("tree;fir tree", 1, .86, .94, .95, .2, .23)]),
    "autumn forest": (
        ["an autumn forest", "a path through an autumn forest", "a forest in autumn",
         "autumn trees"],
        "autumn path", "day sunset", [
            ("autumn tree", 3, .04, .3, .7, .13, .16),
            ("autumn tree", 3, .72, .96, .7, .13, .16),
            ("autumn tree", 1, .06, .14, .95, .2, .23),
            ("autumn tree", 1, .86, .94, .95, .2, .23)]),
    "jungle": (
        ["a jungle", "the jungle", "a rainforest", "a tropical forest"],
        "jungle", "day", [
            ("palm tree", 4, .05, .95, .72, .14, .18),
            ("bush;palm tree", 3, .1, .9, .95, .12, .16)]),
    "waterfall": (
        ["a waterfall", "a waterfall in the jungle", "a waterfall in the forest",
         "a waterfall in a rainforest"],
        "jungle", "day", [
            ("waterfall", 1, .47, .53, .86, .3, .34),
            ("palm tree;tree", 2, .05, .15, .8, .15, .18),
            ("palm tree;tree", 2, .85, .95, .8, .15, .18),
            ("bush", 3, .1, .9, .98, .1, .12)]),
    "palm beach": (
        ["a beach with palm trees", "a tropical beach", "palm trees on a beach",
         "a beach with palms"],
        "beach", "day sunset night", [
            ("sailboat", 1, .4, .7, .56, .06, .08),
            ("palm tree", 2, .08, .3, .86, .2, .24),
            ("palm tree", 1, .82, .92, .84, .17, .2),
            ("beach umbrella;crab;shell;sandcastle", 1, .5, .65, .9, .09, .12)]),
    "island": (
        ["an island", "a desert island", "a small island in the sea",
         "an island with a palm tree"],
        "sea", "day sunset", [
            ("island", 1, .45, .55, .8, .28, .33)]),
    "pyramids": (
        ["pyramids in the desert", "the pyramids of Egypt", "a desert with pyramids"],
        "desert", "day sunset night", [
            ("pyramid", 2, .25, .75, .7, .15, .19),
            ("camel", 1, .3, .7, .92, .12, .14)]),
    "oasis": (
        ["an oasis", "an oasis in the desert"],
        "oasis", "day sunset", [
            ("palm tree", 3, .12, .88, .72, .15, .19),
            ("camel", 1, .2, .3, .9, .11, .13)]),
    "living room": (
        ["a living room", "a cosy living room", "a cosy room with a fireplace",
         "a cozy living room", "a living room with a fireplace", "a sitting room"],
        "room", "day", [
            ("fireplace", 1, .72, .78, .74, .17, .19),
            ("rug", 1, .45, .55, .98, .22, .26),
            ("sofa;armchair", 1, .25, .35, .86, .17, .2),
            ("lamp;plant", 1, .5, .54, .74, .1, .12)]),
    "bedroom": (
        ["a bedroom", "a room with a bed", "a bedroom with a lamp"],
        "room", "day", [
            ("lamp", 1, .14, .18, .74, .1, .12),
            ("picture frame;window", 1, .5, .6, .42, .1, .12),
            ("bed", 1, .52, .6, .88, .25, .29)]),
    "library": (
        ["a library", "a room full of books", "a room with bookshelves"],
        "room", "day", [
            ("bookshelf", 3, .16, .84, .76, .2, .23),
            ("armchair;table;round table", 1, .4, .6, .94, .13, .16)]),
    "dining room": (
        ["a dining room", "a room with a table and chairs", "a kitchen table with chairs"],
        "room", "day", [
            ("wooden chair", 2, .2, .8, .84, .16, .18),
            ("table;round table", 1, .48, .52, .92, .21, .24)]),
    "park": (
        ["a park", "a park with a bench", "a bench in a park"],
        "grass", "day sunset", [
            ("tree;autumn tree", 3, .1, .9, .66, .15, .18),
            ("bench", 1, .35, .6, .86, .14, .17),
            ("street lamp", 1, .8, .88, .86, .17, .19)]),
    "garden": (
        ["a garden", "a flower garden", "a garden with flowers"],
        "meadow", "day", [
            ("fence", 3, .12, .88, .62, .12, .13),
            ("tulip;sunflower;rose;flower", 5, .08, .92, .84, .09, .12),
            ("tulip;sunflower;rose;flower", 4, .1, .9, .97, .1, .13)]),
    "sunflower field": (
        ["a field of sunflowers", "a sunflower field"],
        "grass", "day sunset", [
            ("sunflower", 6, .06, .94, .72, .07, .09),
            ("sunflower", 5, .08, .92, .96, .14, .17)]),
    "winter village": (
        ["a village in the snow", "a winter village", "houses in the snow", "a snowy village"],
        "snow", "day sunset night", [
            ("fir tree", 3, .08, .92, .64, .08, .1),
            ("cottage;log cabin;house", 3, .15, .85, .76, .11, .14),
            ("snowman;christmas tree", 1, .2, .8, .93, .11, .13)]),
    "campfire": (
        ["a campfire at night", "camping in the forest", "a tent in the forest with a campfire"],
        "forest", "night", [
            ("fir tree", 3, .1, .9, .72, .14, .18),
            ("tent", 1, .25, .35, .86, .17, .2),
            ("campfire", 1, .62, .72, .9, .12, .14)]),
    "graveyard": (
        ["a graveyard", "a graveyard at night", "a cemetery"],
        "grass", "night", [
            ("bare tree", 1, .12, .2, .72, .17, .2),
            ("tombstone", 4, .15, .9, .82, .1, .13)]),
    "space": (
        ["outer space with planets", "planets in space", "the solar system",
         "space with planets and stars"],
        "space", "night", [
            ("planet", 1, .25, .4, .45, .14, .18),
            ("moon;globe;full moon", 1, .62, .75, .5, .08, .11),
            ("globe;rocket;comet;sun", 1, .55, .8, .88, .08, .12)]),
    "moon surface": (
        ["on the moon", "the surface of the moon", "a moon landscape"],
        "moon", "night", [
            ("globe", 1, .2, .8, .36, .1, .12)]),
    "fireworks": (
        ["fireworks over a city", "fireworks", "fireworks in the night sky",
         "a firework over the town"],
        "city", "night", [
            ("burst", 3, .18, .82, .46, .13, .18)]),
    "rainbow": (
        ["a rainbow over a field", "a rainbow in the sky", "a rainbow over the hills"],
        "grass", "day", [
            ("rainbow", 1, .47, .53, .66, .36, .4),
            ("tree;house;cottage", 1, .2, .8, .76, .09, .12)]),
    "rainy city": (
        ["a rainy day in the city", "rain in the city", "a city in the rain", "a rainy street"],
        "rain", "day", [
            ("tower block;street house;shop", 4, .12, .88, .72, .15, .19),
            ("umbrella;car;bus", 2, .25, .75, .92, .11, .13)]),
    "railway": (
        ["a train in the countryside", "a train on rails", "a railway through the fields"],
        "rails", "day sunset", [
            ("tree;house", 2, .1, .9, .6, .09, .12),
            ("train;steam train", 1, .42, .58, .84, .2, .24)]),
    "sea": (
        ["a ship at sea", "ships on the ocean", "a sailing ship on the sea"],
        "sea", "day sunset night", [
            ("ship;sailing ship;sailboat;pirate ship", 1, .35, .65, .76, .2, .25)]),
    "reef": (
        ["a coral reef", "fish in the sea", "fish under water", "an underwater world"],
        "underwater", "day", [
            ("fish;blowfish;body:tropical fish", 4, .15, .85, .6, .08, .12),
            ("coral;shell;crab;octopus", 2, .2, .8, .95, .1, .13)]),
    "mountain hut": (
        ["a cabin in the mountains", "a hut in the mountains", "a log cabin in the mountains"],
        "mountains", "day sunset night", [
            ("log cabin;cottage", 1, .35, .65, .88, .15, .18),
            ("fir tree", 3, .08, .92, .92, .1, .13)]),
    "market": (
        ["a market", "shops in a street", "a row of shops"],
        "road", "day", [
            ("shop", 3, .17, .83, .76, .16, .18),
            ("body:man;body:woman;body:girl", 2, .3, .7, .95, .11, .13)]),
    "playground": (
        ["a playground", "children on a playground"],
        "grass", "day", [
            ("slide", 1, .25, .35, .8, .17, .2),
            ("tree", 1, .75, .85, .7, .15, .18),
            ("body:boy;body:girl;soccer ball", 2, .45, .8, .92, .11, .13)]),
    "road": (
        ["a road", "a country road", "a road through the fields"],
        "path", "day sunset", [
            ("tree;bush", 3, .05, .28, .8, .1, .14),
            ("tree;bush", 3, .72, .95, .8, .1, .14)]),
}


def stands(things, thing, x, foot, r, angle=0., rgb=None, paint=None):
    """An item whose drawing stands at `foot`."""
    high = things.high[thing] if thing < len(things.high) else 1.
    return dict(thing=thing, rgb=rgb, paint=paint, x=x, y=foot - REACH * r * high, r=r, angle=angle,
                flip=False)


def view(rng, things, name=None):
    """(name, place, time, items) of a random view."""
    name = name or scenes.one_of(rng, VIEWS)
    words, where, times, some = VIEWS[name]
    time = scenes.one_of(rng, times.split())
    items, light = [], 150 if time == "night" and where != "space" else 255
    for nouns, count, left, right, foot, low, high in some:
        at = left + (right - left) * (np.arange(count) + .5 + rng.uniform(-.3, .3, count)) / count
        row = []
        for x in at:
            ids = things.drawing(scenes.one_of(rng, nouns.split(";")))
            if ids is not None:
                glows = light < 255 and any(n in nouns for n in ("burst", "campfire", "globe"))
                rgb = None if glows or light == 255 else (light, light, min(255, light + 30))
                row.append(stands(things, ids, x, foot + rng.uniform(-.015, .015),
                                  rng.uniform(low, high), rgb=rgb))
        items += sorted(row, key=lambda i: i["y"])
    return name, where, time, items


def wave(rng, x0, x1, y0, y1, bend):
    """The outline of a way that narrows from below to the horizon at y0."""
    t = np.linspace(0, 1, 24)
    y = y1 + (y0 - y1) * t
    middle = x0 + (x1 - x0) * t + bend * np.sin(math.pi * 1.5 * t) * (1 - t)
    half = .22 * (1 - t) ** 1.3 + .012
    return [*zip(middle - half, y), *zip((middle + half)[::-1], y[::-1])]


def extras(rng, name, light):
    """Polygons [(rgb, points)] behind and before the things of a place."""
    def c(*rgb):
        return tuple(int(v) for v in np.clip(np.array(rgb) * light, 0, 255))

    def box(x0, y0, x1, y1):
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]

    if name == "room":
        x = rng.uniform(.08, .2) if rng.random() < .5 else rng.uniform(.42, .55)
        sky = c(*scenes.one_of(rng, [(150, 210, 245), (170, 220, 250)]))
        return [(c(250, 250, 250), box(x, .14, x + .28, .46)), (sky, box(x + .02, .16, x + .13, .44)),
                (sky, box(x + .15, .16, x + .26, .44)), (c(235, 230, 220), box(0, .685, 1, .705))], []
    if name == "table":
        return [(c(110, 70, 40), box(0, .88, 1, 1))], []
    if name == "road":
        dashes = [(c(240, 240, 225), box(x, .855, x + .1, .872)) for x in np.arange(-.04, 1, .22)]
        return [(c(190, 185, 178), box(0, .7, 1, .745)), (c(80, 82, 90), box(0, .745, 1, .96)),
                *dashes, (c(190, 185, 178), box(0, .96, 1, 1))], []
    if name == "rain":
        road = [(c(120, 125, 135), box(0, .72, 1, .77)), (c(66, 72, 84), box(0, .77, 1, 1))]
        drops = []
        for _ in range(70):
            x, y = rng.uniform(0, 1, 2)
            drops.append(((190, 215, 240), [(x, y), (x + .006, y), (x - .014, y + .06), (x - .02, y + .06)]))
        return road, drops
    if name == "harbour":
        return [(c(150, 140, 125), box(0, .46, 1, .52)), (c(120, 110, 96), box(0, .52, 1, .535))], []
    if name in ("path", "autumn path"):
        x = rng.uniform(.42, .58)
        return [(c(216, 190, 140), wave(rng, .5, x, .62, 1.02, rng.uniform(-.15, .15)))], []
    if name == "river":
        x = rng.uniform(.35, .65)
        return [(c(70, 150, 215), wave(rng, rng.uniform(.4, .6), x, .6, 1.02, rng.uniform(-.3, .3)))], []
    if name == "oasis":
        return [(c(60, 150, 215), [(.5 + .34 * math.cos(a), .8 + .09 * math.sin(a))
                                   for a in np.linspace(0, 2 * math.pi, 40)])], []
    if name == "cliff":
        return [(c(120, 110, 100), [(0, .62), (.42, .6), (.5, .7), (.46, .85), (.56, 1), (0, 1)]),
                (c(90, 165, 75), [(0, .6), (.42, .585), (.47, .64), (0, .66)])], []
    if name == "hilltop":
        return [(c(100, 170, 80), [(.5 + .55 * u, .49 + .5 * u * u) for u in np.linspace(-1, 1, 40)] +
                 [(1.2, 1.1), (-.2, 1.1)]), (c(216, 190, 140), wave(rng, .35, .5, .52, 1.02, .16))], []
    if name == "rails":
        return [(c(150, 135, 115), box(0, .79, 1, .9)),
                *[(c(95, 65, 42), box(x, .81, x + .03, .88)) for x in np.arange(0, 1, .075)],
                (c(110, 115, 125), box(0, .82, 1, .832)), (c(110, 115, 125), box(0, .86, 1, .872))], []
    if name == "moon":
        holes = []
        for _ in range(6):
            x, y, r = rng.uniform(0, 1), rng.uniform(.7, .98), rng.uniform(.04, .1)
            holes.append(((130, 130, 138), [(x + r * math.cos(a), y + .35 * r * math.sin(a))
                                            for a in np.linspace(0, 2 * math.pi, 24)]))
        return holes, []
    return [], []
