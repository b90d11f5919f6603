"""Brings a database up to this program's version, after a copy of it; refuses a newer one."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy.exc import OperationalError

from storage.errors import StoreError, StoreTooNewError

HEAD = "0003"
"""The newest revision in `migrations/versions`; a test keeps the two together."""


def configuration(path: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("sqlalchemy.url", f"sqlite:///{path}".replace("%", "%%"))
    return config


def revision_of(path: Path) -> str | None:
    """The revision a database is at; None when it is new. Raises StoreError when it is no database."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise StoreError(f"{path} can't be read: {error}") from None
    except sqlite3.DatabaseError:
        raise StoreError(f"{path} is not an Aircheck database") from None
    return str(rows[0][0]) if rows else None


def refuse_other_version(path: Path) -> None:
    """For readers that may not migrate. Raises StoreError."""
    revision = revision_of(path)
    if revision is not None and revision > HEAD:
        raise StoreTooNewError(f"{path} was written by a newer Aircheck: update the program")
    if revision != HEAD:
        raise StoreError(f"{path} was written by an older Aircheck: start `aircheck run` once")


def upgrade(path: Path) -> None:
    """Creates or upgrades the database at `path` (mode 0600). Raises StoreError."""
    revision = revision_of(path)
    if revision == HEAD:
        return
    if revision is not None:
        if revision > HEAD:
            raise StoreTooNewError(f"{path} was written by a newer Aircheck: update the program")
        copy = path.with_name(f"{path.name}.before-{HEAD}")
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        shutil.copymode(path, copy)
    try:
        path.touch(mode=0o600)
        command.upgrade(configuration(path), "head")
    except OSError as error:
        raise StoreError(f"{path} can't be written: {error.strerror}") from None
    except CommandError as error:
        raise StoreError(f"{path} could not be upgraded: {error}") from None
    except OperationalError as error:
        raise StoreError(f"{path} can't be written: {error.orig} (is the disk full?)") from None
