"""Sampling, as a picture server does it: DDIM with guidance, then the decoder."""
import torch
import common


@torch.no_grad()
def latents(text, unet, words, prompts, side, steps=20, guidance=5.0, seed=0, batch=16):
    """Standardised latents [n, 4, side, side]."""
    alphas = common.build_scheduler().alphas_cumprod
    times = torch.linspace(999, 0, steps + 1).round().long()
    generator = torch.Generator().manual_seed(seed)
    out = []
    for i in range(0, len(prompts), batch):
        part = prompts[i:i + batch]
        n = len(part)
        context = text(words.encode([""] * n + part)).last_hidden_state
        x = torch.randn(n, 4, side, side, generator=generator)
        for k in range(steps):
            with torch.autocast("cpu", torch.bfloat16):
                e = unet(torch.cat([x, x]), times[k].expand(2 * n), context).sample.float()
            e = e[:n] + guidance * (e[n:] - e[:n])
            a = alphas[times[k]]
            b = alphas[times[k + 1]] if k + 1 < steps else torch.tensor(1.0)
            z = (x - (1 - a).sqrt() * e) / a.sqrt()
            x = b.sqrt() * z + (1 - b).sqrt() * e
        out.append(x)
    return torch.cat(out)


@torch.no_grad()
def decode(vae, z, batch=8):
    """Raw autoencoder latents to uint8 [n, h, w, 3]."""
    out = []
    for i in range(0, len(z), batch):
        with torch.autocast("cpu", torch.bfloat16):
            y = vae.decode(z[i:i + batch].contiguous(memory_format=torch.channels_last)).sample
        out.append(((y.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1))
    return torch.cat(out).numpy()
