"""The command line, as somebody uses it who does not know all names by heart."""
import subprocess

import pytest
from conftest import PROGRAM, ROOT


@pytest.fixture
def run(tmp_path):
    def run(*words, status=0):
        done = subprocess.run([PROGRAM, *words], cwd=tmp_path, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120)
        assert done.returncode == status, done.stderr
        return done.stderr + done.stdout
    return run


@pytest.mark.parametrize("flag, some", [("--sampler", ["Euler a", "DPM++ 2M", "LCM"]),
                                        ("--scheduler", ["automatic", "karras", "beta"]),
                                        ("--model", ["mine", "pictor-mini"])])
def test_unknown_names_say_which_there_are(run, tmp_path, flag, some):
    (tmp_path / "data" / "models").mkdir(parents=True)
    tiny = ROOT / "tests" / "golden" / "tiny" / "tiny-ldm.safetensors"
    (tmp_path / "data" / "models" / "mine.safetensors").write_bytes(tiny.read_bytes())
    said = run("generate", "-p", "a cat", "-o", "a.png", flag, "nonesuch", status=1)
    first, second = said.splitlines()
    assert "nonesuch" in first
    assert set(some) <= set(second.removeprefix("there are: ").split(", "))


def test_no_output_file(run):
    said = run("generate", "-p", "a cat", status=2)
    assert "-o FILE is missing" in said


def test_a_name_for_two_keys(run):
    run("keys", "add", "phone")
    assert '"phone" already' in run("keys", "add", "phone", status=1)
    run("keys", "revoke", "phone")
    run("keys", "add", "phone")


def test_mistakes_are_named_before_anything_is_done(run, tmp_path):
    said = run("generate", "-p", "a cat", "-o", "nowhere/a.png", status=1)
    assert said == "pictor generate: cannot write nowhere/a.png: No such file or directory\n"
    said = run("generate", "-p", "a cat", "-o", "a.png", "--steps", "20x", status=2)
    assert "--steps must be a whole number, got '20x'" in said
    for words in (["list"], ["revoke", "phone"]):
        assert "there is no store in typo" in run("keys", *words, "--data", "typo", status=1)
    assert not (tmp_path / "typo").exists()
