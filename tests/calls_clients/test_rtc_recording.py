"""Calls by MatrixRTC whose members speak by LiveKit's Go SDK, recorded by the whole bot: `make test-calls`.

Each packet carries its number, so that stems are compared with what was said to the sample.
"""

import io
import logging
import signal
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.app import Aircheck
from bot.audio.ogg import ENDS, PacketReader, read_pages
from bot.demo.people import Person
from bot.demo.slicing import speech
from bot.event_types import CALL_MEMBER, RTC_MEMBER
from storage import archive, calls
from storage.records import SAMPLE_RATE, CallEventKind, Json, LeftBy, Recording, RecordingState, Stem
from storage.store import Store
from tests.blobs import folder_of
from tests.calls.peers import PACKET, numbered
from tests.calls_clients.backend import Backend
from tests.calls_clients.members import Member
from tests.calls_clients.speakers import Speakers, Spoken, sound
from tests.calls_clients.test_group_calls import finished, heard_in, listed, room_with_calls
from tests.lab import People, RtcHomeserver
from tests.line.conftest import Worlds
from tests.line.test_calls import on_the_disk
from tests.line.test_process import process, recordings
from tests.line.world import World, until

pytestmark = pytest.mark.calls

log = logging.getLogger(__name__)

WINDOW = 3 * SAMPLE_RATE
PLACE_MS = 2.0
SPOKEN_S = 4
JOINED_S = 120.0
GHOST_S = 62.0  # a minute, and the homeserver's own time
LAG_MS = 20.0  # between two speakers; the benchmark measures it


@pytest.fixture
def world(rtc_homeserver: RtcHomeserver, tmp_path: Path) -> Worlds:
    return Worlds(rtc_homeserver, tmp_path)


@pytest.fixture
def said(tmp_path: Path) -> Path:
    """Half a minute of speech in packets with numbers."""
    return sound(numbered(speech(1)[:1500]), tmp_path / "said.packets")


Listener = tuple[str, str]


async def shown(bot: World, member: Member, wait_s: float, *, present: bool = True) -> Json:
    """Wait until the bot's entry in the call of a member is new: there, or gone; return what it says."""
    kind = RTC_MEMBER if member.sticky else CALL_MEMBER
    found = await member.person.wait_for(
        lambda event: (
            (event.room_id, event.type, event.sender, bool(event.content)) == (member.room, kind, bot.user_id, present)
        ),
        wait_s,
    )
    return found.content


async def give_keys(bot: World, members: Sequence[Member]) -> Listener:
    """Give the bot the keys of members once it is in their call; return its user and its device."""
    entry = await shown(bot, members[0], JOINED_S)
    listener = bot.user_id, str((entry["member"] if members[0].sticky else entry)["device_id"])
    for member in members:
        if member.key is not None:
            await member.share_key([listener])
    return listener


async def enter(bot: World, members: Sequence[Member], said: Path) -> Listener:
    """Have members speak in the call, and give the bot their keys; return its user and its device."""
    for member in members:
        await member.enter(said)
    return await give_keys(bot, members)


def places(aircheck: Aircheck, stem: Stem) -> dict[int, int]:
    """Return the place on the clock of the call of each packet of a stem, by the number that was said."""
    assert stem.blob is not None
    reader, found, end = PacketReader(), {}, 0
    for page in read_pages(io.BytesIO(folder_of(aircheck.store).read(stem.blob))):
        packets = reader.feed(page)
        # The last page ends where its member left. Any other ends with its last packet, and begins with a hole, if any.
        begin = end if page.flags & ENDS else page.granule - len(packets) * PACKET
        for place, packet in enumerate(packets):
            if packet[1:3] == b"\x41\x04":
                found[int.from_bytes(packet[-4:])] = stem.joined + begin + place * PACKET
        end = page.granule
    return found


