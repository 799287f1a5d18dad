"""Networks that enlarge pictures: the one inside the binary and those in the folder `upscalers`."""
import base64
import io
import json
import shutil
import struct
import subprocess

import pytest
import requests
from conftest import PROGRAM, ROOT
from PIL import Image
from sdapi_client import TINY, Sdapi

SHIPPED = "realesr-animevideov3"
HIRES = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.3}


@pytest.fixture(scope="module")
def upscalers(serve_module):
    server = serve_module()
    folder = server.folder / "data" / "upscalers"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(ROOT / "engine" / "builtin" / f"{SHIPPED}.safetensors", folder / "deep" / "copy.safetensors")
    (folder / "broken.safetensors").write_bytes(b"nothing of the kind")
    shutil.copy(ROOT / "tests" / "golden" / "esrgan" / "golden.safetensors", folder / "other.safetensors")
    return server


@pytest.fixture(scope="module")
def api(upscalers):
    return Sdapi(upscalers.url)


def pixels(png):
    return Image.open(io.BytesIO(png)).convert("RGB").tobytes()


def second_pass(api, upscaler):
    body = api.post("txt2img", {**TINY, **HIRES, "prompt": "a red circle", "hr_upscaler": upscaler})
    return pixels(base64.b64decode(body["images"][0])), json.loads(body["info"])["infotexts"][0]


def test_lists(api, upscalers):
    names = [x["name"] for x in api.get("upscalers")]
    assert names == ["None", "Lanczos", "Nearest", SHIPPED, "broken", "deep/copy", "other"]
    field = requests.get(upscalers.url + "/api/schema").json()["properties"]["hires_upscaler"]
    assert {"Latent", "Lanczos", SHIPPED, "deep/copy"} <= set(field["examples"])


def test_second_pass(api):
    shipped, text = second_pass(api, SHIPPED.upper())
    assert f"Hires upscaler: {SHIPPED}" in text
    copy, text = second_pass(api, "deep/copy")
    assert "Hires upscaler: deep/copy" in text
    assert shipped == copy == second_pass(api, "copy")[0] != second_pass(api, "Lanczos")[0]


@pytest.mark.parametrize("name", ["nope", "", "../data/upscalers/broken", "x" * 300])
def test_unknown(api, upscalers, name):
    answer = requests.post(f"{upscalers.url}/sdapi/v1/txt2img",
                           json={**TINY, **HIRES, "prompt": "a", "hr_upscaler": name})
    assert answer.status_code in (422, 500)
    if answer.status_code == 500:
        assert f"could not find upscaler named {name[:100]}" in answer.text
    job = {"prompt": "a", "width": 64, "height": 64, "hires_width": 128, "hires_height": 128,
           "hires_upscaler": name or "nope"}
    answer = requests.post(upscalers.url + "/api/jobs", json=job)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "hires_upscaler"
    del job["hires_width"], job["hires_height"]  # what is not used may be anything
    assert name == "x" * 300 or requests.post(upscalers.url + "/api/jobs", json=job).status_code == 202


@pytest.mark.parametrize("name, why", [("broken", "not a file of weights"),
                                       ("other", "not an upscaler that pictor runs")])
def test_files_that_are_none(api, upscalers, name, why):
    answer = requests.post(f"{upscalers.url}/sdapi/v1/txt2img",
                           json={**TINY, **HIRES, "prompt": "a", "hr_upscaler": name})
    assert answer.status_code >= 400 and f"upscaler {name}" in answer.text, answer.text
    assert why in answer.text
    assert second_pass(api, SHIPPED)


def test_command_line(upscalers, tmp_path):
    def paint(upscaler):
        out = tmp_path / "out.png"
        done = subprocess.run(
            [PROGRAM, "generate", "-p", "a red circle", "--steps", "2", "--width", "64", "--height",
             "64", "--hires", "128x128", "--hires-upscaler", upscaler, "--seed", "3", "-o", str(out),
             f"--data={upscalers.folder / 'data'}"], capture_output=True, text=True, cwd=tmp_path)
        return (pixels(out.read_bytes()) if done.returncode == 0 else None), done.stderr
    assert paint("copy")[0] == paint(SHIPPED)[0] != paint("Nearest")[0]
    assert "upscaler" in paint("nope")[1]


