"""Stores that earlier versions of Aircheck wrote, with what those said of them: `tests/data/stores`, kept by
`.ci/keep_stores.py`."""

import json
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

STORES = Path(__file__).parents[1] / "data" / "stores"
EVERY = os.environ.get("AIRCHECK_OLD_STORES") == "all"
"""Whether all stores are tested, or the first one of each version, which has most in it."""


@dataclass(frozen=True, slots=True)
class OldStore:
    """A database of a version, as SQL, and what `aircheck recordings --json` and `aircheck rooms --json` said of it."""

    revision: str
    name: str
    sql: str
    recordings: list[dict[str, Any]]
    rooms: list[dict[str, Any]]

    def __str__(self) -> str:
        return f"{self.revision}-{self.name}"

    def lay(self, folder: Path) -> Path:
        """Make the storage directory with its database, as the version left it; return the database's path."""
        folder.mkdir(mode=0o700, parents=True)
        path = folder / "aircheck.db"
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(self.sql)
        return path


@cache
def old_stores() -> tuple[OldStore, ...]:
    """Return all stores: oldest version first, and of each version the one with most in it first."""
    return tuple(store for packed in sorted(STORES.glob("*.tar.xz")) for store in _unpacked(packed))


def sampled() -> tuple[OldStore, ...]:
    """Return the stores that this run tests."""
    first = {store.revision: store for store in reversed(old_stores())}
    return old_stores() if EVERY else tuple(first[revision] for revision in sorted(first))


def _unpacked(packed: Path) -> Iterator[OldStore]:
    parts: dict[str, dict[str, str]] = {}
    with tarfile.open(packed) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            name, part = member.name.split("/")
            parts.setdefault(name, {})[part] = file.read().decode()
    for name, files in parts.items():
        recordings, rooms = json.loads(files["recordings.json"]), json.loads(files["rooms.json"])
        yield OldStore(packed.name.split(".")[0], name, files["store.sql"], recordings, rooms)
