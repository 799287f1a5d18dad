"""A random-weight Stable Diffusion 1.x model of any width: its shapes, its weights, its names.

Every tensor is drawn from its own generator, seeded by its name, so that the weights do not depend
on the order in which they are made, and a model too large to hold can be written tensor by tensor.
Weights are rounded to values that bfloat16 and float16 both hold exactly: a loader may read the
file as F32, F16 or BF16 and must compute with the same numbers.
"""

import json
import math
import struct
import zlib

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

SEED = 20240229


class Shape:
    """The widths in which a tiny model differs from SD 1.5."""

    def __init__(self, text_width, text_layers, unet_channels, vae_channels):
        self.text = CLIPTextConfig(
            vocab_size=49408,
            hidden_size=text_width,
            intermediate_size=4 * text_width,
            num_hidden_layers=text_layers,
            num_attention_heads=text_width // 64,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            layer_norm_eps=1e-5,
            bos_token_id=49406,
            eos_token_id=49407,
            pad_token_id=49407,
        )
        self.text._attn_implementation = "eager"
        self.unet = dict(
            sample_size=64,
            in_channels=4,
            out_channels=4,
            block_out_channels=unet_channels,
            layers_per_block=2,
            attention_head_dim=8,
            cross_attention_dim=text_width,
            norm_num_groups=32,
        )
        self.vae = dict(
            sample_size=512,
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=vae_channels,
            layers_per_block=2,
            norm_num_groups=32,
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            scaling_factor=0.18215,
        )

    def modules(self, device=None):
        """The three modules, uninitialised where device is "meta"."""
        with torch.device(device or "cpu"):
            return {
                "text_encoder": CLIPTextModel(self.text).eval(),
                "unet": UNet2DConditionModel(**self.unet).eval(),
                "vae": AutoencoderKL(**self.vae).eval(),
            }


TINY = Shape(64, 2, (32, 32, 64, 64), (32, 32, 64, 32))
FULL = Shape(768, 12, (320, 640, 1280, 1280), (128, 256, 512, 512))


# Weights.


def is_norm(key):
    return key.split(".")[-2].startswith(
        ("norm", "conv_norm", "group_norm", "layer_norm", "final_layer_norm")
    )


# Gains that keep activations near unit size: convolutions behind a SiLU see about 0.6 of unit size,
# branches that are added to a residual should not swamp it, queries and keys make the softmax pick.
GAINS = [
    ("to_q", 1.5),
    ("to_k", 1.5),
    ("q_proj", 1.5),
    ("k_proj", 1.5),
    ("conv1", 1.5),
    ("conv2", 1.0),
    ("time_emb_proj", 2.0),
    ("linear_2", 1.5),
    ("encoder.conv_out", 5.0),
    ("decoder.conv_out", 0.8),
    ("conv_out", 1.6),
]


def exact(t):
    """The nearest float32 values that bfloat16 and float16 hold too."""
    return t.bfloat16().half().float()


def random_weight(component, key, shape):
    """float32 tensor whose values are exact in bfloat16 and in float16."""
    rng = np.random.Generator(np.random.PCG64([SEED, zlib.crc32(f"{component}.{key}".encode())]))
    if key.endswith("token_embedding.weight") and shape[1] == 64:
        # Two bits a value: still a different row for every token, and the file compresses.
        values = (2 * rng.integers(0, 4, size=shape) - 3) * np.float32(0.25)
    elif key.endswith("embedding.weight"):
        values = rng.standard_normal(shape, dtype=np.float32) * 0.5
    elif is_norm(key):
        values = rng.standard_normal(shape, dtype=np.float32) * 0.2
        values += 1 if key.endswith(".weight") else 0
    elif key.endswith(".bias"):
        values = rng.standard_normal(shape, dtype=np.float32) * 0.1
    else:
        gain = next((g for part, g in GAINS if part in key), 1.0)
        values = rng.standard_normal(shape, dtype=np.float32)
        values *= gain / math.sqrt(math.prod(shape[1:]))
    return exact(torch.from_numpy(values.astype(np.float32)))


def fill(component, module):
    """Gives a module its random weights, in float32."""
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(random_weight(component, canonical(component, key), tensor.shape))


# Names.


def canonical(component, key):
    """The name that published checkpoints have, whichever transformers version made the module."""
    if component == "text_encoder" and not key.startswith("text_model."):
        return "text_model." + key
    return key


def ldm_resnet(rest):
    for a, b in [
        ("norm1", "in_layers.0"),
        ("conv1", "in_layers.2"),
        ("time_emb_proj", "emb_layers.1"),
        ("norm2", "out_layers.0"),
        ("conv2", "out_layers.3"),
        ("conv_shortcut", "skip_connection"),
    ]:
        rest = rest.replace(a, b)
    return rest


