"""Transmissions become sessions, through the whole line but for the homeserver."""

from dataclasses import replace
from datetime import datetime

import pytest

from bot import orders
from bot.intake import transmissions
from bot.recording.report import recording_json
from storage import archive, rooms, tracks
from storage.records import EndedBy, HeardEvent, RecordingKind, RecordingState
from tests.recorder import talk
from tests.recorder.talk import ANN, MODERATOR, by_event, grant, hold, holder, part, release, started, stopped
from tests.recorder.voices import BEN, key_comes, sealed_voice, voice
from tests.world import ROOM, World, batch, heard


@pytest.fixture(autouse=True)
async def _walkie(world: World) -> None:
    await talk.switch_on(world)


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def a_round(world: World) -> tuple[HeardEvent, ...]:
    """Return the timeline of two transmissions: Ann's voice message, and Ben's broadcast."""
    now = world.clock()
    return (
        *grant("1", ANN),
        voice("$m1", now, who=ANN),
        *release("1"),
        voice("$race", now, who=BEN),
        voice("$admin", now, who=MODERATOR),
        *grant("2", BEN),
        started("$live", BEN, ms(now)),
        part("$live", 1, BEN, ms(now)),
        part("$live", 2, BEN, ms(now)),
        stopped("$live", BEN, 2, ms(now)),
        *release("2"),
        part("$live", 3, BEN, ms(now)),
    )


async def test_transmissions_are_one_session_and_what_was_said_out_of_turn_is_listed(world: World) -> None:
    """The broadcast is in the session, and no recording of its own; a moderator without the floor is refused, too."""
    await world.hear(*a_round(world))
    await world.work()
    recording, _chunks = await talk.session(world)
    assert (recording.event_id, recording.state) == ("$m1", RecordingState.LIVE)
    assert await by_event(world) == {
        "$m1": ("stored", None),
        "$race": ("refused", "out_of_turn"),
        "$admin": ("refused", "out_of_turn"),
        "$live-1": ("stored", None),
        "$live-2": ("stored", None),
        "$live-3": ("refused", "out_of_turn"),
    }
    async with world.store.read() as db:
        peaks = await tracks.peaks(db, recording.id)
    assert len(peaks) >= 3  # heard live, message by message and chunk by chunk


async def test_walkie_end_makes_the_episode(world: World) -> None:
    """The episode is whole, has a chapter for each turn, and its JSON lists every chunk with its sender."""
    await world.hear(*a_round(world))
    await world.work()
    async with world.store.write() as db:
        await transmissions.end(db, world.recorder.apply, ROOM)
    await world.work()
    recording, chunks = await talk.session(world)
    assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    async with world.store.read() as db:
        episode = await archive.episode(db, recording.id)
    assert episode is not None
    assert [(mark.at, mark.title) for mark in episode.chapters] == [(0, "Ann"), (2000, "Ben")]
    told = recording_json(recording, chunks, episode, title="t", path=None, given_title=None, named=str)
    assert told["kind"] == "walkie_talkie"
    assert [(each["event_id"], each["sender"], each["state"], each["position_ms"]) for each in told["chunks"]] == [
        ("$m1", ANN, "stored", 0),
        ("$race", BEN, "refused", 1000),
        ("$admin", MODERATOR, "refused", 1000),
        ("$live-1", BEN, "stored", 2000),
        ("$live-2", BEN, "stored", 3000),
        ("$live-3", BEN, "refused", 4000),
    ]
    assert [speaker["user_id"] for speaker in told["speakers"]] == [ANN, BEN]
    assert told["gaps"] == []


async def test_one_after_walkie_end_begins_another_session(world: World) -> None:
    """A message within the gap, but after the command, is not in the session that was ended."""
    now = world.clock()
    await world.hear(*grant("1", ANN), voice("$m1", now, who=ANN), *release("1"))
    async with world.store.write() as db:
        await transmissions.end(db, world.recorder.apply, ROOM)
    await world.hear(*grant("2", BEN), voice("$m2", now, who=BEN), *release("2"))
    assert [recording.event_id for recording, _ in await talk.recorded(world)] == ["$m1", "$m2"]


