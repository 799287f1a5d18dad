"""Whole pictures at every level of instructions and number of threads: a table.

usage: levels.py [--pictor build/pictor] [--model MODEL.safetensors] [--sizes 128] [--steps 4]
                 [--levels avx2,avx512,...] [--threads 1,2]

One `pictor bench` a row, of the built-in model or MODEL, in the precision that a level has by
itself; scalar, the slow definition of the others, at the first size alone. A step is with
guidance.
"""

import argparse
import json
import os
import subprocess
import sys

LEVELS = "scalar,avx2,avx512,avx512bf16,amx" if os.uname().machine == "x86_64" else "scalar,neon"


def numbers(text):
    return [int(n) for n in text.split(",")]


def pictures(o, level, threads):
    sizes = o.sizes[:1] if level == "scalar" else o.sizes
    command = [o.pictor, "bench", "--json", "--no-operations", f"--steps={o.steps}"]
    command += [f"--cpu={level}", f"--threads={threads}", "--sizes=" + ",".join(map(str, sizes))]
    command += [f"--model={o.model}"] if o.model else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    a.add_argument("--pictor", default=os.path.join(root, "build", "pictor"))
    a.add_argument("--model")
    a.add_argument("--sizes", type=numbers, default=[128])
    a.add_argument("--steps", type=int, default=4)
    a.add_argument("--levels", default=LEVELS)
    a.add_argument("--threads", type=numbers, default=[1, len(os.sched_getaffinity(0))])
    o = a.parse_args()
    print("| engine | size | load | text | step | decode | peak memory |")
    print("|---" * 7 + "|")
    for level in o.levels.split(","):
        for threads in o.threads:
            print(f"levels: {level}, {threads} threads", file=sys.stderr, flush=True)
            answer = pictures(o, level, threads)
            for r in answer["rows"]:
                times = [r[k] for k in ("text_seconds", "step_seconds", "decode_seconds")]
                cells = [answer["engine"], f"{r['width']}x{r['height']}"]
                cells += [f"{r['load_seconds']:.2f} s"] + [f"{t * 1e3:.1f} ms" for t in times]
                cells += [f"{r['peak_bytes'] / 1e6:.0f} MB"]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
