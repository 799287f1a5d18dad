#!/bin/bash
# run.sh: tests against one build. `make test` calls it.
#     tests/run.sh BUILD_DIR [unit] [levels] [api] [cluster] [clients] [web] [chaos] [load]    default: these
#     tests/run.sh BUILD_DIR long         what takes too long for every day; of `make test-long`
#     tests/run.sh build/arm64 arm64      unit tests of a cross-compiled build, emulated
# Parts run one after another; a whole run has four of them at a time, for most wait more than they
# work. A failed part does not stop the others. The last line counts: "N passed, N failed".
set -u
build=$1
shift
parts=${*:-beside dialects unit levels cluster together load}
passed=0 failed=0 broken=""

note() { printf '\n=== %s\n' "$*"; }

# Adds what a part printed to the totals: cmocka's and pytest's closing lines.
count() { # part, status, log
    local p f
    p=$(sed -nE 's/^\[  PASSED  \] ([0-9]+) test.*/\1/p; s/^(.*[ =,])?([0-9]+) passed.*/\2/p' "$3" | awk "{n += \$1} END {print n + 0}")
    f=$(sed -nE 's/^\[  FAILED  \] ([0-9]+) test.*/\1/p; s/^(.*[ =,])?([0-9]+) (failed|error).*/\2/p' "$3" | awk "{n += \$1} END {print n + 0}")
    p=${p:-0} f=${f:-0}
    if [ "$2" != 0 ]; then
        broken="$broken $1"
        [ "$f" != 0 ] || f=1
    fi
    passed=$((passed + p)) failed=$((failed + f))
}

# Servers and clients of the tests are on this machine, whatever proxy leads out of it.
export no_proxy="127.0.0.1,localhost,::1${no_proxy:+,$no_proxy}"
export NO_PROXY=$no_proxy

log=$build/tests/log.$$
trap 'rm -f "$log"; kill $(jobs -p) 2>/dev/null' EXIT
mkdir -p "$build/tests"

emulator=""
cmocka() { # name, program, environment...
    local name=$1 program=$2
    shift 2
    env "$@" CMOCKA_MESSAGE_OUTPUT=stdout $emulator "$program" >"$log" 2>&1
    local status=$?
    if [ $status != 0 ]; then
        cat "$log"
        echo "$name: exit status $status"
    else
        echo "$name: $(sed -nE 's/^\[  PASSED  \] //p' "$log")"
    fi
    count "$name" $status "$log"
}

python_tests() { # folder or file, how pytest is to choose in it...
    local what=$1
    shift
    PICTOR=$PWD/$build/pictor "$venv/bin/python" -m pytest -q --maxfail=10 --durations=5 "$@" "tests/$what" 2>&1 |
        tee "$log"
    count "$what" "${PIPESTATUS[0]}" "$log"
}

# What the Python tests need lives in the build folder and is made once.
venv=build/venv
python_ready() {
    if ! cmp -s tests/requirements.txt "$venv/requirements.txt"; then
        note "python packages"
        # Debian's, which setup.sh has installed, whatever else is called python3 here.
        /usr/bin/python3 -m venv "$venv" && "$venv/bin/pip" install -q -r tests/requirements.txt &&
            cp tests/requirements.txt "$venv/requirements.txt" || exit 1
    fi
}

for part in $parts; do
    note "$part"
    case $part in
    beside)
        python_ready
        "$0" "$build" chaos >"$build/tests/beside.1" 2>&1 &
        "$0" "$build" clients web >"$build/tests/beside.2" 2>&1 &
        "$0" "$build" native >"$build/tests/beside.3" 2>&1 &
        ;;
    together) # the last line counts; the one before may say what failed
        wait
        for said in "$build"/tests/beside.[123]; do
            sed '$d; /^failed:/d' "$said"
            read -r p _ f _ <<<"$(tail -n 1 "$said")"
            passed=$((passed + p)) failed=$((failed + f))
            broken="$broken$(sed -n 's/^failed://p' "$said")"
        done
        ;;
    unit)
        for t in "$build"/tests/*_test; do
            cmocka "$(basename "$t")" "$t" X=
        done
        ;;
    levels) # the engine's tests run all levels by themselves; the product must obey the cap too
        for level in scalar avx2; do
            cmocka "golden_test PICTOR_CPU=$level" "$build/tests/golden_test" PICTOR_CPU=$level
        done
        ;;
    arm64) # what computes, packs and parses; not what takes minutes there, or measures time
        emulator=qemu-aarch64
        for t in ops pool dtype noise schedule tokenizer chunk prompt checkpoint safetensors image \
            infotext json_fields wire store settings; do
            cmocka "${t}_test" "$build/tests/${t}_test" X=
        done
        emulator=""
        ;;
    api | clients | web | chaos | load)
        python_ready
        python_tests "$part"
        ;;
    dialects | native) # the two halves of api, of about equal length
        python_ready
        if [ "$part" = dialects ]; then
            python_tests api --ignore-glob='tests/api/test_[!os]*'
        else
            python_tests api --ignore-glob='tests/api/test_[os]*'
        fi
        ;;
    cluster) # PostgreSQL: what is its own, and of the API's tests what leans on the store most
        python_ready
        python_tests cluster
        STORE=postgresql python_tests api/test_queue.py
        STORE=postgresql python_tests api/test_quotas.py
        ;;
    long)
        python_ready
        CLUSTER_KILLS=50 CLUSTER_ROUNDS="${CLUSTER_ROUNDS:-500}" python_tests cluster
        STORE=postgresql python_tests api
        CHAOS_KILLS="${CHAOS_KILLS:-1000}" python_tests chaos/test_kill.py
        CHAOS_EVERY=1 python_tests chaos/test_trouble.py
        MEANING=long python_tests api/test_meaning.py
        python_tests long
        WEB=long python_tests web/test_axe.py
        WEB_SIZE=phone python_tests web
        LOAD=long python_tests load
        ;;
    *)
        echo "unknown part $part" >&2
        exit 2
        ;;
    esac
done

printf '\n'
[ -z "$broken" ] || echo "failed:$broken"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ -z "$broken" ]
