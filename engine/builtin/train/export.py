"""Stage 7: one file in the SD 1.x layout.   python export.py --work W --out M

Folds the latents' mean and deviation into the autoencoder's 1x1 convolutions (so that 0.18215 is
the right scale) and the turn into the table of tokens, which is kept in 8 bits. Checks the file through
diffusers' own reader of that layout, which shares no code with this, if diffusers is there.
"""
import argparse
import pathlib
import torch
from safetensors.torch import load_file, save_file
import common
import networks

PREFIX = {"text": "cond_stage_model.transformer.text_model.", "unet": "model.diffusion_model.",
          "vae": "first_stage_model."}
TABLE = PREFIX["text"] + "embeddings.token_embedding.weight"


def build(size, used=()):
    s = networks.SIZES[size]
    return {"text": networks.Text(s["text"], s["layers"], used),
            "unet": networks.UNet(s["unet"], s["text"]), "vae": networks.Autoencoder(s["vae"])}


@torch.no_grad()
def read(path, size, device="cpu"):
    """The three networks of a file, in float32."""
    tensors, models = load_file(path), build(size)
    for kind, model in models.items():
        state = {n.removeprefix(PREFIX[kind]): t.float() for n, t in tensors.items()
                 if n.startswith(PREFIX[kind])}
        if kind == "text":
            state["tokens"] = state.pop("embeddings.token_embedding.weight")
            state["turn.weight"] = torch.eye(state["tokens"].shape[1])
        model.load_state_dict(state)
        model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    return models


@torch.no_grad()
def verify(path, size):
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders import single_file_utils as reader
    s, tensors, ours = networks.SIZES[size], load_file(path), read(path, size)
    tensors = {n: t.float() for n, t in tensors.items()}
    unet = UNet2DConditionModel(
        in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=s["unet"],
        cross_attention_dim=s["text"], attention_head_dim=8, norm_num_groups=32,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3)
    vae = AutoencoderKL(in_channels=3, out_channels=3, block_out_channels=s["vae"],
                        layers_per_block=2, down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4,
                        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=32)
    unet.load_state_dict(reader.convert_ldm_unet_checkpoint(dict(tensors), dict(unet.config)))
    vae.load_state_dict(reader.convert_ldm_vae_checkpoint(dict(tensors), dict(vae.config)))
    torch.manual_seed(0)
    x, t, c = torch.randn(2, 4, 16, 16), torch.tensor([10, 800]), torch.randn(2, 77, s["text"])
    a, b = ours["unet"](x, t, c), unet(x, t, c).sample
    img = torch.rand(1, 3, 64, 64) * 2 - 1
    p, q = ours["vae"].decode(ours["vae"].encode(img)[0]), vae(img).sample
    print(f"through diffusers' reader: unet differs by {(a - b).abs().max():.1e}, "
          f"autoencoder by {(p - q).abs().max():.1e}")
    assert torch.allclose(a, b, atol=1e-3) and torch.allclose(p, q, atol=1e-3)


@torch.no_grad()
def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--size", default="second", choices=networks.SIZES)
    args.add_argument("--picture", default=256, type=int)
    args.add_argument("--guidance", default=4.0, type=float)
    args.add_argument("--out", default="../pictor-mini.safetensors", type=pathlib.Path)
    args = args.parse_args()
    table = common.load(args.work / "tokens.pt")
    models = build(args.size, table.get("used", ()))
    c = common.load(args.work / "diffusion.pt")
    models["text"].tokens = c["models"]["0.tokens"]
    common.copy([*models["text"].parameters(), *models["unet"].parameters()], c["ema"])
    models["vae"] = vae = common.load_vae(args.work, args.size, "cpu")

    stats = common.load(args.work / "stats.pt")
    mean, std = stats["mean"], stats["std"]
    gain = 1 / (std * common.LATENT_SCALE)  # kept latent = (z - mean) gain
    q, p = vae.quant_conv, vae.post_quant_conv
    q.weight[:4] *= gain[:, None, None, None]
    q.bias[:4] = (q.bias[:4] - mean) * gain
    q.bias[4:] += 2 * gain.log()  # log variance
    p.bias += p.weight[:, :, 0, 0] @ mean
    p.weight /= gain[None, :, None, None]

    out = {}
    for kind, model in models.items():
        for n, t in model.state_dict().items():
            if kind == "text" and n in ("tokens", "turn.weight", "own"):
                continue
            assert t.isfinite().all(), n
            out[PREFIX[kind] + n] = t.half().contiguous()
    rows = models["text"].table()
    for lost, known in table.get("settled", ()):  # words of no caption that mean one that some hold
        rows[lost] = rows[known]
    out[TABLE] = rows.to(torch.float8_e4m3fn)
    save_file(out, args.out, metadata={
        "format": "pt", "modelspec.sai_model_spec": "1.0.0", "modelspec.title": "pictor mini",
        "modelspec.architecture": "stable-diffusion-v1", "modelspec.license": "MIT",
        "modelspec.implementation": "https://github.com/CompVis/stable-diffusion",
        "modelspec.resolution": f"{args.picture}x{args.picture}",
        "modelspec.prediction_type": "epsilon",
        "pictor.guidance": f"{args.guidance:g}", "pictor.steps": "20",
        "pictor.compose": str(common.COMPOSE), "pictor.detail": str(common.DETAIL),
        "modelspec.description": "Small text to image model: things, shapes, colours, landscapes. "
                                 "Trained from scratch on composed pictures."})
    print(f"{args.out}: {args.out.stat().st_size} bytes, {len(out)} tensors, "
          f"{sum(t.numel() for t in out.values())} parameters")
    try:
        verify(args.out, args.size)
    except ImportError:
        print("no diffusers here: not verified")


if __name__ == "__main__":
    main()
