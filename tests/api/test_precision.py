"""BF16 paints the same pictures as F32: the built-in model, 20 steps, the same seed and noise.

PSNR of 8-bit pictures; 40 dB is a root mean square difference of 2.5 in 255, which nobody sees.
"""
import json
import math
import subprocess

import pytest
from conftest import PROGRAM
from PIL import Image, ImageChops, ImageStat

LEAST = 40  # dB; 53 to 56 measured

PROMPTS = [
    "a red circle on a blue background",
    "a green square on a white background",
    "two yellow triangles on a black background",
    "a small blue star above a large red square",
]


def paint(folder, prompt, precision):
    path = folder / f"{precision}.png"
    subprocess.run([PROGRAM, "generate", "-q", "-p", prompt, "-o", path, "--steps=20", "--seed=7",
                    "--sampler=Euler", f"--precision={precision}"], check=True, cwd=folder)
    return Image.open(path).convert("RGB")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_bf16_paints_what_f32_paints(tmp_path, prompt):
    difference = ImageChops.difference(*(paint(tmp_path, prompt, p) for p in ("f32", "bf16")))
    bands = ImageStat.Stat(difference)
    mean_square = sum(bands.sum2) / sum(bands.count)
    psnr = 10 * math.log10(255 ** 2 / max(mean_square, 1e-9))
    print(f"{prompt}: {psnr:.1f} dB")
    assert mean_square > 0, "the same bytes: one of the precisions was not used"
    assert psnr >= LEAST


def test_bench_says_as_json_what_a_picture_takes():
    out = subprocess.run([PROGRAM, "bench", "--json", "--no-operations", "--sizes=64", "--steps=2"],
                         check=True, stdout=subprocess.PIPE).stdout
    answer = json.loads(out)
    assert answer["engine"].startswith("cpu ")
    (row,) = answer["rows"]
    assert (row["model"], row["width"], row["steps"]) == ("builtin", 64, 2)
    parts = row["text_seconds"] + 2 * row["step_seconds"] + row["decode_seconds"]
    assert 0 < row["load_seconds"] and parts <= row["seconds"] * 1.01
    assert parts >= row["seconds"] * 0.5
    assert row["text_seconds"] > 0
    assert row["peak_bytes"] > row["activation_bytes"] > 0
