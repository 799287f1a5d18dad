"""Makes what pictures that go on where they end are checked against (README.md, "tiling"), for the
model of make_golden.py: PyTorch's own circular padding in every convolution.

usage: make_tiling.py           (needs the packages of requirements.txt)
"""

import torch

from make_golden import SCALE, both_precisions, contexts, like, noise, save


@both_precisions
def make(modules):
    unet, vae, out = modules["unet"], modules["vae"], {}
    c = {k: like(unet, v.float()) for k, v in contexts(modules["text_encoder"]).items()}
    for m in list(unet.modules()) + list(vae.modules()):
        if isinstance(m, torch.nn.Conv2d):
            m.padding_mode = "circular"
    time = like(unet, torch.tensor([500.5, 500.5]))
    for i, (h, w) in enumerate([(8, 8), (16, 24)]):
        latent = like(unet, noise(70 + i, 2, 4, h, w))
        out[f"{h}x{w}.latent"] = latent
        out[f"{h}x{w}.eps"] = unet(latent, time, c["c77"]).sample
    z = 0.8 * like(vae, noise(72, 1, 4, 8, 8))
    image = like(vae, noise(73, 1, 3, 64, 64)).clamp(-1, 1)
    out["z"], out["decoded"] = z, vae.decode(z / SCALE).sample
    out["image"], out["scaled"] = image, vae.encode(image).latent_dist.mean * SCALE
    return out


if __name__ == "__main__":
    print("\n".join(save("tiling", *make())))
