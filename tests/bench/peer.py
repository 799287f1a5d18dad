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
PROMPT = "a photo of an astronaut riding a horse on mars"
IDS = [320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496]  # tests/golden/tiny/tokens.json
START, END, LENGTH = 49406, 49407, 77


def token_ids(padding=END):
    """The empty prompt and PROMPT, [2, 77]."""
    rows = [[START, *ids, END] for ids in ([], IDS)]
    return [row + [padding] * (LENGTH - len(row)) for row in rows]


def golden():
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "golden"))


class SD1:
    """What a family asks of its modules: conditions from the tokens, noise from a latent, their
    number and the conditions."""

    scale = 0.18215
    encoders = ("text_encoder",)

    @staticmethod
    def ids():
        return (token_ids(),)

    @staticmethod
    def modules(path, dtype):
        import torch

        golden()
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

    @staticmethod
    def encode(encoder, ids):
        return (encoder(ids).last_hidden_state,)

    @staticmethod
    def conditions(side, dtype):
        """What shapes and kinds the conditions have."""
        import torch

        return (torch.zeros(2, LENGTH, 768, dtype=dtype),)

    @staticmethod
    def predict(unet, x, t, states):
        return unet(x, t, states, return_dict=False)[0]


class SDXL(SD1):
    scale = 0.13025
    encoders = ("text_encoder", "text_encoder_2")

    @staticmethod
    def ids():
        return token_ids(), token_ids(0)  # OpenCLIP's are padded with zeros

    @staticmethod
    def modules(path, dtype):
        golden()
        import fullsize_sdxl

        return fullsize_sdxl.read(path, dtype)

    @staticmethod
    def encode(first, second, ids, others):
        import torch

        a = first(ids, output_hidden_states=True).hidden_states[-2]
        b = second(others, output_hidden_states=True)
        given = torch.tensor([0.0, 1.0], dtype=a.dtype)  # an empty negative prompt is zeros
        states = torch.cat([a, b.hidden_states[-2]], -1)
        return states * given[:, None, None], b.text_embeds * given[:, None]

    @staticmethod
    def conditions(side, dtype):
        import torch

        sizes = torch.tensor([[side, side, 0, 0, side, side]] * 2, dtype=dtype)
        return (torch.zeros(2, LENGTH, 2048, dtype=dtype), torch.zeros(2, 1280, dtype=dtype), sizes)

    @staticmethod
    def predict(unet, x, t, states, pooled, sizes):
        more = {"text_embeds": pooled, "time_ids": sizes}
        return unet(x, t, states, added_cond_kwargs=more, return_dict=False)[0]


def family_of(path):
    from safetensors import safe_open

    with safe_open(path, "pt") as f:
        return SDXL if any(k.startswith("conditioner.") for k in f.keys()) else SD1


class PyTorch:
    """diffusers' modules in BF16, channels last; oneDNN beneath."""

    compiled = False

    def __init__(self, path, threads, cache):
        import torch

        torch.set_num_threads(threads)
        self.family = family_of(path)
        modules = self.family.modules(path, torch.bfloat16)
        self.encoders = [modules.pop(name) for name in self.family.encoders]
        self.unet, self.vae = (
            modules[name].to(memory_format=torch.channels_last) for name in ("unet", "vae")
        )
        self.parameters = sum(p.numel() for p in self.unet.parameters())
        if self.compiled:
            self.unet = torch.compile(self.unet)
            self.vae.decode = torch.compile(self.vae.decode)

    def prepare(self, side):
        pass

    def text(self, ids):
        return self.family.encode(*self.encoders, *ids)

    def noise(self, x, t, given):
        import torch

        x = x.bfloat16().contiguous(memory_format=torch.channels_last)
        return self.family.predict(self.unet, x, t, *(g.bfloat16() for g in given)).float()

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

        self.family = family_of(path)
        self.folder = self.converted(path, cache)
        self.core = openvino.Core()
        self.config = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self.parameters = None
        self.encoder = self.compile("text", [[2, LENGTH]] * len(self.family.encoders))

    @staticmethod
    def converted(path, cache):
        """The folder of the converted modules, made at the first call; half-precision weights stay
        so, and are never held twice."""
        folder = os.path.join(cache, f"openvino-{os.path.getsize(path)}")
        if os.path.exists(os.path.join(folder, "vae.xml")):
            return folder
        import openvino
        import torch
        from openvino.frontend.pytorch import patch_model

        traceable = getattr(patch_model, "__make_16bit_traceable")  # a class mangles such a name
        os.makedirs(folder, exist_ok=True)
        family = family_of(path)
        made = family.modules(path, torch.float16)

        class Call(torch.nn.Module):
            def __init__(self, modules, call):
                super().__init__()
                self.inner, self.call = torch.nn.ModuleList(modules), call
                traceable(self)

            def forward(self, *inputs):
                return self.call(*self.inner, *inputs)

        latent, given = torch.zeros(2, 4, 32, 32), family.conditions(256, torch.float32)
        ids = tuple(torch.tensor(i) for i in family.ids())
        calls = {
            "text": (family.encoders, family.encode, ids),
            "unet": (("unet",), family.predict, (latent, torch.ones(2), *given)),
            "vae": (("vae",), lambda m, z: m.decode(z, return_dict=False)[0], (latent[:1],)),
        }
        for name, (parts, call, example) in calls.items():
            print(f"openvino: converting {name}", file=sys.stderr)
            model = openvino.convert_model(
                Call([made.pop(part) for part in parts], call), example_input=example
            )
            openvino.save_model(model, os.path.join(folder, name + ".xml"))
            del model
        return folder

    def compile(self, name, shapes):
        model = self.core.read_model(os.path.join(self.folder, name + ".xml"))
        model.reshape({i: s for i, s in enumerate(shapes)})
        return self.core.compile_model(model, "CPU", self.config)

    def prepare(self, side):
        n = side // 8
        self.unet = self.vae = None  # the last size's memory first
        import torch

        given = [list(g.shape) for g in self.family.conditions(side, torch.float32)]
        self.unet = self.compile("unet", [[2, 4, n, n], [2], *given])
        self.vae = self.compile("vae", [[1, 4, n, n]])

    def call(self, model, *inputs):
        import torch

        return tuple(torch.from_numpy(o) for o in model([i.numpy() for i in inputs]).values())

    def text(self, ids):
        return self.call(self.encoder, *ids)

    def noise(self, x, t, given):
        return self.call(self.unet, x, t.expand(2).float(), *given)[0]

    def decode(self, z):
        return self.call(self.vae, z)[0]

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
        given = peer.text([torch.tensor(i) for i in peer.family.ids()])
        given = [*given, *peer.family.conditions(side, torch.float32)[len(given):]]
        times = [time.monotonic()]
        schedule.set_timesteps(steps)
        noise = torch.Generator().manual_seed(seed)
        x = torch.randn(1, 4, side // 8, side // 8, generator=noise) * schedule.sigmas[0]
        for t in schedule.timesteps:
            pair = schedule.scale_model_input(x, t).repeat(2, 1, 1, 1)
            without, guided = peer.noise(pair, t, given).chunk(2)
            x = schedule.step(without + GUIDANCE * (guided - without), t, x).prev_sample
            times.append(time.monotonic())
        image = peer.decode(x / peer.family.scale)[0].permute(1, 2, 0)
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
