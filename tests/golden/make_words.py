"""Makes the textual inversions that prompts are checked with (README.md, "words"): files in the layouts
that there are, and what text encoders say with them, loaded by diffusers' own loader.

usage: make_words.py           (needs the packages of requirements.txt, and CLIP's vocabulary as
                                clip-anytorch 2.6.0 has it, installed with --no-deps)
"""

import copy
import gzip
import importlib.util
import json
import os
import tempfile

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

import make_sd2
import make_sdxl
from make_golden import EOS, load, save

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "words")
WIDTH, WEIGHT = 64, 1.3
TINY = load()["text_encoder"]  # more tokens are added to copies of it
PROMPT = "a photo of {}, red and {} on mars"


def tokenizer(folder, pad):
    """CLIP's, out of the file of merges that OpenAI published."""
    package = importlib.util.find_spec("clip").submodule_search_locations[0]
    with gzip.open(os.path.join(package, "bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8") as f:
        merges = f.read().split("\n")[1 : 49152 - 256 - 2 + 1]
    codes = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    more = [b for b in range(256) if b not in codes]
    letters = [chr(c) for c in codes] + [chr(256 + i) for i in range(len(more))]
    words = letters + [c + "</w>" for c in letters] + ["".join(m.split()) for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump({w: i for i, w in enumerate(words)}, f)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "\n".join(merges) + "\n")
    return CLIPTokenizer(
        os.path.join(folder, "vocab.json"),
        os.path.join(folder, "merges.txt"),
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        pad_token=pad,
        model_max_length=77,
    )


def vectors(seed, n):
    steps = torch.randint(-16, 17, (n, WIDTH), generator=torch.Generator().manual_seed(seed))
    return steps / 256.0


def write_files():
    """Layouts: the WebUI's, diffusers' (of half the size), "emb_params", and both of SDXL."""
    words = torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors(1, 3))})
    torch.save(
        {"string_to_token": {"*": 265}, "string_to_param": words, "name": "wordone", "step": 500,
         "sd_checkpoint": "0123456789", "sd_checkpoint_name": "tiny"},
        os.path.join(FOLDER, "wordone.pt"),
    )
    torch.save({"<two>": vectors(2, 1)[0].half()}, os.path.join(FOLDER, "wordtwo.bin"))
    files = {
        "params": {"emb_params": vectors(1, 3)},
        "dual": {"clip_l": vectors(3, 2), "clip_g": vectors(4, 2)},
        "other": {"emb_params": torch.ones(2, 96)},
        "nan": {"emb_params": torch.full((2, WIDTH), torch.nan)},
        "long": {"emb_params": torch.ones(76, WIDTH)},
        "uneven": {"clip_l": vectors(3, 2), "clip_g": vectors(4, 1)},
    }
    for name, tensors in files.items():
        save_file(tensors, os.path.join(FOLDER, name + ".safetensors"))
    for name in os.listdir(FOLDER):
        os.chmod(os.path.join(FOLDER, name), 0o644)


def ids_of(pipe, tokens, first, second):
    """Without the padding's end tokens that a tokenizer puts where none were asked for."""
    text = pipe.maybe_convert_prompt(PROMPT.format(first, second), tokens)
    row = tokens(text, padding="max_length", max_length=77, truncation=True).input_ids
    return torch.tensor([row])


def weighted(state, start, count):
    """The words' vectors weigh WEIGHT; the mean is put back to what it was."""
    w = torch.ones(77, 1).to(state)
    w[start : start + count] = WEIGHT
    return state * w * (state.mean() / (state * w).mean())


