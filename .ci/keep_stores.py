"""Keep databases as the program of a tree writes them, for the tests of upgrades: `keep_stores.py [TREE] [TESTS…]`.

The tree's own tests run with this file as a plugin of pytest, which copies each database that brings something new: a
column with a value, a kind of job, a state. Those that have most are listed by the tree's own `aircheck recordings
--json` and `aircheck rooms --json`, and packed as SQL into `tests/data/stores/<revision>.tar.xz`.
"""

import argparse
import asyncio
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STORES = ROOT / "tests" / "data" / "stores"
KEPT_IN = "AIRCHECK_STORES_KEPT_IN"
"""The variable that names the folder into which the plugin copies."""
STATES = {("jobs", "kind"), ("jobs", "state"), ("chunks", "state"), ("chunks", "reason"), ("heirs", "confirmed")} | {
    ("recordings", name) for name in ("kind", "state", "ended_by", "history_visibility", "public", "past")
}
"""Columns of which each value counts."""
NOTHING = (None, "", "[]", "{}", 0, b"")
LARGEST = 3_000_000
"""Bytes of a database: one of thousands of rows shows no more than one of a few."""
TESTS = (
    "test_recorder.py", "test_redacted.py", "test_heirs.py", "test_following.py", "test_keeper.py", "test_missed.py",
    "test_retention.py", "test_deletion.py", "test_consent_stories.py", "test_announcing.py", "test_disclosure.py",
    "recorder", "intake", "commands", "walkie", "calls", "web", "worker",
)  # fmt: skip
"""Tests that write stores, the quick ones first."""
SETTINGS = """matrix: {{homeserver: "http://hs.invalid", user_id: "@bot:hs", password: x}}
storage: {{directory: "{directory}"}}
"""


def novelties(path: Path) -> frozenset[tuple[str, ...]]:
    """Return the columns with a value, and the states, that the rows of a database have."""
    found: set[tuple[str, ...]] = set()
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in db.execute(f'SELECT * FROM "{table}" LIMIT 200'):  # noqa: S608  our names
                for name in row.keys():  # noqa: SIM118  the row has no other way
                    if row[name] not in NOTHING:
                        found.add((table, name))
                    if (table, name) in STATES:
                        found.add((table, name, str(row[name])))
    return frozenset(found)


# ---- inside of pytest


def _copy_what_is_new(folder: Path) -> None:
    from storage import store  # of the tree whose tests run

    folder.mkdir(parents=True, exist_ok=True)
    seen: set[tuple[str, ...]] = set()
    close = store.Store.close

    def copy(database: Path) -> None:
        if not database.exists() or database.stat().st_size > LARGEST:
            return
        found = novelties(database)
        if found <= seen:
            return
        seen.update(found)
        test = re.sub(r"\W.*", "", os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[-1])
        to = folder / f"{len(list(folder.iterdir())):03}-{test.removeprefix('test_')[:40]}.db"
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(to)) as target:
            source.backup(target)

    async def close_and_copy(self: Any) -> None:
        await asyncio.to_thread(copy, Path(self.directory) / "aircheck.db")
        await close(self)

    store.Store.close = close_and_copy  # type: ignore[method-assign]


if KEPT_IN in os.environ:
    _copy_what_is_new(Path(os.environ[KEPT_IN]))


# ---- around it


def chosen(folder: Path, revision: str) -> list[Path]:
    """Return the fewest databases of a revision that have everything: first what has most, the smaller of two alike."""
    found = {path: novelties(path) for path in sorted(folder.glob("*.db")) if revision_of(path) == revision}
    missing = set().union(*found.values())
    kept = []
    while missing:
        best = max(found, key=lambda path: (len(found[path] & missing), -path.stat().st_size))
        kept.append(best)
        missing -= found.pop(best)
    return kept


def revision_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def said_by(tree: Path, command: str, database: Path) -> bytes:
    """Return what a command of the tree's program prints about a database."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "config.yaml").write_text(SETTINGS.format(directory=f"{directory}/data"))
        data = Path(directory) / "data"
        (data / "blobs").mkdir(parents=True, mode=0o700)
        (data / "aircheck.db").write_bytes(database.read_bytes())
        line = [sys.executable, "-m", "bot", command, "--json", "-c", f"{directory}/config.yaml"]
        said = subprocess.run(line, cwd=tree, capture_output=True, check=False, env=os.environ | {"PYTHONPATH": "."})
    if said.returncode:
        raise SystemExit(f"{database.name}: {command}: {said.stderr.decode()[-2000:]}")
    return json.dumps(json.loads(said.stdout), indent=1, sort_keys=True).encode()


def parts_of(tree: Path, paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        with closing(sqlite3.connect(path)) as db:
            yield f"{path.stem}/store.sql", "\n".join(db.iterdump()).encode()
        for command in ("recordings", "rooms"):
            yield f"{path.stem}/{command}.json", said_by(tree, command, path)


def pack(to: Path, parts: Iterator[tuple[str, bytes]]) -> None:
    part = to.with_suffix(".part")
    with tarfile.open(part, "w:xz", preset=9) as tar:
        for name, data in parts:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    part.replace(to)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tree", type=Path, nargs="?", default=ROOT)
    parser.add_argument(
        "--seconds", type=float, help="end the tests after this time; what they wrote until then counts"
    )
    parser.add_argument("--most", type=int, default=8, help="databases to keep; those with most that is new come first")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest instead of the usual tests")
    wanted = parser.parse_args()
    tree = wanted.tree.resolve()
    head = re.search(r'^HEAD = "(\d+)"', (tree / "storage" / "migrate.py").read_text(), re.MULTILINE)
    if head is None:
        raise SystemExit(f"{tree} has no storage/migrate.py with HEAD")
    tests = wanted.pytest or [f"tests/{name}" for name in TESTS if (tree / "tests" / name).exists()]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {KEPT_IN: folder, "PYTHONPATH": f".:{Path(__file__).parent}"}
        run = [sys.executable, "-m", "pytest", "-q", "-p", "keep_stores", "-p", "no:cacheprovider", "-p", "no:xdist"]
        with suppress(subprocess.TimeoutExpired):
            line = [*run, "-m", "not synapse", "--tb=no", *tests]
            subprocess.run(line, cwd=tree, env=environment, check=False, timeout=wanted.seconds)
        kept = chosen(Path(folder), head[1])[: wanted.most]
        to = STORES / f"{head[1]}.tar.xz"
        pack(to, parts_of(tree, kept))
    print(f"{to}: {len(kept)} databases, {to.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
