"""The connection to LiveKit's own server, with participants of LiveKit's Go SDK: `make test-calls`."""

import asyncio
import base64
import itertools
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bot.calls.media.door import Refused
from bot.calls.media.livekit.sfu import LiveKitSfu
from bot.demo.slicing import speech
from storage.records import SAMPLE_RATE, Samples
from tests.calls_clients import sfu as built
from tests.calls_clients.sfu import LiveKitServer, livekit_server
from tests.calls_clients.speakers import MediaKey, Speakers, Spoken, sound
from tests.livekit.ear import SfuEar

pytestmark = pytest.mark.calls

PACKET = 960
ROOM = "call"
BOT, ANNA, BERT = "@bot:hs:BOT", "@anna:hs:A", "@bert:hs:B"
SPEECH = list(dict.fromkeys(speech(1)[:1000]))  # each packet once, so that its place is known

log = logging.getLogger(__name__)


class Lab:
    """A room of LiveKit's server, and connections to it that are closed at the end."""

    def __init__(self, server: LiveKitServer, speakers: Speakers, directory: Path, stack: AsyncExitStack) -> None:
        self.server, self.speakers, self._stack = server, speakers, stack
        self._sound = sound(SPEECH, directory / "speech.packets")
        self.began = time.time()

    def clock(self) -> Samples:
        return Samples(int((time.time() - self.began) * SAMPLE_RATE))

    def token(self, identity: str, life_s: int = 3600) -> str:
        return self.server.keys.sign({"room": ROOM, "roomJoin": True}, identity, life_s)

    async def speaker(self, identity: str, key: MediaKey | None = None, *, silent: bool = False) -> None:
        answer = {"url": self.server.address, "jwt": self.token(identity)}
        await self.speakers.join(identity, answer, None if silent else self._sound, key)

    async def join(self, *identities: str, encrypted: bool = False) -> tuple[LiveKitSfu, SfuEar]:
        ear = SfuEar()
        connection = LiveKitSfu(ear, self.clock, private=True, encrypted=encrypted)
        self._stack.push_async_callback(connection.close)
        connection.receive(identities)
        await connection.join(self.server.address, self.token(BOT))
        return connection, ear


@pytest.fixture
async def lab(speaking: Speakers, tmp_path: Path) -> AsyncIterator[Lab]:
    if not built.is_built():
        pytest.skip(built.MISSING)
    async with livekit_server(tmp_path / "sfu") as server, AsyncExitStack() as stack:
        await server.rooms.create(ROOM)
        yield Lab(server, speaking, tmp_path, stack)


def numbers(ear: SfuEar, identity: str) -> list[int]:
    """Return the number of each packet in the source, counted on through its repetitions."""
    found: list[int] = []
    for payload in ear.payloads(identity):
        number = SPEECH.index(payload)
        while found and number < found[-1]:
            number += len(SPEECH)
        found.append(number)
    return found


def gaps(ear: SfuEar, identity: str) -> int:
    """Return how many packets are missing between the first and the last."""
    found = numbers(ear, identity)
    return sum(after - before - 1 for before, after in itertools.pairwise(found))


def late_ms(lab: Lab, ear: SfuEar, identity: str, spoken: Spoken) -> list[float]:
    """Return how long after it was said each packet lies on the clock."""
    began = (spoken.began - lab.began) * SAMPLE_RATE
    found = zip(numbers(ear, identity), ear.sounds[identity], strict=True)
    return [(sound.at - began - number * PACKET) / 48 for number, sound in found]


def secret(key: MediaKey) -> bytes:
    return base64.b64decode(key.key + "==")


async def test_encrypted_sound_lies_where_it_was_said(lab: Lab) -> None:
    """Two encrypted speakers lie on the clock as they spoke, within some milliseconds; a key that changes in the middle
    costs no packet."""
    keys = {ANNA: MediaKey.new(), BERT: MediaKey.new()}
    for identity, key in keys.items():
        await lab.speaker(identity, key)
    connection, ear = await lab.join(ANNA, BERT, encrypted=True)
    connection.take_key(ANNA, 0, secret(keys[ANNA]))
    await ear.hears(ANNA, 100)
    assert BERT not in ear.sounds
    connection.take_key(BERT, 0, secret(keys[BERT]))
    another = MediaKey.new(1)
    connection.take_key(ANNA, 1, secret(another))
    await lab.speakers.use(ANNA, another)
    await ear.hears(ANNA, 300)
    spoken = {identity: await lab.speakers.leave(identity) for identity in (ANNA, BERT)}
    await ear.is_told(f"went {BERT}")
    late = {identity: late_ms(lab, ear, identity, spoken[identity]) for identity in spoken}
    log.info("late, ms: %s", {identity: (round(min(ms), 1), round(max(ms), 1)) for identity, ms in late.items()})
    assert gaps(ear, ANNA) == gaps(ear, BERT) == 0
    assert all(-5 < ms < 60 for each in late.values() for ms in each)
    assert abs(min(late[ANNA]) - min(late[BERT])) < 10
    assert not [told for told in ear.told if told.startswith(("no_key", "unencrypted"))]


