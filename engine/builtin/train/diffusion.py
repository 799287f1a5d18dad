"""Stage 5: text encoder and UNet together.   python diffusion.py --work W --picture 64 --minutes 45

Predicts the noise; min-SNR weights, and of --strong more, because what a word means is decided at
strong noise, where they are nearly nothing; one caption in ten is empty, for guidance. Goes on from
diffusion.pt, also from another size's: first at low resolution, where a step is cheap, then at the target; each run's
learning rate falls from --rate to --end of it. Weights are kept in float32 and used in bfloat16.
On a CPU with AMX fast.cpp makes the steps, on another PyTorch in float32. Saved every --save minutes,
at the end, and on SIGTERM; latents that came meanwhile are read then.
"""
import argparse
import copy
import functools
import math
import pathlib
import signal
import time
import numpy as np
import torch
import torch.distributed as dist
import common
import networks
import optimizer

args = argparse.ArgumentParser()
args.add_argument("--work", default="build/train", type=pathlib.Path)
args.add_argument("--size", default="second", choices=networks.SIZES)
args.add_argument("--picture", default=[64], type=int, nargs="+", help="sizes, one after the other")
args.add_argument("--detail", default=550, type=int, help="timesteps of sizes after the first are less")
args.add_argument("--crop", default=1024, type=int, help="largest part of a picture, in its pixels")
args.add_argument("--minutes", default=45, type=float)
args.add_argument("--batch", default=64, type=int)
args.add_argument("--rate", default=1e-3, type=float)
args.add_argument("--end", default=.02, type=float)
args.add_argument("--decay", default=.998, type=float, help="of the averaged weights")
args.add_argument("--length", default=24, type=int, help="of captions in tokens; 77 before release")
args.add_argument("--strong", default=.25, type=float, help="least weight of the picture's error")
args.add_argument("--save", default=3, type=float, help="minutes between checkpoints")
args.add_argument("--compile", action="store_true")
args = args.parse_args()
path = args.work / "diffusion.pt"
device = common.device()
size = networks.SIZES[args.size]

table = common.load(args.work / "tokens.pt")
text = networks.Text(size["text"], size["layers"], table.get("used", ()))
text.tokens = table["tokens"].float() * table["scale"]
unet = networks.UNet(size["unet"], size["text"])
models = torch.nn.ModuleList([text, unet]).to(device, memory_format=torch.channels_last)
unet_cpu = common.unet_cpu(device)
if dist.is_torchelastic_launched():
    dist.init_process_group("gloo")
rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
groups = [[], [], [], []]
for n, p in models.named_parameters():
    matrix, slow = optimizer.kind(n, p)
    groups[2 * matrix + slow].append(p)
opt = optimizer.Optimizer([dict(params=g, muon=i > 1) for i, g in enumerate(groups)])
master = sum(groups, [])
ema = common.Ema(master, args.decay)
step, seen, spent = 0, 0, 0.0
if (c := common.load(path, device)):
    if c.get("used", table.get("used")) != table.get("used"):  # captions hold new words
        mine = next(i for i, (n, _) in enumerate(models.named_parameters()) if n == "0.own")
        for tensors, k in ((c["models"], "0.own"), (c["ema"], mine)):
            tensors[k] = networks.Text.moved(tensors[k], c["used"], table["used"])
        c["opt"] = None
    whole = networks.carry(models, c["models"])
    if whole and c["opt"]:
        opt.load_state_dict(c["opt"])
        for p, kept in opt.state.items():  # a checkpoint of another device's may lie otherwise in memory
            kept.update((k, optimizer.lie_like(p, t)) for k, t in kept.items() if t.shape == p.shape)
    average = dict(zip(models.parameters(), c["ema"] if whole else [p.detach().clone() for p in models.parameters()]))
    ema.shadow, step, seen, spent = [optimizer.lie_like(p, average[p]) for p in master], c["step"], c["seen"], c["spent"]
used, copied = models, device.type == "cuda"
if copied:
    used = copy.deepcopy(models).bfloat16().to(memory_format=torch.channels_last)
of = dict(zip(models.parameters(), used.parameters()))
params = [of[p] for p in master]
run_text, run_unet = map(torch.compile, used) if args.compile else used
if unet_cpu:
    run_text, run_unet = map(functools.partial, (unet_cpu.read, unet_cpu.run), models)
torch.manual_seed(step * ranks + rank)

