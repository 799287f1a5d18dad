"""Makes random-weight files of the sizes of FLUX.2 klein 4B and Z-Image, as they lie about: a
transformer, a text encoder and an autoencoder for each.

Not for CI: a quantised family is 9 to 11 GB of disk, one in BF16 16 to 21 GB.

usage: fullsize_flow.py FOLDER [--family klein|zimage] [--bf16]

FOLDER/diffusion_models/flux-2-klein-4b.gguf or z_image_turbo.gguf  ComfyUI's names, linear layers Q8_0
FOLDER/text_encoders/qwen_3_4b.gguf                                 llama.cpp's names, Q8_0
FOLDER/vae/flux2-vae.safetensors or ae.safetensors                  published names, BF16

With --bf16 the first two are .safetensors, the encoder under transformers' names.
"""

import argparse
import json
import math
import pathlib

import gguf
import numpy as np

POOL = 1 << 24  # random numbers that weights are cut from, each from another place on
RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal(POOL, np.float32)


def klein(width=3072, head=128, doubles=5, singles=20, text=7680, channels=128):
    yield "img_in.weight", (width, channels)
    yield "txt_in.weight", (width, text)
    yield "time_in.in_layer.weight", (width, 256)
    yield "time_in.out_layer.weight", (width, width)
    yield "double_stream_modulation_img.lin.weight", (6 * width, width)
    yield "double_stream_modulation_txt.lin.weight", (6 * width, width)
    yield "single_stream_modulation.lin.weight", (3 * width, width)
    yield "final_layer.linear.weight", (channels, width)
    yield "final_layer.adaLN_modulation.1.weight", (2 * width, width)
    for i in range(doubles):
        for side in ("img", "txt"):
            yield f"double_blocks.{i}.{side}_attn.qkv.weight", (3 * width, width)
            yield f"double_blocks.{i}.{side}_attn.norm.query_norm.scale", (head,)
            yield f"double_blocks.{i}.{side}_attn.norm.key_norm.scale", (head,)
            yield f"double_blocks.{i}.{side}_attn.proj.weight", (width, width)
            yield f"double_blocks.{i}.{side}_mlp.0.weight", (6 * width, width)
            yield f"double_blocks.{i}.{side}_mlp.2.weight", (width, 3 * width)
    for i in range(singles):
        yield f"single_blocks.{i}.linear1.weight", (9 * width, width)
        yield f"single_blocks.{i}.linear2.weight", (width, 4 * width)
        yield f"single_blocks.{i}.norm.query_norm.scale", (head,)
        yield f"single_blocks.{i}.norm.key_norm.scale", (head,)


def zimage(width=3840, head=128, inside=10240, text=2560, layers=30):
    yield "x_embedder.weight", (width, 64)
    yield "x_embedder.bias", (width,)
    yield "t_embedder.mlp.0.weight", (1024, 256)
    yield "t_embedder.mlp.0.bias", (1024,)
    yield "t_embedder.mlp.2.weight", (256, 1024)
    yield "t_embedder.mlp.2.bias", (256,)
    yield "cap_embedder.0.weight", (text,)
    yield "cap_embedder.1.weight", (width, text)
    yield "cap_embedder.1.bias", (width,)
    yield "x_pad_token", (1, width)
    yield "cap_pad_token", (1, width)
    yield "final_layer.linear.weight", (64, width)
    yield "final_layer.linear.bias", (64,)
    yield "final_layer.adaLN_modulation.1.weight", (width, 256)
    yield "final_layer.adaLN_modulation.1.bias", (width,)
    for part, count in (("noise_refiner", 2), ("context_refiner", 2), ("layers", layers)):
        for i in range(count):
            at = f"{part}.{i}."
            yield at + "attention.qkv.weight", (3 * width, width)
            yield at + "attention.out.weight", (width, width)
            yield at + "attention.q_norm.weight", (head,)
            yield at + "attention.k_norm.weight", (head,)
            for name in ("attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2"):
                yield at + name + ".weight", (width,)
            yield at + "feed_forward.w1.weight", (inside, width)
            yield at + "feed_forward.w3.weight", (inside, width)
            yield at + "feed_forward.w2.weight", (width, inside)
            if part != "context_refiner":
                yield at + "adaLN_modulation.0.weight", (4 * width, 256)
                yield at + "adaLN_modulation.0.bias", (4 * width,)


def qwen3(llama, width=2560, layers=36, heads=32, kv=8, head=128, inside=9728, vocabulary=151936):
    parts = [  # by transformers, by llama.cpp
        ("input_layernorm", "attn_norm", (width,)),
        ("self_attn.q_proj", "attn_q", (heads * head, width)),
        ("self_attn.k_proj", "attn_k", (kv * head, width)),
        ("self_attn.v_proj", "attn_v", (kv * head, width)),
        ("self_attn.o_proj", "attn_output", (width, heads * head)),
        ("self_attn.q_norm", "attn_q_norm", (head,)),
        ("self_attn.k_norm", "attn_k_norm", (head,)),
        ("post_attention_layernorm", "ffn_norm", (width,)),
        ("mlp.gate_proj", "ffn_gate", (inside, width)),
        ("mlp.up_proj", "ffn_up", (inside, width)),
        ("mlp.down_proj", "ffn_down", (width, inside)),
    ]
    yield ("token_embd" if llama else "model.embed_tokens") + ".weight", (vocabulary, width)
    yield ("output_norm" if llama else "model.norm") + ".weight", (width,)
    for i in range(layers):
        for theirs, short, shape in parts:
            yield (f"blk.{i}.{short}" if llama else f"model.layers.{i}.{theirs}") + ".weight", shape


