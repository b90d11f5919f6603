"""Upgrades of the database to this program's version, after a copy of it; a newer one is refused.

An upgrade is one transaction, its version row included: killed anywhere, the database is as before. Versions of
Aircheck up to 0003 committed each statement by itself and wrote the version last; their interrupted upgrades are undone
first (`storage.interrupted_upgrade`).
"""

from pathlib import Path

from sqlalchemy.exc import DatabaseError

from storage import dialect
from storage.dialect import Trouble
from storage.errors import DiskFullError, StoreBusyError, StoreError, StoreTooNewError
from storage.upgrade_copy import VERSION, copy_before, copy_for

HEAD = "0052"
"""The newest revision in `migrations/versions`; a test keeps the two together."""


def revision_of(path: Path, *, mode: str = "ro") -> str | None:
    """Return a database's revision; None when it is new. Raises StoreError when the file is no database.

    `mode` "rw" rolls back what a killed process left in a journal; a reader may not.
    """
    if not path.exists():
        return None
    try:
        rows = dialect.query(path, VERSION, mode)
    except dialect.Error as error:
        if dialect.trouble(error) is Trouble.NO_TABLE:
            return None
        raise _trouble(path, error) from None
    return str(rows[0][0]) if rows else None


def refuse_other_version(path: Path) -> None:
    """Check the version for readers that may not migrate. Raises StoreError."""
    revision = revision_of(path)
    _refuse_newer(path, revision)
    if revision != HEAD:
        raise StoreError(f"{path} was written by an older Aircheck: start `aircheck run` once")


def _refuse_newer(path: Path, revision: str | None) -> None:
    """Refuse a database of a newer version, and name the copy that this one can go back to. Raises StoreTooNewError."""
    if revision is None or revision <= HEAD:
        return
    copy = copy_for(path, HEAD)
    back = f"go back to {copy} as docs/operations.md says" if copy else "restore a backup from before the update"
    raise StoreTooNewError(f"{path} was written by a newer Aircheck: update the program, or {back}")


def upgrade(path: Path) -> None:
    """Create or upgrade the database at `path` (mode 0600). Raises StoreError; the database is as before then."""
    revision = revision_of(path, mode="rw")
    if revision == HEAD:
        return
    _refuse_newer(path, revision)
    # Alembic, which most starts do not need, takes 10 MB.
    from storage.interrupted_upgrade import take_back
    from storage.revisions import UpgradeError, run_migrations, transaction

    try:
        path.touch(mode=0o600)
        with transaction(path) as connection:  # the lock is taken before the copy, so nobody writes in between
            revision = revision_of(path)  # another process may have been quicker
            if revision == HEAD:
                return
            if revision is not None:
                copy_before(path, revision, HEAD)
            take_back(connection, path, revision)
            run_migrations(connection, HEAD)
    except OSError as error:
        raise StoreError(f"{path} can't be written: {error.strerror}") from None
    except UpgradeError as error:
        raise StoreError(f"{path} could not be upgraded: {error}") from None
    except DatabaseError as error:
        raise _trouble(path, error.orig) from None


def _trouble(path: Path, error: BaseException | None) -> StoreError:
    """Return a database error as one sentence."""
    match dialect.trouble(error):
        case Trouble.BUSY:
            return StoreBusyError(f"{path} is in use by another program: stop it, then start again")
        case Trouble.FULL:
            return DiskFullError(f"the disk is full: {path} could not be upgraded, and is as it was")
        case Trouble.DAMAGED:
            return StoreError(f"{path} is damaged: restore it from a backup")
        case Trouble.FOREIGN:
            return StoreError(f"{path} is not an Aircheck database")
        case _:
            return StoreError(f"{path} can't be used: {error}")
