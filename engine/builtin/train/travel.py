"""Training that travels, to a machine with a GPU and back (gpu.sh), as few and small files.

    python travel.py pack --work W --to F      # F/p0, F/p1, ... of 15 MiB: 60 MB in all
    python travel.py pack --work W --to F --weights
    python travel.py unpack --work W --to F

Networks go in 16 bits, the averaged ones alone, without the optimiser's state, and only what fits the
networks of --size; of the drawings only those that --focus uses. With --weights, as the way back needs,
the averaged networks are all. unpack puts into W what F has and leaves the rest.
"""
import argparse
import io
import json
import pathlib
import zipfile
import torch
import common
import export
import scenes

PART = 15 << 20


def few_drawings(path):
    """The archive with the drawings in use alone."""
    things = scenes.Things(path, focus=True)
    first = len(scenes.SHAPES) + len(scenes.SOLIDS)
    hands = set(scenes.HANDS.values())
    used = {*things.focused.values(), *(i for ids in things.ids.values() for i in ids),
            *(i for (label, hand), i in things.hand.items() if hand in hands and label in things.label.values())}
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        index = json.loads(old.read("index.json"))["drawings"]
        kept = sorted(i - first for i in used)
        for k, i in enumerate(kept):
            new.writestr(f"{k:04d}.webp", old.read(f"{i:04d}.webp"))
        new.writestr("index.json", json.dumps({"drawings": [index[i] for i in kept]}))
    return out.getvalue()


def fits(size, used):
    """Text encoder and UNet of a size, as they begin."""
    models = export.build(size, used)
    return torch.nn.ModuleList([models["text"], models["unet"]])


def pack(args):
    c = common.load(args.work / "diffusion.pt")
    shapes = {n: p.shape for n, p in fits(args.size, c["used"]).named_parameters()}
    averaged = zip((n for n in c["models"] if n != "0.tokens"), c["ema"])
    state = dict(diffusion={k: c[k] for k in ("step", "seen", "spent", "used")},
                 networks={n: p.half() for n, p in averaged if shapes[n] == p.shape})
    if not args.weights:
        state.update(vae=[p.half() for p in common.load(args.work / "vae.pt")["ema"]],
                     stats=common.load(args.work / "stats.pt"), tokens=common.load(args.work / "tokens.pt"),
                     drawings=torch.frombuffer(bytearray(few_drawings(args.work / "drawings.zip")), dtype=torch.uint8))
    out = io.BytesIO()
    torch.save(state, out)
    data = out.getvalue()
    args.to.mkdir(parents=True, exist_ok=True)
    for k in range(0, len(data), PART):
        (args.to / f"p{k // PART}").write_bytes(data[k:k + PART])
    print(f"{len(data)} bytes")


def unpack(args):
    parts = sorted(args.to.glob("p[0-9]*"), key=lambda p: int(p.name[1:]))
    state = torch.load(io.BytesIO(b"".join(p.read_bytes() for p in parts)), weights_only=True)
    args.work.mkdir(parents=True, exist_ok=True)
    if "vae" in state:
        (args.work / "drawings.zip").write_bytes(state["drawings"].numpy().tobytes())
        common.save(args.work / "vae.pt", ema=[p.float() for p in state["vae"]])
        common.save(args.work / "stats.pt", **state["stats"])
        common.save(args.work / "tokens.pt", **state["tokens"])
    table, c = common.load(args.work / "tokens.pt"), state["diffusion"]
    both = fits(args.size, c["used"])
    both[0].tokens = table["tokens"].float() * table["scale"]
    export.networks.carry(both, state["networks"])
    common.save(args.work / "diffusion.pt", **c, models=both.state_dict(), opt=None,
                ema=[p.detach().clone() for p in both.parameters()])
    print(f"{c['seen']} pictures seen, {len(state['networks'])} tensors")


if __name__ == "__main__":
    args = argparse.ArgumentParser()
    args.add_argument("do", choices=["pack", "unpack"])
    args.add_argument("--work", required=True, type=pathlib.Path)
    args.add_argument("--to", required=True, type=pathlib.Path)
    args.add_argument("--size", default="second", choices=export.networks.SIZES)
    args.add_argument("--weights", action="store_true")
    args = args.parse_args()
    {"pack": pack, "unpack": unpack}[args.do](args)
