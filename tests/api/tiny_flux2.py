"""A FLUX.2 of a few kilobytes in a folder of models, for tests of several folders."""
import array
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "golden"))
from singlefiles import GOLDEN, write  # noqa: E402

FLUX2 = GOLDEN / "flux2"
ROWS, WIDTH = 151936, 32


def table():
    """The table of tokens: tests/golden/README.md, "flux2"."""
    return array.array("f", (((i * 7 + k * 13 + i * k) % 61 - 30) / 32 for i in range(ROWS) for k in range(WIDTH)))


def make_klein(folder):
    """A model of a few kilobytes, in a folder of models."""
    klein = folder / "checkpoints" / "klein"
    for part in ("transformer", "vae", "text_encoder"):
        (klein / part).mkdir(parents=True)
    for name in ("model_index.json", "transformer/diffusion_pytorch_model.safetensors",
                 "vae/diffusion_pytorch_model.safetensors", "text_encoder/model-00001-of-00002.safetensors"):
        os.link(FLUX2 / name, klein / name) if os.stat(FLUX2).st_dev == os.stat(klein).st_dev else \
            (klein / name).write_bytes((FLUX2 / name).read_bytes())
    write(klein / "text_encoder/model-00002-of-00002.safetensors",
          {"model.embed_tokens.weight": ("F32", [ROWS, WIDTH], table().tobytes())})
