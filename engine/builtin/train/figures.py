"""People composed of parts: skin, hair, clothes, hats, tools; each a drawing with what is said of it."""
import itertools

SKIN = {"": "#f1bf94", "black": "#8a5634"}
HAIR = {"blond": "#f3cf5b", "red": "#d9531e", "brown": "#6b4226", "black": "#1f1b1c"}
CLOTHES = {"red": "#d8342e", "blue": "#2f62d0", "green": "#2f9a49", "yellow": "#f5cf35", "purple": "#7d3fae",
           "pink": "#f48fb5", "black": "#26262b", "white": "#f7f7f7", "orange": "#f08a24"}
# who: (the clothes' name, how tall, head's radius)
WHO = {"man": ("shirt", 1., 13), "woman": ("dress", 1., 13), "boy": ("shirt", .82, 15), "girl": ("dress", .82, 15)}
PLAIN = {"man": ("", "brown", "blue"), "woman": ("", "brown", "red"), "boy": ("", "brown", "green"),
         "girl": ("", "blond", "pink")}  # those of a relation, where nothing is said

# Hats by the head's top x = 50, y = 0 is the brow's height; drawn over the hair
HATS = {
    "sailor": '<path d="M37-2q-5-13 13-13t13 13z" fill="#fff" stroke="#c9c9cf"/><path d="M36-5h28v5H36z" fill="#2b4a9a"/>',
    "chef": '<path d="M39 0v-8q-8-12 4-15 7-8 14 0 12 3 4 15v8z" fill="#fff" stroke="#c9c9cf"/>',
    "helmet": '<path d="M35 2q0-19 15-19t15 19z" fill="#5d7042"/><path d="M34 0h32v4H34z" fill="#4a5a34"/>',
    "top": '<path d="M34 1h32v-4H34zM40-3v-20h20v20z" fill="#1d1d22"/><path d="M40-8h20v5H40z" fill="#d8342e"/>',
    "cone": '<path d="M35 2 50-32 65 2z" fill="#d8342e"/>',
    "wizard": '<path d="M30 3q20-9 40 0l-8-5L50-34 38-2z" fill="#45329a"/><circle cx="50" cy="-10" r="2.500" fill="#ffd75a"/>',
    "straw": '<path d="M28 2q22-9 44 0-22 5-44 0z" fill="#d9ad55"/><path d="M38-1q0-14 12-14t12 14z" fill="#e7c069"/>',
    "postal": '<path d="M36-1q-2-14 14-14t14 14z" fill="#2b4a9a"/><path d="M36-3h28l4 5H36z" fill="#1d2f66"/>',
    "horns": '<path d="M36 1q0-17 14-17t14 17z" fill="#9aa3ad"/><path d="M37-3q-11-4-9-16 3 9 11 10zM63-3q11-4 9-16-3 9-11 10z" fill="#f3ead2"/>',
    "tricorn": '<path d="M30 2Q36-18 50-13q14-5 20 15-20-9-40 0z" fill="#1d1d22"/><circle cx="50" cy="-5" r="3.500" fill="#fff"/>',
    "crown": '<path d="M38 0l-2-15 8 7 6-10 6 10 8-7-2 15z" fill="#f5c531"/>',
    "nemes": '<path d="M35-2q0-13 15-13t15 13l5 26H60V4H40v20H30z" fill="#f5c531"/><path d="M34 6l-3 12h7zM66 6l3 12h-7z" fill="#2f62d0"/>',
    "fire": '<path d="M35 1q0-18 15-18t15 18l5 4H30z" fill="#d8342e"/><path d="M46-14h8v12h-8z" fill="#f5c531"/>',
    "knight": '<path d="M36 20V-2q0-15 14-15t14 15v22q-14 6-28 0z" fill="#c5ccd4"/><path d="M39 2h22v6H39z" fill="#23272d"/>'
              '<path d="M50-16q2-12 16-7-6 4-4 11-4-5-12-4z" fill="#d8342e"/>',
    "space": '<circle cx="50" cy="8" r="19" fill="#f2f4f7" stroke="#b9c0c9"/><circle cx="50" cy="9" r="14" fill="#27364d"/>'
             '<path d="M42 3q4-5 9-5" stroke="#7fa4d8" stroke-width="2.500" fill="none"/>',
    "samurai": '<path d="M34 4q0-20 16-20t16 20l5 8H29z" fill="#3a2230"/><path d="M40-10q-2-12 4-16-1 10 6 12 7-2 6-12 6 4 4 16z" fill="#f5c531"/>',
    "diver": '<path d="M36 0q0-16 14-16t14 16z" fill="#26262b"/><path d="M38 1h24v9H38z" fill="#7fd0ee" stroke="#26262b" stroke-width="2.500"/>',
    "cowboy": '<path d="M26 0q8 6 24 4t24-4q-8 10-24 8T26 0zM38 3q-2-19 12-15 14-4 12 15z" fill="#8a5a30"/>',
    "witch": '<path d="M28 3q22-9 44 0l-9-4L52-32 37-1z" fill="#26262b"/><path d="M39-6h23l1 5H37z" fill="#7d3fae"/>',
}
# Tools in the right hand, which is at 0 0
TOOLS = {
    "rod": '<path d="M-4 8 22-48v36" fill="none" stroke="#6b4226" stroke-width="2.200"/><circle cx="22" cy="-10" r="2.500" fill="#d8342e"/>',
    "tray": '<path d="M-10-5h24" stroke="#aab2bb" stroke-width="3"/><path d="M-4-7v-9h5v9zM5-7q-3-8 3-9 6 1 3 9z" fill="#b3202c"/>',
    "sword": '<path d="M-2 4 0-34l2-4 2 4 2 38z" fill="#dfe5eb" stroke="#9aa3ad"/><path d="M-6 2h16v4H-6z" fill="#c99a2e"/>',
    "axe": '<path d="M1 14V-30" stroke="#6b4226" stroke-width="3"/><path d="M2-30q13-4 13 6t-13 6z" fill="#b4bcc6"/>',
    "wand": '<path d="M-2 4 12-18" stroke="#26262b" stroke-width="2.500"/><path d="m14-26 2 5 5 1-4 3 1 5-4-3-5 3 2-5-4-4 5-1z" fill="#ffd75a"/>',
    "staff": '<path d="M1 20V-44" stroke="#7d4a26" stroke-width="3"/><circle cx="1" cy="-46" r="5" fill="#5fd0f0"/>',
    "broom": '<path d="M1 8V-34" stroke="#a9753f" stroke-width="3"/><path d="M-5 8H7l4 18H-9z" fill="#d9ad55"/>',
    "can": '<path d="M-6 2H9v14H-6z" fill="#2f9a49"/><path d="M9 8l9-8" stroke="#2f9a49" stroke-width="3"/><path d="M-4 2Q1-8 7 2" fill="none" stroke="#2f9a49" stroke-width="2"/>',
    "spear": '<path d="M1 24V-44" stroke="#7d4a26" stroke-width="2.800"/><path d="m1-54 4 12h-8z" fill="#b4bcc6"/>',
    "letter": '<path d="M-6-4h18V9H-6z" fill="#fff" stroke="#99a"/><path d="M-6-4 3 4l9-8" fill="none" stroke="#99a"/>',
    "spoon": '<path d="M1 8V-20" stroke="#a9753f" stroke-width="3"/><ellipse cx="1" cy="-22" rx="4" ry="6" fill="#a9753f"/>',
    "bread": '<path d="M-7 4 12-16" stroke="#d99a4e" stroke-width="7" stroke-linecap="round"/>',
    "hose": '<path d="M-4 4 12-6" stroke="#f5c531" stroke-width="5"/><path d="M12-6 24-16M12-5l14-3" stroke="#5fb8f0" stroke-width="3"/>',
    "rifle": '<path d="M-8 10 14-26" stroke="#3a2a22" stroke-width="4"/>',
    "guitar": '<path d="M-4 2 16-26" stroke="#6b4226" stroke-width="3"/><ellipse cx="-6" cy="6" rx="8" ry="7" fill="#d0742a"/>',
}
# who is known by clothes and tools: (clothes' colour, robe, hair or beard's colour, beard, hat, tool, skin, what is said)
KNOWN = {
    "sailor": ("#f7f7f7", False, "#6b4226", False, "sailor", None, None, "seaman;navy sailor"),
    "baker": ("#f7f7f7", False, "#6b4226", False, "chef", "bread", None, "baker with bread"),
    "standing chef": ("#f7f7f7", False, "#1f1b1c", False, "chef", "spoon", None, "chef with a spoon;cook with a wooden spoon"),
    "waiter": ("#26262b", False, "#1f1b1c", False, None, "tray", None, "waiter with a tray;butler"),
    "soldier": ("#5d7042", False, "#6b4226", False, "helmet", "rifle", None, "army soldier"),
    "fisherman": ("#f5cf35", False, "#8b8b8b", True, "straw", "rod", None, "fisherman with a fishing rod;angler"),
    "gardener": ("#2f9a49", False, "#d9531e", False, "straw", "can", None, "gardener with a watering can"),
    "postman": ("#2f62d0", False, "#6b4226", False, "postal", "letter", None, "mailman;mail carrier"),
    "magician": ("#26262b", False, "#1f1b1c", False, "top", "wand", None, "magician with a wand;conjurer"),
    "gnome": ("#2f62d0", False, "#f2f2f2", True, "cone", None, None, "garden gnome"),
    "dwarf": ("#7a5a3a", False, "#b0552a", True, "horns", "axe", None, "dwarf with an axe"),
    "standing viking": ("#7a5a3a", False, "#e0a23c", True, "horns", "sword", None, "viking warrior;viking with a sword"),
    "standing wizard": ("#45329a", True, "#f2f2f2", True, "wizard", "staff", None, "wizard with a staff;sorcerer;old wizard"),
    "monk": ("#7a4a26", True, None, False, None, None, None, "buddhist monk;friar"),
    "pharaoh": ("#f7f7f7", True, None, False, "nemes", "staff", "#c98a55", "egyptian pharaoh"),
    "samurai": ("#8f231d", False, "#1f1b1c", False, "samurai", "sword", None, "samurai warrior;japanese warrior"),
    "gladiator": ("#a3552f", False, "#1f1b1c", False, "horns", "spear", "#d9a06b", "warrior;roman warrior"),
    "standing knight": ("#a9b2bd", False, None, False, "knight", "sword", None, "knight in armour;knight in armor"),
    "standing astronaut": ("#f2f4f7", False, None, False, "space", None, None, "spaceman;astronaut in a space suit"),
    "standing firefighter": ("#d0742a", False, "#6b4226", False, "fire", "hose", None, "fireman;fireman with a hose"),
    "standing pirate": ("#7a1f24", False, "#3a2416", True, "tricorn", "sword", None, "pirate captain;pirate with a sword"),
    "standing king": ("#b3202c", True, "#8a5a34", True, "crown", None, None, "king in a robe"),
    "standing cowboy": ("#c0653a", False, "#6b4226", False, "cowboy", None, None, "cowboy in boots"),
    "standing witch": ("#26262b", True, "#d0742a", False, "witch", "broom", "#a5cf6b", "witch with a broom"),
    "diver": ("#26262b", False, None, False, "diver", None, None, "scuba diver"),
    "musician": ("#7d3fae", False, "#1f1b1c", False, None, "guitar", None, "guitarist;guitar player;man playing the guitar"),
}


