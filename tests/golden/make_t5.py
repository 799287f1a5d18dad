"""Makes the tensors and tokens that T5 is checked against (README.md, "t5").

usage: make_t5.py              (needs the packages of requirements-flow.txt)
       make_t5.py COUNT FILE   so many odd texts, for a look: T5_TOKENS=FILE build/tests/t5_test

A vocabulary that SentencePiece trains on texts in the public domain, ids by it, and a small random
T5 encoder of transformers', in its layout and in llama.cpp's, with its states.
"""

import io
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
from transformers import T5Config, T5EncoderModel

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "t5")
SEED, PIECES = 5, 384
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
# Carroll, Shakespeare, Lincoln, Melville, Austen, the King James Bible, Goethe, Verlaine, Basho.
CORPUS = """
Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or
twice she had peeped into the book her sister was reading, but it had no pictures or conversations in it, "and what is
the use of a book," thought Alice "without pictures or conversations?" So she was considering in her own mind (as well
as she could, for the hot day made her feel very sleepy and stupid), whether the pleasure of making a daisy-chain would
be worth the trouble of getting up and picking the daisies, when suddenly a White Rabbit with pink eyes ran close by her.
There was nothing so very remarkable in that; nor did Alice think it so very much out of the way to hear the Rabbit say
to itself, "Oh dear! Oh dear! I shall be late!" But when the Rabbit actually took a watch out of its waistcoat-pocket,
and looked at it, and then hurried on, Alice started to her feet, for it flashed across her mind that she had never
before seen a rabbit with either a waistcoat-pocket, or a watch to take out of it.
Shall I compare thee to a summer's day? Thou art more lovely and more temperate: Rough winds do shake the darling buds
of May, And summer's lease hath all too short a date: Sometime too hot the eye of heaven shines, And often is his gold
complexion dimm'd; And every fair from fair sometime declines, By chance or nature's changing course untrimm'd; But thy
eternal summer shall not fade Nor lose possession of that fair thou owest; Nor shall Death brag thou wander'st in his
shade, When in eternal lines to time thou growest: So long as men can breathe or eyes can see, So long lives this and
this gives life to thee.
Four score and seven years ago our fathers brought forth, upon this continent, a new nation, conceived in liberty, and
dedicated to the proposition that all men are created equal. Now we are engaged in a great civil war, testing whether
that nation, or any nation so conceived, and so dedicated, can long endure. We are met on a great battle-field of that
war. We have come to dedicate a portion of that field, as a final resting place for those who here gave their lives that
that nation might live. It is altogether fitting and proper that we should do this.
Call me Ishmael. Some years ago - never mind how long precisely - having little or no money in my purse, and nothing
particular to interest me on shore, I thought I would sail about a little and see the watery part of the world. It is a
way I have of driving off the spleen and regulating the circulation.
It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.
In the beginning God created the heaven and the earth. And the earth was without form, and void; and darkness was upon
the face of the deep. And the Spirit of God moved upon the face of the waters. And God said, Let there be light: and
there was light. And God saw the light, that it was good: and God divided the light from the darkness. And God called
the light Day, and the darkness he called Night. And the evening and the morning were the first day.
Wer reitet so spät durch Nacht und Wind? Es ist der Vater mit seinem Kind; er hat den Knaben wohl in dem Arm, er faßt
ihn sicher, er hält ihn warm. Mein Sohn, was birgst du so bang dein Gesicht? Siehst, Vater, du den Erlkönig nicht?
Les sanglots longs des violons de l'automne blessent mon cœur d'une langueur monotone. Tout suffocant et blême, quand
sonne l'heure, je me souviens des jours anciens et je pleure.
古池や 蛙飛びこむ 水の音。 閑さや 岩にしみ入る 蝉の声。
1 2 3 4 5 6 7 8 9 10 100 1867 1863 0.5 8K 4x4
"""
TEXTS = [
    "", " ", "\n", "a", "a red rabbit", "A White Rabbit", "  leading", "trailing   ", "two  spaces\tand\ttabs\n\nlines",
    "summer's day", "(detailed face:1.2), [blurry]", "8K, 1867", "Vater und Sohn, faßt", "cœur blême", "古池や蛙",
    "\u00a0x\u2003y\u3000z", "Ａｌｉｃｅ　１２３", "ﬁne ﬀ ĳ ½ ² Ⅷ", "e\u0301 vs é", "a\u0301\u0323", "zero\u200bwidth",
    "▁ ▁▁ x▁y", "\u2581", "🐱🐈‍⬛ 👩‍🚀", "мяу кошка", "고양이", "\x01\x07\x1b", "</s> <pad> <unk> <s>", "<extra_id_0>",
    "a" * 300, "the" * 100, "🐱" * 40, "x\u0300\u0301\u0302", "\ufeffstart", "soft\u00adhyphen", "～ 〜 ｡ ､ ﾊﾝｶｸ", "㍿ ㌔ ①",
    "don't I'll we're", "https://example.org/a?b=c", "~!@#$%^&*()_+", "\u0000".join(["a", "b"]),
]


def odd(rng):
    pieces = [
        lambda: rng.choice(TEXTS)[:60],
        lambda: rng.choice([" ", "  ", "   ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\x85", " \n", "\u2581"]),
        lambda: "".join(chr(rng.randrange(33, 127)) for _ in range(rng.randrange(1, 12))),
        lambda: "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABC") for _ in range(rng.randrange(1, 15))),
        lambda: str(rng.randrange(10 ** rng.randrange(1, 9))),
        lambda: chr(rng.choice([rng.randrange(0x80, 0x800), rng.randrange(0x900, 0x2fff), rng.randrange(0x3040, 0x9fff),
                                rng.randrange(0xac00, 0xd7a3), rng.randrange(0x1f300, 0x1faff), rng.randrange(0xf900, 0xfdff),
                                rng.randrange(0xff00, 0xffef), rng.randrange(0x300, 0x370), rng.randrange(0x10000, 0x1f000)])),
        lambda: rng.choice(CORPUS.split()),
        lambda: " " + rng.choice(CORPUS.split()),
        lambda: rng.choice([" the", " Photo", " of", "ing", " un", "ness", "tion", ", ", ". ", "; ", ": ", "(", ")", "-"]),
    ]
    return "".join(rng.choice(pieces)() for _ in range(rng.randrange(1, 20)))


def train():
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.replace("\n", " ").split(". ")),
        model_writer=out,
        vocab_size=PIECES,
        model_type="unigram",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>",
        normalization_rule_name="nmt_nfkc",
        character_coverage=0.9995,
        num_threads=1,
        minloglevel=2,
    )
    return out.getvalue()


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
