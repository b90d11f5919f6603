"""The rendering of any stretch of a track's frames: pieces are decoded, levelled, limited and encoded.

The gain of a piece is decided when it is decoded for the first time, is kept in its `Cut`, and never changes. So the
same stretch gives the same bytes whenever it is made, and a rebuilt episode is the same episode.
"""

import asyncio
import hashlib
import sys
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np

from bot.audio import leveller, mix, waveform
from bot.audio.deciding import ENCODER_TAKES_LU, Decided, Deciding
from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form, frames_in, samples_of, whole_frames
from bot.audio.halves import Encode, encode_halves, middle_of
from bot.audio.leveller import LevelState
from bot.audio.limiter import limited
from bot.audio.peaks import Pcm
from bot.audio.plan import LocalFile, Mismatch, Piece, Silence, Sound
from bot.audio.prepare import Run
from bot.audio.reach import CONTEXT as LIMITER_REACH
from bot.audio.stems import StemSound
from bot.audio.track import AHEAD, ENCODER_PRE_ROLL, identity
from bot.errors import TryLater
from storage.private import synced
from storage.records import SAMPLE_RATE, Cut, Samples

AT_ONCE = 5 * SAMPLE_RATE  # samples that are limited together
WARM = (
    samples_of(ENCODER_PRE_ROLL + AHEAD + 2) + 2 * LIMITER_REACH
)  # samples that the next stretch needs of the previous one
COPY = 1 << 20  # bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Warm:
    """The last samples of a layout, gain included, its Ogg Opus run, and its last frames, kept in memory so that the
    piece before the next stretch need not be decoded, nor even read, again, and nothing is encoded when it ends."""

    identity: str | None  # hash of the sound up to `end`; None while it is not decided
    end: Samples
    pcm: Pcm
    run: Run  # not known if the layout ends with anything but sound
    rest: bytes | None = None  # the frames after the settled ones, as they are if nothing follows


@dataclass(frozen=True, slots=True)
class Rendered:
    """A file that holds frames and nothing else."""

    frames: int
    sha256: str
    bytes: int


