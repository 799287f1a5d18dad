"""Stage 3: text encoder and UNet together.   python diffusion.py --work build/train --minutes 60

Predicts the noise; min-SNR weights; one caption in ten is empty, for guidance. Captions are made
anew each time a latent is used. Resumes from diffusion.pt; a larger --minutes goes on.
"""
import argparse
import pathlib
import time
import numpy as np
import torch
import common
import fast
import latents
import render

args = argparse.ArgumentParser()
args.add_argument("--work", default="build/train", type=pathlib.Path)
args.add_argument("--minutes", default=60, type=float)
args.add_argument("--batch", default=48, type=int, help="of 64 pixel pictures")
args.add_argument("--shards", default=10, type=int, help="of 256 scenes at 128 pixels")
args.add_argument("--early", default=.5, type=float, help="part of the time on 64 pixels alone")
args.add_argument("--rate", default=2e-3, type=float)
args = args.parse_args()
path = args.work / "diffusion.pt"
torch.manual_seed(2)
fast.install()

words = common.Words()
text, unet = common.build_text(), common.calm(common.build_unet())
words.shrink(text)
unet.to(memory_format=torch.channels_last)
params = list(text.parameters()) + list(unet.parameters())
opt = torch.optim.AdamW(params, lr=args.rate, betas=(0.9, 0.98), weight_decay=1e-3, fused=True)
ema = common.Ema(params, 0.998)
step, spent = 0, 0.0
if (c := common.load(path)):
    text.load_state_dict(c["text"])
    unet.load_state_dict(c["unet"])
    opt.load_state_dict(c["opt"])
    ema.shadow, step, spent = c["ema"], c["step"], c["spent"]
rng = np.random.default_rng(step)
torch.manual_seed(step)

alphas = common.build_scheduler().alphas_cumprod
stats = None
data = {}  # size: (scenes, latents)
known = set()


def read_shards():
    """Whatever stage 2 has written so far. The first shard fixes each channel's mean and deviation."""
    global stats
    for file in sorted(args.work.glob("latents*/*.pt")):
        if file in known:
            continue
        known.add(file)
        d = common.load(file)
        z = d["latents"]
        if stats is None:
            stats = common.latent_stats(args.work)
        z = (z - stats[0]) / stats[1]
        s, old = data.get(z.shape[-1], ([], z[:0]))
        data[z.shape[-1]] = (s + d["scenes"], torch.cat([old, z]))


def batch():
    # words and colours are learnt three times faster on small pictures
    sizes = sorted(data)
    early = spent < args.early * total or len(sizes) == 1
    side = sizes[0] if early or rng.random() < .4 else sizes[int(rng.integers(1, len(sizes)))]
    n = args.batch if side == 8 else args.batch * 160 // (side * side)
    scenes, z = data[side]
    odds = np.array([2.0 if s["kind"] == "one" else 1.0 for s in scenes])
    pick = rng.choice(len(scenes), n, p=odds / odds.sum())
    captions = ["" if rng.random() < .1 else render.caption(scenes[i], rng) for i in pick]
    ids = words.encode(captions, rng)
    # half of the steps lean to strong noise, where layout and colour are decided
    t = torch.from_numpy(np.where(rng.random(n) < .5, rng.random(n), np.sqrt(rng.random(n))) * 1000).long()
    return z[torch.from_numpy(pick)], ids, t


vae = common.load_vae(args.work / "vae.pt")
threads = common.Threads()
start = time.time() - spent
total = args.minutes * 60
log = []
while spent < total:
    if step % 60 == 0 or not data:
        # a few of the larger pictures at a time, for later
        if step // 60 < args.shards:
            latents.make_shard(vae, args.work, 128, step // 60)
        read_shards()
    threads.tune(step)
    z, ids, t = batch()
    rate = min((step + 1) / 200, 1) * (.5 + .5 * np.cos(np.pi * min(spent / total, 1))) + .002
    for g in opt.param_groups:
        g["lr"] = args.rate * rate
    noise = torch.randn_like(z)
    a = alphas[t].view(-1, 1, 1, 1)
    x = (a.sqrt() * z + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        e = unet(x, t, text(ids).last_hidden_state).sample
    snr = (a / (1 - a)).flatten()
    each = (e.float() - noise).square().mean((1, 2, 3))
    loss = (each * (snr.clamp(max=5) / snr)).mean()
    opt.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
    opt.step()
    step += 1
    ema.update(params, step)
    spent = time.time() - start
    # error of the picture at strong noise: tells more about layout than the loss does
    strong = (t > 700) & (t < 900)
    log.append([loss.item(), (each / snr)[strong].mean().item() if strong.any() else np.nan])
    if step % 50 == 0:
        loss, x0 = np.nanmean(log[-50:], 0)
        print(f"step {step} {spent:.0f}s loss {loss:.4f} x0 {x0:.3f} gnorm {norm:.2f} "
              f"threads {torch.get_num_threads()} n {sum(len(d[0]) for d in data.values())}", flush=True)
    if step % 50 == 0 or spent >= total:
        common.save(path, text=text.state_dict(), unet=unet.state_dict(), opt=opt.state_dict(),
                    ema=ema.shadow, step=step, spent=spent)
