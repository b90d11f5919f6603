"""Members of MatrixRTC calls in headless Chromium (`matrixrtc.js`), and rooms where they may call."""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bot.demo.people import Person
from bot.demo.synapse import Homeserver
from tests.calls_clients.callers import Callers, callers
from tests.calls_clients.sounds import Pcm
from tests.calls_clients.test_group_calls import open_caller
from tests.lab import decode

SDK = "js-sdk-43"
MEMBER = "org.matrix.msc3401.call.member"


@asynccontextmanager
async def rtc_callers(directory: Path) -> AsyncIterator[Callers]:
    async with callers("matrixrtc.js", directory, sdk=SDK) as made:
        yield made


@asynccontextmanager
async def element_callers(directory: Path) -> AsyncIterator[Callers]:
    """Run callers who use Element Call itself, as a widget."""
    at = directory / "element_call"
    at.mkdir()
    async with callers("element_call.js", at, sdk=SDK) as made:
        yield made


async def may_call(host: Person, room: str) -> None:
    """Let all members of a room show that they are in a call."""
    power = dict(await host.state(room, "m.room.power_levels"))
    await host.send_state(room, "m.room.power_levels", {**power, "events": {**power.get("events", {}), MEMBER: 0}})


async def room_of(host: Person, guests: Sequence[Person], *, encrypted: bool) -> str:
    """Make a room whose members may call."""
    room = await host.create_room("The Kitchen Table", encrypted=encrypted, invite=[each.user_id for each in guests])
    await may_call(host, room)
    for guest in guests:
        await guest.wait_for_invite(host.user_id)
        await guest.join(room)
    return room


async def open_members(
    made: Callers, homeserver: Homeserver, sounds: Sequence[tuple[str, Person, Path]], room: str, *, encrypts: bool
) -> None:
    """Open a browser for each name: a new device of that person, in the room, with this sound at its microphone."""
    for name, someone, sound in sounds:
        await open_caller(made, name, homeserver, someone.user_id, room, sound, encrypts=encrypts)


async def heard_by(made: Callers, name: str, user_id: str, seconds: float) -> Pcm:
    """Return what a caller hears of a user from now on for so long."""
    told = await made.do(name, "hear", userId=user_id, ms=int(seconds * 1000))
    return decode(base64.b64decode(told["sound"]))
