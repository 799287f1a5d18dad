"""Writes tiny/tokens.json: prompts and their CLIP token ids, without start and end tokens.

Needs the packages of requirements-tokens.txt (transformers 4.30 is the last generation with the
tokenizer written in Python that the SD WebUI and the original Stable Diffusion use). The vocabulary
comes with open_clip_torch (MIT), the same file that OpenAI published with CLIP.

usage: make_tokens.py
"""

import gzip
import importlib.util
import json
import os
import tempfile

from transformers import CLIPTokenizer, CLIPTokenizerFast

# The file alone: importing the package would need torchvision.
_spec = importlib.util.spec_from_file_location(
    "openai_tokenizer",
    os.path.join(
        importlib.util.find_spec("open_clip").submodule_search_locations[0], "tokenizer.py"
    ),
)
openai = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(openai)

HERE = os.path.dirname(os.path.abspath(__file__))

PROMPTS = [
    "",
    " ",
    "\n",
    "a",
    "a photo of a cat",
    "A Photo Of A CAT",
    "a  photo\tof\n a   cat ",
    "a photo of an astronaut riding a horse on mars",
    "masterpiece, best quality, 1girl, solo, (detailed face:1.2), [blurry], highres",
    "portrait, 35mm, f/1.4, 4k, 8K UHD, ISO100, --ar 16:9",
    "don't, it's, I'm, you're, we've, they'll, he'd, can't",
    "DON'T STOP! IT'S",
    "rock'n'roll 'quoted' \"double\" `back`",
    "don\u2019t, it\u2019s \u201ccurly\u201d",
    "0123456789",
    "the year 1984 and 2,000,000 euros",
    "3.14159",
    "x=1;y=2",
    "!!!",
    "...",
    "a,b,c",
    "hello, world!",
    "?!?!",
    "#hashtag @user $100 50% a&b *star* _under_ a_b",
    "C++ C# .NET",
    "snake_case-and-kebab/slash\\backslash|pipe",
    "<lora:foo:0.8>",
    "{a|b} [c] (d) <e>",
    "~^=+",
    "http://www.example.com/path?query=1&x=y#frag",
    "someone@example.com",
    "caf\u00e9 na\u00efve \u00fcber stra\u00dfe \u00c5ngstr\u00f6m",
    "CAF\u00c9 \u00dcBER STRASSE",
    "cafe\u0301 (combining accent)",
    "\u0130stanbul \u0131\u015f\u0131k",
    "\u00bfqu\u00e9? \u00a1hola! \u00abguillemets\u00bb",
    "\u20ac100 \u00a35 \u00a57 \u00a9 \u00ae \u2122",
    "5\u00b5m 20\u00b0C 10\u00b2 \u00bd \u2460 \u2167",
    "em\u2014dash en\u2013dash ellipsis\u2026",
    "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
    "\u0393\u03b5\u03b9\u03ac \u03a3\u039f\u03a6\u039f\u03a3",
    "\u732b\u306e\u5199\u771f\u3001\u5bcc\u58eb\u5c71",
    "\u4f60\u597d\u4e16\u754c",
    "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\U0001f600",
    "a cat \U0001f431 and a dog\U0001f436!",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family \u2764\ufe0f \U0001f1e9\U0001f1ea",
    "\uff21\uff22\uff23 \uff11\uff12\uff13 fullwidth",
    "\ufb01ne \ufb02ow ligatures",
    "non\u00a0breaking\u2003em\u3000wide spaces",
    "zero\u200bwidth soft\u00adhyphen",
    "\ufefftext with a byte order mark",
    "tom &amp; jerry &lt;3 &quot;x&quot; &#39;y&#39; &eacute;",
    "&amp;amp; double",
    "sch\u00c3\u00b6n (mojibake)",
    "control\x01char\x7f end",
    "\x1b[31mred\x1b[0m",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "Donaudampfschifffahrtselektrizit\u00e4tenhauptbetriebswerkbauunterbeamtengesellschaft",
    "x" * 200,
    "ab" * 60,
    "<|startoftext|>",
    "<|endoftext|>",
    "a <|endoftext|> b",
    "<|STARTOFTEXT|>",
    "a cat</w>",
    "a , b ,c",
    "caption: a dog\r\nsecond line",
    "greg rutkowski, artgerm, trending on artstation",
    "\u02bcn modifier \u00b7 dot",
    "1st 2nd 3rd 4th",
    "100mm f2.8 1/250s",
    " ".join(["a very long prompt with many words"] * 12),
]


def vocabulary(folder):
    """vocab.json and merges.txt as the Hugging Face tokenizers read them."""
    with gzip.open(openai.default_bpe(), "rt", encoding="utf-8") as f:
        merges = f.read().split("\n")[1 : 49152 - 256 - 2 + 1]
    letters = list(openai.bytes_to_unicode().values())
    words = letters + [c + "</w>" for c in letters] + ["".join(m.split()) for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    paths = os.path.join(folder, "vocab.json"), os.path.join(folder, "merges.txt")
    with open(paths[0], "w", encoding="utf-8") as f:
        json.dump({w: i for i, w in enumerate(words)}, f)
    with open(paths[1], "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "\n".join(merges) + "\n")
    return paths


def main():
    with tempfile.TemporaryDirectory() as folder:
        files = vocabulary(folder)
        slow, fast = CLIPTokenizer(*files), CLIPTokenizerFast(*files)
    simple = openai.SimpleTokenizer()
    assert slow.fix_text is not None, "ftfy is missing"
    assert slow("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    lines, counts = [], {"fast": 0, "openai": 0}
    assert len(set(PROMPTS)) == len(PROMPTS)
    for text in PROMPTS:
        case = {"text": text, "ids": slow(text, add_special_tokens=False).input_ids}
        for name, ids in [
            ("fast", fast(text, add_special_tokens=False).input_ids),
            ("openai", simple.encode(text)),
        ]:
            if ids != case["ids"]:
                case[name] = ids
                counts[name] += 1
        lines.append(json.dumps(case))
    with open(os.path.join(HERE, "tiny", "tokens.json"), "w", encoding="ascii") as f:
        f.write("[\n" + ",\n".join(lines) + "\n]\n")
    print(len(lines), "prompts; differing from ids:", counts)


if __name__ == "__main__":
    main()
