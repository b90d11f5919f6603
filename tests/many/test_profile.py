"""`--profile` of processes beside the bot."""

import asyncio
import re
import signal
import socket
import stat
from pathlib import Path

from aiohttp import ClientSession

from tests.many.town import Process, town, until
from tests.ports import free_port
from tests.postgresql import Server


async def test_processes_beside_the_bot_are_profiled(postgresql: Server, tmp_path: Path) -> None:
    """`aircheck web` and `aircheck work` log what took their time, and each writes its stacks to a file of its own, at
    its end and on SIGUSR1."""
    async with town(postgresql, tmp_path, web={"public_url": "https://pod.example"}) as here:
        port = free_port()
        web = await here.start("web", "--profile", ready="serving: https", AIRCHECK_WEB__PORT=str(port))
        work = await here.start("work", "--profile", "--jobs", "2", ready=" at once, as ")
        await here.speak(1, 2, last=True)
        await here.finished()
        async with ClientSession(f"http://127.0.0.1:{port}") as client, client.get("/") as answer:
            assert answer.status == 200
        assert not file_of(web, "web", tmp_path).exists()
        web.child.send_signal(signal.SIGUSR1)

        async def written() -> bool:
            return await asyncio.to_thread(file_of(web, "web", tmp_path).exists)

        await until(written)
        assert [await web.stop(), await work.stop()] == [0, 0]
        for process, command, line in ((web, "web", "requests page: 1 in"), (work, "work", r"jobs \w+: \d+ in")):
            said, file = process.log.read_text(), file_of(process, command, tmp_path)
            assert re.search(f"profile: {line}", said)
            assert "profile: SQL: " in said
            assert f"profile: written to {file}" in said
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert all(re.fullmatch(r".+:\d+:.+ \d+", stack) for stack in file.read_text().splitlines())


def file_of(process: Process, command: str, folder: Path) -> Path:
    return folder / "data" / f"profile-{command}-{socket.gethostname()}-{process.child.pid}.folded"