def errors_ms(found: Mapping[int, int], spoken: Spoken) -> list[float]:
    """Return for each 3 s of a speaker when their sound lies on the clock of the call, less when it was spoken."""
    windows = defaultdict(list)
    for number, at in found.items():
        windows[number * PACKET // WINDOW].append(1000 * (at - number * PACKET) / SAMPLE_RATE)
    return [statistics.median(each) - 1000 * spoken.began for each in windows.values()]


def stems_of(recording: Recording, person: Person) -> list[Stem]:
    return [stem for stem in recording.stems if stem.user_id == person.user_id]


def assert_no_packet_is_missing(found: Mapping[int, int]) -> None:
    """Check that all packets between the first and the last of a stem are there."""
    assert sorted(found) == list(range(min(found), max(found) + 1))


def assert_whole_and_in_place(aircheck: Aircheck, recording: Recording, spoken: Mapping[Person, Spoken]) -> None:
    """Check that no packet is missing from the first that was heard on, and that each lies where it was spoken."""
    all_errors = []
    for person, told in spoken.items():
        [stem] = stems_of(recording, person)
        found = places(aircheck, stem)
        assert_no_packet_is_missing(found)
        errors = errors_ms(found, told)
        assert max(errors) - min(errors) <= PLACE_MS
        all_errors.append(statistics.median(errors))
    assert max(all_errors) - min(all_errors) <= LAG_MS


@pytest.mark.parametrize(
    ("encrypted", "sticky"),
    [(True, False), (True, True), (False, False)],
    ids=["compatibility", "matrix-2.0", "plain"],
)
async def test_each_speaker_has_a_stem_in_its_place(
    rtc: Backend, world: Worlds, rtc_person: People, speaking: Speakers, said: Path, *, encrypted: bool, sticky: bool
) -> None:
    """Two members speak, one changes the key in the middle: no packet is lost, and each lies where it was spoken."""
    bot = await world(calls={"empty_s": 1})
    ann, ben = await rtc_person("ann"), await rtc_person("ben")
    where = rtc.homeserver.service_url
    async with bot.running() as aircheck:
        room = await room_with_calls(bot, ann, ben, encrypted=encrypted)
        members = [Member(each, room, where, speaking, encrypts=encrypted, sticky=sticky) for each in (ann, ben)]
        listener = await enter(bot, members, said)
        await heard_in(aircheck.store, stems=2, windows=1)
        if encrypted:
            await members[0].rotate([listener])
        running = await heard_in(aircheck.store, stems=2, windows=2)
        spoken = {member.person: await member.leave() for member in members}
        left = time.monotonic()
        recording = await finished(aircheck.store, running)
        log.info("from the last one's leaving to the episode: %.1f s", time.monotonic() - left)
        assert recording.state is RecordingState.COMPLETE
        assert {stem.left_by for stem in recording.stems} == {LeftBy.LEFT}
        assert_whole_and_in_place(aircheck, recording, spoken)


@pytest.mark.parametrize("refused", [False, True], ids=["federated", "refused"])
async def test_members_of_two_homeservers_speak_at_two_sfus(
    rtc: Backend,
    far_rtc: Backend,
    world: Worlds,
    rtc_person: People,
    far_person: People,
    speaking: Speakers,
    said: Path,
    *,
    refused: bool,
) -> None:
    """The bot listens at the SFU of each member, at the other homeserver's as a guest. Where that gives it no token,
    its member is listed as unreachable, and the other is recorded to the end."""
    bot = await world(calls={"empty_s": 1})
    ann, far = await rtc_person("ann"), await far_person("far")
    if refused:
        far_rtc.tokens.refused.add(rtc.homeserver.server_name)
    async with bot.running() as aircheck:
        room = await room_with_calls(bot, ann, far, encrypted=True)
        services = [(ann, rtc.homeserver.service_url), (far, far_rtc.homeserver.service_url)]
        members = [Member(who, room, where, speaking, encrypts=True) for who, where in services]
        await enter(bot, members, said)
        running = await heard_in(aircheck.store, stems=1 if refused else 2, windows=2)
        if refused:
            await listed(aircheck.store, running, far.user_id, CallEventKind.UNREACHABLE)
        spoken = {member.person: await member.leave() for member in members}
        recording = await finished(aircheck.store, running)
        async with aircheck.store.read() as db:
            events = await calls.events(db, recording.id)
        unreachable = {event.user_id for event in events if event.what is CallEventKind.UNREACHABLE}
        assert unreachable == ({far.user_id} if refused else set())
        assert_whole_and_in_place(aircheck, recording, {ann: spoken[ann]} if refused else spoken)
        assert {given.user_id for given in far_rtc.tokens.given} == {far.user_id, *([] if refused else [bot.user_id])}


async def test_a_recording_goes_on_after_restarts_of_the_sfu(
    rtc: Backend, world: Worlds, rtc_person: People, speaking: Speakers, said: Path
) -> None:
    """An SFU stops, and later crashes; its members join it anew. The recording of both goes on, and is one."""
    bot = await world(calls={"empty_s": 5})
    ann, ben = await rtc_person("ann"), await rtc_person("ben")
    where = rtc.homeserver.service_url
    async with bot.running() as aircheck:
        room = await room_with_calls(bot, ann, ben, encrypted=True)
        members = [Member(each, room, where, speaking, encrypts=True) for each in (ann, ben)]
        await enter(bot, members, said)
        running = await heard_in(aircheck.store, stems=2, windows=1)
        for end in (rtc.sfu.stop, rtc.sfu.kill):
            await end()
            await rtc.sfu.start()
            for member in members:
                await member.rejoin(said)
            await goes_on(aircheck.store, running, (ann, ben))
        for member in members:
            await member.leave()
        recording = await finished(aircheck.store, running)
        assert {stems_of(recording, person)[-1].left_by for person in (ann, ben)} == {LeftBy.LEFT}


async def goes_on(store: Store, recording: Recording, people: Sequence[Person]) -> None:
    """Wait until a recording has new sound of each of these people."""

    async def slices() -> Counter[str]:
        async with store.read() as db:
            now = await archive.recording(db, recording.id)
            chunks = await archive.chunks(db, recording.id)
        assert now is not None
        users = {stem.number: stem.user_id for stem in now.stems}
        return Counter(users[chunk.stem] for chunk in chunks if chunk.stem is not None)

    before = await slices()

    async def check() -> bool | None:
        now = await slices()
        # The first was begun before.
        return all(now[person.user_id] >= before[person.user_id] + 2 for person in people) or None

    await until(store, check, 90)


async def test_after_a_crash_the_bot_is_no_ghost_and_goes_on_with_the_recording(
    rtc: Backend, world: Worlds, rtc_person: People, speaking: Speakers, said: Path, tmp_path: Path
) -> None:
    """A minute after a kill -9 nobody sees the bot in the call any more. Its next start enters it again, in the same
    recording, and the time between is a gap."""
    bot, told = await world(calls={"empty_s": 1}), tmp_path / "log"
    ann, ben = await rtc_person("ann"), await rtc_person("ben")
    async with process(bot, told) as running:
        room = await room_with_calls(bot, ann, ben, encrypted=True)
        member = Member(ann, room, rtc.homeserver.service_url, speaking, encrypts=True)
        await enter(bot, [member], said)
        await on_the_disk(bot, 1, SPOKEN_S)
        await running.end(signal.SIGKILL)
        await shown(bot, member, GHOST_S, present=False)
        await member.rejoin(said)
        await running.start()
        await give_keys(bot, [member])
        await on_the_disk(bot, 2, SPOKEN_S)
        await member.leave()
        await ann.wait_for(lambda event: event.is_notice_of(bot.user_id) and "is ready" in event.body, 60)
        [found] = await recordings(bot, told)
    stems: Any = found["stems"]
    gaps: Any = found["gaps"]
    assert (found["state"], found["ended_by"], found["protocol"]) == ("incomplete", "stopped", "matrixrtc")
    assert [(stem["user_id"], stem["left_by"]) for stem in stems] == [(ann.user_id, "lost"), (ann.user_id, "left")]
    assert [(gap["position_ms"], gap["reason"]) for gap in gaps] == [(stems[0]["left_ms"], "away")]
    assert all(stem["received_ms"] >= 1500 for stem in stems)
