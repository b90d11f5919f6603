"""Frames of a track, for any stretch of it: decoded, brought to level, encoded. Each piece is decoded once.

What is decided of a piece when it is first worked on (its gain) stands in its `Cut` and is never decided otherwise.
So the same stretch gives the same bytes whenever it is made, and a rebuilt episode is the episode.
"""

import asyncio
import hashlib
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np

from bot.audio import leveller, waveform
from bot.audio.decode import Pcm, pcm
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form, frames_in, samples_of, whole_frames
from bot.audio.leveller import Gains, LevelState
from bot.audio.limiter import CONTEXT as LIMITER_REACH
from bot.audio.limiter import limited
from bot.audio.plan import PRE_ROLL as DECODER_REMEMBERS
from bot.audio.plan import LocalFile, Mismatch, Piece, Silence, Sound
from bot.audio.track import AHEAD, PRE_ROLL, identity
from bot.errors import TryLater
from storage.private import synced
from storage.records import SAMPLE_RATE, Container, Cut, Samples

PART = 20 * SAMPLE_RATE  # samples whose gain is decided together; more of them take more memory
AT_ONCE = 5 * SAMPLE_RATE  # samples that are limited together
WARM = samples_of(PRE_ROLL + AHEAD + 2) + 2 * LIMITER_REACH  # samples: what the next stretch needs of the one before
ENCODER_TAKES_LU = 0.45  # what comes out of libmp3lame is that much softer than what went in
COPY = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Warm:
    """The end of what was worked on last, gain included: it spares decoding the piece before anew."""

    identity: str | None  # of everything up to `end`
    end: Samples
    pcm: Pcm


@dataclass(frozen=True, slots=True)
class Rendered:
    """A file of frames and nothing else."""

    frames: int
    sha256: str
    bytes: int


def keys(pieces: Sequence[Piece], form: Form) -> list[str]:
    """What each piece's samples hang on: the same key, the same samples. Blobs are named by their content."""
    found: list[str] = []
    before: list[Sound] = []  # of the Ogg run that goes on: what the decoder still remembers
    for piece in pieces:
        if isinstance(piece, Silence):
            found.append(f"silence {piece.samples}")
            before = []
            continue
        before = before if piece.continues else []
        names = [f"{piece.container} {piece.samples} {form.channels}", *(sound.blob for sound in [piece, *before])]
        found.append(hashlib.sha256(" ".join(names).encode()).hexdigest())
        before = [piece, *before]
        while len(before) > 1 and sum(sound.samples for sound in before[:-1]) >= DECODER_REMEMBERS:
            before.pop()
    return found


