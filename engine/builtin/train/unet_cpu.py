"""networks.Text, UNet and the decoder trained by fast.cpp: the same functions of the same parameters,
in less time.

Parameters stay in float32 and are used in bfloat16; activations are [pixel, picture, channel]. Every
block is one step of PyTorch's autograd.
"""
import hashlib
import math
import pathlib
import torch
import torch.nn.functional as F
from torch.autograd import Function
from torch.utils.cpp_extension import load
import networks

SAME, HALF, TWICE = 1, 2, 3
NONE = torch.zeros(0)
HERE = pathlib.Path(__file__).parent
SOURCES = b"".join((HERE / f).read_bytes() for f in ("tiles.hpp", "fast_tiles.hpp", "fast_parts.hpp", "fast.cpp"))
ext = load("pictor_" + hashlib.sha1(SOURCES).hexdigest()[:8], [str(HERE / "fast.cpp")],
           extra_cflags=["-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"])


def taps(w):
    """[out, in, 3, 3] as [out, tap, in]; free for weights in channels_last."""
    return w.permute(0, 2, 3, 1).reshape(w.shape[0], -1, w.shape[1]).contiguous()


def plain(w):
    """Convolutions of 1x1 as matrices."""
    return taps(w) if w.dim() == 4 and w.shape[-1] > 1 else w.flatten(1) if w.dim() == 4 else w


def like(grads, params):
    """Gradients in the parameters' shapes and order in memory."""
    return [g.view(p.shape[0], *p.shape[2:], p.shape[1]).movedim(-1, 1) if p.dim() == 4 else g
            for g, p in zip(grads, params)]


class Resnet(Function):
    @staticmethod
    def forward(ctx, x, e, *params):
        used = [plain(p) for p in params]
        y, *kept = ext.resnet(x, e, used)
        ctx.count = len(kept)
        ctx.save_for_backward(x, *kept, *params)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, *rest = ctx.saved_tensors
        kept, params = rest[:ctx.count], rest[ctx.count:]
        dx, de, *grads = ext.resnet_back(dy.contiguous(), x, kept, [plain(p) for p in params])
        return dx, de, *like(grads, params)


class Transformer(Function):
    @staticmethod
    def forward(ctx, x, context, *params):
        y, *kept = ext.transformer(x, context, [plain(p) for p in params])
        ctx.count = len(kept)
        ctx.save_for_backward(x, context, *kept, *params)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, context, *rest = ctx.saved_tensors
        kept, params = rest[:ctx.count], rest[ctx.count:]
        dx, dc, *grads = ext.transformer_back(dy.contiguous(), x, context, kept,
                                              [plain(p) for p in params])
        return dx, dc, *like(grads, params)


class TextLayer(Function):
    @staticmethod
    def forward(ctx, x, *params):
        y, *kept = ext.text_layer(x, params)
        ctx.count = len(kept)
        ctx.save_for_backward(x, *kept, *params)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, *rest = ctx.saved_tensors
        return tuple(ext.text_layer_back(dy.contiguous(), x, rest[:ctx.count], rest[ctx.count:]))


class Conv(Function):
    @staticmethod
    def forward(ctx, x, w, bias, kind):
        ctx.kind = kind
        ctx.save_for_backward(x, w)
        return ext.convolution(x, taps(w), bias, kind)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dx, dw, db = ext.convolution_back(dy.contiguous(), x, taps(w), ctx.kind)
        return dx, *like([dw, db], [w, db]), None


class Norm(Function):
    """Group norm and SiLU."""

    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        y, affine, stats = ext.norm(x, gamma, beta, eps)
        ctx.save_for_backward(x, gamma, affine, stats)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, gamma, affine, stats = ctx.saved_tensors
        return *ext.norm_back(x, dy.contiguous(), gamma, affine, stats), None


def resnet(x, e, *modules):
    """norm, convolution, norm, convolution, and what changes the width, if it changes"""
    return Resnet.apply(x, e, *(p for m in modules for p in (m.weight, m.bias)))


def unet_resnet(layer, x, e):
    norm1, _, conv1 = layer.in_layers
    norm2, _, _, conv2 = layer.out_layers
    skip = layer.skip_connection
    return resnet(x, e, norm1, conv1, norm2, conv2,
                  *[skip] * (not isinstance(skip, torch.nn.Identity)))


def first(layer, x):
    """A convolution of four channels: among 32. x [n, 4, side, side]"""
    x = F.pad(x.flatten(2).permute(2, 0, 1), (0, 28)).bfloat16().contiguous()
    return Conv.apply(x, F.pad(layer.weight.movedim(1, -1), (0, 28)).movedim(-1, 1), layer.bias, SAME)


def last(norm, layer, x):
    """Group norm, SiLU and a convolution to few channels; float32 [n, few, side, side]."""
    few, side = len(layer.bias), math.isqrt(len(x))
    w = torch.cat([layer.weight, layer.weight.new_zeros(32 - few, *layer.weight.shape[1:])])
    x = Norm.apply(x, norm.weight, norm.bias, norm.eps)
    x = Conv.apply(x, w, F.pad(layer.bias, (0, 32 - few)), SAME)
    return x[..., :few].float().permute(1, 2, 0).unflatten(2, (side, side))


