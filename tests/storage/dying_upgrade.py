"""Upgrades that die: `python -m tests.storage.dying_upgrade FOLDER STEPS...`, a process of its own because it forks.

FOLDER holds `store/aircheck.db`. For each step a child upgrades a copy of it and ends itself by `os._exit` after that
many statements and changes of files; then the upgrade is begun again. Prints JSON: how many steps an undisturbed
upgrade has and, for each step, "" if the result is the undisturbed one.
"""

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from storage import migrate

FILE_CHANGES = ("open", "os.rename", "os.remove", "os.truncate", "sqlite3.connect")
DIED = 99
EVENLY = "evenly"
"""An argument in place of steps: `evenly 3` dies at three steps, evenly spread; `evenly 0` at all."""

on_step: list[Callable[[str], None]] = []


def watch(folder: Path) -> None:
    """Call what is in `on_step` at each statement, and at each change of a file in `folder`."""

    def note(what: str) -> None:
        for call in on_step:
            call(what)

    def audit(name: str, arguments: tuple[Any, ...]) -> None:
        if on_step and name in FILE_CHANGES and str(folder) in str(arguments[0]):
            note(f"{name} {arguments[0]}")

    @event.listens_for(Engine, "after_cursor_execute")
    def _executed(connection: Connection, _: Any, statement: str, *__: Any) -> None:
        if connection.engine.url.database:
            note(statement)

    sys.addaudithook(audit)


def content_of(path: Path, since: datetime) -> list[str]:
    """Return the database as SQL, with what the upgrade itself dated left undated."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert not db.execute("PRAGMA foreign_key_check").fetchall()
        now = f"{since.replace(tzinfo=None)}"
        db.execute("UPDATE jobs SET run_at = '', changed_at = '' WHERE changed_at >= ?", (now,))
        return list(db.iterdump())


def in_a_child(work: Callable[[], None]) -> int:
    """Do something in a forked process; return how it ended."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dies_at(number: int) -> Callable[[str], None]:
    left = [number]

    def step(_: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            os._exit(DIED)

    return step


def main(folder: Path, steps: list[str]) -> None:
    watch(folder)
    since = datetime.now(UTC)
    undisturbed, seen = shutil.copytree(folder / "store", folder / "undisturbed") / "aircheck.db", list[str]()
    on_step.append(seen.append)
    migrate.upgrade(undisturbed)
    on_step.clear()
    wanted = content_of(undisturbed, since)
    if steps[0] == EVENLY:
        count = min(int(steps[1]) or len(seen), len(seen))
        numbers = [1 + len(seen) * (2 * each + 1) // (2 * count) for each in range(count)]
    else:
        numbers = [int(step) for step in steps]
    results = {}
    for number in numbers:
        path = shutil.copytree(folder / "store", folder / "killed") / "aircheck.db"

        def upgrade_and_die(path: Path = path, number: int = number) -> None:
            on_step.append(dies_at(number))
            migrate.upgrade(path)

        code = in_a_child(upgrade_and_die)
        migrate.upgrade(path)
        same = code == DIED and content_of(path, since) == wanted and not list(path.parent.glob("*.copying*"))
        results[number] = "" if same else f"exit code {code}, after: {seen[number - 1]}"
        shutil.rmtree(path.parent)
    json.dump({"steps": len(seen), "died": results}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
