"""Calls of Element Call (MatrixRTC) with real clients, through LiveKit's server: `make test-calls` installs them.

Browsers show what clients do and see. Where a call is large, or has to be exact, LiveKit's Go SDK speaks for members.
"""

from pathlib import Path

import pytest

from bot.app import Aircheck
from bot.demo.slicing import speech
from storage import archive, calls
from storage.records import CallEventKind, CallProtocol, EndedBy, LeftBy, Recording, RecordingState, Stem
from tests.blobs import folder_of
from tests.calls_clients.backend import Backend
from tests.calls_clients.members import Member
from tests.calls_clients.rtc_callers import element_callers, open_members, rtc_callers
from tests.calls_clients.sounds import SECONDS, SURE, alignment, likeness, microphone
from tests.calls_clients.speakers import Speakers, sound
from tests.calls_clients.test_group_calls import finished, heard_in, listed, room_with_calls
from tests.lab import People, decode
from tests.line.conftest import Worlds
from tests.line.world import until, welcome

pytestmark = pytest.mark.calls

APART_MS = 40
"""The most by which a window of a stem is out of its place. Chromium on a busy machine plays its file unevenly."""


@pytest.fixture
def world(rtc: Backend, tmp_path: Path) -> Worlds:
    return Worlds(rtc.homeserver, tmp_path)


@pytest.mark.parametrize(
    ("mode", "encrypted"),
    [("compatibility", True), ("compatibility", False), ("matrix_2_0", True), ("legacy", True)],
    ids=["compatibility", "plain", "matrix-2.0", "legacy"],
)
async def test_a_call_becomes_an_episode_with_a_stem_for_each_speaker(
    rtc: Backend, world: Worlds, rtc_person: People, tmp_path: Path, *, mode: str, encrypted: bool
) -> None:
    """Two members call in browsers, and see the bot. A new key in the middle costs no sound; all is in its place."""
    bot = await world(calls={"empty_s": 1})
    ann, ben = await rtc_person("ann"), await rtc_person("ben")
    sounds = [("ann", ann, microphone(1, tmp_path / "ann.wav")), ("ben", ben, microphone(2, tmp_path / "ben.wav"))]
    async with bot.running() as aircheck, rtc_callers(tmp_path) as made:
        room = await room_with_calls(bot, ann, ben, encrypted=encrypted)
        await open_members(made, rtc.homeserver, sounds, room, encrypts=encrypted)
        for name in ("ann", "ben"):
            await made.do(name, "enter", mode=mode, raw=True)
            met = await made.do(name, "meet", userId=bot.user_id)
            assert met["name"] == (await ann.state(room, "m.room.member", bot.user_id))["displayname"]
        running = await heard_in(aircheck.store, stems=2, windows=1)
        if encrypted:
            await made.do("ann", "rotate")
        await heard_in(aircheck.store, stems=2, windows=2)
        told = await made.do("ann", "report")
        bot_identity = next(each["identity"] for each in told["members"] if each["userId"] == bot.user_id)
        assert bot_identity not in {each["identity"] for each in told["errors"]}
        for name in ("ben", "ann"):
            await made.do(name, "leave")
        recording = await finished(aircheck.store, running)
        assert (recording.protocol, recording.state) == (CallProtocol.MATRIXRTC, RecordingState.COMPLETE)
        assert recording.ended_by is EndedBy.STOPPED
        assert [stem.left_by for stem in recording.stems] == [LeftBy.LEFT, LeftBy.LEFT]
        for someone, part in ((ann, 1), (ben, 2)):
            (stem,) = stems_of(recording, someone.user_id)
            assert_is(aircheck, stem, part)
            assert CallEventKind.UNREADABLE not in await kinds(aircheck, recording, someone.user_id)
        await made.do("ann", "alone")


