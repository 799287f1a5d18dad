"""One peer of peers.py: another implementation, in a process of its own, told by lines of JSON.

usage: peer.py NAME MODEL.safetensors THREADS CACHE_FOLDER

The first line it writes says how long loading took. Then it reads {"side": N, "steps": N,
"seed": N, "compare": PNG or null}, paints, and answers with seconds of each part; steps 0 prepares
for a size by a step that does not count. What libraries print goes to stderr. All peers share one
loop: two prompts encoded at once, guidance as a batch of two, diffusers' Euler, decoding to bytes.
"""

import contextlib
import json
import os
import re
import sys
import tempfile
import time

GUIDANCE = 7.5
SCALE = 0.18215
PROMPT = "a photo of an astronaut riding a horse on mars"
IDS = [320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496]  # tests/golden/tiny/tokens.json
START, END, LENGTH = 49406, 49407, 77


def token_ids():
    """The empty prompt and PROMPT, [2, 77]."""
    rows = [[START, *ids] for ids in ([], IDS)]
    return [row + [END] * (LENGTH - len(row)) for row in rows]


def modules(path, dtype):
    """diffusers' and transformers' modules with the file's weights."""
    import torch

    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "golden"))
    import sdmodel

    out = {}
    for name, module in sdmodel.FULL.modules("meta").items():
        module = module.to(dtype).to_empty(device="cpu")
        for key, buffer in module.named_buffers():
            if key.endswith("position_ids"):  # made with the module, not read from the file
                buffer.copy_(torch.arange(buffer.shape[-1]).expand(buffer.shape))
        out[name] = module
    sdmodel.read_ldm(path, out)
    return out


class PyTorch:
    """diffusers' modules in BF16, channels last; oneDNN beneath."""

    compiled = False

    def __init__(self, path, threads, cache):
        import torch

        torch.set_num_threads(threads)
        for name, module in modules(path, torch.bfloat16).items():
            if name != "text_encoder":
                module = module.to(memory_format=torch.channels_last)
            setattr(self, name, module)
        self.parameters = sum(p.numel() for p in self.unet.parameters())
        if self.compiled:
            self.unet = torch.compile(self.unet)
            self.vae.decode = torch.compile(self.vae.decode)

    def prepare(self, side):
        pass

    def text(self, ids):
        return self.text_encoder(ids).last_hidden_state

    def noise(self, x, t, states):
        import torch

        x = x.bfloat16().contiguous(memory_format=torch.channels_last)
        return self.unet(x, t, states, return_dict=False)[0].float()

    def decode(self, z):
        import torch

        z = z.bfloat16().contiguous(memory_format=torch.channels_last)
        return self.vae.decode(z, return_dict=False)[0].float()

    def kernels(self, run):
        """Which kernels run() spends oneDNN's time in, by oneDNN's own log."""
        import torch

        with tempfile.TemporaryFile("w+") as log:
            saved = os.dup(1)
            os.dup2(log.fileno(), 1)
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                run()
            os.dup2(saved, 1)
            log.seek(0)
            times = {}
            for line in log:
                field = line.strip().split(",")
                if "exec" in field:
                    at = field.index("exec")
                    amx = "AMX" if "amx" in field[at + 3] else "other"
                    key = f"{field[at + 2]} {amx}"
                    times[key] = times.get(key, 0) + float(field[-1])
        whole = sum(times.values()) or 1
        top = sorted(times.items(), key=lambda kv: -kv[1])[:5]
        return ", ".join(f"{k} {100 * v / whole:.0f}%" for k, v in top)


class Compiled(PyTorch):
    """The same through torch.compile (needs a C++ compiler)."""

    compiled = True


