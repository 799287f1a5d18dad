#!/usr/bin/env python3
"""Makes tests/golden/qwen3: a small random Qwen3 in transformers' layout and as llama.cpp's GGUF with weights in
blocks, and its states after some layers, by transformers (README.md, "qwen3").

    pip install torch transformers safetensors gguf numpy
    python3 make_qwen3.py"""
import os

import gguf
import numpy
import torch
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "qwen3")
T = gguf.GGMLQuantizationType
LAYERS, VOCAB, PAD = 4, 96, 95
CONFIG = dict(vocab_size=VOCAB, hidden_size=64, intermediate_size=96, num_hidden_layers=LAYERS,
              num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=512,
              rope_theta=1e6, rms_norm_eps=1e-6, tie_word_embeddings=True, attention_bias=False)
LLAMA = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def llama_name(name):
    parts = name.split(".")
    if parts[1] == "layers":
        return f"blk.{parts[2]}.{LLAMA['.'.join(parts[3:-1])]}.weight"
    return {"embed_tokens": "token_embd", "norm": "output_norm"}[parts[1]] + ".weight"


def states(weights, ids, seen):
    """Of layers 0 .. LAYERS - 2, [tokens, width] each; of ids the first `seen` are no padding."""
    model = Qwen3ForCausalLM(Qwen3Config(**CONFIG)).eval().float()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    mask = torch.tensor([[1] * seen + [0] * (len(ids) - seen)])
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]), attention_mask=mask, output_hidden_states=True)
    return [s[0].contiguous() for s in out.hidden_states[1:LAYERS]]


def main():
    os.makedirs(FOLDER, exist_ok=True)
    torch.manual_seed(16)
    weights = {}
    for name, t in Qwen3ForCausalLM(Qwen3Config(**CONFIG)).state_dict().items():
        if name == "lm_head.weight":
            continue
        if t.ndim == 1:
            values = 1 + 0.4 * torch.randn(t.shape)
        else:
            values = torch.randn(t.shape) * (1.5 / t.shape[1] ** 0.5 if "embed" not in name else 1)
        weights[name] = values.half().float()
    save_file({k: v.half() for k, v in weights.items()}, os.path.join(FOLDER, "model.safetensors"))

    out = gguf.GGUFWriter(os.path.join(FOLDER, "model.gguf"), "qwen3")
    out.add_block_count(LAYERS)
    rounded = {}
    for i, (name, t) in enumerate(weights.items()):
        a = t.numpy()
        if t.ndim == 1:
            out.add_tensor(llama_name(name), a)
            rounded[name] = t
            continue
        kind = [T.Q8_0, T.Q5_0, T.Q4_1][i % 3]
        raw = gguf.quants.quantize(a, kind)
        out.add_tensor(llama_name(name), raw, raw_dtype=kind)
        rounded[name] = torch.from_numpy(gguf.quants.dequantize(raw, kind).astype(numpy.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()

    ids = torch.randint(0, PAD, (13,)).tolist()
    wanted = {"ids": torch.tensor(ids + [PAD] * 11).float()}
    for case, w, n, seen in (("plain", weights, 13, 13), ("padded", weights, 24, 13), ("blocks", rounded, 24, 13)):
        for i, s in enumerate(states(w, (ids + [PAD] * 11)[:n], seen)):
            wanted[f"{case}.{i}"] = s
    save_file(wanted, os.path.join(FOLDER, "states.safetensors"))


main()
