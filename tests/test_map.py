"""The map of the modules in docs/architecture.md."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / ".ci" / "map.py"
SPEC = importlib.util.spec_from_file_location("file_map", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
file_map = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(file_map)


def test_the_map_is_that_of_the_tree() -> None:
    """Each module has its line in the map, and no line is left of a module that was renamed or removed."""
    stale = file_map.differences(file_map.PAGE.read_text())
    assert not stale, "the map in docs/architecture.md is out of date, run `make map`:\n" + "\n".join(stale)


def test_every_module_says_what_it_is() -> None:
    """Every module that holds code begins with a docstring, from which its line is taken."""
    modules = [path for folder in file_map.FOLDERS for path in (file_map.ROOT / folder).rglob("*.py")]
    silent = [path for path in modules if path.stat().st_size and not file_map.summary(path)]
    assert silent == []


def test_a_missing_and_a_stale_line_are_named() -> None:
    """The difference names the line to add and the line to remove."""
    page = file_map.with_map(file_map.PAGE.read_text())
    module = "- `rules.py`"
    line = next(line for line in page.splitlines() if line.startswith(module))
    assert file_map.differences(page.replace(line, "- `gone.py`: Nothing")) == ["-- `gone.py`: Nothing", f"+{line}"]
