"""Stage 5: text encoder and UNet together.   python diffusion.py --work W --picture 64 --minutes 45

Predicts the noise; min-SNR weights; one caption in ten is empty, for guidance. Goes on from
diffusion.pt: first at low resolution, where a step is cheap, then at the target; each run's
learning rate falls from --rate to --end of it. Weights are kept in float32 and used in bfloat16.
"""
import argparse
import copy
import math
import pathlib
import time
import numpy as np
import torch
import common
import networks

args = argparse.ArgumentParser()
args.add_argument("--work", default="build/train", type=pathlib.Path)
args.add_argument("--size", default="small", choices=networks.SIZES)
args.add_argument("--picture", default=[64], type=int, nargs="+")
args.add_argument("--minutes", default=45, type=float)
args.add_argument("--batch", default=64, type=int)
args.add_argument("--rate", default=1e-3, type=float)
args.add_argument("--end", default=.02, type=float)
args.add_argument("--decay", default=.998, type=float, help="of the averaged weights")
args.add_argument("--length", default=24, type=int, help="of captions in tokens; 77 before release")
args.add_argument("--compile", action="store_true")
args = args.parse_args()
path = args.work / "diffusion.pt"
device = common.device()
size = networks.SIZES[args.size]

text = networks.Text(size["text"], size["layers"])
table = common.load(args.work / "tokens.pt")
text.tokens = table["tokens"].float() * table["scale"]
unet = networks.UNet(size["unet"], size["text"])
models = torch.nn.ModuleList([text, unet]).to(device, memory_format=torch.channels_last)
master = list(models.parameters())
opt = torch.optim.AdamW(master, lr=args.rate, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
ema = common.Ema(master, args.decay)
step, spent = 0, 0.0
if (c := common.load(path, device)):
    models.load_state_dict(c["models"])
    opt.load_state_dict(c["opt"])
    ema.shadow, step, spent = c["ema"], c["step"], c["spent"]
used = copy.deepcopy(models).bfloat16().to(memory_format=torch.channels_last)
params = list(used.parameters())
run_text, run_unet = map(torch.compile, used) if args.compile else used
torch.manual_seed(step)

data = {}
for side in args.picture:
    shards = [common.load(f) for f in sorted((args.work / f"latents{side}").glob("*.pt"))]
    data[side] = (torch.cat([s["latents"] for s in shards]).to(device),
                  torch.cat([s["ids"] for s in shards]).to(device, torch.int32))
    print(f"{side}: {len(data[side][0])} latents", flush=True)
empty = torch.from_numpy(common.Tokenizer().rows([""], args.length).astype(np.int64)).to(device)
alphas = common.alphas().to(device)


def batch():
    """Latents and token ids."""
    z, ids = data[args.picture[torch.randint(len(args.picture), ()).item()]]
    at = torch.randint(len(z), (args.batch,), device=device)
    rows = ids[at, torch.randint(ids.shape[1], (args.batch,), device=device)].long()
    pad = args.length - rows.shape[1]
    rows = torch.nn.functional.pad(rows, (0, pad), value=common.END)
    return z[at].float(), torch.where(torch.rand(args.batch, 1, device=device) < .1, empty, rows)


start, first, total = time.time(), step, args.minutes * 60
took, log = 0.0, []
while took < total:
    rate = min((step - first + 1) / 100, 1) * (args.end + (1 - args.end) * (.5 + .5 * math.cos(
        math.pi * took / total)))
    for g in opt.param_groups:
        g["lr"] = args.rate * rate
    z, ids = batch()
    # half of the pictures lean to strong noise, where layout and colour are decided
    t = torch.rand(args.batch, device=device)
    t = (torch.where(torch.rand_like(t) < .5, t, t.sqrt()) * 1000).long()
    a, noise = alphas[t][:, None, None, None], torch.randn_like(z)
    x = (a.sqrt() * z + (1 - a).sqrt() * noise).bfloat16()
    e = run_unet(x.contiguous(memory_format=torch.channels_last), t, run_text(ids)).float()
    snr = (a / (1 - a)).flatten()
    each = (e - noise).square().mean((1, 2, 3))
    loss = (each * (snr.clamp(max=5) / snr)).mean()
    loss.backward()
    for m, p in zip(master, params):
        m.grad, p.grad = p.grad.float(), None
    norm = torch.nn.utils.clip_grad_norm_(master, 1.0)
    opt.step()
    common.copy(params, master)
    step += 1
    ema.update(master, step)
    if step % 10 == 0:
        # error of the picture at strong noise tells more about layout than the loss does
        strong = (t > 600) & (t < 900)
        log.append([loss.item(), (each / snr)[strong].mean().item(), norm.item()])
        took = time.time() - start
    if step % 100 == 0 or took >= total:
        loss, x0, norm = np.nanmean(log[-10:], 0)
        print(f"step {step} {spent + took:.0f}s loss {loss:.4f} x0 {x0:.3f} gnorm {norm:.2f} "
              f"{(step - first) * args.batch / took:.1f}/s", flush=True)
    if step % 500 == 0 or took >= total:
        common.save(path, models=models.state_dict(), opt=opt.state_dict(), ema=ema.shadow,
                    step=step, spent=spent + took)
