"""The time that each SQL statement takes, for a profile. Statements are told without their values, which are bound."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

LONGEST = 160
"""Characters of a statement that are told."""


@contextmanager
def traced(note: Callable[[str, float], None]) -> Iterator[None]:
    """Call `note` with each statement that is executed in the block, and its seconds, for all databases."""

    def before(connection: Any, *_: Any) -> None:
        connection.info["began"] = time.perf_counter()

    def after(connection: Any, _: Any, statement: str, *__: Any) -> None:
        began = connection.info.pop("began", None)
        if began is not None:
            note(" ".join(statement.split())[:LONGEST], time.perf_counter() - began)

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", before)
        event.remove(Engine, "after_cursor_execute", after)