# ---- extras ----

def png(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def gradient(width=40, height=30, mode="RGB"):
    image = Image.new("RGB", (width, height))
    image.putdata([(x * 6 % 256, y * 8 % 256, (x // 5 + y // 5) % 2 * 200)
                   for y in range(height) for x in range(width)])
    return image.convert(mode)


def extras(api, image, **fields):
    body = api.post("extra-single-image", {"image": png(image), "upscaling_resize": 2, **fields})
    return Image.open(io.BytesIO(base64.b64decode(body["image"]))), body["html_info"]


def test_extras(api):
    shipped, info = extras(api, gradient(), upscaler_1=SHIPPED)
    assert shipped.size == (80, 56) and shipped.mode == "RGB"
    assert info == f"<p>Postprocess upscale by: 2.0, Postprocess upscaler: {SHIPPED}</p>"
    copy, info = extras(api, gradient(), upscaler_1="copy")
    assert copy.tobytes() == shipped.tobytes() and "Postprocess upscaler: copy" in info
    lanczos, _ = extras(api, gradient(), upscaler_1="Lanczos")
    assert lanczos.size == shipped.size and lanczos.tobytes() != shipped.tobytes()
    half, _ = extras(api, gradient(), upscaler_1=SHIPPED, upscaler_2="Lanczos",
                     extras_upscaler_2_visibility=0.5)
    for a, b, c in zip(half.tobytes(), shipped.tobytes(), lanczos.tobytes()):
        assert abs(a - (b + c) / 2) <= 1
    again, _ = extras(api, gradient(), upscaler_1=SHIPPED, upscaling_resize=10)  # twice by the network
    assert again.size == (400, 296)
    see_through, _ = extras(api, gradient(mode="RGBA"), upscaler_1=SHIPPED)
    assert see_through.mode == "RGB"


def test_extras_batch(api):
    body = api.post("extra-batch-images", {
        "imageList": [{"data": png(gradient(w, 30)), "name": str(w)} for w in (32, 40)],
        "upscaler_1": SHIPPED, "resize_mode": 1, "upscaling_resize_w": 64, "upscaling_resize_h": 48})
    assert [Image.open(io.BytesIO(base64.b64decode(i))).size for i in body["images"]] == [(64, 48)] * 2


@pytest.mark.parametrize("name", ["nope", "Latent", ""])
def test_extras_unknown(api, name):
    body = api.post("extra-single-image", {"image": png(gradient()), "upscaler_1": name}, status=500)
    assert f"could not find upscaler named {name}" in json.dumps(body)


def test_extras_of_files_that_are_none(api):
    for name in ("broken", "other"):
        answer = api.request("POST", "extra-single-image",
                             json={"image": png(gradient()), "upscaler_1": name})
        assert answer.status_code >= 400 and f"upscaler {name}" in answer.text
    assert extras(api, gradient(), upscaler_1="copy")


def test_extras_while_another_is_enlarged(api, upscalers):
    """One at a time, and other pictures are read meanwhile; a client that goes ends its own."""
    import concurrent.futures
    large = gradient(400, 300)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(extras, api, large, upscaler_1=SHIPPED, upscaling_resize=3) for _ in range(2)]
        assert api.post("png-info", {"image": png(gradient())})["info"] == ""
        assert len({job.result()[0].tobytes() for job in jobs}) == 1
    with pytest.raises(requests.Timeout):
        requests.post(upscalers.url + "/sdapi/v1/extra-single-image", timeout=1.5,
                      json={"image": png(gradient(1000, 1000)), "upscaler_1": SHIPPED, "upscaling_resize": 1.5})
    assert extras(api, gradient(), upscaler_1=SHIPPED)


def picture():
    out = io.BytesIO()
    gradient(48, 32).save(out, "PNG")
    return out.getvalue()


def enlarged(server, body, status=200):
    answer = requests.post(server.url + "/api/upscale", json=body)
    assert answer.status_code == status, answer.text
    return Image.open(io.BytesIO(answer.content)) if status == 200 else answer.json()["error"]


def test_native(api, upscalers):
    """What extras makes, as a file; finished pictures by their id, whose text comes along."""
    api.txt2img(**TINY, prompt="a red circle")
    png = base64.b64encode(picture()).decode()
    extras = api.post("extra-single-image", {"image": png, "upscaler_1": SHIPPED, "upscaling_resize": 2})
    mine = enlarged(upscalers, {"image": png})
    assert mine.size == (96, 64) and mine.tobytes() == pixels(base64.b64decode(extras["image"]))
    assert mine.text["postprocessing"] == f"Postprocess upscale by: 2.0, Postprocess upscaler: {SHIPPED}"
    assert enlarged(upscalers, {"image": png, "upscaler": "deep/copy"}).tobytes() == mine.tobytes()
    assert enlarged(upscalers, {"image": png, "upscaler": "nearest", "width": 100}).size == (100, 67)
    jpeg = enlarged(upscalers, {"image": png, "upscaler": "Lanczos", "height": 96, "width": 50, "format": "jpeg"})
    assert jpeg.size == (50, 96) and jpeg.format == "JPEG"
    job = requests.get(upscalers.url + "/api/jobs").json()["jobs"][0]
    image = job["images"][0]
    mine = enlarged(upscalers, {"image_id": image["id"], "scale": 1.5, "upscaler": "Lanczos"})
    assert mine.size == (round(image["width"] * 1.5), round(image["height"] * 1.5)) and mine.text["parameters"] == image["infotext"]


@pytest.mark.parametrize("fields, param, said", [
    ({}, "image", "neither"), ({"image": "x", "image_id": "y"}, "image", "both"), ({"image": "!"}, None, ""),
    ({"image_id": "0" * 32}, "image_id", ""), ({"upscaler": "Latent"}, "upscaler", "latents"), ({"upscaler": "nope"}, "upscaler", "nope"),
    ({"scale": 2, "width": 9}, "scale", "both"), ({"scale": 0}, "scale", "above 0"), ({"image": "PNG", "scale": 1000}, "scale", "at most|to"),
    ({"image": "PNG", "upscaler": "broken"}, None, ""), ({"size": 3}, None, "size")])
def test_native_refused(upscalers, fields, param, said):
    if fields.get("image") == "PNG":
        fields = {**fields, "image": base64.b64encode(picture()).decode()}
    answer = requests.post(upscalers.url + "/api/upscale", json=fields)
    assert answer.status_code in (400, 404, 413), answer.text
    assert any(each in answer.text for each in said.split("|"))
    assert param is None or answer.json()["error"]["param"] == param


def test_native_keeps(upscalers):
    """What is made of a job's picture hangs beside it, and goes with it."""
    def call(method, path, status, **body):
        answer = requests.request(method, upscalers.url + path, json=body or None)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    job = call("POST", "/api/jobs", 202, prompt="a red circle", width=64, height=64, steps=1, count=2)
    while (job := call("GET", f"/api/jobs/{job['id']}", 200))["state"] != "done":
        assert job["state"] in ("queued", "running")
    first, second = job["images"]
    for scale, index in ((2, 2), (1.5, 3)):
        kept = call("POST", "/api/upscale", 201, image_id=second["id"], keep=job["id"], upscaler="Lanczos", scale=scale)
        assert (kept["index"], kept["width"], kept["seed"]) == (index, 64 * scale, second["seed"])
        assert kept["infotext"].endswith(f"Postprocess upscale by: {scale:.1f}, Postprocess upscaler: Lanczos")
        png = Image.open(io.BytesIO(requests.get(upscalers.url + kept["url"]).content))
        assert png.size == (64 * scale, 64 * scale) and "a red circle" in png.text["parameters"]
    assert call("GET", f"/api/jobs/{job['id']}", 200)["images"][3] == kept
    call("DELETE", f"/api/jobs/{job['id']}/images/{kept['id']}", 204)
    other = call("POST", "/api/jobs", 202, prompt="another", width=64, height=64, steps=1)
    assert "must be the job of" in call("POST", "/api/upscale", 400, image_id=first["id"], keep=other["id"])["error"]["message"]
    assert call("POST", "/api/upscale", 404, image_id=first["id"], keep="0" * 32)["error"]["param"] == "keep"
    assert "image_id is missing" in call("POST", "/api/upscale", 400, image="aGk=", keep=job["id"])["error"]["message"]
    call("DELETE", f"/api/jobs/{job['id']}", 204)
    assert requests.get(upscalers.url + f"/api/images/{first['id']}").status_code == 404


def test_commands(tmp_path, upscalers):
    (tmp_path / "in.png").write_bytes(picture())

    def run(*words, status=0):
        done = subprocess.run([PROGRAM, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return done.stderr

    run("upscale", "in.png", "-o", "out.png", "--scale", "2")
    png = base64.b64encode(picture()).decode()
    out = Image.open(tmp_path / "out.png")
    assert out.tobytes() == enlarged(upscalers, {"image": png}).tobytes() and "upscale by: 2.0" in out.text["postprocessing"]
    folder = f"--upscalers={upscalers.folder / 'data' / 'upscalers'}"
    run("upscale", "in.png", "-o", "file.png", "--upscaler=deep/copy", folder)
    assert Image.open(tmp_path / "file.png").tobytes() == out.tobytes()
    run("upscale", "in.png", "-o", "out.jpg", "--scale=1.5", "--upscaler=Lanczos")
    assert Image.open(tmp_path / "out.jpg").size == (72, 48)
    run("generate", "-q", "--prompt=x", "--width=64", "--height=64", "--steps=1", "--seed=1", "-o", "new.png", "--upscale=2")
    new = Image.open(tmp_path / "new.png")
    assert new.size == (128, 128) and "Size: 64x64" in new.text["parameters"] and "Postprocess" in new.text["postprocessing"]
    for words, status, said in [(["upscale", "-o", "a.png"], 2, "one picture's file"), (["upscale", "in.png"], 2, "-o FILE"),
                                (["upscale", "no.png", "-o", "a.png"], 1, "no.png"),
                                (["upscale", "in.png", "-o", "a.png", "--scale=99"], 2, "1..16"),
                                (["upscale", "in.png", "-o", "a.png", "--upscaler=nope"], 1, "nope"),
                                (["upscale", "in.png", "-o", "a.png", "--upscaler=Latent"], 1, "latents"),
                                (["generate", "--prompt=x", "-o", "a.png", "--upscaler=Lanczos"], 2, "nothing without")]:
        assert said in run(*words, status=status)


def break_weights(path, value):
    """The shipped network with such a number among the last convolution's biases."""
    data = bytearray((ROOT / "engine" / "builtin" / f"{SHIPPED}.safetensors").read_bytes())
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    name = max((n for n in header if n.endswith(".bias")), key=lambda n: int(n.split(".")[-2]))
    at = 8 + size + header[name]["data_offsets"][0]
    kind = {"F16": "<e", "F32": "<f"}[header[name]["dtype"]]
    data[at:at + struct.calcsize(kind)] = struct.pack(kind, value)
    path.write_bytes(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(serve, tmp_path, value):
    """An error that says so, where a black picture would come."""
    break_weights(tmp_path / f"bad{value}.safetensors", value)
    upscalers = serve(f"--upscalers={tmp_path}")
    body = {**TINY, **HIRES, "prompt": "a", "hr_upscaler": f"bad{value}"}
    answer = requests.post(f"{upscalers.url}/sdapi/v1/txt2img", json=body)
    assert answer.status_code >= 400 and "its weights are broken" in answer.text, answer.text
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    body = {"image": base64.b64encode(picture.getvalue()).decode(), "upscaler_1": f"bad{value}", "upscaling_resize": 2}
    answer = requests.post(f"{upscalers.url}/sdapi/v1/extra-single-image", json=body)
    assert answer.status_code >= 400 and "its weights are broken" in answer.text, answer.text
    assert second_pass(Sdapi(upscalers.url), SHIPPED)