def ldm_unet(key, blocks=2, bare_levels=(0,)):
    """`blocks`: resnets a level going down; `bare_levels`: levels going up without attention."""
    fixed = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    stem, leaf = key.rsplit(".", 1)
    if stem in fixed:
        return f"{fixed[stem]}.{leaf}"
    part = key.split(".")
    if part[0] == "mid_block":
        at, rest = int(part[2]), ".".join(part[3:])
        if part[1] == "resnets":
            return f"middle_block.{2 * at}.{ldm_resnet(rest)}"
        return f"middle_block.1.{rest}"
    level, kind, j, rest = int(part[1]), part[2], int(part[3]), ".".join(part[4:])
    if part[0] == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(blocks + 1) * (level + 1)}.0.op.{leaf}"
        block = f"input_blocks.{(blocks + 1) * level + 1 + j}"
    else:
        if kind == "upsamplers":
            # Without attention the upsampler sits one place earlier.
            place = 1 if level in bare_levels else 2
            return f"output_blocks.{(blocks + 1) * (level + 1) - 1}.{place}.conv.{leaf}"
        block = f"output_blocks.{(blocks + 1) * level + j}"
    return f"{block}.0.{ldm_resnet(rest)}" if kind == "resnets" else f"{block}.1.{rest}"


def ldm_vae(key):
    part = key.split(".")
    if part[0] in ("quant_conv", "post_quant_conv"):
        return key
    side, rest = part[0], part[1:]
    if rest[0] == "conv_norm_out":
        rest[0] = "norm_out"
    elif rest[0] == "mid_block":
        at = int(rest[2])
        name = f"block_{at + 1}" if rest[1] == "resnets" else "attn_1"
        tail = ".".join(rest[3:])
        if rest[1] == "attentions":
            for a, b in [
                ("group_norm", "norm"),
                ("to_q", "q"),
                ("to_k", "k"),
                ("to_v", "v"),
                ("to_out.0", "proj_out"),
            ]:
                tail = tail.replace(a, b)
        rest = ["mid", name, tail]
    elif rest[0] in ("down_blocks", "up_blocks"):
        level = int(rest[1])
        # LDM counts decoder levels from the picture inwards.
        where = f"down.{level}" if rest[0] == "down_blocks" else f"up.{3 - level}"
        tail = ".".join(rest[4:])
        if rest[2] == "resnets":
            rest = [where, f"block.{rest[3]}", tail.replace("conv_shortcut", "nin_shortcut")]
        else:
            rest = [where, "downsample" if rest[2] == "downsamplers" else "upsample", tail]
    return ".".join([side] + rest)


def ldm_name(component, key):
    """The name of a diffusers weight in a single-file checkpoint."""
    if component == "text_encoder":
        return "cond_stage_model.transformer." + key
    if component == "unet":
        return "model.diffusion_model." + ldm_unet(key)
    return "first_stage_model." + ldm_vae(key)


def ldm_shape(component, key, shape):
    """The VAE's attention projections are 1x1 convolutions there and linear layers in diffusers."""
    if component == "vae" and ".attentions." in key and len(shape) == 2:
        return tuple(shape) + (1, 1)
    return tuple(shape)


def weights_of(modules):
    """(component, diffusers name, shape) of every weight."""
    for component, module in modules.items():
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                yield component, canonical(component, key), tuple(tensor.shape)


def scheduler_tables():
    """betas and alphas_cumprod as single-file checkpoints carry them, float32."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=np.float64) ** 2
    return betas.astype(np.float32), np.cumprod(1 - betas).astype(np.float32)


def write_ldm(path, modules, given=()):
    """Writes the single-file checkpoint, one tensor in memory at a time; needs only shapes.

    given: (component, diffusers name) -> tensor, in place of random weights.
    """
    given = dict(given)
    betas, alphas_cumprod = scheduler_tables()
    extra = {
        "betas": betas,
        "alphas_cumprod": alphas_cumprod,
        "cond_stage_model.transformer.text_model.embeddings.position_ids": np.arange(
            77, dtype=np.int64
        ).reshape(1, 77),
    }
    dtypes = {np.dtype("float32"): "F32", np.dtype("int64"): "I64"}
    # Widest element first keeps every tensor aligned to its own size.
    entries = [(name, dtypes[a.dtype], a.shape, a.nbytes, None) for name, a in extra.items()]
    entries.sort(key=lambda e: (-np.dtype(extra[e[0]].dtype).itemsize, e[0]))
    weights = []
    for component, key, shape in weights_of(modules):
        name = ldm_name(component, key)
        weights.append(
            (
                name,
                "F16",
                ldm_shape(component, key, shape),
                2 * math.prod(shape),
                (component, key, shape),
            )
        )
    entries += sorted(weights)
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape, size, _ in entries:
        assert name not in header, name
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, _, _, _, source in entries:
            if source is None:
                f.write(extra[name].tobytes())
                continue
            weight = given.get(source[:2])
            weight = random_weight(*source) if weight is None else exact(weight)
            f.write(weight.half().numpy().tobytes())


def read_ldm(path, modules, partial=False):
    """Loads a single-file checkpoint; unless partial, nothing of it may be left over."""
    from safetensors import safe_open

    with safe_open(path, "pt") as f, torch.no_grad():
        left = {
            k
            for k in f.keys()
            if k.startswith(("model.", "first_stage_model.", "cond_stage_model."))
            and not k.endswith("position_ids")
        }
        for component, module in modules.items():
            for key, tensor in module.state_dict().items():
                if not tensor.is_floating_point():
                    continue
                name = ldm_name(component, canonical(component, key))
                tensor.copy_(f.get_tensor(name).reshape(tensor.shape))
                left.remove(name)
    assert partial or not left, left
