"""BF16 and int8 paint the pictures of F32: the built-in model, 20 steps, the same seed and noise.

PSNR of 8-bit pictures; 40 dB is a root mean square difference of 2.5 in 255, which nobody sees.
"""
import json
import math
import subprocess

import pytest
from conftest import PROGRAM
from PIL import Image, ImageChops, ImageStat

LEAST = {"bf16": 40, "int8": 30}  # dB; 53 to 56, and 44 or more measured

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


def has_int8(folder):
    said = subprocess.run([PROGRAM, "generate", "-q", "-p", "a", "-o", folder / "a.png", "--steps=1",
                           "--precision=int8"], cwd=folder, stderr=subprocess.PIPE, text=True)
    assert said.returncode == 0 or "wanted amx with AMX-INT8" in said.stderr
    return said.returncode == 0


@pytest.mark.parametrize("precision", LEAST)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_paints_what_f32_paints(tmp_path, prompt, precision):
    if precision == "int8" and not has_int8(tmp_path):
        pytest.skip("no AMX-INT8")
    difference = ImageChops.difference(*(paint(tmp_path, prompt, p) for p in ("f32", precision)))
    bands = ImageStat.Stat(difference)
    mean_square = sum(bands.sum2) / sum(bands.count)
    psnr = 10 * math.log10(255 ** 2 / max(mean_square, 1e-9))
    print(f"{prompt}: {psnr:.1f} dB")
    assert mean_square > 0, "the same bytes: one of the precisions was not used"
    assert psnr >= LEAST[precision]


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


def test_serve_says_at_its_start_what_the_cpu_has_not(tmp_path):
    said = subprocess.run([PROGRAM, "serve", "--precision=int8", "--cpu=avx2",
                           "--listen=127.0.0.1:0", f"--data={tmp_path}"],
                          cwd=tmp_path, stderr=subprocess.PIPE, text=True, timeout=20)
    assert said.returncode == 2
    assert "int8 at CPU level avx2: wanted amx with AMX-INT8" in said.stderr
