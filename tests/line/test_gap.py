"""A gap whose history the homeserver refuses: the room's state and the broadcasts' relations fill it."""

from typing import Any

import pytest

from bot.demo.broadcaster import Broadcaster
from bot.demo.people import Person
from bot.demo.slicing import Slice, speech
from bot.matrix.history import History
from bot.matrix.wire import Refused
from storage.records import ChunkState, RecordingState
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import (
    World,
    assert_exact,
    first_chunks,
    go_live,
    live_with,
    look,
    newest_episode,
    open_broadcast,
    recorded,
    send,
    subscribed_room,
    until,
)

SPEECH = speech(1)[:1400]  # 28 s
MORE_THAN_A_SYNC = 60  # events


async def closed(*_: Any) -> Any:
    """Refuse a page of history."""
    raise Refused("the homeserver refused: 403", reason="forbidden", status=403, errcode="M_FORBIDDEN", body={})


@pytest.fixture
def no_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the homeserver refuse all history."""
    monkeypatch.setattr(History, "page", closed)


async def chatter(alice: Person, room: str) -> None:
    for number in range(MORE_THAN_A_SYNC):
        await alice.say(room, f"chatter {number}", encrypt=False)


@pytest.mark.usefixtures("no_history")
@pytest.mark.parametrize(
    "encrypted", [pytest.param(True, id="encrypted"), pytest.param(False, id="plain", marks=pytest.mark.long)]
)
async def test_a_broadcast_that_began_in_a_gap_is_recorded_whole(
    world: Worlds, person: People, caplog: pytest.LogCaptureFixture, *, encrypted: bool
) -> None:
    """A broadcast that began in a gap and ends after the bot's return is recorded whole."""
    bot, alice = await world(), await person("alice")
    async with bot.running():
        room, feed, _ = await subscribed_room(bot, alice, encrypted=encrypted)
    speaker = await go_live(alice, room)
    *most, last = speaker.cut(SPEECH)
    await send(speaker, most)
    await chatter(alice, room)
    async with bot.running() as aircheck:
        await live_with(aircheck.store, speaker.broadcast_id, len(most))
        assert [one for one in caplog.messages if f"timeline gap given up: room={room}" in one]
        await speaker.send_chunk(last)
        await speaker.stop()
        await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
        await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "is ready" in event.body)
        await assert_exact(await newest_episode(feed), speaker)


@pytest.mark.usefixtures("no_history")
async def test_what_happened_to_a_live_broadcast_in_a_gap_reaches_its_recording(world: Worlds, person: People) -> None:
    """Chunks, a redaction and an end from inside a gap are found through the broadcast's relations."""
    bot, alice = await world(), await person("alice")
    speaker, rest = await half_of_it(bot, alice)
    first = next(iter(speaker.chunks))
    await send(speaker, rest)
    await speaker.stop()
    await alice.redact(speaker.room_id, first)
    await chatter(alice, speaker.room_id)
    async with bot.running() as aircheck:
        recording, ledger = await recorded(aircheck.store, speaker.broadcast_id, RecordingState.INCOMPLETE)
        assert recording.ended_by == "stopped"
        states = {entry.chunk_id: entry.state for entry in ledger.entries}
        assert states.pop(first) is ChunkState.REDACTED  # type: ignore[call-overload]  # ids of a real homeserver
        assert set(states.values()) == {ChunkState.STORED}
        assert ledger.samples == speaker.samples


@pytest.mark.usefixtures("no_history")
async def test_a_broadcast_that_was_redacted_in_a_gap_is_deleted(world: Worlds, person: People) -> None:
    """A broadcast that was redacted inside a gap is deleted."""
    bot, alice = await world(), await person("alice")
    speaker, _ = await half_of_it(bot, alice)
    await alice.redact(speaker.room_id, speaker.broadcast_id)
    await chatter(alice, speaker.room_id)
    async with bot.running() as aircheck:

        async def gone() -> bool | None:
            found = await look(aircheck.store, speaker.broadcast_id)
            assert found is not None
            return True if found[0].state is RecordingState.DELETED and found[1] == () else None

        await until(aircheck.store, gone)


async def half_of_it(bot: World, alice: Person) -> tuple[Broadcaster, list[Slice]]:
    """Begin a broadcast of which the bot hears two chunks before it stops; add the slices that are still to be sent."""
    async with bot.running() as aircheck:
        speaker = await open_broadcast(bot, alice, encrypted=False)
        return speaker, await first_chunks(aircheck.store, speaker, SPEECH, 2)
