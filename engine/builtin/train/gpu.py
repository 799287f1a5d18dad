"""Stage 5 on one GPU, when there are minutes and not hours.   python gpu.py --work W --seconds 480

What diffusion.py does, in a form that a GPU is never left waiting: all weights lie in one buffer, their
gradients, momenta and average in others, and a whole step (noise, both networks, the optimiser) is one
CUDA graph for each of two sizes of pictures. The first --early of the time goes to the smaller size, where a step
costs a fifth; then one step in --every stays with it and the others are of the larger. The latents of
both (latents.py --halves) are read while they are made.
"""
import argparse
import collections
import math
import pathlib
import threading
import time
import torch
import torch.nn.functional as F
import common
import networks
import optimizer

BETAS, MOMENTUM, DECAY = (.9, .99), .95, 1e-2  # as optimizer.py
STRONG, CAPTION = .25, 77


class Weights:
    """The parameters of `models` in one buffer; the networks compute with a copy in bfloat16."""

    def __init__(self, models, keep):
        groups = {}
        for n, p in models.named_parameters():
            matrix, slow = optimizer.kind(n, p)
            shape = tuple(optimizer.rows(p).shape) if matrix else ()
            groups.setdefault((matrix, slow, shape), []).append(p)
        groups = dict(sorted(groups.items()))
        ordered = sum(groups.values(), [])
        device = ordered[0].device
        self.flat = torch.cat([self.lines(p.detach()).float() for p in ordered])
        self.average, self.momentum = self.flat.clone(), torch.zeros_like(self.flat)
        self.half, self.grads = self.flat.bfloat16(), torch.zeros_like(self.flat, dtype=torch.bfloat16)
        self.vectors = sum(p.numel() for (matrix, *_), some in groups.items() if not matrix for p in some)
        self.square = torch.zeros(self.vectors, device=device)
        self.part = torch.cat([torch.full((sum(p.numel() for p in some),), optimizer.PARTS[slow], device=device)
                               for (matrix, slow, _), some in groups.items() if not matrix])
        self.matrices, at, self.place = [], 0, {}
        for (matrix, slow, shape), some in groups.items():
            first = at
            for p in some:
                self.place[p] = slice(at, at + p.numel())
                at += p.numel()
            if matrix:
                self.matrices.append((slice(first, at), (len(some), *shape), optimizer.PARTS[2 + slow]))
        for p in ordered:
            p.data = self.shaped(self.half, p)
            p.grad = self.shaped(self.grads, p)
        self.rate, self.steps = torch.zeros((), device=device), torch.zeros((), device=device)
        self.keep = torch.tensor(keep, device=device)

    @staticmethod
    def lines(p):
        """As one line, convolutions in the order of channels_last."""
        return (p.movedim(1, -1) if p.dim() == 4 else p).reshape(-1)

    def shaped(self, flat, p):
        part = flat[self.place[p]]
        if p.dim() != 4:
            return part.view(p.shape)
        o, i, h, w = p.shape
        return part.view(o, h, w, i).permute(0, 3, 1, 2)

    @torch.no_grad()
    def update(self):
        """One step of AdamW for vectors and Muon for matrices (optimizer.py). Returns the norm."""
        g = self.grads.float()
        norm = g.norm()
        g = (g * (1 / (norm + 1e-6)).clamp(max=1)).nan_to_num(0, 0, 0)
        self.steps += 1
        n, rate = self.vectors, self.rate
        lr, p, m = rate * self.part, self.flat[:n], self.momentum[:n]
        m.lerp_(g[:n], 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(g[:n], g[:n], value=1 - BETAS[1])
        first, second = (1 - torch.exp(self.steps * math.log(beta)) for beta in BETAS)
        p.mul_(1 - lr * DECAY).sub_(lr * m / first / ((self.square / second).sqrt() + 1e-8))
        for where, (k, rows, columns), part in self.matrices:
            m = self.momentum[where].lerp_(g[where], 1 - MOMENTUM)
            u = optimizer.orthogonal(torch.lerp(g[where], m, MOMENTUM).view(k, rows, columns)).float()
            lr = rate * part
            self.flat[where].mul_(1 - lr * DECAY).sub_(u.reshape(-1) * (lr * .2 * max(rows, columns) ** .5))
        self.average.lerp_(self.flat, 1 - torch.minimum(self.keep, (1 + self.steps) / (10 + self.steps)))
        self.half.copy_(self.flat)
        return norm

    def rest(self):
        """Forgets what steps on nothing left."""
        for t in (self.momentum, self.square, self.steps):
            t.zero_()
        self.average.copy_(self.flat)


class Latents:
    """What there is of one size, on the GPU; more of it as shards come."""

    def __init__(self, folder, side, most, device):
        self.folder, self.read, self.ready = folder, set(), collections.deque()
        self.z = torch.zeros(most, 4, side // 8, side // 8, dtype=torch.float16, device=device)
        self.ids = torch.full((most, 4, 32), common.END, dtype=torch.int32, device=device)
        self.count, self.have = torch.ones((), device=device), 0
        threading.Thread(target=self.watch, daemon=True).start()

    def more(self, most):
        """Takes up to so many shards that watch() has read."""
        while self.ready and most > 0:
            s, most = self.ready.popleft(), most - 1
            n = min(len(s["latents"]), len(self.z) - self.have)
            self.z[self.have:self.have + n] = s["latents"][:n].to(self.z.device)
            self.ids[self.have:self.have + n] = s["ids"][:n].to(self.ids.device, torch.int32)
            self.have += n
        self.count.fill_(max(self.have, 1))

    def watch(self):
        """Reads new shards, which takes a tenth of a second each, beside the training."""
        while self.have < len(self.z):
            for f in sorted(set(self.folder.glob("*.pt")) - self.read):
                self.read.add(f)
                self.ready.append(common.load(f))
            time.sleep(.5)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--size", default="second", choices=networks.SIZES)
    args.add_argument("--picture", default=[128, 256], type=int, nargs=2)
    args.add_argument("--batch", default=[512, 256], type=int, nargs=2)
    args.add_argument("--seconds", default=480, type=float, help="of everything, from the start of this program")
    args.add_argument("--early", default=.6, type=float)
    args.add_argument("--every", default=4, type=int)
    args.add_argument("--rate", default=1.2e-3, type=float)
    args.add_argument("--end", default=.02, type=float)
    args.add_argument("--keep", default=.998, type=float, help="of the averaged weights, at each step")
    args.add_argument("--most", default=200000, type=int, help="latents")
    args.add_argument("--least", default=20000, type=int, help="latents to begin with")
    args.add_argument("--save", default=100, type=float, help="seconds between checkpoints")
    args.add_argument("--plain", action="store_true", help="no CUDA graphs")
    args.add_argument("--profile", action="store_true", help="where a step's time goes, and no training")
    args = args.parse_args()
    began, device = time.time(), common.device()
    torch.manual_seed(7)
    size, path = networks.SIZES[args.size], args.work / "diffusion.pt"
    table = common.load(args.work / "tokens.pt")
    text = networks.Text(size["text"], size["layers"], table["used"])
    models = torch.nn.ModuleList([text, networks.UNet(size["unet"], size["text"])])
    old = common.load(path)
    old["models"]["0.own"] = networks.Text.moved(old["models"]["0.own"], old["used"], table["used"])
    whole = networks.carry(models, old["models"])
    text.tokens = table["tokens"].float() * table["scale"]
    print("goes on with this network" if whole else "begins a network of another size", flush=True)
    models = models.to(device, torch.bfloat16, memory_format=torch.channels_last)
    weights = Weights(models, args.keep)
    empty = torch.from_numpy(common.Tokenizer().rows([""], CAPTION).astype("int64")).to(device)
    alphas = common.alphas().to(device)
    said = torch.zeros(2, 4, device=device)  # loss, error of the picture at strong noise, norm, steps

    def step(k, data, n):
        at = (torch.rand(n, device=device) * data.count).long()
        which = torch.randint(data.ids.shape[1], (n,), device=device)
        ids = F.pad(data.ids[at, which].long(), (0, CAPTION - data.ids.shape[2]), value=common.END)
        ids = torch.where(torch.rand(n, 1, device=device) < .1, empty, ids)
        t = torch.rand(n, device=device)  # half of them lean to strong noise, as in diffusion.py
        t = (torch.where(torch.rand_like(t) < .5, t, t.sqrt()) * 1000).long().clamp(max=999)
        z = data.z[at].float()
        a, noise = alphas[t][:, None, None, None], torch.randn_like(z)
        x = (a.sqrt() * z + (1 - a).sqrt() * noise).bfloat16().contiguous(memory_format=torch.channels_last)
        e = models[1](x, t, models[0](ids)).float()
        snr = (a / (1 - a)).flatten()
        each = (e - noise).square().mean((1, 2, 3))
        loss = (each * ((snr.clamp(max=5) + STRONG) / snr).clamp(max=10)).mean()
        weights.grads.zero_()
        loss.backward()
        norm = weights.update()
        with torch.no_grad():
            strong = ((t > 600) & (t < 900)).float()
            x0 = (each / snr * strong).sum() / strong.sum().clamp(min=1)
            said[k] += torch.stack([loss.detach(), x0, norm, torch.ones_like(norm)])

    def graph(k, data, n):
        if args.plain or device.type != "cuda":
            return lambda: step(k, data, n)
        at = time.time()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step(k, data, n)
        torch.cuda.current_stream().wait_stream(side)
        made = torch.cuda.CUDAGraph()
        with torch.cuda.graph(made):
            step(k, data, n)
        weights.rest()
        print(f"{time.time() - began:.0f}s: the graph for {n} pictures of {args.picture[k]}, "
              f"made in {time.time() - at:.0f}s", flush=True)
        return made.replay

    sets = [Latents(args.work / f"latents{p}", p, args.most, device) for p in args.picture]
    if args.profile:
        for k, (data, n) in enumerate(zip(sets, args.batch)):
            for _ in range(3):
                step(k, data, n)
            with torch.profiler.profile() as told:
                step(k, data, n)
                torch.cuda.synchronize()
            print(told.key_averages().table(sort_by="self_cuda_time_total", row_limit=40, max_name_column_width=90))
        return
    graphs = [graph(k, data, n) for k, (data, n) in enumerate(zip(sets, args.batch))]

    def save():
        state = dict(step=int(weights.steps), seen=old["seen"] + seen, spent=old["spent"] + time.time() - began,
                     used=table["used"], opt=None)
        average = [weights.shaped(weights.average, p).contiguous().cpu() for p in models.parameters()]
        named = {**{n: t.float().cpu() for n, t in models.state_dict().items()},
                 **{n: t for (n, _), t in zip(models.named_parameters(), average)}}
        common.save(path, models=named, ema=average, **state)

    def report():
        for k, (loss, x0, norm, n) in enumerate(said.tolist()):
            if n:
                print(f"{args.picture[k]}: step {steps} seen {seen} {time.time() - began:.0f}s loss {loss / n:.4f} "
                      f"x0 {x0 / n:.3f} gnorm {norm / n:.2f} rate {weights.rate.item():.1e} "
                      f"{seen / (time.time() - start):.0f}/s of {sets[0].have}", flush=True)
        said.zero_()

    while min(s.have for s in sets) < args.least and time.time() - began < args.seconds / 2:
        for s in sets:
            s.more(100)
        time.sleep(.2)
    said.zero_()
    start, seen, steps, saved = time.time(), 0, 0, time.time()
    print(f"{start - began:.0f}s: training begins with {sets[0].have} latents", flush=True)
    while (now := time.time()) - began < args.seconds:
        share = (now - start) / (began + args.seconds - start)
        fall = max(0, (share - args.early) / (1 - args.early))
        weights.rate.fill_(args.rate * min(1, (steps + 1) / 100) *
                           (args.end + (1 - args.end) * (.5 + .5 * math.cos(math.pi * fall))))
        k = int(share >= args.early and steps % args.every > 0)
        graphs[k]()
        steps, seen = steps + 1, seen + args.batch[k]
        if steps % 50 == 0:
            for s in sets:
                s.more(10)
        if steps % 200 == 0:
            report()
        elif steps % 10 == 0 and device.type == "cuda":
            torch.cuda.synchronize()  # the clock is that of what was done
        if time.time() - saved > args.save:
            save()
            saved = time.time()
    report()
    save()
    print(f"{steps} steps, {seen} pictures", flush=True)


if __name__ == "__main__":
    main()
