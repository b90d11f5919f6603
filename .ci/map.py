"""Writes the map of the modules in docs/architecture.md: one line for each, from the first sentence of its docstring.

`make map` runs it. With `--check` it changes nothing, prints the lines that differ and ends with exit code 1.
"""

import ast
import re
import sys
from difflib import unified_diff
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
FOLDERS = ("bot", "storage")
LEFT_OUT = "storage/migrations/versions"
BEGIN = "<!-- The map: written by `make map`. -->"
END = "<!-- The end of the map. -->"


def summary(path: Path) -> str:
    """Return the first sentence of a module's docstring, marked if the module is pure; empty without a docstring."""
    paragraph = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0].split())
    pure = re.search(r"\bPure[.;:,]", paragraph) is not None
    sentence = re.split(r"(?<=[.!?]) ", paragraph)[0].removesuffix(".")
    return f"{sentence} (pure)" if pure else sentence


def drawn() -> str:
    """Return the map as Markdown: a heading for each folder, a line for each module that has a docstring."""
    lines: list[str] = []
    for top in FOLDERS:
        for folder in sorted({path.parent for path in (ROOT / top).rglob("*.py")}):
            name = folder.relative_to(ROOT).as_posix()
            modules = [(path.name, text) for path in sorted(folder.glob("*.py")) if (text := summary(path))]
            if modules and name != LEFT_OUT:
                lines += ["", f"### `{name}/`", "", *(f"- `{module}`: {text}" for module, text in modules)]
    return "\n".join([*lines, ""])


def with_map(page: str) -> str:
    """Return the page with the map between its two marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} needs both marks: {BEGIN} {END}")
    return f"{before}{BEGIN}\n{drawn()}\n{END}{after}"


def differences(page: str) -> list[str]:
    """Return the lines of the map that are missing (+) or stale (-)."""
    diff = list(unified_diff(page.splitlines(), with_map(page).splitlines(), lineterm="", n=0))
    return [line for line in diff[2:] if not line.startswith("@@")]  # behind the two lines that name the files


if __name__ == "__main__":
    text = PAGE.read_text()
    if "--check" in sys.argv[1:]:
        found = differences(text)
        sys.stdout.write("".join(f"{line}\n" for line in found))
        sys.exit(bool(found))
    PAGE.write_text(with_map(text))
