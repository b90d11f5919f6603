"""The structure that the headers of the modules promise."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LONGEST_FIRST

ROOT = Path(__file__).parent.parent
PURE_FOLDERS = ("bot/recording/", "bot/dialects/", "bot/feeds/", "bot/walkie/", "bot/calls/wire/")
PURE_LIBRARIES = {"babel", "cryptography", "dateparser", "feedgen", "lxml", "numpy", "pydantic", "yarl", "segno"}
"""Libraries that work in memory."""
OUTSIDE_WORLD = {
    "asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "random", "secrets", "select", "shutil",
    "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request",
}  # fmt: skip
"""Modules of the standard library that read a clock, a disk or a network, or leave traces."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def header(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0]


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, `from package import module` as package.module."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


MODULES = {module_of(path): path for folder in ("bot", "storage") for path in sorted((ROOT / folder).rglob("*.py"))}
PURE = [name for name, path in MODULES.items() if re.search(r"\bPure[.;:,]", header(path))]


def belongs_to(name: str) -> str:
    """Return the module of the project that an imported name is or lies in; empty for other names."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def test_headers_say_pure() -> None:
    """Each module of a pure folder says so in its header, and so do the records."""
    unsaid = [
        name
        for name, path in MODULES.items()
        if str(path.relative_to(ROOT)).startswith(PURE_FOLDERS) and path.stat().st_size and name not in PURE
    ]
    assert unsaid == []
    assert {"storage.records", "bot.rules", "bot.words"} <= set(PURE)


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_imports_only_pure_ones(name: str) -> None:
    """A module that says `Pure.` imports of the project only modules that say so too, and nothing that reads a
    clock, a disk or a network."""
    wrong = set()
    for what in imported(MODULES[name]):
        ours, top = belongs_to(what), what.partition(".")[0]
        if ours:
            wrong |= {what} if ours not in PURE and MODULES[ours].stat().st_size else set()
        elif top not in sys.stdlib_module_names:
            wrong |= {what} if top not in PURE_LIBRARIES else set()
        elif OUTSIDE_WORLD & {top, what}:
            wrong.add(what)
    assert wrong == set()


RAW = re.compile(r'\.event(\.get\(|\[)|\["content"\]|get\("content"\)|\bcontent\.get\(')
READS_RAW = (
    "bot/dialects/",
    "bot/calls/wire/",
    "bot/matrix/",
    "bot/demo/",
    "bot/rules.py",
    "bot/facts.py",
    "bot/walkie/",
)
"""Readers of raw events, and of raw room state."""


def test_only_dialects_read_raw_events() -> None:
    """No module behind the dialects looks into the JSON of an event."""
    readers = [
        str(path.relative_to(ROOT)) for path in sorted((ROOT / "bot").rglob("*.py")) if RAW.search(path.read_text())
    ]
    assert [reader for reader in readers if not reader.startswith(READS_RAW)] == []


def test_the_longest_tests_are_named_by_files_that_exist() -> None:
    """The files that are started first exist under these names."""
    assert [file for file in LONGEST_FIRST if not (ROOT / file).exists()] == []


RIDDLES = {"As", "It", "Of", "One", "That", "There", "This", "Those", "What", "Where", "Who"}
"""First words that say nothing of what a docstring is about. (ruff holds functions to the imperative.)"""
SOURCES = [
    path for folder in ("bot", "storage", "benchmarks", "tests") for path in sorted((ROOT / folder).rglob("*.py"))
]


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring, those of constants and fields too."""
    for node in ast.walk(ast.parse(path.read_text())):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, text


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    """No docstring begins with a word that stands for something else."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {text.split()[0]} …"
        for path in SOURCES
        for line, text in docstrings(path)
        if text.split() and text.split()[0].rstrip(",:") in RIDDLES
    ]
    assert wrong == []


def asks_for_blobs(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and re.search(r"\bobstore$|\b_?blobs$", ast.unparse(node.func.value)) is not None
    )


def transactions(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what is done within transactions, and what begins after them in the same `with`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncWith):
            began = False
            for item in node.items:
                if began:
                    yield item
                began |= re.search(r"\b_?(read|write)\(\)$", ast.unparse(item.context_expr)) is not None
            yield from node.body if began else ()
        elif isinstance(node, ast.AsyncFunctionDef) and any(
            each.annotation is not None and ast.unparse(each.annotation) == "Connection" for each in node.args.args
        ):
            yield from node.body


def test_no_transaction_waits_for_a_media_store() -> None:
    """Blobs are asked for before a transaction or after it: a slow bucket would keep all writers waiting."""
    waits = [
        f"{name}:{node.lineno}"
        for name, path in MODULES.items()
        for done in transactions(ast.parse(path.read_text()))
        for node in ast.walk(done)
        if isinstance(node, ast.Call) and asks_for_blobs(node)
    ]
    assert waits == []
