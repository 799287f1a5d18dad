"""SD WebUI dialect: the scripts of txt2img and img2img, by script_name and script_args."""
import pytest
from PIL import Image, ImageChops, ImageStat
from sdapi_client import TINY, Painted, encode, gradient, half_mask

IMAGE = encode(gradient())
NOTHING = [0, "", []]


def plot(sd, x=NOTHING, y=NOTHING, z=NOTHING, lone=True, sub=False, keep=False, kind="txt2img", more=(), legend=False, **fields):
    args = [*x, *y, *z, str(legend), str(lone), str(sub), str(keep), *more]
    return Painted(sd.post(kind, {**TINY, "script_name": "X/Y/Z plot", "script_args": args, **fields}))


def cell(grid, column, row, width=64, height=64):
    return grid.convert("RGB").crop((column * width, row * height, (column + 1) * width, (row + 1) * height)).tobytes()


def test_lists(sd):
    lists = sd.get("scripts")
    assert lists["txt2img"] == ["prompt matrix", "x/y/z plot"]
    assert lists["img2img"] == ["loopback", "outpainting mk2", "poor man's outpainting", "prompt matrix",
                                "sd upscale", "x/y/z plot"]
    info = sd.get("script-info")
    assert len(info) == 8 and {i["name"] for i in info} == set(lists["img2img"])
    for script in info:
        assert list(script) == ["name", "is_alwayson", "is_img2img", "args"] and not script["is_alwayson"]
        for arg in script["args"]:
            assert list(arg) == ["label", "value", "minimum", "maximum", "step", "choices"]
    assert len(next(i for i in info if i["name"] == "x/y/z plot")["args"]) == 18


