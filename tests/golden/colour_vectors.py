"""Writes colour_vectors.h: a picture with the colours of another one, by the libraries that the SD WebUI uses for
img2img_color_correction.

    pip install opencv-python-headless scikit-image blendmodes
    python3 tests/golden/colour_vectors.py > tests/golden/colour_vectors.h
"""
import cv2
import numpy as np
from blendmodes.blend import BlendType, blendLayers
from PIL import Image
from skimage import exposure

W, H = 60, 40


def gradient(seed, low, high):
    """gradient() of colours_test.c."""
    y, x = np.mgrid[0:H, 0:W]
    planes = [low + (x * (k + 1) * 7 + y * (3 - k) * 5 + seed * 31 + x * y * k) % (high - low + 1) for k in range(3)]
    return np.stack(planes, -1).astype(np.uint8)


def corrected(like, image):
    lab = [cv2.cvtColor(a, cv2.COLOR_RGB2LAB) for a in (like, image)]
    matched = exposure.match_histograms(lab[1], lab[0], channel_axis=2)
    colours = Image.fromarray(cv2.cvtColor(matched.astype(np.uint8), cv2.COLOR_LAB2RGB))
    return blendLayers(colours, Image.fromarray(image), BlendType.LUMINOSITY).convert("RGB")


CASES = [(1, 0, 255, 2, 0, 255), (1, 90, 140, 2, 0, 255), (3, 0, 255, 4, 20, 220)]
print("/* colour_vectors.h: written by colour_vectors.py. */")
rows = []
for i, (a, b, c, d, e, f) in enumerate(CASES):
    out = np.asarray(corrected(gradient(a, b, c), gradient(d, e, f))).reshape(-1)
    lines = [",".join(map(str, out[k:k + 24])) for k in range(0, len(out), 24)]
    print(f"static const unsigned char colours_{i}[] = {{\n" + ",\n".join(lines) + "};")
    rows.append(f"{{{a}, {b}, {c}, {d}, {e}, {f}, colours_{i}}}")
print("static const struct { int like_seed, like_low, like_high, seed, low, high; const unsigned char *want; }\n"
      "    colour_vectors[] = {\n    " + ",\n    ".join(rows) + "};")
