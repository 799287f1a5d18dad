"""Writes sampler_vectors.h: where every sampler ends on a problem whose denoiser is a formula.

    python3 tests/golden/sampler_vectors.py > tests/golden/sampler_vectors.h

The data are a mixture of two Gaussians, so the best denoiser is known exactly and is not linear.
The loops are k-diffusion's (see sampling.py), LCM's is diffusers', in float64; noise is Philox as the
WebUI draws it.
"""
import math

import numpy as np
import torch
from diffusers.schedulers import scheduling_lcm
from torchsde._brownian import brownian_interval

import sampling

CHANNELS, SIDE, SEED = 2, 4, 5
SPREAD, MEAN = 0.5, 1.0


class Noise:
    """One Philox4x32-10 generator of the WebUI; a call is a draw [1, C, H, W]."""

    def __init__(self, seed):
        self.seed, self.draws = seed, 0

    def __call__(self, *_):
        n = CHANNELS * SIDE * SIDE
        counter = [np.full(n, self.draws, np.uint64), np.zeros(n, np.uint64),
                   np.arange(n, dtype=np.uint64), np.zeros(n, np.uint64)]
        key = [self.seed & 0xffffffff, self.seed >> 32]
        low = np.uint64(0xffffffff)
        for _ in range(10):
            a, b = counter[0] * np.uint64(0xD2511F53), counter[2] * np.uint64(0xCD9E8D57)
            counter = [(b >> np.uint64(32)) ^ counter[1] ^ np.uint64(key[0]), b & low,
                       (a >> np.uint64(32)) ^ counter[3] ^ np.uint64(key[1]), a & low]
            key = [(key[0] + 0x9E3779B9) & 0xffffffff, (key[1] + 0xBB67AE85) & 0xffffffff]
        self.draws += 1
        turn = float(np.float32(2.3283064e-10 * 6.2831855))
        u, v = (counter[0] + 0.5) * 2.0 ** -32, (counter[1] + 0.5) * turn
        x = np.sqrt(-2 * np.log(u)) * np.sin(v)
        return torch.from_numpy(x.astype(np.float32).reshape(1, CHANNELS, SIDE, SIDE)).double()


# The Brownian tree draws from its nodes' seeds with the WebUI's generator.
brownian_interval._randn = lambda size, dtype, device, seed: Noise(int(seed))()


def denoise(x, sigma):
    """The mean of what x may have been: data are +-MEAN with a spread of SPREAD."""
    s2, v = sigma ** 2, SPREAD ** 2
    return (v * x + s2 * MEAN * torch.tanh(MEAN * x / (v + s2))) / (v + s2)


class Timesteps:
    """What sampling.run_ddim wants of a model: eps at a trained level, of a latent scaled by sqrt(a)."""

    def __init__(self, mask=None, init=None):
        self.mask, self.init = mask, init

    def noise(self, x, t):
        if self.mask is not None:
            x = x * self.mask + self.init * (1 - self.mask)
        a = sampling.ALPHAS_CUMPROD.double()[t.long()].item()
        sigma = ((1 - a) / a) ** 0.5
        y = x / a ** 0.5
        return x, (y - denoise(y, torch.tensor(sigma))) / sigma


INIT = torch.tensor([0.8 * math.sin(i) for i in range(CHANNELS * SIDE * SIDE)]).double().reshape(
    1, CHANNELS, SIDE, SIDE)
MASK = torch.tensor([float(i % 3 != 0) for i in range(SIDE * SIDE)]).double().reshape(1, 1, SIDE, SIDE)
NAMES = {"euler": "Euler", "euler_a": "Euler a", "dpmpp_2m": "DPM++ 2M", "heun": "Heun", "lms": "LMS",
         "dpm2": "DPM2", "dpm2_a": "DPM2 a", "dpmpp_2s_a": "DPM++ 2S a", "dpmpp_sde": "DPM++ SDE",
         "dpmpp_2m_sde": "DPM++ 2M SDE", "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
         "dpmpp_3m_sde": "DPM++ 3M SDE", "lcm": "LCM"}


def exact_sigmas(scheduler, n):
    """In float64: the Brownian path is looked up by sigmas rounded to six decimals, which float32
    does not give reliably."""
    i = np.arange(n) / (n - 1)
    ends = sampling.ALPHAS_CUMPROD[[0, -1]].numpy()
    lo, hi = np.sqrt((1 - ends) / ends).astype(np.float64)
    sigmas = {"karras": (hi ** (1 / 7) + i * (lo ** (1 / 7) - hi ** (1 / 7))) ** 7,
              "exponential": np.exp(math.log(hi) + i * (math.log(lo) - math.log(hi)))}[scheduler]
    return torch.from_numpy(np.append(sigmas, 0.0))


def run_lcm(steps):
    """diffusers' LCMScheduler with its own timesteps; its latents are scaled by sqrt(a). The start is
    the WebUI's, noise of sigma, where diffusers has sqrt(sigma^2 + 1)."""
    noise, model = Noise(SEED), Timesteps()
    scheduling_lcm.randn_tensor = lambda *_, **__: noise()
    lcm = scheduling_lcm.LCMScheduler(1000, 0.00085, 0.012, "scaled_linear")
    lcm.alphas_cumprod = sampling.ALPHAS_CUMPROD.double()
    lcm.set_timesteps(steps)
    x = noise() * (1 - lcm.alphas_cumprod[lcm.timesteps[0]]) ** 0.5
    for t in lcm.timesteps:
        x, eps = model.noise(x, t)
        x = lcm.step(eps, t, x).prev_sample
    return steps, x[0]


