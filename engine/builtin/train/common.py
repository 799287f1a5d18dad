"""What the stages share: the three networks, the tokenizer, checkpoints."""
import gzip
import importlib.util
import os
import pathlib
import time
import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
import render

LATENT_SCALE = 0.18215
TEXT_WIDTH, TEXT_LAYERS = 64, 3
VAE_WIDTHS = (96, 32, 32, 64)
UNET_WIDTHS = (64, 64, 32, 32)


def build_vae():
    # 64 channels where the stream itself is normalised (both norm_out): with 32 groups a narrower
    # one is instance norm, which forgets how bright a channel is.
    return AutoencoderKL(in_channels=3, out_channels=3, block_out_channels=VAE_WIDTHS,
                         down_block_types=("DownEncoderBlock2D",) * 4,
                         up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2,
                         latent_channels=4, norm_num_groups=32, scaling_factor=LATENT_SCALE)


def build_unet():
    # diffusers calls the number of heads attention_head_dim: 8 heads everywhere, as SD 1.x
    return UNet2DConditionModel(sample_size=16, in_channels=4, out_channels=4, layers_per_block=2,
                                block_out_channels=UNET_WIDTHS, cross_attention_dim=TEXT_WIDTH,
                                attention_head_dim=8, norm_num_groups=32,
                                down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
                                up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3)


def build_text():
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=49408, hidden_size=TEXT_WIDTH, intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=TEXT_LAYERS, num_attention_heads=TEXT_WIDTH // 64,
        max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=TEXT_WIDTH,
        bos_token_id=49406, eos_token_id=49407, pad_token_id=49407))


@torch.no_grad()
def calm(model):
    """Residual branches begin at zero and resampling as a plain copy, so that training starts from
    a network that already passes its input through."""
    for name, m in model.named_modules():
        kind = type(m).__name__
        if kind == "ResnetBlock2D":
            m.conv2.weight.zero_()
        elif kind == "Transformer2DModel":
            m.proj_out.weight.zero_()
        elif kind in ("Upsample2D", "Downsample2D"):
            torch.nn.init.dirac_(m.conv.weight)
        elif kind == "Attention" and name.endswith("attentions.0"):  # the autoencoder's
            m.to_out[0].weight.zero_()
    return model


def build_scheduler():
    return DDPMScheduler(num_train_timesteps=1000, beta_schedule="scaled_linear", beta_start=0.00085,
                         beta_end=0.012, prediction_type="epsilon", clip_sample=False)


def build_tokenizer():
    """CLIP's byte pair vocabulary, from the file that open_clip_torch (MIT) carries."""
    root = pathlib.Path(importlib.util.find_spec("open_clip").origin).parent
    lines = gzip.open(root / "bpe_simple_vocab_16e6.txt.gz").read().decode("utf-8").split("\n")
    merges = [tuple(m.split()) for m in lines[1:49152 - 256 - 2 + 1]]
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in printable]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]
    words = letters + [c + "</w>" for c in letters] + ["".join(m) for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=merges)


def save(path, **state):
    """Written beside and renamed, so that a kill leaves the last whole checkpoint."""
    torch.save(state, str(path) + ".new")
    os.replace(str(path) + ".new", path)


def load(path):
    return torch.load(path, weights_only=False) if os.path.exists(path) else None


class Ema:
    """Running average of parameters; the decay grows with the steps made."""

    def __init__(self, params, decay):
        self.decay, self.shadow = decay, [p.detach().clone() for p in params]

    @torch.no_grad()
    def update(self, params, step):
        d = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in params], 1 - d)

    @torch.no_grad()
    def copy_to(self, params):
        for s, p in zip(self.shadow, params):
            p.copy_(s)


class Threads:
    """On a shared machine two threads that wait for each other can be slower than one. Tries all
    cores every 50 steps, and stays with them only while that is faster than one thread was.
    """

    def __init__(self):
        self.most = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
        self.one, self.last = None, time.time()

    def tune(self, step):
        now = time.time()
        took, self.last = now - self.last, now
        if torch.get_num_threads() == 1:
            if step % 50 > 2:
                self.one = min(took, self.one or took)
            if step % 50 == 49 and self.most > 1:
                torch.set_num_threads(self.most)
        elif self.one is None or (took > .95 * self.one and step % 50 > 0):
            torch.set_num_threads(1)
            self.one = None


def load_vae(path):
    """The averaged autoencoder, for use; path may be a folder: the newest in it."""
    if path.is_dir():
        path = path / ("decoder.pt" if (path / "decoder.pt").exists() else "vae.pt")
    vae, c = build_vae(), load(path)
    vae.load_state_dict(c["vae"])
    Ema.copy_to(type("", (), {"shadow": c["ema"]}), list(vae.parameters()))
    return vae.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def latent_stats(work):
    """Mean and deviation of each latent channel, from two shards: two [4, 1, 1]."""
    z = torch.cat([load(f)["latents"] for f in sorted(work.glob("latents64/*.pt"))[:2]])
    return z.mean((0, 2, 3))[:, None, None], z.std((0, 2, 3))[:, None, None]


class Words:
    """Captions as token ids. Only tokens that captions can hold are trained; all others share one
    embedding, trained as a word that means nothing, so that strange words in a prompt do no harm.
    """

    def __init__(self):
        self.tokenizer, self.cache = build_tokenizer(), {}
        rng = np.random.default_rng(0)
        seen = set()
        for _ in range(20000):
            seen.update(render.caption(render.scene(rng), rng).split(" "))
        ids = sorted({i for w in seen for i in self.pieces(w)} | {49406, 49407})
        self.row = {token: i for i, token in enumerate(ids)}
        self.unknown = len(ids)

    def pieces(self, word):
        if word not in self.cache:
            self.cache[word] = self.tokenizer(word, add_special_tokens=False)["input_ids"]
        return self.cache[word]

    def shrink(self, text):
        """Replaces the embedding table by the rows that are trained."""
        table = torch.nn.Embedding(self.unknown + 1, TEXT_WIDTH)
        torch.nn.init.normal_(table.weight, std=0.02)
        text.set_input_embeddings(table)

    def expand(self, table):
        """[49408, width] from the trained rows."""
        index = torch.full((49408,), self.unknown)
        index[torch.tensor(list(self.row))] = torch.tensor(list(self.row.values()))
        return table[index]

    def encode(self, captions, rng=None):
        """Rows [n, 77]; with rng, one caption in ten gets a meaningless word."""
        out = torch.full((len(captions), 77), self.row[49407])
        for line, caption in zip(out, captions):
            rows = [self.row.get(i, self.unknown) for w in caption.lower().split()
                    for i in self.pieces(w)]
            if rng is not None and rows and rng.random() < .1:
                rows.insert(int(rng.integers(len(rows) + 1)), self.unknown)
            rows = [self.row[49406]] + rows[:75]
            line[:len(rows)] = torch.tensor(rows)
        return out
