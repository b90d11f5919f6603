"""Messages whose key comes late, in a room that records voice messages."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from bot import orders
from bot.intake import consent
from storage import journal, optouts, rooms, sealed_messages
from storage.records import OptOut, Position, RecordingState
from storage.tables import journal as journal_rows
from storage.tables import sealed_messages as waiting_rows
from tests.recorder.voices import (
    BEN,
    in_thread,
    joined,
    key_comes,
    messages,
    record_messages,
    redaction,
    sealed_voice,
    session_of,
    voice,
)
from tests.world import ALICE, ROOM, World, batch, heard

MINUTE = timedelta(minutes=1)
GAP_S = 600.0


@pytest.fixture(autouse=True)
async def _messages_are_recorded(world: World) -> None:
    await world.hear(joined(BEN, "Ben"))
    await record_messages(world)


async def waiting(world: World) -> int:
    """Count the wrappers that are kept; as many messages wait for their key."""
    async with world.store.read() as db:
        kept = len(await journal.sealed(db))
        assert (await db.execute(select(func.count()).select_from(waiting_rows))).scalar_one() == kept
        return kept


async def test_a_message_joins_its_session_when_its_key_comes(world: World) -> None:
    """Until then nothing is missing; then it stands at its place in the timeline."""
    now = world.clock()
    late = voice("$2", now + MINUTE, who=BEN)
    await world.hear(voice("$1", now), sealed_voice(late), voice("$3", now + 2 * MINUTE))
    assert (await messages(world), await waiting(world)) == ([["$1", "$3"]], 1)
    await key_comes(world, late)
    assert (await messages(world), await waiting(world)) == ([["$1", "$2", "$3"]], 0)


async def test_an_episode_heals_under_its_guid(world: World) -> None:
    """The session was over and published; the message re-opens it."""
    now = world.clock()
    late = voice("$2", now, who=BEN)
    await world.hear(voice("$1", now), sealed_voice(late))
    await world.work()
    world.clock.pass_by(GAP_S)
    await world.work()
    before = await session_of(world, "$1")
    assert before.recording.state is RecordingState.COMPLETE
    world.clock.pass_by(6 * 24 * 3600)
    await key_comes(world, late)
    await world.work()
    after = await session_of(world, "$1")
    assert before.episode is not None
    assert after.episode is not None
    assert (after.recording.state, after.messages) == (RecordingState.COMPLETE, ["$1", "$2"])
    assert (after.episode.guid, len(after.episode.chapters)) == (before.episode.guid, 2)


async def test_a_message_of_a_thread_joins_the_thread(world: World) -> None:
    """Its relation is in clear."""
    now = world.clock()
    late = voice("$2", now, **in_thread("$1"))
    await world.hear(voice("$1", now), sealed_voice(late), voice("$3", now, **in_thread("$1")))
    await key_comes(world, late)
    assert await messages(world) == [["$1"], ["$2", "$3"]]


async def test_two_sessions_that_one_late_message_would_join_stay_two(world: World) -> None:
    """Both have their ids already: it goes on with the earlier."""
    at = world.clock() - timedelta(hours=1)
    late = voice("$2", at + 9 * MINUTE)
    await world.hear(voice("$1", at), sealed_voice(late), voice("$3", at + 18 * MINUTE))
    assert await messages(world) == [["$1"], ["$3"]]
    await key_comes(world, late)
    assert await messages(world) == [["$1", "$2"], ["$3"]]


async def test_other_messages_vanish(world: World) -> None:
    """A text, a reaction or a command is not looked at, and nothing of it stays."""
    said = heard("$m", "m.room.message", {"msgtype": "m.text", "body": "!aircheck help"})
    fake = heard("$s", "io.element.voice_broadcast_info", {"state": "started", "device_id": "D"}, state_key=ALICE)
    await world.hear(*map(sealed_voice, (said, fake)))
    assert await waiting(world) == 2
    await key_comes(world, said, fake)
    assert (await waiting(world), await messages(world)) == (0, [])
    assert await world.ordered(orders.Command) == []
    async with world.store.read() as db:
        assert (await db.execute(select(journal_rows.c.event).where(journal_rows.c.event.is_not(None)))).all() == []


async def test_an_edit_or_a_reaction_is_not_kept_at_all(world: World) -> None:
    """The relation in clear says what they are."""
    now = world.clock()
    await world.hear(
        sealed_voice(voice("$1", now, rel_type="m.replace", event_id="$x")),
        sealed_voice(voice("$2", now, rel_type="m.annotation", event_id="$x", key="👍")),
    )
    assert await waiting(world) == 0


async def test_a_room_that_records_no_messages_keeps_none(world: World) -> None:
    """Other people's messages are not ours to keep."""
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, messages_since=None))
    await world.hear(sealed_voice(voice("$1", world.clock())))
    assert await waiting(world) == 0


