"""Writes web/words.js: what the model inside the binary was told in captions, for the page, which offers
its nouns and says gently which words of a prompt mean nothing to it. Run it when there are new weights.
"""
import argparse
import ast
import pathlib
import re
import figures
import pairs
import views

HERE = pathlib.Path(__file__).resolve().parent


def words_of(text):
    return re.findall(r"[a-z]+", text.lower())


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--subjects", default=HERE / "subjects.txt", type=pathlib.Path)
    args.add_argument("--scenes", default=HERE / "scenes.py", type=pathlib.Path)
    args.add_argument("--out", default=HERE.parents[2] / "web" / "words.js", type=pathlib.Path)
    args = args.parse_args()
    nouns, words = [], set()
    for line in args.subjects.read_text().splitlines():
        if not line.strip() or line[0] in "#@":
            continue
        first, captions = (line.split("|") + [""])[:2]
        noun = first.split(":")[0].strip()
        if noun[0] == "*":
            noun = noun[1:].strip()
            nouns.append(noun)
        words.update(words_of(noun + " " + captions))
    captions = [c for view in views.VIEWS.values() for c in view[0]]
    captions += [said for _, them, _ in figures.figures() for said in them]
    captions += [words for *_, words in pairs.KINDS.values()]
    for caption in captions:
        words.update(w for w in words_of(caption) if len(w) > 1)
    for node in ast.walk(ast.parse(args.scenes.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 60:
            words.update(words_of(node.value))
    args.out.write_text(
        "/* words.js: the captions of the built-in model's training (engine/builtin/train/words.py). */\n"
        "/* Things that it paints best. */\n"
        f"export const NOUNS = '{','.join(nouns)}'.split(',');\n"
        "/* All words that it was told; others mean nothing to it. */\n"
        f"export const WORDS = new Set('{' '.join(sorted(words))}'.split(' '));\n")


if __name__ == "__main__":
    main()