async def test_a_browser_mutes_leaves_comes_back_and_is_killed(
    rtc: Backend, world: Worlds, rtc_person: People, tmp_path: Path
) -> None:
    """Muting is listed; who comes back has another stem; that of a browser that dies ends, at the latest when the
    homeserver sends its delayed leaving."""
    bot = await world(calls={"empty_s": 1})
    ann, ben = await rtc_person("ann"), await rtc_person("ben")
    sounds = [("ann", ann, microphone(1, tmp_path / "ann.wav")), ("ben", ben, microphone(2, tmp_path / "ben.wav"))]
    async with bot.running() as aircheck, rtc_callers(tmp_path) as made:
        room = await room_with_calls(bot, ann, ben, encrypted=True)
        await open_members(made, rtc.homeserver, sounds, room, encrypts=True)
        for name in ("ann", "ben"):
            await made.do(name, "enter")
            await made.do(name, "meet", userId=bot.user_id)
        running = await heard_in(aircheck.store, stems=2, windows=1)
        await made.do("ben", "mute", muted=True)
        await listed(aircheck.store, running, ben.user_id, CallEventKind.MUTED)
        await made.do("ben", "mute", muted=False)
        await listed(aircheck.store, running, ben.user_id, CallEventKind.UNMUTED)
        await made.do("ben", "leave")
        await listed(aircheck.store, running, ben.user_id, CallEventKind.LEFT)
        await made.do("ben", "enter")
        await heard_in(aircheck.store, stems=3, windows=1)
        await made.do("ben", "kill")
        await gone(aircheck, running, ben.user_id)
        await made.do("ann", "leave")
        recording = await finished(aircheck.store, running)
        first, second = stems_of(recording, ben.user_id)
        assert first.left_by is LeftBy.LEFT
        assert second.left_by in (LeftBy.LEFT, LeftBy.LOST)
        assert [stem.left_by for stem in stems_of(recording, ann.user_id)] == [LeftBy.LEFT]
        for stem in (first, second):
            heard = decode(sound_of(aircheck, stem))[: stem.received]  # silent behind that, until they are gone
            assert likeness(heard, 2) > SURE


async def test_a_member_on_two_devices_has_two_stems(
    rtc: Backend, world: Worlds, rtc_person: People, tmp_path: Path
) -> None:
    """Each device is recorded apart, with its own key."""
    bot = await world(calls={"empty_s": 1})
    ann, ben = await rtc_person("ann"), await rtc_person("ben")
    one, two = microphone(1, tmp_path / "one.wav"), microphone(2, tmp_path / "two.wav")
    async with bot.running() as aircheck, rtc_callers(tmp_path) as made:
        room = await room_with_calls(bot, ann, ben, encrypted=True)
        await open_members(made, rtc.homeserver, [("laptop", ann, one), ("phone", ann, two)], room, encrypts=True)
        for name in ("laptop", "phone"):
            await made.do(name, "enter", raw=True)
            await made.do(name, "meet", userId=bot.user_id)
        running = await heard_in(aircheck.store, stems=2, windows=1)
        for name in ("phone", "laptop"):
            await made.do(name, "leave")
        recording = await finished(aircheck.store, running)
        laptop, phone = stems_of(recording, ann.user_id)
        assert laptop.device_id != phone.device_id
        assert_is(aircheck, laptop, 1)
        assert_is(aircheck, phone, 2)


async def test_members_at_two_sfus_are_in_one_recording(
    rtc: Backend, far_rtc: Backend, world: Worlds, rtc_person: People, far_person: People, tmp_path: Path
) -> None:
    """Each member sends to the SFU of their own homeserver, and the bot is connected to both."""
    bot = await world(calls={"empty_s": 1})
    ann, ben = await rtc_person("ann"), await far_person("ben")
    one, two = microphone(1, tmp_path / "ann.wav"), microphone(2, tmp_path / "ben.wav")
    async with bot.running() as aircheck, rtc_callers(tmp_path) as made:
        room = await room_with_calls(bot, ann, ben, encrypted=True)
        await open_members(made, rtc.homeserver, [("ann", ann, one)], room, encrypts=True)
        await open_members(made, far_rtc.homeserver, [("ben", ben, two)], room, encrypts=True)
        for name in ("ann", "ben"):
            await made.do(name, "enter", raw=True)
            await made.do(name, "meet", userId=bot.user_id)
        running = await heard_in(aircheck.store, stems=2, windows=1)
        for name in ("ben", "ann"):
            await made.do(name, "leave")
        recording = await finished(aircheck.store, running)
        assert recording.state is RecordingState.COMPLETE
        for someone, part in ((ann, 1), (ben, 2)):
            (stem,) = stems_of(recording, someone.user_id)
            assert_is(aircheck, stem, part)


