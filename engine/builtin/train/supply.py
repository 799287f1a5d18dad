"""Scenes with captions as tensors, made in worker processes so that a GPU need not wait for them."""
import itertools
import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
import common
import compose
import scenes

CAPTIONS, WORDS = 4, 32


class Supply(IterableDataset):
    """One pack of `count` scenes for every seed, and the token ids [count, CAPTIONS, WORDS]."""

    def __init__(self, things, seeds, count, how):
        self.things, self.seeds, self.count, self.how = things, seeds, count, how
        self.tokenizer = common.Tokenizer()

    def __iter__(self):
        info = get_worker_info()  # seeds are dealt out in turn and come back in order
        mine = itertools.islice(self.seeds, info.id, None, info.num_workers) if info else self.seeds
        for seed in mine:
            rng = np.random.default_rng(seed)
            batch = [scenes.scene(rng, self.things, **self.how) for _ in range(self.count)]
            captions = [scenes.caption(s, rng, self.things) for s in batch for _ in range(CAPTIONS)]
            rows = self.tokenizer.rows(captions, WORDS).reshape(self.count, CAPTIONS, WORDS)
            yield compose.pack(batch), rows


def supply(things, seeds, count, workers, **how):
    return iter(DataLoader(Supply(things, seeds, count, how), batch_size=None,
                           num_workers=workers, prefetch_factor=4 if workers else None))
