"""The floor of a walkie-talkie on a real homeserver: from a request to the floor, and from a release to the refusal."""

import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Figure
from bot.demo.synapse import Homeserver
from bot.walkie.model import GaveBack
from tests.line.conftest import Worlds
from tests.walkie.lab import FLOOR, Bot, Member, members

ROUNDS = 100
GRANTED_S = 0.5
REFUSED_S = 0.25


@dataclass
class Times:
    """Seconds from each request to the holder's right to speak, from each release to the first refusal, and of an
    ordinary message; and how many transmissions of the other member were taken."""

    granted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    message: list[float] = field(default_factory=list)
    strays: int = 0


async def measured() -> Times:
    """Give the floor to one of two members, again and again."""
    times = Times()
    with tempfile.TemporaryDirectory() as name:
        homeserver = await Homeserver.start(Path(name) / "homeserver")
        try:
            bot = await Worlds(homeserver, Path(name))(walkie={"floor_s": 60, "guard_s": 0})
            async with members((homeserver, "alice"), (homeserver, "bob"), (homeserver, "cat")) as (alice, bob, cat):
                room = await alice.create("10", bot.user_id, bob.user_id, cat.user_id)
                async with bot.running() as aircheck:
                    floor = Bot(aircheck, room, bot)
                    for member in (bob, cat):
                        await member.join(room)
                    await floor.joined(alice.user_id, bob.user_id, cat.user_id)
                    await floor.switch(on=True)
                    for member in (bob, cat):
                        await member.permit(room)
                    await floor.permitted(bob.user_id, cat.user_id)
                    for number in range(ROUNDS):
                        holder, other = (bob, cat) if number % 2 else (cat, bob)
                        times.granted.append(await _grant(holder, room))
                        times.strays += await other.say(room, "me too")
                        times.refused.append(await _release(floor, holder, room))
                        await floor.free()
                        began = time.monotonic()
                        await alice.say(room, "hello")
                        times.message.append(time.monotonic() - began)
        finally:
            await homeserver.stop()
    return times


async def _grant(member: Member, room: str) -> float:
    began = time.monotonic()
    await member.ask(room)
    await member.sees(room, FLOOR, lambda content: content["holder"] == member.user_id)
    took_s = time.monotonic() - began
    assert await member.say(room, "over")
    return took_s


async def _release(floor: Bot, member: Member, room: str) -> float:
    began = time.monotonic()
    await floor.apply(GaveBack(member.user_id))
    while await member.say(room, "still there"):
        pass
    return time.monotonic() - began


def figures() -> list[Figure]:
    times = asyncio.run(measured())
    what = f"transmissions without the floor that the homeserver took, {ROUNDS} rounds"
    found = [Figure(what, "0", str(times.strays), not times.strays, vital=True)]
    for what, took, bound in (
        ("request for the floor → its holder may speak", times.granted, GRANTED_S),
        ("release of the floor → the homeserver refuses", times.refused, REFUSED_S),
    ):
        found.append(Figure(what, f"≤ {bound:g} s", _shown(took), statistics.median(took) <= bound))
    return [*found, Figure("an ordinary message in between, for comparison", "", _shown(times.message))]


def _shown(took: list[float]) -> str:
    return f"{statistics.median(took):.2f} s, at worst {max(took):.2f} s"
