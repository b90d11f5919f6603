"""The tests that docs/reliability.md names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"^\| (.+?) \| (.*?) ?\| (.*?) ?\|$", (ROOT / "docs/reliability.md").read_text(), re.MULTILINE)
PROMISES = [row for row in ROWS if row[1] not in ("file", "---")]


@pytest.mark.parametrize(("what", "file", "test"), PROMISES, ids=[what for what, _, _ in PROMISES])
def test_each_promise_names_a_test_that_is_there(what: str, file: str, test: str) -> None:
    """The file and the function exist under the names that the page gives."""
    text = (ROOT / file.strip("`")).read_text()
    assert re.search(rf"^(async )?def {test.strip('`')}\(", text, re.MULTILINE)


def test_the_page_has_promises() -> None:
    """The tables of the page are parsed: without rows, the test above would check nothing."""
    assert len(PROMISES) > 60
