#!/bin/sh
# setup.sh: installs what building and testing need on Debian 12, and only what is missing.
#     tests/setup.sh run     the compiler and the libraries
#     tests/setup.sh test    also what the tests need: cmocka, Python, Chromium, Node for the SDKs
#     tests/setup.sh fuzz    also clang, by which a build is fuzzed
#     tests/setup.sh arm64   a cross compiler, the libraries for arm64, and an emulator
# Works as root, or through sudo; on another system it says what to install.
set -eu

libraries="libmicrohttpd-dev libcjson-dev libcurl4-openssl-dev libpng-dev libjpeg62-turbo-dev
libwebp-dev libutf8proc-dev libsqlite3-dev libpq-dev libinih-dev libssl-dev zlib1g-dev"
build="build-essential pkg-config ca-certificates $libraries"
test="libcmocka-dev postgresql nginx-light python3 python3-venv python3-pip chromium curl fonts-dejavu-core"

case "${1:-}" in
run) wanted=$build ;;
test) wanted="$build $test" ;;
fuzz) wanted="$build clang libclang-rt-14-dev" ;;
arm64)
    wanted="make pkg-config gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
    for p in $libraries libcmocka-dev; do
        # Of libpq the headers of one architecture exclude those of another, and are alike.
        [ $p = libpq-dev ] && wanted="$wanted $p libpq5:arm64" || wanted="$wanted $p:arm64"
    done
    ;;
*) echo "usage: $0 run|test|fuzz|arm64" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "setup: not a Debian system; the packages are, by their Debian names:" $wanted >&2
    exit 0
fi
missing=""
for p in $wanted; do
    state=$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    sudo=""
elif command -v sudo >/dev/null 2>&1; then
    sudo="sudo"
else
    echo "setup: run as root or install sudo, then: apt-get install$missing" >&2
    exit 1
fi
echo "setup: installing$missing"
[ "$1" != arm64 ] || $sudo dpkg --add-architecture arm64
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
