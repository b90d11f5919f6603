"""Child processes: limited, and always reaped."""

import asyncio
import os
import resource

import pytest

from bot.audio.child import running
from bot.audio.limits import Limits
from bot.errors import TryLater

LIMITS = Limits(cpu_s=5, wait_s=20)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def wait_for_nothing(pids: list[int]) -> None:
    async with running(["/bin/sh", "-c", "exec sleep 600"], Limits(cpu_s=5, wait_s=0.5)) as child:
        pids.append(child._process.pid)
        await child.read()


async def test_hanging_child() -> None:
    """A child that neither writes nor ends is killed when its time is up."""
    pids: list[int] = []
    with pytest.raises(TryLater):
        await wait_for_nothing(pids)
    assert gone(pids[0])


async def feed(command: str, wait_s: float) -> None:
    async with running(["/bin/sh", "-c", command], Limits(cpu_s=5, wait_s=wait_s), feed=True) as child:
        while True:
            await child.write(bytes(1 << 16))


async def test_child_that_does_not_read() -> None:
    """A child that reads nothing is killed when its time is up, and one that is gone is no crash."""
    with pytest.raises(TryLater):
        await feed("exec sleep 600", wait_s=0.5)
    with pytest.raises(TryLater):
        await feed("exit 0", wait_s=20)


async def test_cancelled() -> None:
    """When decoding is cancelled or left early, no child stays, however much output it still has."""
    pids: asyncio.Queue[int] = asyncio.Queue()

    async def listen() -> None:
        async with running(["/bin/sh", "-c", "echo $$; exec cat /dev/zero"], LIMITS) as child:
            pids.put_nowait(int((await child.read()).split(b"\n")[0]))
            await asyncio.Event().wait()

    task = asyncio.create_task(listen())
    pid = await pids.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(pid)


async def test_limits_are_set() -> None:
    """A child has its limits, an empty environment, and no way to write a file."""
    asked = "".join(f"ulimit -{kind}; " for kind in "vdtfnc")
    command = ["/bin/sh", "-c", f"read go; {asked}/usr/bin/env; pwd"]
    limits = Limits(cpu_s=7, wait_s=20)
    async with running(command, limits, feed=True) as child:
        await child.write(b"go\n")
        child.close_input()
        said = (await child.read()).decode().split()
        while block := await child.read():
            said += block.decode().split()
    assert said[:6] == [str(limits.memory_bytes // 1024), str(224 * 1024), "7", "0", "64", "0"]
    assert {line.split("=")[0] for line in said[6:]} <= {"PWD", "OLDPWD", "SHLVL", "_", "/"}
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] != 7
