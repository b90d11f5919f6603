"""A profile of a running process, for `--profile`: what keeps the event loop busy, and where the time goes.

A thread looks a hundred times a second at what the loop's thread runs. It sees names of functions and lines of code, no
values. Stacks are kept folded, as flamegraph.pl and speedscope.app read them.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

from bot import counted
from storage import counted as counted_in_storage
from storage.private import FILE_MODE, FOLDER_MODE
from storage.tally import Durations, Labels
from storage.tracing import traced

log = logging.getLogger(__name__)

FILE_NAME = "profile.folded"
"""The file of the owner of the store, of which there is one."""
EVERY_S = 0.01
LONG_S = 0.01
"""Seconds that nothing may keep the event loop busy for."""
TELL_EVERY_S = 60.0
SHOWN = 5
MOST = 20_000
"""Stacks, or statements, that are kept apart."""
MEASURED = {
    "jobs": counted.JOB_S,
    "ffmpeg": counted.CHILD_S,
    "writes": counted_in_storage.WRITES,
    "waits of writes": counted_in_storage.WRITE_WAITS,
    "reads": counted_in_storage.READS,
    "requests": counted.REQUEST_S,
}


class Profile:
    """The profile of this thread's event loop, from `start` to `stop`, which writes it to a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stacks: Counter[str] = Counter()
        self._long: Counter[str] = Counter()
        self._longest_s = 0.0
        self._statements: dict[str, list[float]] = {}
        self._before = {name: of.copy() for name, of in MEASURED.items()}
        self._began: float | None = None  # of what the loop runs now
        self._watched = threading.get_ident()
        self._stopping = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="profile", daemon=True)
        self._run = asyncio.Handle._run

    def start(self) -> None:
        profile, run = self, self._run

        def timed(handle: asyncio.Handle) -> None:
            profile._began = began = time.perf_counter()
            run(handle)
            profile._began = None
            profile._longest_s = max(profile._longest_s, time.perf_counter() - began)

        asyncio.Handle._run = timed  # type: ignore[method-assign, assignment]
        self._thread.start()

    def stop(self) -> None:
        asyncio.Handle._run = self._run  # type: ignore[method-assign]
        self._stopping.set()
        self._thread.join()
        self.write()

    def write(self) -> None:
        """Write the stacks so far. Blocking."""
        lines = "".join(f"{stack} {times}\n" for stack, times in sorted(self._stacks.copy().items()))
        try:
            with self._writing:
                self._file.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
                self._file.touch(mode=FILE_MODE)
                self._file.write_text(lines)
            log.info("profile: written to %s", self._file)
        except OSError as error:
            log.error("profile: can't be written to %s: %s", self._file, error.strerror)

    def note_statement(self, statement: str, seconds: float) -> None:
        entry = self._statements.get(statement)
        if entry is None and len(self._statements) < MOST:
            entry = self._statements[statement] = [0, 0.0, 0.0]
        if entry is not None:
            entry[0] += 1
            entry[1] += seconds
            entry[2] = max(entry[2], seconds)

    def _watch(self) -> None:
        while not self._stopping.wait(EVERY_S):
            began = self._began
            if began is None:
                continue  # the loop waits
            stack = list(stack_of(sys._current_frames().get(self._watched)))
            folded = ";".join(stack)
            if folded in self._stacks or len(self._stacks) < MOST:
                self._stacks[folded] += 1
            if time.perf_counter() - began > LONG_S and stack:
                ours = [each for each in stack if each.startswith(("bot/", "storage/"))]
                self._long[" < ".join((ours or stack)[:-4:-1])] += 1

    def tell(self) -> Iterator[str]:
        """Yield lines about the time since the last call: long turns of the loop, what was measured, and the
        statements that took most."""
        long, self._long = self._long, Counter()
        longest_s, self._longest_s = self._longest_s, 0.0
        yield f"event loop: the longest turn took {longest_s * 1000:.0f} ms"
        for where, times in long.most_common(SHOWN):
            yield f"event loop busy for more than {LONG_S * 1000:.0f} ms, seen {times} times in {where}"
        for name, of in MEASURED.items():
            parts = sorted(_since(self._before[name], of), key=lambda part: -part[2])
            self._before[name] = of.copy()
            for labels, number, seconds in parts[:SHOWN]:
                yield f"{' '.join((name, *labels))}: {number:.0f} in {seconds:.2f} s"
        statements, self._statements = self._statements, {}
        for statement, (number, seconds, longest) in sorted(statements.items(), key=lambda each: -each[1][1])[:SHOWN]:
            yield f"SQL: {number:.0f} in {seconds:.2f} s, the longest {longest * 1000:.0f} ms: {statement}"
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        yield f"CPU so far: {own.ru_utime + own.ru_stime:.1f} s, ffmpeg {children.ru_utime + children.ru_stime:.1f} s"


def _since(before: dict[Labels, tuple[list[float], float]], of: Durations) -> Iterator[tuple[Labels, float, float]]:
    """Yield the number and the seconds that each combination of labels has gained."""
    for labels, (ranges, seconds) in of.copy().items():
        ranges_before, seconds_before = before.get(labels, ([], 0.0))
        if number := sum(ranges) - sum(ranges_before):
            yield labels, number, seconds - seconds_before


def stack_of(frame: FrameType | None) -> Iterator[str]:
    """Yield the functions of a stack, the outermost first, each with its file and line."""
    found: list[str] = []
    while frame is not None:
        code = frame.f_code
        file = "/".join(Path(code.co_filename).parts[-3:])
        file = file[max(file.find("bot/"), file.find("storage/"), 0) :]
        found.append(f"{file}:{frame.f_lineno}:{code.co_qualname}")
        frame = frame.f_back
    yield from reversed(found)


def file_beside(directory: Path, command: str) -> Path:
    """Return the file of a process that runs `aircheck web` or `work`: others may run on the same machine, and in
    containers that share the directory, where each has the same number."""
    return directory / f"profile-{command}-{socket.gethostname()}-{os.getpid()}.folded"


@asynccontextmanager
async def profiled(file: Path | None) -> AsyncIterator[None]:
    """Profile the block into a file, once a minute with lines in the log, and on SIGUSR1 at once. None: don't. After
    the block the process is about to end: SIGUSR1 is ignored then, as nothing may kill it before the file is
    written."""
    if file is None:
        yield
        return
    profile = Profile(file)
    loop = asyncio.get_running_loop()
    profile.start()

    def write(*_: object) -> None:
        loop.call_soon_threadsafe(loop.run_in_executor, None, profile.write)

    signal.signal(signal.SIGUSR1, write)  # not by the loop, which gives a signal back its default: death
    telling = asyncio.create_task(_tell(profile), name="profile")
    try:
        with traced(profile.note_statement):
            yield
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        _log(profile)
        await asyncio.to_thread(profile.stop)


async def _tell(profile: Profile) -> None:
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        _log(profile)


def _log(profile: Profile) -> None:
    for line in profile.tell():
        log.info("profile: %s", line)
