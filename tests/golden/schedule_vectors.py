"""Writes schedule_vectors.h: schedules between other ends, with another rho, by other distributions.

    python3 tests/golden/schedule_vectors.py > tests/golden/schedule_vectors.h

Karras, Exponential and Polyexponential are k-diffusion's functions; its Model turns sigmas to levels
and back; Beta's quantiles are scipy's. Formulas are what the WebUI makes of them (sampling.py).
"""
import numpy as np
import scipy.stats
import torch

import sampling


def told(kind, n, lo, hi, rho, alpha, beta):
    """As sampling.schedules, between lo and hi where they are not 0."""
    k, m = sampling.ksampling, sampling.Model()
    lo, hi = lo or m.sigma_min.item(), hi or m.sigma_max.item()
    t_lo, t_hi = (m.sigma_to_t(torch.tensor(s)) for s in (lo, hi))
    bent = {"rho": rho} if rho else {}
    if kind == "karras":
        return k.get_sigmas_karras(n, lo, hi, **bent)
    if kind == "exponential":
        return k.get_sigmas_exponential(n, lo, hi)
    if kind == "polyexponential":
        return k.get_sigmas_polyexponential(n, lo, hi, **bent)
    if kind == "sgm_uniform":
        return k.append_zero(m.t_to_sigma(torch.linspace(t_hi, t_lo, n + 1)[:-1]))
    if kind == "normal":
        return k.append_zero(m.t_to_sigma(torch.linspace(t_hi, t_lo, n)))
    if kind == "kl_optimal":
        i = torch.arange(n + 1, dtype=torch.float64) / n
        return torch.tan(i * np.arctan(lo) + (1 - i) * np.arctan(hi))
    if kind == "beta":
        x = scipy.stats.beta.ppf(1 - np.linspace(0, 1, n), alpha, beta)
        return k.append_zero(torch.from_numpy(lo + x * (hi - lo)))
    return sampling.schedules(n)[kind] # these take no notice


def main():
    ends = [(0.1, 10, 0), (0.1, 0, 0), (0, 8, 0), (0.002, 80, 0)]
    cases = [(kind, 8, *how, 0.6, 0.6) for how in ends for kind in (
        "uniform", "karras", "exponential", "polyexponential", "sgm_uniform", "normal", "kl_optimal",
        "simple", "ddim", "beta")]
    cases += [(kind, 8, lo, hi, rho, 0.6, 0.6) for kind in ("karras", "polyexponential")
              for lo, hi in ((0, 0), (0.1, 10)) for rho in (2, 3, 5, 20)]
    cases += [("beta", n, 0, 0, 0, a, b) for n in (1, 2, 9, 30) for a, b in (
        (0.6, 0.6), (0.5, 0.5), (1, 1), (0.3, 0.9), (0.9, 0.3), (0.05, 0.7), (4, 0.7), (2, 7), (10, 10))]
    print("/* schedule_vectors.h: written by schedule_vectors.py. */")
    print("static const struct schedule_vector {")
    print("    const char *name;\n    int steps, count;\n    double low, high, rho, alpha, beta;")
    print("    double sigmas[32];\n} schedule_vectors[] = {")
    for case in cases:
        name, steps, *how = case
        sigmas = [f"{v:.7g}" for v in told(*case).tolist()]
        rows = ",\n      ".join(", ".join(sigmas[i:i + 8]) for i in range(0, len(sigmas), 8))
        print(f'    {{"{name}", {steps}, {len(sigmas)}, {", ".join(map(str, how))},\n     {{{rows}}}}},')
    print("};")


main()