async def test_nothing_said_out_of_turn_begins_a_session(world: World) -> None:
    """Without a session that runs there is nothing in which it could be listed."""
    await world.hear(voice("$race", world.clock(), who=MODERATOR), started("$live", MODERATOR, ms(world.clock())))
    await world.hear(part("$live", 1, MODERATOR, ms(world.clock())))
    assert await talk.recorded(world) == []


async def test_a_broadcast_begun_without_the_floor_is_listed_where_a_session_runs(world: World) -> None:
    """Its chunks are refused, also once its sender has the floor; none is a sign of life, makes anything incomplete, or
    is handed back. Its end is that of the turn."""
    now = ms(world.clock())
    await world.hear(*grant("1", ANN), voice("$m1", world.clock(), who=ANN), *release("1"))
    world.clock.pass_by(60)
    await world.hear(started("$live", MODERATOR, ms(world.clock())), part("$live", 1, MODERATOR, now))
    await hold(world, MODERATOR)
    await world.hear(*grant("2", MODERATOR), part("$live", 2, MODERATOR, now), stopped("$live", MODERATOR, 9, now))
    assert await holder(world) is None
    world.clock.pass_by(540)
    await world.work()
    assert await by_event(world) == {
        "$m1": ("stored", None),
        "$live-1": ("refused", "out_of_turn"),
        "$live-2": ("refused", "out_of_turn"),
    }
    recording, _chunks = await talk.session(world)
    assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.GAP)
    assert await world.ordered(orders.HandBackPart) == []


async def test_a_moderator_with_the_floor_is_recorded(world: World) -> None:
    """The floor event alone names who has the power anyway."""
    await world.hear(*grant("1", MODERATOR), voice("$m1", world.clock(), who=MODERATOR), *release("1"))
    assert list(await by_event(world)) == ["$m1"]


async def test_a_session_begins_with_a_broadcast(world: World) -> None:
    """Its id is the started event, and what follows within the gap is in it, before the first chunk too."""
    now = world.clock()
    await world.hear(*grant("1", BEN), started("$live", BEN, ms(now)), *release("1"))
    await world.hear(*grant("2", ANN), voice("$m1", now, who=ANN), *release("2"))
    recording, chunks = await talk.session(world)
    assert (recording.event_id, [chunk.event_id for chunk in chunks]) == ("$live", ["$m1"])


async def test_the_turn_ends_with_the_transmission(world: World) -> None:
    """By a voice message, and by a broadcast that has stopped and whose announced chunks have come."""
    now = world.clock()
    await hold(world, ANN)
    await world.hear(*grant("1", ANN), voice("$m1", now, who=ANN))
    assert await holder(world) is None
    await world.hear(*release("1"))
    await hold(world, BEN)
    await world.hear(*grant("2", BEN), started("$live", BEN, ms(now)), part("$live", 1, BEN, ms(now)))
    await world.hear(stopped("$live", BEN, 2, ms(now)))
    assert await holder(world) == BEN
    await world.hear(part("$live", 2, BEN, ms(now)))
    assert await holder(world) is None


async def test_the_turn_ends_where_nothing_is_recorded(world: World) -> None:
    """Members who may not be recorded have their turn all the same."""
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, recording_on=False))
    now = world.clock()
    await hold(world, ANN)
    await world.hear(*grant("1", ANN), voice("$m1", now, who=ANN))
    assert await holder(world) is None
    await world.hear(*release("1"))
    await hold(world, BEN)
    await world.hear(*grant("2", BEN), started("$live", BEN, ms(now)), stopped("$live", BEN, 0, ms(now)))
    assert await holder(world) is None
    assert await talk.recorded(world) == []


