"""Child processes that work on strangers' files: started with limits, fed, read, and always reaped.

Limits are set from outside with prlimit(2) as soon as the child has a pid: a function between fork and exec is not safe
in a process with threads, and a Python in between would cost more than most decodings. On a busy machine that may take
a second, and memory that a child has taken by then stays its own. So a shell limits the memory first, and becomes the
program by exec. Children get an empty environment and may write no file (decoders) or one (encoders).

ffmpeg passes each packet through five threads. A thread that is woken must not interrupt the one that woke it: with the
batch policy of the scheduler, packets are passed on several at a time, for a tenth less CPU. Nor do children interrupt
the event loop then.
"""

import asyncio
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from bot import counted
from bot.audio.limits import DATA_BYTES, OPEN_FILES, Limits
from bot.errors import TryLater

BLOCK_BYTES = 1 << 18


class OutOfTime(TryLater):
    """A child that did not answer within its time."""


def was_ended(code: int) -> bool:
    """Return whether an exit code is that of a program that used up its CPU time or was killed by the system. On
    SIGXCPU ffmpeg itself exits with 255, or with 123 when it did not end at once."""
    return code in {-signal.SIGXCPU, -signal.SIGKILL, 255, 123}


class Child:
    """A running process. Each wait for it counts against its limit; `running` kills and reaps it."""

    def __init__(self, process: asyncio.subprocess.Process, limits: Limits) -> None:
        self._process = process
        self._output = process.stdout or process.stderr
        self._left = limits.wait_s
        self._may_use = limits.first_cpu_s
        self._limits = limits

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(max(0.0, self._left)):
                yield
        except TimeoutError:
            raise OutOfTime("ffmpeg did not answer in time") from None
        finally:
            self._left -= loop.time() - began

    async def read(self, size: int = BLOCK_BYTES) -> bytes:
        """Return the next bytes of its output, b"" at the end. Raises OutOfTime when it hangs."""
        assert self._output is not None
        async with self._counted():
            return await self._output.read(size)

    async def read_block(self) -> bytes:
        """Return the next BLOCK_BYTES of its output, fewer at the end only: each block passes through all steps of the
        decoding, so small ones are costly. Raises OutOfTime when it hangs."""
        assert self._output is not None
        async with self._counted():
            try:
                return await self._output.readexactly(BLOCK_BYTES)
            except asyncio.IncompleteReadError as end:
                return end.partial

    def earn(self, seconds: float) -> None:
        """Raise its CPU time by the length of the sound that it has put out. A file with crafted tables, which cost
        minutes and hold no sound, earns none."""
        limits = self._limits
        if (earned := min(limits.cpu_s, limits.first_cpu_s + int(seconds * limits.share))) > self._may_use:
            self._may_use = earned
            with suppress(ProcessLookupError):
                _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_CPU)
                resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (min(earned, hard), hard))

    async def write(self, data: bytes) -> None:
        """Write to its input. Raises OutOfTime when it hangs, TryLater when it is gone."""
        assert self._process.stdin is not None
        async with self._counted():
            try:
                self._process.stdin.write(data)
                await self._process.stdin.drain()
            except (BrokenPipeError, ConnectionResetError):
                raise TryLater("ffmpeg stopped reading") from None

    def close_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def end(self) -> int:
        """Close its input, wait for it to exit and return the exit code. Raises OutOfTime when it hangs."""
        self.close_input()
        async with self._counted():
            return await self._process.wait()

    async def kill(self) -> None:
        if self._process.returncode is None:
            # asyncio's kill() polls for the exit code first, and would take it away from the event loop's own wait.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        if self._output is not None:
            # With an unread pipe wait() never returns (https://github.com/python/cpython/issues/119710).
            while await self._output.read(BLOCK_BYTES):
                pass
        await self._process.wait()


def limit(pid: int, limits: Limits) -> None:
    """Set the limits and the scheduling of a running child. A child that has already ended is no error."""
    values = (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_DATA, DATA_BYTES),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    )
    with suppress(ProcessLookupError):
        for kind, value in values:
            _, hard = resource.prlimit(pid, kind)
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            soft = min(bound, limits.first_cpu_s) if limits.earned and kind == resource.RLIMIT_CPU else bound
            resource.prlimit(pid, kind, (soft, bound))
    with suppress(OSError):  # a sandbox may forbid it
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))


def _limited(command: Sequence[str], limits: Limits) -> list[str]:
    """Return the command with its memory limited from the beginning. A lower limit that is set already stays."""
    kib = {"v": limits.memory_bytes >> 10, "d": DATA_BYTES >> 10}
    bounds = "".join(f"ulimit -{kind} {size} 2>/dev/null; " for kind, size in kib.items())
    return ["/bin/sh", "-c", f'{bounds}exec "$@"', "sh", *command]


@asynccontextmanager
async def running(
    command: Sequence[str], limits: Limits, *, work: str = "other", feed: bool = False, hear_errors: bool = False
) -> AsyncIterator[Child]:
    """Run a command with an empty environment. Its standard output is read, or with `hear_errors` its standard error;
    the other one is discarded. The child is killed and reaped whenever the block ends. It is counted as `work`."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *_limited(command, limits),
        stdin=pipe if feed else nothing,
        stdout=nothing if hear_errors else pipe,
        stderr=pipe if hear_errors else nothing,
        env={},
        cwd="/",
        limit=BLOCK_BYTES,
    )
    child, began = Child(process, limits), time.perf_counter()
    try:
        limit(process.pid, limits)
        yield child
    finally:
        outcome = {None: "stopped", 0: "done"}.get(process.returncode, "failed")
        await asyncio.shield(child.kill())
        counted.CHILDREN.add(work, outcome)
        counted.CHILD_S.note(time.perf_counter() - began, work)
