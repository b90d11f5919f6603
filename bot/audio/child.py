"""Processes of programs that work on what strangers send: how they are run, and what one may use.

Limits are set from outside with prlimit(2) as soon as the child has a pid: a function between fork and exec is not safe
in a process with threads, and a Python in between would cost more than most decodings. On a busy machine that may take
a second, and memory that a child has by then stays its own: so a shell limits that first, and becomes the program.
Children get an empty environment and may write no file (decoders) or one (encoders).
"""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace

from bot.errors import TryLater

MEMORY_BYTES = 1 << 30  # of addresses: with the program itself and what it reserves and never touches
DATA_BYTES = 224 << 20  # of memory that it can write to, beside 50 MiB of the program; a decoder takes a few
OPEN_FILES = 64
MORE = 4  # times the limits, for what hit one
QUIET_S = 60.0  # so long what hit a limit waits for everybody else
BLOCK_BYTES = 1 << 18
FIRST_CPU_S = 1
CPU_SHARE = 0.03  # of the sound that came out. Measured: 0.003; ten times that, for slow and busy machines
CHANGING_S, CHANGING_CPU_S, CHANGING_SHARE = 300.0, 2, 0.004
"""So much sound, and work, where rate or channels change on the way, as no recorder lets them. Each change makes ffmpeg
begin anew with its filters, which costs as much as 0.1 s of sound."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use. `wait_s` counts only the time that we wait for it, not how long others take."""

    cpu_s: int  # with `earned`, all that it can come to
    wait_s: float
    file_bytes: int = 0
    memory_bytes: int = MEMORY_BYTES
    earned: bool = False  # no more than `first_cpu_s` before sound comes out, and `share` of its length: see Child.earn
    first_cpu_s: int = FIRST_CPU_S
    share: float = CPU_SHARE

    @classmethod
    def decoding(cls, seconds: float) -> "Limits":
        return cls(cpu_s=FIRST_CPU_S + int(seconds * CPU_SHARE), wait_s=60 + seconds * 0.1, earned=True)

    @classmethod
    def changing(cls, seconds: float) -> "Limits":
        """For sound that does not stay in one form."""
        cpu_s = CHANGING_CPU_S + int(min(seconds, CHANGING_S) * CHANGING_SHARE)
        return replace(cls.decoding(seconds), cpu_s=cpu_s, first_cpu_s=CHANGING_CPU_S, share=CHANGING_SHARE)

    def more(self) -> "Limits":
        """For another try: so much no load makes of what a healthy file costs."""
        return replace(
            self,
            cpu_s=self.cpu_s * MORE,
            wait_s=self.wait_s * MORE,
            first_cpu_s=self.first_cpu_s * MORE,
            share=self.share * MORE,
        )

    @classmethod
    def opening(cls) -> "Limits":
        """Measured: 0.03 s of CPU, 0.2 s with an old build. Crafted tables make it minutes."""
        return cls(cpu_s=1, wait_s=60)

    @classmethod
    def picture(cls) -> "Limits":
        """Measured: 1 s of CPU for 40 million pixels."""
        return cls(cpu_s=20, wait_s=60)

    @classmethod
    def encoding(cls, seconds: float, file_bytes: int) -> "Limits":
        return cls(cpu_s=60 + int(seconds * 0.1), wait_s=120 + seconds * 0.3, file_bytes=file_bytes)


class OutOfTime(TryLater):
    """A child that did not come along, in as much time as it may take."""


def was_ended(code: int) -> bool:
    """Whether an exit code is that of a program that used up its CPU time, or that the system killed. ffmpeg ends by
    itself (255), or not at once (123)."""
    return code in {-signal.SIGXCPU, -signal.SIGKILL, 255, 123}


class Child:
    """One running process. Each wait for it counts against its limit; out of the `async with`, it is gone."""

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
        """The next bytes of its output, b"" at the end. Raises TryLater when it hangs."""
        assert self._output is not None
        async with self._counted():
            return await self._output.read(size)

    def earn(self, seconds: float) -> None:
        """So much sound has come out: CPU time for more. Crafted tables that cost minutes bring none."""
        limits = self._limits
        if (earned := min(limits.cpu_s, limits.first_cpu_s + int(seconds * limits.share))) > self._may_use:
            self._may_use = earned
            with suppress(ProcessLookupError):
                _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_CPU)
                resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (min(earned, hard), hard))

    async def write(self, data: bytes) -> None:
        """Raises TryLater when it hangs or is gone."""
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
        """Closes its input and waits. The exit code. Raises TryLater when it hangs."""
        self.close_input()
        async with self._counted():
            return await self._process.wait()

    async def kill(self) -> None:
        if self._process.returncode is None:
            # Its own kill() asks for the exit code first, and takes it from the event loop, which waits for it too.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        if self._output is not None:
            # An unread pipe would keep wait() from ever coming back (https://github.com/python/cpython/issues/119710).
            while await self._output.read(BLOCK_BYTES):
                pass
        await self._process.wait()


def limit(pid: int, limits: Limits) -> None:
    """Binds a running child. Nothing happens if it is over already."""
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


def _limited(command: Sequence[str], limits: Limits) -> list[str]:
    """The command with its memory limited from the beginning. A limit that is there already and lower stays."""
    kib = {"v": limits.memory_bytes >> 10, "d": DATA_BYTES >> 10}
    bounds = "".join(f"ulimit -{kind} {size} 2>/dev/null; " for kind, size in kib.items())
    return ["/bin/sh", "-c", f'{bounds}exec "$@"', "sh", *command]


@asynccontextmanager
async def running(
    command: Sequence[str], limits: Limits, *, feed: bool = False, hear_errors: bool = False
) -> AsyncIterator[Child]:
    """Runs a command with an empty environment. Its output is read, or with `hear_errors` what it says on standard
    error; the other is thrown away. Killed and reaped however the block is left."""
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
    child = Child(process, limits)
    try:
        limit(process.pid, limits)
        yield child
    finally:
        await asyncio.shield(child.kill())


class Slots:
    """For two children at once, first come, first served. Only one of them may have hours of sound to work on: whoever
    sends those keeps nobody waiting who sends minutes."""

    def __init__(self) -> None:
        self._any = asyncio.Semaphore(2)
        self._long = asyncio.Semaphore(1)
        self._count = 0  # who work or wait, but the one that is tried again
        self._quiet = asyncio.Event()
        self.retrying = False

    @asynccontextmanager
    async def first(self, *, long: bool = False) -> AsyncIterator[None]:
        self._count += 1
        self._quiet.clear()
        try:
            async with self._long if long else nullcontext(), self._any:
                yield
        finally:
            self._count -= 1
            if not self._count:
                self._quiet.set()

    @asynccontextmanager
    async def retry(self, *, long: bool = False) -> AsyncIterator[None]:
        """For one that hit a limit: begins when nobody else works or waits, at the latest after a minute; who comes
        then has the other place. Raises TryLater while another one is tried again: none of them may fill a lane."""
        if self.retrying:
            raise TryLater("another chunk is tried again", after_s=QUIET_S / 6)
        self.retrying = True
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(QUIET_S):
                    while self._count:
                        await self._quiet.wait()
            async with self._long if long else nullcontext(), self._any:
                yield
        finally:
            self.retrying = False
