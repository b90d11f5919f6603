"""The archive that a broadcast must become, worked out from what was truly said and what the bot could hear of it.

Written from the contract, not from the code: a sound stands where it was spoken; what is lost before another sound is
silence, exact where pages tell its length, else as its event announced it, else the median of the chunks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median_low

from storage.records import Chunk, ChunkId, ChunkState, EndedBy, EventId, RecordingState, to_samples
from tests.interleaving.homeserver import Fate, Homeserver, Told
from tests.interleaving.speaker import Broadcast, Piece, Take

OUTCOMES = {Fate.GONE: ChunkState.WAITING_FOR_MEDIA, Fate.DAMAGED: ChunkState.DAMAGED}


@dataclass(frozen=True)
class Sound:
    first: int  # number of its first sample
    samples: int
    chunk_id: ChunkId


@dataclass(frozen=True)
class Quiet:
    """So many samples of silence; two bounds where nobody can know whose place it is."""

    least: int
    most: int


Part = Sound | Quiet


class Truth:
    """The truth of a broadcast. `rows` are the archive's chunks: only they know how far a redacted chunk was known
    before; everything else that they say is compared."""

    def __init__(self, broadcast: Broadcast, homeserver: Homeserver, rows: Sequence[Chunk]) -> None:
        self.broadcast = broadcast
        self._homeserver = homeserver
        self._rows = {row.event_id: row for row in rows}
        self.told = [one for one in homeserver.timeline if one.broadcast is broadcast and one.whole]
        self._median = 0
        self._median = median_low([one.samples for one in self.sounds] or [0])

    # ---- the broadcast

    @property
    def start(self) -> Told:
        return next(one for one in self._homeserver.timeline if one.event_id == self.broadcast.started)

    @property
    def followed(self) -> bool:
        return bool(self.start.whole) and not self.start.early

    @property
    def deleted(self) -> bool:
        return self.start.redacted

    @property
    def stops(self) -> list[Told]:
        """Return the `stopped` events that count."""
        theirs = [one for one in self.told if one.event["sender"] == self.broadcast.who]
        return [one for one in theirs if one.event["content"].get("state") == "stopped"]

    def ended_by(self, *, may_be_abandoned: bool) -> set[EndedBy]:
        """Each end that it may have: the first counts, but a `stopped` corrects our own guess."""
        stops = [self._at(one) for one in self.stops]
        others = [(self._at(one), by) for one, by in self._other_ends()]
        if not others or (stops and stops[0] < min(others)[0]):
            return {EndedBy.STOPPED} if stops else {EndedBy.ABANDONED}
        guess = {EndedBy.STOPPED if stops else EndedBy.ABANDONED} if may_be_abandoned else set()
        return {min(others)[1]} | guess

    def _other_ends(self) -> Iterator[tuple[Told, EndedBy]]:
        began = self._at(self.start)
        for one in self._homeserver.timeline[began + 1 :]:
            if one.event["sender"] != self.broadcast.who or not one.whole or one.early:
                continue
            if one.kind == "m.room.member":
                yield one, EndedBy.LEFT
            other = one.broadcast
            if other and other.started == one.event_id and other.device == self.broadcast.device:
                yield one, EndedBy.RESTARTED

    def _at(self, told: Told) -> int:
        return self._homeserver.timeline.index(told)

    @property
    def announced(self) -> int:
        """The highest number that a `stopped` named; 0: none did."""
        return max((int(one.event["content"].get("last_chunk_sequence") or 0) for one in self.stops), default=0)

    # ---- the chunks

    def chunks(self) -> dict[EventId, set[ChunkState | None]]:
        """Return the states that each event may have in the archive; None: it is not there."""
        return {one.event_id: self._states(one) for one in self.told if one.event["sender"] == self.broadcast.who}

    def _states(self, told: Told) -> set[ChunkState | None]:
        if told.kind != "m.room.message":
            return {None}
        readable = told.session is None or told.session in self._homeserver.given
        if told.piece is None and told.redacted and told.session is not None:
            return {None, ChunkState.REDACTED}  # whichever was first, the key or the redaction
        if told.piece is None:
            return {None if readable else ChunkState.WAITING_FOR_KEY}
        if told.redacted or told.early:
            return {ChunkState.REDACTED, None}  # None: its broadcast was found in a gap when it was redacted already
        if not readable:
            return {ChunkState.WAITING_FOR_KEY}
        fate = self._homeserver.media[told.event["content"]["url"]].fate
        return {OUTCOMES.get(fate, ChunkState.STORED)}

    def row(self, piece: Piece) -> Chunk | None:
        """Return the chunk that stands for a piece: the one heard, else the first; None while no number is known."""
        rows = [self._rows[one] for one in piece.events if one in self._rows]
        numbered = [row for row in rows if row.sequence is not None]
        return min(numbered, key=lambda row: (not _is_heard(row, piece), row.position), default=None)

    @property
    def nameless(self) -> list[Chunk]:
        """Their number is not known."""
        return [row for row in self._rows.values() if row.sequence is None]

    @property
    def absent(self) -> list[int]:
        """Numbers that should be there and are not."""
        seen = {row.sequence for row in self._rows.values() if row.sequence is not None}
        return [number for number in range(1, max([self.announced, *seen]) + 1) if number not in seen]

    # ---- the sound

    @property
    def parts(self) -> list[Part]:
        """The audio, from the first sample to the last that is heard."""
        found = list(self._by_pages() if self.broadcast.web else self._by_numbers())
        while found and isinstance(found[-1], Quiet):
            found.pop()
        return found

    @property
    def sounds(self) -> list[Sound]:
        return [part for part in self.parts if isinstance(part, Sound)]

    def _by_numbers(self) -> Iterator[Part]:
        by_number = {piece.number: piece for piece in self.broadcast.pieces}
        for number in range(1, self.broadcast.number + 1):
            piece = by_number[number]
            row = self.row(piece)
            if row and row.state is ChunkState.STORED:
                yield Sound(piece.first, piece.samples, row.id)
            else:
                length = self._lost(piece)
                yield Quiet(length, length)

    def _by_pages(self) -> Iterator[Part]:
        for take in self.broadcast.takes:
            known = [piece for piece in take.pieces if self._is_known(piece)]
            loose = self._is_loose(take)
            lost = sum(map(self._lost, filter(self._is_lost, take.pieces)))
            if loose:
                yield Quiet(0, lost)
            yield from self._take(take, known)
            after = take.pieces[take.pieces.index(known[-1]) + 1 :] if known else take.pieces
            rest = sum(self._lost(piece) for piece in after)
            proved = self._median if self._ends_early(take) else 0
            if loose:
                yield Quiet(0, lost + proved)
            elif self._may_be_taken(take):
                yield Quiet(0, rest + proved)
            else:
                yield Quiet(rest, rest)

    def _take(self, take: Take, known: list[Piece]) -> Iterator[Part]:
        """Up to the last page that is known, every sample stands where it was spoken."""
        at = take.skip
        for piece in known:
            before = max(0, piece.start - at)
            yield Quiet(before, before)
            row = self.row(piece)
            assert row is not None
            heard = max(0, piece.start + piece.samples - max(at, piece.start))
            if row.state is not ChunkState.STORED:
                yield Quiet(heard, heard)
            elif heard:
                yield Sound(piece.first + piece.samples - heard, heard, row.id)
            at = max(at, piece.start + piece.samples)

    def _is_known(self, piece: Piece) -> bool:
        """Its pages are."""
        row = self.row(piece)
        return row is not None and row.facts is not None and piece.samples > 0

    def _is_lost(self, piece: Piece) -> bool:
        row = self.row(piece)
        return row is None or row.facts is None

    def _lost(self, piece: Piece) -> int:
        """How long the silence is for what is not there."""
        row = self.row(piece)
        if row is not None and row.facts is not None:
            return piece.samples
        if row is not None and row.announced_ms is not None:
            return to_samples(row.announced_ms)
        never_sent = piece.number is None
        return 0 if never_sent else self._median

    def _is_loose(self, take: Take) -> bool:
        """Something is lost whose number doesn't say where in the take it was."""
        return self.broadcast.overtaken and any(map(self._is_lost, take.pieces))

    def _may_be_taken(self, take: Take) -> bool:
        """Return whether a loss at the end of a take may stand in a hole that other pages prove."""
        others = [piece for other in self.broadcast.takes for piece in other.pieces if other is not take]
        holes = any(piece.number is None for piece in self.broadcast.pieces)
        return holes or any(map(self._is_lost, others)) or self._ends_early(take)

    def _ends_early(self, take: Take) -> bool:
        """Return whether the page that ends the take proves a loss before it, but not its length."""
        row = self.row(take.pieces[-1]) if take.pieces else None
        return row is not None and not take.pieces[-1].samples and row.facts is not None

    # ---- the verdict

    def state(self, ended_by: EndedBy) -> RecordingState:
        if self._is_whole(ended_by):
            return RecordingState.COMPLETE
        waits = (ChunkState.WAITING_FOR_KEY, ChunkState.WAITING_FOR_MEDIA)
        waiting = any(row.state in waits for row in self._rows.values())
        return RecordingState.INCOMPLETE if self.sounds or waiting else RecordingState.EMPTY

    def _is_whole(self, ended_by: EndedBy) -> bool:
        rows = [row for piece in self.broadcast.pieces if (row := self.row(piece))]
        waiting = any(row.state is ChunkState.WAITING_FOR_MEDIA for row in self._rows.values())
        if not self.sounds or self.nameless or waiting or any(row.state is not ChunkState.STORED for row in rows):
            return False
        by_word = ended_by is EndedBy.STOPPED and not self.absent
        if not self.broadcast.web:
            return by_word
        there = [take for take in self.broadcast.takes if any(map(self.row, take.pieces))]
        if any(self._has_hole(take) for take in there):
            return False
        sounding = [take for take in there if any(piece.samples and self.row(piece) for piece in take.pieces)]
        last = min(piece.number or 0 for piece in sounding[-1].pieces if self.row(piece))
        proved = all(take.pieces[-1].ends and self.row(take.pieces[-1]) for take in sounding)
        return by_word or (proved and all(number > last for number in self.absent))

    def _has_hole(self, take: Take) -> bool:
        """Pages that are there show that some before them are not."""
        there = [self.row(piece) is not None for piece in take.pieces]
        return False in there[: len(there) - there[::-1].index(True)]


def _is_heard(row: Chunk, piece: Piece) -> bool:
    return row.state is ChunkState.STORED and piece.samples > 0
