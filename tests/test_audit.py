"""The verdict on pip-audit's answer (.ci/audit.py)."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "audit.py"
SPEC = importlib.util.spec_from_file_location("audit", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
audit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audit)


def answer(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def clean(name: str = "aiohttp") -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": []}


def hit(name: str = "aiohttp") -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "description": "x"}]}


SKIPPED = {"name": "numpy", "skip_reason": "not found on https://registry.example.org/simple"}


@pytest.mark.parametrize("said", [None, "", "no JSON", "[]", "{}", answer(), answer(SKIPPED, SKIPPED)])
def test_a_database_that_could_not_be_reached_is_reported_and_fails_nothing(said: str | None) -> None:
    """An answer that is missing, malformed or skipped every package passes, with a line that nothing was compared."""
    lines, code = audit.verdict(said)
    assert code == 0
    assert len(lines) == 1
    assert "NOT COMPARED" in lines[0]
    assert "example.org" not in lines[0]


def test_skipped_packages_are_counted() -> None:
    """The output has the number of packages that were skipped, beside those that were compared."""
    lines, code = audit.verdict(answer(clean(), SKIPPED))
    assert code == 0
    assert lines == [
        "audit: NOT COMPARED with known vulnerabilities: 1 of 2 packages",
        "audit: 1 packages compared, nothing new found",
    ]


def test_a_vulnerability_fails_the_run() -> None:
    """A known vulnerability fails the run and is named with package, version, advisory and the fixed version."""
    lines, code = audit.verdict(answer(clean("attrs"), hit()))
    assert code == 1
    assert lines[0] == "audit: aiohttp 1.0: PYSEC-1, fixed in 1.1"


def test_an_accepted_vulnerability_is_shown_with_its_reason() -> None:
    """A vulnerability that docs/dependencies.md explains is printed with its reason and does not fail the run."""
    lines, code = audit.verdict(answer(hit("Pillow")))
    assert code == 0
    assert "accepted: held back by simplematrixbotlib" in lines[0]