def body(colour, skin, hair, worn, tall, r, trousers, edge="", face=True, shorts=False):
    """(SVG, brow's height, hand's height) of someone standing in a field of 100 x 100."""
    top = 96 - 92 * tall  # of the head
    neck, hip, out = top + 2 * r, 96 - 34 * tall, []
    y = top + r
    if worn == "dress" and hair:  # long hair, behind
        out.append(f'<path d="M{50 - r - 4} {y + 17}V{y}a{r + 4} {r + 2} 0 0 1 {2 * r + 8} 0v17'
                   f'q-{r + 4} 8-{2 * r + 8} 0z" fill="{hair}"/>')
    leg = skin if worn == "dress" or shorts else trousers
    out.append(f'<path d="M43 {hip - 4}V92M57 {hip - 4}V92" stroke="{leg}" stroke-width="8.500"/>')
    if shorts:
        out.append(f'<path d="M38.500 {hip - 6}h23v13h-9l-2-6-3 6h-9z" fill="{trousers}"/>')
    out.append('<path d="M36 97q0-6 7-6h4.500v6zM64 97q0-6-7-6h-4.500v6z" fill="#3a2a22"/>')
    for s in (-1, 1):  # arms, hands
        x, end = 50 + s * 23, hip - 2
        out.append(f'<path d="M{50 + s * 11} {neck + 7}L{x} {end}" stroke="{colour}" stroke-width="8" '
                   f'stroke-linecap="round"/><circle cx="{x + s}" cy="{end + 3}" r="4.500" fill="{skin}"/>')
    out.append(f'<path d="M46 {neck - 4}h8v8h-8z" fill="{skin}"/>')
    if worn == "dress":
        out.append(f'<path d="M40 {neck + 2}h20l2 {hip - neck - 16}L70 {hip + 10}q-20 7-40 0l8-26z" fill="{colour}"'
                   f'{edge}/>')
    elif worn == "robe":
        out.append(f'<path d="M37 {neck + 8}q0-6 6-6h14q6 0 6 6L70 93q-20 5-40 0z" fill="{colour}"{edge}/>')
    else:
        out.append(f'<path d="M37 {neck + 8}q0-6 6-6h14q6 0 6 6l-1.500 {hip - neck - 8}h-23z" fill="{colour}"{edge}/>')
    out.append(f'<circle cx="50" cy="{y}" r="{r}" fill="{skin}"/>')
    if hair and worn == "dress":
        out.append(f'<path d="M{50 - r} {y + 2}q{r / 2} -2 {r} -{r - 1}q{r / 2} {r - 3} {r} {r - 1}'
                   f'v-4a{r} {r} 0 0 0-{2 * r} 0z" fill="{hair}"/>')
    elif hair:
        out.append(f'<path d="M{50 - r - 1} {y + 1}q-1-{r + 5} {r + 1}-{r + 4}q{r + 2}-1 {r + 1} {r + 4}'
                   f'q-4-8-8-8-6 3-{2 * r - 12} 0-4 1-6 8z" fill="{hair}"/>')
    if face:
        out.append(f'<circle cx="{50 - r / 2.6}" cy="{y + 2}" r="1.900" fill="#222"/>'
                   f'<circle cx="{50 + r / 2.6}" cy="{y + 2}" r="1.900" fill="#222"/>'
                   f'<path d="M46 {y + 7}q4 4 8 0" fill="none" stroke="#a33" stroke-width="1.800"/>')
    return "".join(out), y - 6, hip + 1


