"""Stage 6: judges.   python judges.py --work W --minutes 15

Three that never saw a generated picture, and report first how often they are right on real scenes
of seeds that nobody trained on, so that they can be believed:
read_shape() reads a shape on a plain ground by comparing colours and outlines. Retriever names a
thing by the drawing that explains the picture best. Judge, a small network trained here on scenes
of its own seeds (none held out), names the place, the style, and how many things there are.
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

SIDE = 128  # every picture is brought to this before it is judged
PLACES, STYLES = ["plain", *scenes.PLACES], ["none", *scenes.STYLES]
COLOURS = {n: np.array(c[0], float) for n, c in scenes.COLOURS.items()}


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        for cin, c, stride in ((3, 16, 2), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1),
                               (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)):
            layers += [nn.Conv2d(cin, c, 3, stride, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({"place": nn.Linear(c, len(PLACES)),
                                    "style": nn.Linear(c, len(STYLES)), "count": nn.Linear(c, 3)})

    def forward(self, x):
        h = self.body(F.interpolate(x, size=(SIDE, SIDE), mode="area") - .5).mean((2, 3))
        return {k: head(h) for k, head in self.heads.items()}


def labels(s):
    """What a judge should say of a scene; -100 where the question has no answer."""
    counted = s["items"] and s["what"] not in ("view", "pair")
    count = {"one": 0, "spot": 0, "two": 1, "three": 2}.get(s["kind"], -100) if counted else -100
    name = s["ground"]["name"]
    place = 0 if name in (None, "soft") else PLACES.index(name) if name in PLACES else -100
    return [place, STYLES.index(s["style"] or "none"), count]


def load(work, device):
    things = scenes.Things(work / "drawings.zip")
    judge = Judge().to(device)
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
    """Nouns by the drawing that explains a picture best: every drawing, both ways round, is laid at
    every place and in six sizes onto the picture's ground (a colour for each row, from its sides),
    and the least error names the noun. That error is, over what the drawing covers, the drawing's
    minus the bare ground's, but for a constant: a convolution with the drawings.
    """

    SIDE, SIZES = 32, (9, 12, 15, 18, 21, 24)

    def __init__(self, things, atlas):
        self.things, owner, cells, self.kernels = things, [], [], []
        for k, noun in enumerate(things.nouns):
            for i in things.ids[noun]:
                cells.append(self.cut(atlas.data[i].float().cpu() / 255))
                owner.append(k)
        self.owner = torch.tensor(owner * 2)
        for side in self.SIZES:
            x = torch.cat([F.interpolate(c[None], size=(side, side), mode="area") for c in cells])
            x = torch.cat([x, x.flip(3)])
            cover, colour = x[:, 3:], x[:, :3]
            self.kernels.append((torch.cat([cover, -2 * cover * colour], 1),
                                 (cover * colour.square()).sum((1, 2, 3))))

    @staticmethod
    def cut(x):
        """The square around what a drawing covers."""
        ys, xs = (x[3] > .05).nonzero().T
        (top, h), (left, w) = ((int(v.min()), int(v.max() - v.min()) + 1) for v in (ys, xs))
        side = max(h, w)
        x = F.pad(x, (side,) * 4)
        top, left = top + side - (side - h) // 2, left + side - (side - w) // 2
        return x[:, top:top + side, left:left + side].clone()  # not the whole of what is padded

    @torch.no_grad()
    def __call__(self, img):
        """Indices of the five likeliest nouns for a uint8 [h, w, 3] picture."""
        p = torch.from_numpy(img.astype(np.float32)).permute(2, 0, 1)[None] / 255
        p = F.interpolate(p, size=(self.SIDE, self.SIDE), mode="area")
        ground = torch.cat([p[..., :3], p[..., -3:]], 3).median(3, keepdim=True).values
        bare = (p - ground).square().sum(1, keepdim=True)
        x = torch.cat([p.square().sum(1, keepdim=True) - bare, p], 1)
        best = torch.full((len(self.things.nouns),), 1e9)
        for kernels, own in self.kernels:
            error = F.conv2d(x, kernels)[0].amin((1, 2)) + own
            best = best.scatter_reduce(0, self.owner, error, "amin")
        return best.topk(5, largest=False).indices.tolist()


def painted(rng, things, atlas, size, n, device, **how):
    batch = [scenes.scene(rng, things, whole=True, **how) for _ in range(n)]
    packed = {k: v.to(device) for k, v in compose.pack(batch).items()}
    return batch, compose.paint(packed, atlas, size)


def report(judge, retriever, atlas, device, count=2048):
    """Accuracy on scenes of seeds that nobody trained on."""
    rng, things = np.random.default_rng([9, 9, 9]), retriever.things
    right, seen, styled = np.zeros(3), np.zeros(3), []
    for _ in range(count // 64):
        batch, x = painted(rng, things, atlas, 128, 64, device, mix=(.1, .02, .75, .13))
        want = torch.tensor([labels(s) for s in batch])
        with torch.no_grad():
            said = [judge(x)[k].cpu() for k in judge.heads]
        for k in range(3):
            ok = want[:, k] >= 0
            right[k] += (said[k].argmax(1) == want[:, k])[ok].sum()
            seen[k] += ok.sum()
        styled += (said[1].argmax(1) == want[:, 1])[want[:, 1] > 0].tolist()
    shapes, good = templates(), 0
    named = {False: [], True: []}  # by whether the thing stands in a place
    while min(len(v) for v in named.values()) < 150:
        batch, x = painted(rng, things, atlas, 128, 1, device, mix=(0, 0, 1, 0))
        s, placed = batch[0], batch[0]["ground"]["name"] in scenes.PLACES
        if s["style"] or s["colour"] or s["dark"] or s["kind"] != "one" or s["names"][0] not in things.nouns or \
                len(named[placed]) == 150:
            continue
        want = things.nouns.index(s["names"][0])
        got = retriever((255 * x[0]).byte().permute(1, 2, 0).cpu().numpy())
        named[placed].append((want in got[:1], want in got))
    for i in range(300):
        s = scenes.scene(rng, things, whole=True, mix=(1, 0, 0, 0))
        while s["kind"] != "one" or s["size"] == "small":
            s = scenes.scene(rng, things, whole=True, mix=(1, 0, 0, 0))
        x = compose.paint({k: v.to(device) for k, v in compose.pack([s]).items()}, atlas, 128)[0]
        got = read_shape((255 * x).byte().permute(1, 2, 0).cpu().numpy(), shapes)
        good += got == (*s["names"][0], s["ground"]["colour"])
    shares = [*zip(judge.heads, right / seen), ("style where there is one", np.mean(styled)),
              ("colour x shape", good / 300)]
    for where, v in zip(("on plain grounds", "in places"), named.values()):
        shares += zip((f"retriever {where}", "top 5"), np.mean(v, 0))
    print("judges on unseen real renders: " + ", ".join(f"{k} {100 * v:.1f}%" for k, v in shares),
          flush=True)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--minutes", default=15, type=float)
    args.add_argument("--batch", default=64, type=int)
    args.add_argument("--picture", default=128, type=int, help="size that is painted for training")
    args = args.parse_args()
    device, path = common.device(), args.work / "judge.pt"
    things = scenes.Things(args.work / "drawings.zip", factor=1)
    atlas = compose.Atlas(args.work / "drawings.zip", 96, device)
    judge = Judge().to(device, memory_format=torch.channels_last)
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
                               mix=(.08, .02, .8, .1), style=.5)
            kept.append((x, torch.tensor([labels(s) for s in batch], device=device)))
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
    report(judge, Retriever(things, atlas), atlas, device)


if __name__ == "__main__":
    main()
