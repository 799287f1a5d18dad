"""What the stages share: the noise schedule, the tokenizer, checkpoints, averages, devices."""
import os
import pathlib
import re
import struct
import numpy as np
import torch
import networks

LATENT_SCALE = 0.18215
COMPOSE, DETAIL = 256, 0  # pictures are composed at this side; larger ones painted over so strongly, 0: enlarged alone
START, END = 49406, 49407
MERGES = pathlib.Path(__file__).parent / "../../text/clip_merges.bin"


def device():
    """CUDA where there is one; otherwise as many threads as the cores that this process may use."""
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        return torch.device("cuda")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))))
    import fast
    fast.install()
    return torch.device("cpu")


def has_bfloat16(device):
    """Whether arithmetic in it is quick there."""
    return device.type == "cuda" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def unet_cpu(device):
    """The module that trains the UNet on a CPU with AMX or AVX-512 BF16, or None elsewhere."""
    if device.type == "cuda" or not has_bfloat16(device):
        return None
    import unet_cpu
    return unet_cpu if unet_cpu.ext.tiles() else None


def alphas():
    """Stable Diffusion's schedule: the share of the picture left after each of 1000 timesteps."""
    betas = torch.linspace(.00085 ** .5, .012 ** .5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()


class Tokenizer:
    """CLIP's, from the merges that the engine carries; lower case words and digits suffice here.
    bytes and ends say of every token what it spells and whether it ends a word.
    """

    def __init__(self):
        pairs = list(struct.iter_unpack("<2H", MERGES.read_bytes()))
        self.rank = {pair: i for i, pair in enumerate(pairs)}
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        order = printable + [b for b in range(256) if b not in printable]
        self.byte = {b: i for i, b in enumerate(order)}
        self.bytes, self.ends = [bytes([b]) for b in order] * 2, [False] * 256 + [True] * 256
        for a, b in pairs:
            self.bytes.append(self.bytes[a] + self.bytes[b])
            self.ends.append(self.ends[b])
        self.cache = {}

    def word(self, word):
        if word not in self.cache:
            ids = [self.byte[b] for b in word.encode()]
            ids[-1] += 256
            while len(ids) > 1:
                best = min(zip(ids, ids[1:]), key=lambda p: self.rank.get(p, 1 << 20))
                if best not in self.rank:
                    break
                at = list(zip(ids, ids[1:])).index(best)
                ids[at:at + 2] = [512 + self.rank[best]]
            self.cache[word] = ids
        return self.cache[word]

    def ids(self, text):
        words = re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower())
        return [i for w in words for i in self.word(w)]

    def rows(self, captions, length=77):
        """uint16 [n, length]: start, words, end, and ends up to the length."""
        out = np.full((len(captions), length), END, np.uint16)
        for row, caption in zip(out, captions):
            ids = [START] + self.ids(caption)[:length - 2]
            row[:len(ids)] = ids
        return out


def save(path, **state):
    """Written beside and renamed, so that a kill leaves the last whole checkpoint."""
    torch.save(state, str(path) + ".new")
    os.replace(str(path) + ".new", path)


def load(path, device="cpu"):
    if os.path.exists(path):
        return torch.load(path, map_location=device, weights_only=True)
    return None


class Ema:
    """Running average of parameters; the decay grows with the steps made."""

    def __init__(self, params, decay):
        self.decay, self.shadow = decay, [p.detach().clone() for p in params]

    @torch.no_grad()
    def update(self, params, step):
        torch._foreach_lerp_(self.shadow, [p.detach() for p in params],
                             1 - min(self.decay, (1 + step) / (10 + step)))


@torch.no_grad()
def copy(params, values):
    for p, v in zip(params, values):
        p.copy_(v)


def load_vae(work, size, device, best=True):
    """The averaged autoencoder, for use; with the decoder trained further, if there is one."""
    vae = networks.Autoencoder(networks.SIZES[size]["vae"]).to(device)
    path = work / ("decoder.pt" if best and (work / "decoder.pt").exists() else "vae.pt")
    copy(vae.parameters(), load(path, device)["ema"])
    return vae.to(memory_format=torch.channels_last).eval().requires_grad_(False)
