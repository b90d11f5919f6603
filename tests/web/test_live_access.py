"""Access to a live broadcast: every address of it asks the one check."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession

from bot.audio.grid import SEGMENT_FRAMES as FRAMES
from storage.records import HistoryVisibility, Position, Recording, RecordingState, Room, Visibility
from tests.web.on_the_air import Broadcast
from tests.web.world import ALICE, BOB, NOW, World

NAMES = ("", "{}", "{}.m3u8", "{}-0-0.mp3", "{}-live.mp3", "live.mp3")


@dataclass(frozen=True)
class LiveRoom:
    """A live broadcast in a private room, started at position 20."""

    world: World
    client: ClientSession
    room: Room
    recording: Recording

    async def statuses(self, root: str) -> list[int]:
        """Request every address below a root and return the statuses; a refusal holds a few words and no sound."""
        found = []
        for name in NAMES:
            async with self.client.get(root + name.format(self.recording.code)) as answer:
                found.append(answer.status)
                assert answer.status in (200, 410) or len(await answer.read()) < 32
        return found


@pytest.fixture
async def on_air(world: World, client: ClientSession) -> LiveRoom:
    room = await world.room()
    joined = {"history_visibility": HistoryVisibility.JOINED}
    recording = await world.recording(room, state=RecordingState.LIVE, started_at=NOW, position=Position(20), **joined)
    await Broadcast(world, recording).speak(6 * FRAMES)
    world.clock.pass_by(30)
    return LiveRoom(world, client, room, recording)


async def _kicked(on: LiveRoom) -> str:
    await on.world.member(on.room, ALICE, at=1)
    await on.world.member(on.room, ALICE, "leave", at=30)
    return f"/p/{await on.world.listener(on.room, ALICE)}/"


async def _banned(on: LiveRoom) -> str:
    await on.world.member(on.room, ALICE, at=1)
    await on.world.member(on.room, ALICE, "ban", at=30)
    return f"/p/{await on.world.listener(on.room, ALICE)}/"


async def _outsider(on: LiveRoom) -> str:
    """Make an address for somebody who was never in the room."""
    return f"/p/{await on.world.listener(on.room, BOB)}/"


async def _member_of_another_room(on: LiveRoom) -> str:
    other = await on.world.room("Cellar")
    await on.world.member(other, ALICE, at=1)
    return f"/p/{await on.world.listener(other, ALICE)}/"


async def _renewed(on: LiveRoom) -> str:
    await on.world.member(on.room, ALICE, at=1)
    old = await on.world.listener(on.room, ALICE)
    await on.world.listener(on.room, ALICE, generation=1)
    return f"/p/{old}/"


async def _guessed(on: LiveRoom) -> str:
    return f"/p/{'a' * 52}/"


async def _by_the_room_key(on: LiveRoom) -> str:
    return f"/r/{on.room.key}/"


REFUSED: dict[str, Callable[[LiveRoom], Awaitable[str]]] = {
    "kicked": _kicked,
    "banned": _banned,
    "never in the room": _outsider,
    "an old address": _renewed,
    "a guess": _guessed,
    "the public address": _by_the_room_key,
}


async def test_a_member_hears_it(on_air: LiveRoom) -> None:
    """A member hears the broadcast at their own address."""
    await on_air.world.member(on_air.room, ALICE, at=1)
    assert await on_air.statuses(f"/p/{await on_air.world.listener(on_air.room, ALICE)}/") == [200] * len(NAMES)


@pytest.mark.parametrize("who", REFUSED)
async def test_nobody_else_does(on_air: LiveRoom, who: str) -> None:
    """Page, playlist, segments and the endless MP3 are closed for everybody but members."""
    page = 410 if who in ("kicked", "banned", "never in the room") else 404  # the bot gave somebody that address
    assert await on_air.statuses(await REFUSED[who](on_air)) == [page] * 2 + [404] * (len(NAMES) - 2)


async def test_another_rooms_member_does_not(on_air: LiveRoom) -> None:
    """Below another room's address there is that room's page and no broadcast."""
    root = await _member_of_another_room(on_air)
    assert await on_air.statuses(root) == [200] + [404] * (len(NAMES) - 1)


async def test_who_came_in_the_middle_does_not(on_air: LiveRoom) -> None:
    """With history since the join, a broadcast that began before is closed for a member who joins later."""
    await on_air.world.member(on_air.room, BOB, at=25)
    root = f"/p/{await on_air.world.listener(on_air.room, BOB)}/"
    assert await on_air.statuses(root) == [200] + [404] * (len(NAMES) - 1)


async def test_not_before_the_rooms_were_read(on_air: LiveRoom) -> None:
    """After a start a known address is told to try again until the rooms' state was read."""
    await on_air.world.member(on_air.room, ALICE, at=1)
    root = f"/p/{await on_air.world.listener(on_air.room, ALICE)}/"
    on_air.world.fresh = False
    assert await on_air.statuses(root) == [503] * len(NAMES)


async def test_the_public_hears_only_what_was_said_in_public(on_air: LiveRoom) -> None:
    """A broadcast that began while the room was private stays private when the room is made public."""
    room = await on_air.world.change(on_air.room, visibility=Visibility.PUBLIC)
    assert await on_air.statuses(f"/r/{room.key}/") == [200] + [404] * (len(NAMES) - 1)
