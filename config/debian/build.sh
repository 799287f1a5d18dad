#!/bin/bash
# build.sh: a Debian package of a program that is built: `config/debian/build.sh PROGRAM FOLDER`.
# The same program gives the same bytes: times are SOURCE_DATE_EPOCH, else the last commit's.
# DEB_COMPRESSION (dpkg-deb -Z) is xz.
set -euo pipefail
program=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")/../.."
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then # of a tarball: the time of its files, which is the commit's
    [ -e .git ] && SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) || SOURCE_DATE_EPOCH=$(stat -c %Y Makefile)
fi
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
version=$("$program" --version | cut -d' ' -f2)
arch=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/root
umask 022
put() { install -D -m "$1" "$2" "$root/$3"; } # mode, file, place

put 755 "$program" usr/bin/pictor
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root/usr/bin/pictor"
put 644 config/pictor.ini etc/pictor/pictor.ini
# With a user of its own the unit needs none made for the moment, and `sudo -u pictor pictor keys`
# reaches the data.
sed -E '/^# (systemd unit|\/etc\/systemd|`systemctl|    (systemd-run|\/usr\/local))/d; s|/usr/local/bin|/usr/bin|;
    s|^DynamicUser=yes$|Group=pictor|' config/pictor.service >"$stage/pictor.service"
put 644 "$stage/pictor.service" lib/systemd/system/pictor.service
config/man.sh "$root/usr/bin/pictor" "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%d)" |
    gzip -9n >"$stage/pictor.1.gz"
put 644 "$stage/pictor.1.gz" usr/share/man/man1/pictor.1.gz
put 644 config/completions/pictor.bash usr/share/bash-completion/completions/pictor
put 644 config/completions/_pictor usr/share/zsh/vendor-completions/_pictor
put 644 config/completions/pictor.fish usr/share/fish/vendor_completions.d/pictor.fish
for page in README.md docs/operations.md docs/security.md docs/models.md docs/api.md; do
    put 644 $page usr/share/doc/pictor/$(basename $page)
done
{
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n'
    printf 'Upstream-Name: pictor\n\nFiles: *\nCopyright: 2026 The pictor authors\nLicense: Expat\n'
    sed -n '/^Permission/,$p' LICENSE | sed 's/^$/./; s/^/ /'
} >"$stage/copyright"
put 644 "$stage/copyright" usr/share/doc/pictor/copyright
printf 'pictor (%s) unstable; urgency=medium\n\n  * Version %s; docs/ says what it does.\n\n -- %s  %s\n' \
    "$version" "$version" "$(sed -n 's/^Maintainer: //p' config/debian/control)" \
    "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$stage/changelog.gz"
put 644 "$stage/changelog.gz" usr/share/doc/pictor/changelog.gz

# What the program is linked with, by Debian's own tool.
mkdir -p "$stage/debian" "$root/DEBIAN"
cp config/debian/control "$stage/debian/control"
depends=$(cd "$stage" && dpkg-shlibdeps -O root/usr/bin/pictor 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "build.sh: dpkg-shlibdeps did not say what the program needs" >&2; exit 1; }
sed -n '/^Package:/,$p' config/debian/control | sed "s/^Architecture: any$/Architecture: $arch/;
    s/\\\${shlibs:Depends}/$depends/; /^Package:/a Version: $version\\nSection: net\\nPriority: optional\\nInstalled-Size: $(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)\\nMaintainer: $(sed -n 's/^Maintainer: //p' config/debian/control)" \
    >"$root/DEBIAN/control"
echo /etc/pictor/pictor.ini >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 config/debian/$script "$root/DEBIAN/$script"; done
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
deb=$out/pictor_${version}_$arch.deb
dpkg-deb --root-owner-group ${DEB_COMPRESSION:--Zxz} --build "$root" "$deb" >/dev/null
echo "$deb"
