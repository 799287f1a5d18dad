"""Writes clip_merges.bin: the byte-pair merges of CLIP's vocabulary, as pairs of token ids.

usage: make_merges.py bpe_simple_vocab_16e6.txt.gz

The input is the file that OpenAI published with CLIP; it is in the packages open_clip_torch and
clip-anytorch, among others. Ids 0..255 are the bytes, 256..511 the bytes at the end of a word, and
512 + i what merge i makes, so a merge is fully said by the ids of its two halves: 48894 pairs of
little-endian 16-bit numbers, in order of rank.
"""
import gzip
import os
import struct
import sys

MERGES = 49152 - 256 - 2


def byte_letters():
    """CLIP writes bytes as printable letters; tokens are numbered in the order of this list."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def main():
    with gzip.open(sys.argv[1], "rt", encoding="utf-8") as f:
        merges = f.read().split("\n")[1:MERGES + 1]
    letters = byte_letters()
    ids = {c: i for i, c in enumerate(letters)}
    ids.update({c + "</w>": 256 + i for i, c in enumerate(letters)})
    out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clip_merges.bin")
    with open(out, "wb") as f:
        for i, merge in enumerate(merges):
            left, right = merge.split()
            assert left + right not in ids, merge
            f.write(struct.pack("<2H", ids[left], ids[right]))
            ids[left + right] = 512 + i
    assert len(ids) == 49406, len(ids)


if __name__ == "__main__":
    main()
