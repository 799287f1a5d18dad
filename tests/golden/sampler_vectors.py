"""Writes sampler_vectors.h: where every sampler ends on a problem whose denoiser is a formula.

    python3 tests/golden/sampler_vectors.py > tests/golden/sampler_vectors.h

The data are a mixture of two Gaussians, so the best denoiser is known exactly and is not linear.
The loops are k-diffusion's (see sampling.py); those of LCM, UniPC, PLMS, DEIS, IPNDM and DDPM are
diffusers'; DDIM's and CFG++'s are written from their papers. All in float64; noise is Philox as the
WebUI draws it. `sampler_pairs` has every sampler that takes a schedule with each of them.
"""
import math

import numpy as np
import torch
import diffusers
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
def plain(x, sigma):
    """What is said without a prompt: data around 0 with a spread of 1."""
    return x / (1 + sigma ** 2)


NAMES = {"euler": "Euler", "euler_a": "Euler a", "dpmpp_2m": "DPM++ 2M", "heun": "Heun", "lms": "LMS",
         "dpm2": "DPM2", "dpm2_a": "DPM2 a", "dpmpp_2s_a": "DPM++ 2S a", "dpmpp_sde": "DPM++ SDE",
         "dpmpp_2m_sde": "DPM++ 2M SDE", "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
         "dpmpp_3m_sde": "DPM++ 3M SDE", "lcm": "LCM", "dpm_fast": "DPM fast",
         "dpm_adaptive": "DPM adaptive", "restart": "Restart", "ddim": "DDIM", "ddim_cfgpp": "DDIM CFG++",
         "plms": "PLMS", "unipc": "UniPC", "euler_cfg_pp": "Euler CFG++",
         "euler_a_cfg_pp": "Euler a CFG++", "ddpm": "DDPM", "deis": "DEIS", "ipndm": "IPNDM"}
TIMES = ("ddim", "ddim_cfgpp", "plms", "unipc")
CONFIG = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


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


def run_cfg_pp(x, sigmas, eta, noise):
    """Chung et al. 2024, algorithm 2, divided by the root of the signal's power."""
    for a, b in zip(sigmas[:-1], sigmas[1:]):
        up = min(b, eta * (b ** 2 * (a ** 2 - b ** 2) / a ** 2) ** 0.5)
        e = (x - plain(x, a)) / a
        x = denoise(x, a) + (b ** 2 - up ** 2) ** 0.5 * e
        if eta and b > 0:
            x = x + up * noise()
    return x


