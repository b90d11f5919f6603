"""The layout of a call's sound: windows of ten seconds on its clock, each a mix of the stems heard in it. Pure.

- A slice of a stem belongs to the window in which it begins. Its end may reach into the next one, by a packet. A stem
  that was stalled may have two slices in a window.
- A window is laid out whole. While the call runs, the last one is left out as long as it may still grow.
- Silence between windows stands for nothing: nobody was in the call, or nobody's sound came.
- A time in which the bot was not in the call is a gap, also within a window. Behind the last sound it is one if
  somebody was in the call when the bot went; it adds no silence to the audio then.
- A time in which one member was not heard is a gap of that member alone, and no silence.
- Lost packets are silence inside a slice, and no gap. So is the sound of a speaker who was taken out: the call is as
  long as before.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bot.recording.ledger import NOTHING, Entry, Gap, Ledger, SpeakerGap
from storage.records import (
    SAMPLE_RATE,
    Away,
    BlobKey,
    Chunk,
    ChunkState,
    Recording,
    RecordingState,
    Samples,
    Stem,
    StemPart,
    Timing,
    Unheard,
)

WINDOW = Samples(10 * SAMPLE_RATE)
"""The length of a window, and of a slice."""

_Windows = Mapping[int, tuple[StemPart, ...]]


def lay_out(recording: Recording, chunks: Iterable[Chunk]) -> Ledger:
    """Lay out a call: place every window and every time away. The order of `chunks` doesn't matter."""
    chunks = tuple(chunks)
    windows, end = _windows(chunks, _followed(recording.stems))
    if recording.state is RecordingState.LIVE:
        end = _settled(windows, end)
    aways = tuple(_times_away(recording.aways, end))
    gaps = tuple(_gaps(recording, end))
    of_speakers = tuple(_unheard(recording.unheard, end))
    is_all_here = _is_all_here(recording, chunks)
    return Ledger(
        entries=tuple(_placed(windows, aways, end)),
        gaps=gaps,
        samples=Samples(end),
        proved=False,
        complete=bool(windows) and not gaps and not of_speakers and is_all_here,
        certain=is_all_here,
        waiting=False,
        of_speakers=of_speakers,
    )


def _is_all_here(recording: Recording, chunks: Iterable[Chunk]) -> bool:
    """Return whether every stem is closed, and its slices are known, whether they may be kept or not."""
    if recording.state is RecordingState.LIVE:
        return False
    known = Counter(chunk.stem for chunk in chunks)
    return all(stem.left is not None and known[stem.number] >= stem.slices for stem in recording.stems)


