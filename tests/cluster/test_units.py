"""Unit tests of what leans on the store most, on PostgreSQL: how keys share the painters, and what
runners would rather have."""
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import PROGRAM, ROOT, shared_postgres

PROGRAMS = ("shares_test", "taste_test")
TESTS = [(program, name) for program in PROGRAMS
         for name in re.findall(r"^        TEST\((\w+)\)",
                                (ROOT / f"tests/unit/{program}.c").read_text(), re.MULTILINE)]
assert {program for program, _ in TESTS} == set(PROGRAMS)


@pytest.mark.parametrize("program, name", TESTS)
def test_on_postgresql(program, name):
    done = subprocess.run([Path(PROGRAM).parent / "tests" / program, name], cwd=ROOT,
                          capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PICTOR_TEST_DATABASE": shared_postgres().create()})
    assert done.returncode == 0 and "1 test(s) run" in done.stdout + done.stderr, \
        done.stdout + done.stderr
