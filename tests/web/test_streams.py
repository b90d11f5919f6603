"""The endless MP3 of a live broadcast."""

import asyncio
from dataclasses import replace
from unittest.mock import AsyncMock

import pytest
from aiohttp import ClientPayloadError, ClientResponse, ClientSession, web

from bot.audio.grid import SEGMENT_FRAMES as FRAMES
from bot.web import on_air, streams
from storage import rooms
from storage.errors import StoreBusyError
from storage.records import RecordingState, Visibility
from tests.web.on_the_air import FRAME_BYTES, SEGMENT_BYTES, broadcast
from tests.web.world import ALICE, World

WITHIN_S = 20


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> asyncio.Semaphore:
    """Have streams look often; the semaphore is released by each look that found nothing to send."""
    monkeypatch.setattr(streams, "CHECK_EACH_S", 0.01)
    looked, pause = asyncio.Semaphore(0), streams.Streams._pause

    async def counted(of: streams.Streams) -> None:
        looked.release()
        await pause(of)

    monkeypatch.setattr(streams.Streams, "_pause", counted)
    return looked


async def heard(answer: ClientResponse, segments: int) -> bytes:
    async with asyncio.timeout(WITHIN_S):
        return await answer.content.readexactly(segments * SEGMENT_BYTES)


async def ended(answer: ClientResponse) -> bytes:
    async with asyncio.timeout(WITHIN_S):
        return await answer.content.read()


async def nothing_more(answer: ClientResponse, looks: asyncio.Semaphore) -> bool:
    """Wait until the server has looked again, and return whether it sent nothing."""
    async with asyncio.timeout(WITHIN_S):
        while not looks.locked():
            await looks.acquire()  # those of before
        for _ in range(3):  # the first may have been under way
            await looks.acquire()
    try:
        async with asyncio.timeout(0.05):  # what was sent is on its way for less
            return not await answer.content.readany()
    except TimeoutError:
        return True


async def test_it_begins_at_the_edge_and_goes_on_by_the_clock(
    world: World, client: ClientSession, looks: asyncio.Semaphore
) -> None:
    """A player gets four segments when it begins, then one each six seconds, as bare frames."""
    live, root = await broadcast(world)
    await live.speak(20 * FRAMES)
    world.clock.pass_by(36)  # the seventh is listed
    async with client.get(f"{root}{live.recording.code}-live.mp3") as answer:
        assert (answer.status, answer.content_type, answer.content_length) == (200, "audio/mpeg", None)
        assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-store", "no")
        assert await heard(answer, 4) == live.sound[3 * SEGMENT_BYTES : 7 * SEGMENT_BYTES]
        world.clock.pass_by(5.9)
        assert await nothing_more(answer, looks)
        for number in (7, 8, 9):
            world.clock.pass_by(6)
            assert await heard(answer, 1) == live.sound[number * SEGMENT_BYTES : (number + 1) * SEGMENT_BYTES]


async def test_who_comes_first_waits_for_the_sound(
    world: World, client: ClientSession, looks: asyncio.Semaphore
) -> None:
    """A stream that begins before any segment is held open, then begins at the start."""
    live, root = await broadcast(world)
    await live.speak(20 * FRAMES)
    async with client.get(f"{root}{live.recording.code}-live.mp3") as answer:
        assert answer.status == 200
        assert await nothing_more(answer, looks)
        world.clock.pass_by(18)
        assert await heard(answer, 4) == live.sound[: 4 * SEGMENT_BYTES]


async def test_what_is_short_is_heard_too(world: World, client: ClientSession, looks: asyncio.Semaphore) -> None:
    """Two segments before a pause are sent after the wait, and what follows when it comes."""
    live, root = await broadcast(world)
    await live.speak(2 * FRAMES)
    async with client.get(f"{root}{live.recording.code}-live.mp3") as answer:
        world.clock.pass_by(17)
        assert await nothing_more(answer, looks)
        world.clock.pass_by(1)
        assert await heard(answer, 2) == live.sound
        world.clock.pass_by(600)
        assert await nothing_more(answer, looks)
        await live.speak(FRAMES)
        assert await heard(answer, 1) == live.sound[-SEGMENT_BYTES:]


