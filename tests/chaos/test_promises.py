"""docs/security.md: each promise names tests that exist, and what weakens one is said at the start."""
import re

import conftest
import pytest
from conftest import ROOT

SECURITY = (ROOT / "docs" / "security.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def part(title):
    return SECURITY.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title):
    return [line.strip("|").split("|") for line in part(title).splitlines()
            if line.startswith("| ")][1:]


@pytest.mark.parametrize("text", [SECURITY, OPERATIONS], ids=["security", "operations"])
def test_the_tests_that_are_named_exist(text):
    files = set(re.findall(r"tests/\w+/\w+\.(?:py|c|sh)", text))
    assert len(files) > 5
    assert [f for f in files if not (ROOT / f).exists()] == []
    sources = "".join(p.read_text() for folder in ("unit", "chaos", "api", "long", "load")
                      for p in (ROOT / "tests" / folder).iterdir() if p.suffix in (".py", ".c"))
    names = set(re.findall(r"`(test_\w+)`", text))
    assert [n for n in names if not re.search(rf"\b{n}\b\(", sources)] == []


def test_each_promise_names_its_test():
    promises = rows("What is promised, and the test that holds it")
    assert len(promises) > 12
    assert [p for p in promises if not re.search("test_|_test", p[1])] == []


def test_what_is_said_is_what_is_written():
    source = (ROOT / "server" / "exposure.c").read_text()
    said = re.findall(r'\bwarn\("(\w+)"|\bwarn\(\s*"(\w+)"', source)
    assert sorted(a or b for a, b in said) == sorted(
        row[0].strip().strip("`") for row in rows("What weakens it"))


def weakened(server):
    return re.findall(r"event=promise_weakened setting=(\w+)", server.log())


def test_the_defaults_weaken_nothing(serve):
    assert weakened(serve()) == []


@pytest.mark.parametrize("name, flags", [
    ("allow_unauthenticated", ["--listen=0.0.0.0:PORT", "--allow-unauthenticated"]),
    ("allowed_hosts", ["--allowed-hosts=here.example,*"]),
    ("cors_origins", ["--cors-origins=*"]),
    ("api_auth", ["--api-auth=ann:short"]),
    ("reserved_connections", ["--reserved-connections=0"]),
    ("compose_url", ["--compose-url=http://far.example/v1", "--compose-model=m",
                     "--compose-key=secret of the model"]),
])
def test_a_setting(serve, monkeypatch, name, flags):
    port = conftest.free_port()
    monkeypatch.setattr(conftest, "free_port", lambda: port)
    assert weakened(serve(*(f.replace("PORT", str(port)) for f in flags))) == [name]


def test_what_does_not_weaken_is_not_warned_of(serve, tmp_path):
    config = tmp_path / "pictor.ini"
    config.write_text("[upstream near]\nbase_url = http://localhost:1/v1\nkey = k\nmodels = a\n"
                      "[upstream far]\nbase_url = https://far.example/v1\nkey = k\nmodels = b\n")
    config.chmod(0o640)
    for url, key in (("http://127.0.0.1:1/v1", "k"), ("https://far.example/v1", "k"),
                     ("http://far.example/v1", "")):
        assert weakened(serve(f"--compose-url={url}", "--compose-model=m",
                              f"--compose-key={key}")) == []
    assert weakened(serve("--api-auth=ann:long enough for this", "--allow-unauthenticated",
                          "--allowed-hosts=a.example", f"--config={config}")) == []


def test_files_and_upstreams(serve, tmp_path):
    config, data = tmp_path / "pictor.ini", tmp_path / "data"
    config.write_text("[upstream far]\nbase_url = http://far.example/v1\nkey = k\nmodels = a\n"
                      "retry_unknown = on\n")
    config.chmod(0o644)
    data.mkdir()
    data.chmod(0o755)
    server = serve(f"--config={config}", f"--data={data}")
    assert sorted(weakened(server)) == ["base_url", "config", "data", "retry_unknown"]
