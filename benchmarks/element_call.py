"""Calls of Element Call (MatrixRTC) of 50, of whom 5 speak, through LiveKit's server; and steps of the machine.

The server and the speakers are processes of their own; all sound is encrypted. What a call costs behind the door of the
media, and how fast it becomes an episode, is the same for every kind of call: groups `stems` and `calls-finish`.
"""

import asyncio
import base64
import math
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import calls_finish
from benchmarks.calls_media import WINDOW_S, errors_ms
from benchmarks.figures import Figure, at_most
from benchmarks.finishing import Turns
from benchmarks.usage import cpu_seconds, memory_of
from bot import memory
from bot.calls.media.door import OpusPacket, Sfu, Sound
from bot.calls.media.rtc import RtcMedia
from bot.calls.model import Device, LegConnected, LegId, Receive, SessionEvent, SoundHeard
from bot.calls.session import machine
from bot.demo.slicing import speech
from storage.records import SAMPLE_RATE, Samples, UserId
from tests.calls.peers import PACKET, numbered, places
from tests.calls.session.stories import MATRIXRTC, NOW, at_sfu
from tests.calls_clients import speakers
from tests.calls_clients.sfu import LiveKitServer, is_built, livekit_server
from tests.calls_clients.speakers import MediaKey, Speakers, Spoken
from tests.world import world_of

PARTICIPANTS, SPEAKING = 50, 5
SECONDS = 30
SETTLED_S = 3.0
CPU_SHARE = 1.5  # % of a core, for each who speaks
PLACE_MS = 2.0
TURN_MS = 10.0
DEVICES = (50, 320)
ROOM, BOT = "benchmark", "@aircheck:hs:BOT"


@dataclass
class Hearing:
    """A listener that keeps what it is told of an SFU."""

    sounds: dict[str, list[OpusPacket]] = field(default_factory=lambda: defaultdict(list))
    here: set[str] = field(default_factory=set)
    unreadable_times: int = 0
    over: list[str] = field(default_factory=list)

    def joined(self) -> None: ...

    def came(self, identity: str) -> None:
        self.here.add(identity)

    def went(self, identity: str) -> None:
        self.here.discard(identity)

    def muted(self, identity: str, muted: bool) -> None: ...

    def heard(self, identity: str, sound: Sound) -> None:
        assert isinstance(sound, OpusPacket)
        self.sounds[identity].append(sound)

    def unreadable(self, identity: str, reason: str) -> None:
        self.unreadable_times += 1

    def ended(self, reason: str) -> None:
        self.over.append(reason)

    async def hears(self, everybody: Sequence[str]) -> None:
        """Wait until everybody is heard."""
        async with asyncio.timeout(30):
            while not all(len(self.sounds[each]) > 5 for each in everybody):
                assert not self.over, self.over
                await asyncio.sleep(0.05)


@dataclass
class Course:
    """A call: what was heard, what was said, and what it cost the bot."""

    hearing: Hearing
    spoken: dict[str, Spoken] = field(default_factory=dict)
    offset_s: float = 0.0  # of the clock of the call, in seconds since 1970
    cpu_share: float = 0.0  # % of a core
    turn_s: float = 0.0
    mib: float = 0.0


async def call(folder: Path) -> Course:
    """Let 50 be in a call, and 5 of them speak; each key is another one in the middle."""
    talking = [f"@speaker{number}:hs:DEV" for number in range(SPEAKING)]
    silent = [f"@listener{number}:hs:DEV" for number in range(PARTICIPANTS - SPEAKING)]
    keys = {name: MediaKey.new() for name in talking}
    packets = numbered(speech(1) * math.ceil((SECONDS + 60) / 25))
    sound = await asyncio.to_thread(speakers.sound, packets, folder / "sound")
    async with livekit_server(folder / "sfu") as server, speakers.speakers(folder) as voices:
        await server.rooms.create(ROOM)
        for name in silent:
            await voices.join(name, _answer(server, name), None)
        media, hearing, began = RtcMedia(private=True), Hearing(), time.monotonic()
        course = Course(hearing, offset_s=time.time())
        sfu: Sfu = media.sfu(
            hearing, lambda: Samples(int((time.monotonic() - began) * SAMPLE_RATE)), encrypted=True, private=True
        )
        sfu.use_own_key(0, bytes(16))
        for name, key in keys.items():
            sfu.take_key(name, key.index, _raw(key))
        sfu.receive([*talking, *silent])
        turns = Turns()
        watching = asyncio.ensure_future(turns.watch())
        answer = _answer(server, BOT)
        await sfu.join(answer["url"], answer["jwt"])
        for name in talking:
            await voices.join(name, _answer(server, name), sound, keys[name])
        await hearing.hears(talking)
        await asyncio.sleep(SETTLED_S)
        watching.cancel()
        course.turn_s = turns.longest_s
        await _measure(course, sfu, voices, keys)
        course.spoken = {name: await voices.leave(name) for name in talking}
        await sfu.close()
        await media.close()
    return course