def run_restart(x, sigmas, noise):
    """Xu et al. 2023 with the WebUI's numbers; the pieces between the jumps are k-diffusion's Heun."""
    heun = lambda x, s: sampling.ksampling.sample_heun(model_of(denoise), x, s, disable=True)
    n = len(sigmas) - 1
    if n < 20:
        return heun(x, sigmas)
    again, times = (n // 4, 2) if n >= 36 else (9, 1)
    karras = sampling.ksampling.get_sigmas_karras
    once = karras(n - again * times, sigmas[-2].item(), sigmas[0].item()).double()
    turn, top = ((once - s).abs().argmin().item() for s in (0.1, 2))
    x = heun(x, once[:turn + 1])
    for _ in range(times):
        up = karras(again + 1, once[turn].item(), once[top].item()).double()[:-1]
        x = x + noise() * (up[0] ** 2 - once[turn] ** 2) ** 0.5
        x = heun(x, up)
    return heun(x, once[turn:])


def run_sigmas(scheduler, x, sigmas):
    """A multistep scheduler of diffusers through given sigmas; their latents are scaled by sqrt(a).
    The last step is not theirs where it goes to 0, but to the prediction."""
    scheduler.set_timesteps(len(sigmas) - 1)
    root = (1 + sigmas ** 2) ** 0.5
    scheduler.sigmas, scheduler.alphas, scheduler.betas = sigmas, 1 / root, sigmas / root
    scheduler._step_index, z = 0, x / root[0]
    for i in range(len(sigmas) - 1):
        y = z * root[i]
        d = denoise(y, sigmas[i])
        if sigmas[i + 1] == 0:
            return d
        said = (y - d) / sigmas[i]
        if isinstance(scheduler, diffusers.IPNDMScheduler): # which is told v
            said = (said - scheduler.betas[i] * z) / scheduler.alphas[i]
        z = scheduler.step(said, scheduler.timesteps[0], z).prev_sample
    return z * root[-1]


def run_ddpm(x, n, noise):
    """diffusers' DDPMScheduler through n + 1 even levels of which the last is the clean picture."""
    ddpm = diffusers.DDPMScheduler(variance_type="fixed_small", clip_sample=False, **CONFIG)
    ddpm.alphas_cumprod = sampling.ALPHAS_CUMPROD.double()
    ddpm.one = torch.tensor(1.0, dtype=torch.float64)
    ddpm.set_timesteps(timesteps=[round(t) for t in np.linspace(999, 0, n)])
    diffusers.schedulers.scheduling_ddpm.randn_tensor = lambda *_, **__: noise()
    a = ddpm.alphas_cumprod[999].item()
    z, model = x * a ** 0.5, Timesteps()
    for t in ddpm.timesteps:
        _, eps = model.noise(z, t[None])
        z = ddpm.step(eps, t, z).prev_sample
    return z


def run_plms(x, total, times, cut):
    """diffusers' PNDMScheduler, whose first level comes twice, down to the WebUI's last one."""
    plms = diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False, **CONFIG)
    plms.alphas_cumprod = sampling.ALPHAS_CUMPROD.double()
    plms.set_timesteps(total)
    left = times[:cut]
    model = Timesteps()
    walk = [int(left[-1])] + [int(t) for t in left[-2::-1]][:1] + [int(t) for t in left[-2::-1]]
    for t in walk[:len(left)]:
        _, eps = model.noise(x, torch.tensor([t]))
        x = plms.step(eps, t, x).prev_sample
    return x, len(left) - 1


def run_unipc(x, n, top):
    """diffusers' UniPC at the WebUI's times, even from level `top` to level 0; the logarithm of the
    signal's power is linear between levels."""
    times = np.linspace(top, 0, n + 1)
    log_ac = np.log(sampling.ALPHAS_CUMPROD.double().numpy())
    sigmas = torch.from_numpy(np.sqrt(np.exp(-np.interp(times, np.arange(1000), log_ac)) - 1))
    unipc = diffusers.UniPCMultistepScheduler(solver_order=3, solver_type="bh1", **CONFIG)
    root = (1 + sigmas ** 2) ** 0.5
    return run_sigmas(unipc, x * root[0], sigmas) / root[-1], n


def model_of(f):
    return lambda x, s: f(x, s[0])