def vae(channels, patched):
    """An AutoencoderKL of 128, 256, 512, 512 channels; `patched`: FLUX.2's."""
    def conv(name, n, k, side=3):
        yield name + ".weight", (n, k, side, side)
        yield name + ".bias", (n,)

    def norm(name, n):
        yield name + ".weight", (n,)
        yield name + ".bias", (n,)

    def block(name, k, n):
        yield from norm(name + ".norm1", k)
        yield from conv(name + ".conv1", n, k)
        yield from norm(name + ".norm2", n)
        yield from conv(name + ".conv2", n, n)
        if k != n:
            yield from conv(name + ".nin_shortcut", n, k, 1)

    def middle(name):
        yield from block(name + ".mid.block_1", 512, 512)
        yield from norm(name + ".mid.attn_1.norm", 512)
        for part in ("q", "k", "v", "proj_out"):
            yield from conv(name + ".mid.attn_1." + part, 512, 512, 1)
        yield from block(name + ".mid.block_2", 512, 512)

    widths = (128, 256, 512, 512)
    yield from conv("encoder.conv_in", 128, 3)
    for i, n in enumerate(widths):
        for j in range(2):
            yield from block(f"encoder.down.{i}.block.{j}", widths[max(i - 1, 0)] if j == 0 else n, n)
        if i < 3:
            yield from conv(f"encoder.down.{i}.downsample.conv", n, n)
    yield from middle("encoder")
    yield from norm("encoder.norm_out", 512)
    yield from conv("encoder.conv_out", 2 * channels, 512)
    yield from conv("decoder.conv_in", 512, channels)
    yield from middle("decoder")
    for i, n in enumerate(widths):
        for j in range(3):
            yield from block(f"decoder.up.{i}.block.{j}", widths[min(i + 1, 3)] if j == 0 else n, n)
        if i > 0:
            yield from conv(f"decoder.up.{i}.upsample.conv", n, n)
    yield from norm("decoder.norm_out", 128)
    yield from conv("decoder.conv_out", 3, 128)
    if patched:
        yield from conv("encoder.quant_conv", 2 * channels, 2 * channels, 1)
        yield from conv("decoder.post_quant_conv", channels, channels, 1)
        yield "bn.running_mean", (4 * channels,)
        yield "bn.running_var", (4 * channels,)


def numbers(name, shape):
    """Float32: a norm's are ones, a bias's zeros, a weight's as large as keeps what it is given."""
    count = math.prod(shape)
    if name.endswith("bias") or name.endswith("mean"):
        return np.zeros(shape, np.float32)
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    flat = np.empty(count, np.float32)
    for at in range(0, count, POOL):
        some = min(POOL, count - at)
        flat[at:at + some] = np.roll(NORMAL, int(RNG.integers(POOL)))[:some]
    return (flat / math.sqrt(math.prod(shape[1:]))).reshape(shape)


def bfloat16(x):
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def write_safetensors(path, tensors):
    tensors = list(tensors)
    header, at = {}, 0
    for name, shape in tensors:
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors:
            file.write(bfloat16(numbers(name, shape)).tobytes())


def write_gguf(path, architecture, tensors, facts=()):
    """Matrices whose rows are whole blocks are Q8_0, the others F32."""
    writer = gguf.GGUFWriter(path, architecture, use_temp_file=True)
    for key, value in facts:
        writer.add_key_value(key, value, gguf.GGUFValueType.FLOAT32 if isinstance(value, float)
                             else gguf.GGUFValueType.UINT32)
    for name, shape in tensors:
        x = numbers(name, shape)
        if len(shape) == 2 and shape[0] > 1 and shape[1] % 32 == 0:
            q = gguf.quants.quantize(x, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, q, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, x)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file(progress=True)
    writer.close()


QWEN = [("qwen3.block_count", 36), ("qwen3.embedding_length", 2560), ("qwen3.attention.head_count", 32),
        ("qwen3.attention.head_count_kv", 8), ("qwen3.attention.key_length", 128),
        ("qwen3.rope.freq_base", 1e6), ("qwen3.attention.layer_norm_rms_epsilon", 1e-6)]


def main():
    args = argparse.ArgumentParser()
    args.add_argument("folder", type=pathlib.Path)
    args.add_argument("--family", default="klein", choices=("klein", "zimage"))
    args.add_argument("--bf16", action="store_true")
    args = args.parse_args()
    is_klein = args.family == "klein"
    for part in ("diffusion_models", "text_encoders", "vae"):
        (args.folder / part).mkdir(parents=True, exist_ok=True)
    network = args.folder / "diffusion_models" / ("flux-2-klein-4b" if is_klein else "z_image_turbo")
    encoder = args.folder / "text_encoders" / "qwen_3_4b"
    tensors = klein() if is_klein else zimage()
    if args.bf16:
        write_safetensors(network.with_suffix(".safetensors"), tensors)
        write_safetensors(encoder.with_suffix(".safetensors"), qwen3(False))
    else:
        write_gguf(f"{network}.gguf", "flux" if is_klein else "lumina2", tensors)
        write_gguf(f"{encoder}.gguf", "qwen3", qwen3(True), QWEN)
    write_safetensors(args.folder / "vae" / ("flux2-vae.safetensors" if is_klein else "ae.safetensors"),
                      vae(32 if is_klein else 16, is_klein))


if __name__ == "__main__":
    main()
