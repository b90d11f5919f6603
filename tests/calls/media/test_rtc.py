"""Legs of WebRTC, with callers of aiortc on this machine."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from bot.calls.media.door import Leg
from bot.calls.media.rtc import RtcMedia
from bot.demo.slicing import speech
from storage.records import SAMPLE_RATE, Samples
from tests.calls.peers import Ear, Peer, places

SPEECH = speech(1)[:150]


def clock() -> Callable[[], Samples]:
    """Return the clock of a call that begins now."""
    began = time.monotonic()
    return lambda: Samples(int((time.monotonic() - began) * SAMPLE_RATE))


class Room:
    """The bot's media, and callers that are taken down at the end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.media = RtcMedia(private=True)
        stack.push_async_callback(self.media.close)
        self.clock = clock()

    def leg(self) -> tuple[Leg, Ear]:
        ear = Ear()
        return self.media.leg(ear, self.clock, ()), ear

    def peer(self, *, video: bool = False, data: bool = False) -> Peer:
        peer = Peer(SPEECH, video=video, data=data)
        self._stack.push_async_callback(peer.close)
        return peer


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with AsyncExitStack() as stack:
        yield Room(stack)


@pytest.mark.parametrize("outgoing", [False, True])
async def test_both_sides_can_call(room: Room, outgoing: bool) -> None:
    """Whether the bot calls or is called, each packet arrives as it was sent, at its place."""
    (leg, ear), peer = room.leg(), room.peer()
    await (peer.is_called_by(leg) if outgoing else peer.call(leg))
    await asyncio.wait_for(ear.connects.wait(), 5)
    await ear.hears(40)
    await leg.close()
    offsets = {at - source for source, at in places(ear.opus)}
    assert len(offsets) == 1
    assert sum(packet.lost_before for packet in ear.opus) == 0
    assert not ear.ends.is_set()


async def test_the_end_of_a_caller_is_noticed(room: Room) -> None:
    """When a caller hangs up, its listener is told once."""
    (leg, ear), peer = room.leg(), room.peer()
    await peer.call(leg)
    await ear.hears(5)
    await peer.close()
    await asyncio.wait_for(ear.ends.wait(), 5)
    await leg.close()
    assert ear.ended_times == 1