def run_times(key, mode, total, cut, start, eta, noise, masked):
    times = sampling.ddim_timesteps(total)
    ac = sampling.ALPHAS_CUMPROD.double()
    x, top = start, 999
    if mode == "text":
        cut = len(times)
    else:
        a, top = ac[times[cut]].item(), int(times[cut - 1])
        x = a ** 0.5 * INIT + (1 - a) ** 0.5 * start
    if key == "unipc":
        end, steps = run_unipc(x, cut, top)
        return steps, end[0]
    if key == "plms":
        end, steps = run_plms(x, total, times, cut)
        return steps, end[0]
    if key == "ddim_cfgpp":
        walked = ac[times[:cut][::-1].copy()]
        sigmas = ((1 - walked) / walked) ** 0.5
        end = run_cfg_pp(x / walked[0] ** 0.5, sigmas, eta or 0, noise)
        return cut - 1, (end * walked[-1] ** 0.5)[0]
    draws = [noise() for _ in range(cut)]
    end = sampling.run_ddim(Timesteps(MASK if masked else None, INIT), x, times[:cut], eta or 0, draws)
    return cut - 1, end[-1]


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
    if key in TIMES:
        return run_times(key, mode, total, cut, start, eta, noise, masked)

    discard = key in ("dpm2", "dpm2_a", "dpmpp_3m_sde")
    sigmas = sampling.exact_schedules(total + discard)[scheduler]
    low, high = float(sampling.exact_schedules(2)["uniform"][1]), float(sigmas[0])
    if discard:
        sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
    if "sde" in key:
        # The path runs over the whole schedule, also where only its end is walked.
        noise = sampling.ksampling.BrownianTreeNoiseSampler(start, sigmas[sigmas > 0].min(), sigmas.max(), SEED)
    x = start * sigmas[0]
    if mode != "text":
        sigmas = sigmas[total - cut - 1:]
        x = INIT + start * sigmas[0]
        low, high = sigmas[-2].item(), sigmas[0].item()
    taken, eta = len(sigmas) - 1, 1.0 if eta is None and "_a" in key else eta
    call = lambda x, s: keep(denoise(x, s[0]))
    if key in ("dpm_fast", "dpm_adaptive"):
        if mode == "text":
            high, taken = float(sampling.exact_schedules(2)["uniform"][0]), steps
            x = start * high
        torch.set_default_dtype(torch.float64)
        kwargs = dict(eta=1.0 if eta is None else eta, noise_sampler=noise, disable=True)
        end = (sampling.ksampling.sample_dpm_fast(call, x, low, high, taken, **kwargs)
               if key == "dpm_fast" else
               sampling.ksampling.sample_dpm_adaptive(call, x, low, high, **kwargs))
        torch.set_default_dtype(torch.float32)
    elif key == "restart":
        end = run_restart(x, sigmas, noise)
    elif key in ("euler_cfg_pp", "euler_a_cfg_pp"):
        end = run_cfg_pp(x, sigmas, eta or 0.0, noise)
    elif key == "ddpm":
        end = run_ddpm(x, steps, noise)
    elif key == "deis":
        end = run_sigmas(diffusers.DEISMultistepScheduler(
            solver_order=3, lower_order_final=False, **CONFIG), x, sigmas)
    elif key == "ipndm":
        end = run_sigmas(diffusers.IPNDMScheduler(), x, sigmas)
    else:
        function, draws = sampling.K_SAMPLERS[key.removesuffix("_heun")]
        kwargs = {"noise_sampler": noise} if draws else {}
        if eta is not None and draws:
            kwargs["eta"] = eta
        if key.endswith("_heun"):
            kwargs["solver_type"] = "heun"
        end = function(call, x, sigmas, disable=True, **kwargs)
    return taken, keep(end)[0]


def run_noise(key, scheduler, churn, low, high, scale):
    """k-diffusion's loops told to add noise; they draw it by torch.randn_like."""
    noise = Noise(SEED)
    discard = key in ("dpm2", "dpm2_a", "dpmpp_3m_sde")
    sigmas = sampling.exact_schedules(10 + discard)[scheduler]
    if discard:
        sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
    x = noise() * sigmas[0]
    sampling.ksampling.torch.randn_like = noise
    function, draws = sampling.K_SAMPLERS[key]
    kwargs = {"noise_sampler": noise} if draws else dict(
        s_churn=churn, s_tmin=low, s_tmax=high or math.inf)
    if "sde" in key:
        kwargs["noise_sampler"] = sampling.ksampling.BrownianTreeNoiseSampler(
            x, sigmas[sigmas > 0].min(), sigmas.max(), SEED)
    return function(model_of(denoise), x, sigmas, disable=True, s_noise=scale, **kwargs)[0]


