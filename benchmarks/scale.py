"""Many processes: jobs by the number of workers, requests by the number of web processes, over PostgreSQL."""

import asyncio
import multiprocessing
import os
import socket
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks.databases import NO_SERVER, has_server, server
from benchmarks.figures import Figure
from benchmarks.http import get
from bot.feeds.addresses import public_shelf
from storage import rooms
from storage.records import Visibility
from tests.many.town import Town, town
from tests.postgresql import Server
from tests.world import ROOM

NUMBERS = (1, 2, 4)
CHUNKS = 60
REQUESTS = 6000
BASE = "https://pod.example"


def figures() -> list[Figure]:
    """Measure with a server of its own."""
    if not has_server():
        return [Figure("many processes over PostgreSQL", "", NO_SERVER)]
    with server() as one:
        return asyncio.run(_measure(one))


async def _measure(server: Server) -> list[Figure]:
    jobs = [await _jobs(server, number) for number in NUMBERS]
    requests = [await _requests(server, number) for number in NUMBERS]
    cores = f"{os.cpu_count()} cores"
    return [
        Figure(
            f"chunks fetched, checked and encoded a second with {_named(NUMBERS)} workers, {cores}", "", _told(jobs)
        ),
        Figure(f"feeds a second from {_named(NUMBERS)} web processes, clients beside them", "", _told(requests)),
    ]


def _named(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _told(values: list[float]) -> str:
    return ", ".join(f"{value:.0f}" if value > 20 else f"{value:.1f}" for value in values)


async def _jobs(server: Server, number: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        async with town(server, Path(folder)) as here:
            here.media.opened.clear()
            for _ in range(number):
                await here.work()
            await here.speak(*range(1, CHUNKS + 1))
            began = time.monotonic()
            here.media.opened.set()
            await here.encoded()
            return CHUNKS / (time.monotonic() - began)


async def _requests(server: Server, number: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        async with town(server, Path(folder), web={"public_url": BASE}) as here:
            path = await _public_feed(here)
            ports = [_free_port() for _ in range(number)]
            for port in ports:
                await here.start("web", ready=f"serving: {BASE}", AIRCHECK_WEB__PORT=str(port))
            loop, context = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(number, mp_context=context) as clients:
                await asyncio.gather(*(loop.run_in_executor(clients, _ask, port, path, 10) for port in ports))
                began = time.monotonic()
                await asyncio.gather(*(loop.run_in_executor(clients, _ask, port, path, REQUESTS) for port in ports))
                return number * REQUESTS / (time.monotonic() - began)


async def _public_feed(here: Town) -> str:
    async with here.world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, visibility=Visibility.PUBLIC))
    return public_shelf(BASE, room.key).feed.removeprefix(BASE)


def _ask(port: int, path: str, count: int) -> None:
    asyncio.run(get(port, path, {}, count))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
