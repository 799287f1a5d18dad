"""Writes image_vectors.h: small files of every kind with the pixels Pillow reads from them, and
resized pictures as Pillow makes them.

    python3 tests/golden/image_vectors.py > tests/golden/image_vectors.h
"""
import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

FILTERS = {"IMAGE_NEAREST": Image.NEAREST, "IMAGE_BOX": Image.BOX, "IMAGE_BILINEAR": Image.BILINEAR,
           "IMAGE_BICUBIC": Image.BICUBIC, "IMAGE_LANCZOS": Image.LANCZOS}
COMMENT = "caf\u00e9 \u2603 \U0001f600\nSteps: 2"


def pattern(width, height, channels):
    """pattern() of image_test.c: busy, and the same in C."""
    n = np.arange(width * height * channels, dtype=np.uint64)
    v = (n * 2654435761 % 2 ** 32 >> 20) % 256
    a = v.astype(np.uint8).reshape(height, width, channels)
    return Image.fromarray(a[:, :, 0] if channels == 1 else a, {1: "L", 3: "RGB", 4: "RGBA"}[channels])


def smooth(width, height):
    """JPEG keeps gradients well, even in colour."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)],
                                    -1).astype(np.uint8))


def save(image, kind, **kwargs):
    out = io.BytesIO()
    image.save(out, kind, **kwargs)
    return out.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, depth, colour, rows, extra=b"", interlace=0):
    """A PNG of kinds that Pillow does not write; rows are bytes without the filter byte."""
    data = b"".join(b"\0" + r for r in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0,
                                                               interlace))
            + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


def interlaced(image):
    """Adam7, 8-bit RGB."""
    a = np.asarray(image)
    rows = []
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                           (0, 1, 1, 2)):
        part = a[y0::dy, x0::dx]
        if part.size:
            rows += [r.tobytes() for r in part]
    return png(image.width, image.height, 8, 2, rows, interlace=1)


def bmp(width, height, bits, rows, masks=None, core=False):
    """A BMP of kinds that Pillow does not write."""
    head = (struct.pack("<IHHHH", 12, width, height, 1, bits) if core else
            struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 3 if masks else 0, 0, 0, 0, 0, 0)
            + b"".join(struct.pack("<I", m) for m in masks or ()))
    data = b"".join(rows)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(data), 0, 0, 14 + len(head)) + head + data


def exif(orientation=None, comment=None, little=False):
    """Our own, so that byte orders and forms can be chosen."""
    e = "<" if little else ">"
    entries, tail = [], b""
    if orientation:
        entries.append(struct.pack(e + "HHIHH", 0x112, 3, 1, orientation, 0))
    if comment is not None:
        at = 8 + 2 + 12 * (len(entries) + 1) + 4
        entries.append(struct.pack(e + "HHII", 0x8769, 4, 1, at))
        tail = struct.pack(e + "H", 1) + struct.pack(e + "HHIII", 0x9286, 7, len(comment), at + 18, 0) + comment
    head = b"II*\0" if little else b"MM\0*"
    return (head + struct.pack(e + "I", 8) + struct.pack(e + "H", len(entries)) + b"".join(entries)
            + struct.pack(e + "I", 0) + tail)


def decoded(data):
    """What is to come out: grey, RGB or RGBA, upright."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode in ("P", "PA", "LA") or "transparency" in image.info:
        image = image.convert("RGBA" if image.mode != "P" or "transparency" in image.info else "RGB")
    elif image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image


