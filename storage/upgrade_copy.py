"""The copy of a database from before its upgrade: whole, checked, under a name of its own, and never overwritten."""

import errno
import filecmp
import itertools
import os
import re
from pathlib import Path

from storage import dialect
from storage.dialect import Trouble
from storage.errors import DiskFullError, StoreError
from storage.private import sync

VERSION = "SELECT version_num FROM alembic_version"


def copy_before(path: Path, revision: str, head: str) -> Path:
    """Copy the database to `<name>.before-<head>-from-<revision>`, mode 0600. The same content is copied once; other
    content gets a number. Raises StoreError; then no part of a copy is left."""
    part = path.with_name(f"{path.name}.copying")
    _clear(part)
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        dialect.copy(path, part)
        _check(part, revision)
        sync(part)
        copy = _keep(part, f"{path.name}.before-{head}-from-{revision}")
        sync(path.parent)
    except (OSError, dialect.Error, _NotWhole) as error:
        raise _trouble(path, error) from None
    finally:
        _clear(part)
    return copy


def copy_for(path: Path, head: str) -> Path | None:
    """Return the copy with which a program of version `head` loses least: that of the newest version which it can read,
    the last that was made of it; None without one."""
    found = [
        (match[1], copy.stat().st_mtime_ns, copy)
        for copy in path.parent.glob(f"{path.name}.before-*")
        if (match := re.fullmatch(r".*\.before-\d{4}-from-(\d{4})(-\d+)?", copy.name)) and match[1] <= head
    ]
    return max(found)[2] if found else None


class _NotWhole(Exception):
    """A copy that failed its check."""


def _check(part: Path, revision: str) -> None:
    """Check a copy. Raises _NotWhole, dialect.Error."""
    if not dialect.is_whole(part) or dialect.query(part, VERSION, "ro&immutable=1") != [(revision,)]:
        raise _NotWhole


def _keep(part: Path, name: str) -> Path:
    """Rename the copy to the first free name, unless a copy with the same content exists."""
    for number in itertools.count(1):
        copy = part.with_name(name if number == 1 else f"{name}-{number}")
        if not copy.exists():
            return part.replace(copy)
        if filecmp.cmp(part, copy, shallow=False):
            return copy
    raise AssertionError  # count() never ends


def _clear(part: Path) -> None:
    """Remove an unfinished copy, and the database's files beside it."""
    for file in (part, *dialect.side_files(part)):
        file.unlink(missing_ok=True)


def _trouble(path: Path, error: Exception) -> StoreError:
    why = dialect.trouble(error)
    if isinstance(error, _NotWhole) or why is Trouble.DAMAGED:
        return StoreError(f"{path} is damaged, so it was not upgraded: restore it from a backup")
    if getattr(error, "errno", None) == errno.ENOSPC or why is Trouble.FULL:
        return DiskFullError(f"the disk is full: {path} could not be copied before its upgrade, and is as it was")
    said = error.strerror if isinstance(error, OSError) else str(error)
    return StoreError(f"{path} could not be copied before its upgrade, and is as it was: {said} (is the disk full?)")
