"""The pages of cases in docs/ are those that a run of the tests makes, and say that all pass."""
import re

import conformance_openai
import conformance_sdapi
import pytest
from conftest import ROOT

PAGES = [("conformance-openai.md", conformance_openai, 62), ("sdapi-cases.md", conformance_sdapi, 52)]


@pytest.mark.parametrize("name, made_by, cases", PAGES)
def test_the_page_is_up_to_date(name, made_by, cases):
    page = (ROOT / "docs" / name).read_text()
    assert page == made_by.table({test: {"passed"} for test in made_by.tests()})
    assert len(re.findall(r"^\| \d+ \|", page, re.M)) == cases


@pytest.mark.parametrize("made_by", [conformance_openai, conformance_sdapi])
def test_its_tests_are_there(made_by):
    for name in made_by.tests():
        file, function = name.split("::")
        [path] = [p for p in (ROOT / "tests").glob(f"*/{file}")]
        assert re.search(rf"^def {function}\(", path.read_text(), re.M), name
