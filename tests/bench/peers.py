"""Whole pictures beside other implementations, with the same weights, in turn.

usage: peers.py MODEL.safetensors [--pictor build/pictor] [--peers pytorch,openvino]
                [--side 256] [--steps 4] [--rounds 3] [--threads N] [--check] [--json FILE]

MODEL is a single file of SD 1.x; tests/golden/fullsize.py makes one of random weights. Every round
paints one picture with each implementation, one after another, so that what else the machine does
meets all of them: text encoded (two prompts), Euler steps with guidance (a batch of two), decoded.
Loading and one warm step are not in it; they stand in columns of their own. The table has medians,
and the median of the ratios to pictor in the same round.

Peers: pytorch (diffusers, BF16, channels last), pytorch-compiled (the same through torch.compile),
openvino (the same modules converted, BF16).
--check paints the same seed with pictor and says how far (PSNR) a peer's picture is from it.
Needs 5 GB of disk for build/peers-venv, made at first, and 8 GB of memory.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, "..", "..", "build")
PARTS = ("text", "step", "decode", "whole")
LONG = 20  # steps of the picture that is worked out from the parts


def note(text):
    print(text, file=sys.stderr, flush=True)


def ready_venv():
    """The Python that has the peers, made anew when the requirements have changed."""
    venv, wanted = os.path.join(BUILD, "peers-venv"), os.path.join(HERE, "requirements-peers.txt")
    have = os.path.join(venv, "requirements-peers.txt")
    if not os.path.exists(have) or open(have).read() != open(wanted).read():
        note("peers: installing build/peers-venv")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([f"{venv}/bin/pip", "install", "-q", "-r", wanted], check=True)
        shutil.copy(wanted, have)
    return f"{venv}/bin/python"


class Pictor:
    """A `pictor bench` for each picture, which loads anew and has a warm step of its own."""

    def __init__(self, o):
        self.o, self.about = o, {}

    def warm(self):
        pass

    def paint(self, compare=None):
        o = self.o
        answer = json.loads(
            subprocess.run(
                [o.pictor, "bench", "--json", "--no-operations", f"--model={o.model}"]
                + [f"--sizes={o.side}", f"--steps={o.steps}", f"--threads={o.threads}"],
                check=True,
                stdout=subprocess.PIPE,
            ).stdout
        )
        row = answer["rows"][0]
        self.about.setdefault("load", row["load_seconds"])
        self.about["kernels"] = answer["engine"]
        names = ("text_seconds", "step_seconds", "decode_seconds", "seconds")
        return {**dict(zip(PARTS, (row[n] for n in names))), "peak": row["peak_bytes"]}

    def save(self, path, prompt):
        o = self.o
        subprocess.run(
            [o.pictor, "generate", "-q", "-p", prompt, "-o", path, f"--model={o.model}"]
            + [f"--width={o.side}", f"--height={o.side}", f"--steps={o.steps}", "--cfg=7.5"]
            + ["--sampler=Euler", "--seed=1", "--rng=cpu", f"--threads={o.threads}"],
            check=True,
        )


class Peer:
    """A peer.py that waits for its turn."""

    def __init__(self, name, python, o):
        self.o, began = o, time.monotonic()
        env = {**os.environ, "OMP_NUM_THREADS": str(o.threads), "PYTHONWARNINGS": "ignore"}
        env |= {"DIFFUSERS_VERBOSITY": "error", "TRANSFORMERS_VERBOSITY": "error"}
        self.process = subprocess.Popen(
            [python, os.path.join(HERE, "peer.py"), name, o.model, str(o.threads), BUILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.about = self.hear()
        note(f"peers: {name} loaded in {time.monotonic() - began:.1f} s")

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("peers: a peer has failed; what it said is above")
        return json.loads(line)

    def ask(self, steps, compare=None):
        request = {"side": self.o.side, "steps": steps, "seed": 1, "compare": compare}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self.hear()

    def warm(self):
        self.about.update(self.ask(0))

    def paint(self, compare=None):
        return self.ask(self.o.steps, compare)


def table(o, results):
    """Rows for docs/performance.md."""
    print(f"\n{o.side}x{o.side}, {o.steps} steps, {o.threads} threads, {o.rounds} rounds\n")
    print(
        "| | load | warm-up | text | step | decode | picture | times pictor's "
        f"| {LONG} steps: text + {LONG} x step + decode | times pictor's | peak memory |"
    )
    print("|---" * 11 + "|")
    ours = results["pictor"]["rounds"]
    for name, r in results.items():
        m = {p: statistics.median(x[p] for x in r["rounds"]) for p in PARTS}
        ratio = statistics.median(x["whole"] / y["whole"] for x, y in zip(r["rounds"], ours))
        long = m["text"] + LONG * m["step"] + m["decode"]
        if name == "pictor":
            our_long = long
        about, peak = r["about"], r["rounds"][-1]["peak"]
        cells = [name] + [f"{about[k]:.1f} s" if k in about else "-" for k in ("load", "warm")]
        cells += [f"{m[p]:.2f} s" for p in PARTS]
        cells += [f"{ratio:.2f}", f"{long:.1f} s", f"{long / our_long:.2f}"]
        cells += [f"{peak / 1e6:.0f} MB" if peak else "-"]
        print("| " + " | ".join(cells) + " |")
    print()
    for name, r in results.items():
        parameters, close = r["about"].get("parameters"), r["rounds"][0].get("psnr")
        print(
            f"{name}: {r['about'].get('kernels')}"
            + (f"; UNet of {parameters / 1e6:.1f} M parameters" if parameters else "")
            + (f"; {close:.1f} dB from pictor's picture" if close else "")
        )


def main():
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    a.add_argument("model")
    a.add_argument("--pictor", default=os.path.join(BUILD, "pictor"))
    a.add_argument("--peers", default="pytorch,openvino")
    a.add_argument("--side", type=int, default=256)
    a.add_argument("--steps", type=int, default=4)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    a.add_argument("--check", action="store_true")
    a.add_argument("--json")
    o = a.parse_args()
    python = ready_venv()
    everybody = {"pictor": Pictor(o)}
    for name in o.peers.split(","):
        everybody[name] = Peer(name, python, o)
    with tempfile.TemporaryDirectory() as folder:
        compare = None
        if o.check:
            from peer import PROMPT

            compare = os.path.join(folder, "pictor.png")
            everybody["pictor"].save(compare, PROMPT)
        for name, one in everybody.items():
            note(f"peers: {name}: warm-up")
            one.warm()
        results = {name: {"about": one.about, "rounds": []} for name, one in everybody.items()}
        for i in range(o.rounds):
            for name, one in everybody.items():
                times = one.paint(compare)
                results[name]["rounds"].append(times)
                note(f"peers: round {i + 1}/{o.rounds}: {name} {times['whole']:.2f} s")
    for one in everybody.values():
        if isinstance(one, Peer):
            one.process.stdin.close()
            one.process.wait()
    table(o, results)
    if o.json:
        with open(o.json, "w", encoding="ascii") as f:
            json.dump(results, f, indent=1)


if __name__ == "__main__":
    main()