async def test_a_short_break_costs_no_packet(lab: Lab) -> None:
    """When the WebSocket breaks the stay is resumed under the sound."""
    await lab.speaker(ANNA)
    connection, ear = await lab.join(ANNA)
    await ear.hears(ANNA, 50)
    assert connection._stay is not None
    before = connection._stay
    await before._signalling._socket.close()
    await ear.hears(ANNA, 400)
    assert gaps(ear, ANNA) == 0
    assert ear.told == ["joined", f"came {ANNA}", f"unmuted {ANNA}"]
    assert connection._stay is before
    await lab.speakers.mute(ANNA, muted=True)
    await ear.is_told(f"muted {ANNA}")


async def test_a_server_that_is_started_again(lab: Lab) -> None:
    """After a crash of the server its room is joined again, with the participants who are there then."""
    await lab.speaker(ANNA)
    _, ear = await lab.join(ANNA, BERT)
    await ear.hears(ANNA, 10)
    await lab.server.kill()
    await lab.server.start()
    await lab.server.rooms.create(ROOM)
    await lab.speaker(BERT)
    await ear.hears(BERT, 50)
    assert ear.told.count("joined") == 1
    assert not [told for told in ear.told if told.startswith("ended")]


async def test_being_put_out(lab: Lab) -> None:
    """A moderator's removal and another connection with our identity end the connection, by their names."""
    _, ear = await lab.join()
    _, other = await lab.join()
    await ear.is_told("ended duplicate")
    await lab.server.rooms.remove(ROOM, BOT)
    await other.is_told("ended removed")


async def test_tokens_that_are_refused(lab: Lab) -> None:
    """A token that has run out, or is for a room that is not open, is refused."""
    connection = LiveKitSfu(SfuEar(), lab.clock, private=True, encrypted=False)
    with pytest.raises(Refused, match="refused"):
        await connection.join(lab.server.address, lab.token(BOT, -3600))
    token = lab.server.keys.sign({"room": "elsewhere", "roomJoin": True}, BOT)
    with pytest.raises(Refused, match="refused"):
        await connection.join(lab.server.address, token)


async def test_fifty_participants_of_whom_five_speak(lab: Lab) -> None:
    """A room of fifty is joined within two seconds, and everybody who speaks is heard without a gap."""
    speaking = [f"@speaker{number}:hs:D" for number in range(5)]
    quiet = [f"@quiet{number}:hs:D" for number in range(45)]
    for identity in quiet:
        await lab.speaker(identity, silent=True)
    for identity in speaking:
        await lab.speaker(identity)
    began = time.monotonic()
    _, ear = await lab.join(*speaking, *quiet)
    joined_s = time.monotonic() - began
    await asyncio.gather(*(ear.hears(identity, 1) for identity in speaking))
    heard_s = time.monotonic() - began
    cpu, wall = time.process_time(), time.monotonic()
    lags = []
    while time.monotonic() - wall < 10:
        before = time.monotonic()
        await asyncio.sleep(0.01)
        lags.append(time.monotonic() - before - 0.01)
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    log.info("joined %.2f s, heard %.2f s, CPU %.3f, lag %.1f ms", joined_s, heard_s, cpu / wall, max(lags) * 1000)
    assert joined_s < 2
    assert [gaps(ear, identity) for identity in speaking] == [0] * 5
    assert ear.told.count(f"came {quiet[0]}") == 1
    assert len([told for told in ear.told if told.startswith("came")]) == 50


async def test_our_track_is_heard(lab: Lab) -> None:
    """Our microphone is published muted and encrypted, and another client receives the beep."""
    connection, _ = await lab.join(encrypted=True)
    connection.use_own_key(0, b"k" * 16)
    async with asyncio.timeout(60):
        while not (tracks := (await lab.server.rooms.participants(ROOM))[0].get("tracks")):  # noqa: ASYNC110 (the server)
            await asyncio.sleep(0.05)
    assert [(track["source"], track["muted"], track["encryption"]) for track in tracks] == [("MICROPHONE", True, "GCM")]
    ear = SfuEar()
    other = LiveKitSfu(ear, lab.clock, private=True, encrypted=True)
    other.receive({BOT})
    other.take_key(BOT, 0, b"k" * 16)
    await other.join(lab.server.address, lab.token(ANNA))
    connection.beep()
    await ear.is_told(f"unmuted {BOT}")
    await ear.hears(BOT, 25)
    await ear.is_told(f"muted {BOT}", 2)
    await other.close()


async def test_lost_packets_come_again(lab: Lab) -> None:
    """Packets that are lost on the way from the server are sent again, in time for their places."""
    await lab.speaker(ANNA)
    connection, ear = await lab.join(ANNA)
    await ear.hears(ANNA, 10)
    assert connection._stay is not None
    transport = connection._stay._subscriber._transport
    admits, counted = transport._admits, itertools.count()
    transport._admits = lambda datagram: next(counted) % 10 != 0 and admits(datagram)
    await ear.hears(ANNA, 300)
    assert gaps(ear, ANNA) == 0
    assert sum(packet.lost_before for packet in ear.sounds[ANNA]) == 0
