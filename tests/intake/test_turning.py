"""Rooms that close or open themselves: nothing becomes public by it, and the room is told once."""

from dataclasses import replace
from typing import Any

import pytest

from bot import orders
from storage import archive, changes, journal, rooms
from storage.records import EventId, HeardEvent, Position, Room, Visibility
from tests.world import BOT, ROOM, START, World, heard, info, room_state, state

LATER = EventId("$later")
JOINING, HISTORY, ENCRYPTION = "m.room.join_rules", "m.room.history_visibility", "m.room.encryption"
OPEN = (state(JOINING, {"join_rule": "public"}), state(HISTORY, {"history_visibility": "shared"}))


def turn(kind: str, name: str = "$turn", **content: Any) -> HeardEvent:
    return heard(name, kind, content, state_key="")


CLOSING = {
    "invited only": turn(JOINING, join_rule="invite"),
    "by knocking": turn(JOINING, join_rule="knock"),
    "encrypted": turn(ENCRYPTION, algorithm="m.megolm.v1.aes-sha2"),
    "history hidden": turn(HISTORY, history_visibility="joined"),
}


async def public_room(world: World, *, visibility: Visibility = Visibility.PUBLIC) -> None:
    await world.hear(before=room_state(*OPEN))
    async with world.store.write() as db:
        public = replace(await room(world), visibility=visibility, public_since=Position(0))
        await rooms.save_room(db, public)


async def room(world: World) -> Room:
    async with world.store.read() as db:
        found = await rooms.room(db, ROOM)
    assert found is not None
    return found


async def told(world: World) -> list[str]:
    return [notice.body for notice in await world.ordered(orders.Notice) if notice.topic.startswith("turned:")]


async def public(world: World, *events: EventId) -> list[bool]:
    async with world.store.read() as db:
        found = [await archive.recording_by_event(db, event) for event in events]
    return [recording is not None and recording.public for recording in found]


@pytest.mark.parametrize("how", CLOSING)
async def test_a_room_that_closes_itself_publishes_nothing_new(world: World, how: str) -> None:
    """Public recordings stay public, the log names the bot's rule, and the room is told once how to undo it."""
    await public_room(world)
    closing = CLOSING[how]
    later = replace(info(LATER, "started", device_id="E"), event_id=LATER)
    await world.begin(closing, later)
    assert await public(world, START, LATER) == [True, False]
    closed = await room(world)
    assert (closed.visibility, closed.publishes) == (Visibility.PUBLIC, False)
    (body,) = await told(world)
    assert "`{prefix} publish public`" in body
    async with world.store.read() as db:
        (change,) = [one for one in await changes.of_rooms(db, [ROOM]) if one.what == "publish"]
    assert (change.by, change.before, change.after) == (None, "public", "private")
    await world.hear(replace(closing, event_id=EventId("$again"), event=dict(closing.event) | {"event_id": "$again"}))
    assert len(await told(world)) == 1


@pytest.mark.parametrize("how", CLOSING)
async def test_where_nothing_is_public_nothing_changes(world: World, how: str) -> None:
    """A private podcast needs no notice."""
    await public_room(world, visibility=Visibility.PRIVATE)
    before = await room(world)
    await world.hear(CLOSING[how])
    assert replace(await room(world), encrypted=False) == before
    assert await told(world) == []


async def test_a_room_that_opens_itself_is_told_and_makes_nothing_public(world: World) -> None:
    """A moderator learns that more people can hear what is recorded."""
    await world.hear(before=room_state(state(JOINING, {"join_rule": "invite"}, event_id="$j"), OPEN[1]))
    before = await room(world)
    await world.hear(turn(JOINING, join_rule="public"))
    await world.hear(turn(HISTORY, "$h", history_visibility="world_readable"))
    joining, history = await told(world)
    assert "Anybody can join" in joining
    assert "More people" in history
    assert await room(world) == before


async def test_what_changed_while_the_bot_was_away_counts_too(world: World) -> None:
    """A fresh reading of the room's state is compared with what was known, and what was never read is no change."""
    await world.hear(before=room_state())
    async with world.store.write() as db:
        await rooms.save_room(db, replace(await room(world), visibility=Visibility.PUBLIC, public_since=Position(0)))
    await world.intake.refresh(ROOM, list(room_state(*OPEN)), Position(10_000))
    assert (await told(world), (await room(world)).publishes) == ([], True)
    hidden = state(JOINING, {"join_rule": "invite"}, event_id="$closed")
    await world.intake.refresh(ROOM, list(room_state(hidden, OPEN[1])), Position(20_000))
    assert len(await told(world)) == 1
    assert not (await room(world)).publishes


async def test_what_began_between_the_closing_and_its_reading_is_not_public(world: World) -> None:
    """The answer of the homeserver may be older than what was heard since."""
    await public_room(world)
    await world.begin()
    async with world.store.read() as db:
        asked_at = await journal.position(db)
    later = replace(info(LATER, "started", device_id="E"), event_id=LATER)
    await world.hear(later)
    assert await public(world, START, LATER) == [True, True]
    hidden = state(JOINING, {"join_rule": "invite"}, event_id="$closed")
    await world.intake.refresh(ROOM, list(room_state(hidden, OPEN[1])), asked_at)
    assert await public(world, START, LATER) == [True, False]


@pytest.mark.parametrize("visibility", Visibility)
async def test_a_public_room_that_the_bot_comes_back_to_is_closed(world: World, visibility: Visibility) -> None:
    """The room may have closed itself while nobody told the bot; a moderator opens it again."""
    await public_room(world, visibility=visibility)
    await world.hear(heard("$bye", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
    await world.hear(before=room_state(*OPEN))
    back = await room(world)
    assert (back.visibility, back.publishes) == (visibility, False)
    bodies = await told(world)
    assert len(bodies) == (visibility is Visibility.PUBLIC)
    assert all("`{prefix} publish public`" in body for body in bodies)
