"""What runners would rather have, on PostgreSQL: tests/unit/taste_test.c over that store."""
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import PROGRAM, ROOT, shared_postgres

TESTS = re.findall(r"^        TEST\((\w+)\)",
                   (ROOT / "tests/unit/taste_test.c").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", TESTS)
def test_taste(name):
    program = Path(PROGRAM).parent / "tests/taste_test"
    done = subprocess.run([program, name], cwd=ROOT, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PICTOR_TEST_DATABASE": shared_postgres().create()})
    assert done.returncode == 0 and "1 test(s) run" in done.stdout + done.stderr, \
        done.stdout + done.stderr