async def test_who_comes_before_the_first_chunk_waits_too(
    world: World, client: ClientSession, looks: asyncio.Semaphore
) -> None:
    """The stream of a broadcast without chunks is held open and begins with the first audio."""
    live, root = await broadcast(world)
    for name in ("live.mp3", f"{live.recording.code}-live.mp3"):
        async with client.head(root + name) as answer:
            assert answer.status == 200
    async with client.get(f"{root}{live.recording.code}-live.mp3") as answer:
        assert answer.status == 200
        world.clock.pass_by(100)
        assert await nothing_more(answer, looks)
        await live.speak(20 * FRAMES)
        assert await nothing_more(answer, looks)
        world.clock.pass_by(18)
        assert await heard(answer, 4) == live.sound[: 4 * SEGMENT_BYTES]


async def test_what_never_had_a_sound_is_not_waited_for(
    world: World, client: ClientSession, looks: asyncio.Semaphore
) -> None:
    """The stream of a broadcast that ends without audio ends, and is 404 afterwards."""
    live, root = await broadcast(world)
    address = f"{root}{live.recording.code}-live.mp3"
    async with client.get(address) as answer:
        assert answer.status == 200
        await world.save(replace(live.recording, state=RecordingState.EMPTY))
        assert await nothing_more(answer, looks)
        world.clock.pass_by(31)
        assert await ended(answer) == b""
    async with client.get(address) as answer:
        assert answer.status == 404


