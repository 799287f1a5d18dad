"""Makes what prompts that change, prompts of several prompts, and the modes of emphasis are checked
against (README.md, "prompts"), for the model of make_golden.py.

usage: make_prompts.py           (needs the packages of requirements.txt)

The networks are diffusers' and transformers', the samplers k-diffusion's; which call of the network
takes which prompt, how answers are added up and how words are weighed stands here once more, from
its description.
"""

import torch

import sampling
from make_golden import STEPS, both_precisions, encode, like, save, sequences, torch_noise

GUIDANCE = 7.5


class Model(sampling.Model):
    """Prompts by call: `says(call)` gives [(weight, context)] and the negative prompt's context."""

    def __init__(self, unet, says, dtype):
        super().__init__(lambda x, t, context: unet(x, t, context).sample, dtype=dtype)
        self.says, self.calls = says, 0

    def denoise(self, x, sigma):
        prompts, negative = self.says(self.calls)
        self.calls += 1
        base = self.forward(x, sigma, context=negative)
        answers = [(w, self.forward(x, sigma, context=c)) for w, c in prompts]
        return base + sum(w * GUIDANCE * (answer - base) for w, answer in answers)


def turn(until, items):
    """The item of a call: the first whose `until` is not before it."""
    return lambda call: next((x for u, x in zip(until, items) if call <= u), items[-1])


def weigh(z, weights, mode):
    """z [texts, 77, C], a row of weights a text; the mean is that of all texts."""
    if mode == "ignore":
        return z
    weighted = z * weights[:, :, None]
    return weighted if mode == "no_norm" else weighted * (z.mean() / weighted.mean())


@both_precisions
def make(modules):
    unet, ids = modules["unet"], sequences()
    names = ("prompt", "unicode", "empty")
    with torch.no_grad():
        z = encode(modules["text_encoder"], [ids[k] for k in names])
    context = {name: like(unet, z[i : i + 1].float()) for i, name in enumerate(names)}
    cat, dog, none = (context[name] for name in names)
    dtype = cat.dtype
    longer = torch.cat([dog, none], dim=1)
    start, steps = torch_noise(60, 1, 4, 8, 16), torch_noise(61, 2 * STEPS, 4, 8, 16)
    out = {name: context[name][0] for name in names}
    out["longer"], out["start_noise"] = longer[0], start[0]

    ab = turn(range(1, STEPS + 1), [cat, dog] * (STEPS // 2))
    cases = {
        "joined.euler": ("uniform", lambda call: ([(1.2, cat), (0.5, longer)], none)),
        "joined.three": ("karras", lambda call: ([(1, cat), (-0.5, dog), (0.7, none)], dog)),
        "weighted.euler": ("uniform", lambda call: ([(1.5, cat)], none)),
        "turns.euler": ("uniform", lambda call: ([(1, ab(call))], none)),
        "edited.euler": (
            "karras",
            lambda call: ([(1, turn([4, STEPS], [cat, dog])(call))], turn([7, 10], [none, dog])(call)),
        ),
        # Two calls a step: half of the time is ten calls.
        "edited.heun": ("karras", lambda call: ([(1, turn([10, 20], [cat, dog])(call))], none)),
        "mixed.euler": ("uniform", lambda call: ([(0.8, ab(call)), (0.4, dog)], none)),
    }
    tables = sampling.schedules(STEPS)
    for name, (schedule, says) in cases.items():
        s = tables[schedule]
        sampler = "heun" if name.endswith("heun") else "euler"
        rows = sampling.run_k(Model(unet, says, dtype), sampler, start.to(dtype) * s[0], s, steps)
        out[f"{name}.latents"], out[f"{name}.sigmas"] = rows[-1:], s

    # Words 3 and 4 of the first text weigh 1.5, word 5 of the second 0.7; one of two texts over time
    # that is there twice counts twice.
    weights = torch.ones(3, 77, dtype=z.dtype)
    weights[0, 3:5], weights[1, 5] = 1.5, 0.7
    weights[2] = weights[0]
    for mode in ("original", "no_norm", "ignore"):
        alone = weigh(z[:1], weights[:1], mode)
        both = weigh(torch.stack([z[0], z[1], z[0]]), weights, mode)
        out[f"{mode}.alone"], out[f"{mode}.first"], out[f"{mode}.second"] = alone[0], *both[:2]
    return out


if __name__ == "__main__":
    print("\n".join(save("prompts", *make())))