def _times_away(aways: Iterable[Away], end: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each time away before the end of the sound."""
    for away in aways:
        until = end if away.ends is None else min(end, away.ends)
        if away.begins < until:
            yield away.begins, until


def _gaps(recording: Recording, end: int) -> Iterator[Gap]:
    """Yield the gap of each time away, at the end of the sound if it lies behind it."""
    for away in recording.aways:
        back = end if away.ends is None else away.ends
        until = back if away.company and recording.state is not RecordingState.LIVE else min(end, back)
        if away.begins < until:
            yield Gap(Samples(min(away.begins, end)), Samples(until - away.begins), ChunkState.AWAY)


def _unheard(times: Iterable[Unheard], end: int) -> Iterator[SpeakerGap]:
    """Yield the gap of each time in which a member was not heard; one that lasts, up to the end of the sound so far."""
    for each in times:
        until = end if each.ends is None else each.ends
        if each.begins < until:
            yield SpeakerGap(each.begins, Samples(until - each.begins), each.user_id, each.why)


def _followed(stems: Iterable[Stem]) -> dict[int, int | None]:
    """Return the stem that the user of each stem had before it: of the same device, if there is one."""
    before: dict[int, int | None] = {}
    of_user: dict[str, int] = {}
    of_device: dict[tuple[str, str], int] = {}
    for stem in stems:
        device = stem.user_id, stem.device_id
        before[stem.number] = of_device.get(device, of_user.get(stem.user_id))
        of_device[device] = of_user[stem.user_id] = stem.number
    return before


def _windows(chunks: Iterable[Chunk], followed: Mapping[int, int | None]) -> tuple[_Windows, int]:
    """Return the parts of each window that has any, and the end of the sound."""
    stems: dict[int, list[_Slice]] = defaultdict(list)
    end = 0
    for chunk in chunks:
        at, facts, blob = chunk.at, chunk.facts, chunk.blob
        if chunk.state is ChunkState.STORED and at is not None and facts is not None and blob is not None:
            stems[chunk.stem or 0].append((at, facts.samples, blob))
        elif chunk.state is ChunkState.REDACTED and at is not None and facts is not None:
            end = max(end, at + facts.samples)  # a speaker was taken out
    windows: dict[int, list[StemPart]] = defaultdict(list)
    for number in sorted(stems):
        end = max(end, _lay_stem(windows, number, sorted(stems[number]), followed.get(number)))
    return {number: tuple(parts) for number, parts in windows.items()}, end


_Slice = tuple[int, int, BlobKey]
"""The place of a slice, its length and its blob. Six hours of eight speakers have 17,000 slices."""


def _lay_stem(windows: dict[int, list[StemPart]], stem: int, slices: Iterable[_Slice], follows: int | None) -> int:
    """Add the parts of a stem to the windows, given its slices in order. Return where its sound ends."""
    ended, reaches = -1, 0  # where the slice before ends, and how much of it lies behind the window that it is in
    before: BlobKey | None = None
    for at, samples, blob in slices:
        if at < ended or not samples:
            continue  # the same sound again
        window, offset = divmod(at, WINDOW)
        if at == ended:
            previous, lead = before, min(reaches, offset)
        else:
            previous, lead = None, 0
            if reaches:
                _lay_tail(windows, stem, before, ended, reaches, follows)
        inside = min(samples, WINDOW - offset)
        windows[window].append(StemPart(stem, blob, Samples(offset), Samples(inside), previous, Samples(lead), follows))
        ended, before = at + samples, blob
        reaches = samples - inside
    if reaches:
        _lay_tail(windows, stem, before, ended, reaches, follows)
    return ended


def _lay_tail(
    windows: dict[int, list[StemPart]],
    stem: int,
    before: BlobKey | None,
    ended: int,
    reaches: int,
    follows: int | None,
) -> None:
    """Add the end of a slice to the window that it reaches into, where no slice continues it."""
    window = (ended - 1) // WINDOW
    at = ended - window * WINDOW
    lead = min(reaches, at)
    windows[window].append(StemPart(stem, None, Samples(at), NOTHING, before, Samples(lead), follows))


def _settled(windows: _Windows, end: int) -> int:
    """Return the end of the last window that can't grow any more, but for slices that come late."""
    return max(((number + 1) * WINDOW for number in windows if number < end // WINDOW), default=0)


def _placed(windows: _Windows, aways: Sequence[tuple[int, int]], end: int) -> Iterator[Entry]:
    """Yield windows and times away in the order of the sound, with the silence between them as a pause."""
    reached = 0
    for number in sorted(windows):
        begin, until = number * WINDOW, min(end, (number + 1) * WINDOW)
        if begin >= end:
            break
        for away in _away(aways, reached, begin):
            yield away
            reached = away.position + away.samples
        yield _entry(begin, until, begin - reached, parts=windows[number])
        reached = until
    for away in _away(aways, reached, end):
        yield away
        reached = away.position + away.samples
    if reached < end:  # the last of the sound was taken out
        yield _entry(reached, end, 0)


def _away(aways: Sequence[tuple[int, int]], reached: int, until: int) -> Iterator[Entry]:
    """Yield the times away between two places, with the silence before each as a pause."""
    for first, last in aways:
        first, last = max(first, reached), min(last, until)
        if first < last:
            yield _entry(first, last, first - reached, state=ChunkState.AWAY)
            reached = last


def _entry(
    begin: int, until: int, pause: int, *, state: ChunkState = ChunkState.STORED, parts: tuple[StemPart, ...] = ()
) -> Entry:
    return Entry(
        chunk_id=None,
        state=state,
        position=Samples(begin),
        samples=Samples(until - begin),
        timing=Timing.EXACT,
        pause=Samples(pause),
        silence=not parts,
        parts=parts,
    )
