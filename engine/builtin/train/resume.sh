#!/bin/bash
# Trains on in the background, at the lowest priority, with whatever two cores have left over:
#     engine/builtin/train/resume.sh W
# W is a folder outside of the tree that keeps everything: an environment, drawings, latents, and the
# checkpoint diffusion.pt, written every ten minutes. What is there is gone on with; without a checkpoint
# training begins from the weights that ship. More drawings or subjects are taken up at the next start, for
# the latents that are still to be made. Log: W/log. W/pause stops everything until W/go;
# `kill -TERM -$(cat W/pid)` ends it with a checkpoint. COUNT (latents to make), RATE and BATCH can be set.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# = 1 ] || { sed -n '2,9p' "$0"; exit 2; }
mkdir -p "$1" && W=$(cd "$1" && pwd)
if [ "${2-}" = "" ] && [ -z "${PICTOR_TRAIN:-}" ]; then
    if [ -f "$W/pid" ] && kill -0 "-$(cat "$W/pid")" 2>/dev/null; then
        echo "already under way: $(cat "$W/pid")"
        exit 0
    fi
    PICTOR_TRAIN=1 setsid chrt -i 0 nice -n 19 bash "$here/resume.sh" "$W" >>"$W/log" 2>&1 </dev/null &
    echo $! >"$W/pid"
    printf '#!/bin/sh\nkill -STOP -"$(cat "%s/pid")"\n' "$W" >"$W/pause"
    printf '#!/bin/sh\nkill -CONT -"$(cat "%s/pid")"\n' "$W" >"$W/go"
    chmod +x "$W/pause" "$W/go"
    echo "trains as $(cat "$W/pid"), log $W/log"
    exit 0
fi

{  # read whole before it runs, so that it may be edited meanwhile
cd "$here"
# a session of its own is a group of its own to the scheduler, and weighs as much as any other: least, too
echo 19 >/proc/self/autogroup 2>/dev/null || true
echo "begun $(date -u +%FT%TZ)"
if [ ! -x "$W/venv/bin/python" ]; then
    python3 -m venv "$W/venv"
    "$W/venv/bin/pip" install -q -r requirements.txt
fi
P=$W/venv/bin/python
export PYTHONUNBUFFERED=1
# what has changed since is made again: more drawings, tokens of more words
older() { [ ! -f "$1" ] || [ -n "$(find "${@:2}" -newer "$1")" ]; }
! older "$W/drawings.zip" drawings.py own.txt icons.txt figures.py || $P drawings.py --work "$W"
if [ ! -f "$W/diffusion.pt" ] || older "$W/tokens.pt" "$W/drawings.zip" subjects.txt scenes.py views.py pairs.py; then
    $P begin.py --work "$W"
fi
export OMP_WAIT_POLICY=passive
# one core makes scenes while there are too few of them, the other trains; then both train
OMP_NUM_THREADS=1 $P latents.py --work "$W" --picture 128 --count 512 --factor 3 --focus --style .2
OMP_NUM_THREADS=1 $P latents.py --work "$W" --picture 128 --count "${COUNT:-40960}" --factor 3 --focus --style .2 &
latents=$!
trap 'kill -TERM $(jobs -p); wait; exit 0' TERM
train() {
    OMP_NUM_THREADS=$1 $P diffusion.py --work "$W" --size second --picture 128 --batch "${BATCH:-64}" --rate "${RATE:-6e-4}" \
        --end 1 --decay .999 --length 77 --save 10 --minutes "$2" &
    wait $! || sleep 60  # a full disk, say: from the last checkpoint
}
train 1 90
while kill -0 $latents 2>/dev/null; do train 1 30; done
while true; do train 2 600; done
}