async def test_a_message_that_is_handled_late_ends_no_later_turn(world: World) -> None:
    """The place of a message decides, and the turn of that place is over."""
    now = world.clock()
    await world.intake.take(batch(*grant("1", ANN), voice("$m1", now, who=ANN), *release("1"), *grant("2", ANN)))
    await hold(world, ANN)
    await world.settle()
    assert await by_event(world) == {"$m1": ("waiting_for_media", None)}
    assert await holder(world) == ANN


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
async def test_a_broadcast_ends_with_the_floor(world: World, *, at_once: bool, stops: bool) -> None:
    """The homeserver lets nothing more through, so the floor's end is the broadcast's; what its sender says afterwards
    announces nothing. It is whole as far as it came, and handed back soon."""
    now = ms(world.clock())
    end = [*release("1"), *([stopped("$live", BEN, 5, now)] if stops else [])]
    begun = [*grant("1", BEN), started("$live", BEN, now), *(part("$live", each, BEN, now) for each in (1, 2))]
    for said in ([*begun, *end],) if at_once else (begun, end):
        await world.hear(*said)
        await world.work()
    world.clock.pass_by(61)
    await world.work()
    recording, _chunks = await talk.session(world)
    (transmission,) = recording.transmissions
    assert (recording.state, transmission.state) == (RecordingState.LIVE, RecordingState.COMPLETE)
    assert transmission.ended_by is EndedBy.STOPPED
    assert [order.event_id for order in await world.ordered(orders.HandBackPart)] == ["$live"]
    world.clock.pass_by(600)
    await world.work()
    assert (await talk.session(world))[0].state is RecordingState.COMPLETE


@pytest.mark.parametrize("number", [2, 3])
async def test_a_chunk_whose_key_comes_after_the_floors_end_is_heard(world: World, number: int) -> None:
    """A chunk that was said in turn joins its broadcast, in the middle or at the end."""
    now = ms(world.clock())
    parts = {each: part("$live", each, BEN, now) for each in (1, 2, 3)}
    said = [sealed_voice(one) if each == number else one for each, one in parts.items()]
    await world.hear(*grant("1", BEN), started("$live", BEN, now), *said, *release("1"))
    await world.work()
    assert (await talk.session(world))[0].transmissions[0].ended_by is EndedBy.STOPPED
    await key_comes(world, parts[number])
    world.clock.pass_by(61)
    await world.work()
    recording, chunks = await talk.session(world)
    assert [str(chunk.state) for chunk in chunks] == ["stored"] * 3
    assert recording.transmissions[0].state is RecordingState.COMPLETE


async def test_a_message_whose_key_comes_late_is_taken_in(world: World) -> None:
    """Its wrapper is kept where transmissions are recorded, though voice messages are not; its place decides on its
    turn."""
    now = world.clock()
    late, race = voice("$m2", now, who=BEN), voice("$race", now, who=ANN)
    await world.hear(*grant("1", ANN), voice("$m1", now, who=ANN), *release("1"))
    await world.hear(*grant("2", BEN), sealed_voice(late), *release("2"), sealed_voice(race))
    assert list(await by_event(world)) == ["$m1"]
    await key_comes(world, late, race)
    await world.work()
    assert await by_event(world) == {
        "$m1": ("stored", None),
        "$m2": ("stored", None),
        "$race": ("refused", "out_of_turn"),
    }


async def test_redacting_the_start_takes_the_broadcast_out(world: World) -> None:
    """Its chunks are redacted, and the session goes on."""
    await world.hear(*a_round(world))
    await world.work()
    await world.hear(heard("$r", "m.room.redaction", {}, redacts="$live", sender=BEN))
    await world.work()
    states = await by_event(world)
    assert [states[event][0] for event in ("$m1", "$live-1", "$live-2")] == ["stored", "redacted", "redacted"]  # type: ignore[index]


async def test_outside_of_a_walkie_talkie_nothing_changes(world: World) -> None:
    """After `walkie off` a broadcast is a recording of its own again."""
    unlocked = heard("$off", "m.room.power_levels", {"users": {MODERATOR: 100}}, state_key="", sender="@bot:hs")
    await world.hear(unlocked, started("$live", BEN, ms(world.clock())))
    ((recording, _),) = await talk.recorded(world)
    assert recording.kind is RecordingKind.VOICE_BROADCAST


async def test_a_whole_broadcast_is_handed_back(world: World) -> None:
    """An order to post it waits, also where whole recordings are not handed back."""
    await world.hear(*a_round(world))
    await world.work()
    assert [order.event_id for order in await world.ordered(orders.HandBackPart)] == ["$live"]
    assert await world.ordered(orders.HandBack) == []
