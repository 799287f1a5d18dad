"""Stage 6: judges.   python judges.py --work W --minutes 15

Three that never saw a generated picture, and report first how often they are right on real scenes
of seeds that nobody trained on, so that they can be believed:
read_shape() reads a shape on a plain ground by comparing colours and outlines. Retriever names a
thing on a plain ground by its nearest drawing. Judge, a small network trained here on scenes of its
own seeds (none held out), names the thing anywhere, the place, the style, and how many.
"""
import argparse
import math
import pathlib
import time
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
import common
import compose
import scenes

SIDE = 64  # every picture is brought to this before it is judged
PLACES, STYLES = ["plain"] + list(scenes.PLACES), ["none"] + list(scenes.STYLES)
COLOURS = {n: np.array(c[0], float) for n, c in scenes.COLOURS.items()}


class Judge(nn.Module):
    def __init__(self, nouns):
        super().__init__()
        layers, c = [], 3
        for w in (32, 64, 128, 256):
            for cin, stride in ((c, 2), (w, 1)):
                layers += [nn.Conv2d(cin, w, 3, stride, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU()]
            c = w
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({"noun": nn.Linear(c, nouns), "place": nn.Linear(c, len(PLACES)),
                                    "style": nn.Linear(c, len(STYLES)), "count": nn.Linear(c, 3)})

    def forward(self, x):
        h = self.body(F.interpolate(x, size=(SIDE, SIDE), mode="area") - .5).mean((2, 3))
        return {k: head(h) for k, head in self.heads.items()}


def labels(s, things):
    """What a judge should say of a scene; -100 where the question has no answer."""
    single = s["what"] == "noun" and s["kind"] not in ("beside", "above")
    noun = things.nouns.index(s["names"][0]) if single and s["names"][0] in things.nouns else -100
    count = {"one": 0, "spot": 0, "two": 1, "three": 2}.get(s["kind"], -100) if s["items"] else -100
    place, style = s["ground"]["name"] or "plain", s["style"] or "none"
    return [noun, PLACES.index(place), STYLES.index(style), count]


def load(work, device):
    things = scenes.Things(work / "drawings.zip")
    judge = Judge(len(things.nouns)).to(device)
    judge.load_state_dict(common.load(work / "judge.pt", device)["judge"])
    return judge.eval(), things


def fit(m, side=48):
    """A mask cut to its bounding box, centred in a square, [side, side] in 0..1."""
    ys, xs = np.where(m > .5)
    m = m[ys.min():ys.max() + 1, xs.min():xs.max() + 1]
    n = max(m.shape)
    box = np.zeros((n, n), np.float32)
    y, x = (n - m.shape[0]) // 2, (n - m.shape[1]) // 2
    box[y:y + m.shape[0], x:x + m.shape[1]] = m
    return np.asarray(Image.fromarray(box).resize((side, side), Image.BILINEAR))


def templates():
    """(name, outline) of every shape, upright and a little turned."""
    turned = [(n, compose.shape_image(n, 128).rotate(a, Image.BILINEAR).getchannel("A"))
              for n in scenes.SHAPES for a in (-5, 0, 5)]
    return [(n, fit(np.asarray(m, np.float32) / 255)) for n, m in turned]


def read_shape(img, templates):
    """(colour, shape, ground) of a uint8 picture of one shape; shape None when there is none."""
    def nearest(rgb):
        return min(COLOURS, key=lambda n: float(np.sum((COLOURS[n] - rgb) ** 2)))

    p = img.astype(float)
    edge = np.concatenate([p[:3].reshape(-1, 3), p[-3:].reshape(-1, 3), p[:, :3].reshape(-1, 3),
                           p[:, -3:].reshape(-1, 3)])
    ground = np.median(edge, 0)
    far = np.sqrt(((p - ground) ** 2).sum(-1))
    strong = far > max(40, .5 * np.percentile(far, 99))
    if strong.mean() < .005:
        return None, None, nearest(ground)
    colour = np.median(p[far > .8 * np.percentile(far[strong], 60)], 0)
    m = fit(strong.astype(np.float32))
    shape, best = max(((n, np.minimum(m, t).sum() / np.maximum(m, t).sum()) for n, t in templates),
                      key=lambda s: s[1])
    return nearest(colour), shape if best > .7 else None, nearest(ground)


class Retriever:
    """Nouns by the nearest drawing: the picture is cut to what differs from its ground, and compared
    with every drawing, both ways round, laid on the same ground."""

    def __init__(self, things, atlas, side=20):
        self.things, self.side, library, owner = things, side, [], []
        for k, noun in enumerate(things.nouns):
            for i in things.ids[noun]:
                x = atlas.data[i].float().cpu()[None] / 255
                ys, xs = (x[0, 3] > .05).nonzero().T
                library.append(self.square(x, ys, xs)[0])
                owner.append(k)
        x = torch.stack(library)
        x = torch.cat([x, x.flip(3)])
        self.cover, self.ink = x[:, 3:], x[:, :3] * x[:, 3:]
        self.owner = torch.tensor(owner * 2)

    def square(self, x, ys, xs):
        """[1, c, side, side]: the box around the points, centred in a square."""
        x = x[:, :, ys.min():ys.max() + 1, xs.min():xs.max() + 1]
        h, w = x.shape[2:]
        n = max(h, w)
        top, left = (n - h) // 2, (n - w) // 2
        x = F.pad(x, (left, n - w - left, top, n - h - top))
        return F.interpolate(x, size=(self.side, self.side), mode="area")

    def __call__(self, img):
        """Indices of the five nearest nouns for a uint8 [h, w, 3] picture; [] when it is empty."""
        p = torch.from_numpy(img.astype(np.float32)) / 255
        edge = torch.cat([p[:3].reshape(-1, 3), p[-3:].reshape(-1, 3), p[:, :3].reshape(-1, 3),
                          p[:, -3:].reshape(-1, 3)])
        ground = edge.median(0).values
        far = (p - ground).norm(dim=2)
        strong = far > max(.12, .35 * float(far.quantile(.99)))
        if strong.float().mean() < .005:
            return []
        ys, xs = strong.nonzero().T
        x = self.square((p - ground).permute(2, 0, 1)[None], ys, xs)
        library = self.ink - self.cover * ground[:, None, None]
        error = (library - x).square().mean((1, 2, 3))
        best = torch.full((len(self.things.nouns),), 9.0)
        best = best.scatter_reduce(0, self.owner, error, "amin")
        return best.topk(5, largest=False).indices.tolist()


def painted(rng, things, atlas, size, n, device, **how):
    batch = [scenes.scene(rng, things, whole=True, **how) for _ in range(n)]
    packed = {k: v.to(device) for k, v in compose.pack(batch).items()}
    return batch, compose.paint(packed, atlas, size)


def report(judge, things, atlas, device, count=2048):
    """Accuracy on scenes of seeds that nobody trained on."""
    rng = np.random.default_rng([9, 9, 9])
    right, top5, seen = np.zeros(4), 0, np.zeros(4)
    for _ in range(count // 64):
        batch, x = painted(rng, things, atlas, 128, 64, device, mix=(.1, .02, .75, .13))
        want = torch.tensor([labels(s, things) for s in batch])
        with torch.no_grad():
            said = [judge(x)[k].cpu() for k in ("noun", "place", "style", "count")]
        for k in range(4):
            ok = want[:, k] >= 0
            right[k] += (said[k].argmax(1) == want[:, k])[ok].sum()
            seen[k] += ok.sum()
        top5 += (said[0].topk(5).indices == want[:, :1]).any(1).sum()
    shapes, retriever = templates(), Retriever(things, atlas)
    good, first, five, all_of = 0, 0, 0, 0
    while all_of < 300:
        batch, x = painted(rng, things, atlas, 128, 1, device, mix=(0, 0, 1, 0))
        s = batch[0]
        if s["ground"]["name"] is None and not s["style"] and s["kind"] == "one" and \
                s["names"][0] in things.nouns:
            want = things.nouns.index(s["names"][0])
            got = retriever((255 * x[0]).byte().permute(1, 2, 0).cpu().numpy())
            first, five, all_of = first + (want in got[:1]), five + (want in got), all_of + 1
    for i in range(300):
        s = scenes.scene(rng, things, whole=True, mix=(1, 0, 0, 0))
        while s["kind"] != "one" or s["size"] == "small":
            s = scenes.scene(rng, things, whole=True, mix=(1, 0, 0, 0))
        x = compose.paint({k: v.to(device) for k, v in compose.pack([s]).items()}, atlas, 128)[0]
        got = read_shape((255 * x).byte().permute(1, 2, 0).cpu().numpy(), shapes)
        good += got == (*s["names"][0], s["ground"]["colour"])
    print("judges on unseen real renders: " +
          ", ".join(f"{k} {100 * r / n:.1f}%" for k, r, n in zip(judge.heads, right, seen)) +
          f", noun in top 5 {100 * top5 / seen[0]:.1f}%, retriever {first / 3:.1f}%, in top 5 "
          f"{five / 3:.1f}%, colour x shape {good / 3:.1f}%",
          flush=True)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--minutes", default=15, type=float)
    args.add_argument("--batch", default=64, type=int)
    args.add_argument("--picture", default=64, type=int, help="size that is painted for training")
    args = args.parse_args()
    device, path = common.device(), args.work / "judge.pt"
    things = scenes.Things(args.work / "drawings.zip", factor=1)
    atlas = compose.Atlas(args.work / "drawings.zip", 96, device)
    judge = Judge(len(things.nouns)).to(device, memory_format=torch.channels_last)
    opt = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=1e-2)
    step, spent = 0, 0.0
    if (c := common.load(path, device)):
        judge.load_state_dict(c["judge"])
        opt.load_state_dict(c["opt"])
        step, spent = c["step"], c["spent"]
    rng, kept = np.random.default_rng([7, step]), []
    start, total, log = time.time() - spent, 60 * args.minutes, []
    while spent < total:
        for g in opt.param_groups:
            g["lr"] = 2e-3 * (.5 + .5 * math.cos(math.pi * spent / total)) + 1e-5
        if len(kept) < 30 or rng.random() < .3:  # painting is dear: most pictures come again, shifted
            batch, x = painted(rng, things, atlas, args.picture, args.batch, device,
                               mix=(.08, .02, .8, .1))
            kept.append((x, torch.tensor([labels(s, things) for s in batch], device=device)))
            kept = kept[-150:]
        x, want = kept[rng.integers(len(kept))]
        shift = tuple(rng.integers(-3, 4, 2).tolist())
        x = torch.roll(x, shift, (2, 3)) * (.9 + .2 * torch.rand(len(x), 1, 1, 1, device=device))
        x = compose.blur(x, .4 + rng.random()) if rng.random() < .3 else x
        with torch.autocast(device.type, torch.bfloat16):
            said = judge(x.contiguous(memory_format=torch.channels_last))
        losses = [F.cross_entropy(said[k].float(), want[:, i]) for i, k in enumerate(judge.heads)]
        opt.zero_grad()
        sum(losses).backward()
        opt.step()
        step += 1
        log.append([v.item() for v in losses])
        spent = time.time() - start
        if step % 200 == 0 or spent >= total:
            print(f"step {step} {spent:.0f}s", *(f"{v:.3f}" for v in np.nanmean(log[-200:], 0)),
                  flush=True)
            common.save(path, judge=judge.state_dict(), opt=opt.state_dict(), step=step,
                        spent=spent)
    judge.eval()
    report(judge, things, atlas, device)


if __name__ == "__main__":
    main()
