"""The page of cases in docs/ is the one that a run of the tests makes, and says that all pass."""
import re

import conformance_openai
from conftest import ROOT


def test_the_page_is_up_to_date():
    page = (ROOT / "docs" / "conformance-openai.md").read_text()
    assert page == conformance_openai.table({name: {"passed"} for name in conformance_openai.tests()})
    assert len(re.findall(r"^\| \d+ \|", page, re.M)) == 62


def test_its_tests_are_there():
    for name in conformance_openai.tests():
        file, function = name.split("::")
        [path] = [p for p in (ROOT / "tests").glob(f"*/{file}")]
        assert re.search(rf"^def {function}\(", path.read_text(), re.M), name
