"""What files say of how they were painted: read by Pillow, and by exiftool where there is one."""
import base64
import io
import json
import re
import shutil
import subprocess

import pytest
from PIL import Image

from sdapi_client import Sdapi, TINY, encode, gradient

TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED = TERMS + "trainedAlgorithmicMedia"
COMPOSITE = TERMS + "compositeWithTrainedAlgorithmicMedia"
FORMATS = ["png", "jpeg", "webp"]


def xmp(data):
    """What Pillow finds, as text: its own parser needs defusedxml."""
    image = Image.open(io.BytesIO(data))
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return found.decode() if isinstance(found, bytes) else found


def source(data):
    text = xmp(data)
    return text and re.search(r'Iptc4xmpExt:DigitalSourceType="([^"]*)"', text).group(1)


def painted(sd, format, **fields):
    path = "img2img" if "init_images" in fields else "txt2img"
    body = {**TINY, "override_settings": {"samples_format": format, "jpeg_quality": 90}, **fields}
    return base64.b64decode(sd.post(path, body)["images"][0])


@pytest.fixture(scope="module")
def sd(serve_module):
    return Sdapi(serve_module().url)


@pytest.fixture(scope="module")
def silent(serve_module):
    return Sdapi(serve_module("--mark-pictures=off", "--write-infotext=off").url)


@pytest.mark.parametrize("format", FORMATS)
def test_painted(sd, format):
    data = painted(sd, format)
    assert source(data) == TRAINED
    assert re.search(r'xmp:CreatorTool="pictor [0-9.]+"', xmp(data))
    image = Image.open(io.BytesIO(data))
    assert image.format.lower() == format
    image.load()
    if format == "webp":  # VP8X, whose flags announce EXIF (8) and XMP (4)
        assert data[12:16] == b"VP8X" and data[20] & 12 == 12
    if format == "png":
        assert data.index(b"iTXtXML:com.adobe.xmp\0\0\0\0\0") < data.index(b"IDAT")
    if format == "jpeg":
        assert b"\xff\xe1" in data and b"http://ns.adobe.com/xap/1.0/\0<?xpacket" in data
    info = sd.post("png-info", {"image": base64.b64encode(data).decode()})
    assert info["info"].startswith("\nSteps: 2") or info["info"].startswith("Steps: 2")


@pytest.mark.parametrize("format", FORMATS)
def test_begun_from_a_picture(sd, format):
    assert source(painted(sd, format, init_images=[encode(gradient())])) == COMPOSITE
    again = base64.b64encode(painted(sd, format)).decode()
    assert source(painted(sd, format, init_images=[again])) == TRAINED


@pytest.mark.parametrize("format", FORMATS)
def test_switched_off(silent, format):
    data = painted(silent, format)
    assert xmp(data) is None
    image = Image.open(io.BytesIO(data))
    assert "parameters" not in image.info and not image.getexif()
    answer = silent.txt2img()
    assert "Steps: 2" in answer.text


def test_enlarged_pictures_keep_what_they_say(sd):
    body = {"upscaler_1": "Lanczos", "upscaling_resize": 2}
    for format in FORMATS:
        data = base64.b64encode(painted(sd, format)).decode()
        larger = base64.b64decode(sd.post("extra-single-image", {**body, "image": data})["image"])
        assert source(larger) == TRAINED
    plain = sd.post("extra-single-image", {**body, "image": encode(gradient())})["image"]
    assert xmp(base64.b64decode(plain)) is None


@pytest.mark.skipif(not shutil.which("exiftool"), reason="no exiftool")
@pytest.mark.parametrize("format", FORMATS)
def test_exiftool(sd, tmp_path, format):
    path = tmp_path / f"x.{format}"
    path.write_bytes(painted(sd, format))
    said = json.loads(subprocess.run(["exiftool", "-json", "-n", "-G1", "-warning", str(path)] +
                                     ["-DigitalSourceType", "-CreatorTool"],
                                     capture_output=True, check=True).stdout)[0]
    assert said["XMP-iptcExt:DigitalSourceType"] == TRAINED
    assert said["XMP-xmp:CreatorTool"].startswith("pictor ")
    assert "ExifTool:Warning" not in said