data, files = {}, {}


def read():
    """The latents that there are; again when there are more."""
    for side in args.picture:
        found = sorted((args.work / f"latents{side}").glob("*.pt"))
        if found == files.get(side):
            continue
        files[side], shards = found, [common.load(f) for f in found]
        data[side] = (torch.cat([s["latents"] for s in shards]).to(device),
                      torch.cat([s["ids"] for s in shards]).to(device, torch.int32))
        if rank == 0:
            print(f"{side}: {len(data[side][0])} latents, {seen} pictures seen", flush=True)


read()
empty = torch.from_numpy(common.Tokenizer().rows([""], args.length).astype(np.int64)).to(device)
alphas = common.alphas().to(device)


def batch(side):
    """Latents, token ids and timesteps. Sizes after the first learn the details of pictures that
    were painted in the first and enlarged, from parts of them: no strong noise."""
    z, ids = data[side]
    n = max(32, args.batch * args.picture[0] ** 2 // min(side, args.crop) ** 2 // 32 * 32)
    at = torch.randint(len(z), (n,), device=device)
    rows = ids[at, torch.randint(ids.shape[1], (n,), device=device)].long()
    pad = args.length - rows.shape[1]
    rows = torch.nn.functional.pad(rows, (0, pad), value=common.END)
    # half of the pictures lean to strong noise, where layout and colour are decided
    t = torch.rand(n, device=device)
    if side == args.picture[0]:
        t = torch.where(torch.rand_like(t) < .5, t, t.sqrt()) * 1000
    else:
        t = t * args.detail
    part = min(side, args.crop) // 8
    y, x = torch.randint(side // 8 - part + 1, (2,)).tolist()
    return (z[at, :, y:y + part, x:x + part].float(),
            torch.where(torch.rand(n, 1, device=device) < .1, empty, rows), t.long())


def save():
    if rank > 0:
        return
    average = dict(zip(master, ema.shadow))
    common.save(path, models=models.state_dict(), opt=opt.state_dict(), step=step, seen=seen,
                used=table.get("used"), spent=spent + took, ema=[average[p] for p in models.parameters()])


def stop(*_):
    global total
    total = 0


signal.signal(signal.SIGTERM, stop)
start, first, before, total = time.time(), step, seen, args.minutes * 60
took, log, saved = 0.0, [], start
while took < total:
    rate = min((step - first + 1) / 100, 1) * (args.end + (1 - args.end) * (.5 + .5 * math.cos(
        math.pi * took / total)))
    for g, part in zip(opt.param_groups, optimizer.PARTS):
        g["lr"] = args.rate * rate * part
    z, ids, t = batch(args.picture[step % len(args.picture)])
    a, noise = alphas[t][:, None, None, None], torch.randn_like(z)
    x = (a.sqrt() * z + (1 - a).sqrt() * noise).to(torch.bfloat16 if copied or unet_cpu else z.dtype)
    e = run_unet(x.contiguous(memory_format=torch.channels_last), t, run_text(ids)).float()
    snr = (a / (1 - a)).flatten()
    each = (e - noise).square().mean((1, 2, 3))
    loss = (each * ((snr.clamp(max=5) + args.strong) / snr).clamp(max=10)).mean()
    loss.backward()
    step, seen = step + 1, seen + len(z) * ranks
    if copied:
        for m, p in zip(master, params):
            m.grad, p.grad = p.grad.float(), None
    if ranks > 1:
        optimizer.share([p.grad for p in master])
    norm = opt.update(ema, step, unet_cpu)
    if copied:
        common.copy(params, master)
    # error of the picture at strong noise tells more about layout than the loss does
    strong = (t > 600) & (t < 900)
    log.append([loss.item(), (each / snr)[strong].mean().item(), norm])
    clock = torch.tensor([time.time() - start, total], dtype=torch.float64)
    if ranks > 1:  # one clock, so that all have one learning rate and stop together
        dist.broadcast(clock, 0)
    took, total = clock.tolist()
    if step % 100 == 0 and rank == 0:
        loss, x0, norm = np.nanmean(log[-100:], 0)
        print(f"step {step} seen {seen} {spent + took:.0f}s loss {loss:.4f} x0 {x0:.3f} gnorm "
              f"{norm:.2f} {(seen - before) / took:.1f}/s", flush=True)
    if time.time() - saved > 60 * args.save:
        save()
        read()
        saved = time.time()
save()