def layout(pieces: Sequence[Piece], form: Form) -> list[Cut]:
    """The pieces of a track, nothing decided of them so far."""
    return [
        Cut(ordinal, key, piece.samples, None, Container.UNKNOWN, continues=False)
        if isinstance(piece, Silence)
        else Cut(ordinal, key, piece.samples, piece.blob, piece.container, piece.continues)
        for ordinal, (key, piece) in enumerate(zip(keys(pieces, form), pieces, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class Decided:
    """A piece that was gone through, and its peaks of 10 ms each, gain included."""

    cut: Cut
    peaks: bytes


class Rendering:
    """Makes stretches of one layout: `cuts` are its pieces, some of them not decided yet; `start_db` is the gain to
    begin with (None: found by the first piece)."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        cuts: Sequence[Cut],
        form: Form,
        *,
        start_db: float | None,
        local: LocalFile,
        ffmpeg: Ffmpeg,
        workdir: Path,
    ) -> None:
        self.decided: dict[int, Decided] = {}  # by this rendering
        self.warm: Warm | None = None  # once the end of the layout was gone through
        self._pieces = pieces
        self.cuts = list(cuts)
        self.form = form
        self._start_db = start_db
        self._local = local
        self._ffmpeg = ffmpeg
        self._workdir = workdir
        self._off_by: dict[int, int] = {}
        self._ends = [*accumulate(piece.samples for piece in pieces)]

    async def make(self, first: int, frames: int | None, out: Path, warm: Warm | None = None) -> Rendered:
        """Writes `frames` frames from `first` on to `out`; None: to the end, with the encoder's own last ones. What is
        needed must be there: pieces up to AHEAD frames and LIMITER_REACH samples behind the last.

        Raises TryLater when ffmpeg fails or hangs, OSError for the disk's.
        """
        begin = samples_of(max(0, first - PRE_ROLL))
        end = self._ends[-1] if frames is None else samples_of(first + frames + AHEAD)
        seconds = (end - begin) / SAMPLE_RATE
        with tempfile.TemporaryDirectory(prefix="frames-", dir=self._workdir, ignore_cleanup_errors=True) as folder:
            encoded = Path(folder) / "encoded.mp3"
            async with aclosing(self._stretch(begin, end, warm)) as blocks:
                await self._ffmpeg.encode_mp3(
                    blocks, encoded, kbps=self.form.bitrate, seconds=seconds, channels=self.form.channels
                )
            skipped = first - whole_frames(begin)
            return await asyncio.to_thread(_cut_out, encoded, skipped, frames, self.form, out)

    async def _stretch(self, begin: int, end: int, warm: Warm | None) -> AsyncGenerator[bytes, None]:
        """The samples from `begin` to `end`, as the encoder gets them."""
        reach = LIMITER_REACH if self.form.target_lufs is not None else 0
        start = max(0, begin - reach)
        stop = min(self._ends[-1], end + reach)
        buffer, at, given = np.zeros((0, self.form.channels), np.float32), start, begin
        async with aclosing(self._levelled(start, stop, warm)) as blocks:
            async for block in blocks:
                buffer = np.concatenate([buffer, block])
                ready = at + len(buffer) - reach
                if ready - given >= AT_ONCE:
                    yield await asyncio.to_thread(self._limited, buffer, at, given, ready)
                    given = ready
                    keep = max(at, given - reach)
                    buffer, at = buffer[keep - at :], keep
        yield await asyncio.to_thread(self._limited, buffer, at, given, end)

    def _limited(self, buffer: Pcm, at: int, given: int, ready: int) -> bytes:
        """The samples from `given` to `ready` of a buffer that begins at `at`."""
        if self.form.target_lufs is not None:
            buffer = limited(buffer, leveller.CEILING_DBTP, first=at)
        return buffer[given - at : ready - at].tobytes()

    async def _levelled(self, start: int, stop: int, warm: Warm | None) -> AsyncGenerator[Pcm, None]:
        """The samples from `start` to `stop` with their gain. A new piece that is begun is gone through to its end, so
        that its cut is whole."""
        index, at = self._begin(start)
        if warm is not None and (behind := self._behind(warm, start)) is not None:
            index, at = behind, warm.end
            yield warm.pcm[len(warm.pcm) - (warm.end - start) :][: stop - start]
        if at >= stop:
            return
        tail = np.zeros((0, self.form.channels), np.float32) if warm is None or at != warm.end else warm.pcm
        decoded = pcm(
            self._pieces,
            self._local,
            self._ffmpeg,
            self._workdir,
            first=index,
            channels=self.form.channels,
            report=self._note,
        )
        async with aclosing(decoded), aclosing(self._gained(decoded, index)) as blocks:
            async for block in blocks:
                wanted = block[max(0, start - at) : max(0, stop - at)]
                at += len(block)
                tail = np.concatenate([tail, block[-WARM:]])[-WARM:]
                if at == self._ends[-1]:
                    self.warm = Warm(self._hash(len(self._pieces)), Samples(at), tail.copy())
                if len(wanted):
                    yield wanted
                if at >= stop and self._whole(at):
                    return

    def _begin(self, start: int) -> tuple[int, int]:
        """The piece that holds a sample, and where it begins."""
        index = bisect_right(self._ends, start)
        return index, self._ends[index - 1] if index else 0

    def _behind(self, warm: Warm, start: int) -> int | None:
        """The piece that follows what is warm; None if that is of no use here."""
        index = bisect_left(self._ends, warm.end) + 1
        known = index <= len(self._ends) and self._ends[index - 1] == warm.end and warm.identity == self._hash(index)
        return index if known and warm.end - len(warm.pcm) <= start <= warm.end else None

    def _hash(self, count: int) -> str | None:
        """Of what the first pieces sound like; None while that is not decided."""
        first = self.cuts[:count]
        if any(cut.gains is None for cut in first):
            return None
        return hashlib.sha256("".join(map(identity, first)).encode()).hexdigest()

    def _whole(self, at: int) -> bool:
        """The piece that ends behind this place, or there, is decided."""
        return self.cuts[bisect_left(self._ends, at)].gains is not None

    def _note(self, mismatch: Mismatch) -> None:
        self._off_by[mismatch.piece] = mismatch.decoded - mismatch.expected

    async def _gained(self, blocks: AsyncIterator[Pcm], index: int) -> AsyncGenerator[Pcm, None]:
        """Decoded blocks with their gain; what was not decided so far is decided."""
        heard = 0
        deciding: _Deciding | None = None
        async for block in blocks:
            cut = self.cuts[index]
            last = heard + len(block) == cut.samples
            if cut.gains is not None:
                yield await asyncio.to_thread(leveller.apply, block, np.frombuffer(cut.gains, "<i2"), heard)
            else:
                deciding = deciding or _Deciding(self.form.target_lufs, self._before(index), self._behind_it(index))
                for part in deciding.parts(block, last=last):
                    gained = await asyncio.to_thread(deciding.decide, part)
                    if deciding.over:
                        self._decide(index, deciding)
                    yield gained
            heard += len(block)
            if last:
                index, heard, deciding = index + 1, 0, None

    def _decide(self, index: int, deciding: "_Deciding") -> None:
        off_by = Samples(self._off_by.get(index, 0))
        cut = replace(self.cuts[index], gains=deciding.gains, level=deciding.level, off_by=off_by)
        self.cuts[index] = cut
        self.decided[index] = Decided(cut, deciding.peaks)

    def _before(self, index: int) -> LevelState:
        """What the piece before hands on."""
        level = self.cuts[index - 1].level if index else None
        return LevelState.from_json(level) if level else leveller.begin(self._start_db)

    def _behind_it(self, index: int) -> float | None:
        """The gain in dB that the piece behind begins with, if that is decided."""
        gains = self.cuts[index + 1].gains if index + 1 < len(self.cuts) else None
        return float(np.frombuffer(gains, "<i2")[0]) / 100 if gains else None


class _Deciding:
    """The gain of one piece, part by part."""

    def __init__(self, target_lufs: float | None, state: LevelState, ends_at: float | None) -> None:
        self.over = False
        self._target = None if target_lufs is None else target_lufs + ENCODER_TAKES_LU
        self._state = state
        self._ends_at = ends_at
        self._waiting: list[Pcm] = []
        self._left = 0  # samples in it
        self._ended = False
        self._gains: list[Gains] = []
        self._peaks: list[bytes] = []

    def parts(self, block: Pcm, *, last: bool) -> Iterator[Pcm]:
        """What can be decided now; each is decided before the next."""
        self._waiting.append(block)
        self._left += len(block)
        self._ended = last
        while self._left > PART or (last and self._left):
            sound = np.concatenate(self._waiting)
            part, rest = sound[:PART], sound[PART:]
            self._waiting, self._left = [rest], len(rest)
            yield part

    def decide(self, part: Pcm) -> Pcm:
        """A part with its gain. Blocking: some 0.05 s."""
        self.over = self._ended and not self._left
        gains, self._state = leveller.curve(part, self._state, self._target)
        if self.over and self._ends_at is not None:
            gains = leveller.bridge(gains, self._ends_at)
        gained = leveller.apply(part, gains, 0)
        self._gains.append(gains[1:] if self._gains else gains)
        self._peaks.append(waveform.peaks(gained))
        return gained

    @property
    def gains(self) -> bytes:
        return np.concatenate(self._gains).astype("<i2").tobytes()

    @property
    def level(self) -> str:
        return self._state.to_json()

    @property
    def peaks(self) -> bytes:
        return b"".join(self._peaks)


def _cut_out(encoded: Path, skipped: int, frames: int | None, form: Form, out: Path) -> Rendered:
    """Some of the frames that were encoded, synced to the disk. Blocking."""
    there, rest = frames_in(encoded.stat().st_size, form)
    count = there - skipped if frames is None else frames
    if rest or count < 0 or skipped + count > there:
        raise TryLater("ffmpeg wrote frames of another form than it was told")
    digest = hashlib.sha256()
    with encoded.open("rb") as source, synced(out) as target:
        source.seek(skipped * form.frame_bytes)
        left = count * form.frame_bytes
        while left and (block := source.read(min(left, COPY))):
            digest.update(block)
            target.write(block)
            left -= len(block)
    return Rendered(count, digest.hexdigest(), count * form.frame_bytes)