def print_rescaled():
    """diffusers' rescale_noise_cfg."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
    guided = torch.tensor([2.0 * math.sin(3 * i) + 0.3 for i in range(12)]).double()
    cond = torch.tensor([0.7 * math.cos(2 * i) for i in range(12)]).double()
    print("\n/* guided[i] = 2 sin(3 i) + 0.3 rescaled to cond[i] = 0.7 cos(2 i), by a share of 0.7. */")
    end = rescale_noise_cfg(guided[None, None], cond[None, None], 0.7).flatten().tolist()
    print("static const double rescaled_vector[12] = {" + ", ".join(f"{v:.8g}" for v in end) + "};")


def main():
    old = [k for k in NAMES if k in sampling.K_SAMPLERS or k.endswith("_heun")]
    cases = [(k, s, 10) for k in old for s in ("exponential" if "sde" in k else "uniform", "karras")]
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
    cases += [(k, "uniform", n) for k in ("ddim_cfgpp", "plms", "unipc")
              for n in (2, 3, 4, 10, 30) if (k, n) != ("plms", 3)] # whose 999 is not a whole step
    cases += [(k, "uniform", 10, mode, s) for k in ("ddim_cfgpp", "plms", "unipc")
              for mode, s in (("image", 0.35), ("image", 0.6), ("image", 1.0), ("hires", 0.6))]
    cases += [("ddim_cfgpp", "uniform", 10, "text", 1.0, 0.7)]
    cases += [(k, "uniform", n, "text", 1.0, eta) for k in ("dpm_fast", "dpm_adaptive")
              for n in (1, 5, 9, 10, 20) for eta in (None, 0.0, 0.5)]
    cases += [(k, s, 10, mode, 0.6) for k in ("dpm_fast", "dpm_adaptive", "restart", "deis", "ipndm",
              "euler_cfg_pp", "euler_a_cfg_pp") for s in ("uniform", "karras") for mode in ("image", "hires")]
    cases += [("restart", s, n) for n in (1, 10, 19, 20, 30, 36, 50) for s in ("karras", "exponential")]
    cases += [("restart", "karras", 40, "image", s) for s in (0.3, 0.75)]
    cases += [(k, "karras", n) for k in ("deis", "ipndm", "euler_cfg_pp", "euler_a_cfg_pp")
              for n in (1, 2, 3, 4, 10)]
    cases += [("ddpm", "uniform", 10)]
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
        print(f'    {{"{NAMES[key]}", "{scheduler}", {steps}, "{mode}", {strength}, '
              f'{-1.0 if eta is None else eta}, {str(masked).lower()}, {taken},\n     {{{rows}}}}},')
    print("};\n")
    print("/* Ten steps from text to image; `end` has the first pixels of the first channel. */")
    print("static const struct sampler_pair {\n    const char *sampler, *scheduler;\n    double end[4];")
    print("} sampler_pairs[] = {")
    for key in NAMES:
        for scheduler in sampling.exact_schedules(10):
            if key not in TIMES + ("lcm", "ddpm"):
                _, end = run(key, scheduler, 10)
                numbers = ", ".join(f"{v:.7g}" for v in end.flatten().tolist()[:4])
                print(f'    {{"{NAMES[key]}", "{scheduler}", {{{numbers}}}}},')
    print("};")
    print("\n/* Ten steps with churn, and with other noise; as above. */")
    print("static const struct sampler_noise_vector {\n    const char *sampler, *scheduler;")
    print("    double churn, low, high, scale, end[4];\n} sampler_noise_vectors[] = {")
    cases = [(k, s, *how) for k in ("euler", "heun", "dpm2") for s in ("uniform", "karras")
             for how in ((3, 0, 0, 1), (40, 0, 0, 1.003), (5, 0.05, 8, 0.9))]
    cases += [(k, "karras", 0, 0, 0, 0.9) for k in ("dpm2_a", "dpmpp_2s_a", "dpmpp_sde", "dpmpp_2m_sde",
                                                    "dpmpp_3m_sde")]
    for case in cases:
        numbers = ", ".join(f"{v:.7g}" for v in run_noise(*case).flatten().tolist()[:4])
        how = ", ".join(str(v) for v in case[2:])
        print(f'    {{"{NAMES[case[0]]}", "{case[1]}", {how}, {{{numbers}}}}},')
    print("};")
    print_rescaled()


main()
