"""The package, the tarball, the manual page and the completions, made of the program under test."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile

import pytest

from conftest import PROGRAM, ROOT


def run(*command, **options):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True,
                          cwd=ROOT, **options).stdout


def flags_of(command):
    return set(re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", run(PROGRAM, command, "--help"), re.M))


def commands():
    return re.findall(r"^  ([a-z-]+) ", run(PROGRAM, "--help"), re.M)


def test_the_manual_page_has_every_command_and_flag():
    page = run(ROOT / "config/man.sh", PROGRAM, "2026-01-01")
    assert page.startswith('.TH PICTOR 1 "2026-01-01"')
    text = page.replace("\\-", "-")
    for command in commands():
        assert f'.SH "PICTOR {command.upper()}"' in page
        for flag in flags_of(command):
            assert re.search(rf"^\.B (-\w, )?{flag}\b", text, re.M), (command, flag)
    if shutil.which("man"):
        done = subprocess.run(["man", "--warnings", "-l", "-"], input=page, capture_output=True,
                              text=True, env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
        assert done.returncode == 0 and not done.stderr, done.stderr


def completed(*words):
    """What bash offers for the last of the words."""
    script = f"""
        source config/completions/pictor.bash
        COMP_WORDS=({' '.join(repr(w) for w in (PROGRAM, *words))}); COMP_CWORD={len(words)}
        _pictor; printf '%s\\n' "${{COMPREPLY[@]}}" """
    return run("bash", "-c", script).split()


def test_bash_completes():
    assert completed("gen") == ["generate"]
    assert set(completed("")) == set(commands())
    assert "--max-steps" in completed("serve", "--max-s") and completed("--max-s")
    assert set(completed("generate", "--")) >= flags_of("generate")
    assert completed("keys", "re") == ["revoke"]
    assert completed("serve", "--log-level", "w") == ["warn"]


@pytest.mark.parametrize("shell, file", [("zsh", "_pictor"), ("fish", "pictor.fish")])
def test_other_shells_read_theirs(shell, file):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    run(shell, "-n", ROOT / "config/completions" / file)


def test_fish_completes(tmp_path):
    if not shutil.which("fish"):
        pytest.skip("no fish")
    (tmp_path / "pictor").symlink_to(PROGRAM)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    ask = "source config/completions/pictor.fish; complete -C'pictor {}'"
    assert run("fish", "-c", ask.format("gen"), env=env).split("\t")[0] == "generate"
    assert "--max-steps\t" in run("fish", "-c", ask.format("serve --max-s"), env=env)


@pytest.mark.skipif(not shutil.which("dpkg-shlibdeps"), reason="no dpkg-dev")
def test_the_package(tmp_path):
    made = []
    for folder in "one", "two":
        deb = run("config/debian/build.sh", PROGRAM, tmp_path / folder,
                  env={**os.environ, "DEB_COMPRESSION": "-Zgzip -z1"}).strip()
        made.append(hashlib.sha256(open(deb, "rb").read()).hexdigest())
    assert made[0] == made[1]
    fields = run("dpkg-deb", "-f", deb)
    assert re.search(r"^Depends: .*libmicrohttpd12", fields, re.M) and "adduser" in fields
    files = run("dpkg-deb", "-c", deb)
    assert all(line.split()[1] == "root/root" for line in files.splitlines())
    for place in ("usr/bin/pictor", "lib/systemd/system/pictor.service", "etc/pictor/pictor.ini",
                  "usr/share/man/man1/pictor.1.gz", "usr/share/fish/vendor_completions.d/pictor.fish",
                  "usr/share/bash-completion/completions/pictor",
                  "usr/share/zsh/vendor-completions/_pictor", "usr/share/doc/pictor/copyright"):
        assert f"./{place}\n" in files
    run("dpkg-deb", "-x", deb, tmp_path / "root")
    assert run(tmp_path / "root/usr/bin/pictor", "--version") == run(PROGRAM, "--version")
    unit = (tmp_path / "root/lib/systemd/system/pictor.service").read_text()
    assert "ExecStart=/usr/bin/pictor serve" in unit and "DynamicUser" not in unit
    assert "/usr/local" not in unit


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no repository")
def test_the_tarball(tmp_path):
    for folder in "one", "two":
        run("config/release.sh", tmp_path / folder, env={**os.environ, "GZIP_LEVEL": "-1"})
    one, two = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two and len(one) == 3
    sums = dict(reversed(line.split("  ")) for line in one["SHA256SUMS"].decode().splitlines())
    tarball = next(name for name in one if name.endswith(".tar.gz"))
    assert sums[tarball] == hashlib.sha256(one[tarball]).hexdigest() and len(sums) == 2
    bill = json.loads(next(body for name, body in one.items() if name.endswith(".spdx.json")))
    assert bill["spdxVersion"] == "SPDX-2.3"
    ids = {p["SPDXID"] for p in bill["packages"]}
    assert {r["relatedSpdxElement"] for r in bill["relationships"]} == ids and "SPDXRef-libcurl4" in ids
    assert bill["packages"][0]["checksums"][0]["checksumValue"] == sums[tarball]
    with tarfile.open(tmp_path / "one" / tarball) as tar:
        assert any(name.endswith("/Makefile") for name in tar.getnames())
