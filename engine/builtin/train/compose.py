"""Scenes to pictures, many at once, in PyTorch on any device.

Everything is a coverage: ridges of a landscape, the disc of the sun, the drawings (affine samples
of one atlas). Drawn far to near; styles are filters over the finished picture.
"""
import io
import math
import zipfile
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
import scenes


def polygon(n, start):
    return [(math.cos(start + 2 * math.pi * i / n), math.sin(start + 2 * math.pi * i / n))
            for i in range(n)]


def outline(shape):
    """Polygon in [-1, 1]^2, y down."""
    up = -math.pi / 2
    if shape == "oval":
        return [(x, .6 * y) for x, y in polygon(72, 0)]
    if shape == "star":
        corners = zip([1.1, .46] * 5, polygon(10, up))
        return [(r * x, r * y) for r, (x, y) in corners]
    if shape == "heart":
        t = [2 * math.pi * i / 72 for i in range(72)]
        return [(math.sin(a) ** 3, .12 - (13 * math.cos(a) - 5 * math.cos(2 * a) -
                 2 * math.cos(3 * a) - math.cos(4 * a)) / 16) for a in t]
    return {"circle": polygon(72, 0), "hexagon": polygon(6, 0), "pentagon": polygon(5, up),
            "square": [(-.88, -.88), (.88, -.88), (.88, .88), (-.88, .88)],
            "triangle": [(0, -1), (1, .8), (-1, .8)],
            "diamond": [(0, -1.1), (.75, 0), (0, 1.1), (-.75, 0)],
            "cross": [(-.32, -1), (.32, -1), (.32, -.32), (1, -.32), (1, .32), (.32, .32), (.32, 1),
                      (-.32, 1), (-.32, .32), (-1, .32), (-1, -.32), (-.32, -.32)]}[shape]


def shape_image(name, side):
    """A white shape; 1 unit is 4/9 of the side: stars and diamonds reach over their radius."""
    s, unit = 4 * side, 16 * side / 9
    img = Image.new("L", (s, s))
    draw = ImageDraw.Draw(img)

    def disc(x, y, r, fill):
        draw.ellipse([s / 2 + (x - r) * unit, s / 2 + (y - r) * unit, s / 2 + (x + r) * unit,
                      s / 2 + (y + r) * unit], fill=fill)

    if name == "ring":
        disc(0, 0, 1, 255)
        disc(0, 0, .58, 0)
    elif name == "crescent":
        disc(0, 0, 1, 255)
        disc(.45 * math.cos(-.25), .45 * math.sin(-.25), .82, 0)
    else:
        draw.polygon([(s / 2 + x * unit, s / 2 + y * unit) for x, y in outline(name)], fill=255)
    alpha = img.reduce(4)
    return Image.merge("RGBA", [Image.new("L", alpha.size, 255)] * 3 + [alpha])


def solid_image(name, side):
    """A lit solid in greys, from above: light from the upper left."""
    y, x = np.mgrid[0:4 * side, 0:4 * side] / (4 * side) * 2.25 - 1.125
    light = np.zeros_like(x)
    if name == "sphere":
        inside = x * x + y * y < 1
        z = np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
        light = np.clip(-.45 * x - .6 * y + .66 * z, 0, 1)
    elif name == "cube":
        top = np.abs(x) / .9 + np.abs(y + .5) / .45 < 1
        body = (np.abs(x) < .9) & (y > -.05 - np.abs(x) / 2) & (y < .95 - np.abs(x) / 2)
        inside, light = top | body, np.where(top, 1, np.where(x < 0, .7, .35))
    elif name == "cylinder":
        top = (x / .7) ** 2 + ((y + .65) / .25) ** 2 < 1
        rim = .25 * np.sqrt(np.clip(1 - (x / .7) ** 2, 0, 1))
        body = (np.abs(x) < .7) & (y > -.65) & (y < .65 + rim)
        inside, light = top | body, np.where(top, 1, .35 + .5 * np.cos((x / .7 + .5) * 1.2))
    else:
        half = .85 * (y + 1) / 1.7
        inside = (np.abs(x) < half) & (y < .7 + .22 * np.sqrt(np.clip(1 - (x / .85) ** 2, 0, 1)))
        light = .35 + .55 * np.cos((x / np.maximum(half, .01) + .5) * 1.2)
    grey = (255 * (.25 + .75 * light)).astype(np.uint8)
    img = Image.merge("RGBA", [Image.fromarray(grey)] * 3 +
                      [Image.fromarray((255 * inside).astype(np.uint8))])
    return img.reduce(4)


