"""Speakers in a soak: each a person with a room and a broadcast, and the truth about it to compare with."""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain, cycle, islice

from benchmarks.soaking.ways import TWO_RUNS, Does, Step, Way, steps
from bot.demo.broadcaster import Broadcaster, Info
from bot.demo.client_api import room_path
from bot.demo.people import Person, Uploaded
from bot.demo.received import Received
from bot.demo.slicing import PACKETS_PER_PAGE, Slice, speech
from bot.demo.story import addresses_in
from storage.records import Json

CHUNK_SECONDS = 5  # seven pages: 5.6 s
PACKETS = 7 * PACKETS_PER_PAGE
TAIL_PACKETS = 2 * PACKETS_PER_PAGE + 20  # 2 s
ANSWER_S = 600.0  # for a bot with a hundred rooms to answer in
PAGE = 500
SAID = frozenset({"m.room.message", "m.room.encrypted"})


class Gate:
    """A gate that holds speakers while the homeserver is away, so that it is certain which requests it accepted."""

    def __init__(self) -> None:
        self._under_way = 0
        self._changed = asyncio.Condition()
        self._closed = False

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._closed)
            self._under_way += 1
        try:
            yield
        finally:
            async with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Close the gate; the block begins when no request is running."""
        async with self._changed:
            self._closed = True
            await self._changed.wait_for(lambda: not self._under_way)
        try:
            yield
        finally:
            async with self._changed:
                self._closed = False
                self._changed.notify_all()


@dataclass
class Truth:
    """The truth about a broadcast; times are seconds of the wall clock."""

    room_id: str
    feed: str
    way: Way
    broadcast_id: str = ""
    sent: dict[str, int] = field(default_factory=dict)  # SHA-256 of a chunk's media: its number
    taken_back: set[str] = field(default_factory=set)  # of those, the redacted
    samples: int = 0  # at 48 kHz, decoded
    runs: list[bytes] = field(default_factory=list)  # one Ogg file each
    last_word_at: float = 0.0
    behind_s: float = 0.0  # the speaker's own clock, at worst


class Speaker:
    """A person in their own room, which the bot has joined and whose podcast is public."""

    def __init__(self, person: Person, bot_id: str, truth: Truth, gate: Gate) -> None:
        self.person = person
        self.truth = truth
        self._bot_id = bot_id
        self._gate = gate
        self._media: dict[int, Uploaded] = {}
        self._events: dict[int, str] = {}

    @classmethod
    async def settle(cls, person: Person, bot_id: str, web: str, way: Way, gate: Gate, *, encrypted: bool) -> "Speaker":
        """Create the room, invite the bot and make the podcast public."""
        room = await person.create_room("Soak", encrypted=encrypted, invite=[bot_id])

        def told(event: Received) -> bool:
            return event.room_id == room and event.is_notice_of(bot_id)

        await person.wait_for(told, ANSWER_S)
        await person.say(room, "!aircheck publish public")
        answer = await person.wait_for(lambda event: told(event) and web in event.body, ANSWER_S)
        return cls(person, bot_id, Truth(room, addresses_in(answer.body, web).feed, way), gate)

    async def broadcast(self, chunks: int, pace: float, chance: random.Random) -> None:
        """Send the whole broadcast, `pace` times as fast as real time."""
        truth = self.truth
        broadcaster = Broadcaster(self.person, truth.room_id, chunk_seconds=CHUNK_SECONDS)
        if truth.way is Way.LATE_KEY:
            self.person.keys.hold_back([self._bot_id])
        async with self._gate.passing():
            truth.broadcast_id = await broadcaster.start()
        pieces = _pieces(broadcaster, chunks, truth.way)
        truth.samples = broadcaster.samples
        truth.runs = broadcaster.truth_ogg()
        due = time.monotonic()
        for step in steps(truth.way, chunks, chance):
            if step.does is Does.SEND:
                due += pieces[step.chunk].duration_ms / 1000 / pace
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            async with self._gate.passing():
                await self._do(step, broadcaster, pieces[step.chunk])
            truth.last_word_at = time.time()
            truth.behind_s = max(truth.behind_s, time.monotonic() - due)

    async def _do(self, step: Step, broadcaster: Broadcaster, piece: Slice) -> None:
        truth = self.truth
        match step.does:
            case Does.SEND | Does.REPEAT:
                if step.chunk not in self._media:
                    self._media[step.chunk] = await broadcaster.upload(piece)
                self._events[step.chunk] = await broadcaster.send_chunk(
                    piece, sequence=step.number, media=self._media[step.chunk]
                )
                truth.sent[sha256(piece)] = step.number
            case Does.REDACT:
                await self.person.redact(truth.room_id, self._events[step.chunk])
                truth.taken_back.add(sha256(piece))
            case Does.WITHDRAW:
                await self.person.redact(truth.room_id, truth.broadcast_id)
            case Does.GIVE_KEYS:
                await self.person.keys.release(truth.room_id)
            case Does.PAUSE:
                await broadcaster.tell(Info.PAUSED)
            case Does.RESUME:
                await broadcaster.tell(Info.RESUMED)
            case Does.STOP:
                await broadcaster.tell(Info.STOPPED)

    async def notices(self) -> list[Json]:
        """Fetch the bot's events in the room from the homeserver; relations are readable also of encrypted ones."""
        found: list[Json] = []
        where = room_path(self.truth.room_id, "messages") + f"?dir=f&limit={PAGE}"
        token = ""
        while True:
            page = await self.person.api.call("GET", where + token)
            found += [event for event in page["chunk"] if event["sender"] == self._bot_id and event["type"] in SAID]
            if not page["chunk"] or "end" not in page:
                return found
            token = f"&from={page['end']}"


def sha256(piece: Slice) -> str:
    return hashlib.sha256(piece.data).hexdigest()


def _pieces(broadcaster: Broadcaster, chunks: int, way: Way) -> list[Slice]:
    """Cut the chunks beforehand, in the order of the audio."""
    packets = cycle(chain(speech(1), speech(2)))

    def run(full: int) -> list[Slice]:
        pieces = broadcaster.cut(list(islice(packets, full * PACKETS)))
        if way is not Way.CRASHED:
            pieces += [*broadcaster.cut(list(islice(packets, TAIL_PACKETS))), broadcaster.end_run()]
        return pieces

    if way not in TWO_RUNS:
        return run(chunks - 1)
    first = run(chunks // 2 - 1)
    broadcaster.begin_run()
    return [*first, *run(chunks - chunks // 2 - 1)]