def test_plot(sd):
    """Each cell is what the request with its values paints; the grid comes first."""
    done = plot(sd, [4, "2-3", []], [6, "1, 7.5", []], prompt="a cat")
    grid, *cells = done.images
    assert len(cells) == 4 and grid.size == (128, 128) and done.info["index_of_first_image"] == 1
    assert "Ignored" not in done.info["extra_generation_params"]
    for i, (cfg, steps) in enumerate((cfg, steps) for cfg in (1, 7.5) for steps in (2, 3)):
        one = sd.txt2img(prompt="a cat", steps=steps, cfg_scale=cfg)
        assert one.image.tobytes() == cells[i].tobytes()
        assert cell(grid, i % 2, i // 2) == one.image.convert("RGB").tobytes()
        assert done.info["infotexts"][1 + i] == one.text
    alone = plot(sd, [4, "2-3", []], [6, "1, 7.5", []], prompt="a cat", lone=False)
    assert len(alone.images) == 1 == len(alone.info["infotexts"]) and alone.image.tobytes() == grid.tobytes()


def test_plot_of_three_axes(sd):
    done = plot(sd, ["Seed", "1,2", []], ["Steps", "2", []], ["Prompt S/R", "cat, dog", []], sub=True,
                prompt="a cat", more=["False", "False", "False", 4])
    whole, first, second, *cells = done.images
    assert whole.size == (2 * 132, 64) and first.size == second.size == (132, 64) and len(cells) == 4
    assert first.convert("RGB").getpixel((65, 3)) == (255, 255, 255)
    assert done.info["all_prompts"] == ["a cat", "a cat", "a dog", "a dog"] and done.info["all_seeds"] == [1, 2, 1, 2]
    assert done.info["index_of_first_image"] == 3


def test_letters(sd):
    """Words above the columns and before the rows, on white; the pictures keep their places."""
    axes = (["Steps", "1,2", []], ["Prompt S/R", "cat,a much longer text than a line \u732b", []])
    bare, lettered = (plot(sd, *axes, prompt="cat", lone=False, legend=on).image.convert("RGB") for on in (False, True))
    left, top = lettered.width - bare.width, lettered.height - bare.height
    assert left > 60 and top > 10 and lettered.crop((left, top, *lettered.size)).tobytes() == bare.tobytes()
    for box in ((left, 0, left + 64, top), (left + 64, 0, left + 128, top), (0, top, left, top + 64), (0, top + 64, left, top + 128)):
        assert lettered.crop(box).getextrema() == ((0, 255),) * 3
    assert lettered.crop((0, 0, left, top)).getextrema() == ((255, 255),) * 3
    three = plot(sd, axes[0], z=["Seed", "1,2", []], lone=False, legend=True).image
    assert three.size[0] == 256 and three.size[1] > 64 + top


@pytest.mark.parametrize("axis, fields", [
    ([9, "", ["DDIM"]], {"sampler_name": "DDIM"}), (["Sampler", "DDIM", []], {"sampler_name": "DDIM"}),
    (["Size", "72x64", []], {"width": 72, "height": 64}),
    (["Clip skip", "2", []], {"clip_skip": 2}),
    (["Schedule type", "Karras", []], {"scheduler": "karras"}),
    (["Hires steps", "1", []], {"hr_second_pass_steps": 1, "enable_hr": True}),
    (["Prompt order", "\"red circle\", cat", []], {"prompt": "a cat and a red circle"}),
    (["Var. strength", "0.4", []], {"subseed_strength": 0.4}),
    (["RNG source", "CPU", []], {"override_settings": {"randn_source": "CPU"}}),
    (["Checkpoint name", "pictor-mini", []], {})])
def test_axes(sd, axis, fields):
    base = {"subseed": 9, "prompt": "a red circle and a cat", "enable_hr": "enable_hr" in fields}
    done = plot(sd, axis, **base)
    assert done.images[-1].tobytes() == sd.txt2img(**{**base, **fields}).image.tobytes()


def test_ranges(sd):
    for values, seeds in (("1-3", [1, 2, 3]), ("1-9 (+4)", [1, 5, 9]), ("9-1(-4)", [9, 5, 1]), ("1-10 [4]", [1, 4, 7, 10]),
                          ("5,7-8", [5, 7, 8])):
        assert plot(sd, ["Seed", values, []], steps=1).info["all_seeds"] == seeds
    # As it was before there were lists of choices.
    old = Painted(sd.post("txt2img", {**TINY, "script_name": "x/y/z plot",
                                      "script_args": [4, "1,2", 0, "", 0, "", "True", "True", "False", "False", 0]}))
    assert len(old.images) == 3
    assert len(set(plot(sd, ["Steps", "1,2", []], keep=True, seed=-1).info["all_seeds"])) == 2
    varied = plot(sd, ["Steps", "1,2", []], ["CFG Scale", "1,2", []], more=["True", "False", "False"], seed=5)
    assert varied.info["all_seeds"] == [5, 6, 5, 6]


@pytest.mark.parametrize("args, status, said", [
    ([99, "1", []], 422, "axis"), (["Steps", "", []], 422, "no values"), (["Steps", "x", []], 422, "ranges"),
    (["Steps", "1-100000", []], 422, "100"), (["Seed", "1-101", []], 422, "100"), (["Steps", "0", []], 422, "steps"),
    (["Sampler", "xyz", []], 500, "Unknown sampler: xyz"), (["Checkpoint name", "xyz", []], 500, "Unknown checkpoint: xyz"),
    (["Prompt S/R", "x,y", []], 422, "did not find"), (["Size", "7", []], 422, "512x768"), (["Size", "8x8", []], 422, "64"),
    (["Prompt order", "a,b,c,d,e", []], 422, "orders"), (["Steps", "5-1(+1)", []], 422, "no end"),
    (["Prompt order", "", ["c" + "\nc" * 5000]], 422, "one line"), (["Prompt order", '"c\na",t', []], 422, "one line"),
    (["Seed", "1-70", [], *NOTHING, *NOTHING, *["False"] * 7, 500], 422, "margin")])
def test_plots_that_are_refused(sd, args, status, said):
    jobs = sd.get("/api/jobs")["jobs"]
    body = {**TINY, "prompt": "cat", "script_name": "x/y/z plot", "script_args": args}
    assert said in str(sd.post("txt2img", body, status))
    assert sd.get("/api/jobs")["jobs"][:1] == jobs[:1]


def test_texts_do_not_become_endless(sd):
    """4000 places for 100,000 bytes: 400 MB, if nobody counted first."""
    args = ["Prompt S/R", "", ["a", "b" * 100_000]]
    for field in ("prompt", "negative_prompt"):
        body = {**TINY, field: "a" * 4000, "script_name": "x/y/z plot", "script_args": args}
        assert f"in 4000 places the {field} is longer" in str(sd.post("txt2img", body, 422))


def test_prompt_matrix(sd):
    done = Painted(sd.post("txt2img", {**TINY, "prompt": "a cat| red,|blue", "script_name": "Prompt matrix",
                                       "script_args": [False, True, "positive", "comma", 0], "seed": 5}))
    grid, *images = done.images
    prompts = ["a cat", "a cat, red", "a cat, blue", "a cat, red, blue"]
    assert done.info["all_prompts"] == prompts and done.info["all_seeds"] == [5, 6, 7, 8]
    left, top = grid.width - 128, grid.height - 128
    assert left > 0 < top and done.info["index_of_first_image"] == 1  # letters at its sides
    grid = grid.crop((left, top, *grid.size))
    for i, image in enumerate(images):
        assert image.tobytes() == sd.txt2img(prompt=prompts[i], seed=5 + i).image.tobytes()
        assert cell(grid, i % 2, i // 2) == image.convert("RGB").tobytes()
    start = Painted(sd.post("img2img", {**TINY, "negative_prompt": "a|b", "init_images": [IMAGE], "script_name": "prompt matrix",
                                        "script_args": ["True", "False", "negative", "space", 0]}))
    assert start.info["all_negative_prompts"] == ["a", "b a"] and start.info["all_seeds"] == [1, 1]
    for args in ([False, False, "x"], [False, False, "positive", "x"], [False, False, "positive", "comma", -1]):
        sd.post("txt2img", {**TINY, "script_name": "prompt matrix", "script_args": args}, 422)
    sd.post("txt2img", {**TINY, "prompt": "a|" * 9, "script_name": "prompt matrix"}, 422)


def test_loopback(sd):
    done = Painted(sd.post("img2img", {**TINY, "init_images": [IMAGE], "denoising_strength": 0.8, "script_name": "loopback",
                                       "script_args": [3, 0.4, "Linear", "None"], "prompt": "a cat"}))
    grid, *images = done.images
    assert grid.size == (192, 64) and len(images) == 3 and done.info["all_seeds"] == [1, 2, 3]
    before = IMAGE
    for i, image in enumerate(images):
        one = sd.img2img(before, prompt="a cat", seed=1 + i, denoising_strength=[0.8, 0.6000000000000001, 0.4][i])
        assert one.image.tobytes() == image.tobytes()
        before = encode(image)
    several = Painted(sd.post("img2img", {**TINY, "init_images": [IMAGE], "n_iter": 2, "script_name": "loopback",
                                          "script_args": [2, 0.5, "Lazy"]}))
    assert len(several.images) == 3 and several.info["all_seeds"] == [2, 4]
    for args in ([0], [2, 2], [2, 0.5, "x"], [2, 0.5, "Linear", "CLIP"]):
        sd.post("img2img", {**TINY, "init_images": [IMAGE], "script_name": "loopback", "script_args": args}, 422)


def test_seeds_of_64_bits(sd):
    done = plot(sd, x=("Seed", "9007199254740993, 18446744073709551615", []), sub=True)
    assert done.info["all_seeds"][-2:] == [2 ** 53 + 1, 2 ** 64 - 1]


def test_sd_upscale(sd):
    body = {**TINY, "init_images": [encode(gradient(96, 64))], "denoising_strength": 0.2, "script_name": "SD upscale"}
    done = Painted(sd.post("img2img", {**body, "script_args": [None, 16, "Lanczos", 2]}))
    assert done.image.size == (192, 128)
    wanted = gradient(96, 64).resize((192, 128), Image.LANCZOS)
    assert max(ImageStat.Stat(ImageChops.difference(done.image.convert("RGB"), wanted)).mean) < 40
    assert len(done.info["all_seeds"]) == 4 * 3 and done.info["index_of_first_image"] == 1
    listed = [u["name"] for u in sd.get("upscalers")]
    again = Painted(sd.post("img2img", {**body, "script_args": [None, 16, listed.index("Lanczos"), 2]}))
    assert again.image.tobytes() == done.image.tobytes()
    texts = Painted(sd.post("img2img", {**body, "script_args": [None, "16", "Lanczos", "2"]}))
    assert texts.image.tobytes() == done.image.tobytes(), "numbers may be texts, as of other scripts"
    assert Painted(sd.post("img2img", {**body, "script_args": [None, 16, "None", 2]})).image.size == (96, 64)
    assert len(Painted(sd.post("img2img", {**body, "n_iter": 2, "script_args": [None, 0, "Nearest", 1]})).images) == 2
    network = Painted(sd.post("img2img", {**body, "script_args": [None, 0, "realesr-animevideov3", 1.5]}))
    assert network.image.size == (144, 96)
    for args in ([None, 64], [None, -1], [None, "x"], [None, True], [None, 16, "x"], [None, 16, 99], [None, 16, "Lanczos", 9], [None, 60, "Lanczos", 4]):
        sd.post("img2img", {**body, "script_args": args}, 422)
    sd.post("img2img", {**body, "mask": encode(half_mask(96, 64))}, 422)


def test_scripts_that_are_not_there(sd):
    for name in ("loopback", "sd upscale", "img2img alternative test"):
        assert sd.post("txt2img", {**TINY, "script_name": name}, 422)["detail"] == f"Script '{name}' not found"