class Atlas:
    """All things at one size: [N, 4, side, side] uint8, alpha last."""

    def __init__(self, archive, side, device="cpu"):
        pictures = [shape_image(n, side) for n in scenes.SHAPES]
        pictures += [solid_image(n, side) for n in scenes.SOLIDS]
        with zipfile.ZipFile(archive) as z:
            for name in sorted((n for n in z.namelist() if n.endswith(".webp")), key=lambda n: int(n[:-5])):
                img = Image.open(io.BytesIO(z.read(name))).convert("RGBA")
                pictures.append(img.resize((side, side), Image.BOX) if img.width != side else img)
        data = np.stack([np.asarray(p) for p in pictures]).transpose(0, 3, 1, 2)
        self.data = torch.from_numpy(np.ascontiguousarray(data)).to(device)


LAYER = 256


def polygons(some):
    """Coloured polygons as one layer, colours times alpha: uint8 [4, LAYER, LAYER]."""
    img = Image.new("RGBA", (2 * LAYER, 2 * LAYER))
    draw = ImageDraw.Draw(img)
    for rgb, points in some:
        draw.polygon([(2 * LAYER * x, 2 * LAYER * y) for x, y in points], fill=(*rgb, 255))
    return np.asarray(img.reduce(2)).transpose(2, 0, 1)


def cover(img, layer, of):
    if len(of):
        layer = F.interpolate(layer.float() / 255, size=img.shape[2:], mode="area")
        img[of] = img[of] * (1 - layer[:, 3:]) + layer[:, :3]


def repaint(things, rgb):
    """Drawings in another colour: its shades, but for what is nearly black or white."""
    colour, alpha = things[:, :3], things[:, 3:].clamp(min=1e-3)
    grey = (colour / alpha).mean(1, keepdim=True)
    mean = (grey * alpha).sum((2, 3), keepdim=True) / alpha.sum((2, 3), keepdim=True)
    shade = grey / mean.clamp(min=.2)
    rgb = rgb[:, :, None, None]
    new = torch.where(shade < 1, rgb * shade, rgb + (1 - rgb) * (shade - 1).clamp(0, .8) * .6)
    keep = ((grey < .12) | (grey > .93)).float()
    new = (keep * colour / alpha + (1 - keep) * new) * alpha
    return torch.cat([torch.where(alpha > .01, new, 0 * colour), things[:, 3:]], 1)


def pack(batch):
    """Scenes as tensors, for one transfer to the device."""
    n, ridges = len(batch), scenes.LAYERS
    most = max([3, *(len(s["items"]) for s in batch)])
    p = dict(sky=np.zeros((n, 2, 3)), disc=np.zeros((n, 6)), specks=np.zeros((n, 3)),
             heights=np.full((n, ridges, scenes.PROFILE), 2.), colours=np.zeros((n, ridges, 2, 3)),
             thing=np.full((n, most), -1), where=np.zeros((n, most, 5)),
             tint=np.full((n, most, 3), 255.), paint=np.full((n, most, 3), -1.), style=np.zeros(n))
    for side in ("behind", "before"):  # of few pictures: their numbers and layers
        some = [k for k, s in enumerate(batch) if s["ground"][side]]
        layers = [polygons(batch[k]["ground"][side]) for k in some]
        p[side + "_of"] = np.array(some, np.int64)
        p[side] = np.stack(layers) if layers else np.zeros((0, 4, LAYER, LAYER), np.uint8)
    for k, s in enumerate(batch):
        g = s["ground"]
        p["sky"][k] = g["top"], g["low"]
        if g["disc"]:
            p["disc"][k] = *g["disc"][:3], *g["disc"][3]
        p["specks"][k] = g["stars"], g["flowers"], g["snow"]
        for i, (h, top, low) in enumerate(g["layers"]):
            p["heights"][k, i], p["colours"][k, i] = h, (top, low)
        for i, it in enumerate(s["items"]):
            p["thing"][k, i] = it["thing"]
            p["where"][k, i] = it["x"], it["y"], it["r"], it["angle"], 1 - 2 * it["flip"]
            if it["rgb"] is not None:
                p["tint"][k, i] = it["rgb"]
            if it.get("paint") is not None:
                p["paint"][k, i] = it["paint"]
        p["style"][k] = 1 + list(scenes.STYLES).index(s["style"]) if s["style"] else 0
    whole = {"thing": torch.long, "style": torch.long, "behind_of": torch.long, "before_of": torch.long,
             "behind": torch.uint8, "before": torch.uint8}
    return {k: torch.from_numpy(v).to(whole.get(k, torch.float32)) for k, v in p.items()}


