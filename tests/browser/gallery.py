"""A store with all that pages can show, behind the real server: long, right-to-left and nameless names, a broadcast on
the air, calls, sessions, incomplete recordings, a long archive.

    .venv/bin/python -m tests.browser.gallery 8099

serves it until it is stopped, and writes its addresses.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from bot.audio.peaks import Pcm
from bot.audio.waveform import peaks
from bot.demo import demo
from storage import archive, rooms, tracks
from storage.records import (
    SAMPLE_RATE,
    BlobKey,
    CallProtocol,
    ChunkState,
    Container,
    Credit,
    Cut,
    DurationMs,
    Episode,
    LeftBy,
    Loss,
    Mark,
    PodcastTexts,
    Position,
    Recording,
    RecordingKind,
    RecordingState,
    Room,
    RoomId,
    Samples,
    Stem,
    Track,
    Turn,
    UserId,
    Visibility,
    to_samples,
)
from tests.blobs import add_bytes
from tests.factories import a_room
from tests.web.on_the_air import FRAME_BYTES, Broadcast
from tests.web.studio import speaking_room, studio_in
from tests.web.world import ALICE, World, world_of

SPEECH = Path(demo.__file__).parent / "speech"
ANN, BEN, NOA = UserId("@user0:hs"), UserId("@user1:hs"), UserId("@user2:hs")  # as a session numbers them
USERS = {"Ann": ANN, "Ben Okafor": BEN, "Noa Levi": NOA, "Alice": ALICE}
MINUTE = 60 * SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Gallery:
    """The addresses of the pages, each below the server's."""

    room: str  # with a broadcast on the air, and an archive of several pages
    quiet: str  # of one short episode
    right_to_left: str
    empty: str
    personal: str
    live: str
    broadcast: str
    incomplete: str
    call: str
    session: str
    studio: str  # nobody has begun there, as in the next two
    studio_dark: str
    studio_phone: str

    def addresses(self) -> dict[str, str]:
        return {"home": "/", **{name: getattr(self, name) for name in self.__slots__}}


async def fill(world: World) -> Gallery:
    """Fill the store."""
    now = datetime.now(UTC).replace(microsecond=0)
    world.clock.now = now
    radio = await _room(world, "Kitchen Radio", RADIO, "kitchen")
    long, incomplete, call, session = await _radio(world, radio, now)
    live = await _live(world, radio, now)
    quiet = await _room(world, "Allotment notes", "Seeds, slugs and the weather.", "allotment3")
    await _episode(world, await _recording(world, quiet, now - timedelta(days=40), "Hana", title="Slugs"), 241)
    hebrew = await _room(world, "רדיו השכונה", "כל מה שקורה בשכונה.\nבכל יום שלישי.", "shkhuna")
    for days, title, name in ((2, "שוק הירקות בבוקר", "נועה כהן"), (9, None, "נועה כהן"), (16, "Market day", "عمر")):
        recording = await _recording(world, hebrew, now - timedelta(days=days), name, title=title)
        await _episode(world, recording, 900 + days)
    japanese = await _room(world, "夜の図書館ラジオ", "本を読む声。", "toshokan2")
    await _episode(
        world, await _recording(world, japanese, now - timedelta(days=5), "さくら", title="雨の日の短編"), 1804
    )
    long_name = "The Society for the Preservation of Extraordinarily Long Names of Rooms and Everything Around Them"
    society = await _room(world, long_name, LONG_TOPIC, "society5")
    guests = [f"Wolfeschlegelsteinhausenbergerdorff {letter}." for letter in "ABCD"]
    meeting = await world.session(society, *guests, started_at=now - timedelta(days=12), title=LONG_TOPIC)
    await _episode(world, meeting, 5400)
    empty = await _room(world, "Just made", None, "justmade")
    personal = await _personal(world, now)
    speaking = await speaking_room(world, key="studio12")
    await world.state(speaking, "m.room.create", {"room_version": "11"})
    desks = [(await studio_in(world.store, speaking.room_id, now=now))[1] for _ in range(3)]
    return Gallery(
        room=f"/r/{radio.key}/",
        quiet=f"/r/{quiet.key}/",
        right_to_left=f"/r/{hebrew.key}/",
        empty=f"/r/{empty.key}/",
        personal=personal,
        live=f"/r/{radio.key}/{live.code}",
        broadcast=f"/r/{radio.key}/{long.code}",
        incomplete=f"/r/{radio.key}/{incomplete.code}",
        call=f"/r/{radio.key}/{call.code}",
        session=f"/r/{radio.key}/{session.code}",
        studio=f"/studio/{desks[0]}/",
        studio_dark=f"/studio/{desks[1]}/",
        studio_phone=f"/studio/{desks[2]}/",
    )


