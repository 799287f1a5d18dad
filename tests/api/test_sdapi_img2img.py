"""SD WebUI dialect: img2img and inpainting."""
import io

import pytest
from PIL import Image, ImageStat
from sdapi_client import TINY, Painted, encode, gradient, half_mask

IMAGE = encode(gradient())


def test_spellings_of_a_picture(sd):
    raw = encode(gradient())
    plain = sd.img2img(raw, denoising_strength=0.5)
    lines = "\n".join(raw[i:i + 76] for i in range(0, len(raw), 76))
    for text in ("data:image/png;base64," + raw, "data:image/png;base64, " + raw, lines,
                 "data:image/png;charset=x;base64," + raw,
                 raw.replace("+", "-").replace("/", "_")):
        assert sd.img2img(text, denoising_strength=0.5).files == plain.files
    assert plain.parameters["init_images"] is None
    assert "Denoising strength: 0.5" in plain.text


def test_formats_of_a_picture(sd):
    for image in (encode(gradient(), format="JPEG"), encode(gradient(), format="WEBP"),
                  encode(gradient().convert("L")), encode(gradient().convert("P"))):
        assert sd.img2img(image).image.size == (64, 64)
    same = sd.img2img(IMAGE)
    assert sd.img2img(encode(gradient(), format="BMP")).image.tobytes() == same.image.tobytes()
    palette = gradient().quantize(200)
    gif = sd.img2img(encode(palette, format="GIF"))
    assert gif.image.tobytes() == sd.img2img(encode(palette.convert("RGB"))).image.tobytes()


def test_photograph_of_48_megapixels(sd):
    photo = gradient(96, 72).resize((8064, 6048), Image.Resampling.BILINEAR)
    assert sd.img2img(encode(photo, format="JPEG", quality=80)).image.size == (64, 64)


def test_alpha_is_flattened_on_white(sd):
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    white = Image.new("RGB", (64, 64), (255, 255, 255))
    assert (sd.img2img(encode(clear)).image.tobytes() ==
            sd.img2img(encode(white)).image.tobytes())


def test_include_init_images(sd):
    done = sd.img2img(IMAGE, include_init_images=True)
    assert done.parameters["init_images"] == [IMAGE]


def test_strength_nothing_keeps_the_picture(sd):
    flat = Image.new("RGB", (64, 64), (90, 120, 150))
    kept = sd.img2img(encode(flat), denoising_strength=0).image
    mean = ImageStat.Stat(kept).mean
    assert all(abs(a - b) < 40 for a, b in zip(mean, (90, 120, 150)))  # one pass of the VAE
    painted = sd.img2img(encode(flat), denoising_strength=1).image
    assert painted.tobytes() != kept.tobytes()


def test_missing_and_bad_pictures(sd):
    assert sd.post("img2img", {}, 404)["detail"] == "Init image not found"
    sd.post("img2img", {"init_images": []}, 422)
    answer = sd.post("img2img", {**TINY, "init_images": ["!!!"]}, 500)
    assert answer["detail"] == "Invalid encoded image" and answer["error"] == "HTTPException"
    answer = sd.post("img2img", {**TINY, "init_images": ["http://127.0.0.1/x"]}, 500)
    assert answer["detail"] == "Requests not allowed"
    answer = sd.post("img2img", {**TINY, "init_images": [IMAGE, IMAGE, IMAGE], "batch_size": 2}, 500)
    assert answer["errors"] == "bad number of images passed: 3; expecting 2 or less"
    sd.post("img2img", {**TINY, "init_images": [5]}, 500)
    sd.post("img2img", {**TINY, "init_images": [None]}, 500)


def test_several_pictures(sd):
    """A picture of each, in turn, whose seeds go on; batch_size becomes their number."""
    other = encode(Image.new("RGB", (64, 64), (200, 30, 30)))
    body = {**TINY, "init_images": [IMAGE, other], "batch_size": 3, "n_iter": 2, "seed": 7,
            "prompt": "{a cat|a dog}", "denoising_strength": 0.5}
    done = Painted(sd.post("img2img", body))
    assert done.info["all_seeds"] == [7, 8, 9, 10] and done.info["batch_size"] == 2
    assert len(done.images) == len(done.info["infotexts"]) == 4
    for k, image in enumerate(done.images):
        one = sd.img2img((IMAGE, other)[k % 2], seed=7 + k, prompt=done.info["all_prompts"][k], denoising_strength=0.5)
        assert one.image.tobytes() == image.tobytes()
    assert sd.post("img2img", {**body, "n_iter": 9}, 422)["detail"][0]["loc"] == ["body", "batch_size"]


