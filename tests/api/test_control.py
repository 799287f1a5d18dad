"""ControlNets through the SD WebUI's API: units, lists, modules, and what is refused."""
import base64
import io
import subprocess

import pytest
import requests
from conftest import PROGRAM, ROOT
from PIL import Image, ImageDraw
from sdapi_client import Sdapi, encode, gradient
from test_native import Native
from test_sdxl import read, write

GOLDEN = ROOT / "tests" / "golden"
SMALL = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 2, "seed": 1}


def net():
    """In diffusers' layout: the tiny model's way down, and what the golden file has."""
    tiny, out = read(GOLDEN / "tiny" / "tiny-ldm.safetensors"), {}
    for line in (GOLDEN / "tiny" / "diffusers" / "names.tsv").read_text().splitlines():
        file, name, ldm, shape = line.split("\t")
        if file.startswith("unet/") and not name.startswith(("up_blocks", "conv_out", "conv_norm_out")):
            out[name] = (tiny[ldm][0], [int(n) for n in shape.split(",")], tiny[ldm][2])
    golden = read(GOLDEN / "control" / "golden.safetensors")
    out.update({k.removeprefix("sd1."): v for k, v in golden.items() if k.startswith("sd1.controlnet_")})
    return out


def square():
    image = Image.new("RGB", (80, 80), "white")
    ImageDraw.Draw(image).rectangle((20, 20, 60, 60), fill="black")
    return image


