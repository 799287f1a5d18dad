"""Stage 3: the autoencoder.   python vae.py --work W --minutes 18

Trained on crops of painted scenes. Resumes from vae.pt; a larger --minutes goes on. With --decoder
the encoder stays as vae.pt has it and only the decoder is trained, into decoder.pt: its latents
are fixed then, so that the stages after it hold. A discriminator of patches (Isola and others, 2017)
asks it for edges and textures, which errors alone blur.
"""
import argparse
import itertools
import math
import pathlib
import time
import numpy as np
import torch
import torch.nn.functional as F
import common
import compose
import networks
import scenes
import supply

args = argparse.ArgumentParser()
args.add_argument("--work", default="build/train", type=pathlib.Path)
args.add_argument("--size", default="second", choices=networks.SIZES)
args.add_argument("--minutes", default=18, type=float)
args.add_argument("--batch", default=8, type=int, help="with --decoder on a CPU: 32 n")
args.add_argument("--picture", default=128, type=int)
args.add_argument("--crop", default=64, type=int)
args.add_argument("--rate", default=1e-3, type=float)
args.add_argument("--workers", default=0, type=int)
args.add_argument("--decoder", action="store_true")
args = args.parse_args()
path = args.work / ("decoder.pt" if args.decoder else "vae.pt")
torch.manual_seed(1)
device = common.device()
unet_cpu = common.unet_cpu(device) if args.decoder else None
things = scenes.Things(args.work / "drawings.zip")
atlas = compose.Atlas(args.work / "drawings.zip", min(192, args.picture), device)


class Patches(torch.nn.Module):
    """Tells painted patches of about 20 pixels from decoded ones; gives what each layer says."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv2d(*widths, 2 + step, step, 1)
            for *widths, step in ((3, 32, 2), (32, 64, 2), (64, 128, 1), (128, 1, 1)))

    def forward(self, x):
        said = []
        for layer in self.layers:
            x = layer(F.leaky_relu(x, .2) if said else x)
            said.append(x)
        return said


if args.decoder:
    vae = common.load_vae(args.work, args.size, device, best=False)
    params = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    for p in params:
        p.requires_grad_()
else:
    vae = networks.Autoencoder(networks.SIZES[args.size]["vae"])
    vae = vae.to(device, memory_format=torch.channels_last)
    params = list(vae.parameters())
opt = torch.optim.AdamW(params, lr=args.rate, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
ema = common.Ema(list(vae.parameters()), 0.997)
patches = Patches().to(device, memory_format=torch.channels_last)  # of use with --decoder alone
opt_patches = torch.optim.AdamW(patches.parameters(), lr=1e-3, betas=(.5, .9))
step, spent = 0, 0.0
if (c := common.load(path, device)):
    vae.load_state_dict(c["vae"])
    opt.load_state_dict(c["opt"])
    ema.shadow, step, spent = c["ema"], c["step"], c["spent"]
    if args.decoder:
        patches.load_state_dict(c["patches"])
rng = np.random.default_rng(step)
made = supply.supply(things, ([1, s] for s in itertools.count(step)), args.batch // 2, args.workers,
                     style=.6 if args.decoder else .2)  # what the decoder lacks is textures


def crops():
    """[n, 3, side, side] in -1..1: mostly two parts of each large picture, or whole small ones."""
    # colours are learnt first, on small crops, many steps of them; edges need the larger ones
    early = not args.decoder and spent < total / 5
    side, whole = args.crop // (1 + early), not args.decoder and rng.random() < .2
    packed = {k: v.to(device) for k, v in next(made)[0].items()}
    x = compose.paint(packed, atlas, side if whole else args.picture)
    if not whole:
        at = rng.integers(0, args.picture - side + 1, (2 * len(x), 2))
        x = torch.stack([x[i // 2, :, a:a + side, b:b + side] for i, (a, b) in enumerate(at)])
    return (2 * x - 1).contiguous(memory_format=torch.channels_last)


def errors(y, x):
    """Mean and mean square of the pixels', mean of the steps between neighbours."""
    d = y - x
    steps = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    return d.abs().mean(), d.square().mean(), steps


def with_patches(x, got, error, weight):
    """The gradient at got of its error and of what patches say, and the discriminator's own step."""
    for p in patches.parameters():
        p.requires_grad_(False)
    with torch.autocast(device.type, torch.bfloat16):
        real, fake = patches(x), patches(got)
        unlike = sum((a.float() - b.float()).abs().mean() for a, b in zip(fake[:-1], real))
        doubt = unlike - fake[-1].float().mean()
    of_error, of_doubt = (torch.autograd.grad(v, got)[0] for v in (error, doubt))
    for p in patches.parameters():
        p.requires_grad_()
    with torch.autocast(device.type, torch.bfloat16):
        loss = (F.relu(1 - patches(x)[-1].float()).mean() +
                F.relu(1 + patches(got.detach())[-1].float()).mean())
    opt_patches.zero_grad()
    loss.backward()
    opt_patches.step()
    return of_error + weight * of_error.norm() / of_doubt.norm() * of_doubt, loss.item()


start, total, log = time.time() - spent, args.minutes * 60, []
while spent < total:
    x = crops()
    # warm up over 100 steps, then a cosine to nothing over the time given
    rate = min((step + 1) / 100, 1) * (.5 + .5 * math.cos(math.pi * spent / total)) + .01
    for g in opt.param_groups:
        g["lr"] = args.rate * rate
    with torch.autocast(device.type, torch.bfloat16):
        with torch.set_grad_enabled(not args.decoder):
            mean, var = vae.encode(x)
        z = mean + torch.randn_like(mean) * (var / 2).exp()
        y = unet_cpu.decode(vae, z) if unet_cpu else vae.decode(z)
    y = y.float()
    got = y.detach().requires_grad_() if args.decoder else y
    l1, mse, grad = errors(got, x)
    loss = l1 + grad + 2 * mse
    kl = .5 * (mean.square() + var.exp() - 1 - var).mean()
    # three latents are drawn to the mean colour of their cell: found by itself, one colour axis
    # after the other, this takes most of the training
    hint = F.mse_loss(mean[:, :3], 2 * F.avg_pool2d(x, 8))
    opt.zero_grad()
    said = 0.0
    if args.decoder:
        slope, said = with_patches(x, got, loss, .5 * min(step / 200, 1))
        y.backward(slope)
    else:
        (loss + 1e-3 * kl + max(.5 - spent / total, .02) * hint).backward()
    norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
    opt.step()
    step += 1
    ema.update(list(vae.parameters()), step)
    if step % 10 == 0:
        log.append([*(v.item() for v in (l1, grad, mse, kl, hint, norm)), said])
        spent = time.time() - start
    if step % 100 == 0 or spent >= total:
        l1, grad, mse, kl, hint, norm, said = np.mean(log[-10:], 0)
        print(f"step {step} {spent:.0f}s psnr {10 * np.log10(4 / mse):.2f} l1 {l1:.4f} "
              f"grad {grad:.4f} kl {kl:.2f} hint {hint:.3f} gnorm {norm:.2f} patches {said:.2f}",
              flush=True)
    if step % (100 if args.decoder else 500) == 0 or spent >= total:
        common.save(path, vae=vae.state_dict(), opt=opt.state_dict(), ema=ema.shadow, step=step,
                    spent=spent, patches=patches.state_dict())
