"""The recipes in CONTRIBUTING.md and the pages that name files."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "docs/debugging.md", *sorted((ROOT / "docs/decisions").glob("*.md"))]
NAMED = re.compile(r"`((?:bot|storage|tests|docs|benchmarks)/[\w./-]*|[\w-]+\.(?:md|toml|yaml\.example))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_file_that_is_named_exists(page: Path) -> None:
    """Each file or folder of ours that the page names is there; a module that moved takes its mention along."""
    named = NAMED.findall(page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_recipe_names_files() -> None:
    """Each recipe names the files that it is about."""
    recipes = (ROOT / "CONTRIBUTING.md").read_text().partition("## Recipes")[2].split("\n### ")[1:]
    assert len(recipes) >= 7
    for recipe in recipes:
        assert len(NAMED.findall(recipe)) >= 3, recipe.splitlines()[0]