def draw(who, skin, hair, clothes):
    worn, tall, r = WHO[who]
    edge = ' stroke="#c9c9cf" stroke-width="1"' if clothes == "white" else ""
    trousers = "#34465e" if clothes != "blue" else "#4c4c52"
    return body(CLOTHES[clothes], SKIN[skin], HAIR[hair], worn, tall, r, trousers, edge, shorts=who == "boy")[0]


def known(colour, robe, hair, beard, hat, tool, skin, _):
    """The figure a little smaller, so that hat and tool have room."""
    worn, trousers = "robe" if robe else "shirt", "#3a3f4a" if colour != "#26262b" else "#55555c"
    trousers = colour if hat == "space" else "#8b95a1" if hat == "knight" else trousers
    edge = ' stroke="#c9c9cf" stroke-width="1"' if colour in ("#f7f7f7", "#f2f4f7") else ""
    svg, brow, hand = body(colour, skin or SKIN[""], hair, worn, .92, 13, trousers, edge)
    if beard:
        y = brow + 6
        svg += (f'<path d="M37 {y + 1}q1 27 13 28 12-1 13-28-4 9-13 5-9 4-13-5z" fill="{hair}"/>'
                f'<path d="M46 {y + 9}h8" stroke="#a33" stroke-width="2"/>')
    if tool:
        svg += f'<g transform="translate(74 {hand})">{TOOLS[tool]}</g>'
    if hat:
        svg += f'<g transform="translate(0 {brow})">{HATS[hat]}</g>'
    return f'<g transform="translate(8 15) scale(.85)">{svg}</g>'


def label(who, skin, hair, clothes):
    an = "an" if clothes == "orange" else "a"
    return f"{skin} {who} with {hair} hair in {an} {clothes} {WHO[who][0]}".strip()


def figures():
    """(name, what else is said, SVG) of each."""
    out = []
    for who, skin, hair, clothes in itertools.product(WHO, SKIN, HAIR, CLOTHES):
        if skin and hair not in ("black", "brown"):
            continue
        worn, a = WHO[who][0], f"{skin} {who}".strip()
        an = "an" if clothes == "orange" else "a"
        said = [f"{a} in {an} {clothes} {worn}", f"{a} wearing {an} {clothes} {worn}", f"{a} in {clothes} with {hair} hair",
                f"{hair} haired {a} in {an} {clothes} {worn}",
                f"standing {a} with {hair} hair in {an} {clothes} {worn}"]
        out.append((label(who, skin, hair, clothes), said, draw(who, skin, hair, clothes)))
    return out + [(name, how[-1].split(";"), known(*how)) for name, how in KNOWN.items()]


BODY = {who: label(who, *how) for who, how in PLAIN.items()}
BODY["child"] = BODY["girl"]
BODY.update((name.split()[1], name) for name in KNOWN if name.startswith("standing "))
