"""Drawings of things, for tests/api/test_meaning.py:   python things.py drawings.zip

drawings.zip is what engine/builtin/train/drawings.py makes. Writes things.png: one drawing of Fluent
Emoji (Microsoft, MIT) beside the other, each in 32 by 32 pixels on white, in the order of NOUNS.
"""
import io
import pathlib
import sys
import zipfile
from PIL import Image

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "engine/builtin/train"))
import scenes  # noqa: E402

NOUNS = ["apple", "banana", "car", "cat", "crown", "dog", "fish", "house", "mushroom", "penguin",
         "rocket", "strawberry", "tree", "tulip", "umbrella", "watermelon"]
SIDE = 32

things = scenes.Things(sys.argv[1], focus=True)
strip = Image.new("RGB", (SIDE * len(NOUNS), SIDE), "white")
with zipfile.ZipFile(sys.argv[1]) as z:
    names = sorted(n for n in z.namelist() if n.endswith(".webp"))
    for k, noun in enumerate(NOUNS):
        at = things.ids[noun][0] - len(scenes.SHAPES) - len(scenes.SOLIDS)
        drawing = Image.open(io.BytesIO(z.read(names[at]))).convert("RGBA")
        drawing = drawing.resize((SIDE, SIDE), Image.Resampling.BOX)
        strip.paste(drawing, (SIDE * k, 0), drawing)
strip.save(HERE / "things.png", optimize=True)
