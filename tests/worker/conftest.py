from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from bot import orders
from bot.matrix.sending import Sending
from bot.worker.chats import Chats
from bot.worker.directs import Directs
from bot.worker.invites import Invites
from bot.worker.notices import Notices
from bot.worker.refreshing import Refreshing
from storage.database import Connection
from storage.place import Place
from storage.records import RoomId, Studio, UserId
from storage.store import Store
from tests.worker.post import Homeserver, Post
from tests.world import BOT, world_of

WEB = "https://pod.example"
SOURCES = "https://pod.example:8443"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Open an empty store."""
    opened = await Store.own(Place(tmp_path / "data"))
    yield opened
    await opened.close()


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    async with world_of(tmp_path / "data") as world:
        await world.join()
        homeserver = Homeserver()
        store, sending = world.store, cast("Sending", homeserver)
        chats = Chats(store, sending, us=BOT, clock=world.clock)
        directs = Directs(
            store,
            sending,
            chats,
            addresses=addresses,
            studio_token=studio_token_within,
            web=WEB,
            sources=SOURCES,
            prefix="!aircheck",
            clock=world.clock,
        )
        world.handlers[orders.Direct.kind] = directs
        yield Post(
            world,
            homeserver,
            notices=Notices(store, sending, world.settings, apply=world.recorder.apply, clock=world.clock),
            directs=directs,
            invites=Invites(store, sending, allowed=("*:hs",)),
            refreshing=Refreshing(store, sending, take_state=world.intake.refresh),
        )


async def addresses(_: Connection, __: RoomId, ___: UserId, generation: int) -> tuple[str, str]:
    return f"feed{generation}", "page"


def studio_token(studio: Studio) -> str:
    return f"token-of-{studio.key}"


async def studio_token_within(_: Connection, studio: Studio) -> str:
    return studio_token(studio)
