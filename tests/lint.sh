#!/bin/bash
# lint.sh: the rules of CONTRIBUTING.md that a machine can check. `make lint` calls it with the
# build folder whose objects it looks into.
set -u
build=$1
bad=0
say() { echo "lint: $*"; bad=1; }

# Includes point one way: server -> pictor.h and base and io -> pipeline -> family -> (model, text,
# sample, io) -> compute -> base. The rooms of the server: main and serve -> cli -> api/native, openai,
# sdapi (never each other) -> api -> pull, paint -> worker -> queue -> store -> job -> base; http knows
# base alone.
picture="engine/base engine/io engine/pictor.h"
api="$picture server/base server/http server/job server/store server/queue server/worker/codec.h server/paint server/pull server/api"
allowed() { # folder -> the folders (without theirs; with them if / ends it) and files it may include
    case $1 in
    engine/base) echo "engine/base" ;;
    engine/compute | engine/compute/cpu) echo "engine/base engine/compute engine/compute/cpu" ;;
    engine/io) echo "engine/base engine/compute/dtype.h engine/compute/dtype_scales.h engine/io engine/pictor.h" ;;
    engine/text) echo "engine/base engine/text" ;;
    engine/sample) echo "engine/base engine/sample engine/pictor.h" ;;
    engine/model) echo "engine/base engine/compute engine/io engine/model" ;;
    engine/builtin) echo "engine/base engine/builtin" ;;
    engine/family) echo "engine/base engine/compute engine/family engine/io engine/model engine/pictor.h engine/sample engine/text" ;;
    # Of a kind of model it knows family.h and nothing else: no network is named there but the one that
    # enlarges what any of them painted.
    engine/pipeline) echo "engine/base engine/builtin/builtin.h engine/compute engine/family/family.h engine/io engine/model/esrgan.h engine/pictor.h engine/pipeline engine/sample engine/text/wording.h" ;;
    engine) echo "engine/base engine/compute engine/bench.h engine/family/family.h engine/pictor.h" ;;
    server/base) echo "engine/base server/base" ;;
    server/job) echo "$picture engine/builtin/builtin.h server/base server/job" ;;
    server/store) echo "engine/base server/base server/job server/store server/store/sqlite/sqlite.h server/store/pg/pg.h" ;;
    server/store/sql) echo "engine/base server/base server/job server/store $1" ;;
    server/store/sqlite | server/store/pg) echo "engine/base server/base server/job server/store server/store/sql $1" ;;
    server/queue) echo "engine/base server/base server/job server/store server/queue" ;;
    server/worker) echo "$picture server/base server/job server/worker" ;;
    server/paint) echo "$picture server/base server/job server/queue server/worker server/paint" ;;
    server/remote) echo "$picture server/base server/job server/worker server/paint server/remote" ;;
    server/pull) echo "$picture server/base server/job server/paint/fetch.h server/pull" ;;
    server/cli) echo "$picture engine/bench.h server/base server/job server/store server/paint server/pull server/cli" ;;
    server/http) echo "engine/base server/base server/http" ;;
    server/api) echo "$api server/web_files.h" ;;
    server/api/native | server/api/openai | server/api/sdapi) echo "$api $1" ;;
    # Its tools are the native API's requests.
    server/api/mcp) echo "$api $1 server/api/native/native_job.h" ;;
    server) echo "engine/base engine/pictor.h server/" ;;
    esac
}
while read -r file; do
    folder=$(dirname "$file")
    rules=$(allowed "$folder")
    [ -n "$rules" ] || { say "$file: no rule for folder $folder"; continue; }
    while read -r include; do
        ok=0
        for r in $rules; do
            case $r in
            */) case $include in "$r"*) ok=1 ;; esac ;;
            *) [ "$r" = "$include" ] || [ "$r" = "${include%/*}" ] && ok=1 ;;
            esac
        done
        [ $ok = 1 ] || say "$file includes $include"
    done < <(sed -nE 's/^#include "([^"]+)".*/\1/p' "$file")
done < <(git ls-files 'engine/*.c' 'engine/*.h' 'server/*.c' 'server/*.h' | grep -v '^engine/pictor.h$')

# A family does not lean on another one, and its networks know no family (the table above).
grep -l '"engine/family/family_' engine/*/*.c engine/*/*.h | grep . && say "families are named in family.c alone"

# An exported name starts with its file's name, or with its family's: image_png.c exports image_*.
# (engine/pictor.h's names start with pictor_; ops.h has devices and matrices beside the operations.)
while read -r object; do
    name=$(basename "$object" .o)
    for symbol in $(nm -g --defined-only "$object" | awk '{print $3}'); do
        case $symbol in
        main | "$name" | "${name%%_*}"_* | pictor_* | *_main) ;;
        device_* | matrix_*) [ "$name" = ops ] || say "$object exports $symbol" ;;
        *) say "$object exports $symbol" ;;
        esac
    done
done < <(find "$build/engine" "$build/server" -name '*.o')

# cJSON loses digits of large numbers; json_text.c does not.
git grep -nE 'cJSON_(Print|Parse)' -- 'server/*.c' ':!server/base/json_text.c' ':!server/cli/cli_bench.c' |
    sed 's/^/lint: json_text.h reads and prints JSON: /' | grep . && bad=1

# A path is for the log, never for a client: err_at keeps it apart from the message. (Commands talk to
# the operator alone; settings are read before anybody can ask.)
for f in $(git ls-files 'engine/*.c' 'server/*.c' | grep -vE '^server/(cli/|base/settings|main)'); do
    tr '\n' ' ' <"$f" | grep -oE 'err_(set|prefix)\([^;]*;' |
        grep -E ', *([a-z]+(->|\.))?(path|folder|file_name|temporary|place|data)( *,|\))' | grep -v 'req->path' |
        sed "s|^|lint: $f has a path in an error's message: |" | grep . && bad=1
done

# File names are unique; long files are split by meaning; no trailing blanks.
git ls-files 'engine/*.c' 'server/*.c' | xargs -n1 basename | sort | uniq -d |
    while read -r f; do echo "lint: two files are called $f"; done | grep . && bad=1
for f in $(git ls-files 'engine/*.[ch]' 'server/*.[ch]' 'tests/*.[ch]' | grep -v _vectors.h); do
    n=$(wc -l <"$f")
    [ "$n" -le 800 ] || say "$f has $n lines: 800 at most"
    grep -nE '[[:blank:]]+$' "$f" >/dev/null && say "$f has trailing blanks"
    awk -v f="$f" 'length($0) > 100 {printf "lint: %s:%d is %d columns\n", f, NR, length($0); bad = 1}
                   END {exit bad}' "$f" || bad=1
done
[ $bad = 0 ] && echo "lint: clean"
exit $bad
