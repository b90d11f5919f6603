"""Calls with a whole bot on a real homeserver: callers that signal as clients do, with real media and a real crash."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from bot.demo.people import Person
from bot.demo.slicing import speech
from bot.errors import GiveUp
from bot.event_types import CALL_MEMBER
from storage import archive
from storage.records import EndedBy, LeftBy, Recording, RecordingState, RoomId
from storage.store import Store
from tests.audio.sounds import lag
from tests.blobs import folder_of
from tests.calls.caller import Caller, Page, begin_call, open_to_calls
from tests.calls.peers import PACKET
from tests.calls.stems import length_of_file, packets_in
from tests.lab import People, decode
from tests.line.conftest import Worlds
from tests.line.test_process import process, recordings
from tests.line.world import World, move_in, until, welcome

RATE = 48_000
NEAR = RATE // 10


async def call_room(bot: World, host: Person, *guests: Person, encrypted: bool) -> str:
    """Make a room with these people in which calls are recorded."""
    room = await move_in(bot, host, encrypted=encrypted)
    await host.set_power(room, {bot.user_id: 50})
    await open_to_calls(host, room)
    for guest in guests:
        await welcome(guest, host, room)
    await host.say(room, "!aircheck record calls on")
    await host.wait_for(lambda event: event.is_notice_of(bot.user_id) and "calls" in event.body)
    return room


async def is_so(store: Store, room: str, check: Callable[[Recording], object]) -> Recording:
    """Wait until the newest recording of a room fits."""

    async def look() -> Recording | None:
        async with store.read() as db:
            found = await archive.recordings(db, RoomId(room), 1)
        return found[0] if found and check(found[0]) else None

    return await until(store, look)


async def has_stems(store: Store, room: str, number: int) -> Recording:
    return await is_so(store, room, lambda recording: len(recording.stems) >= number)


async def has_spoken(caller: Caller | Page, seconds: float) -> None:
    """Wait until a caller's present connection has carried so much of its speech."""
    async with asyncio.timeout(60):
        while caller.peer.talker.sent * PACKET < seconds * RATE:  # noqa: ASYNC110 (the caller's state)
            await asyncio.sleep(0.02)


async def on_the_disk(bot: World, stem: int, seconds: float) -> None:
    """Wait until so much of a stem of the bot's one call is on the disk."""

    def length() -> int:
        with suppress(GiveUp):  # its last page is being written
            return sum(map(length_of_file, (bot.directory / "calls").glob(f"*/{stem}.ogg")))
        return 0

    async with asyncio.timeout(60):
        while await asyncio.to_thread(length) < seconds * RATE:  # noqa: ASYNC110 (another process writes it)
            await asyncio.sleep(0.02)


def numbers_in(file: Path) -> dict[int, int]:
    """Return the place in a stem's file, in samples, of each numbered packet of its caller."""
    places, at = dict[int, int](), 0
    for packet in packets_in(file):
        number = int.from_bytes(packet[-4:])
        if packet[0] & 3 == 3 and packet[1] == 0x41 and number < 10_000:  # silence is padded too
            places[number] = at
        at += PACKET
    return places


async def test_a_call_of_two_in_an_encrypted_room(world: Worlds, person: People) -> None:
    """The bot calls one and is called by the other, all sealed by Olm. Their stems lie on one clock, as they were
    spoken, and so do they in the episode; who came late was told; at the end nothing shows the bot any more."""
    bot = await world(calls={"empty_s": 2, "beep": False})
    aaron, zoe = await person("aaron"), await person("zoe")
    async with bot.running() as aircheck:
        store = aircheck.store
        room = await call_room(bot, aaron, zoe, encrypted=True)
        call_id = await begin_call(aaron, room)
        one = Caller(aaron, room, call_id, bot.user_id, sealed=True, packets=speech(1))
        two = Caller(zoe, room, call_id, bot.user_id, sealed=True, packets=speech(2))
        async with one.running():
            await has_stems(store, room, 1)
            async with two.running():
                await has_stems(store, room, 2)
                await has_spoken(two, 5)
                await two.leave()
                left = await is_so(store, room, lambda recording: recording.stems[1].left is not None)
                await begin_call(aaron, room, call_id=call_id, terminated="over")
                recording = await is_so(store, room, lambda recording: recording.state.is_decided)
            await asyncio.wait_for(one.hung_up.wait(), 60)
        assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)
        assert [(stem.user_id, stem.left_by) for stem in recording.stems] == [
            (aaron.user_id, LeftBy.ENDED),
            (zoe.user_id, LeftBy.LEFT),
        ]
        assert left.stems[1].device_id == zoe.device_id
        began = []
        sounds = []
        for stem, caller in zip(recording.stems, (one, two), strict=True):
            assert stem.blob is not None
            async with store.blobs.local(stem.blob) as file:
                numbers = numbers_in(file)
                sounds.append((stem, decode(file.read_bytes())))
            first = min(numbers)
            assert len(numbers) >= max(numbers) - first  # nothing was lost on loopback
            spoken = caller.peer.talker.began
            began.append((stem.joined + numbers[first] - first * PACKET) / RATE - spoken)
            assert stem.left is not None
            assert len(sounds[-1][1]) == stem.left - stem.joined
        assert abs(began[0] - began[1]) < 0.06  # seconds, on a machine that is busy
        await in_the_mix(store, recording, sounds)
        own = await aaron.state(room, CALL_MEMBER, bot.user_id)
        assert own == {"m.calls": []}
        await aaron.sync_once()
        (told,) = [e for e in aaron.received if e.content.get("m.mentions") == {"user_ids": [zoe.user_id]}]
        assert told.content["m.relates_to"]["m.in_reply_to"]["event_id"] == recording.notice