class OpenVINO:
    """The same modules converted by openvino.convert_model, kept in the cache folder, computing in
    BF16; compiled for the size, which is faster than for any size."""

    def __init__(self, path, threads, cache):
        import openvino

        self.folder = self.converted(path, cache)
        self.core = openvino.Core()
        self.config = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self.parameters = None
        self.text_encoder = self.compile("text_encoder", [[2, LENGTH]])

    @staticmethod
    def converted(path, cache):
        """The folder of the converted modules, made at the first call."""
        folder = os.path.join(cache, f"openvino-{os.path.getsize(path)}")
        if os.path.exists(os.path.join(folder, "vae.xml")):
            return folder
        import openvino
        import torch

        os.makedirs(folder, exist_ok=True)
        made = modules(path, torch.float32)

        class Call(torch.nn.Module):
            def __init__(self, module, call):
                super().__init__()
                self.module, self.call = module, call

            def forward(self, *inputs):
                return self.call(self.module, *inputs)

        latent, ids = torch.zeros(2, 4, 32, 32), torch.tensor(token_ids())
        states = torch.zeros(2, LENGTH, 768)
        calls = {
            "text_encoder": (lambda m, i: m(i).last_hidden_state, (ids,)),
            "unet": (
                lambda m, x, t, s: m(x, t, s, return_dict=False)[0],
                (latent, torch.ones(2), states),
            ),
            "vae": (lambda m, z: m.decode(z, return_dict=False)[0], (latent[:1],)),
        }
        for name, (call, example) in calls.items():
            print(f"openvino: converting {name}", file=sys.stderr)
            model = openvino.convert_model(Call(made.pop(name), call), example_input=example)
            openvino.save_model(model, os.path.join(folder, name + ".xml"))
        return folder

    def compile(self, name, shapes):
        model = self.core.read_model(os.path.join(self.folder, name + ".xml"))
        model.reshape({i: s for i, s in enumerate(shapes)})
        return self.core.compile_model(model, "CPU", self.config)

    def prepare(self, side):
        n = side // 8
        self.unet = self.vae = None  # the last size's memory first
        self.unet = self.compile("unet", [[2, 4, n, n], [2], [2, LENGTH, 768]])
        self.vae = self.compile("vae", [[1, 4, n, n]])

    def call(self, model, *inputs):
        import torch

        return torch.from_numpy(model([i.numpy() for i in inputs])[0])

    def text(self, ids):
        return self.call(self.text_encoder, ids)

    def noise(self, x, t, states):
        return self.call(self.unet, x, t.expand(2).float(), states)

    def decode(self, z):
        return self.call(self.vae, z)

    def kernels(self, run):
        """The UNet's convolutions and products by the kernels that the compiled model names."""
        counts = {}
        for op in self.unet.get_runtime_model().get_ops():
            info = op.get_rt_info()
            kind = info["layerType"].astype(str) if "layerType" in info else ""
            if kind in ("Convolution", "FullyConnected", "MatMul", "ScaledDotProductAttention"):
                key = f"{kind} {info['primitiveType'].astype(str)}"
                counts[key] = counts.get(key, 0) + 1
        return ", ".join(f"{k} x{v}" for k, v in sorted(counts.items()))


def paint(peer, side, steps, seed):
    """Seconds of each part, and the picture [side, side, 3]."""
    import torch
    from diffusers import EulerDiscreteScheduler

    schedule = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    with torch.inference_mode():
        began = time.monotonic()
        states = peer.text(torch.tensor(token_ids()))
        times = [time.monotonic()]
        schedule.set_timesteps(steps)
        noise = torch.Generator().manual_seed(seed)
        x = torch.randn(1, 4, side // 8, side // 8, generator=noise) * schedule.sigmas[0]
        for t in schedule.timesteps:
            pair = schedule.scale_model_input(x, t).repeat(2, 1, 1, 1)
            without, given = peer.noise(pair, t, states).chunk(2)
            x = schedule.step(without + GUIDANCE * (given - without), t, x).prev_sample
            times.append(time.monotonic())
        image = peer.decode(x / SCALE)[0].permute(1, 2, 0)
        image = (image * 127.5 + 127.5).clamp(0, 255).round().byte().numpy()
        end = time.monotonic()
    return {
        "text": times[0] - began,
        "step": (times[-1] - times[0]) / steps,
        "decode": end - times[-1],
        "whole": end - began,
    }, image


PEERS = {
    "pytorch": PyTorch,
    "pytorch-compiled": Compiled,
    "openvino": OpenVINO,
}


def psnr(image, path):
    import numpy as np
    from PIL import Image

    other = np.asarray(Image.open(path).convert("RGB"), dtype=np.float64)
    return float(10 * np.log10(255**2 / max(np.mean((image - other) ** 2), 1e-9)))


def peak_memory():
    """The most memory held since the last call, where the system can say so."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as f:
        peak = int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) * 1024
        with open("/proc/self/clear_refs", "w", encoding="ascii") as f:
            f.write("5")
        return peak
    return None


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    name, path, threads, cache = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    if name == "openvino":
        OpenVINO.converted(path, cache)  # once, and no part of loading
    began = time.monotonic()
    peer = PEERS[name](path, int(threads), cache)
    answer(load=time.monotonic() - began, parameters=peer.parameters)
    for line in sys.stdin:
        r = json.loads(line)
        if r["steps"] == 0:
            began = time.monotonic()
            peer.prepare(r["side"])
            paint(peer, r["side"], 1, 0)
            warm = time.monotonic() - began
            answer(warm=warm, kernels=peer.kernels(lambda: paint(peer, r["side"], 1, 0)))
            continue
        peak_memory()
        times, image = paint(peer, r["side"], r["steps"], r["seed"])
        close = psnr(image, r["compare"]) if r["compare"] else None
        answer(**times, psnr=close, peak=peak_memory())


if __name__ == "__main__":
    main()
