"""Writes dynamic/cases.tsv: templates, and every text that each may become, by PyPI's `dynamicprompts`
(0.31.0, what the SD WebUI's extension is made of).

usage: make_dynamic.py           (needs dynamicprompts and pyparsing)
"""

import os

from dynamicprompts.generators import CombinatorialPromptGenerator, RandomPromptGenerator
from dynamicprompts.wildcards import WildcardManager

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dynamic")
FILES = {
    "color.txt": "# what there is\nred\n  blue \n\n{dark|light} green\n",
    "animal.txt": "cat\n__color__ dog\n",
    "style/ink.txt": "ink\n",
    "style/oil.txt": "oil, {thick|thin}\n",
}
TEMPLATES = [
    "a {red|blue} circle",
    "{a|b}{c|d}",
    "a {red|{dark|light} blue|} circle",
    "{2::red|blue}",
    "{0.5::red|1::blue|green}",
    "{2$$a|b|c}",
    "{1-2$$a|b|c}",
    "{-2$$a|b|c}",
    "{2-$$a|b|c}",
    "{2$$ and $$a|b|c}",
    "{1-2$$ | $$a|b}",
    "{5$$a|b}",
    "a __color__ circle",
    "a __animal__, __style/ink__",
    "__style/*__",
    "{2$$__color__|x}",
    "{2$$ and $$__color__}",
    "{ red | blue } circle",
    "${x={red|blue}} a ${x} circle",
    "${x=!{red|blue}}${x}, ${x}",
    "${y:{red|blue}} circle",
    "${x=red}${y:{green}} ${x}".replace("{green}", "green"),
    "(a {red|blue}:1.2) circle",
    "{a (b:1.1)|[c]}",
    "<lora:{x|y}:0.8> circle",
]


def outcomes(template, manager):
    combined = {str(t) for t in CombinatorialPromptGenerator(manager).generate(template, 2000)}
    drawn = {str(t) for t in RandomPromptGenerator(manager, seed=1).generate(template, 3000)}
    return combined | drawn


def main():
    for name, text in FILES.items():
        path = os.path.join(FOLDER, "wildcards", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    manager = WildcardManager(os.path.join(FOLDER, "wildcards"))
    with open(os.path.join(FOLDER, "cases.tsv"), "w", encoding="utf-8") as f:
        for template in TEMPLATES:
            texts = sorted(outcomes(template, manager))
            assert all("\t" not in t and "\n" not in t for t in texts)
            f.write("\t".join([template, *texts]) + "\n")
            print(len(texts), template)


if __name__ == "__main__":
    main()
