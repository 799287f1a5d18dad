#!/bin/bash
# Trains on for less than nine minutes on a machine with a GPU that has PyTorch and nothing of ours:
#     python travel.py pack   --work W --to F          here
#     engine/builtin/train/gpu.sh F OUT                there: from F/p0 ..., into OUT/p0 ...
#     python travel.py unpack --work W --to OUT        here: W goes on from what was learnt
# It has two minutes for latents alone; more are made while the network is trained. SECONDS_ALL, BATCH,
# RATE, COUNT and WORKERS can be set.
set -eu
[ $# = 2 ] || { sed -n '2,8p' "$0"; exit 2; }
from=$(cd "$1" && pwd)
mkdir -p "$2" && out=$(cd "$2" && pwd)
cd "$(dirname "$0")"
W=$(mktemp -d)
end=$((SECONDS + ${SECONDS_ALL:-510}))
P=${PYTHON:-python3}
export PYTHONUNBUFFERED=1
$P travel.py unpack --work "$W" --to "$from"
$P latents.py --work "$W" --picture 128 --count "${COUNT:-200000}" --batch 128 --workers "${WORKERS:-14}" \
    --factor 3 --focus --style .2 >"$out/latents.log" 2>&1 &
latents=$!
trap 'kill $latents 2>/dev/null || true; rm -rf "$W"' EXIT
while [ $((end - SECONDS)) -gt $((${SECONDS_ALL:-510} * 3 / 4)) ] && kill -0 $latents 2>/dev/null; do sleep 1; done
minutes=$(awk "BEGIN { print ($end - $SECONDS - 25) / 60 }")
$P diffusion.py --work "$W" --picture 128 --batch "${BATCH:-256}" --rate "${RATE:-8e-4}" --end .05 --decay .9995 \
    --length 77 --save 1 --minutes "$minutes" | tee "$out/log"
$P travel.py pack --work "$W" --to "$out" --weights