async def test_the_newest_of_a_room_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A room whose keys never come costs no more than these, and huge events nothing."""
    monkeypatch.setattr(sealed_messages, "MOST_OF_A_ROOM", 3)
    now = world.clock()
    huge = sealed_voice(voice("$huge", now))
    huge = replace(huge, event={**huge.event, "content": {**huge.event["content"], "ciphertext": "x" * 20_000}})
    await world.hear(*(sealed_voice(voice(f"${n}", now)) for n in range(5)), huge)
    async with world.store.read() as db:
        assert [one.event_id for one in await journal.sealed(db)] == ["$2", "$3", "$4"]
    assert await waiting(world) == 3


async def test_of_one_sender_fewer_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever withholds their keys pushes nobody else's messages out."""
    monkeypatch.setattr(sealed_messages, "MOST_OF_A_ROOM", 4)
    monkeypatch.setattr(sealed_messages, "MOST_OF_A_SENDER", 2)
    now = world.clock()
    await world.hear(sealed_voice(voice("$ben", now, who=BEN)), *(sealed_voice(voice(f"${n}", now)) for n in range(5)))
    async with world.store.read() as db:
        assert [one.event_id for one in await journal.sealed(db)] == ["$ben", "$3", "$4"]


async def test_they_wait_a_week(world: World) -> None:
    """Then their wrappers go."""
    await world.hear(sealed_voice(voice("$1", world.clock())))
    world.clock.pass_by(7 * 24 * 3600 - 60)
    await world.keeper.tidy()
    assert await waiting(world) == 1
    world.clock.pass_by(120)
    await world.keeper.tidy()
    assert await waiting(world) == 0


async def test_they_go_when_the_bot_is_removed(world: World) -> None:
    """The room's state is forgotten with them."""
    await world.hear(sealed_voice(voice("$1", world.clock())))
    await world.intake.take(batch(joined=False))
    assert await waiting(world) == 0


async def test_they_go_when_their_sender_opts_out(world: World) -> None:
    """Others' messages stay."""
    now = world.clock()
    await world.hear(sealed_voice(voice("$1", now)), sealed_voice(voice("$2", now, who=BEN)))
    async with world.store.write() as db:
        at = await journal.position(db)
        await optouts.add(db, OptOut(BEN, ROOM, out=True, at=now, position=at))
        objection = orders.CloseRefused(heard("$o", "x", {}).event_id, at, BEN, (ROOM,))
        await consent.close_refused(db, world.recorder.apply, objection, now)
    async with world.store.read() as db:
        assert [one.event_id for one in await journal.sealed(db)] == ["$1"]
    assert await waiting(world) == 1


@pytest.mark.parametrize("early", [True, False])
async def test_a_redacted_message_waits_for_no_key(world: World, early: bool) -> None:
    """Its wrapper goes, and its key brings nothing back."""
    late = voice("$1", world.clock(), who=BEN)
    said = [sealed_voice(late), redaction("$r", "$1", BEN)]
    await world.hear(*(said[::-1] if early else said))
    assert await waiting(world) == 0
    await key_comes(world, late)
    assert await messages(world) == []


async def test_a_strangers_redaction_counts_for_nothing(world: World) -> None:
    """Only the sender, and who has the power, takes a message back."""
    late = voice("$1", world.clock())
    await world.hear(sealed_voice(late), redaction("$r", "$1", BEN))
    await key_comes(world, late)
    assert await messages(world) == [["$1"]]


async def test_a_key_that_comes_after_it_was_switched_off_brings_nothing(world: World) -> None:
    """The position of the message decides, and the room's present wish."""
    late = voice("$1", world.clock())
    await world.hear(sealed_voice(late))
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, messages_since=Position(await journal.position(db))))
    await key_comes(world, late)
    assert await messages(world) == []