class Rendering:
    """The making of stretches of one layout. `cuts` belong to its pieces, some of them not decided yet; `start_db` is
    the gain to begin with (None: the first piece decides)."""

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
        self.decided: dict[int, Decided] = {}  # by this rendering, by index
        self.warm: Warm | None = None  # once the end of the layout was decoded
        self._pieces = pieces
        self.cuts = list(cuts)
        self.form = form
        self._start_db = start_db
        self._target = None if form.target_lufs is None else form.target_lufs + ENCODER_TAKES_LU
        self._local = local
        self._ffmpeg = ffmpeg
        self._workdir = workdir
        self._off_by: dict[int, int] = {}
        self._windows: dict[int, mix.Deciding] = {}  # that are decided now
        self._ends = [*accumulate(piece.samples for piece in pieces)]

    async def make(self, first: int, frames: int | None, out: Path, warm: Warm | None = None) -> Rendered:
        """Write `frames` frames from number `first` on to `out`; None: all up to the end, with the frames that the
        encoder adds. The layout must reach AHEAD frames and LIMITER_REACH samples beyond the last frame.

        Raises TryLater when ffmpeg fails or hangs, OSError for the disk's.
        """
        made, _ = await self._encoded(first, frames, warm, partial(_cut_out, self.form, out, frames))
        return made

    async def make_to_end(self, first: int, frames: int, out: Path, warm: Warm | None = None) -> tuple[Rendered, bytes]:
        """Write as `make` does, and return all frames after those, which must be few: encoded in one go with them."""
        return await self._encoded(first, None, warm, partial(_cut_out, self.form, out, frames))

    async def last(self, first: int, warm: Warm | None = None) -> bytes:
        """Return all frames from number `first` on, which must be few. Raises as `make`."""
        if warm is not None and warm.rest is not None and self._is_all(warm):
            return warm.rest
        return await self._encoded(first, None, warm, partial(_joined, self.form))

    async def _encoded(
        self, first: int, frames: int | None, warm: Warm | None, take: Callable[[Sequence["_Encoded"]], T]
    ) -> T:
        """Encode frames and return what `take` makes of the files."""
        begin = samples_of(max(0, first - ENCODER_PRE_ROLL))
        end = self._ends[-1] if frames is None else samples_of(first + frames + AHEAD)
        seconds = (end - begin) / SAMPLE_RATE
        with tempfile.TemporaryDirectory(prefix="frames-", dir=self._workdir, ignore_cleanup_errors=True) as folder:
            parts = [_Encoded(Path(folder) / "first.mp3", first - whole_frames(begin), frames)]
            middle = middle_of(begin, end) if self._ffmpeg.encodes_nothing else None
            if middle is not None:
                half, rest = middle - first, None if frames is None else first + frames - middle
                later = _Encoded(Path(folder) / "second.mp3", ENCODER_PRE_ROLL, rest)
                parts = [replace(parts[0], frames=half), later]
            former = seconds if middle is None else (samples_of(middle) - begin) / SAMPLE_RATE
            lengths = (former, seconds - former)[: len(parts)]
            encoders = [self._encoder(part.path, length) for part, length in zip(parts, lengths, strict=True)]
            async with aclosing(self._stretch(begin, end, warm)) as blocks:
                if middle is None:
                    await encoders[0](blocks)
                else:
                    await encode_halves(blocks, begin, middle, 4 * self.form.channels, *encoders)
            return await asyncio.to_thread(take, parts)

    def _encoder(self, path: Path, seconds: float) -> Encode:
        form = self.form
        return lambda blocks: self._ffmpeg.encode_mp3(
            blocks, path, kbps=form.bitrate, seconds=seconds, channels=form.channels
        )

    def sound(self) -> AsyncGenerator[bytes, None]:
        """Yield all samples, levelled and limited, before they are encoded."""
        return self._stretch(0, self._ends[-1], None)

    async def _stretch(self, begin: int, end: int, warm: Warm | None) -> AsyncGenerator[bytes, None]:
        """Yield the samples from `begin` to `end` for the encoder."""
        reach = LIMITER_REACH if self.form.target_lufs is not None else 0
        start = max(0, begin - reach)
        stop = min(self._ends[-1], end + reach)
        buffer, at, sent = np.zeros((0, self.form.channels), np.float32), start, begin
        async with aclosing(self._levelled(start, stop, warm)) as blocks:
            async for block in blocks:
                buffer = np.concatenate([buffer, block])
                ready = at + len(buffer) - reach
                if ready - sent >= AT_ONCE:
                    yield await asyncio.to_thread(self._limited, buffer, at, sent, ready)
                    sent = ready
                    keep = max(at, sent - reach)
                    buffer, at = buffer[keep - at :], keep
        yield await asyncio.to_thread(self._limited, buffer, at, sent, end)

    def _limited(self, buffer: Pcm, at: int, sent: int, ready: int) -> bytes:
        """Return the samples from `sent` to `ready`, limited, of a buffer that begins at `at`. Blocking."""
        if self.form.target_lufs is not None:
            buffer = limited(buffer, leveller.CEILING_DBTP, first=at)
        return buffer[sent - at : ready - at].tobytes()

    async def _levelled(self, start: int, stop: int, warm: Warm | None) -> AsyncGenerator[Pcm, None]:
        """Yield the samples from `start` to `stop` with their gain. A piece that is not decided yet is decoded to its
        end, so that its whole gain is decided."""
        index, at, run = *self._piece_at(start), Run()
        if warm is not None and (behind := self._piece_behind_warm(warm, start)) is not None:
            index, at, run = behind, warm.end, replace(warm.run)
            yield warm.pcm[len(warm.pcm) - (warm.end - start) :][: stop - start]
        if at >= stop:
            return
        tail = np.zeros((0, self.form.channels), np.float32) if warm is None or at != warm.end else warm.pcm
        decoded = decode_pieces(
            self._pieces,
            self._local,
            self._ffmpeg,
            self._workdir,
            first=index,
            channels=self.form.channels,
            report=self._note,
            stem_gain=self._gained_stem,
            run=run,
        )
        async with aclosing(decoded), aclosing(self._gained(decoded, index)) as blocks:
            async for block in blocks:
                wanted = block[max(0, start - at) : max(0, stop - at)]
                at += len(block)
                tail = np.concatenate([tail, block[-WARM:]])[-WARM:]
                if at == self._ends[-1]:
                    ends = replace(run) if isinstance(self._pieces[-1], Sound) else Run()
                    self.warm = Warm(self._identity_of(len(self._pieces)), Samples(at), tail.copy(), ends)
                if len(wanted):
                    yield wanted
                if at >= stop and self._is_decided(at):
                    return

    def _piece_at(self, start: int) -> tuple[int, int]:
        """Return the index of the piece that holds a sample, and the sample that the piece begins at."""
        index = bisect_right(self._ends, start)
        return index, self._ends[index - 1] if index else 0

    def _piece_behind_warm(self, warm: Warm, start: int) -> int | None:
        """Return the index of the piece after the warm samples; None if they are of another layout or do not reach
        `start`."""
        index = bisect_left(self._ends, warm.end) + 1
        if index > len(self._ends) or self._ends[index - 1] != warm.end or warm.identity != self._identity_of(index):
            return None
        return index if warm.end - len(warm.pcm) <= start <= warm.end else None

    def _is_all(self, warm: Warm) -> bool:
        """Return whether nothing follows the warm samples."""
        decided = warm.identity is not None and warm.end == self._ends[-1]
        return decided and warm.identity == self._identity_of(len(self._pieces))

    def _identity_of(self, count: int) -> str | None:
        """Return a hash of the last samples of the first pieces, as many as are kept warm; None while their gain is not
        decided."""
        digest, end = hashlib.sha256(), self._ends[count - 1]
        for index in range(count - 1, -1, -1):
            cut = self.cuts[index]
            if cut.gains is None:
                return None
            digest.update(identity(cut).encode())
            if end - self._ends[index] + cut.samples >= WARM:
                break
        return digest.hexdigest()

    def _is_decided(self, at: int) -> bool:
        """Return whether the piece that ends at this sample, or contains it, is decided."""
        return self.cuts[bisect_left(self._ends, at)].gains is not None

    def _note(self, mismatch: Mismatch) -> None:
        self._off_by[mismatch.piece] = mismatch.decoded - mismatch.expected

    async def _gained(self, blocks: AsyncIterator[Pcm], index: int) -> AsyncGenerator[Pcm, None]:
        """Yield decoded blocks with their gain; decide the gain of pieces that have none."""
        heard = 0
        deciding: Deciding | None = None
        mixed: list[Pcm] = []  # of a window
        async for block in blocks:
            cut = self.cuts[index]
            last = heard + len(block) == cut.samples
            if cut.parts:  # its stems have their gains already
                mixed.append(block)
                if last and cut.gains is None:
                    await asyncio.to_thread(self._decide_window, index, mixed)
                yield block
            elif cut.gains is not None:
                yield await asyncio.to_thread(leveller.apply, block, np.frombuffer(cut.gains, "<i2"), heard)
            else:
                deciding = deciding or Deciding(
                    self.form.target_lufs, self._level_before(index), self._gain_behind(index)
                )
                for part in deciding.parts(block, last=last):
                    gained = await asyncio.to_thread(deciding.decide, part)
                    if deciding.over:
                        self._decide(index, deciding)
                    yield gained
            heard += len(block)
            if last:
                index, heard, deciding, mixed = index + 1, 0, None, []

    def _decide(self, index: int, deciding: Deciding) -> None:
        self._keep(index, replace(self.cuts[index], gains=deciding.gains, level=deciding.level), deciding.peaks)

    def _keep(self, index: int, cut: Cut, peaks: bytes) -> None:
        self.cuts[index] = replace(cut, off_by=Samples(self._off_by.get(index, 0)))
        self.decided[index] = Decided(self.cuts[index], peaks)

    def _gained_stem(self, index: int, stem: StemSound) -> Pcm:
        """Return the sound of a stem in a window with its gain, which is decided where it is not yet. Blocking."""
        cut = self.cuts[index]
        if cut.gains is not None:
            gains = mix.levels_of(cut)[stem.stem].gains
        else:
            if index not in self._windows:
                before, behind = mix.states_before(cut, self.cuts[:index]), self._gains_behind(index)
                self._windows[index] = mix.Deciding(cut, self._target, before, behind)
            gains = self._windows[index].gains(stem.stem, stem.sound)
        return leveller.apply(stem.sound, gains, 0)

    def _decide_window(self, index: int, mixed: Sequence[Pcm]) -> None:
        """Write down the gains of all stems in a window. Blocking."""
        self._keep(index, self._windows.pop(index).decided(), waveform.peaks(np.concatenate(mixed)))

    def _gains_behind(self, index: int) -> dict[int, int]:
        """Return the gains that the stems in the next window begin with, if they are decided."""
        behind = self.cuts[index + 1] if index + 1 < len(self.cuts) else None
        levels = mix.levels_of(behind) if behind is not None else {}
        return {stem: int(level.gains[0]) for stem, level in levels.items()}

    def _level_before(self, index: int) -> LevelState:
        """Return the level state that the piece before this one left. A pause forgets it, and so does a window of
        stems, which leaves a state for each of them."""
        if self._is_pause(index) or self._is_pause(index - 1) or (index and self.cuts[index - 1].parts):
            return leveller.begin(None)
        level = self.cuts[index - 1].level if index else None
        return LevelState.from_json(level) if level else leveller.begin(self._start_db)

    def _gain_behind(self, index: int) -> float | None:
        """Return the gain in dB that the next piece begins with, if that is decided and no pause."""
        if self._is_pause(index) or self._is_pause(index + 1):
            return None
        gains = self.cuts[index + 1].gains if index + 1 < len(self.cuts) else None
        return float(np.frombuffer(gains, "<i2")[0]) / 100 if gains else None

    def _is_pause(self, index: int) -> bool:
        piece = self._pieces[index] if 0 <= index < len(self._pieces) else None
        return isinstance(piece, Silence) and piece.pause


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A file of an encoder, and the frames of it that are wanted: those after the first `skipped`; `frames`: None for
    all of them."""

    path: Path
    skipped: int
    frames: int | None


def _cut_out(form: Form, out: Path, frames: int | None, encoded: Sequence[_Encoded]) -> tuple[Rendered, bytes]:
    """Copy so many of the wanted frames out of encoded files, synced to the disk, and return those after them.
    Blocking."""
    digest, written, rest = hashlib.sha256(), 0, b""
    room = sys.maxsize if frames is None else frames * form.frame_bytes
    with synced(out) as target:
        for block in _wanted(form, encoded):
            wanted = block[: room - written]
            rest += block[len(wanted) :]
            digest.update(wanted)
            written += target.write(wanted)
    if frames is not None and written < room:
        raise TryLater("ffmpeg wrote too few MP3 frames")
    return Rendered(written // form.frame_bytes, digest.hexdigest(), written), rest


def _joined(form: Form, encoded: Sequence[_Encoded]) -> bytes:
    return b"".join(_wanted(form, encoded))


def _wanted(form: Form, encoded: Sequence[_Encoded]) -> Iterator[bytes]:
    """Yield the wanted frames of encoded files. Blocking."""
    for part in encoded:
        there, rest = frames_in(part.path.stat().st_size, form)
        count = there - part.skipped if part.frames is None else part.frames
        if rest or count < 0 or part.skipped + count > there:
            raise TryLater("ffmpeg wrote MP3 frames of an unexpected size")
        with part.path.open("rb") as source:
            source.seek(part.skipped * form.frame_bytes)
            left = count * form.frame_bytes
            while left and (block := source.read(min(left, COPY))):
                yield block
                left -= len(block)
