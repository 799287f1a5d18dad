"""People composed of parts: who, their skin, hair and clothes, each as a drawing with what is said of it."""
import itertools

SKIN = {"": "#f1bf94", "black": "#8a5634"}
HAIR = {"blond": "#f3cf5b", "red": "#d9531e", "brown": "#6b4226", "black": "#1f1b1c"}
CLOTHES = {"red": "#d8342e", "blue": "#2f62d0", "green": "#2f9a49", "yellow": "#f5cf35", "purple": "#7d3fae",
           "pink": "#f48fb5", "black": "#26262b", "white": "#f7f7f7", "orange": "#f08a24"}
# who: (the clothes' name, how tall, head's radius)
WHO = {"man": ("shirt", 1., 13), "woman": ("dress", 1., 13), "boy": ("shirt", .82, 15), "girl": ("dress", .82, 15)}
PLAIN = {"man": ("", "brown", "blue"), "woman": ("", "brown", "red"), "boy": ("", "brown", "green"),
         "girl": ("", "blond", "pink")}  # those of a relation, where nothing is said


def draw(who, skin, hair, clothes):
    """SVG in a field of 100 x 100."""
    worn, tall, r = WHO[who]
    skin, hair, colour = SKIN[skin], HAIR[hair], CLOTHES[clothes]
    edge = ' stroke="#c9c9cf" stroke-width="1"' if clothes == "white" else ""
    top = 96 - 92 * tall  # of the head
    neck, hip = top + 2 * r, 96 - 34 * tall
    y, out = top + r, []
    if worn == "dress":  # long hair, behind
        out.append(f'<path d="M{50 - r - 4} {y + 17}V{y}a{r + 4} {r + 2} 0 0 1 {2 * r + 8} 0v17'
                   f'q-{r + 4} 8-{2 * r + 8} 0z" fill="{hair}"/>')
    trousers = "#34465e" if clothes != "blue" else "#4c4c52"
    leg = skin if worn == "dress" or who == "boy" else trousers
    out.append(f'<path d="M43 {hip - 4}V92M57 {hip - 4}V92" stroke="{leg}" stroke-width="8.500"/>')
    if who == "boy":
        out.append(f'<path d="M38.500 {hip - 6}h23v13h-9l-2-6-3 6h-9z" fill="{trousers}"/>')
    out.append('<path d="M36 97q0-6 7-6h4.500v6zM64 97q0-6-7-6h-4.500v6z" fill="#3a2a22"/>')
    for s in (-1, 1):  # arms, hands
        x, end = 50 + s * 23, hip - 2
        out.append(f'<path d="M{50 + s * 11} {neck + 7}L{x} {end}" stroke="{colour}" stroke-width="8" '
                   f'stroke-linecap="round"/><circle cx="{x + s}" cy="{end + 3}" r="4.500" fill="{skin}"/>')
    out.append(f'<path d="M46 {neck - 4}h8v8h-8z" fill="{skin}"/>')
    if worn == "dress":
        out.append(f'<path d="M40 {neck + 2}h20l2 {hip - neck - 16}L70 {hip + 10}q-20 7-40 0l8-{26}z" fill="{colour}"'
                   f'{edge}/>')
    else:
        out.append(f'<path d="M37 {neck + 8}q0-6 6-6h14q6 0 6 6l-1.500 {hip - neck - 8}h-23z" fill="{colour}"{edge}/>')
    out.append(f'<circle cx="50" cy="{y}" r="{r}" fill="{skin}"/>')
    if worn == "dress":
        out.append(f'<path d="M{50 - r} {y + 2}q{r / 2} -2 {r} -{r - 1}q{r / 2} {r - 3} {r} {r - 1}'
                   f'v-4a{r} {r} 0 0 0-{2 * r} 0z" fill="{hair}"/>')
    else:
        out.append(f'<path d="M{50 - r - 1} {y + 1}q-1-{r + 5} {r + 1}-{r + 4}q{r + 2}-1 {r + 1} {r + 4}'
                   f'q-4-8-8-8-6 3-{2 * r - 12} 0-4 1-6 8z" fill="{hair}"/>')
    out.append(f'<circle cx="{50 - r / 2.6}" cy="{y + 2}" r="1.900" fill="#222"/>'
               f'<circle cx="{50 + r / 2.6}" cy="{y + 2}" r="1.900" fill="#222"/>'
               f'<path d="M{50 - 4} {y + 7}q4 4 8 0" fill="none" stroke="#a33" stroke-width="1.800"/>')
    return "".join(out)


def label(who, skin, hair, clothes):
    return f"{skin} {who} with {hair} hair in a {clothes} {WHO[who][0]}".strip()


def figures():
    """(name, what else is said, SVG) of each."""
    out = []
    for who, skin, hair, clothes in itertools.product(WHO, SKIN, HAIR, CLOTHES):
        if skin and hair not in ("black", "brown"):
            continue
        worn, a = WHO[who][0], f"{skin} {who}".strip()
        said = [f"{a} in a {clothes} {worn}", f"{a} wearing a {clothes} {worn}", f"{a} in {clothes} with {hair} hair",
                f"{hair} haired {a} in a {clothes} {worn}", f"standing {a} with {hair} hair in a {clothes} {worn}"]
        out.append((label(who, skin, hair, clothes), said, draw(who, skin, hair, clothes)))
    return out


BODY = {who: label(who, *how) for who, how in PLAIN.items()}
BODY["child"] = BODY["girl"]
