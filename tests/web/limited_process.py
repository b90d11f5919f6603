"""The server in a process that may open few files: `python -m tests.web.limited_process DIRECTORY LIMIT`.

It prints its port. For each line on standard input it opens files as the recorder does, and prints how many.
"""

import asyncio
import resource
import sys
from contextlib import ExitStack
from pathlib import Path

from storage import rooms
from storage.place import Place
from storage.store import Store
from tests.web.world import World, settings_with

RECORDERS_FILES = 50


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


async def main(directory: Path, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    store = await Store.own(Place(directory))
    world = World(store, settings_with())
    await world.server.start()
    say(world.server.port)
    while await asyncio.to_thread(sys.stdin.readline):
        with ExitStack() as stack:
            files = [
                stack.enter_context((directory / f"part-{number}").open("wb")) for number in range(RECORDERS_FILES)
            ]
            async with store.read() as db:
                await rooms.all_rooms(db)
            say(len(files))
    await world.server.stop()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
