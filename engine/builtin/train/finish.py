"""Stage 3b: the last minutes on what most people ask for.   python finish.py --work build/train --minutes 21

Goes on from diffusion.pt with pictures of one shape at the full 128 pixels only; the learning rate falls
to nothing within the minutes given. Repeat with a smaller --rate for another pass.
"""
import argparse
import pathlib
import time
import numpy as np
import torch
import common
import fast
import render

args = argparse.ArgumentParser()
args.add_argument("--work", default="build/train", type=pathlib.Path)
args.add_argument("--minutes", default=21, type=float)
args.add_argument("--batch", default=32, type=int)
args.add_argument("--rate", default=1.2e-3, type=float)
args = args.parse_args()
torch.manual_seed(5)
fast.install()

words = common.Words()
text, unet = common.build_text(), common.calm(common.build_unet())
words.shrink(text)
unet.to(memory_format=torch.channels_last)
c = common.load(args.work / "diffusion.pt")
text.load_state_dict(c["text"])
unet.load_state_dict(c["unet"])
params = list(text.parameters()) + list(unet.parameters())
opt = torch.optim.AdamW(params, lr=args.rate, betas=(0.9, 0.98), weight_decay=1e-3, fused=True)
opt.load_state_dict(c["opt"])
ema = common.Ema(params, 0.995)
step, first = c["step"], c["step"]

stats = common.latent_stats(args.work)
scenes, latents = [], []
for file in sorted(args.work.glob("latents128/*.pt")):
    d = common.load(file)
    keep = [i for i, s in enumerate(d["scenes"])
            if s["kind"] == "one" and s["size"] != "small" or s["kind"] == "place" and i % 3 == 0]
    scenes += [d["scenes"][i] for i in keep]
    latents.append(((d["latents"] - stats[0]) / stats[1])[keep])
latents = torch.cat(latents)
alphas = common.build_scheduler().alphas_cumprod
rng = np.random.default_rng(step)
n, start = args.batch, time.time()
while (spent := time.time() - start) < args.minutes * 60:
    falling = .5 + .5 * np.cos(np.pi * spent / (args.minutes * 60))
    for g in opt.param_groups:
        g["lr"] = args.rate * (min((step - first + 1) / 30, 1) * falling + .01)
    pick = rng.choice(len(scenes), n)
    captions = ["" if rng.random() < .1 else render.caption(scenes[i], rng) for i in pick]
    z = latents[torch.from_numpy(pick)]
    # two of three steps at the noise where the shape is decided
    t = np.where(rng.random(n) < .35, rng.random(n), .25 + .7 * rng.random(n)) * 1000
    t = torch.from_numpy(t).long()
    noise = torch.randn_like(z)
    a = alphas[t].view(-1, 1, 1, 1)
    x = (a.sqrt() * z + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        e = unet(x, t, text(words.encode(captions, rng)).last_hidden_state).sample
    snr = (a / (1 - a)).flatten()
    each = (e.float() - noise).square().mean((1, 2, 3))
    loss = (each * (snr.clamp(max=5) / snr)).mean()
    opt.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    opt.step()
    step += 1
    ema.update(params, step)
    if step % 50 == 0:
        print(f"step {step} {spent:.0f}s loss {loss.item():.4f}", flush=True)
common.save(args.work / "diffusion.pt", text=text.state_dict(), unet=unet.state_dict(),
            opt=opt.state_dict(), ema=ema.shadow, step=step, spent=c["spent"] + time.time() - start)
