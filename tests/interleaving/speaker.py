"""The speakers of broadcasts: what they truly said, cut and numbered as their clients do. This is the truth.

Two clients: Element Web (slices of one Ogg stream a take, numbered when the upload ends) and a phone (files of their
own, numbered when they are cut). A take goes from start or resume to pause or stop.
"""

from dataclasses import dataclass, field
from itertools import count

from bot.demo.slicing import PACKET, PACKETS_PER_PAGE, PRE_SKIP, Slicer, speech
from storage.records import DeviceId, EventId, UserId, to_ms
from tests.interleaving import sound


@dataclass(eq=False)
class Piece:
    """A stretch of sound that the client cut. `first` is the number of its first sample; `samples` its packets."""

    take: "Take"
    first: int
    samples: int
    data: bytes
    ends: bool  # its take, as its pages say it
    announced_ms: int | None
    number: int | None = None
    events: list[EventId] = field(default_factory=list)  # the same piece may be sent again

    @property
    def start(self) -> int:
        """Samples of the take before it."""
        pieces = self.take.pieces
        return sum(piece.samples for piece in pieces[: pieces.index(self)])


@dataclass(eq=False)
class Take:
    skip: int  # samples at its start that nobody hears
    run: Slicer | None = None
    pieces: list[Piece] = field(default_factory=list)


class Voice:
    """Numbers all samples that are spoken."""

    def __init__(self) -> None:
        self._next = 1
        self._serials = count(100)

    def next(self, samples: int) -> int:
        first, self._next = self._next, self._next + samples
        return first

    def serial(self) -> int:
        return next(self._serials)

    def packets(self, first: int, count: int) -> list[bytes]:
        return sound.packets(first, count)

    def wav(self, first: int, samples: int) -> bytes:
        return sound.wav(first, samples)


class Audible(Voice):
    """Speech and a tone, for ffmpeg and for people."""

    def packets(self, first: int, count: int) -> list[bytes]:
        spoken = speech(1)
        return [spoken[(first // PACKET + index) % len(spoken)] for index in range(count)]

    def wav(self, first: int, samples: int) -> bytes:
        return sound.tone(first, samples)


@dataclass(eq=False)
class Broadcast:
    started: EventId
    who: UserId
    device: DeviceId
    web: bool
    pages: int  # of a chunk of Element Web's
    voice: Voice
    takes: list[Take] = field(default_factory=list)
    slow: list[Piece] = field(default_factory=list)  # whose upload hangs
    number: int = 0  # the last one given
    paused: bool = False
    over: bool = False  # the client is done with it, or gone
    overtaken: bool = False  # numbers don't stand in the order of the sound

    def __post_init__(self) -> None:
        self.resume()

    @property
    def pieces(self) -> list[Piece]:
        return [piece for take in self.takes for piece in take.pieces]

    def resume(self) -> None:
        self.paused = False
        run = Slicer(self.voice.serial(), self.pages * PACKETS_PER_PAGE * PACKET / 48_000) if self.web else None
        self.takes.append(Take(PRE_SKIP if self.web else 0, run))

    def cut(self, length: int, *, last: bool, announced: bool) -> Piece:
        """Cut the next piece: a whole chunk, or with `last` the rest of the take, `length` packets (Element Web) or
        milliseconds (phone) long."""
        take = self.takes[-1]
        if take.run is not None:
            packets = length % (self.pages * PACKETS_PER_PAGE) if last else self.pages * PACKETS_PER_PAGE
            first = self.voice.next(packets * PACKET)
            slices = take.run.feed(self.voice.packets(first, packets))
            data = take.run.end().data if last else slices[0].data
            piece = Piece(take, first, packets * PACKET, data, last, None)
        else:
            samples = (20 + length) * 48
            first = self.voice.next(samples)
            piece = Piece(take, first, samples, self.voice.wav(first, samples), last, None)
            piece.number = self.give_number()
        piece.announced_ms = to_ms(piece.samples) if announced and piece.samples else None
        take.pieces.append(piece)
        return piece

    def uploaded(self, piece: Piece) -> None:
        """Element Web numbers a chunk now."""
        if piece.number is None:
            piece.number = self.give_number()
        if piece in self.slow:
            self.slow.remove(piece)
        pieces = piece.take.pieces
        after = pieces[pieces.index(piece) + 1 :]
        if any(other.number is not None and other.number < piece.number for other in after):
            self.overtaken = True

    def give_number(self) -> int:
        self.number += 1
        return self.number
