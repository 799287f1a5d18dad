"""Do two builds paint the same bytes? A table of requests with what each build answered.

usage: build/venv/bin/python tests/bench/same_pictures.py BUILD_A BUILD_B
       ... BUILD --save FILE       keeps the hashes of one build
       ... BUILD --against FILE    holds a build against kept hashes
       --levels auto,avx2,avx2:bf16,scalar   the instruction sets, and the arithmetic if not auto;
                                   auto paints all requests, the others the small ones
       --only WORD                 requests whose name has WORD

BUILD is a build folder (BUILD/pictor is started, with a data folder and a port of its own). A
request names everything that changes a picture, so that a changed default is not a changed
picture. Two hashes are taken of each picture: of its pixels, and of the whole file, which also
holds how it is packed and the infotext. The exit status is 1 when any differs, or when a request
fails. On another CPU pictures may differ: FILE is good for the machine that wrote it.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import requests
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "api"))
from conftest import free_port  # noqa: E402
from openai_client import gradient, hole, png  # noqa: E402
from sdapi_client import encode, half_mask  # noqa: E402

SAMPLERS = ["DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a",
            "DPM++ 3M SDE", "Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DDIM", "LCM"]
SCHEDULERS = ["uniform", "karras", "exponential", "polyexponential", "sgm_uniform", "kl_optimal",
              "align_your_steps", "simple", "normal", "ddim", "beta"]
LONG = ("a (castle:1.3) in the [mountains] at sunset, " * 12
        + "BREAK a penguin in the snow, \u732b, \U0001f3b8")


class Refused(Exception):
    pass


def checked(response, status=200):
    if response.status_code != status:
        raise Refused(f"status {response.status_code}: {response.text[:300]}")
    return response


def native(**fields):
    body = {"prompt": "a red cube", "negative_prompt": "blurry", "width": 64, "height": 64,
            "steps": 4, "guidance": 5, "sampler": "Euler a", "scheduler": "automatic", "seed": 7,
            "count": 1, **fields}

    def ask(url):
        job = checked(requests.post(url + "/api/jobs", json=body, timeout=300), 202).json()
        while job["state"] in ("queued", "running"):
            time.sleep(0.02)
            job = checked(requests.get(f"{url}/api/jobs/{job['id']}", timeout=60)).json()
        if job["state"] != "done":
            raise Refused(f"job {job['state']}: {job['error']}")
        images = sorted(job["images"], key=lambda image: image["index"])
        return [checked(requests.get(url + i["url"], timeout=60)).content for i in images]
    return ask


def openai(kind="generations", files=None, **fields):
    body = {"prompt": "a penguin in the snow", "n": 1, "size": "64x64", "steps": 4, "seed": 3,
            "guidance_scale": 5, "sampler": "Euler a", "output_format": "png",
            "response_format": "b64_json", **fields}
    if kind == "variations":
        del body["prompt"]
    sent = {"data": body, "files": files} if files else {"json": body}

    def ask(url):
        answer = checked(requests.post(f"{url}/v1/images/{kind}", timeout=300, **sent)).json()
        return [base64.b64decode(item["b64_json"]) for item in answer["data"]]
    return ask


def sdapi(path, **fields):
    body = {"prompt": "a guitar", "negative_prompt": "blurry", "width": 64, "height": 64,
            "steps": 4, "seed": 2, "cfg_scale": 5, "sampler_name": "Euler a",
            "scheduler": "Automatic", **fields}

    def ask(url):
        answer = checked(requests.post(f"{url}/sdapi/v1/{path}", json=body, timeout=300)).json()
        pictures = answer["images"] if "images" in answer else [answer["image"]]
        return [base64.b64decode(picture) for picture in pictures]
    return ask


def form(image=gradient(), mask=None):
    files = {"image": ("image.png", png(image), "image/png")}
    if mask:
        files["mask"] = ("mask.png", png(mask), "image/png")
    return files


def img2img(image=gradient(), format="PNG", **fields):
    return sdapi("img2img", init_images=[encode(image, format=format)],
                 **{"denoising_strength": 0.6, **fields})


def inpaint(**fields):
    return img2img(mask=encode(half_mask()), **{"mask_blur": 4, "inpainting_fill": 1,
                                                "inpaint_full_res": False, **fields})


def over(**fields):
    return native(init_image=encode(gradient()), **{"strength": 0.6, **fields})


# Name: request. The small ones are few, quick at every level, and touch every operation.
SMALL = {
    "native Euler a": native(),
    "native DPM++ 2M Karras, two": native(sampler="DPM++ 2M", scheduler="karras", count=2),
    "openai edits with mask": openai("edits", form(mask=hole()), strength=0.75),
    "sdapi hires": sdapi("txt2img", steps=2, enable_hr=True, hr_scale=2, hr_upscaler="Latent",
                         hr_second_pass_steps=2, denoising_strength=0.6),
}
LARGE = {
    **{f"sampler {name}": native(sampler=name) for name in SAMPLERS},
    **{f"scheduler {name}": native(sampler="Euler", scheduler=name, width=72)
       for name in SCHEDULERS},
    "native DDIM, eta": native(sampler="DDIM", eta=0.5, steps=6),
    "native long prompt": native(prompt=LONG, negative_prompt=LONG[::-1]),
    "native no guidance": native(guidance=1),
    "native clip skip": native(clip_skip=2),
    "native variation, CPU noise": native(rng="cpu", subseed=5, subseed_strength=0.3),
    "native guidance limits": native(guidance_low=1, guidance_high=8, guidance_alternate=True),
    "native reuse, merging": native(reuse_every=2, token_merging=0.5, width=128, steps=5),
    "native hires Lanczos": native(hires_width=128, hires_height=96, hires_steps=3,
                                   hires_strength=0.5, hires_upscaler="Lanczos"),
    "native own size": native(width=256, height=256, steps=8),
    "native tall, not square": native(width=88, height=200),
    "native 1024x1024": native(width=1024, height=1024, steps=1),
    "native jpeg": native(format="jpeg", quality=80),
    "native webp": native(format="webp", quality=80),
    **{f"native fit {fit}": over(fit=fit, width=96) for fit in ("stretch", "crop", "pad")},
    **{f"native fill {fill}": over(mask=encode(half_mask()), fill=fill, mask_blur=4)
       for fill in ("blur", "original", "noise", "nothing")},
    "native mask inverted": over(mask=encode(half_mask()), mask_invert=True),
    "native only the mask's area": over(mask=encode(half_mask()), mask_only_area=True,
                                        mask_padding=8),
    "openai generations, three": openai(n=3),
    "openai jpeg": openai(output_format="jpeg", output_compression=70),
    "openai webp": openai(output_format="webp", output_compression=70),
    "openai edits": openai("edits", form(gradient(96, 64)), strength=0.5),
    "openai edits of a jpeg": openai("edits", {"image": (
        "image.jpg", png(gradient(), format="JPEG", quality=90), "image/jpeg")}, strength=0.5),
    "openai variations": openai("variations", form(), n=2),
    "sdapi batches": sdapi("txt2img", batch_size=2, n_iter=2),
    "sdapi DPM++ 2M Karras": sdapi("txt2img", sampler_name="DPM++ 2M Karras", scheduler=None),
    "sdapi variation": sdapi("txt2img", subseed=9, subseed_strength=0.4),
    "sdapi jpeg": sdapi("txt2img", override_settings={"samples_format": "jpg"}),
    "sdapi webp": sdapi("txt2img", override_settings={"samples_format": "webp"}),
    "sdapi img2img": img2img(),
    "sdapi img2img of a webp": img2img(gradient(64, 96), "WEBP", resize_mode=1),
    **{f"sdapi inpainting fill {fill}": inpaint(inpainting_fill=fill) for fill in range(4)},
    "sdapi inpainting, whole resolution": inpaint(inpaint_full_res=True,
                                                  inpaint_full_res_padding=8, steps=6),
    **{f"sdapi upscaler {name}": sdapi("extra-single-image", image=encode(gradient()),
                                       upscaler_1=name, upscaling_resize=2)
       for name in ("Lanczos", "Nearest")},
}


@contextmanager
def serving(build, level):
    program = Path(build).resolve() / "pictor"
    cpu, _, precision = level.partition(":")
    with tempfile.TemporaryDirectory(prefix="same_pictures.") as folder:
        url = f"http://127.0.0.1:{(port := free_port())}"
        with open(f"{folder}/log", "wb") as log:
            server = subprocess.Popen(
                [program, "serve", f"--listen=127.0.0.1:{port}", f"--data={folder}/data",
                 f"--cpu={cpu}", f"--precision={precision or 'auto'}"],
                stdout=log, stderr=log, cwd=folder,
                env={k: v for k, v in os.environ.items() if not k.startswith("PICTOR_")})
        try:
            end = time.monotonic() + 30
            while True:
                try:
                    requests.get(url + "/healthz", timeout=5)
                    break
                except requests.ConnectionError:
                    if server.poll() is not None or time.monotonic() > end:
                        sys.exit(f"{program} does not serve:\n" + Path(f"{folder}/log").read_text())
                    time.sleep(0.05)
            native(steps=1)(url)  # opens the model
            yield url
        finally:
            server.terminate()
            server.wait()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def hashes(picture):
    image = Image.open(io.BytesIO(picture))
    about = f"{image.format} {image.mode} {image.width}x{image.height}"
    return {"about": about, "pixels": sha256(image.tobytes()), "file": sha256(picture)}


def paint(build, levels, only):
    """{level: {request: [hashes of a picture...] or what was wrong}}"""
    start, painted = time.monotonic(), {}
    for level in levels:
        wanted = {k: v for k, v in {**SMALL, **(LARGE if level == "auto" else {})}.items()
                  if only in k}
        painted[level] = {}
        with serving(build, level) as url:
            for name, ask in wanted.items():
                try:
                    painted[level][name] = [hashes(picture) for picture in ask(url)]
                except (Refused, requests.RequestException) as e:
                    painted[level][name] = f"{type(e).__name__}: {e}"
    count = sum(len(p) for p in painted.values())
    print(f"{build}: {count} requests in {time.monotonic() - start:.1f} s", file=sys.stderr)
    return painted


def verdict(a, b):
    if isinstance(a, str) or isinstance(b, str):
        return "FAILED"
    if a == b:
        return "same"
    pixels = [[(p["about"], p["pixels"]) for p in side] for side in (a, b)]
    return "FILE DIFFERS" if pixels[0] == pixels[1] else "PIXELS DIFFER"


def short(side):
    return side if isinstance(side, str) else " ".join(
        f"{p['pixels'][:8]}/{p['file'][:8]}" for p in side)


def compare(a, b):
    """Prints the table; the number of rows that are not the same."""
    bad = new = 0
    print("| level | request | pictures | A pixels/file | B pixels/file | |")
    print("|---" * 6 + "|")
    for level, rows in b.items():
        for name, right in rows.items():
            left = a.get(level, {}).get(name)
            word = "new" if left is None else verdict(left, right)
            new += word == "new"
            bad += word not in ("same", "new")
            sizes = "" if isinstance(right, str) else ", ".join(sorted({p["about"] for p in right}))
            print(f"| {level} | {name} | {sizes} | {short(left or '')} | {short(right)} | {word} |")
    total = sum(len(rows) for rows in b.values())
    print(f"\n{total - bad - new} same, {bad} not the same"
          + (f", {new} without a hash to compare with" if new else ""))
    return bad


def main():
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("builds", nargs="+", metavar="BUILD")
    a.add_argument("--save", metavar="FILE")
    a.add_argument("--against", metavar="FILE")
    x86 = os.uname().machine == "x86_64"
    a.add_argument("--levels", default="auto,avx2,avx2:bf16,scalar" if x86 else "auto,scalar")
    a.add_argument("--only", default="")
    o = a.parse_args()
    if len(o.builds) != (1 if o.save or o.against else 2):
        a.error("two builds, or one with --save or --against")
    levels = o.levels.split(",")
    first = json.loads(Path(o.against).read_text()) if o.against else \
        paint(o.builds[0], levels, o.only)
    if o.save:
        Path(o.save).write_text(json.dumps(first, indent=1) + "\n")
        failed = [(level, name, wrong) for level, rows in first.items()
                  for name, wrong in rows.items() if isinstance(wrong, str)]
        for row in failed:
            print(*row, sep=": ")
        sys.exit(1 if failed else 0)
    sys.exit(1 if compare(first, paint(o.builds[-1], levels, o.only)) else 0)


if __name__ == "__main__":
    main()