async def in_the_mix(store: Store, recording: Recording, sounds: Sequence[tuple[Any, Any]]) -> None:
    """Check that each stem's sound is in the episode at its place."""

    async def made() -> bytes | None:
        async with store.read() as db:
            episode = await archive.episode(db, recording.id)
        return folder_of(store).read(episode.blob) if episode else None

    mix = decode(await until(store, made))
    for stem, sound in sounds:
        padded = np.concatenate([np.zeros(stem.joined, np.float32), sound])
        loudest = stem.joined + RATE + int(np.argmax(np.convolve(sound[RATE:-RATE] ** 2, np.ones(4800), "valid")))
        late = lag(padded, mix, loudest, most=NEAR)
        assert abs(late) <= RATE // 50, late


async def test_what_members_and_moderators_do_to_a_call(world: Worlds, person: People) -> None:
    """In an unencrypted room, signalled in clear: the stem of one who opts out is closed, and `record calls off` ends
    the recording."""
    bot = await world(calls={"empty_s": 60, "beep": False})
    aaron, zoe = await person("aaron"), await person("zoe")
    async with bot.running() as aircheck:
        store = aircheck.store
        room = await call_room(bot, aaron, zoe, encrypted=False)
        call_id = await begin_call(aaron, room)
        one = Caller(aaron, room, call_id, bot.user_id, sealed=False, packets=speech(1))
        two = Caller(zoe, room, call_id, bot.user_id, sealed=False, packets=speech(2))
        async with one.running(), two.running():
            await has_stems(store, room, 2)
            await has_spoken(two, 1)
            await zoe.say(room, "!aircheck optout")
            await asyncio.wait_for(two.hung_up.wait(), 60)
            recording = await is_so(store, room, lambda recording: any(stem.left for stem in recording.stems))
            assert recording.state is RecordingState.LIVE
            assert {stem.user_id for stem in recording.stems if stem.left is not None} == {zoe.user_id}
            await aaron.say(room, "!aircheck record calls off")
            recording = await is_so(
                store,
                room,
                lambda recording: recording.state.is_decided and all(stem.left is not None for stem in recording.stems),
            )
            await asyncio.wait_for(one.hung_up.wait(), 60)
        assert recording.ended_by is EndedBy.SWITCHED_OFF


async def test_a_crash_in_a_call(world: Worlds, person: People, tmp_path: Path) -> None:
    """After a kill -9 the bot rejoins the call, in the same recording, and lists the time between as a gap; the
    caller's second stem is a rejoining."""
    bot, aaron = await world(calls={"empty_s": 2, "beep": False}), await person("aaron")
    log = tmp_path / "log"
    async with process(bot, log) as running:
        room = await call_room(bot, aaron, encrypted=True)
        call_id = await begin_call(aaron, room)
        one = Caller(aaron, room, call_id, bot.user_id, sealed=True, packets=speech(1))
        async with one.running():
            await asyncio.wait_for(one.connected.wait(), 60)
            await has_spoken(one, 3)
            await on_the_disk(bot, 1, 2)
            await running.end(signal.SIGKILL)
            one.connected.clear()
            await running.start()
            await asyncio.wait_for(one.connected.wait(), 60)
            await has_spoken(one, 3)
            await begin_call(aaron, room, call_id=call_id, terminated="over")
            await asyncio.wait_for(one.hung_up.wait(), 60)
        await aaron.wait_for(lambda event: event.is_notice_of(bot.user_id) and "is ready" in event.body, 60)
        (found,) = await recordings(bot, log)
    stems: Any = found["stems"]
    events: Any = found["events"]
    gaps: Any = found["gaps"]
    assert (found["state"], found["ended_by"], found["protocol"]) == ("incomplete", "stopped", "msc3401")
    assert [stem["left_by"] for stem in stems] == ["lost", "ended"]
    assert [event["what"] for event in events] == ["joined", "rejoined"]
    assert [(gap["position_ms"], gap["reason"]) for gap in gaps] == [(stems[0]["left_ms"], "away")]
    assert stems[0]["received_ms"] >= 1500
    assert all((bot.directory / stem["path"]).stat().st_size == stem["bytes"] for stem in stems)


async def test_a_voice_channel(world: Worlds, person: People) -> None:
    """The bot joins an MXVC channel under a name that says that it records, and is alone when the page has left."""
    bot, aaron = await world(calls={"empty_s": 1, "beep": False}), await person("aaron")
    async with bot.running() as aircheck:
        store = aircheck.store
        room = await call_room(bot, aaron, encrypted=False)
        page = Page(aaron, room, "Chrome", speech(1))
        async with page.running():
            await has_stems(store, room, 1)
            await has_spoken(page, 2)
            await page.set_state("LEFT")
            recording = await is_so(store, room, lambda recording: recording.state.is_decided)
        assert [name.endswith("[REC]") for name in page.bots] == [True]
        assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)
        (stem,) = recording.stems
        assert (stem.user_id, stem.device_id, stem.left_by) == (aaron.user_id, "Chrome", LeftBy.LEFT)
        assert stem.received >= 1.5 * RATE
