"""The floor on a real homeserver: it refuses everybody but the holder, also when the bot is gone."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from bot.demo.synapse import Homeserver
from bot.walkie.model import GaveBack, TookBack
from tests.lab import FederatedHomeserver
from tests.line.conftest import Worlds
from tests.walkie.lab import FLOOR, LEVELS, PERMIT, Bot, members

ROUNDS = {"10": 8, "12": 4}  # `benchmarks/walkie.py` makes a hundred


@pytest.fixture
def world(homeserver: Homeserver, tmp_path: object) -> Worlds:
    return Worlds(homeserver, tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["10", "12"])
async def test_of_two_who_ask_at_once_one_alone_may_speak(world: Worlds, homeserver: Homeserver, version: str) -> None:
    """In each round the homeserver takes the transmission of the holder, and answers 403 to the other; in the
    end the other has the floor. Switched off, the room's levels are as they were."""
    bot = await world(walkie={"floor_s": 20, "guard_s": 0})
    async with members((homeserver, "alice"), (homeserver, "bob"), (homeserver, "cat")) as (alice, bob, cat):
        room = await alice.create(version, bot.user_id, bob.user_id, cat.user_id)
        async with bot.running() as aircheck:
            floor = Bot(aircheck, room, bot)
            for member in (bob, cat):
                await member.join(room)
            await floor.joined(alice.user_id, bob.user_id, cat.user_id)
            before = await alice.state(room, LEVELS)
            await floor.switch(on=True)
            for member in (bob, cat):
                await member.permit(room)
            await floor.permitted(bob.user_id, cat.user_id)
            won: Counter[str] = Counter()
            for number in range(1, ROUNDS[version] + 1):
                await asyncio.gather(bob.ask(room), cat.ask(room))
                first = await floor.granted(number)
                holder, other = (bob, cat) if first == bob.user_id else (cat, bob)
                taken = await asyncio.gather(holder.say(room, "over"), other.say(room, "me too"))
                assert tuple(taken) == (True, False)
                await floor.waits(other.user_id)
                await floor.apply(TookBack(other.user_id) if number < ROUNDS[version] else GaveBack(holder.user_id))
                if number < ROUNDS[version]:
                    await floor.apply(GaveBack(holder.user_id))
                    await floor.free()
                won[first] += 1
            assert await floor.granted(ROUNDS[version] + 1) == other.user_id
            taken = await asyncio.gather(other.say(room, "over"), holder.say(room, "me too"))
            assert tuple(taken) == (True, False)
            assert sum(won.values()) == ROUNDS[version]
            await floor.nothing_stale()
            assert await floor.scheduled() == 2
            await floor.switch(on=False)
            await floor.nothing_scheduled()
            assert await alice.state(room, LEVELS) == before
            assert await bob.say(room, "everybody may speak again")


async def test_the_homeserver_takes_the_floor_of_a_bot_that_is_gone(world: Worlds, homeserver: Homeserver) -> None:
    """Without the bot the holder may speak to the end of their time, and not longer; the next start shows a free floor,
    and the levels of before come back."""
    bot = await world(walkie={"floor_s": 15, "guard_s": 0})  # longer than the stop of the bot takes
    async with members((homeserver, "alice"), (homeserver, "bob")) as (alice, bob):
        room = await alice.create("10", bot.user_id, bob.user_id)
        async with bot.running() as aircheck:
            floor = Bot(aircheck, room, bot)
            await bob.join(room)
            await floor.joined(alice.user_id, bob.user_id)
            before = await alice.state(room, LEVELS)
            await floor.switch(on=True)
            await bob.permit(room)
            await floor.permitted(bob.user_id)
            await bob.ask(room)
            assert await floor.granted(1) == bob.user_id
        assert await bob.say(room, "the bot is gone, and I have the floor")
        await bob.sees(room, LEVELS, lambda content: bob.user_id not in content["users"])
        assert not await bob.say(room, "my time is over")
        await bob.sees(room, FLOOR, lambda content: content["holder"] is None)
        async with bot.running() as aircheck:
            floor = Bot(aircheck, room, bot)
            await floor.free()
            await floor.switch(on=False)
        assert await alice.state(room, LEVELS) == before


async def test_a_remote_member_has_the_floor_and_loses_it(
    federation: tuple[FederatedHomeserver, FederatedHomeserver], tmp_path: Path
) -> None:
    """A grant reaches the other homeserver, which takes the holder's transmission. After a release it refuses them;
    whatever it took before it heard of that, the bot's homeserver never shows."""
    near, far = federation
    bot = await Worlds(near, tmp_path)(walkie={"floor_s": 20, "guard_s": 0})
    async with members((near, "alice"), (near, "bob"), (far, "cat")) as (alice, bob, cat):
        room = await alice.create("10", bot.user_id, bob.user_id, cat.user_id)
        async with bot.running() as aircheck:
            floor = Bot(aircheck, room, bot)
            await bob.join(room)
            await cat.join(room, via=near.server_name)
            await floor.joined(alice.user_id, bob.user_id, cat.user_id)
            await floor.switch(on=True)
            await cat.sees(room, LEVELS, lambda content: PERMIT in content["events"])
            for member in (bob, cat):
                await member.permit(room)
            await floor.permitted(bob.user_id, cat.user_id)
            for number in range(1, 4):
                await cat.ask(room)
                assert await floor.granted(2 * number - 1) == cat.user_id
                await cat.sees(room, FLOOR, lambda content: content["holder"] == cat.user_id)
                assert await cat.say(room, f"remote {number}")
                await bob.hears(room, f"remote {number}")
                await bob.ask(room)
                await floor.waits(bob.user_id)
                await floor.apply(GaveBack(cat.user_id))
                assert await floor.granted(2 * number) == bob.user_id
                await cat.say(room, f"stray {number}")  # its homeserver may not have heard of the release
                assert await bob.say(room, f"near {number}")
                await cat.hears(room, f"near {number}")
                assert not await cat.say(room, f"late {number}")
                await floor.apply(GaveBack(bob.user_id))
                await floor.free()
            shown = {body.split()[0] for body in await alice.messages(room)}
            assert {"remote", "near"} <= shown
            assert not {"stray", "late"} & shown
            await floor.switch(on=False)
            await cat.sees(room, LEVELS, lambda content: "m.room.message" not in content["events"])
            assert await cat.say(room, "everybody may speak again")