@pytest.fixture(scope="module")
def server(serve_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("control")
    write(folder / "models" / "tiny.safetensors", read(GOLDEN / "tiny" / "tiny-ldm.safetensors"))
    write(folder / "nets" / "edges.safetensors", net())
    write(folder / "nets" / "broken.safetensors", {k: v for k, v in net().items() if "mid_block" not in k})
    return serve_module(f"--models={folder / 'models'}", f"--controlnets={folder / 'nets'}", "--default-model=tiny")


def unit(**fields):
    return {"enabled": True, "module": "canny", "model": "edges", "image": encode(square()), **fields}


def body(*units):
    return {**SMALL, "alwayson_scripts": {"controlnet": {"args": list(units)}}}


def test_units(server):
    api = Sdapi(server.url)

    def paint(*units):
        return api.txt2img(**body(*units)).image.tobytes()

    plain, led = api.txt2img(**SMALL).image.tobytes(), paint(unit())
    assert led != plain and paint(unit()) == led
    others = [paint(unit(module="invert")), paint(unit(weight=0.5)), paint(unit(guidance_end=0.2)),
              paint(unit(image=encode(gradient(80, 80)))), paint(unit(), unit(module="none", weight=0.3))]
    assert len({plain, led, *others}) == 7
    assert paint(unit(enabled=False)) == paint(unit(enabled=0, model="None")) == paint(unit(weight=0)) == plain
    assert paint(unit(model="edges.safetensors")) == paint(unit(model="edges [1a2b3c4d]")) == led
    picture = unit(image=None, input_image=encode(square()), resize_mode="Crop and Resize", control_mode="Balanced")
    assert paint(picture) == led
    over = [api.img2img(encode(square()), **body(u)).image.tobytes() for u in (unit(), unit(image=None))]
    assert over[0] == over[1]
    assert api.txt2img(**SMALL).image.tobytes() == plain


@pytest.mark.parametrize("fields, said", [
    ({"model": "moody"}, "there is no such"), ({"model": "None"}, "wants a model"), ({"module": "openpose"}, "openpose"),
    ({"image": None}, "wants a picture"), ({"weight": 11}, "weight of 0..10"),
    ({"guidance_start": 0.9, "guidance_end": 0.1}, "start"), ({"control_mode": 3}, "0..2"), ({"control_mode": "Mine"}, "'Mine'"),
    ({"mask": "x"}, "a mask is for"), ({"image": {"image": "x", "mask": "y"}}, "a mask is for"),
    ({"module": "inpaint"}, "wants a mask"), ({"module": "inpaint_only", "mask": "x"}, "inpaint_only keeps"),
    ({"processor_res": 9999}, "processor_res"), ({"advanced_weighting": [1]}, "advanced_weighting"),
    ({"effective_region_mask": "!"}, ""), ({"module": "tile_resample", "threshold_a": 9}, "1..8"), ({"hr_option": "Low res only"}, "hr_option"),
    ({"resize_mode": "Sideways"}, "Sideways"), ({"resize_mode": 7}, "resize_mode"),
    ({"image": "!"}, "")])
def test_refused(server, fields, said):
    response = Sdapi(server.url).request("POST", "txt2img", json=body(unit(**fields)))
    assert response.status_code in (400, 422, 500) and said in response.text


def test_ways(server):
    """Control modes, sizes of modules, masks: each paints something else; what is neutral does not."""
    api = Sdapi(server.url)

    def paint(**fields):
        return api.txt2img(**body(unit(**fields))).image.tobytes()

    half, black = Image.new("L", (64, 64)), Image.new("L", (64, 64))
    half.paste(255, (32, 0, 64, 64))
    led = paint()
    other = [paint(control_mode=1), paint(control_mode="ControlNet is more important"), paint(pixel_perfect=True),
             paint(processor_res=200), paint(effective_region_mask=encode(half)), paint(module="scribble_xdog"),
             paint(module="tile_resample", threshold_a=8),
             paint(module="inpaint", mask=encode(half)), paint(module="inpaint", image={"image": encode(square()), "mask": encode(black)})]
    assert len({led, *other}) == len(other) + 1
    assert paint(module="none") == other[-1] == paint(module="tile") == paint(module="inpaint", mask_image=encode(black))  # nothing hidden
    assert paint(control_mode="My prompt is more important") == other[0] and paint(control_mode=2) == other[1]
    assert paint(control_mode=0, processor_res=-1, pixel_perfect=False, effective_region_mask=None) == led
    white = Image.new("L", (64, 64), 255)
    assert paint(effective_region_mask=encode(white)) == led
    assert paint(effective_region_mask=encode(black)) == api.txt2img(**SMALL).image.tobytes()


def test_inpaint(server):
    """img2img's picture and mask are the unit's where it has none."""
    api = Sdapi(server.url)
    half = Image.new("L", (64, 64))
    half.paste(255, (32, 0, 64, 64))
    fields = {"mask": encode(half), "mask_blur": 0, "inpainting_fill": 1}
    own = api.img2img(encode(square()), **fields, **body(unit(module="inpaint_only", mask=encode(half)))).image
    given = api.img2img(encode(square()), **fields, **body(unit(module="inpaint_only", image=None))).image
    assert own.tobytes() == given.tobytes() != api.img2img(encode(square()), **fields, **SMALL).image.tobytes()


def test_many_and_broken(server):
    api = Sdapi(server.url)
    response = api.request("POST", "txt2img", json=body(*[unit()] * 5))
    assert response.status_code == 422 and "at most 4" in response.text
    response = api.request("POST", "txt2img", json=body(unit(model="broken")))
    assert response.status_code >= 400 and "ControlNet broken" in response.text
    assert "unet/" not in response.text
    api.txt2img(**SMALL)


def test_again(server):
    """A repetition takes the pictures along."""
    api, native = Sdapi(server.url), Native(server.url)
    first = api.txt2img(**body(unit())).files
    job = native.get("/api/jobs")["jobs"][0]
    again = native.finish(native.post(f"/api/jobs/{job['id']}/retry", status=202))
    assert job["params"]["controls"][0]["preprocessor"] == "canny"
    assert again["state"] == "done" and again["params"]["controls"] == job["params"]["controls"]
    assert native.request("GET", f"/api/images/{again['images'][0]['id']}").content == first[0]


def test_lists_and_modules(server):
    api = Native(server.url)
    assert sorted(api.get("/controlnet/model_list")["model_list"]) == ["broken", "edges"]
    assert "canny" in api.get("/controlnet/module_list")["module_list"]
    assert api.get("/controlnet/version") == {"version": 3}

    def detect(module, **fields):
        asked = {"controlnet_module": module, "controlnet_input_images": [encode(square())], **fields}
        done = api.request("POST", "/controlnet/detect", json=asked)
        return Image.open(io.BytesIO(base64.b64decode(done.json()["images"][0]))) if done.ok else done.text

    edges = detect("canny").convert("L")
    assert edges.size == (80, 80) and sorted(edges.getcolors())[0][1] == 255
    assert edges.getpixel((40, 40)) == edges.getpixel((5, 5)) == 0
    assert 140 < edges.histogram()[255] < 180  # once around 41 x 41 pixels
    assert detect("invert").getpixel((40, 40)) == (255, 255, 255)
    assert detect("threshold", controlnet_threshold_a=100).getpixel((40, 40)) == (0, 0, 0)
    assert 0 < detect("blur_gaussian", controlnet_threshold_a=4).getpixel((20, 40))[0] < 255
    assert "openpose" in detect("openpose")
    assert detect("scribble_xdog").convert("L").getextrema() == (0, 255)
    assert detect("canny", controlnet_processor_res=160).size == (160, 160)
    assert detect("tile_resample", controlnet_threshold_a=2).size == (40, 40)
    assert detect("canny", controlnet_threshold_a=1e300, controlnet_threshold_b=1e300).convert("L").getextrema() == (0, 0)
    many = {"controlnet_module": "canny", "controlnet_input_images": [encode(square())] * 5}
    response = api.request("POST", "/controlnet/detect", json=many)
    assert response.status_code == 422 and "at most 4" in response.text


def test_names_like_fields(serve, tmp_path):
    """What a file is called says nothing else of its unit."""
    name = 'edges, Weight: 2, "x", Module: none'
    write(tmp_path / "models" / "tiny.safetensors", read(GOLDEN / "tiny" / "tiny-ldm.safetensors"))
    write(tmp_path / "nets" / f"{name}.safetensors", net())
    native = Native(serve(f"--models={tmp_path / 'models'}", f"--controlnets={tmp_path / 'nets'}",
                          "--default-model=tiny").url)
    job = native.finish(native.post("/api/jobs", {**SMALL, "controls": [item(model=name, weight=0.5)]}, status=202))
    assert job["state"] == "done", job["error"]
    said = native.post("/api/infotext", {"text": job["images"][0]["infotext"]})["params"]["controls"]
    assert said == job["params"]["controls"] and said[0]["model"] == name and said[0]["weight"] == 0.5


def item(**fields):
    return {"model": "edges", "preprocessor": "canny", "image": encode(square()), **fields}


def test_native(server):
    """The native API's controls are the WebUI's units; the job and its text say them."""
    api, native = Sdapi(server.url), Native(server.url)
    half = Image.new("L", (64, 64))
    half.paste(255, (32, 0, 64, 64))
    cases = [(unit(), item()), (unit(weight=0.5, guidance_end=0.5), item(weight=0.5, end=0.5)),
             (unit(control_mode=2, resize_mode=0, effective_region_mask=encode(half)),
              item(mode="control", fit="stretch", region=encode(half))),
             (unit(module="inpaint", mask=encode(half), pixel_perfect=True),
              item(preprocessor="inpaint", mask=encode(half), pixel_perfect=True)),
             (unit(processor_res=160, threshold_a=20, threshold_b=40),
              item(resolution=160, threshold_a=20, threshold_b=40))]
    for webui, own in cases:
        theirs = api.txt2img(**body(webui))
        job = native.finish(native.post("/api/jobs", {**SMALL, "guidance": 7, "sampler": "Euler", "controls": [own]}, status=202))
        assert job["state"] == "done", job["error"]
        file = native.request("GET", job["images"][0]["url"]).content
        assert Image.open(io.BytesIO(file)).tobytes() == theirs.image.tobytes()
        said = job["params"]["controls"]
        pictures = {"image", "mask", "region", "preprocessor"}
        assert {k: said[0][k] for k in own if k not in pictures} == {k: own[k] for k in own if k not in pictures}
        text = job["images"][0]["infotext"]
        assert text == theirs.info["infotexts"][0] and 'ControlNet 0: "Module: ' in text
        assert native.post("/api/infotext", {"text": text})["params"]["controls"] == said
    assert ('ControlNet 0: "Module: canny, Model: edges, Weight: 1.0, Resize Mode: Crop and Resize, Processor Res: 160, '
            'Threshold A: 20.0, Threshold B: 40.0, Guidance Start: 0.0, Guidance End: 1.0, Pixel Perfect: False, '
            'Control Mode: Balanced", Version:') in text
    theirs = text.replace("Model: edges", "Model: edges [d14c016b]")
    assert native.post("/api/infotext", {"text": theirs})["params"]["controls"] == said
    items = native.get("/api/schema")["properties"]["controls"]["items"]
    assert items["required"] == ["model"] and "pixel_perfect" in items["properties"]


@pytest.mark.parametrize("controls, said", [
    ("edges", "list of at most 4"), ([item()] * 5, "list of at most 4"), ([{"image": "x"}], "model"),
    ([item(image=None)], "controls[0]: image must be given"), ([item(), item(image="!")], "controls[1]"),
    ([item(moodel=1)], "moodel"), ([item(model="moody")], "there is no such"), ([item(mode="mine")], "mine"),
    ([item(weight=11)], "weight"), ([item(start=0.9, end=0.1)], "start"), ([item(preprocessor="openpose")], "openpose"),
    ([item(resolution=9)], "64..4096"), ([item(resolution=64, pixel_perfect=True)], "both"),
    ([item(mask=encode(square()))], "a mask is for"), ([item(preprocessor="inpaint")], "wants a mask"), ([3], "")])
def test_native_refused(server, controls, said):
    response = Native(server.url).request("POST", "/api/jobs", json={**SMALL, "controls": controls})
    assert response.status_code == 400 and said in response.text and response.json()["error"]["param"] == "controls"


def test_command(server, tmp_path):
    folder = tmp_path
    write(folder / "models" / "tiny.safetensors", read(GOLDEN / "tiny" / "tiny-ldm.safetensors"))
    write(folder / "nets" / "edges.safetensors", net())
    square().save(folder / "square.png")

    def run(*words):
        common = ["generate", f"--models={folder / 'models'}", f"--controlnets={folder / 'nets'}", "--model=tiny", "-q",
                  "--prompt=a red circle", "--width=64", "--height=64", "--steps=2", "--seed=1", "--cfg=7", "--sampler=Euler", "-o",
                  str(folder / "out.png")]
        return subprocess.run([PROGRAM, *common, *words], capture_output=True, text=True)

    done = run("--control", f"model=edges,image={folder / 'square.png'},preprocessor=canny,weight=0.5,mode=prompt")
    assert done.returncode == 0, done.stderr
    picture = Image.open(folder / "out.png")
    theirs = Sdapi(server.url).txt2img(**body(unit(weight=0.5, control_mode=1)))
    assert picture.tobytes() == theirs.image.tobytes() and "ControlNet 0" in picture.text["parameters"]
    for words, said in [("edges", "NAME=VALUE"), ("model=edges", "image=FILE"), ("model=edges,image=/no", "/no"),
                        (f"model=moody,image={folder / 'square.png'}", "moody"),
                        (f"model=edges,weight=x,image={folder / 'square.png'}", "weight")]:
        done = run("--control", words)
        assert done.returncode and said in done.stderr


def test_openai(server):
    """The native list as a field of requests in JSON."""
    def ask(controls, status=200):
        body = {"prompt": "a red circle", "model": "tiny", "size": "64x64", "steps": 2, "seed": 1, "guidance_scale": 7,
                "sampler": "Euler", "response_format": "b64_json", "controls": controls}
        answer = requests.post(server.url + "/v1/images/generations", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    led = Sdapi(server.url).txt2img(**body(unit(weight=0.5))).image
    data = base64.b64decode(ask([item(weight=0.5)])["data"][0]["b64_json"])
    assert Image.open(io.BytesIO(data)).convert("RGB").tobytes() == led.convert("RGB").tobytes()
    for controls in ([], None):
        ask(controls)
    for wrong, said in ((item(), "list of at most 4"), ([item(model="moody")], "there is no such"), ([item(image="!")], "controls[0]")):
        error = ask(wrong, 400)["error"]
        assert said in error["message"] and error["param"] == "controls"


def test_of_another_job(server):
    """An image may be that of an earlier job's ControlNet, whose masks come along."""
    native = Native(server.url)
    half = Image.new("L", (64, 64))
    half.paste(255, (32, 0, 64, 64))
    own = [item(region=encode(half)), item(preprocessor="inpaint", mask=encode(half), weight=0.5)]
    first = native.finish(native.post("/api/jobs", {**SMALL, "controls": own}, status=202))
    again = [{**c, "image": f"job:{first['id']}/{i}"} for i, c in enumerate(first["params"]["controls"])]
    second = native.finish(native.post("/api/jobs", {**SMALL, "controls": again}, status=202))
    third = native.finish(native.post("/api/jobs", {**SMALL, "controls": again[1:]}, status=202))
    files = [native.request("GET", j["images"][0]["url"]).content for j in (first, second, third)]
    assert files[0] == files[1] != files[2]
    assert second["params"]["controls"] == first["params"]["controls"]
    for image, said in ((f"job:{first['id']}/7", "no ControlNet 7"), ("job:" + "0" * 32 + "/0", "image"), ("job:x", "job:ID/N"),
                        (f"job:{first['id']}/0x", "job:ID/N")):
        answer = native.request("POST", "/api/jobs", json={**SMALL, "controls": [item(image=image)]})
        assert answer.status_code == 400 and said in answer.text, answer.text
