"""The docs compared with the code: keys, defaults, commands, dependencies, links."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.commands.registry import VERBS
from bot.settings import Settings, validate
from bot.shell import cli
from bot.sources import from_environment

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAP = re.compile(r"<!-- The map: .*<!-- The end of the map. -->", re.DOTALL)
EXAMPLE = ROOT / "config.yaml.example"
NO_DEFAULT = {"matrix.homeserver", "matrix.user_id"}


def keys() -> dict[str, Any]:
    """Return every key of the settings with its default."""
    return {
        f"{section}.{name}": field.get_default()
        for section, found in Settings.model_fields.items()
        for name, field in found.annotation.model_fields.items()  # type: ignore[union-attr]
    }


def example() -> dict[str, Any]:
    tree = yaml.safe_load(EXAMPLE.read_text())
    return {f"{section}.{name}": value for section, below in tree.items() for name, value in below.items()}


def test_the_example_holds_every_key_with_its_default() -> None:
    """config.yaml.example has all keys and no other, each with the default of the code."""
    values = example()
    assert list(values) == list(keys())
    for key, default in keys().items():
        if key not in NO_DEFAULT:
            assert values[key] == (list(default) if isinstance(default, tuple) else default), key


def test_the_example_is_valid() -> None:
    """The example itself is accepted as settings."""
    assert validate(yaml.safe_load(EXAMPLE.read_text())).matrix.user_id == "@aircheck:example.org"


def test_the_example_explains_every_key_in_one_line() -> None:
    """Above each key of the example stands exactly one line that explains it."""
    lines = EXAMPLE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"  [a-z_0-9]+:", line):
            assert re.match(r"  # \S.*[.]$", lines[number - 1]), line
            assert not lines[number - 2].startswith("  #"), line


def spelled(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, tuple):
        return f"`{list(default)}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def test_the_page_on_configuration_has_every_key_with_its_default() -> None:
    """docs/configuration.md has a row for each key and no other, in order, beginning with its default."""
    rows = re.findall(r"^\| `(\w+\.\w+)` \| (.*?) \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    assert [key for key, _ in rows] == list(keys())
    for key, shown in rows:
        default = "none" if key in NO_DEFAULT else spelled(keys()[key])
        assert shown.startswith(default), key


def prose() -> str:
    """Return the text of all pages, without the map of the modules."""
    return "\n".join(MAP.sub("", page.read_text()) for page in [*PAGES, ROOT / "CHANGELOG.md"])


def rows_of_commands(heading: str) -> list[str]:
    """Return the first cell of each row of a table in docs/commands.md."""
    section = (ROOT / "docs/commands.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)


def test_the_table_has_every_shell_command() -> None:
    """docs/commands.md has a row for each command of the shell, and the docs name no other."""
    commands = {info.name or info.callback.__name__ for info in cli.app.registered_commands if info.callback}
    commands |= {group.name for group in cli.app.registered_groups if group.name}
    assert {cell.split()[1].strip("`") for cell in rows_of_commands("In the shell")} == commands
    text = prose()
    assert set(re.findall(r"(?:`(?:\S*/)?|bin/)aircheck ([a-z]+(?:-[a-z]+)*)\b", text)) <= commands


def test_the_table_has_every_room_command() -> None:
    """docs/commands.md has a row for each command of the room, in the order of `help`, and the docs name no other."""
    rows = [cell.split()[1].strip("`") for cell in rows_of_commands("In a room")]
    assert list(dict.fromkeys(rows)) == sorted(VERBS, key=lambda verb: rows.index(verb))
    assert set(re.findall(r"!aircheck (\w+)", prose())) == set(VERBS)


def test_every_dependency_is_explained() -> None:
    """docs/dependencies.md has each library that pyproject.toml or the clients' package.json names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
        *json.loads((ROOT / "tests/clients/package.json").read_text())["dependencies"],
    ]
    text = (ROOT / "docs/dependencies.md").read_text().lower()
    missing = [name for entry in wanted if (name := re.split(r"[\[><=,]", entry)[0].lower()) not in text]
    assert missing == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.name))
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of ours leads to one that is there."""
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_index() -> None:
    """Each page of the docs is reached from docs/index.md, each decision from docs/decisions/README.md."""
    index = (ROOT / "docs/index.md").read_text()
    decisions = (ROOT / "docs/decisions/README.md").read_text()
    for page in sorted((ROOT / "docs").glob("*.md")):
        assert page.name == "index.md" or f"({page.name})" in index
    for page in sorted((ROOT / "docs/decisions").glob("0*.md")):
        assert f"({page.name})" in decisions


def test_the_images_settings_exist() -> None:
    """The settings know every variable that the Dockerfile sets."""
    found = dict(re.findall(r"(AIRCHECK_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
    assert from_environment(found) == {
        "storage": {"directory": "/data"},
        "web": {"host": "0.0.0.0", "port": 8040},  # noqa: S104
    }


def test_the_changelog_knows_this_version() -> None:
    """The version in pyproject.toml has its section in CHANGELOG.md."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_hooks_run_what_make_check_runs() -> None:
    """.pre-commit-config.yaml and the target `check` have the same commands, in the same order."""
    target = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
    commands = re.findall(r"^\t\$\(BIN\)/(.*?)(?: \.)?$", target, re.MULTILINE)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in hooks] == commands


def test_make_help_lists_every_target() -> None:
    """Each target that is called by name has a line of help."""
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE)) == set(phony.split())
