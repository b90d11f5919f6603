"""The process may die at any request or write of a grant, a release, and of switching a walkie-talkie on or off: the
next start puts the room right, and so does the homeserver itself if there is none."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bot.walkie.model import Asked, Spoke
from storage.place import Place
from storage.records import EventId, Position, UserId
from tests.clock import Clock
from tests.walkie.homeserver import ALL, ANN, BEFORE, BOB, FLOOR_S, GUARD_S, Homeserver, Talk, talk
from tests.worker.quick import every
from tests.world import Killed, Mortal

STEPS = ("on", "grant", "next", "time over", "off")


def asks(user: UserId) -> Asked:
    return Asked(user, EventId(f"$ask{user}"), Position(9))


async def do(world: Talk, step: str) -> None:
    """Do a step of the story. Done again after a death, it changes nothing that it did."""
    match step:
        case "on":
            await world.on()
        case "grant":
            await world.apply(asks(ANN))
            await world.apply(asks(BOB))
        case "next":
            await world.apply(Spoke(ANN))
            await world.keep()
            await world.later(GUARD_S)
        case "time over":
            await world.later(FLOOR_S)
        case "off":
            await world.off()
    await world.keep()


HOLDS = {"on": [], "grant": [ANN], "next": [BOB], "time over": [], "off": list(ALL)}
"""Members who may speak at the end of each step."""


async def story(world: Talk, dies: Callable[[], bool], risen: Callable[[], Awaitable[None]]) -> None:
    """Tell the story, and each step that a death interrupts again after the start."""
    for step in STEPS:
        try:
            await do(world, step)
        except Killed:
            assert dies()
            await risen()
            await do(world, step)
        assert world.homeserver.speakers() == HOLDS[step], step


def two_holders(homeserver: Homeserver) -> bool:
    """Return whether any power levels that were written raise two members."""
    return any(
        sum(content["users"].get(user, 0) >= 10 for user in ALL) > 1
        for _, kind, _, _, content, _ in homeserver.written
        if kind == "m.room.power_levels"
    )


@pytest.fixture
async def begun(tmp_path: Path) -> Path:
    """Open a store once, for copies of it."""
    await (await Mortal.own(Place(tmp_path / "begun"))).close()
    return tmp_path / "begun"


async def undisturbed(begun: Path) -> tuple[list[str], int]:
    """Run the story; return its requests, and the number of its writes."""
    async with talk(shutil.copytree(begun, begun.with_name("undisturbed"))) as world:
        await world.enter()
        world.store.die_at(-1, after_commit=False)
        await story(world, lambda: False, world.start_again)
        assert world.store.left is not None
        assert world.homeserver.levels == BEFORE
        return world.homeserver.asked, -1 - world.store.left


async def with_a_death(begun: Path, name: str, arm: Callable[[Talk], None]) -> None:
    """Run the story with one death; the start puts the room right, and its end is as without."""
    async with talk(shutil.copytree(begun, begun.with_name(name)), Homeserver(Clock())) as world:
        await world.enter()
        arm(world)

        async def risen() -> None:
            await world.start_again()
            if await world.is_known():
                await world.check()

        await story(world, lambda: True, risen)
        assert not two_holders(world.homeserver), name
        assert world.homeserver.levels == BEFORE, name
        assert world.homeserver.delayed == {}, name


@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
async def test_a_death_at_a_request_leaves_a_room_that_a_start_puts_right(begun: Path, taken: bool) -> None:
    """Killed at one of so many requests, before the homeserver took it or before its answer was read: after the start
    the room is as the rows say, no event ever named two holders, and the levels are put back in the end."""
    asked, _ = await undisturbed(begun)
    for number in range(1, len(asked) + 1, every(12 if taken else 18)):

        def arm(world: Talk, number: int = number) -> None:
            world.homeserver.left, world.homeserver.taken = number, taken

        await with_a_death(begun, f"{number} {asked[number - 1]}", arm)


async def test_a_death_at_a_write_leaves_a_room_that_a_start_puts_right(begun: Path) -> None:
    """Killed at one of so many writes: the same."""
    _, writes = await undisturbed(begun)
    for number in range(3, writes + 1, every(48)):

        def arm(world: Talk, number: int = number) -> None:
            world.store.die_at(number, after_commit=False)

        await with_a_death(begun, f"write {number}", arm)


async def test_a_death_while_a_held_floor_is_switched_off_leaves_no_lock(begun: Path) -> None:
    """Killed at every second request of it, and away until the homeserver's own release is over: the start unlocks the
    room."""
    for number in range(1, 20, 2):
        async with talk(shutil.copytree(begun, begun.with_name(f"off {number}"))) as world:
            await world.enter()
            await do(world, "on")
            await do(world, "grant")
            world.homeserver.left, world.homeserver.taken = len(world.homeserver.asked) + number, True
            try:
                await do(world, "off")
            except Killed:
                world.clock.pass_by(FLOOR_S + 2)
                world.homeserver.pass_time()
                await world.start_again()
                await world.keep()
                assert world.homeserver.levels == BEFORE, number
                await world.check()
            else:
                assert number > 6
                break


async def test_a_bot_that_stays_dead_leaves_nobody_with_the_floor(begun: Path) -> None:
    """Killed at any request of a grant, the room is locked for everybody once the time of the floor is over, by the
    homeserver alone."""
    for number in range(1, 20):
        async with talk(shutil.copytree(begun, begun.with_name(f"dead {number}"))) as world:
            await world.enter()
            await do(world, "on")
            world.homeserver.left, world.homeserver.taken = len(world.homeserver.asked) + number, True
            try:
                await do(world, "grant")
            except Killed:
                world.clock.pass_by(FLOOR_S + 2)
                world.homeserver.pass_time()
                assert world.homeserver.speakers() == [], number
                assert world.homeserver.floor["holder"] is None
            else:
                assert number > 6
                break
