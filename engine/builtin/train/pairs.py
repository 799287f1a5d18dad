"""Two different things in a relation: who may do what with what, and where both then stand.

Every kind gives (items, captions) for two nouns a and b; bodies are used instead of faces, so that
something can sit, ride and hold.
"""
import scenes
import views

ANIMALS = (
    "dog;cat;mouse;rabbit;monkey;bird;owl;penguin;duck;frog;fox;bear;panda;"
    "tiger;lion;pig;sheep;chicken;hamster;squirrel;parrot;turtle;elephant;koala;"
    "dinosaur;dragon;teddy bear;robot;unicorn;wolf;sitting cat;rubber duck;skeleton").split(";")
PEOPLE = (
    "man;woman;boy;girl;child;astronaut;knight;pirate;wizard;witch;king;queen;"
    "chef;firefighter;police officer;cowboy;viking;princess;prince;superhero;"
    "santa claus;old man;old woman;ninja;doctor;robot;clown;farmer;skeleton;archer;waitress;lumberjack;"
    "caveman;cheerleader;zombie;gnome;dwarf;jester").split(";")
SMALL = (
    "apple;banana;book;cup;teapot;candle;hat;cake;pizza;pumpkin;lamp;"
    "vase of flowers;clock;laptop;bowl of fruit;camera;guitar;soccer ball;"
    "basketball;flower;cupcake;egg;gift;lantern;mushroom;bread;wall clock;magic potion;typewriter;orange;"
    "cup and saucer;plate;kettle;rubber duck;wedding cake;toaster;crystal ball;skull;snow globe").split(";")
# what one can be on: where its surface is, as a share of its height from above
SEATS = {
    "chair": .5, "wooden chair": .56, "armchair": .6, "sofa": .45, "bed": .5, "table": .06,
    "round table": .1, "bench": .42, "rug": .5, "barrel": .04, "car": .08, "sports car": .1,
    "bus": .04, "house": .06, "river rock": .12, "book": .1, "suitcase": .1,
    "treasure chest": .1, "skateboard": .3, "branch": .45, "pumpkin": .12, "mushroom": .06,
    "cloud": .25, "fence": .2, "stone bridge": .1, "hay bale": .08, "gift": .2, "piano": .1,
    "package": .15, "throne": .6, "black sofa": .45, "rocking chair": .55, "office chair": .5, "pillow": .3,
    "grand piano": .3, "stove": .08, "desk": .35, "washing machine": .05, "tree stump": .15, "log": .2,
    "hammock": .6, "double bed": .5, "bedside table": .08, "tank": .15, "school bus": .04, "pickup truck": .3,
    "spell book": .06, "easter basket": .5}
MOUNTS = {
    "body:horse": .3, "elephant": .12, "camel": .25, "donkey": .3,
    "body:cow": .25, "body:pig": .2, "body:tiger": .25, "bison": .2, "sheep": .2,
    "bicycle": .3, "motorcycle": .3, "scooter": .4, "skateboard": .3, "dragon": .35,
    "turtle": .15, "whale": .15, "dinosaur": .35, "crocodile": .3, "zebra": .3, "giraffe": .5,
    "rocket": .3, "broom": .4, "sled": .3, "pegasus": .4, "body:unicorn": .4, "ostrich": .4, "magic carpet": .3,
    "triceratops": .25, "stegosaurus": .35, "rocking horse": .4, "vespa": .4, "snowmobile": .4, "jet ski": .4,
    "body:lion": .4, "foal": .4, "rubber duck": .4, "surfboard": .4, "seahorse": .3, "mammoth": .2}
INSIDE = {
    "boat": .35, "canoe": .3, "basket": .4, "cup": .1, "bathtub": .35, "bucket": .2,
    "nest": .4, "pot": .3, "bowl": .15, "hat": .3, "shopping cart": .25, "tent": .6,
    "cauldron": .12, "wheelbarrow": .3, "convertible": .35, "cup and saucer": .25}
