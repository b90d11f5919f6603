"""SQL that is portable: what only one database understands stands in `storage/dialect.py`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

import storage
from storage.tables import metadata

FOLDER = Path(storage.__file__).parent
ONLY_SQLITE = re.compile(r"sqlite|\b(pragma|instr|rowid|json_extract|glob|begin immediate)\b", re.IGNORECASE)
DOORS = {"dialect.py", "driver.py", "sqlite.py"}
WAY_BACK = "`aircheck move-store --to sqlite`"
FILES = sorted(file.name for file in FOLDER.glob("*.py") if file.name not in DOORS)


def words_of(file: Path) -> Iterator[str]:
    """Yield the names and texts of a module's code, without docstrings and comments."""
    tree = ast.parse(file.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in prose:
                yield text
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module
            case ast.Attribute(attr=name) | ast.keyword(arg=str(name)) | ast.Name(id=name):
                yield name


@pytest.mark.parametrize("name", FILES)
def test_no_other_module_has_words_of_sqlite(name: str) -> None:
    """No statement, option or import in a module of the store is SQLite's alone."""
    words = [word for word in words_of(FOLDER / name) if ONLY_SQLITE.search(word.replace(WAY_BACK, ""))]
    assert set(words) <= {"storage.sqlite", "SQLite", "glob"}


def test_no_upgrade_names_the_rows_of_sqlite() -> None:
    """The statements of the migrations order rows by columns."""
    migrations = sorted((FOLDER / "migrations" / "versions").glob("v*.py"))
    assert [file.name for file in migrations for word in words_of(file) if "rowid" in word] == []


def test_every_table_and_index_can_be_made_in_postgresql() -> None:
    """All types and defaults exist in the other database, and an index of some rows is of the same rows there."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            made = str(CreateIndex(index).compile(dialect=dialect))
            assert ("WHERE" in made) == bool(index.dialect_kwargs)
