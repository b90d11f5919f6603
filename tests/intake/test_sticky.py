"""Sticky events of members of calls: kept for as long as they are sticky, the newest of each key."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from bot import orders
from bot.calls.model import Device
from bot.calls.wire import matrixrtc
from bot.event_types import RTC_MEMBER, SEALED_STICKY, STICKY
from bot.intake import sticky
from bot.matrix.batch import RoomBatch, SyncBatch
from storage import jobs, rooms
from storage.records import EventId, HeardEvent, SessionId, StateEvent, UserId
from tests.calls.wire.test_matrixrtc import sticky_content
from tests.world import ALICE, BOT, ROOM, World, batch, heard, room_state

US = Device(BOT, "BOTDEV", "session")
SESSION = SessionId("session")


async def enter_room(world: World) -> None:
    """Let Alice and the bot be in the room, whose calls are recorded."""
    await world.intake.take(batch(before=room_state()))
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, calls_on=True))


def member(world: World, member_id: str = "uuid", *, age: float = 0, number: int = 1, **change: Any) -> HeardEvent:
    """Alice's entry. `age`: of the event, in seconds; `number`: in its id."""
    sent = round((world.clock().timestamp() - age) * 1000)
    content = sticky_content(ALICE, "DEV", member_id, **change)
    more = {"origin_server_ts": sent, "msc4354_sticky": {"duration_ms": 3_600_000}}
    return heard(f"$member-{member_id}-{number}", RTC_MEMBER, content, **more)


def left(world: World, member_id: str = "uuid", *, age: float = 0, number: int = 2) -> HeardEvent:
    clear = member(world, member_id, age=age, number=number)
    return replace(clear, event={**clear.event, "content": {"msc4354_sticky_key": member_id}})


def sealed(clear: HeardEvent) -> HeardEvent:
    wrapper = {**clear.event, "type": "m.room.encrypted", "content": {"session_id": SESSION, "ciphertext": "…"}}
    return replace(clear, event=wrapper, encrypted=True, session_id=SESSION)


async def bring(world: World, *events: HeardEvent, **more: Any) -> None:
    await world.intake.take(SyncBatch("t", (RoomBatch(ROOM, True, sticky=events),), **more))


async def kept(world: World) -> tuple[StateEvent, ...]:
    async with world.store.read() as db:
        return await rooms.states_in(db, ROOM, STICKY)


async def present(world: World) -> list[str]:
    """List the memberships of the call, as it is read now."""
    calls = matrixrtc.calls_of(await kept(world), {ALICE, BOT}, US, world.clock())
    return [one.device.session_id for call in calls for one in call.members]


async def looks(world: World) -> int:
    """Count the orders to look at the room's calls, and take them."""
    async with world.store.write() as db:
        claimed = await jobs.claim(db, (orders.KeepCalls.kind,), world.clock(), 9)
        for job in claimed:
            await jobs.done(db, job.id, world.clock())
    return len(claimed)


async def test_a_member_is_in_the_call_until_the_event_is_not_sticky_any_more(world: World) -> None:
    """A member's event has the calls of the room looked at; the member leaves with another one, or after an hour."""
    await enter_room(world)
    assert await looks(world) == 0
    await bring(world, member(world))
    assert (await present(world), await looks(world)) == (["uuid"], 1)
    await bring(world, left(world, age=-1))
    assert (await present(world), await looks(world)) == ([], 1)
    await bring(world, member(world, "again", number=3))
    world.clock.pass_by(3599)
    assert await present(world) == ["again"]
    world.clock.pass_by(1)
    assert await present(world) == []
    await bring(world, member(world, "more"))
    assert [event.event_id for event in await kept(world)] == ["$member-more-1"]


async def test_the_newest_event_of_a_key_counts_in_any_order(world: World) -> None:
    """Events that come late, or again, change nothing; of two of the same time the one with the higher id counts."""
    await enter_room(world)
    await bring(world, left(world, age=10), member(world, age=20))
    await bring(world, member(world, age=20))
    assert (await present(world), await looks(world)) == ([], 1)
    await bring(world, left(world, age=20, number=9), member(world, age=20))
    assert (await present(world), await looks(world)) == ([], 0)
    await bring(world, member(world, age=10, number=3))
    assert (await present(world), await looks(world)) == (["uuid"], 1)


