"""The built-in model paints what the words say, judged from pixels: the colour of the ground in the
corners, the colour of the thing in the middle, and its shape from the outline. Fixed seeds, so a
failure means that the engine or the model has changed, not that the dice fell badly."""
import base64
import io
import math

import pytest
import requests
from PIL import Image

COLOURS = {
    "red": (220, 30, 35), "orange": (245, 140, 20), "yellow": (250, 225, 40), "green": (30, 150, 70),
    "blue": (35, 100, 225), "purple": (125, 45, 185), "pink": (250, 140, 190),
    "white": (250, 250, 250), "black": (15, 15, 15), "navy": (15, 20, 85),
}


def nearest(pixel):
    return min(COLOURS, key=lambda name: math.dist(pixel, COLOURS[name]))


def median(pixels):
    return tuple(sorted(channel)[len(pixels) // 2] for channel in zip(*pixels))


def paint(server, prompt, seed, **more):
    body = {"prompt": prompt, "seed": seed, "response_format": "b64_json", **more}
    answer = requests.post(server.url + "/v1/images/generations", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    data = base64.b64decode(answer.json()["data"][0]["b64_json"])
    return Image.open(io.BytesIO(data)).convert("RGB")


def read(image):
    """(colour of the thing, colour of the ground, outline) of one thing on a plain ground."""
    w, h = image.size
    at = image.load()
    edge = max(2, w // 16)
    corners = [at[x, y] for x in range(w) for y in range(h)
               if (x < edge or x >= w - edge) and (y < edge or y >= h - edge)]
    ground = median(corners)
    centre = median([at[x, y] for x in range(w * 7 // 16, w * 9 // 16)
                     for y in range(h * 7 // 16, h * 9 // 16)])
    inside = [(x, y) for x in range(w) for y in range(h)
              if math.dist(at[x, y], centre) < math.dist(at[x, y], ground)]
    return nearest(centre), nearest(ground), inside


THINGS = [
    ("a red circle on a blue background", "red", "blue"),
    ("a yellow star on a navy background", "yellow", "navy"),
    ("a pink heart on a white background", "pink", "white"),
    ("a green triangle on a yellow background", "green", "yellow"),
    ("a white square on a red background", "white", "red"),
    ("an orange square on a purple background", "orange", "purple"),
]


@pytest.mark.parametrize("prompt, colour, ground", THINGS)
def test_colours_of_thing_and_ground(server, prompt, colour, ground):
    got_colour, got_ground, inside = read(paint(server, prompt, 1))
    assert (got_colour, got_ground) == (colour, ground)
    assert len(inside) > 100


def test_other_words_other_picture(server):
    """The same seed: only the words differ."""
    first = read(paint(server, "a red circle on a blue background", 3))[:2]
    second = read(paint(server, "a blue circle on a red background", 3))[:2]
    assert first == ("red", "blue") and second == ("blue", "red")
