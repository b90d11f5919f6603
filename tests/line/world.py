"""A world with a whole bot on the test run's homeserver: started, stopped and started again in this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from imageio_ffmpeg import get_ffmpeg_exe

from bot import app
from bot.demo.broadcaster import Broadcaster
from bot.demo.listener import listen, subscribe
from bot.demo.people import Person
from bot.demo.received import Received
from bot.demo.slicing import Slice
from bot.demo.story import addresses_in
from bot.demo.synapse import Homeserver
from bot.demo.verification import verify_episode
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.settings import Settings, validate
from storage import archive
from storage.records import Chunk, Episode, EventId, Recording, RecordingState
from storage.store import Store
from tests.lab import PASSWORD
from tests.ports import free_port

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


async def reply_to(person: Person, event_id: str) -> Received:
    """Wait for the bot's answer to a message."""

    def answers(event: Received) -> bool:
        relation = event.content.get("m.relates_to", {})
        return bool(relation.get("m.in_reply_to", {}).get("event_id") == event_id)

    return await person.wait_for(answers)


async def welcome(guest: Person, host: Person, room: str) -> None:
    """Invite a guest and let it join."""
    await host.invite(room, guest.user_id)
    await guest.wait_for_invite(host.user_id)
    await guest.join(room)


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


async def subscribed_room(
    world: World, host: Person, *, encrypted: bool, listener: Person | None = None
) -> tuple[str, str, str]:
    """Create a room with the bot in which the host, or an invited listener, subscribes; give room, feed and page."""
    room = await move_in(world, host, encrypted=encrypted)
    if listener is not None:
        await welcome(listener, host, room)
    return room, *await personal_feed(world, listener or host, room)


async def go_live(host: Person, room: str) -> Broadcaster:
    """Begin a broadcast that has no chunk yet."""
    speaker = Broadcaster(host, room)
    await speaker.start()
    return speaker


async def open_broadcast(world: World, host: Person, *, encrypted: bool) -> Broadcaster:
    """Begin a broadcast in a new room with the bot."""
    return await go_live(host, await move_in(world, host, encrypted=encrypted))


async def subscribed_broadcast(
    world: World, host: Person, *, encrypted: bool, listener: Person | None = None
) -> tuple[Broadcaster, str, str]:
    """Begin a broadcast in a new room where the host, or an invited listener, has subscribed; add feed and page."""
    room, feed, page = await subscribed_room(world, host, encrypted=encrypted, listener=listener)
    return await go_live(host, room), feed, page


async def send(speaker: Broadcaster, pieces: Iterable[Slice]) -> list[str]:
    """Send slices as chunks; give the chunks' event ids."""
    return [await speaker.send_chunk(piece) for piece in pieces]


async def first_chunks(store: Store, speaker: Broadcaster, packets: Sequence[bytes], count: int) -> list[Slice]:
    """Send the first chunks of a speech and wait until they are stored; give the slices that are still to be sent."""
    pieces = speaker.cut(packets)
    assert len(pieces) >= count, "the speech is too short"
    await send(speaker, pieces[:count])
    await live_with(store, speaker.broadcast_id, count)
    return pieces[count:]


async def whole_broadcast(host: Person, room: str, packets: Sequence[bytes]) -> Broadcaster:
    """Broadcast a speech from start to stop."""
    speaker = await go_live(host, room)
    await speaker.speak(packets)
    await speaker.stop()
    return speaker


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
