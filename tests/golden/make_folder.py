"""Writes the tiny model as a diffusers folder, with Python's standard library alone.

usage: make_folder.py [--old-vae-names] FOLDER

tiny/diffusers/ holds the folder's JSON files and names.tsv, which says for each weight the file it
goes to, its name there, its name in the single file, and its shape there. The bytes are the same,
so a program in any language can do what this one does: for each file a header, then the bytes in
order. --old-vae-names gives the attention of the VAE the names of 2022 (query, key, ...).
"""

import json
import os
import shutil
import struct
import sys

TINY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny")
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def main():
    old = "--old-vae-names" in sys.argv
    folders = [a for a in sys.argv[1:] if not a.startswith("--")]
    if len(folders) != 1:
        sys.exit(__doc__)
    out = folders[0]
    shutil.copytree(
        os.path.join(TINY, "diffusers"),
        out,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("names.tsv"),
    )
    with open(os.path.join(TINY, "tiny-ldm.safetensors"), "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        source, data = json.loads(f.read(size)), f.read()
    files = {}
    with open(os.path.join(TINY, "diffusers", "names.tsv"), encoding="ascii") as f:
        for line in f:
            path, name, ldm, shape = line.rstrip("\n").split("\t")
            if old and path.startswith("vae/") and ".attentions." in name:
                for new, old_name in OLD_NAMES.items():
                    name = name.replace(new, old_name)
            files.setdefault(path, []).append((name, ldm, [int(n) for n in shape.split(",")]))
    for path, weights in files.items():
        header, body = {"__metadata__": {"format": "pt"}}, []
        offset = 0
        for name, ldm, shape in weights:
            start, end = source[ldm]["data_offsets"]
            header[name] = {
                "dtype": source[ldm]["dtype"],
                "shape": shape,
                "data_offsets": [offset, offset + end - start],
            }
            offset += end - start
            body.append(data[start:end])
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(os.path.join(out, path), "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text + b"".join(body))


if __name__ == "__main__":
    main()