def files():
    rgb = pattern(9, 5, 3)
    palette = rgb.quantize(7)
    sixteen = np.frombuffer(pattern(9, 5, 3).tobytes() * 2, np.uint8)[:9 * 5 * 6]
    yield "png grey", save(pattern(9, 5, 1), "PNG"), None
    yield "png rgb", save(rgb, "PNG"), None
    yield "png rgba", save(pattern(9, 5, 4), "PNG"), None
    yield "png palette", save(palette, "PNG"), None
    yield "png palette, 4 bits", save(palette, "PNG", bits=4), None
    yield "png palette with tRNS", save(palette, "PNG", transparency=bytes([0, 100, 255, 7, 8, 9])), None
    yield "png rgb with tRNS", save(rgb, "PNG", transparency=rgb.getpixel((3, 2))), None
    yield "png grey and alpha", save(pattern(9, 5, 4).convert("LA"), "PNG"), None
    yield "png 1 bit", save(pattern(9, 5, 1).convert("1"), "PNG"), None
    yield "png interlaced", interlaced(rgb), None
    rows = [sixteen[i * 54:(i + 1) * 54].tobytes() for i in range(5)]
    wide = np.frombuffer(b"".join(rows), ">u2").astype(np.float64) / 257
    yield "png 16 bits", png(9, 5, 16, 2, rows), Image.fromarray(
        np.floor(wide + 0.5).astype(np.uint8).reshape(5, 9, 3))
    grey16 = (np.arange(45) * 1456).astype(">u2")
    yield "png 16 bits grey", png(9, 5, 16, 0, [grey16[i * 9:i * 9 + 9].tobytes() for i in range(5)]), \
        Image.fromarray(np.floor(grey16 / 257 + 0.5).astype(np.uint8).reshape(5, 9))
    yield "png with orientation", save(rgb, "PNG", exif=exif(6)), None
    photo = smooth(13, 10)
    yield "jpeg", save(photo, "JPEG", quality=95), None
    yield "jpeg grey", save(photo.convert("L"), "JPEG", quality=95), None
    yield "jpeg progressive", save(photo, "JPEG", quality=95, progressive=True), None
    yield "jpeg cmyk", save(photo.convert("CMYK"), "JPEG", quality=95), None
    for i in range(1, 9):
        yield f"jpeg orientation {i}", save(photo, "JPEG", quality=95, exif=b"Exif\0\0" + exif(i, little=i % 2)), None
    yield "webp lossless", save(rgb, "WEBP", lossless=True), None
    yield "webp alpha", save(pattern(9, 5, 4), "WEBP", lossless=True, exact=True), None
    yield "webp lossy", save(photo, "WEBP", quality=80), None
    yield "webp orientation", save(rgb, "WEBP", lossless=True, exif=exif(5)), None
    busy = pattern(61, 43, 3).quantize(256, dither=Image.Dither.NONE)
    for interlace in (0, 1):
        yield f"gif interlaced {interlace}", save(busy, "GIF", interlace=interlace), None
    yield "gif of few colours", save(palette, "GIF"), None
    yield "gif of one bit", save(pattern(9, 5, 1).convert("1"), "GIF"), pattern(9, 5, 1).convert("1").convert("RGB")
    clear = np.asarray(palette.convert("RGBA")).copy()
    clear[np.asarray(palette) == 3] = 0
    yield "gif transparent", save(palette, "GIF", transparency=3), Image.fromarray(clear)
    yield "bmp", save(rgb, "BMP"), None
    yield "bmp grey", save(pattern(9, 5, 1), "BMP"), pattern(9, 5, 1).convert("RGB")
    yield "bmp palette", save(palette, "BMP"), palette.convert("RGB")
    yield "bmp 1 bit", save(pattern(9, 5, 1).convert("1"), "BMP"), pattern(9, 5, 1).convert("1").convert("RGB")
    rows = [np.asarray(rgb)[y, :, ::-1].tobytes() + b"\0" for y in range(5)]
    yield "bmp from the top", bmp(9, -5, 24, rows), rgb
    yield "bmp of OS/2", bmp(9, 5, 24, rows[::-1], core=True), rgb
    wide = np.asarray(rgb).astype(np.uint32)
    for name, bits, masks in (("555", 16, None), ("565", 16, (0xF800, 0x7E0, 0x1F)),
                              ("888", 32, None), ("1010102", 32, (0x3FF00000, 0xFFC00, 0x3FF))):
        used = masks or ((0x7C00, 0x3E0, 0x1F) if bits == 16 else (0xFF0000, 0xFF00, 0xFF))
        packed, back = np.zeros((5, 9), np.uint32), []
        for k, mask in enumerate(used):
            low, most = mask & -mask, mask // (mask & -mask)
            packed |= (wide[:, :, k] * most // 255 * low).astype(np.uint32)
            back.append((packed & mask) // low * 255 // most)
        rows = [packed[y].astype("<u2" if bits == 16 else "<u4").tobytes() + (b"\0\0" if bits == 16 else b"")
                for y in range(5)]
        yield f"bmp {name}", bmp(9, -5, bits, rows, masks), Image.fromarray(np.stack(back, -1).astype(np.uint8))


def texts():
    """name, file, key, value"""
    rgb, utf16 = pattern(4, 4, 3), COMMENT.encode("utf-16-be")
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "caf\u00e9\nSteps: 2")
    yield "png tEXt", save(rgb, "PNG", pnginfo=info), "parameters", "caf\u00e9\nSteps: 2"
    info = PngImagePlugin.PngInfo()
    info.add_text("Other", "x")
    info.add_itxt("parameters", COMMENT)
    yield "png iTXt", save(rgb, "PNG", pnginfo=info), "parameters", COMMENT
    info = PngImagePlugin.PngInfo()
    info.add_itxt("parameters", COMMENT * 9, zip=True)
    info.add_text("parameters2", "abc" * 99, zip=True)
    yield "png compressed iTXt", save(rgb, "PNG", pnginfo=info), "parameters", COMMENT * 9
    yield "png zTXt", save(rgb, "PNG", pnginfo=info), "parameters2", "abc" * 99
    block = exif(1, b"UNICODE\0" + utf16)
    yield "jpeg", save(rgb, "JPEG", exif=b"Exif\0\0" + block), "parameters", COMMENT
    yield "jpeg little endian", save(rgb, "JPEG", exif=b"Exif\0\0" + exif(
        3, b"UNICODE\0" + COMMENT.encode("utf-16-le"), True)), "parameters", COMMENT
    yield "jpeg ASCII", save(rgb, "JPEG", exif=b"Exif\0\0" + exif(None, b"ASCII\0\0\0plain text\0")), "parameters", \
        "plain text"
    yield "jpeg unmarked", save(rgb, "JPEG", exif=b"Exif\0\0" + exif(None, "unmarked \u00e9".encode())), \
        "parameters", "unmarked \u00e9"
    yield "webp", save(rgb, "WEBP", exif=block), "parameters", COMMENT
    yield "gif", save(rgb.quantize(7), "GIF", comment=b"a cat\nSteps: 2" * 40), "parameters", "a cat\nSteps: 2" * 40


def resized():
    for channels in (3, 1, 4):
        source = pattern(11, 7, channels)
        for name, f in FILTERS.items():
            sizes = ((5, 3), (17, 9))
            if name == "IMAGE_LANCZOS" and channels == 3:
                sizes += ((11, 15), (4, 7), (1, 1))
            for size in sizes:
                if channels == 3 or name == "IMAGE_LANCZOS":
                    yield channels, name, source.resize(size, f)


def numbers(data):
    lines, row = [], ""
    for v in data:
        item = f"{v},"
        if len(row) + len(item) > 96:
            lines.append(row)
            row = ""
        row += item
    return "\n".join(lines + [row])


def c_string(text):
    return '"' + "".join(c if 32 <= ord(c) < 127 and c not in '"\\?' else f"\\{b:03o}" for c in text
                         for b in (c.encode() if ord(c) >= 127 or ord(c) < 32 or c in '"\\?' else b"0")) + '"'


def main():
    print("/* image_vectors.h: written by image_vectors.py. */")
    for kind, items in (("image", list(files())), ("text", list(texts())), ("resize", list(resized()))):
        rows = []
        for i, item in enumerate(items):
            if kind == "image":
                image = item[2] or decoded(item[1])
                pixels = image.tobytes()
                print(f"static const unsigned char image_file_{i}[] = {{\n{numbers(item[1])}}};")
                print(f"static const unsigned char image_pixels_{i}[] = {{\n{numbers(pixels)}}};")
                rows.append(f'{{"{item[0]}", image_file_{i}, sizeof image_file_{i}, {image.width}, {image.height}, '
                            f'{len(image.getbands())}, image_pixels_{i}}}')
            elif kind == "text":
                print(f"static const unsigned char text_file_{i}[] = {{\n{numbers(item[1])}}};")
                rows.append(f'{{"{item[0]}", text_file_{i}, sizeof text_file_{i}, "{item[2]}",\n     '
                            f'{c_string(item[3])}}}')
            else:
                channels, name, image = item
                print(f"static const unsigned char resized_{i}[] = {{\n{numbers(image.tobytes())}}};")
                rows.append(f"{{{channels}, {name}, {image.width}, {image.height}, resized_{i}}}")
        fields = {"image": "const char *name; const unsigned char *file; size_t size; int width, height, channels; "
                           "const unsigned char *pixels;",
                  "text": "const char *name; const unsigned char *file; size_t size; const char *key, *value;",
                  "resize": "int channels; enum image_filter filter; int width, height; "
                            "const unsigned char *pixels;"}[kind]
        print(f"static const struct {kind}_vector {{ {fields} }} {kind}_vectors[] = {{")
        print("    " + ",\n    ".join(rows) + "};")


main()
