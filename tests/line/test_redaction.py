"""The effects of a redaction on a real homeserver, and how soon they show."""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.demo.broadcaster import Broadcaster, Info
from bot.demo.client_api import room_path
from bot.demo.listener import subscribe
from bot.demo.people import Person
from bot.demo.slicing import speech
from bot.demo.synapse import Homeserver
from storage.records import ChunkState, RecordingState
from storage.store import Store
from tests.lab import PASSWORD, People
from tests.line.conftest import Worlds
from tests.line.world import (
    World,
    answers,
    first_chunks,
    look,
    move_in,
    newest_episode,
    recorded,
    send,
    subscribed_broadcast,
    subscribed_room,
    until,
    whole_broadcast,
)
from tests.ports import free_port

SPEECH = speech(1)[:900]  # 18 s
WITHIN_S = 10.0
TRIES = 3


async def gone(store: Store, *urls: str) -> None:
    """Wait until these addresses answer 404."""

    async def check() -> bool | None:
        return True if {await answers(url) for url in urls} == {404} else None

    await until(store, check)


async def blobs_gone(world: World, store: Store, keys: set[str]) -> None:
    async def check() -> bool | None:
        left = {path.name for path in (world.directory / "blobs").rglob("*") if path.is_file()}
        return True if not keys & left else None

    await until(store, check)


async def in_time(redacted: Callable[[], Awaitable[float]]) -> bool:
    """Redact anew until what is redacted was gone within ten seconds; return False if it never was. A busy machine may
    take longer at times."""
    for _ in range(TRIES):
        if await redacted() < WITHIN_S:
            return True
    return False


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
async def test_a_published_broadcast_is_gone_ten_seconds_after_its_redaction(
    world: Worlds, person: People, *, encrypted: bool
) -> None:
    """After ten seconds page, enclosure, feed item and every file are gone."""
    assert await in_time(partial(published_and_redacted, world, person, encrypted=encrypted))


async def published_and_redacted(world: Worlds, person: People, *, encrypted: bool) -> float:
    """Publish a broadcast and redact it; return the seconds after which everything of it was gone."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        room, feed, page = await subscribed_room(bot, alice, encrypted=encrypted)
        speaker = await spoken(aircheck.store, alice, room)
        started = speaker.broadcast_id
        await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "is ready" in event.body)
        (enclosure,) = await subscribe(feed)
        found = await look(aircheck.store, started)
        assert found is not None
        assert {await answers(page + found[0].code), await answers(enclosure.url)} == {200}
        keys = {str(chunk.blob) for chunk in found[1]} | {str(found[2].blob) if found[2] else ""}
        began = time.monotonic()
        await alice.redact(room, started)
        await gone(aircheck.store, page + found[0].code, enclosure.url)
        assert list(await subscribe(feed)) == []
        await blobs_gone(bot, aircheck.store, keys)
        return time.monotonic() - began


async def test_a_live_broadcast_is_gone_ten_seconds_after_its_redaction(world: Worlds, person: People) -> None:
    """After a redaction while live only a row without content is left, and a later chunk is refused."""
    assert await in_time(partial(redacted_while_live, world, person))


async def redacted_while_live(world: Worlds, person: People) -> float:
    """Redact a live broadcast; return the seconds after which everything of it was gone."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        speaker, _, page = await subscribed_broadcast(bot, alice, encrypted=True)
        room, started = speaker.room_id, speaker.broadcast_id
        rest = await first_chunks(aircheck.store, speaker, SPEECH, 2)
        found = await look(aircheck.store, started)
        assert found is not None
        keys = {str(chunk.blob) for chunk in found[1]}
        began = time.monotonic()
        await alice.redact(room, started)
        await gone(aircheck.store, page + found[0].code)
        await blobs_gone(bot, aircheck.store, keys)
        took_s = time.monotonic() - began
        await speaker.send_chunk(rest[0])
        await speaker.tell(Info.STOPPED)
        await spoken(aircheck.store, alice, room)  # the late chunk was heard before
        found = await look(aircheck.store, started)
        assert found is not None
        assert (found[0].state, found[0].broadcaster_name, found[1:]) == (RecordingState.DELETED, None, ((), None))
    return took_s