async def test_a_sealed_event_counts_once_its_key_comes(world: World) -> None:
    """An event whose key comes later, also after a restart, counts from then on, and for no longer than it is sticky;
    others of its sender stay."""
    await enter_room(world)
    clear = member(world, age=60)
    await bring(world, sealed(clear), member(world, "plain", age=90))
    assert await present(world) == ["plain"]
    world.opens = lambda wrapper: replace(clear, encrypted=True) if wrapper.session_id == SESSION else None
    await bring(world, new_keys=frozenset({SessionId("another")}))
    assert sorted(event.type for event in await kept(world)) == [SEALED_STICKY, RTC_MEMBER]
    await looks(world)
    world.clock.pass_by(600)
    await world.rise_again()
    await bring(world, new_keys=frozenset({SESSION}))
    assert await looks(world) == 1
    rows = await kept(world)
    assert [event.type for event in rows] == [RTC_MEMBER, RTC_MEMBER]
    (late,) = [event for event in rows if event.event_id == clear.event_id]
    assert late.content["expires_ts"] == round((world.clock() + timedelta(seconds=3600 - 660)).timestamp() * 1000)


async def test_all_sealed_events_are_tried_after_a_start(world: World) -> None:
    """A key that was imported while the bot did not run opens what waits for it; what turns out to be something else is
    forgotten."""
    await enter_room(world)
    clear = member(world)
    other = replace(clear, event={**clear.event, "type": "m.room.message", "content": {"body": "hello"}})
    await bring(world, sealed(clear), sealed(replace(clear, event_id=EventId("$other"))))
    await world.rise_again()
    world.opens = lambda wrapper: clear if wrapper.event_id == clear.event_id else other
    await world.intake.open_all()
    assert [event.type for event in await kept(world)] == [RTC_MEMBER]
    assert await present(world) == ["uuid"]


async def test_a_redacted_member_is_gone(world: World) -> None:
    """The redaction of a member's event ends the membership, and no older event of its key revives it."""
    await enter_room(world)
    await bring(world, member(world, age=10))
    await looks(world)
    redaction = heard("$redaction", "m.room.redaction", {"redacts": "$member-uuid-1"}, redacts="$member-uuid-1")
    await world.intake.take(batch(redaction))
    assert (await present(world), await looks(world)) == ([], 1)
    await bring(world, member(world, age=20, number=0))
    assert await present(world) == []


async def test_events_of_one_sender_are_bounded(world: World) -> None:
    """The newest events of one sender are kept, so many; those of others stay."""
    await enter_room(world)
    bob = member(world, "bob")
    bob = replace(bob, event={**bob.event, "sender": UserId("@bob:hs")})
    crowd = [member(world, f"m{number}", age=100 - number) for number in range(sticky.MOST_OF_A_SENDER + 9)]
    await bring(world, bob, *crowd)
    keys = {event.event_id for event in await kept(world)}
    assert len(keys) == sticky.MOST_OF_A_SENDER + 1
    assert keys >= {bob.event_id, crowd[-1].event_id}
    assert crowd[8].event_id not in keys


async def test_state_of_that_type_is_nobody(world: World) -> None:
    """State of the type of sticky events, which anybody could write under any key, is not kept."""
    await enter_room(world)
    await bring(world, member(world))
    (row,) = await kept(world)
    forged = {**member(world, "forged").event, "state_key": row.state_key}
    await world.intake.take(batch(before=(forged,)))
    await bring(world, replace(member(world, "forged"), event=forged))
    assert await kept(world) == (row,)


async def test_a_room_that_the_bot_left_keeps_none(world: World) -> None:
    """Sticky events are forgotten with the room's state when the bot leaves."""
    await enter_room(world)
    await bring(world, member(world))
    await world.intake.take(batch(joined=False))
    assert await kept(world) == ()
