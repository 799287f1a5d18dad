"""Makes what the upscalers are checked against (README.md, "esrgan").

usage: make_esrgan.py                        (requirements.txt, and spandrel)
       make_esrgan.py real FOLDER            the same of real weights: FOLDER/*.safetensors, made by
                                             engine/builtin/train/upscaler.py

What networks say is computed by spandrel, which runs upscalers for many programs. The weights are
drawn by a formula that the test has, too (esrgan/*.tsv: name, shape and factor of every tensor), so
that they need not be stored. The same network under other names says the same.
"""
import os
import sys

import numpy
import torch
from safetensors.torch import load_file, save_file
from spandrel import ModelLoader
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "esrgan")
SHIPPED = os.path.join(HERE, "../../engine/builtin/realesr-animevideov3.safetensors")


def filled(model, seed):
    """{name: (tensor, factor)}; what passes through keeps about its size."""
    state, at = {}, seed << 24
    for name, p in model.state_dict().items():
        factor = numpy.float32((4.5 / p[0].numel()) ** 0.5 if p.ndim == 4 else 0.25)
        i = numpy.arange(at, at + p.numel(), dtype=numpy.uint32)
        i ^= i >> 16
        i *= numpy.uint32(0x7FEB352D)
        i ^= i >> 15
        i *= numpy.uint32(0x846CA68B)
        i ^= i >> 16
        unit = (i >> 8).astype(numpy.float32) / numpy.float32(1 << 23) - numpy.float32(1)
        state[name] = (torch.from_numpy(unit * factor).reshape(p.shape), factor)
        at += p.numel()
    return state


def renamed(state, rules):
    out = {}
    for name, t in state.items():
        for old, new in rules:
            name = name.replace(old, new)
        out[name] = t
    return out


def to_new(state):
    """Of spandrel's RRDBNet, which has the old names, as Real-ESRGAN names them; x4."""
    rules = [("model.0.", "conv_first."), ("model.3.", "conv_up1."), ("model.6.", "conv_up2."),
             ("model.8.", "conv_hr."), ("model.10.", "conv_last.")]
    out = {}
    blocks = max(int(n.split(".")[3]) for n in state if n.startswith("model.1.sub."))
    for name, t in state.items():
        name = name.replace(f"model.1.sub.{blocks}.", "conv_body.")
        name = name.replace("model.1.sub.", "body.").replace(".RDB", ".rdb")
        if ".rdb" in name:
            name = name.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        for old, new in rules:
            name = new + name[len(old):] if name.startswith(old) else name
        out[name] = t
    return out


def to_2019(state):
    return renamed(to_new(state), [("body.", "RRDB_trunk."), (".rdb", ".RDB"),
                                   ("conv_RRDB_trunk.", "trunk_conv."), ("conv_up", "upconv"),
                                   ("conv_hr", "HRconv")])


def models():
    """name: state dict"""
    def rrdb(seed, **options):
        return seed, filled(ESRGAN(in_nc=options.pop("in_nc", 3), out_nc=3, **options), seed)

    def compact(seed, **options):
        return seed, filled(Compact(**options), seed)

    def named(model, rename):
        return model[0], rename(model[1])

    def below(prefix):
        return lambda state: {prefix + n: t for n, t in state.items()}

    x4 = rrdb(1, num_filters=8, num_blocks=2, scale=4)
    return {
        "compact-x4": compact(2, num_feat=8, num_conv=3, upscale=4),
        "compact-x2": named(compact(3, num_feat=40, num_conv=2, upscale=2), below("params.")),
        "rrdb-old-x4": x4,
        "rrdb-new-x4": named(x4, lambda s: below("params_ema.")(to_new(s))),
        "rrdb-2019-x4": named(x4, to_2019),
        "rrdb-new-x2": named(rrdb(4, in_nc=12, num_filters=8, num_blocks=1, shuffle_factor=2), to_new),
        "rrdb-new-x1": named(rrdb(5, in_nc=48, num_filters=40, num_blocks=1, shuffle_factor=4), to_new),
        "rrdb-old-x1": rrdb(6, num_filters=8, num_blocks=1, scale=1),
        "rrdb-old-x2": rrdb(7, num_filters=8, num_blocks=1, scale=2),
    }


@torch.no_grad()
def answer(state, picture):
    prefix = next((p for p in ("params_ema.", "params.") if any(n.startswith(p) for n in state)), "")
    found = ModelLoader().load_from_state_dict({n[len(prefix):]: t.clone() for n, t in state.items()})
    return found.model.eval()(picture)  # the network alone: it is not clamped


def picture(height, width, seed):
    """Smooth and rough parts, 0..1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (smooth * 0.8 + 0.2 * torch.rand(1, 3, height, width, generator=generator)).contiguous()


def main():
    os.makedirs(FOLDER, exist_ok=True)
    golden = {}
    for name, (seed, state) in models().items():
        with open(os.path.join(FOLDER, name + ".tsv"), "w") as f:
            print(seed, file=f)
            for n, (t, factor) in state.items():
                print(n, ",".join(map(str, t.shape)), repr(float(factor)), sep="\t", file=f)
        golden[name + ".in"] = picture(8, 12, 11)
        golden[name + ".out"] = answer({n: t for n, (t, _) in state.items()},
                                       golden[name + ".in"]).contiguous()
    shipped = {n: t.float() for n, t in load_file(SHIPPED).items()}
    golden["shipped.in"] = picture(24, 20, 12)
    golden["shipped.out"] = answer(shipped, golden["shipped.in"]).contiguous()
    save_file(golden, os.path.join(FOLDER, "golden.safetensors"))


def real(folder):
    golden = {}
    for file in sorted(os.listdir(folder)):
        name = file.removesuffix(".safetensors")
        if name in (file, "golden"):
            continue
        state = {n: t.float() for n, t in load_file(os.path.join(folder, file)).items()}
        golden[name + ".in"] = picture(48, 40, 13)
        golden[name + ".out"] = answer(state, golden[name + ".in"]).contiguous()
    save_file(golden, os.path.join(folder, "golden.safetensors"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["real"]:
        real(sys.argv[2])
    else:
        main()
