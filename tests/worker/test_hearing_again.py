"""A command counts from its place in the timeline: what stands behind it is recorded, though it was heard before."""

from pathlib import Path

import pytest

from bot import orders
from bot.commands.handle import Commands
from bot.errors import TryLater
from bot.worker.hearing_again import HearingAgain
from storage import optouts
from storage.records import HeardEvent, OptOut, Position
from tests.factories import always
from tests.intake.homeserver import Memory
from tests.recorder.voices import BEN, joined, messages, record_messages, redaction, voice
from tests.world import ALICE, PREFIX, ROOM, Killed, World, heard, world_of


async def hear(world: World, homeserver: Memory, *timeline: HeardEvent) -> None:
    """Take in one sync, and carry out what it asks for only afterwards."""
    homeserver.has(*timeline)
    await world.hear(*timeline)
    await carry_out(world, homeserver)


async def carry_out(world: World, homeserver: Memory) -> None:
    commands = Commands(
        world.store, world.settings, always(b"s" * 32), world.clock, apply=lambda *args: world.recorder.apply(*args)
    )
    world.handlers[orders.Command.kind] = commands
    world.handlers[orders.HearAgain.kind] = HearingAgain(world.store, homeserver, clock=world.clock)
    while await world.work_one([orders.Command.kind, orders.HearAgain.kind]):
        await world.settle()


def said(world: World, name: str, words: str) -> HeardEvent:
    at = round(world.clock().timestamp() * 1000)
    return heard(name, "m.room.message", {"msgtype": "m.text", "body": f"{PREFIX} {words}"}, origin_server_ts=at)


async def test_messages_right_behind_record_messages_on_are_recorded(world: World) -> None:
    """In the same sync, in their order, each once; the one in front of the command is not."""
    now, homeserver = world.clock(), Memory()
    await world.hear(joined(BEN, "Ben"))
    on = said(world, "$on", "record messages on")
    await hear(world, homeserver, voice("$0", now), on, voice("$1", now), voice("$2", now, who=BEN))
    await hear(world, homeserver, voice("$3", now), said(world, "$again", "record messages on"))
    assert await messages(world) == [["$1", "$2", "$3"]]


async def test_a_redacted_one_is_not(world: World) -> None:
    """The homeserver returns it without its content."""
    now, homeserver = world.clock(), Memory()
    timeline = (said(world, "$on", "record messages on"), voice("$1", now), voice("$2", now))
    homeserver.has(*timeline)
    await world.hear(*timeline, redaction("$r", "$1"))
    homeserver.redacts(timeline[1].event_id)
    await carry_out(world, homeserver)
    assert await messages(world) == [["$2"]]


@pytest.mark.parametrize("words", ["optin", "speakers all"])
async def test_messages_right_behind_a_permission_are_recorded(world: World, words: str) -> None:
    """Messages of a member who opts in, or whom the moderators choose."""
    now, homeserver = world.clock(), Memory()
    await world.hear(joined(BEN, "Ben"))
    await record_messages(world)
    if words == "optin":
        async with world.store.write() as db:
            await optouts.add(db, OptOut(ALICE, ROOM, Position(1), True, now))
    else:
        await hear(world, homeserver, said(world, "$only", f"speakers {BEN}"))
    await hear(world, homeserver, voice("$0", now), said(world, "$word", words), voice("$1", now))
    assert await messages(world) == [["$1"]]


async def test_who_opted_out_stays_out(world: World) -> None:
    """A message behind another member's command is read again, and not recorded."""
    now, homeserver = world.clock(), Memory()
    await world.hear(joined(BEN, "Ben"))
    async with world.store.write() as db:
        await optouts.add(db, OptOut(BEN, ROOM, Position(1), True, now))
    on = said(world, "$on", "record messages on")
    await hear(world, homeserver, on, voice("$1", now, who=BEN), voice("$2", now))
    assert await messages(world) == [["$2"]]


async def test_another_event_than_was_asked_for_is_not_believed(world: World) -> None:
    """The homeserver is asked again."""
    now, homeserver = world.clock(), Memory()
    behind = voice("$1", now)
    await world.hear(said(world, "$on", "record messages on"), behind)
    homeserver.events[behind.event_id] = voice("$2", now)
    await carry_out(world, homeserver)
    assert await messages(world) == []
    assert await world.waiting(orders.HearAgain.kind) == [{"room_id": ROOM}]
    homeserver.has(behind)
    homeserver.error = TryLater("the homeserver can't be reached")
    for _ in range(2):
        world.clock.pass_by(600)
        await carry_out(world, homeserver)
    assert await messages(world) == [["$1"]]


async def test_it_may_die_anywhere(tmp_path: Path) -> None:
    """A crash after any write loses nothing and doubles nothing."""
    for death in range(1, 30):
        async with world_of(tmp_path / f"data{death}") as world:
            await world.join()
            homeserver = Memory()
            timeline = (said(world, "$on", "record messages on"), voice("$1", world.clock()))
            homeserver.has(*timeline)
            await world.hear(*timeline)
            world.store.die_at(death, after_commit=True)
            died = False
            try:
                await carry_out(world, homeserver)
            except Killed:
                died = True
            await world.rise_again()
            await carry_out(world, homeserver)
            await world.settle()
            assert await messages(world) == [["$1"]]
        if not died:
            assert death > 5
            return