RADIO = """Voices from the shared kitchen of Lindenstrasse 12.

Bread, soup, and what the neighbours said. Every Thursday evening, and whenever the oven is on."""
LONG_TOPIC = "Minutes of the meeting in which nothing was decided but everything was said " * 4
TALES = (
    ("What the baker does at four in the morning", "Ann"),
    ("A short history of the dishwasher", "Ben Okafor"),
    (None, "Ann"),
    ("Sourdough, again", "Ann"),
    (None, "Žofie Dvořáková"),
    ("The night the oven stayed on", "Noa Levi"),
    ("Letters to the landlord, read aloud", "Ben Okafor"),
    ("Soup for forty", "Ann"),
)
NOTES = """Ann walks over to the bakery while it is still dark.

We talk about steam, about the machine that everybody is afraid of,
and about the rye that nobody buys.

Recipe: https://example.org/rye"""


async def _radio(world: World, room: Room, now: datetime) -> tuple[Recording, Recording, Recording, Recording]:
    """Fill the room with an archive of three years, and one of each kind of recording at its top."""
    for number in range(130, 8, -1):
        title, name = TALES[number % len(TALES)]
        began = now - timedelta(days=8.3 * number, hours=number % 5, minutes=7 * number % 60)
        named = f"{title}, part {number // 8 + 1}" if title else None
        recording = await _recording(world, room, began, name, title=named)
        await _episode(world, recording, 400 + 77 * (number % 40))
    session = await world.session(room, "Ann", "Ben Okafor", "Noa Levi", "Ann", started_at=now - timedelta(days=25))
    chapters = tuple(Mark(DurationMs(61_000 * i), who) for i, who in enumerate(("Ann", "Ben Okafor", "Noa Levi")))
    await _episode(world, session, 243, chapters=chapters)
    call = await _call(world, room, now - timedelta(days=11))
    incomplete = await _recording(
        world, room, now - timedelta(days=4), "Noa Levi", title="The harvest", state=RecordingState.INCOMPLETE
    )
    for sequence, state in enumerate(("stored", "missing", "stored", "waiting_for_key", "stored"), 1):
        await world.chunk(incomplete, sequence, ChunkState(state), seconds=20)
    lost = ((to_samples(20_000), to_samples(20_000)), (to_samples(60_000), to_samples(20_000)))
    await _episode(world, incomplete, 100, loss=Loss(to_samples(40_000), 2, lost))
    title, _ = TALES[0]
    long = await _recording(world, room, now - timedelta(days=1, hours=3), "Ann", title=title, description=NOTES)
    for sequence in range(1, 4):
        await world.chunk(long, sequence, ChunkState.STORED)
    names = ("Hello", "The steam", "What rye is for", "Questions", "Good morning")
    marks = tuple(Mark(DurationMs(40_000 * number), name) for number, name in enumerate(names))
    await _episode(world, long, 212, chapters=marks)
    return long, incomplete, call, session