HELD = (
    "balloon;umbrella;flower;book;guitar;cup;apple;banana;ice cream;lollipop;"
    "candle;gift;hammer;swords;key;lantern;bouquet;pizza;camera;phone;broom;"
    "fishing rod;magic wand;shield;axe;basketball;soccer ball;trophy;heart;magic potion;electric guitar;"
    "candy cane;tennis racket;watering can;hot dog;hamburger;donut;beer;wine;coffee;rose;sunflower;teddy bear;"
    "laptop;fish;rubber duck;oil lantern;frying pan;spell book;crossbow;microphone;lemonade;popsicle;orange;"
    "whisk;paintbrush;bow and arrow;baseball bat;snowboard;violin;surfboard;telescope;skull").split(";")
HEADS = (
    "dog;cat;mouse;rabbit;monkey;fox;bear;panda;tiger;lion;pig;frog;koala;"
    "robot;ghost;alien;skull;pumpkin;snowman;man;woman;boy;girl;child;cow;wolf").split(";")
WORN = {
    "hat": (-.78, .55), "crown": (-.8, .5), "cap": (-.72, .5), "graduation cap": (-.75, .55),
    "sunglasses": (-.05, .55), "glasses": (-.05, .55), "helmet": (-.65, .6),
    "scarf": (.75, .55), "tie": (.9, .4), "cowboy hat": (-.75, .65), "santa hat": (-.78, .55),
    "party hat": (-.85, .4), "pirate hat": (-.75, .6), "witch hat": (-.8, .55), "viking helmet": (-.72, .6),
    "bow tie": (.88, .35), "sombrero": (-.75, .7), "woolly hat": (-.7, .5), "magician's hat": (-.78, .5),
    "vr headset": (-.05, .6), "headphones": (-.2, .75), "carnival mask": (-.05, .5)}
FOOD = (
    "banana;apple;carrot;cheese;pizza;ice cream;cookie;hamburger;cake;donut;"
    "watermelon;bread;corn;strawberry;fish;bone;leaf;sandwich;egg;orange;sausage;popsicle;toast;"
    "whole pizza;pear;hot dog;cupcake;popcorn;candy cane").split(";")
COVERS = {
    "umbrella": .62, "tree": .7, "palm tree": .7, "rainbow": .55, "mushroom": .6,
    "autumn tree": .7, "street lamp": .5, "beach umbrella": .5, "moon": .9, "star": 1.,
    "cloud": 1., "apple tree": .7, "willow tree": .75, "beach parasol": .6, "full moon": 1.}
BEHIND = "house;castle;tree;lighthouse;windmill;barn;church;pyramid;mountain;eiffel tower;tent;cottage;\
fountain;volcano;big ben;taj mahal;colosseum;pagoda;sphinx;clock tower;haunted house;tipi;mansion;greenhouse;\
arc de triomphe;fairy castle;mushroom house;wind turbine;apple tree".split(";")
# kind: (how often, who, what, what is said)
KINDS = {
    "on": (.2, ANIMALS + SMALL, list(SEATS), "{a} on {b};{a} on {b};{a} sitting on {b};{a} on top of {b}"),
    "riding": (.14, PEOPLE + ANIMALS, list(MOUNTS), "{a} riding {b};{a} on {b};{a} riding on {b}"),
    "in": (.1, ANIMALS + SMALL[:4], list(INSIDE), "{a} in {b};{a} inside {b};{a} sitting in {b}"),
    "holding": (.14, PEOPLE + ANIMALS[:16], HELD, "{a} holding {b};{a} with {b};{a} carrying {b}"),
    "wearing": (.1, HEADS, list(WORN), "{a} wearing {b};{a} wearing {b};{a} with {b};{a} in {b}"),
    "eating": (.08, ANIMALS + PEOPLE[:6], FOOD, "{a} eating {b};{a} eats {b}"),
    "under": (.07, ANIMALS + PEOPLE, list(COVERS), "{a} under {b};{a} below {b};{a} beneath {b}"),
    "front": (.08, PEOPLE + ANIMALS + ["car", "tree", "bicycle"], BEHIND,
              "{a} in front of {b};{b} behind {a};{a} before {b}"),
    "with": (.06, ANIMALS + PEOPLE, 5 * ["soccer ball"] + ["basketball", "bone", "balloon", "yarn"] + HELD,
             "{a} with {b};{a} and {b};{a} playing with {b}"),
    "flying": (.03, "child;boy;girl;man;woman".split(";"), ["kite"], "{a} flying {b};{a} with {b}")}