async def test_a_redacted_chunk_is_silence_in_an_episode_that_is_made_anew(world: Worlds, person: People) -> None:
    """A redacted chunk becomes silence of its length in a new file; a redacted end changes nothing."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        speaker, feed, _ = await subscribed_broadcast(bot, alice, encrypted=False)
        started = speaker.broadcast_id
        events = await send(speaker, speaker.cut(SPEECH))
        await speaker.stop()
        await recorded(aircheck.store, started, RecordingState.COMPLETE)
        before = await newest_episode(feed)
        found = await look(aircheck.store, started)
        assert found is not None
        assert found[2] is not None
        keys = {str(chunk.blob) for chunk in found[1] if chunk.event_id == events[1]} | {str(found[2].blob)}
        await alice.redact(speaker.room_id, events[1])
        _, ledger = await recorded(aircheck.store, started, RecordingState.INCOMPLETE)
        await blobs_gone(bot, aircheck.store, keys)
        assert ledger.samples == speaker.samples
        assert [entry.state for entry in ledger.entries if entry.chunk_id == events[1]] == [ChunkState.REDACTED]
        assert [gap.reason for gap in ledger.gaps] == [ChunkState.REDACTED]
        after = await newest_episode(feed)
        assert after != before


class WithRelations(Homeserver):
    """A homeserver that redacts an event's relations with it (MSC3912)."""

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "experimental_features": {"msc3912_enabled": True}}


@pytest.fixture
async def redacting_homeserver(tmp_path: Path) -> AsyncIterator[Homeserver]:
    started = await WithRelations.start(tmp_path / "homeserver", port=free_port())
    yield started
    await started.stop()


async def test_a_redaction_with_all_that_refers_to_it_is_one_deletion(
    redacting_homeserver: Homeserver, tmp_path: Path
) -> None:
    """Redactions of start, chunks and end (MSC3912) delete the broadcast, also for a bot that was away."""
    homeserver = redacting_homeserver
    bot = World(homeserver, await homeserver.register("aircheck", PASSWORD), tmp_path / "bot", {})
    people = People(homeserver, tmp_path / "people")
    alice = await people("alice")
    try:
        async with bot.running() as aircheck:
            room = await move_in(bot, alice, encrypted=True)
            broadcasts = [await spoken(aircheck.store, alice, room) for _ in range(2)]
            await redact_all(alice, room, broadcasts[0])
            await deleted(aircheck.store, broadcasts[0])
        await redact_all(alice, room, broadcasts[1])
        async with bot.running() as aircheck:
            await deleted(aircheck.store, broadcasts[1])
            await spoken(aircheck.store, alice, room)
    finally:
        await people.close()


async def spoken(store: Store, host: Person, room: str) -> Broadcaster:
    """Broadcast, and wait until it is recorded whole."""
    speaker = await whole_broadcast(host, room, SPEECH)
    await recorded(store, speaker.broadcast_id, RecordingState.COMPLETE)
    return speaker


async def redact_all(alice: Any, room: str, speaker: Broadcaster) -> None:
    """Redact an event with its relations (MSC3912), as Element does; wait until all are redacted."""
    path = room_path(room, "redact", speaker.broadcast_id, uuid.uuid4().hex)
    await alice.api.call("PUT", path, {"org.matrix.msc3912.with_relations": ["m.reference"]})
    waiting = {speaker.broadcast_id, *speaker.chunks}
    while waiting:
        redaction = await alice.wait_for(lambda event: event.type == "m.room.redaction")
        waiting.discard(redaction.event.get("redacts") or redaction.content.get("redacts"))


async def deleted(store: Store, speaker: Broadcaster) -> None:
    async def check() -> bool | None:
        found = await look(store, speaker.broadcast_id)
        assert found is not None
        return True if found[0].state is RecordingState.DELETED and found[1:] == ((), None) else None

    await until(store, check)