async def _call(world: World, room: Room, began: datetime) -> Recording:
    """Add a call of three, with their stems."""
    people = ((ANN, "Ann", 0), (BEN, "Ben Okafor", 4), (NOA, "נועה כהן", 40))
    data = (SPEECH / "part1.ogg").read_bytes()
    blob = _blob(world, data)
    stems = tuple(
        Stem(number, user, "DEV", name, Samples(at * SAMPLE_RATE), Position(1), number, Samples(3 * MINUTE))
        for number, (user, name, at) in enumerate(people, 1)
    )
    stems = tuple(
        replace(stem, left_by=LeftBy.LEFT, blob=blob, bytes=len(data), received=Samples(2 * MINUTE)) for stem in stems
    )
    said = ((0, 0, 30), (1, 32, 25), (0, 60, 18), (2, 80, 45), (1, 128, 20), (2, 150, 28))
    turns = tuple(Turn(*people[who][:2], Samples(at * SAMPLE_RATE), Samples(s * SAMPLE_RATE)) for who, at, s in said)
    heard = tuple(Credit(user, name, Samples(MINUTE)) for user, name, _ in people)
    about = {"kind": RecordingKind.CALL, "protocol": CallProtocol.MSC3401, "stems": stems, "turns": turns}
    call = await _recording(world, room, began, "Ann", speakers=heard, **about)
    chapters = tuple(Mark(DurationMs(turn.at * 1000 // SAMPLE_RATE), str(turn.name)) for turn in turns)
    await _episode(world, call, 180, chapters=chapters)
    return call


async def _live(world: World, room: Room, now: datetime) -> Recording:
    """Put a broadcast on the air that has run for some minutes."""
    began = now - timedelta(minutes=4)
    about = {"title": "Live from the flea market", "state": RecordingState.LIVE}
    recording = await _recording(world, room, began, "Noa Levi", **about)
    on_the_air = Broadcast(world, recording)
    frames = speech(240)
    for start in range(0, len(frames), 1250 * FRAME_BYTES):
        part = frames[start : start + 1250 * FRAME_BYTES]
        await on_the_air.speak(len(part) // FRAME_BYTES, part)
    return recording


async def _personal(world: World, now: datetime) -> str:
    """Make a private room with a listener and an episode that waits for approval; return the listener's page."""
    room = await _room(world, "Family table", "Only for us.", "family12", Visibility.PRIVATE)
    await world.member(room, ALICE)
    for days, title in ((3, "Grandmother tells of the flood"), (31, None)):
        await _episode(world, await _recording(world, room, now - timedelta(days=days), "Opa", title=title), 1234)
    waiting = await _recording(world, room, now - timedelta(hours=5), "Alice", unreviewed=True)
    await _episode(world, waiting, 75)
    return f"/p/{await world.listener(room, ALICE)}/"


async def _room(
    world: World, name: str, topic: str | None, key: str, visibility: Visibility = Visibility.PUBLIC
) -> Room:
    world.events += 1
    at = datetime.now(UTC) - timedelta(days=1500)
    room = a_room(RoomId(f"!{key}:hs"), at=at, key=key, visibility=visibility, podcast=PodcastTexts())
    async with world.store.write() as db:
        await rooms.save_room(db, room)
    await world.state(room, "m.room.name", {"name": name})
    if topic is not None:
        await world.state(room, "m.room.topic", {"topic": topic})
    return room


async def _recording(world: World, room: Room, began: datetime, name: str, **changes: Any) -> Recording:
    user = USERS.get(name) or UserId(f"@{sha256(name.encode()).hexdigest()[:8]}:hs")
    about = {"started_at": began, "heard_at": began, "broadcaster": user, "broadcaster_name": name}
    return await world.recording(room, **(about | changes))


async def _episode(world: World, recording: Recording, seconds: int, **changes: Any) -> Episode:
    """Make the episode of a recording: real speech, with its waveform."""
    shown = min(seconds, 240)
    episode = await world.episode(recording, speech(shown), samples=to_samples(seconds * 1000), **changes)
    cut = Cut(0, "0" * 64, Samples(seconds * SAMPLE_RATE), episode.blob, Container.WAV, False)
    row = waveform(shown) * (seconds // shown + 1)
    async with world.store.write() as db:
        await tracks.save(db, Track(recording.id, 1, 64, -16.0, None, 0))
        await tracks.add_cuts(db, recording.id, [cut])
        await tracks.decide(db, recording.id, [(replace(cut, gains=b"\0\0"), row[: seconds * 100])])
        await archive.save_episode(db, replace(episode, made_at=recording.started_at, bytes=episode.bytes))
    return episode


def _blob(world: World, data: bytes) -> BlobKey:
    blob = BlobKey(sha256(data).hexdigest())
    add_bytes(world.store, data, blob)
    return blob


@cache
def speech(seconds: int) -> bytes:
    """Return so many seconds of speech, as MP3 frames of 64 kbit/s without a tag."""
    output = ("-t", str(seconds), "-ac", "1", "-ar", "48000", "-b:a", "64k", "-reservoir", "0")
    bare = ("-write_xing", "0", "-id3v2_version", "0", "-f", "mp3", "-")
    return _ffmpeg([*output, *bare])


@cache
def waveform(seconds: int) -> bytes:
    """Return the peaks of that speech."""
    sound = _ffmpeg(["-t", str(seconds), "-ac", "1", "-ar", "48000", "-f", "f32le", "-"])
    pcm: Pcm = np.frombuffer(sound, np.float32).reshape(-1, 1)
    return peaks(pcm)


def _ffmpeg(output: Sequence[str]) -> bytes:
    sources = ("-stream_loop", "-1", "-i", str(SPEECH / "part1.ogg"))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *sources, *output]
    return subprocess.run(command, capture_output=True, check=True).stdout


async def _serve(port: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with world_of(Path(folder) / "data", web={"port": port}) as (world, _client):
            gallery = await fill(world)
            for name, address in gallery.addresses().items():
                sys.stdout.write(f"{name}\t{world.server.address}{address}\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
