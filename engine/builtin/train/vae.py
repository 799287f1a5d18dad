"""Stage 1: the autoencoder.   python vae.py --work build/train --minutes 12

Trained on crops: it is convolutional but for one attention in the middle. Resumes from vae.pt.
With --decoder the encoder stays as vae.pt has it and only the decoder goes on, into decoder.pt: its
latents are fixed then, so stages 2 and 3 can run at the same time.
"""
import argparse
import pathlib
import time
import numpy as np
import torch
import torch.nn.functional as F
import common
import fast
import render

args = argparse.ArgumentParser()
args.add_argument("--work", default="build/train", type=pathlib.Path)
args.add_argument("--minutes", default=12, type=float)
args.add_argument("--batch", default=16, type=int, help="of 32 pixel crops")
args.add_argument("--decoder", action="store_true")
args = args.parse_args()
args.work.mkdir(parents=True, exist_ok=True)
LR = 1.2e-3
path = args.work / ("decoder.pt" if args.decoder else "vae.pt")
torch.manual_seed(1)
fast.install()

if args.decoder:
    vae = common.load_vae(args.work / "vae.pt")
    part = [vae.post_quant_conv, vae.decoder]
    params = [p.requires_grad_() for m in part for p in m.parameters()]
else:
    vae = common.calm(common.build_vae()).to(memory_format=torch.channels_last)
    with torch.no_grad():  # begin nearly without noise: otherwise nothing fine is learnt
        vae.quant_conv.bias[4:] -= 5
    params = list(vae.parameters())
opt = torch.optim.AdamW(params, lr=LR, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
ema = common.Ema(list(vae.parameters()), 0.995)
step, spent = 0, 0.0
if (c := common.load(path)):
    vae.load_state_dict(c["vae"])
    opt.load_state_dict(c["opt"])
    ema.shadow, step, spent = c["ema"], c["step"], c["spent"]
rng = np.random.default_rng(step)


def crop(n):
    """An n pixel picture: some whole scenes drawn small, so that the middle sees layout."""
    u = rng.random()
    if u < .2:
        return render.texture(rng, n)
    if u < .4:
        return render.render(render.scene(rng), n)
    big = render.render(render.scene(rng), 128)
    while True:  # mostly where something is to be seen
        y, x = rng.integers(0, 129 - n, 2)
        c = big[y:y + n, x:x + n]
        if c.std((0, 1)).max() > 8 or rng.random() < .1:
            return c


def gradient(a):
    return a[..., 1:] - a[..., :-1], a[..., 1:, :] - a[..., :-1, :]


start, seen = time.time() - spent, time.time()
total = args.minutes * 60
log = []
threads = common.Threads()
while spent < total:
    threads.tune(step)
    # colours first, on small crops; edges need the larger ones
    n = 32 if step < 600 and not args.decoder else 64
    batch = args.batch * 32 * 32 // (n * n)
    x = torch.from_numpy(np.stack([crop(n) for _ in range(batch)])).permute(0, 3, 1, 2)
    x = (x.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
    # warm up over 30 s, then a cosine to nothing over the time given
    rate = min(spent / 30 + .05, 1) * (.5 + .5 * np.cos(np.pi * spent / total)) + .005
    for g in opt.param_groups:
        g["lr"] = LR * rate
    with torch.autocast("cpu", torch.bfloat16):
        with torch.set_grad_enabled(not args.decoder):
            d = vae.encode(x).latent_dist
        y = vae.decode(d.sample()).sample
    y = y.float()
    l1 = (y - x).abs().mean()
    grad = sum((p - q).abs().mean() for p, q in zip(gradient(y), gradient(x)))
    mse = F.mse_loss(y, x)
    kl = d.kl().mean() / (n * n // 16)
    # three latents are drawn to the mean colour of their cell: found by itself, one colour axis
    # after the other, this takes most of the training
    hint = F.mse_loss(d.mean[:, :3].float(), 2 * F.avg_pool2d(x, 8))
    loss = l1 + grad + 2 * mse + 1e-3 * kl + max(1 - 2 * spent / total, .1) * hint
    opt.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
    opt.step()
    step += 1
    ema.update(list(vae.parameters()), step)
    log.append([l1.item(), grad.item(), mse.item(), kl.item(), hint.item()])
    spent = time.time() - start
    if step % 100 == 0:
        l1, grad, mse, kl, hint = np.mean(log[-100:], 0)
        print(f"step {step} {spent:.0f}s l1 {l1:.4f} grad {grad:.4f} mse {mse:.5f} kl {kl:.2f} hint {hint:.3f} "
              f"gnorm {norm:.2f}", flush=True)
    if step % 100 == 0 or spent >= total:
        common.save(path, vae=vae.state_dict(), opt=opt.state_dict(), ema=ema.shadow, step=step,
                    spent=spent)