def with_words(encoder, tokens):
    """A pipeline of a text encoder alone that knows both words."""
    pipe = StableDiffusionPipeline(
        vae=None, text_encoder=encoder, tokenizer=tokens, unet=None, scheduler=None,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )
    # diffusers opens no file with a ParameterDict in it by itself any more.
    saved = torch.load(os.path.join(FOLDER, "wordone.pt"), weights_only=False)
    saved["string_to_param"] = {"*": saved["string_to_param"]["*"].detach()}
    pipe.load_textual_inversion(saved, token="wordone")
    pipe.load_textual_inversion(os.path.join(FOLDER, "wordtwo.bin"), token="wordtwo")
    return pipe


def sd1(folder, dtype):
    tokens = tokenizer(folder, "<|endoftext|>")
    pipe = with_words(copy.deepcopy(TINY), tokens)
    encoder = pipe.text_encoder.to(dtype).eval()
    ids = ids_of(pipe, tokens, "wordone", "wordtwo")
    states = encoder(ids, output_hidden_states=True)
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    out = {"sd1.skip1": states.last_hidden_state[0], "sd1.skip2": norm(states.hidden_states[-2])[0]}
    place = 1 + len(tokens("a photo of").input_ids[1:-1])
    out["sd1.weighted"] = weighted(out["sd1.skip1"], place, 3)
    return out


def sd2(folder, dtype):
    """Read before the last layer, which a folder's text encoder does not have."""
    tokens = tokenizer(folder, "!")
    pipe = with_words(make_sd2.fill("text_encoder", make_sd2.text_encoder(make_sd2.LAYERS - 1)), tokens)
    encoder = pipe.text_encoder.to(dtype).eval()
    row = ids_of(pipe, tokens, "wordone", "wordtwo")
    assert row[0].tolist()[row[0].tolist().index(EOS) + 1] == 0
    states = encoder(row).last_hidden_state[0]
    place = 1 + len(tokens("a photo of").input_ids[1:-1])
    return {"sd2.states": states, "sd2.weighted": weighted(states, place, 3)}


def sdxl(folder, dtype):
    first, second = tokenizer(folder, "<|endoftext|>"), tokenizer(folder, "!")
    encoders = (
        make_sdxl.fill("text_encoder", make_sdxl.text_encoder(CLIPTextModel, "quick_gelu")),
        make_sdxl.fill("text_encoder_2", make_sdxl.text_encoder(CLIPTextModelWithProjection, "gelu")),
    )
    pipe = StableDiffusionXLPipeline(
        vae=None, text_encoder=encoders[0], text_encoder_2=encoders[1], tokenizer=first,
        tokenizer_2=second, unet=None, scheduler=None, add_watermarker=False,
    )
    dual = {"clip_l": vectors(3, 2), "clip_g": vectors(4, 2)}
    pipe.load_textual_inversion(dual["clip_l"], token="dualword", text_encoder=pipe.text_encoder, tokenizer=first)
    pipe.load_textual_inversion(dual["clip_g"], token="dualword", text_encoder=pipe.text_encoder_2, tokenizer=second)
    a = pipe.text_encoder.to(dtype).eval()(
        ids_of(pipe, first, "dualword", "cat"), output_hidden_states=True)
    row = ids_of(pipe, second, "dualword", "cat")[0].tolist()
    assert row.index(EOS) + 1 < 77 and row[row.index(EOS) + 1] == 0
    b = pipe.text_encoder_2.to(dtype).eval()(torch.tensor([row]), output_hidden_states=True)
    return {
        "sdxl.states": torch.cat([a.hidden_states[-2], b.hidden_states[-2]], -1)[0],
        "sdxl.pooled": b.text_embeds[0],
    }


def main():
    torch.use_deterministic_algorithms(True)
    os.makedirs(FOLDER, exist_ok=True)
    write_files()
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        single, double = (
            {**sd1(folder, dtype), **sd2(folder, dtype), **sdxl(folder, dtype)} for dtype in (torch.float32, torch.float64)
        )
        lines = save("golden", single, double, FOLDER)
    with open(os.path.join(FOLDER, "index.txt"), "w", encoding="ascii") as f:
        f.write("# file tensor shape mean std f64\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
