"""Stage 4: one file in the SD 1.x layout.   python export.py --work build/train --out ../pictor-mini.safetensors

Renames tensors, folds the latents' mean and deviation into the autoencoder's 1x1 convolutions (so
that 0.18215 is the right scale), gives every token without training the shared embedding, and
checks the file through diffusers' own reader of that layout, which shares no code with this.
"""
import argparse
import pathlib
import re
import torch
from safetensors.torch import load_file, save_file
import common

RESNET = [("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("time_emb_proj", "emb_layers.1"),
          ("norm2", "out_layers.0"), ("conv2", "out_layers.3"), ("conv_shortcut", "skip_connection")]


def unet_name(name):
    """The name of a diffusers UNet tensor in the single-file layout."""
    def resnet(n):
        for a, b in RESNET:
            n = n.replace(a + ".", b + ".")
        return n

    for a, b in [("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2"),
                 ("conv_in", "input_blocks.0.0"), ("conv_norm_out", "out.0"), ("conv_out", "out.2")]:
        if name.startswith(a + "."):
            return b + name[len(a):]
    m = re.match(r"down_blocks\.(\d)\.(resnets|attentions|downsamplers)\.(\d)\.(.*)", name)
    if m:
        level, kind, i, rest = int(m[1]), m[2], int(m[3]), m[4]
        if kind == "downsamplers":
            return f"input_blocks.{3 * level + 3}.0.{rest.replace('conv.', 'op.')}"
        block = f"input_blocks.{3 * level + i + 1}."
        return block + ("0." + resnet(rest) if kind == "resnets" else "1." + rest)
    m = re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name)
    if m:
        return f"middle_block.{1 if m[1] == 'attentions' else 2 * int(m[2])}." + \
            (resnet(m[3]) if m[1] == "resnets" else m[3])
    m = re.match(r"up_blocks\.(\d)\.(resnets|attentions|upsamplers)\.(\d)\.(.*)", name)
    level, kind, i, rest = int(m[1]), m[2], int(m[3]), m[4]
    if kind == "upsamplers":  # after the attention where there is one
        return f"output_blocks.{3 * level + 2}.{1 if level == 0 else 2}.{rest}"
    block = f"output_blocks.{3 * level + i}."
    return block + ("0." + resnet(rest) if kind == "resnets" else "1." + rest)


def vae_name(name):
    """The name of a diffusers autoencoder tensor in the single-file layout."""
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    for a, b in [("mid_block.attentions.0.", "mid.attn_1."), ("group_norm.", "norm."), ("to_q.", "q."),
                 ("to_k.", "k."), ("to_v.", "v."), ("to_out.0.", "proj_out."),
                 ("conv_norm_out", "norm_out"), ("conv_shortcut", "nin_shortcut")]:
        name = name.replace(a, b)
    return name


def names(text, unet, vae):
    """(name in the file, model, name in the model) of every tensor."""
    for n in text.state_dict():
        if not n.endswith("position_ids"):
            yield "cond_stage_model.transformer.text_model." + n.removeprefix("text_model."), text, n
    for n in unet.state_dict():
        yield "model.diffusion_model." + unet_name(n), unet, n
    for n in vae.state_dict():
        yield "first_stage_model." + vae_name(n), vae, n


def square(name, tensor):
    """The autoencoder's attention is written as 1x1 convolutions."""
    attention = re.search(r"attn_1\.(q|k|v|proj_out)\.weight$", name)
    return tensor[:, :, None, None] if attention and tensor.dim() == 2 else tensor


def read(path, text, unet, vae):
    tensors = load_file(path)
    for name, model, n in names(text, unet, vae):
        have = model.state_dict()[n]
        have.copy_(tensors.pop(name).float().reshape(have.shape))
    assert not tensors, list(tensors)


def verify(path, text, unet, vae):
    from diffusers.loaders import single_file_utils as reader
    tensors = load_file(path)
    u = reader.convert_ldm_unet_checkpoint(dict(tensors), dict(unet.config))
    v = reader.convert_ldm_vae_checkpoint(dict(tensors), dict(vae.config))
    other_unet, other_vae = common.build_unet(), common.build_vae()
    other_unet.load_state_dict({k: t.float() for k, t in u.items()})
    other_vae.load_state_dict({k: t.float() for k, t in v.items()})
    torch.manual_seed(0)
    x, t, c = torch.randn(2, 4, 16, 16), torch.tensor([10, 800]), torch.randn(2, 77, common.TEXT_WIDTH)
    img = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        a, b = unet(x, t, c).sample, other_unet(x, t, c).sample
        p, q = vae(img).sample, other_vae(img).sample
    print(f"through diffusers' reader: unet differs by {(a - b).abs().max():.2e}, "
          f"autoencoder by {(p - q).abs().max():.2e}")
    assert torch.allclose(a, b, atol=1e-4) and torch.allclose(p, q, atol=1e-4)


@torch.no_grad()
def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--out", default="../pictor-mini.safetensors", type=pathlib.Path)
    args = args.parse_args()
    words, text, unet = common.Words(), common.build_text(), common.build_unet()
    words.shrink(text)
    c = common.load(args.work / "diffusion.pt")
    common.Ema.copy_to(type("", (), {"shadow": c["ema"]}),
                       list(text.parameters()) + list(unet.parameters()))
    vae = common.load_vae(args.work)

    table = torch.nn.Embedding(49408, common.TEXT_WIDTH)
    table.weight.copy_(words.expand(text.get_input_embeddings().weight))
    text.set_input_embeddings(table)
    mean, std = (s.flatten() for s in common.latent_stats(args.work))
    gain = 1 / (std * common.LATENT_SCALE)  # stored latent = (z - mean) gain
    q, p = vae.quant_conv, vae.post_quant_conv
    q.weight[:4] *= gain[:, None, None, None]
    q.bias[:4] = (q.bias[:4] - mean) * gain
    q.bias[4:] += 2 * gain.log()  # log variance
    p.bias += p.weight[:, :, 0, 0] @ mean
    p.weight /= gain[None, :, None, None]

    out = {}
    for name, model, n in names(text, unet, vae):
        out[name] = square(name, model.state_dict()[n]).half().contiguous()
    assert all(t.isfinite().all() for t in out.values())
    save_file(out, args.out, metadata={
        "format": "pt", "modelspec.sai_model_spec": "1.0.0", "modelspec.title": "pictor mini",
        "modelspec.architecture": "stable-diffusion-v1", "modelspec.license": "MIT",
        "modelspec.implementation": "https://github.com/CompVis/stable-diffusion",
        "modelspec.resolution": "128x128", "modelspec.prediction_type": "epsilon",
        "pictor.guidance": "4", "pictor.steps": "20",
        "modelspec.description": "Small text to image model: flat coloured shapes. "
                                 "Trained from scratch on generated pictures."})
    print(f"{args.out}: {args.out.stat().st_size} bytes, {len(out)} tensors, "
          f"{sum(t.numel() for t in out.values())} parameters")
    text, unet, vae = common.build_text(), common.build_unet(), common.build_vae()
    read(args.out, text, unet, vae)
    verify(args.out, text, unet, vae)


if __name__ == "__main__":
    main()
