"""Schedules and samplers as the SD WebUI runs them, around any noise prediction function.

The k-diffusion loops are the published ones (package k-diffusion); the timestep (DDIM) loop, the
slicing for image to image and the mask blends are written here from their published formulas.
"""

import importlib
import importlib.metadata
import math
import os
import sys
import types

import numpy as np
import scipy.stats
import torch

from sdmodel import scheduler_tables


def _k_diffusion():
    """k_diffusion.sampling and .external without the training half of the package."""
    package = types.ModuleType("k_diffusion")
    package.__path__ = [
        os.path.dirname(
            str(
                importlib.metadata.distribution("k-diffusion").locate_file(
                    "k_diffusion/sampling.py"
                )
            )
        )
    ]
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]
    package.utils = utils
    sys.modules.update({"k_diffusion": package, "k_diffusion.utils": utils})
    return (
        importlib.import_module("k_diffusion.sampling"),
        importlib.import_module("k_diffusion.external"),
    )


ksampling, kexternal = _k_diffusion()
ALPHAS_CUMPROD = torch.from_numpy(scheduler_tables()[1])
GUIDANCE = 7.5


class Model(kexternal.DiscreteEpsDDPMDenoiser):
    """The discrete schedule around eps(x, t, context), and guidance as the WebUI does it."""

    def __init__(self, eps=None, cond=None, uncond=None, dtype=torch.float32):
        super().__init__(eps, ALPHAS_CUMPROD.to(dtype), quantize=False)
        self.cond, self.uncond, self.mask, self.init = cond, uncond, None, None

    def get_eps(self, x, t, context):
        return self.inner_model(x, t, context)

    def both(self, call, x, s):
        """call on the prompt and on the negative prompt in one batch."""
        a, b = call(
            torch.cat([x, x]), torch.cat([s, s]), context=torch.cat([self.cond, self.uncond])
        ).chunk(2)
        return b + GUIDANCE * (a - b)

    def denoise(self, x, sigma):
        d = self.both(self.forward, x, sigma)
        return d if self.mask is None else d * self.mask + self.init * (1 - self.mask)

    def noise(self, x, t):
        """eps with guidance, for the timestep samplers; the mask blends before the call."""
        if self.mask is not None:
            x = x * self.mask + self.init * (1 - self.mask)
        return x, self.both(self.get_eps, x, t)


def schedules(n):
    """name -> sigmas of n steps. Formulas of the reference, in float32 as torch computes them."""
    m = Model()
    lo, hi = m.sigma_min.item(), m.sigma_max.item()
    table, last = m.sigmas, len(m.sigmas) - 1
    zero = ksampling.append_zero
    t_hi, t_lo = m.sigma_to_t(m.sigma_max), m.sigma_to_t(m.sigma_min)
    step = max(1000 // n, 1)
    ppf = [scipy.stats.beta.ppf(x, 0.6, 0.6) for x in 1 - np.linspace(0, 1, n)]
    i = torch.arange(n + 1, dtype=torch.float32)
    lo_hi = torch.tensor(lo), torch.tensor(hi)
    return {
        "uniform": m.get_sigmas(n),
        "karras": ksampling.get_sigmas_karras(n, lo, hi),
        "exponential": ksampling.get_sigmas_exponential(n, lo, hi),
        "polyexponential": ksampling.get_sigmas_polyexponential(n, lo, hi),
        "sgm_uniform": zero(m.t_to_sigma(torch.linspace(t_hi, t_lo, n + 1)[:-1])),
        "normal": zero(m.t_to_sigma(torch.linspace(t_hi, t_lo, n))),
        "kl_optimal": torch.tan(i / n * torch.atan(lo_hi[0]) + (1 - i / n) * torch.atan(lo_hi[1])),
        "simple": zero(torch.stack([table[last - int(k * 1000 / n)] for k in range(n)])),
        "ddim": zero(torch.stack([table[k] for k in range(1, 1000, step)]).flip(0)),
        "beta": zero(torch.tensor([lo + p * (hi - lo) for p in ppf], dtype=torch.float32)),
    }


# Sabour et al. 2024, for SD 1.5; between its eleven points the logarithm is linear.
ALIGNED = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]