def specks(x, chance, size, mask, rgb):
    """Little dots in cells of a grid, `chance` of 1000 cells each."""
    n, _, s, _ = x.shape
    cells = max(8, int(s / size))
    hit = torch.rand(n, 1, cells, cells, device=x.device) < chance[:, None, None, None] / 1000
    hit = F.interpolate(hit.float(), size=(s, s), mode="bilinear", align_corners=False)
    hit = (2.2 * hit - .6).clamp(0, 1) * mask
    return x + hit * (rgb - x)


def lay(img, ok, things, where, tint, rim):
    """Puts things (premultiplied) onto the pictures `ok` at x, y, r, angle, flip."""
    cx, cy, r, angle, flip = where.T
    # a cell of the atlas holds 2.25 radii of a shape and a drawing alike
    c, s = angle.cos() / (2.25 * r), angle.sin() / (2.25 * r)
    dx, dy = 1 - 2 * cx, 1 - 2 * cy
    theta = torch.stack([flip * c, flip * s, flip * (c * dx + s * dy),
                         -s, c, c * dy - s * dx], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, (len(ok), 4, *img.shape[2:]), align_corners=False)
    t = F.grid_sample(things, grid, align_corners=False)
    if rim.any():  # a sticker's white edge
        wide = 2 * (img.shape[-1] // 48) + 1
        edge = F.max_pool2d(t[:, 3:], wide, 1, wide // 2) * rim[:, None, None, None]
        img[ok] = img[ok] * (1 - edge) + edge
    img[ok] = img[ok] * (1 - t[:, 3:]) + t[:, :3] * tint[:, :, None, None]


@torch.no_grad()
def paint(p, atlas, size):
    """[n, 3, size, size] in 0..1 of packed scenes (on the atlas' device)."""
    n, dev = len(p["sky"]), p["sky"].device
    ramp = (torch.arange(size, device=dev) + .5) / size
    y, x = ramp[:, None], ramp[None, :]
    sky = p["sky"] / 255
    img = sky[:, 0, :, None] + (sky[:, 1] - sky[:, 0])[:, :, None] * ramp
    img = img[..., None].repeat(1, 1, 1, size)
    land = p["heights"][:, 0, 0] < 2
    if (p["specks"] > 0).any():
        img = specks(img, p["specks"][:, 0] / 3, size / 40, 1, torch.ones_like(img))
    if (p["disc"][:, 2] > 0).any():
        d = p["disc"][:, :, None, None]
        m = ((d[:, 2] - ((x - d[:, 0]) ** 2 + (y - d[:, 1]) ** 2).sqrt()) * size + .5).clamp(0, 1)
        img = torch.lerp(img, d[:, 3:6] / 255, m[:, None])
    for i in range(scenes.LAYERS):
        if not (p["heights"][:, i, 0] < 2).any():
            break
        h = p["heights"][:, i:i + 1]
        h = F.interpolate(h, size=size, mode="linear", align_corners=True)[:, :, None]
        m = ((y - h) * size + .5).clamp(0, 1)
        down = ((y - h) / (1 - h).clamp(min=.1)).clamp(0, 1)
        c = p["colours"][:, i, :, :, None, None] / 255
        img = torch.lerp(img, torch.lerp(c[:, 0], c[:, 1], down), m)
    if (p["specks"][:, 1] > 0).any() and land.any():
        petals = torch.rand(n, 3, size // 8, size // 8, device=dev)
        petals = F.interpolate((petals > .45).float(), size=(size, size))
        below = (y > .66).float()
        img = specks(img, p["specks"][:, 1], size / 32, below, petals)
    cover(img, p["behind"], p["behind_of"])
    sticker = 1 + list(scenes.STYLES).index("sticker")
    for i in range(p["thing"].shape[1]):
        # minified: averaged first, so that no line is lost
        shrink = atlas.data.shape[-1] / (size * 2.25 * p["where"][:, i, 2].clamp(min=.01))
        for by, at_least, below in ((1, 0, 1.5), (2, 1.5, 3), (4, 3, 1e9)):
            ok = (p["thing"][:, i] >= 0) & (shrink >= at_least) & (shrink < below)
            ok = ok.nonzero()[:, 0]
            if len(ok):
                things = atlas.data[p["thing"][ok, i]].float() / 255
                things[:, :3] *= things[:, 3:]
                new = (p["paint"][ok, i, 0] >= 0).nonzero()[:, 0]
                if len(new):
                    things[new] = repaint(things[new], p["paint"][ok, i][new] / 255)
                lay(img, ok, F.avg_pool2d(things, by), p["where"][ok, i], p["tint"][ok, i] / 255,
                    (p["style"][ok] == sticker).float())
    cover(img, p["before"], p["before_of"])
    if (p["specks"][:, 2] > 0).any():
        img = specks(img, p["specks"][:, 2] / 2, size / 40, 1, torch.ones_like(img))
    for k in p["style"].unique().tolist():
        if k:
            ok = (p["style"] == k).nonzero()[:, 0]
            img[ok] = FILTERS[list(scenes.STYLES)[k - 1]](img[ok])
    return img.clamp(0, 1)


def blur(x, r):
    """Gaussian of deviation r pixels."""
    k = max(1, math.ceil(2 * r))
    w = torch.exp(-torch.arange(-k, k + 1, device=x.device).float() ** 2 / (2 * r * r))
    w = (w / w.sum()).expand(x.shape[1], 1, -1)
    x = F.conv2d(F.pad(x, (k, k, 0, 0), "replicate"), w[:, :, None], groups=x.shape[1])
    return F.conv2d(F.pad(x, (0, 0, k, k), "replicate"), w[..., None], groups=x.shape[1])


def edges(x):
    """Strength of contours, [n, 1, h, w] in 0..1."""
    g = F.pad(x, (1, 1, 1, 1), "replicate")
    dx, dy = g[:, :, 1:-1, 2:] - g[:, :, 1:-1, :-2], g[:, :, 2:, 1:-1] - g[:, :, :-2, 1:-1]
    return (dx.square() + dy.square()).sum(1, keepdim=True).sqrt().clamp(0, 1)


def noise(x, cells, channels=1):
    r = torch.rand(len(x), channels, cells, cells, device=x.device)
    return F.interpolate(r, size=x.shape[2:], mode="bicubic", align_corners=False).clamp(0, 1)


def flow(x, shift):
    """The picture moved by [n, 2, h, w] pixels."""
    n, _, h, w = x.shape
    same = torch.eye(2, 3, device=x.device).expand(n, 2, 3)
    base = F.affine_grid(same, x.shape, align_corners=False)
    return F.grid_sample(x, base + 2 * shift.permute(0, 2, 3, 1) / w, padding_mode="reflection",
                         align_corners=False)


def watercolour(x):
    s = x.shape[-1]
    wet = flow(x, (noise(x, 16, 2) - .5) * s / 20)
    soft = blur(wet, s / 90)
    rim = edges(blur(wet, s / 128))
    soft = 1 - (1 - soft) * (.62 + .5 * noise(x, 10)) * .8
    return soft * (1 - .35 * rim) * (.93 + .07 * noise(x, s // 3))


def oil(x):
    """Strokes: each cell of a jittered grid takes one colour, lit across the stroke."""
    s = x.shape[-1]
    strokes = flow(x, (noise(x, s // 10, 2) - .5) * s / 24)
    strokes = (strokes * 9).round() / 9
    relief = noise(x, s // 10)
    relief = relief - torch.roll(relief, (s // 40, s // 40), (2, 3))
    return (strokes - .5) * 1.1 + .5 + .4 * relief


def sketch(x):
    """Contours over grey shades, which are hatched where the picture is dark."""
    grey = x.mean(1, keepdim=True)
    s = x.shape[-1]
    contour = 1 - 1.6 * edges(blur(x, s / 200)).clamp(0, .6)
    ramp = torch.arange(s, device=x.device) * (2 * math.pi * 9 / s)
    hatch = .5 + .5 * (ramp[:, None] + ramp).sin()
    shade = 1 - (.25 + .35 * hatch) * (1 - grey)
    return (contour * shade * (.9 + .1 * noise(x, s // 6))).expand(-1, 3, -1, -1)


def pixel(x):
    small = F.interpolate(x, size=(16, 16), mode="area")
    return F.interpolate((small * 6).round() / 6, size=x.shape[2:], mode="nearest")


def glass(x):
    """Cells of random points, each of one colour, with lead between them."""
    n, _, s, _ = x.shape
    k = 6

    def centres(m):
        ramp = (torch.arange(m, device=x.device) + .5) / m
        return torch.cartesian_prod(ramp, ramp).expand(n, -1, -1)

    at = centres(k) + (torch.rand(n, k * k, 2, device=x.device) - .5) * .8 / k
    near, which = torch.cdist(centres(s), at).topk(2, largest=False)
    where = (2 * at.flip(-1) - 1)[:, None]
    cell = F.grid_sample(blur(x, s / 60), where, align_corners=False)[:, :, 0]
    flat = cell.gather(2, which[..., 0][:, None].expand(-1, 3, -1)).reshape(n, 3, s, s)
    flat = .35 * flat + .65 * (x * 5).round() / 5  # so that the thing can still be told
    lead = ((near[..., 1] - near[..., 0]) * s / 4.5).clamp(0, 1).reshape(n, 1, s, s)
    lead = lead * (1 - 2.5 * edges(blur(x, s / 100))).clamp(0, 1)
    return ((flat - .5) * 1.2 + .55) * lead


def neon(x):
    s = x.shape[-1]
    e = edges(blur(x, s / 128))
    hue = x / x.amax(1, keepdim=True).clamp(min=.1)
    hue = (hue - .4 * hue.amin(1, keepdim=True)).clamp(0, 1)
    glow = blur(hue * e, s / 40) * 2 + blur(hue * e, s / 128) * 1.6
    return .03 + .08 * x + glow + .25 * e


def photo(x):
    s = x.shape[-1]
    ramp = torch.linspace(-1, 1, s, device=x.device)
    vignette = 1 - .4 * (ramp[:, None] ** 2 + ramp ** 2)
    soft = blur(x, s / 160)
    warm = torch.tensor([1.04, .98, .88], device=x.device)[:, None, None]
    grain = (noise(x, s // 4) - .5) * .16
    return (soft * .8 + .1) * warm * vignette + grain


def line(x):
    e = edges(blur(x, x.shape[-1] / 200))
    return (1 - (4 * e - .3).clamp(0, 1) * .95).expand(-1, 3, -1, -1)


def cartoon(x):
    """Few bright colours in black outlines."""
    grey = x.mean(1, keepdim=True)
    bright = (grey + 1.35 * (x - grey)).clamp(0, 1)
    outline = (3 * edges(blur(x, x.shape[-1] / 160)) - .25).clamp(0, 1)
    return (bright * 6).round() / 6 * (1 - F.max_pool2d(outline, 3, 1, 1))


def same(x):
    return x


FILTERS = dict(watercolour=watercolour, oil=oil, sketch=sketch, pixel=pixel, glass=glass, neon=neon,
               photo=photo, line=line, cartoon=cartoon, sticker=same, clipart=same)
