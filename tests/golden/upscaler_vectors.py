"""Writes upscaler_vectors.h: latents at other sizes as torch.nn.functional.interpolate makes them.

    python3 tests/golden/upscaler_vectors.py > tests/golden/upscaler_vectors.h
"""
import torch

MODES = {
    "Latent": ("bilinear", False),
    "Latent (antialiased)": ("bilinear", True),
    "Latent (bicubic)": ("bicubic", False),
    "Latent (bicubic antialiased)": ("bicubic", True),
    "Latent (nearest)": ("nearest", False),
    "Latent (nearest-exact)": ("nearest-exact", False),
}
HEIGHT, WIDTH, CHANNELS = 4, 6, 2
SIZES = [(8, 12), (7, 9), (5, 17), (3, 4), (1, 2)]


def numbers(values):
    return ",\n".join(", ".join(f"{v:.8g}f" if "." in f"{v:.8g}" or "e" in f"{v:.8g}" else
                                f"{v:.8g}.0f" for v in values[i:i + 8])
                      for i in range(0, len(values), 8))


latent = torch.randn(1, CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(7))


def last(t):  # channels last, as latents are in the engine
    return t[0].permute(1, 2, 0).flatten().tolist()


print(f"""/* upscaler_vectors.h: written by upscaler_vectors.py with torch {torch.__version__}. */
#define UPSCALER_WIDTH {WIDTH}
#define UPSCALER_HEIGHT {HEIGHT}
#define UPSCALER_CHANNELS {CHANNELS}
static const float upscaler_in[] = {{
{numbers(last(latent))}}};""")
rows = []
for k, (name, (mode, antialias)) in enumerate(MODES.items()):
    for n, size in enumerate(SIZES):
        out = torch.nn.functional.interpolate(latent, size=size, mode=mode, antialias=antialias)
        print(f"static const float upscaler_{k}_{n}[] = {{\n{numbers(last(out))}}};")
        rows.append(f'{{"{name}", {size[1]}, {size[0]}, upscaler_{k}_{n}}},')
print("""static const struct {
    const char *name;
    int width, height;
    const float *out;
} upscaler_vectors[] = {""")
print("\n".join(rows))
print("};")