def exact_schedules(n):
    """The same in float64 from the table's float32 sigmas: SDE samplers look the Brownian path up by
    sigmas rounded to six decimals, which float32 does not give reliably."""
    ac = ALPHAS_CUMPROD.numpy()
    table = np.sqrt((1 - ac) / ac).astype(np.float64)
    logs, last = np.log(table).astype(np.float32).astype(np.float64), len(table) - 1
    lo, hi = table[0], table[last]

    def at(t):
        low = t.astype(int)
        w = t - low
        between = np.exp((1 - w) * logs[low] + w * logs[np.minimum(low + 1, last)])
        return np.where(w == 0, table[low], between)

    i = np.arange(n) / max(n - 1, 1)
    step = max(1000 // n, 1)
    own = {
        "uniform": at(np.linspace(last, 0, n)),
        "karras": (hi ** (1 / 7) + i * (lo ** (1 / 7) - hi ** (1 / 7))) ** 7,
        "exponential": np.exp(math.log(hi) + i * (math.log(lo) - math.log(hi))),
        "polyexponential": np.exp((1 - i) * math.log(hi / lo) + math.log(lo)),
        "sgm_uniform": at(np.linspace(last, 0, n + 1)[:-1]),
        "normal": at(np.linspace(last, 0, n)),
        "simple": np.array([table[last - int(k * 1000 / n)] for k in range(n)]),
        "ddim": table[1::step][::-1],
        "beta": lo + scipy.stats.beta.ppf(1 - i, 0.6, 0.6) * (hi - lo),
    }
    out = {k: np.append(v, 0.0) for k, v in own.items()}
    k = np.arange(n + 1) / n
    at_ten = np.interp(np.linspace(0, 10, n), np.arange(11), np.log(ALIGNED))
    out["align_your_steps"] = np.append(np.exp(at_ten), 0.0)
    out["kl_optimal"] = np.tan(k * math.atan(lo) + (1 - k) * math.atan(hi))
    for name, sigmas in schedules(n).items():
        np.testing.assert_allclose(out[name], sigmas.numpy(), rtol=1e-5, atol=1e-6)
    return {k: torch.from_numpy(v.copy()) for k, v in out.items()}


# Trajectories: latents [steps + 1, 4, H, W] whose row 0 is the start.

K_SAMPLERS = {
    "euler": (ksampling.sample_euler, False),
    "euler_a": (ksampling.sample_euler_ancestral, True),
    "dpmpp_2m": (ksampling.sample_dpmpp_2m, False),
    "heun": (ksampling.sample_heun, False),
    "lms": (ksampling.sample_lms, False),
    "dpm2": (ksampling.sample_dpm_2, False),
    "dpm2_a": (ksampling.sample_dpm_2_ancestral, True),
    "dpmpp_2s_a": (ksampling.sample_dpmpp_2s_ancestral, True),
    "dpmpp_sde": (ksampling.sample_dpmpp_sde, True),
    "dpmpp_2m_sde": (ksampling.sample_dpmpp_2m_sde, True),
    "dpmpp_3m_sde": (ksampling.sample_dpmpp_3m_sde, True),
}


def run_k(model, sampler, x, sigmas, noise):
    """noise [draws, 4, H, W] is used up one row a draw."""
    function, draws = K_SAMPLERS[sampler]
    rows, queue = [], iter(noise)
    kwargs = {"noise_sampler": lambda *_: next(queue)[None].to(x)} if draws else {}

    with torch.no_grad():
        end = function(
            model.denoise,
            x,
            sigmas.to(x),
            disable=True,
            callback=lambda state: rows.append(state["x"][0]),
            **kwargs
        )
    if model.mask is not None:
        end = end * model.mask + model.init * (1 - model.mask)
    return torch.stack(rows + [end[0]])


def ddim_timesteps(n):
    return np.clip(np.asarray(list(range(0, 1000, 1000 // n))) + 1, 0, 999)


def run_ddim(model, x, timesteps, eta, noise):
    """From the last timestep down to index 1: one call fewer than there are timesteps."""
    ac = ALPHAS_CUMPROD.double()
    rows = [x[0]]
    for row, index in enumerate(range(len(timesteps) - 1, 0, -1)):
        t, prev = int(timesteps[index]), int(timesteps[index - 1])
        a, a_prev = ac[t].item(), ac[prev].item()
        sigma = eta * ((1 - a_prev) / (1 - a) * (1 - a / a_prev)) ** 0.5
        with torch.no_grad():
            x, e = model.noise(x, torch.full((1,), float(t), dtype=x.dtype))
        x0 = (x - (1 - a) ** 0.5 * e) / a**0.5
        x = a_prev**0.5 * x0 + (1 - a_prev - sigma**2) ** 0.5 * e + sigma * noise[row].to(x)
        rows.append(x[0])
    if model.mask is not None:
        rows[-1] = (x * model.mask + model.init * (1 - model.mask))[0]
    return torch.stack(rows)
