"""Handlers that are made when the first job of theirs comes. What they import takes a tenth of a start, and memory that
a bot at rest does not need."""

import asyncio
import importlib
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType

from bot.worker.attempts import Handler
from storage.records import Job, JobKind


class Later:
    """The handlers of some kinds of jobs: `make` builds them of the module of this name."""

    def __init__(self, module: str, make: Callable[[ModuleType], Mapping[JobKind, Handler]]) -> None:
        self._module = module
        self._make = make
        self._made: Mapping[JobKind, Handler] | None = None

    def handlers(self, kinds: Iterable[JobKind]) -> dict[JobKind, Handler]:
        """Return a handler for each of these kinds."""
        return dict.fromkeys(kinds, self._handle)

    async def _handle(self, job: Job) -> None:
        if self._made is None:
            module = await asyncio.to_thread(importlib.import_module, self._module)
            self._made = self._made or self._make(module)  # another job may have been faster
        await self._made[job.kind](job)