@pytest.mark.parametrize(
    ("mode", "encrypted"),
    [("compatibility", True), ("compatibility", False), ("matrix_2_0", True)],
    ids=["compatibility", "plain", "matrix-2.0"],
)
async def test_element_call_is_recorded_and_shows_the_bot(
    rtc: Backend, world: Worlds, rtc_person: People, tmp_path: Path, *, mode: str, encrypted: bool
) -> None:
    """Element Call itself, as a client's widget, shows the bot among the participants; its sound is in a stem."""
    bot = await world(calls={"empty_s": 1})
    ann, ben = await rtc_person("ann"), await rtc_person("ben")
    sounds = [("ann", ann, microphone(1, tmp_path / "ann.wav")), ("ben", ben, microphone(2, tmp_path / "ben.wav"))]
    async with bot.running() as aircheck, element_callers(tmp_path) as elements:
        room = await room_with_calls(bot, ann, ben, encrypted=encrypted)
        await open_members(elements, rtc.homeserver, sounds, room, encrypts=encrypted)
        for name in ("ann", "ben"):
            await elements.do(name, "enter", mode=mode)
        for name in ("ann", "ben"):
            shown = (await elements.do(name, "meet", userId=bot.user_id))["shown"]
            assert "Waiting for media" not in shown
        running = await heard_in(aircheck.store, stems=2, windows=2)
        for name in ("ben", "ann"):
            await elements.do(name, "leave")
        recording = await finished(aircheck.store, running)
        assert recording.state is RecordingState.COMPLETE
        for someone, part in ((ann, 1), (ben, 2)):
            (stem,) = stems_of(recording, someone.user_id)
            pcm = decode(sound_of(aircheck, stem))
            assert likeness(pcm, part) > SURE
            assert likeness(pcm, 3 - part) < SURE


async def test_five_of_fifty_speak(
    rtc: Backend, world: Worlds, rtc_person: People, speaking: Speakers, tmp_path: Path
) -> None:
    """Five of the fifty members of a call speak, and each has a stem in which nothing is lost."""
    bot = await world(calls={"empty_s": 1})
    people = [await rtc_person(f"member{number}") for number in range(50)]
    voices = [sound(speech(part)[: 50 * SECONDS], tmp_path / f"{part}.packets") for part in (1, 2)]
    async with bot.running() as aircheck:
        room = await room_with_calls(bot, people[0], people[1], encrypted=False)
        for person in people[2:]:
            await welcome(person, people[0], room)
        members = [Member(each, room, rtc.homeserver.service_url, speaking, encrypts=False) for each in people]
        for number, member in enumerate(members):
            await member.enter(voices[number % 2] if number < 5 else None)
        running = await heard_in(aircheck.store, stems=5, windows=2)
        for member in members:
            await member.leave()
        recording = await finished(aircheck.store, running)
        assert recording.state is RecordingState.COMPLETE
        for number, person in enumerate(people[:5]):
            (stem,) = stems_of(recording, person.user_id)
            pcm, part = decode(sound_of(aircheck, stem)), 1 + number % 2
            assert likeness(pcm, part) > SURE > likeness(pcm, 3 - part)
            assert stem.lost == 0


def stems_of(recording: Recording, user_id: str) -> list[Stem]:
    return [stem for stem in recording.stems if stem.user_id == user_id]


def sound_of(aircheck: Aircheck, stem: Stem) -> bytes:
    assert stem.blob is not None
    return folder_of(aircheck.store).read(stem.blob)


def assert_is(aircheck: Aircheck, stem: Stem, part: int) -> None:
    """Assert that a stem is this source, each window of 3 s in its place, and none of it lost. A window in which the
    browser itself faltered is less like it."""
    found = alignment(decode(sound_of(aircheck, stem)), part)
    assert len(found.errors_ms) >= 2
    assert sorted(found.sure)[1] > SURE, found
    assert max(found.errors_ms) <= APART_MS, found
    assert stem.lost == 0


async def kinds(aircheck: Aircheck, recording: Recording, user_id: str) -> set[CallEventKind]:
    async with aircheck.store.read() as db:
        return {event.what for event in await calls.events(db, recording.id) if event.user_id == user_id}


async def gone(aircheck: Aircheck, running: Recording, user_id: str) -> None:
    """Wait until all stems of a member have ended."""

    async def check() -> bool | None:
        async with aircheck.store.read() as db:
            now = await archive.recording(db, running.id)
        assert now is not None
        return all(stem.left is not None for stem in stems_of(now, user_id)) or None

    await until(aircheck.store, check, 90)