def pair(rng, things):
    """(nouns, items, captions) of one relation; captions have {a} and {b} for the two."""
    while True:
        kind = scenes.one_of(rng, KINDS, [k[0] for k in KINDS.values()])
        _, some, others, words = KINDS[kind]
        a, b = scenes.one_of(rng, some), scenes.one_of(rng, others)
        ia, ib = things.drawing(a if kind == "wearing" else "body:" + a), things.drawing(b)
        if a != b.removeprefix("body:") and ia is not None and ib is not None:
            break
    items = arrange(rng, things, kind, a, b, ia, ib)
    words = words.split(";")
    if kind == "on" and a in SMALL:
        words = ["{a} on {b}", "{a} on top of {b}", "{b} with {a} on it"]
    return [a, b.removeprefix("body:")], whole(things, items), words


def arrange(rng, things, kind, a, b, ia, ib):
    """The two, far to near."""
    def stands(thing, x, foot, low, high=None):
        return views.stands(things, thing, x, foot, rng.uniform(low, high or low), rng.normal(0, .03))

    def at(thing, x, y, r):
        return dict(thing=thing, rgb=None, paint=None, x=x, y=y, r=r, angle=rng.normal(0, .03), flip=False)

    foot, about = rng.uniform(.86, .92), rng.uniform(-.04, .04)
    if kind in ("on", "riding", "in"):
        below = stands(ib, .5 + about, foot, .28, .31)
        share = {"on": SEATS, "riding": MOUNTS, "in": INSIDE}[kind][b]
        seat = foot - 2 * views.REACH * below["r"] * things.high[ib] * (1 - share)
        deep = {"on": .01, "riding": .1, "in": min(.13, .13 * things.high[ia])}[kind] * (.7 if a in SMALL else 1)
        above = stands(ia, .5 + about, seat + deep, *((.14, .16) if a in SMALL else (.18, .2)))
        return [below, above] if kind == "on" else [above, below]
    if kind in ("holding", "eating", "with"):
        body = stands(ia, .44 + about / 2, foot, .3, .34)
        side = views.REACH * body["r"] * things.wide[ia]
        if kind == "holding":
            return [body, at(ib, body["x"] + .8 * side + .04, body["y"] + .1, rng.uniform(.15, .19))]
        if kind == "eating":
            low = views.REACH * body["r"] * things.high[ia]
            return [body, at(ib, body["x"] + .03, body["y"] + .45 * low, rng.uniform(.11, .14))]
        return [body, stands(ib, body["x"] + .9 * side + .07, foot + .03, .12, .16)]
    if kind == "wearing":
        body = stands(ia, .5, foot, .3, .34)
        dy, share = WORN[b]
        y = body["y"] + dy * views.REACH * body["r"] * things.high[ia]
        return [body, at(ib, body["x"] + about / 2, y, body["r"] * share)]
    if kind == "under":
        r = rng.uniform(.34, .38)
        return [at(ib, .5, .06 + views.REACH * r * things.high[ib], r), stands(ia, .5 + about, .95, .17, .2)]
    if kind == "flying":
        return [at(ib, rng.uniform(.66, .76), rng.uniform(.2, .28), rng.uniform(.17, .2)),
                stands(ia, .33 + about, .93, .22, .26)]
    return [stands(ib, .52, .74, .32, .36), stands(ia, rng.uniform(.3, .6), .95, .15, .18)]


def whole(things, items):
    """What would be cut off above is drawn smaller."""
    top = min(i["y"] - views.REACH * i["r"] * things.high[i["thing"]] for i in items)
    foot, by = .92, min(1., .89 / (.92 - top))
    return [dict(i, x=.5 + (i["x"] - .5) * by, y=foot + (i["y"] - foot) * by, r=i["r"] * by) for i in items]
