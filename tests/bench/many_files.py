#!/usr/bin/env python3
"""How long a server takes to know 5,000 model files: the first time, with headers read, and the next
time. Half are checkpoints' headers (of holes: no weights), half LoRAs', in folders of 50 as
people have them.

    tests/bench/many_files.py [PICTOR] [FILES]
"""
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "build/pictor")
FILES = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
PORT = 7899


def header_of(path):
    with open(path, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        return f.read(size), path.stat().st_size


def put(path, header, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as f:
        f.write(len(header).to_bytes(8, "little") + header)
        f.truncate(size)


def lora():
    tensors, at = {}, 0
    for i in range(264):
        for part in ("lora_down", "lora_up"):
            tensors[f"lora_unet_down_blocks_{i}_attentions_0_attn2_to_k.{part}.weight"] = {
                "dtype": "F16", "shape": [16, 768], "data_offsets": [at, at + 24576]}
            at += 24576
    header = json.dumps(tensors).encode()
    return header, 8 + len(header) + at


def get(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=120) as answer:
        return json.load(answer)


def start(folder):
    begun = time.monotonic()
    server = subprocess.Popen([PROGRAM, "serve", f"--listen=127.0.0.1:{PORT}", f"--data={folder / 'data'}",
                               f"--model-paths={folder / 'webui'}", "--log-level=error"],
                              stdout=subprocess.DEVNULL)
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=120).close()
            break
        except OSError:
            time.sleep(0.005)
    up = time.monotonic() - begun
    while len(get("/api/models")["models"]) != FILES // 2 + 1:
        time.sleep(0.005)
    models = time.monotonic() - begun
    begun = time.monotonic()
    first = len(get("/sdapi/v1/loras"))
    loras = time.monotonic() - begun
    assert first == FILES // 2, first
    time.sleep(1.2)  # the next list looks again
    begun = time.monotonic()
    get("/sdapi/v1/loras")
    again = time.monotonic() - begun
    for _ in range(60):  # until all headers of LoRAs were read
        get("/sdapi/v1/loras")
    server.terminate()
    server.wait()
    return up, models, loras, again


def main():
    folder = Path(tempfile.mkdtemp(prefix="many_files."))
    try:
        checkpoint = header_of(ROOT / "engine/builtin/pictor-mini.safetensors")
        small = lora()
        for i in range(FILES // 2):
            put(folder / f"webui/models/Stable-diffusion/{i // 50}/model{i}.safetensors", *checkpoint)
            put(folder / f"webui/models/Lora/{i // 50}/style{i}.safetensors", *small)
        print(f"{FILES} files, headers of {len(checkpoint[0]) // 1024} and {len(small[0]) // 1024} KiB\n")
        print("| start | up | models listed | LoRAs listed | LoRAs again |\n|---|---|---|---|---|")
        for name in ("first", "second", "third"):
            print(f"| {name} |", " | ".join(f"{seconds:.2f} s" for seconds in start(folder)), "|", flush=True)
    finally:
        shutil.rmtree(folder)


main()
