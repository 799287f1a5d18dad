#!/bin/bash
# Trains for less than nine minutes on a machine with a GPU that has PyTorch and nothing of ours:
#     python travel.py pack   --work W --to F          here
#     engine/builtin/train/gpu.sh F OUT                there: from F/p0 ..., into OUT/p0 ...
#     python travel.py unpack --work W --to OUT        here: W goes on from what was learnt
# Latents are made meanwhile. SECONDS_ALL, COUNT, WORKERS and OPTIONS (of gpu.py) can be set.
set -u
[ $# = 2 ] || { sed -n '2,7p' "$0"; exit 2; }
from=$(cd "$1" && pwd)
mkdir -p "$2" && out=$(cd "$2" && pwd)
cd "$(dirname "$0")" || exit
all=${SECONDS_ALL:-520}
W=$(mktemp -d)
P=${PYTHON:-python3}
export PYTHONUNBUFFERED=1
$P travel.py unpack --work "$W" --to "$from" || exit
$P latents.py --work "$W" --size second --picture 256 --halves --count "${COUNT:-200000}" --batch 128 \
    --workers "${WORKERS:-12}" --factor 4 --focus --style .2 --seconds $((all / 2)) >"$out/latents.log" 2>&1 &
train() { $P gpu.py --work "$W" --seconds $((all - SECONDS - 15)) ${OPTIONS-} "$@" 2>&1 | tee -a "$out/log"; return "${PIPESTATUS[0]}"; }
train || train --plain
kill $(jobs -p) 2>/dev/null
$P travel.py pack --work "$W" --to "$out" --weights
rm -rf "$W"