def bomb(width, height):
    """A PNG whose header promises more than it holds."""
    import struct
    import zlib
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk +
            struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IEND\xaeB`\x82")


def test_hostile_pictures(sd):
    import base64
    for data in (bomb(20000, 20000), bomb(0, 64), bomb(2**31 - 1, 2**31 - 1), b"GIF89a", b"BM"):
        text = base64.b64encode(data).decode()
        response = sd.request("POST", "img2img", json={**TINY, "init_images": [text]})
        assert response.status_code in (422, 500) and "detail" in response.json()
    whole = base64.b64decode(encode(gradient(), format="JPEG"))
    cut = base64.b64encode(whole[:len(whole) // 2]).decode()
    response = sd.request("POST", "img2img", json={**TINY, "init_images": [cut]})
    assert response.status_code in (422, 500)
    assert sd.img2img(IMAGE).image


def test_half_mask_keeps_the_other_half(sd):
    done = sd.img2img(IMAGE, mask=encode(half_mask()), mask_blur=0, inpainting_fill=1,
                      inpaint_full_res=False, denoising_strength=1, steps=4)
    left = (0, 0, 32, 64)
    assert done.image.crop(left).tobytes() == gradient().crop(left).tobytes()
    right = (32, 0, 64, 64)
    assert done.image.crop(right).tobytes() != gradient().crop(right).tobytes()
    assert "Masked content" not in done.text and "Mask blur" not in done.text


@pytest.mark.parametrize("invert", [1, True])
def test_inverted_mask(sd, invert):
    done = sd.img2img(IMAGE, mask=encode(half_mask()), mask_blur=0, inpainting_fill=1,
                      inpaint_full_res=False, inpainting_mask_invert=invert)
    right = (32, 0, 64, 64)
    assert done.image.crop(right).tobytes() == gradient().crop(right).tobytes()
    assert "Mask mode: Inpaint not masked" in done.text


def test_alpha_mask(sd):
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (32, 0, 64, 64))
    fields = {"mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": False}
    by_alpha = sd.img2img(IMAGE, mask=encode(mask), **fields)
    by_white = sd.img2img(IMAGE, mask=encode(half_mask()), **fields)
    assert by_alpha.image.tobytes() == by_white.image.tobytes()


@pytest.mark.parametrize("fill, words", [(0, "Masked content: fill"), (1, None),
                                         (2, "Masked content: latent noise"),
                                         (3, "Masked content: latent nothing")])
def test_fills(sd, fill, words):
    done = sd.img2img(IMAGE, mask=encode(half_mask()), inpainting_fill=fill)
    assert done.image.size == (64, 64)
    assert words in done.text if words else "Masked content" not in done.text
    assert "Mask blur: 4, Inpaint area: Only masked, Masked area padding: 0" in done.text


@pytest.mark.parametrize("mask", [Image.new("L", (64, 64), 0), Image.new("L", (64, 64), 255)])
def test_masks_of_nothing_and_everything(sd, mask):
    assert sd.img2img(IMAGE, mask=encode(mask)).image.size == (64, 64)


def test_only_masked_area(sd):
    photo = gradient(256, 256)
    mask = Image.new("L", (256, 256), 0)
    mask.paste(255, (64, 64, 128, 128))
    done = sd.img2img(encode(photo), mask=encode(mask), mask_blur=0, inpainting_fill=1, width=128,
                      height=128, inpaint_full_res=True, inpaint_full_res_padding=8)
    assert done.image.size == (256, 256)
    for box in ((0, 0, 256, 56), (0, 136, 256, 256), (0, 0, 56, 256), (136, 0, 256, 256)):
        assert done.image.crop(box).tobytes() == photo.crop(box).tobytes()
    inside = (72, 72, 120, 120)
    assert done.image.crop(inside).tobytes() != photo.crop(inside).tobytes()
    assert "Inpaint area: Only masked, Masked area padding: 8" in done.text


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_resize_modes(sd, mode):
    assert sd.img2img(encode(gradient(128, 64)), resize_mode=mode).image.size == (64, 64)


def test_latent_resizing(sd):
    """Of a picture of the size that is painted there is nothing to resize; sizes need not be whole
    latent pixels; what is small is enlarged first."""
    same = [sd.img2img(IMAGE, resize_mode=mode, denoising_strength=0.3).image.tobytes() for mode in (0, 3)]
    assert same[0] == same[1]
    for size in ((133, 67), (64, 131), (300, 200), (8, 8)):
        assert sd.img2img(encode(gradient(*size)), resize_mode=3).image.size == (64, 64)
    body = {**TINY, "init_images": [IMAGE], "resize_mode": 4}
    assert sd.post("img2img", body, 422)["detail"][0]["loc"] == ["body", "resize_mode"]


def test_colours_are_those_of_the_picture(sd):
    red = Image.new("RGB", (64, 64), (180, 30, 40))
    red.paste((200, 60, 50), (0, 0, 32, 64))
    fields = {"denoising_strength": 0.9, "prompt": "a green field"}
    plain, corrected = (sd.img2img(encode(red), override_settings={"img2img_color_correction": on}, **fields)
                        for on in (False, True))
    want = ImageStat.Stat(red).mean
    far = [sum(abs(a - b) for a, b in zip(ImageStat.Stat(done.image).mean[1:], want[1:])) for done in (plain, corrected)]
    assert far[1] < far[0], far
    assert "Color correction: True" in corrected.text and "Color" not in plain.text


def test_masks_by_degrees_and_by_direction(sd):
    grey = Image.new("L", (64, 64), 100)
    fields = {"inpaint_full_res": False, "mask_blur": 0, "inpainting_fill": 1, "denoising_strength": 0.8}
    hard = sd.img2img(IMAGE, mask=encode(grey), **fields)
    soft = sd.img2img(IMAGE, mask=encode(grey), mask_round=False, **fields)
    assert hard.image.tobytes() != soft.image.tobytes() and "Soft mask: True" in soft.text
    fields.pop("mask_blur")
    across, down, both = (sd.img2img(IMAGE, mask=encode(half_mask()), mask_blur_x=x, mask_blur_y=y, **fields)
                          for x, y in ((16, 0), (0, 16), (16, 16)))
    # The mask's one edge runs down: blurring along it changes nothing.
    assert across.image.tobytes() == both.image.tobytes() != down.image.tobytes()
    assert "Mask blur: 16, Mask blur y: 0," in across.text and "Mask blur y" not in both.text


def test_exif_orientation(sd):
    picture = gradient(64, 32)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it a quarter clockwise
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    import base64
    turned = base64.b64encode(buffer.getvalue()).decode()
    upright = encode(picture.transpose(Image.Transpose.ROTATE_270))
    fields = {"width": 64, "height": 128}
    assert (sd.img2img(turned, **fields).image.tobytes() ==
            sd.img2img(upright, **fields).image.tobytes())
