"""Makes the tensors and tokens that T5 is checked against (README.md, "t5").

usage: make_t5.py              (needs the packages of requirements-flow.txt)
       make_t5.py COUNT FILE   so many odd texts, for a look: T5_TOKENS=FILE build/tests/t5_test

A vocabulary that SentencePiece trains on texts in the public domain, ids by it, and a small random
T5 encoder of transformers', in its layout and in llama.cpp's, with its states.
"""

import json
import os
import random
import sys
import unicodedata
import zlib

import gguf
import numpy as np
import sentencepiece
import torch
from safetensors.torch import save_file
from t5_texts import PIECES, TEXTS, odd, train
from transformers import T5Config, T5EncoderModel

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "t5")
SEED = 5
CONFIG = dict(
    vocab_size=PIECES + 8,
    d_model=96,
    d_kv=16,
    d_ff=128,
    num_layers=3,
    num_heads=6,
    relative_attention_num_buckets=32,
    relative_attention_max_distance=128,
    feed_forward_proj="gated-gelu",
    layer_norm_epsilon=1e-6,
)

def weight(name, shape):
    """Of few bits a value; every value is exact in F16 and BF16."""
    rng = np.random.Generator(np.random.PCG64([SEED, zlib.crc32(name.encode())]))
    if len(shape) < 2:
        return torch.from_numpy((1 + rng.integers(-16, 17, size=shape) / 64).astype(np.float32))
    if "relative_attention_bias" in name:
        return torch.from_numpy((rng.integers(-32, 33, size=shape) / 16).astype(np.float32))
    gain = 1.0 if "shared" in name or "embed" in name else shape[-1] ** -0.5 * (0.5 if ".q." in name else 1.0)
    scale = 2.0 ** round(np.log2(gain / np.sqrt(5)))
    return torch.from_numpy(((2 * rng.integers(0, 4, size=shape) - 3) * scale).astype(np.float32))


def llama(state, path, tokens):
    """As llama.cpp names it; weights whose rows allow it in blocks of Q8_0."""
    names = {
        "layer.0.layer_norm": "attn_norm", "layer.0.SelfAttention.q": "attn_q", "layer.0.SelfAttention.k": "attn_k",
        "layer.0.SelfAttention.v": "attn_v", "layer.0.SelfAttention.o": "attn_o",
        "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b", "layer.1.layer_norm": "ffn_norm",
        "layer.1.DenseReluDense.wi_0": "ffn_gate", "layer.1.DenseReluDense.wi_1": "ffn_up",
        "layer.1.DenseReluDense.wo": "ffn_down",
    }
    writer = gguf.GGUFWriter(path, "t5encoder")
    writer.add_tokenizer_model("t5")
    sp = sentencepiece.SentencePieceProcessor(model_proto=tokens)
    kinds = lambda i: 2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 5 if sp.is_unused(i) else 1
    extra = CONFIG["vocab_size"] - sp.get_piece_size()
    writer.add_token_list([sp.id_to_piece(i).encode() for i in range(PIECES)] + [f"[PAD{i}]".encode() for i in range(extra)])
    writer.add_token_scores([sp.get_score(i) for i in range(PIECES)] + [-1000.0] * extra)
    writer.add_token_types([kinds(i) for i in range(PIECES)] + [5] * extra)
    from sentencepiece import sentencepiece_model_pb2
    model = sentencepiece_model_pb2.ModelProto.FromString(tokens)
    writer.add_precompiled_charsmap(model.normalizer_spec.precompiled_charsmap)
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    for key, value in state.items():
        if key == "encoder.embed_tokens.weight":
            continue
        name = {"shared.weight": "token_embd", "encoder.final_layer_norm.weight": "enc.output_norm"}.get(key)
        if not name:
            _, _, n, rest = key.split(".", 3)
            name = f"enc.blk.{n}.{names[rest.removesuffix('.weight')]}"
        value = value.numpy()
        if value.ndim == 2 and value.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(f"{name}.weight", gguf.quants.quantize(value, kind), raw_dtype=kind)
        else:
            writer.add_tensor(f"{name}.weight", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rounded(state):
    """What the blocks of Q8_0 say."""
    out, kind = {}, gguf.GGMLQuantizationType.Q8_0
    for key, value in state.items():
        if value.ndim == 2 and value.shape[1] % 32 == 0:
            value = torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(value.numpy(), kind), kind))
        out[key] = value
    return out


def states(model, ids, dtype):
    return model.to(dtype)(input_ids=torch.tensor([ids])).last_hidden_state[0]


def main():
    os.makedirs(FOLDER, exist_ok=True)
    spiece = os.path.join(FOLDER, "spiece.model")
    if len(sys.argv) < 2:
        with open(spiece, "wb") as f:
            f.write(train())
    with open(spiece, "rb") as f:
        tokens = f.read()
    sp = sentencepiece.SentencePieceProcessor(model_proto=tokens)
    rng = random.Random(SEED)
    count, path = (int(sys.argv[1]), sys.argv[2]) if len(sys.argv) > 2 else (300, os.path.join(FOLDER, "tokens.json"))
    texts = TEXTS + [odd(rng) for _ in range(count)]
    texts = [t for t in texts if "\0" not in t]
    with open(path, "w", encoding="utf-8") as f:
        f.write("[" + ",\n".join(json.dumps({"text": t, "ids": sp.encode(t)}, separators=(",", ":")) for t in texts) + "]\n")
    if len(sys.argv) > 1:
        return
    torch.manual_seed(0)
    model = T5EncoderModel(T5Config(**CONFIG)).eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            tensor.copy_(weight(key.replace("encoder.embed_tokens", "shared"), tuple(tensor.shape)))
        state = {k: v.clone() for k, v in model.state_dict().items()}
        assert all(torch.equal(v, v.half().float()) for v in state.values())
        half = {k: v.half().contiguous() for k, v in state.items() if k != "encoder.embed_tokens.weight"}
        save_file(half, os.path.join(FOLDER, "model.safetensors"))
        llama(state, os.path.join(FOLDER, "model.gguf"), tokens)
        out, lines = {}, []
        words = sp.encode("a red rabbit with a watch") + [1]
        cases = {"short": words, "one": [1], "padded": words + [0] * (77 - len(words)),
                 "long": [(7 * i * i + 3 * i) % PIECES for i in range(300)]}
        for name, ids in cases.items():
            out[f"{name}.ids"] = torch.tensor(ids).float()
            out[name] = states(model, ids, torch.float32)
            double = states(model, ids, torch.float64)
            model.float()
            lines.append(f"{name} {(out[name] - double).norm() / double.norm():.1e}")
        model.load_state_dict(rounded(state))
        out["blocks"] = states(model, words, torch.float32)
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(FOLDER, "states.safetensors"))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
