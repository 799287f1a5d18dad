"""Does unet_cpu.py compute what networks.py does?   python check_cpu.py [small|second]

Outputs and every parameter's gradient of random networks, against PyTorch in float32. What bfloat16
alone costs is told by PyTorch's own autocast on the same numbers; this must not be much worse.
"""
import sys
import torch
import common
import networks

cpu = common.unet_cpu(common.device())
assert cpu, "needs a CPU with AMX or AVX-512 BF16"


def apart(a, b):
    return ((a.float() - b).norm() / (b.norm() + 1e-12)).item()


def gradients(module, out, goal):
    (out.float() * goal).sum().backward()
    got = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    module.zero_grad(set_to_none=True)
    return got


def compare(name, module, goal, plain, fast):
    """Median and worst distance of the gradients, relative to what they should be."""
    exact_out = plain()
    exact = gradients(module, exact_out, goal)
    with torch.autocast("cpu", torch.bfloat16):
        half_out = plain()
    figures = []
    for out in (fast(), half_out):
        got = gradients(module, out, goal)
        # the bias of keys moves no attention: its gradient is nothing but rounding
        far = sorted(apart(got[n], g) for n, g in exact.items() if not n.endswith("k_proj.bias"))
        figures.append((apart(out, exact_out), far[len(far) // 2], far[-1]))
    (a, b, c), half = figures
    print(f"{name}: output {a:.4f}, gradients' median {b:.4f}, worst {c:.4f}; "
          f"by autocast {half[0]:.4f}, {half[1]:.4f}, {half[2]:.4f}")
    assert all(x < 1.5 * y + 1e-3 for x, y in zip((a, b, c), half)), name


torch.manual_seed(0)
size = networks.SIZES[sys.argv[1] if len(sys.argv) > 1 else "small"]
text = networks.Text(size["text"], size["layers"])
unet = networks.UNet(size["unet"], size["text"])
vae = networks.Autoencoder(size["vae"])
for p in (*text.parameters(), *unet.parameters(), *vae.parameters()):
    if p.dim() > 1 and not p.any():
        torch.nn.init.normal_(p, std=.03)
unet.to(memory_format=torch.channels_last)
vae.to(memory_format=torch.channels_last)
text.tokens.normal_(std=.1)
ids, goal = torch.randint(0, 49000, (32, 24)), torch.randn(32, 24, size["text"])
compare("text", text, goal, lambda: text(ids), lambda: cpu.read(text, ids).transpose(0, 1))
context, t = torch.randn(32, 24, size["text"]), torch.randint(0, 1000, (32,))
for side in (16, 32):  # at 8 the middle's norms have three values a group: bfloat16 alone is lost there
    x = torch.randn(32, 4, side, side).contiguous(memory_format=torch.channels_last)
    compare(f"unet {side}x{side}", unet, torch.randn_like(x), lambda: unet(x, t, context),
            lambda: cpu.run(unet, x, t, context.transpose(0, 1).bfloat16().contiguous()))
z = torch.randn(32, 4, 8, 8)
compare("decoder", vae, torch.randn(32, 3, 64, 64), lambda: vae.decode(z), lambda: cpu.decode(vae, z))
