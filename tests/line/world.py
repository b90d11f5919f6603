"""A world with a whole bot on the test run's homeserver: started, stopped and started again in this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from imageio_ffmpeg import get_ffmpeg_exe

from bot import app
from bot.demo.broadcaster import Broadcaster
from bot.demo.listener import listen, subscribe
from bot.demo.people import Person
from bot.demo.story import addresses_in
from bot.demo.synapse import Homeserver, free_port
from bot.demo.verification import verify_episode
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.settings import Settings, validate
from storage import archive
from storage.records import Chunk, Episode, EventId, Recording, RecordingState
from storage.store import Store
from tests.lab import PASSWORD

WAIT_S = 60.0
MIB = 1024 * 1024

T = TypeVar("T")


class World:
    """An account and a folder of data; `running` starts the bot and may be entered again and again."""

    def __init__(self, homeserver: Homeserver, user_id: str, directory: Path, changed: Mapping[str, Any]) -> None:
        self.homeserver = homeserver
        self.user_id = user_id
        self.directory = directory
        tree: dict[str, Any] = {
            "matrix": {"homeserver": homeserver.address, "user_id": user_id, "password": PASSWORD},
            "storage": {"directory": str(directory), "min_free_bytes": 64 * MIB},
            "web": {"port": free_port()},
            "recording": {"quiet_period_s": 2},
            "feeds": {"hold_incomplete_s": 0},
        }
        for section, values in changed.items():
            tree[section] = {**tree.get(section, {}), **values}
        self.tree = tree

    @property
    def settings(self) -> Settings:
        return validate(self.tree)

    @property
    def web(self) -> str:
        return self.settings.web.address

    def starting(self) -> AbstractAsyncContextManager[app.Aircheck]:
        """Run the whole bot, without waiting for its first sync."""
        return app.running(self.settings)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[app.Aircheck]:
        """Run the whole bot, and wait until its first sync is stored."""
        async with self.starting() as aircheck:
            ready = asyncio.ensure_future(aircheck.session.ready.wait())
            ends: set[asyncio.Future[Any]] = {ready, aircheck.failed}
            async with asyncio.timeout(WAIT_S):
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if aircheck.failed.done():
                await aircheck.failed
            yield aircheck


async def until(store: Store, check: Callable[[], Awaitable[T | None]], wait_s: float = WAIT_S) -> T:
    """Wait until the check returns something, and return that. The check runs again after each commit."""
    with store.changes.subscribe() as changed:
        async with asyncio.timeout(wait_s):
            while True:
                changed.clear()
                if (found := await check()) is not None:
                    return found
                await changed.wait()


async def look(store: Store, broadcast: str) -> tuple[Recording, tuple[Chunk, ...], Episode | None] | None:
    """Read the rows of a broadcast; None before it is recorded."""
    async with store.read() as db:
        recording = await archive.recording_by_event(db, EventId(broadcast))
        if recording is None:
            return None
        return recording, await archive.chunks(db, recording.id), await archive.episode(db, recording.id)


async def recorded(
    store: Store, broadcast: str, state: RecordingState, *, made: bool = True
) -> tuple[Recording, Ledger]:
    """Wait until a broadcast's recording is in this state, and with `made` until its episode is up to date."""

    async def check() -> tuple[Recording, Ledger] | None:
        found = await look(store, broadcast)
        if found is None or found[0].state is not state:
            return None
        recording, chunks, episode = found
        ledger = lay_out(recording, chunks)
        if made and (episode is None or episode.samples != ledger.samples):
            return None
        return recording, ledger

    return await until(store, check)


async def live_with(store: Store, broadcast: str, chunks: int) -> None:
    """Wait until this many chunks of a broadcast are stored."""

    async def check() -> bool | None:
        found = await look(store, broadcast)
        return True if found and sum(chunk.blob is not None for chunk in found[1]) >= chunks else None

    await until(store, check)


async def move_in(world: World, host: Person, *, encrypted: bool) -> str:
    """Create a room, invite the bot, and wait until it has joined and announced itself."""
    room = await host.create_room("The Kitchen Table", encrypted=encrypted, invite=[world.user_id])
    await host.wait_for(lambda event: event.room_id == room and event.is_notice_of(world.user_id))
    return room


async def personal_feed(world: World, listener: Person, room: str) -> tuple[str, str]:
    """Ask for the personal addresses as any member does; give feed and page."""
    await listener.say(room, "!aircheck feed")
    chat = await listener.wait_for_invite(world.user_id)
    await listener.join(chat)
    told = await listener.wait_for(
        lambda event: event.room_id == chat and event.sender == world.user_id and world.web in event.body
    )
    found = addresses_in(told.body, world.web)
    return found.feed, found.page


async def newest_episode(feed: str) -> bytes:
    """Download the first enclosure of a feed, as a podcast app does."""
    enclosures = await subscribe(feed)
    assert enclosures, "the feed lists nothing"
    return await listen(enclosures[0])


async def answers(url: str) -> int:
    """Request an address; give the status."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status


async def assert_exact(audio: bytes, broadcaster: Broadcaster) -> None:
    """Check that the episode is the broadcast, to the sample."""
    verdict = await asyncio.to_thread(verify_episode, audio, broadcaster.truth_ogg(), get_ffmpeg_exe())
    assert verdict.ok, verdict.problems
    assert verdict.actual == broadcaster.samples