def run(key, scheduler, steps, mode="text", strength=1.0, eta=None, masked=False):
    if key == "lcm":
        return run_lcm(steps)
    noise = Noise(SEED)
    start = noise()
    keep = (lambda x: x * MASK + INIT * (1 - MASK)) if masked else lambda x: x
    if mode == "hires":
        total, cut = int(steps / min(strength, 0.999)), steps - 1
    else:
        total, cut = steps, int(min(strength, 0.999) * steps)

    if key == "ddim":
        model = Timesteps(MASK if masked else None, INIT)
        times = sampling.ddim_timesteps(total)
        ac = sampling.ALPHAS_CUMPROD.double()
        x = start
        if mode != "text":
            a = ac[times[cut]].item()
            x, times = a ** 0.5 * INIT + (1 - a) ** 0.5 * start, times[:cut]
        draws = [noise() for _ in times]
        end = sampling.run_ddim(model, x, times, eta or 0, draws)[-1]
        return len(times) - 1, end

    function, draws = sampling.K_SAMPLERS[key.removesuffix("_heun")]
    discard = key in ("dpm2", "dpm2_a", "dpmpp_3m_sde")
    if "sde" in key:
        sigmas = exact_sigmas(scheduler, total + discard)
    else:
        sigmas = sampling.schedules(total + discard)[scheduler].double()
    if discard:
        sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
    if "sde" in key:
        # The path runs over the whole schedule, also where only its end is walked.
        noise = sampling.ksampling.BrownianTreeNoiseSampler(start, sigmas[sigmas > 0].min(), sigmas.max(), SEED)
    x = start * sigmas[0]
    if mode != "text":
        sigmas = sigmas[total - cut - 1:]
        x = INIT + start * sigmas[0]
    kwargs = {"noise_sampler": noise} if draws else {}
    if eta is not None:
        kwargs["eta"] = eta
    if key.endswith("_heun"):
        kwargs["solver_type"] = "heun"
    end = function(lambda x, s: keep(denoise(x, s[0])), x, sigmas, disable=True, **kwargs)
    return len(sigmas) - 1, keep(end)[0]


def main():
    cases = [(k, s, 10) for k in NAMES if k != "lcm" for s in ("exponential" if "sde" in k else "uniform", "karras")]
    cases += [("euler", s, 7) for s in ("exponential", "sgm_uniform", "simple", "ddim", "beta",
                                        "kl_optimal")]
    cases += [("euler_a", "karras", 10, "text", 1.0, eta) for eta in (0.0, 0.5)]
    cases += [("ddim", "uniform", n, "text", 1.0, eta) for n in (10, 30) for eta in (0.0, 0.7, 1.0)]
    cases += [(k, "karras", 10, "text", 1.0, 0.4) for k in NAMES if "sde" in k]
    cases += [(k, "exponential", 10, "image", 0.5) for k in NAMES if "sde" in k]
    for mode in ("image", "hires"):
        cases += [("euler", "uniform", 10, mode, 0.6), ("euler_a", "karras", 10, mode, 0.35),
                  ("dpmpp_2m", "karras", 10, mode, 0.75), ("dpm2", "karras", 10, mode, 0.5),
                  ("ddim", "uniform", 10, mode, 0.6), ("ddim", "uniform", 20, mode, 1.0, 1.0)]
    cases += [("euler", "uniform", 10, "image", 0.0), ("euler", "uniform", 10, "image", 1.0)]
    cases += [(k, s, 10, "image", 0.8, None, True)
              for k, s in (("euler", "uniform"), ("dpmpp_2m", "karras"), ("ddim", "uniform"))]
    cases += [("lcm", "automatic", n) for n in (1, 2, 3, 4, 6, 8, 50)]
    print("/* sampler_vectors.h: written by sampler_vectors.py. `end` is [channels, pixels]. */")
    print("static const struct sampler_vector {")
    print("    const char *sampler, *scheduler;\n    int steps;\n    const char *mode;")
    print("    double strength, eta; /* eta < 0: the sampler's own */\n    bool masked;")
    print(f"    int plan_steps;\n    double end[{CHANNELS * SIDE * SIDE}];\n}} sampler_vectors[] = {{")
    for case in cases:
        key, scheduler, steps, mode, strength, eta, masked = (case + ("text", 1.0, None, False)[len(case) - 3:])
        taken, end = run(*case)
        numbers = [f"{v:.9g}" for v in end.flatten().tolist()]
        rows = ",\n      ".join(", ".join(numbers[i:i + 6]) for i in range(0, len(numbers), 6))
        print(f'    {{"{NAMES.get(key, "DDIM")}", "{scheduler}", {steps}, "{mode}", {strength}, '
              f'{-1.0 if eta is None else eta}, {str(masked).lower()}, {taken},\n     {{{rows}}}}},')
    print("};")


main()
