"""Collects all texts of the code and the pages, and updates the catalogue of each language in bot/locale/.

`make messages` runs it. Translations stay; a new text gets an empty one, and a text that is gone is removed. With
`--check` it changes nothing, prints what is missing, and ends with exit code 1.
"""

import ast
import sys
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent
CATALOGUES = ROOT / "bot" / "locale"
OPTIONS = {"**/templates/**.html": {"silent": "false"}}
BEGAN = datetime(2026, 11, 29, tzinfo=UTC)
VERSION = "0.1.0"
KEYWORDS = {"_": None, "N_": None, "plural": (1, 2)}


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """Yield all calls below a node, in the order of the source."""
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from calls(child)


def python_texts(
    file: BinaryIO, keywords: Collection[str], _tags: object, options: object
) -> Iterator[tuple[int, str, Any, list[str]]]:
    """Yield the marked texts of a module, as Babel's extractors do. Babel's own does not look into f-strings."""
    for call in calls(ast.parse(file.read())):
        if isinstance(call.func, ast.Name) and call.func.id in keywords:
            words = tuple(part.value if isinstance(part, ast.Constant) else None for part in call.args)
            yield call.lineno, call.func.id, words if len(words) > 1 else words[0], []


SOURCES = [("**/templates/**.html", "jinja2"), ("**.py", python_texts)]


def texts() -> Catalog:
    """Return all texts of the bot, each with the files that hold it."""
    catalog = Catalog(project="Aircheck")
    folder = ROOT / "bot"
    for name, _line, text, comments, context in extract_from_dir(folder, SOURCES, OPTIONS, KEYWORDS):
        if text not in ("", ("", "")):
            catalog.add(text, None, [(f"bot/{name}", 0)], auto_comments=comments, context=context)
    return catalog


def files() -> list[Path]:
    """Return the catalogues, one file for each language."""
    return sorted(CATALOGUES.glob("*/LC_MESSAGES/aircheck.po"))


def read(file: Path) -> Catalog:
    """Read a catalogue, which may be an empty file."""
    with file.open("rb") as source:
        return read_po(source, locale=file.parent.parent.name.replace("-", "_"), abort_invalid=True)


def updated(file: Path, template: Catalog) -> bytes:
    """Return a catalogue with exactly the texts of the template. Its header is the same each time."""
    catalog = read(file)
    language = catalog.locale.english_name if catalog.locale else "another language"
    template.creation_date = catalog.creation_date = catalog.revision_date = BEGAN
    catalog.project, catalog.version, catalog.fuzzy = "Aircheck", VERSION, False
    catalog.msgid_bugs_address = catalog.last_translator = catalog.language_team = "Aircheck"
    catalog.header_comment = f"# All that Aircheck says, in {language}. `make messages` adds new texts."
    catalog.update(template, no_fuzzy_matching=True)
    written = BytesIO()
    write_po(written, catalog, width=100, ignore_obsolete=True, sort_by_file=True, include_lineno=False)
    return written.getvalue()


def untranslated(file: Path, template: Catalog) -> list[str]:
    """Return the texts that a catalogue lacks, or holds without a finished translation."""
    catalog = read(file)
    lacking = []
    for message in template:
        known = catalog.get(message.id) if message.id else message
        strings = (known.string if isinstance(known.string, tuple) else (known.string,)) if known else ()
        if message.id and (known is None or known.fuzzy or not strings or not all(strings)):
            lacking.append(message.id if isinstance(message.id, str) else message.id[0])
    return lacking


if __name__ == "__main__":
    collected = texts()
    if "--check" in sys.argv[1:]:
        found = [(file, text) for file in files() for text in untranslated(file, collected)]
        sys.stdout.write("".join(f"{file.relative_to(ROOT)}: {text!r}\n" for file, text in found))
        sys.exit(bool(found))
    for catalogue in files():
        catalogue.write_bytes(updated(catalogue, collected))