async def _measure(course: Course, sfu: Sfu, voices: Speakers, keys: dict[str, MediaKey]) -> None:
    memory.keep_what_is_there()  # as `aircheck run` does
    cpu = cpu_seconds()
    await asyncio.sleep(SECONDS / 2)
    for name in keys:
        key = MediaKey.new(1)
        sfu.take_key(name, key.index, _raw(key))
        await voices.use(name, key)
    await asyncio.sleep(SECONDS / 2)
    course.cpu_share = 100 * (cpu_seconds() - cpu) / SECONDS
    course.mib = memory_of("self", "VmRSS")


def _answer(server: LiveKitServer, identity: str) -> dict[str, str]:
    grants = {"room": ROOM, "roomJoin": True, "canPublish": True, "canSubscribe": True}
    return {"url": server.address, "jwt": server.keys.sign(grants, identity)}


def _raw(key: MediaKey) -> bytes:
    return base64.b64decode(key.key + "==")


def figures() -> list[Figure]:
    """Measure a call of 50 through LiveKit's server."""
    if not (is_built() and speakers.is_built()):
        return [Figure("a call of 50 through LiveKit", "", "not measured: `make test-calls` builds LiveKit's server")]
    with tempfile.TemporaryDirectory() as name:
        course = asyncio.run(call(Path(name)))
    heard = course.hearing.sounds
    errors = [errors_ms(heard[who], spoken.began - course.offset_s) for who, spoken in course.spoken.items()]
    drift = max(abs(error - statistics.median(each)) for each in errors for error in each)
    delays = [statistics.median(each) for each in errors]
    lost, silent = sum(map(_lost, heard.values())), course.hearing.unreadable_times
    whole = "Element Call, 50 in a call, 5 speak: CPU for all"
    return [
        at_most(whole, course.cpu_share, CPU_SHARE * SPEAKING, "% of a core"),
        Figure("the same, for each in the call", "", f"{course.cpu_share / PARTICIPANTS:.2f} % of a core"),
        at_most(f"a stem's place against its source in every {WINDOW_S} s", drift, PLACE_MS, "ms"),
        Figure("a stem's delay: from speaking to its place", "", f"{min(delays):.1f} to {max(delays):.1f} ms"),
        at_most("lag between two of 5 stems", max(delays) - min(delays), PLACE_MS, "ms"),
        Figure("stretches of sound that could not be decrypted", "0", f"{silent}", silent == 0, vital=True),
        Figure("samples lost while 5 keys are replaced", "0", f"{lost * PACKET}", lost == 0, vital=True),
        at_most("longest turn of the event loop while they join, CPU", 1000 * course.turn_s, TURN_MS, "ms"),
        Figure("memory with 50 in a call", "", f"{course.mib:.0f} MiB"),
    ]


def _lost(heard: Sequence[OpusPacket]) -> int:
    """Count the packets that are missing between the first and the last that was heard."""
    numbers = [at // PACKET for at, _ in places(heard)]
    return numbers[-1] - numbers[0] + 1 - len(set(numbers))


# ---- behind the door of the media


def mixing() -> list[Figure]:
    """Measure the mixing of such a call, in which most microphones are muted."""

    async def measured() -> float:
        with tempfile.TemporaryDirectory() as name:
            async with world_of(Path(name)) as world:
                await world.join()
                return (await calls_finish.mix(world, SPEAKING, PARTICIPANTS - SPEAKING))[1]

    cpu = asyncio.run(measured())
    what = "mixing a call of 50, 5 speak: CPU for each in it, with rows and MP3"
    return [at_most(what, cpu / PARTICIPANTS, calls_finish.CPU_OF_A_LEG - 1, "% of a core")]


# ---- the machine


def steps() -> list[Figure]:
    """Measure single steps of the session machine with many devices."""
    what = "the longest step of the session machine, {count} devices, CPU"
    return [at_most(what.format(count=count), _longest_ms(count), TURN_MS, "ms") for count in DEVICES]


def _longest_ms(count: int) -> float:
    """Let so many devices join one by one, be heard and leave; return the CPU time of the longest step."""
    devices = [Device(UserId(f"@user{number}:hs"), f"DEV{number}", f"s{number}") for number in range(count)]
    session, now, longest = machine.begin(MATRIXRTC, NOW), NOW, 0.0
    legs: list[LegId] = []
    coming = [at_sfu(*devices[: number + 1]) for number in range(count)]
    going = [at_sfu(*devices[number + 1 :]) for number in range(count)]

    def step(event: SessionEvent) -> None:
        nonlocal session, now, longest
        began = time.process_time()
        session, effects = machine.step(session, event, now)
        longest = max(longest, time.process_time() - began)
        legs.extend(effect.leg for effect in effects if isinstance(effect, Receive))

    for listed in coming:
        step(listed)
    for event in (LegConnected, SoundHeard):
        for leg in tuple(legs):
            step(event(leg))
    for listed in going:
        step(listed)
    assert len(legs) == count
    return 1000 * longest