async def test_what_goes_as_the_stream_begins_is_not_waited_for(
    world: World, client: ClientSession, looks: asyncio.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broadcast that turns out to be empty between a request's answer and the first look ends the stream cleanly."""
    live, root = await broadcast(world)
    begin = web.StreamResponse.prepare

    async def begin_too_late(response: web.StreamResponse, request: web.BaseRequest) -> object:
        begun = await begin(response, request)
        await world.save(replace(live.recording, state=RecordingState.EMPTY))
        return begun

    monkeypatch.setattr(web.StreamResponse, "prepare", begin_too_late)
    async with client.get(f"{root}{live.recording.code}-live.mp3") as answer:
        assert answer.status == 200
        assert await nothing_more(answer, looks)
        world.clock.pass_by(31)
        assert await ended(answer) == b""


async def test_it_ends_with_the_broadcast(world: World, client: ClientSession, looks: asyncio.Semaphore) -> None:
    """After the end the rest is sent at its pace to the last frame, then the stream ends and is 404."""
    live, root = await broadcast(world)
    await live.speak(10 * FRAMES)
    world.clock.pass_by(18)
    address = f"{root}{live.recording.code}-live.mp3"
    async with client.get(address) as answer:
        assert await heard(answer, 4) == live.sound[: 4 * SEGMENT_BYTES]
        await live.end(b"\xff" * 7 * FRAME_BYTES)
        assert await nothing_more(answer, looks)
        for number in range(4, 10):
            world.clock.pass_by(6)
            assert await heard(answer, 1) == live.sound[number * SEGMENT_BYTES : (number + 1) * SEGMENT_BYTES]
        world.clock.pass_by(6)
        assert await ended(answer) == b"\xff" * 7 * FRAME_BYTES
    async with client.get(address) as answer:
        assert answer.status == 404


async def test_who_is_banned_hears_no_more(world: World, client: ClientSession) -> None:
    """A stream ends with the membership of its listener."""
    live, _ = await broadcast(world, Visibility.PRIVATE)
    async with world.store.read() as db:
        room = await rooms.room(db, live.recording.room_id)
    assert room is not None
    await world.member(room, ALICE)
    token = await world.listener(room, ALICE)
    await live.speak(20 * FRAMES)
    world.clock.pass_by(18)
    async with client.get(f"/p/{token}/{live.recording.code}-live.mp3") as answer:
        await heard(answer, 4)
        await world.member(room, ALICE, "ban")
        world.clock.pass_by(60)
        assert await ended(answer) == b""


async def test_redacted_sound_is_waited_for_in_silence(
    world: World, client: ClientSession, looks: asyncio.Semaphore
) -> None:
    """While frames are made again after a redaction nothing is sent; then the stream goes on."""
    live, root = await broadcast(world)
    await live.speak(20 * FRAMES)
    world.clock.pass_by(18)
    async with client.get(f"{root}{live.recording.code}-live.mp3") as answer:
        await heard(answer, 4)
        await live.redact(1)
        world.clock.pass_by(20)
        assert await nothing_more(answer, looks)
        await live.change()
        assert await heard(answer, 3) == live.sound[4 * SEGMENT_BYTES : 7 * SEGMENT_BYTES]


async def test_what_stays_away_ends_the_stream(world: World, client: ClientSession, looks: asyncio.Semaphore) -> None:
    """A stream without frames for half a minute ends."""
    live, root = await broadcast(world)
    await live.speak(20 * FRAMES)
    world.clock.pass_by(18)
    async with client.get(f"{root}{live.recording.code}-live.mp3") as answer:
        await heard(answer, 4)
        await live.redact(1)
        assert await nothing_more(answer, looks)
        world.clock.pass_by(31)
        assert await ended(answer) == b""


async def test_the_room_has_one_address_for_what_is_live(world: World, client: ClientSession) -> None:
    """`live.mp3` is the broadcast that began last; 404 when there is none."""
    live, root = await broadcast(world)
    await live.speak(20 * FRAMES)
    world.clock.pass_by(18)
    async with client.get(f"{root}live.mp3") as answer:
        assert await heard(answer, 4) == live.sound[: 4 * SEGMENT_BYTES]
    await world.save(replace(live.recording, state=RecordingState.EMPTY))
    async with client.get(f"{root}live.mp3") as answer:
        assert answer.status == 404


async def test_a_store_that_fails_breaks_a_stream_off(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream whose store can't be read any more ends as broken off: no second answer follows in its sound."""
    live, root = await broadcast(world)
    await live.speak(20 * FRAMES)
    world.clock.pass_by(36)
    async with client.get(f"{root}{live.recording.code}-live.mp3") as answer:
        sound = await heard(answer, 4)
        monkeypatch.setattr(on_air.Tuner, "find", AsyncMock(side_effect=StoreBusyError("the database is away")))
        with pytest.raises((ClientPayloadError, ConnectionError)):
            sound += await ended(answer)
    assert b"HTTP" not in sound
    assert len(sound) == 4 * SEGMENT_BYTES


async def test_there_are_only_so_many(world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit a stream is refused until another one has ended."""
    monkeypatch.setattr(streams, "MOST", 2)
    live, root = await broadcast(world)
    await live.speak(20 * FRAMES)
    address = f"{root}{live.recording.code}-live.mp3"
    async with client.get(address) as first:
        async with client.get(address) as second, client.get(address) as third:
            assert (first.status, second.status, third.status) == (200, 200, 503)
        async with asyncio.timeout(WITHIN_S):
            while True:
                async with client.get(address) as again:
                    if again.status == 200:
                        break


async def test_a_listener_has_only_a_few(world: World, client: ClientSession) -> None:
    """A personal address plays four streams at once and no fifth."""
    live, _ = await broadcast(world, Visibility.PRIVATE)
    async with world.store.read() as db:
        room = await rooms.room(db, live.recording.room_id)
    assert room is not None
    await world.member(room, ALICE)
    address = f"/p/{await world.listener(room, ALICE)}/{live.recording.code}-live.mp3"
    await live.speak(20 * FRAMES)
    answers = [await client.get(address) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 4 + [503]
    for answer in answers:
        answer.close()


async def test_a_stop_ends_them(world: World, client: ClientSession) -> None:
    """A stop of the server ends running streams at once, and cleanly."""
    live, root = await broadcast(world)
    await live.speak(20 * FRAMES)
    async with client.get(f"{root}{live.recording.code}-live.mp3") as answer:
        runner = world.server._runner
        assert runner is not None
        runner._shutdown_timeout = 3600  # after which they are broken off
        async with asyncio.timeout(WITHIN_S):
            await world.server.stop()
        assert await ended(answer) == b""
