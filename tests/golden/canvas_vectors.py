"""Writes canvas_vectors.h: what painting over a picture starts from and ends in, with Pillow.

    python3 tests/golden/canvas_vectors.py > tests/golden/canvas_vectors.h

Written from the WebUI's documented rules: resize modes, mask blur, crop region, fill, overlay.
"""
import numpy as np
from PIL import Image, ImageFilter, ImageOps

W, H = 24, 16


def pattern(width, height):
    """gradients() of canvas_test.c."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x * 37 + y * 11) % 256],
                                    -1).astype(np.uint8))


def rectangle(width, height, box):
    mask = Image.new("L", (width, height))
    if box:
        mask.paste(255, box)
    return mask


def resized(image, mode, w, h):
    if mode == 0:
        return image.resize((w, h), Image.LANCZOS)
    wide, ratio = image.width / image.height, w / h
    if (wide > ratio) == (mode == 1):
        size = (image.width * h // image.height, h)
    else:
        size = (w, image.height * w // image.width)
    small = np.asarray(image.resize(size, Image.LANCZOS))
    left, top = w // 2 - size[0] // 2, h // 2 - size[1] // 2
    ys = np.clip(np.arange(h) - top, 0, size[1] - 1)
    xs = np.clip(np.arange(w) - left, 0, size[0] - 1)
    return Image.fromarray(small[ys][:, xs])


def blurred(mask, sigma):
    """OpenCV's Gaussian with its reflect-101 border, across, then down."""
    n = int(2.5 * sigma + 0.5)
    kernel = np.exp(-np.arange(-n, n + 1) ** 2 / (2 * sigma ** 2))
    a = np.asarray(mask).astype(float)
    for axis in (1, 0):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (n, n)
        padded = np.pad(a, pad, mode="reflect")
        a = np.apply_along_axis(lambda r: np.convolve(r, kernel / kernel.sum(), "valid"), axis, padded)
        a = np.floor(a + 0.5)
    return Image.fromarray(a.astype(np.uint8))


def region(mask, padding, image):
    x1, y1, x2, y2 = mask.getbbox()
    x1, y1 = max(x1 - padding, 0), max(y1 - padding, 0)
    x2, y2 = min(x2 + padding, image.width), min(y2 + padding, image.height)

    def grow(a, b, more, limit):
        a -= more // 2
        b += more - more // 2
        if b >= limit:
            a, b = a - (b - limit), limit
        if a < 0:
            a, b = 0, b - a
        return a, min(b, limit)

    if (x2 - x1) / (y2 - y1) > W / H:
        y1, y2 = grow(y1, y2, int((x2 - x1) / (W / H) - (y2 - y1)), image.height)
    else:
        x1, x2 = grow(x1, x2, int((y2 - y1) * (W / H) - (x2 - x1)), image.width)
    return x1, y1, x2, y2


def filled(image, mask):
    cut = Image.new("RGBa", image.size)
    cut.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    out = Image.new("RGBA", image.size)
    for radius, times in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        layer = cut.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            out.alpha_composite(layer)
    return out.convert("RGB")


def run(size, box, fit, fill, blur, invert, area, padding):
    image, painted = pattern(*size), ImageOps.invert(pattern(W, H))
    if box is None:
        work = resized(image, fit, W, H)
        return work, None, painted, (0, 0, 0, 0)
    mask = rectangle(*size, box)
    if invert:
        mask = ImageOps.invert(mask)
    if blur:
        mask = blurred(mask, blur)
    if area:
        x1, y1, x2, y2 = region(mask, padding, image)
        work_mask, overlay = resized(mask.crop((x1, y1, x2, y2)), 2, W, H), mask
        work = resized(image.crop((x1, y1, x2, y2)), 2, W, H)
        original = image
        shown = Image.new("RGB", image.size)
        shown.paste(resized(painted, 1, x2 - x1, y2 - y1), (x1, y1))
    else:
        x1, y1, x2, y2 = 0, 0, W, H
        work_mask = resized(mask, fit, W, H)
        overlay = work_mask.point(lambda v: min(2 * v, 255))
        work = original = resized(image, fit, W, H)
        shown = painted
    if fill != 1:
        work = filled(work, work_mask)
    latent = np.around(np.asarray(work_mask.convert("RGB").resize((W // 8, H // 8)))[:, :, 0] / 255)
    out = Image.composite(shown, original, overlay)
    return work, latent, out, (x1, y1, x2 - x1, y2 - y1)


CASES = [  # size, box, fit, fill, blur, invert, area, padding
    ((40, 20), None, 0, 1, 0, 0, 0, 0), ((40, 20), None, 1, 1, 0, 0, 0, 0), ((40, 20), None, 2, 1, 0, 0, 0, 0),
    ((20, 40), None, 1, 1, 0, 0, 0, 0), ((21, 41), None, 2, 1, 0, 0, 0, 0),
    ((24, 16), (6, 4, 18, 12), 0, 1, 0, 0, 0, 0), ((24, 16), (6, 4, 18, 12), 0, 1, 0, 1, 0, 0),
    ((40, 20), (6, 4, 18, 12), 1, 1, 2, 0, 0, 0), ((40, 20), (6, 4, 30, 12), 2, 0, 1.5, 0, 0, 0),
    ((36, 28), (22, 5, 28, 14), 0, 1, 0, 0, 1, 2), ((36, 28), (31, 25, 36, 28), 0, 0, 1, 0, 1, 3),
    ((20, 30), (0, 4, 20, 25), 0, 2, 0, 0, 1, 0), ((32, 28), (3, 3, 9, 9), 0, 1, 0, 1, 1, 0),
]


def array(name, data):
    items = ",".join(str(int(v)) for v in data)
    text, line = "", ""
    for item in items.split(","):
        if len(line) + len(item) > 96:
            text, line = text + line + "\n", ""
        line += item + ","
    print(f"static const unsigned char {name}[] = {{\n{text}{line}}};")


def main():
    print("/* canvas_vectors.h: written by canvas_vectors.py. Without a mask `out` and `latent`\n * are NULL; `latent` has a byte a latent pixel. */")
    rows = []
    for i, case in enumerate(CASES):
        size, box, fit, fill, blur, invert, area, padding = case
        work, latent, out, r = run(*case)
        array(f"canvas_work_{i}", work.tobytes())
        if latent is not None:
            array(f"canvas_out_{i}", out.tobytes())
            array(f"canvas_latent_{i}", latent.flatten())
        corners = ", ".join(str(v) for v in box or (0, 0, 0, 0))
        place = ", ".join(str(v) for v in r)
        rows.append(f"{{{size[0]}, {size[1]}, {{{corners}}}, {fit}, {fill}, {blur}, {invert}, {area}, {padding}, "
                    f"{{{place}}}, {out.width}, {out.height},\n     canvas_work_{i}, "
                    + ("NULL, NULL}" if latent is None else f"canvas_out_{i}, canvas_latent_{i}}}"))
    print("static const struct canvas_vector {\n    int width, height, box[4], fit, fill;\n    float blur;\n"
          "    int invert, area, padding, region[4], out_width, out_height;\n"
          "    const unsigned char *work, *out, *latent;\n} canvas_vectors[] = {")
    print("    " + ",\n    ".join(rows) + "};")


main()