def transformer(layer, x, context):
    if x.shape[2] // networks.HEADS > 16:  # a few deep levels, for which fast.cpp has no heads
        side = math.isqrt(len(x))
        y = layer(x.float().permute(1, 2, 0).unflatten(2, (side, side)), context.float().transpose(0, 1))
        return y.flatten(2).permute(2, 0, 1).bfloat16().contiguous()
    block = layer.transformer_blocks[0]
    a, b, gate, ff = block.attn1, block.attn2, block.ff["net"][0].proj, block.ff["net"][2]

    def both(m):
        return m.weight, m.bias

    return Transformer.apply(
        x, context, *both(layer.norm), *both(layer.proj_in), *both(block.norm1), *both(block.norm2),
        *both(block.norm3), a.to_q.weight, a.to_k.weight, a.to_v.weight, *both(a.to_out[0]),
        b.to_q.weight, b.to_k.weight, b.to_v.weight, *both(b.to_out[0]), *both(gate), *both(ff),
        *both(layer.proj_out))


def read(text, ids):
    """The context [tokens, n, width] in bfloat16 of ids [n, tokens]."""
    ids = ids.T
    x = text.read(ids) + text.embeddings["position_embedding"].weight[:len(ids), None]
    x = x.bfloat16()
    for layer in text.encoder["layers"]:
        a, b = layer.self_attn, layer.mlp
        modules = [layer.layer_norm1, a["q_proj"], a["k_proj"], a["v_proj"], a["out_proj"],
                   layer.layer_norm2, b["fc1"], b["fc2"]]
        x = TextLayer.apply(x, *(p for m in modules for p in (m.weight, m.bias)))
    return text.final_layer_norm(x.float()).bfloat16()


def run(unet, x, t, context):
    """The noise [n, 4, side, side] in float32, for x of that shape and what read() gave."""
    half = unet.time_embed[0].in_features // 2
    angle = t[:, None].float() * torch.exp(-math.log(10000) / half * torch.arange(half))
    emb = F.silu(unet.time_embed(torch.cat([angle.cos(), angle.sin()], 1)))
    resnets = [m for m in unet.modules() if isinstance(m, networks.UNetResnet)]
    linears = [m.emb_layers[1] for m in resnets]
    every = F.linear(emb, torch.cat([m.weight for m in linears]), torch.cat([m.bias for m in linears]))
    every = {m: e.contiguous() for m, e in zip(resnets, every.split([m.out_features for m in linears], 1))}

    def through(block, x):
        for layer in block:
            if isinstance(layer, networks.UNetResnet):
                x = unet_resnet(layer, x, every[layer])
            elif isinstance(layer, networks.Transformer):
                x = transformer(layer, x, context)
            elif isinstance(layer, networks.Down):
                x = Conv.apply(x, layer.op.weight, layer.op.bias, HALF)
            elif isinstance(layer, networks.Up):
                x = Conv.apply(x, layer.conv.weight, layer.conv.bias, TWICE)
            else:
                x = first(layer, x)
        return x

    skips = []
    for block in unet.input_blocks:
        x = through(block, x)
        skips.append(x)
    x = through(unet.middle_block, x)
    for block in unet.output_blocks:
        x = through(block, torch.cat([x, skips.pop()], 2))
    norm, _, conv = unet.out
    return last(norm, conv, x)


def decode(vae, z):
    """The pictures [n, 3, 8 side, 8 side] in float32 of latents [n, 4, side, side]."""
    def block(layer, x):
        skip = [layer.nin_shortcut] if hasattr(layer, "nin_shortcut") else []
        return resnet(x, NONE, layer.norm1, layer.conv1, layer.norm2, layer.conv2, *skip)

    d, side = vae.decoder, z.shape[-1]
    x = block(d.mid["block_1"], first(d.conv_in, vae.post_quant_conv(z)))
    x = d.mid["attn_1"](x.float().permute(1, 2, 0).unflatten(2, (side, side)))
    x = block(d.mid["block_2"], x.flatten(2).permute(2, 0, 1).bfloat16().contiguous())
    for level in reversed(d.up):
        for layer in level["block"]:
            x = block(layer, x)
        if "upsample" in level:
            conv = level["upsample"].conv
            x = Conv.apply(x, conv.weight, conv.bias, TWICE)
    return last(d.norm_out, d.conv_out, x)


def adamw(group, average, clip, keep, state):
    """One step of a group's parameters and of their running averages."""
    made = [(p.detach(), p.grad if p.grad.stride() == p.stride() else torch.empty_like(p).copy_(p.grad),
             state[p]["exp_avg"], state[p]["exp_avg_sq"], a) for p, a in zip(group["params"], average)]
    count = int(state[group["params"][0]]["step"].item())
    ext.adamw(*(list(t) for t in zip(*made)), clip, group["lr"], *group["betas"], group["eps"],
              group["weight_decay"], count, keep)
