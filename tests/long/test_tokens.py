"""Tokens of 10,000 odd texts: Qwen's by PyPI's `tokenizers`, T5's by `sentencepiece`, with a vocabulary that it trains
here. Some hundreds of them are in tests/golden, where the unit tests have them every day; Qwen's there are by the
tokenizer that is published, of which what is built here from the merges must say the same."""
import json
import os
import random
import subprocess
import sys
import time

import pytest
from conftest import ROOT

PACKAGES = ["tokenizers==0.23.3", "sentencepiece==0.2.3"]
COUNT, PIECES = 10000, 400
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
MERGES, BITS = 151387, 36


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """What is needed of them needs nothing else."""
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, *PACKAGES], check=True)
    sys.path[:0] = [str(folder), str(ROOT / "tests/golden")]
    yield
    del sys.path[:2]


def run(name, **environment):
    program = ROOT / os.environ.get("PICTOR", "build/pictor")
    began = time.monotonic()
    done = subprocess.run([program.parent / "tests" / name], cwd=ROOT, env={**os.environ, **environment},
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - began


def qwen():
    """From the merges, as they are in the program."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    data = (ROOT / "engine/text/qwen_merges.bin").read_bytes()
    printable = [b for b in range(256) if 32 < b < 127 or (b > 160 and b != 173)]
    names = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    merges = []
    for at in range(0, MERGES * BITS, BITS):
        bits = int.from_bytes(data[at // 8:at // 8 + 5], "little") >> at % 8
        left, right = (names[bits >> shift & (1 << BITS // 2) - 1] for shift in (0, BITS // 2))
        merges.append((left, right))
        names.append(left + right)
    out = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=merges))
    out.normalizer = normalizers.NFC()
    out.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return out


def test_qwen(packages, tmp_path):
    import make_qwen_tokens
    tokenizer = qwen()
    golden = [c for c in json.loads((ROOT / "tests/golden/qwen3/tokens.json").read_text()) if "text" in c]
    assert all(tokenizer.encode(c["text"]).ids == c["ids"] for c in golden)
    rng = random.Random(time.time_ns())
    texts = [make_qwen_tokens.odd(rng) for _ in range(COUNT)]
    # Long ones, which a tokenizer must not take long for: of one kind, and of pieces.
    texts += [c * 4000 for c in ("a", " ", "\n", "\u0301", "9", "!", "\u4e2d", "ab ")] + ["".join(texts[:500])]
    plain = [encoded.ids for encoded in tokenizer.encode_batch(texts)]
    named = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    cases = [{"text": text, "ids": ids} for text, ids in zip(texts, plain)]
    for case in cases:
        if any(name in case["text"] for name in named) or "<" in case["text"]:
            case["special"] = None  # what names of tokens stand for is held by tests/golden
    (tmp_path / "texts.json").write_text(json.dumps(cases))
    print(f"{len(texts)} texts, {sum(map(len, plain))} tokens, "
          f"{run('qwen_tokenizer_test', QWEN_TOKENS=str(tmp_path / 'texts.json')):.1f} s")


def test_t5(packages, tmp_path):
    import sentencepiece
    import t5_texts
    model = t5_texts.train(PIECES)
    sp = sentencepiece.SentencePieceProcessor(model_proto=model)
    rng = random.Random(time.time_ns())
    texts = [text for text in (t5_texts.odd(rng) for _ in range(COUNT)) if "\0" not in text]
    texts += [c * 4000 for c in ("a", " ", "\n", "\u0301", "9", "\u4e2d", "the ", "\u2581")] + ["".join(texts[:500])]
    ids = sp.encode(texts)
    (tmp_path / "spiece.model").write_bytes(model)
    (tmp_path / "texts.json").write_text(json.dumps([{"text": t, "ids": i} for t, i in zip(texts, ids)]))
    print(f"{len(texts)} texts, {sum(map(len, ids))} tokens, "
          f"{run('t5_test', T5_TOKENS=str(tmp_path / 'texts.json'), T5_SPIECE=str(tmp_path / 'spiece.model')):.1f} s")
