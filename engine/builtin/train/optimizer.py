"""AdamW for vectors and the text encoder, Muon for the UNet's matrices; with clipping to norm 1 and
the running average of the weights.

Muon moves a matrix by its momentum made orthogonal (Newton-Schulz iterations; Jordan and others,
2024), which uses all directions of a gradient alike; .2 sqrt(longer side) gives steps as long as
AdamW's, so that both share a learning rate.
"""
import math
import torch
import torch.distributed as dist
import common


# the text encoder, queries and keys learn more slowly: with heads of few channels attention
# otherwise becomes a choice of one token within minutes, and what a word means is never learnt
PARTS = (1., .5, 2., .2)  # of the rate: vectors, slow vectors, matrices, slow matrices


def kind(n, p):
    """Whether a parameter of [text encoder, UNet] is one of Muon's matrices, and whether it is slow."""
    slow = n[0] == "0" and n != "0.own" or ".to_q." in n or ".to_k." in n
    return n[0] == "1" and p.dim() > 1 and min(p.shape[:2]) > 4 and "emb" not in n, slow


def rows(t):
    """A weight as a matrix [out, the rest], without copying where convolutions are channels_last."""
    return t.movedim(1, -1).reshape(t.shape[0], -1) if t.dim() == 4 else t


def lie_like(p, t):
    """t in the order in memory that p has."""
    return t if t.stride() == p.stride() else torch.empty_like(p).copy_(t)


@torch.no_grad()
def orthogonal(x):
    """[k, n, m] with singular values of about one."""
    turned = x.shape[1] > x.shape[2]
    x = x.mT if turned else x
    if common.has_bfloat16(x.device):
        x = x.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445)
    return x.mT if turned else x


@torch.no_grad()
def share(grads):
    """Means over all processes."""
    same = [g.movedim(1, -1) if g.dim() == 4 else g for g in grads]  # their order in memory
    flat = torch.cat([g.reshape(-1) for g in same])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for g, mean in zip(same, flat.split([g.numel() for g in same])):
        g.copy_(mean.view(g.shape))


def orthogonal_shared(x):
    """orthogonal(), of which each process computes a part."""
    if not dist.is_initialized():
        return orthogonal(x)
    ranks, count = dist.get_world_size(), len(x)
    part = -(-count // ranks)
    x = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, part * ranks - count))
    mine = orthogonal(x.split(part)[dist.get_rank()]).contiguous()
    parts = [torch.empty_like(mine) for _ in range(ranks)]
    dist.all_gather(parts, mine)
    return torch.cat(parts)[:count]


class Optimizer(torch.optim.Optimizer):
    """Groups have muon or not."""

    def __init__(self, groups, **defaults):
        super().__init__(groups, dict(lr=1e-3, betas=(.9, .99), eps=1e-8, weight_decay=1e-2, **defaults))

    @torch.no_grad()
    def update(self, ema, step, cpu):
        """ema's shadow is in the order of the groups; cpu: unet_cpu, or None."""
        keep, average = min(ema.decay, (1 + step) / (10 + step)), iter(ema.shadow)
        grads = [p.grad for g in self.param_groups for p in g["params"]]
        norm = torch.stack(torch._foreach_norm(grads)).norm().item()
        clip = min(1, 1 / (norm + 1e-6))
        for group in self.param_groups if math.isfinite(norm) else ():
            params = group["params"]
            mine = [next(average) for _ in params]
            for p in params:
                if p not in self.state:
                    self.state[p] = dict(step=torch.zeros(()), exp_avg=torch.zeros_like(p))
                    if not group["muon"]:
                        self.state[p]["exp_avg_sq"] = torch.zeros_like(p)
                self.state[p]["step"] += 1
            if group["muon"]:
                self.muon(group, mine, clip, keep, cpu)
            elif cpu:
                cpu.adamw(group, mine, clip, keep, self.state)
            else:
                self.adamw(group, mine, clip, keep)
        for g in self.param_groups:
            for p in g["params"]:
                p.grad = None
        return norm

    def adamw(self, group, average, clip, keep):
        params = [p.detach() for p in group["params"]]
        grads = torch._foreach_mul([p.grad for p in group["params"]], clip)
        made = [self.state[p] for p in group["params"]]
        m, v = [s["exp_avg"] for s in made], [s["exp_avg_sq"] for s in made]
        (b1, b2), lr, count = group["betas"], group["lr"], made[0]["step"].item()
        torch._foreach_lerp_(m, grads, 1 - b1)
        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, grads, grads, 1 - b2)
        below = torch._foreach_div(torch._foreach_sqrt(v), (1 - b2 ** count) ** .5)
        torch._foreach_add_(below, group["eps"])
        torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        torch._foreach_addcdiv_(params, m, below, -lr / (1 - b1 ** count))
        torch._foreach_lerp_(average, params, 1 - keep)

    def muon(self, group, average, clip, keep, cpu):
        shapes = {}
        for p, a in zip(group["params"], average):
            shapes.setdefault(rows(p).shape, []).append((p, a))
        for (n, m), some in shapes.items():
            params, average = ([x.detach() for x in xs] for xs in zip(*some))
            grads, momenta = [p.grad for p, _ in some], [self.state[p]["exp_avg"] for p, _ in some]
            shrink, by = 1 - group["lr"] * group["weight_decay"], group["lr"] * .2 * max(n, m) ** .5
            if cpu:
                u = orthogonal_shared(cpu.ext.ahead(grads, momenta, clip, .95).view(-1, n, m)).contiguous()
                cpu.ext.move(params, u, average, shrink, by, keep)
                continue
            torch._foreach_lerp_(momenta, torch._foreach_mul(grads, clip), .05)
            look = [rows(torch.lerp(g * clip, v, .95)) for g, v in zip(grads, momenta)]
            for p, u in zip(params, orthogonal(torch.stack(look))):
                rows(p).mul_(shrink).add_(u, alpha=-by)
            torch._foreach_lerp_(average, params, 1 - keep)
