#!/bin/bash
# release.sh: the sources of a commit as a tarball, what it is made of (SPDX 2.3), and checksums:
# `config/release.sh FOLDER [COMMIT]`. The same commit gives the same bytes.
set -euo pipefail
mkdir -p "$1"
out=$(realpath "$1")
commit=${2:-HEAD}
cd "$(dirname "$0")/.."
export LC_ALL=C TZ=UTC
hash=$(git rev-parse "$commit")
version=$(git show "$hash:engine/pictor.h" | sed -nE 's/^#define PICTOR_VERSION "(.*)"/\1/p')
when=$(date -u -d "@$(git log -1 --format=%ct "$hash")" +%Y-%m-%dT%H:%M:%SZ)
name=pictor-$version
git archive --format=tar --prefix="$name/" "$hash" | gzip "${GZIP_LEVEL:--6}" -n >"$out/$name.tar.gz"
sum() { sha256sum "$1" | cut -d' ' -f1; }

# The libraries that the program is linked with, by the package names of Debian 12, whose versions a
# release does not choose; and what lies in the sources and came from elsewhere (docs/models.md).
libraries=$(git show "$hash:docker/runtime-packages" | grep -E '^lib' | sort)
{
    cat <<END
{
  "spdxVersion": "SPDX-2.3",
  "dataLicense": "CC0-1.0",
  "SPDXID": "SPDXRef-DOCUMENT",
  "name": "$name",
  "documentNamespace": "https://spdx.org/spdxdocs/$name-$hash",
  "creationInfo": {"created": "$when", "creators": ["Organization: The pictor authors", "Tool: pictor config/release.sh"]},
  "packages": [
    {
      "SPDXID": "SPDXRef-pictor",
      "name": "pictor",
      "versionInfo": "$version",
      "packageFileName": "$name.tar.gz",
      "downloadLocation": "NOASSERTION",
      "filesAnalyzed": false,
      "sourceInfo": "git commit $hash",
      "checksums": [{"algorithm": "SHA256", "checksumValue": "$(sum "$out/$name.tar.gz")"}],
      "licenseConcluded": "MIT",
      "licenseDeclared": "MIT",
      "copyrightText": "Copyright (c) 2026 The pictor authors",
      "primaryPackagePurpose": "APPLICATION"
    }
END
    for library in $libraries; do
        cat <<END
    ,{
      "SPDXID": "SPDXRef-$library",
      "name": "$library",
      "downloadLocation": "NOASSERTION",
      "filesAnalyzed": false,
      "licenseConcluded": "NOASSERTION",
      "licenseDeclared": "NOASSERTION",
      "copyrightText": "NOASSERTION",
      "primaryPackagePurpose": "LIBRARY",
      "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:deb/debian/$library?distro=bookworm"}]
    }
END
    done
    printf '  ],\n  "relationships": [\n'
    printf '    {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-pictor"}\n'
    for library in $libraries; do
        printf '    ,{"spdxElementId": "SPDXRef-pictor", "relationshipType": "DYNAMIC_LINK", "relatedSpdxElement": "SPDXRef-%s"}\n' "$library"
    done
    printf '  ]\n}\n'
} >"$out/$name.spdx.json"
(cd "$out" && find . -maxdepth 1 -type f -name "pictor*" ! -name '*SUMS' -printf '%P\n' | sort | xargs sha256sum >SHA256SUMS)
ls "$out"
