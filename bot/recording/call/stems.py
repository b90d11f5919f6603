"""Stems of a call and their slices: what is kept, and what is left out after an objection. Pure; the clock is passed
in.

- An objection has a position in the timeline. A slice that begins behind it is not kept, whether it is here already or
  still comes: its stem remembers the position (`Stem.cut_at`). It is listed without its sound, as are the slices of a
  speaker who wants to be forgotten. The slice that had begun before stays, up to the end of its stem: the leg ends as
  soon as the objection is carried out, and a slice is never longer than a window.
- The file of a stem holds all of its slices. If one of them may not be kept, the file can't be either.
- The same event twice changes nothing: slices and stems have names.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from bot.recording import chunks as on_chunks
from bot.recording.call import times
from bot.recording.model import Effect, Ended, Forget, Outcome, RecordingEvent, Silenced, SlicesKept, StemClosed
from bot.recording.policy import Limits
from storage.records import BlobKey, Chunk, ChunkState, EndedBy, LeftBy, Recording, RecordingState, Stem, UserId

MOST_STEMS = 500
"""Stems of one recording. More are an attempt to fill the disk: its row holds them all."""


def opened(outcome: Outcome, stem: Stem, now: datetime) -> Outcome:
    """Add a stem; each device has one at a time."""
    recording = outcome.recording
    if stem in recording.stems:
        return outcome
    if recording.state is not RecordingState.LIVE:
        return replace(outcome, ignored="not_live")
    if len(recording.stems) >= MOST_STEMS:
        return replace(outcome, ignored="too_many_stems")
    if stem.number != len(recording.stems) + 1:
        return replace(outcome, ignored="stem_number")
    if any(each.left is None and _device(each) == _device(stem) for each in recording.stems):
        return replace(outcome, ignored="device_has_a_stem")
    return replace(outcome, recording=replace(recording, stems=(*recording.stems, stem), heard_at=now))


def _device(stem: Stem) -> tuple[UserId, str]:
    return stem.user_id, stem.device_id


def closed(outcome: Outcome, event: StemClosed) -> Outcome:
    """Note how a stem ended, and its file."""
    stem = _stem(outcome.recording, event.number)
    if stem is None:
        return _ignored(outcome, event, "unknown_stem")
    if stem.left is not None and not _is_unread(stem, event):
        return outcome if stem.blob == event.blob else _ignored(outcome, event, "stem_is_closed")
    closed = replace(
        stem,
        left=max(stem.joined, event.left),
        left_by=LeftBy.ENDED if stem.cut_at is not None and event.left_by is LeftBy.LOST else event.left_by,
        received=event.received,
        lost=event.lost,
        blob=event.blob,
        bytes=event.bytes,
        slices=event.slices,
    )
    after = with_stems(outcome, [closed])
    if event.left_by is not LeftBy.LOST:
        return after
    return replace(after, recording=times.heard_until(after.recording, stem, event.left))


def _is_unread(stem: Stem, event: StemClosed) -> bool:
    """Return whether a stem was closed without its file, which could not be read, and an event brings it."""
    return stem.left_by is LeftBy.LOST and stem.blob is None and event.blob is not None and not stem.removed


def _is_cut(stem: Stem) -> bool:
    """Return whether somebody objected to a stem: it ends, and not all of it is kept."""
    return stem.removed or stem.cut_at is not None


def _stem(recording: Recording, number: int | None) -> Stem | None:
    return next((stem for stem in recording.stems if stem.number == number), None)


def with_stems(outcome: Outcome, changed: Iterable[Stem]) -> Outcome:
    """Return the outcome with these stems in place of those with their numbers."""
    by_number = {stem.number: stem for stem in changed}
    stems = tuple(by_number.get(stem.number, stem) for stem in outcome.recording.stems)
    return replace(outcome, recording=replace(outcome.recording, stems=stems))


def without_torn_files(outcome: Outcome) -> Outcome:
    """Forget the files of stems of which a slice may not be kept."""
    suspects = {stem.number: stem for stem in outcome.recording.stems if stem.blob is not None and _is_cut(stem)}
    if not suspects:
        return outcome
    torn = {chunk.stem for chunk in outcome.chunks if chunk.stem in suspects and on_chunks.is_removed(chunk)}
    gone = [stem for stem in suspects.values() if stem.removed or stem.number in torn]
    forgotten = tuple(Forget(stem.blob) for stem in gone if stem.blob is not None)
    after = with_stems(outcome, [replace(stem, blob=None, bytes=None) for stem in gone])
    return replace(after, effects=(*after.effects, *forgotten))


def brought_by(event: RecordingEvent) -> list[BlobKey]:
    """Return the keys of the blobs that an event brings into the archive."""
    match event:
        case SlicesKept(slices=slices):
            return [chunk.blob for chunk in slices if chunk.blob is not None]
        case StemClosed(blob=blob) if blob is not None:
            return [blob]
    blob = on_chunks.blob_of(event)
    return [] if blob is None else [blob]


def _ignored(outcome: Outcome, event: RecordingEvent, rule: str) -> Outcome:
    return replace(outcome, effects=tuple(map(Forget, brought_by(event))), ignored=rule)


# ---- slices


def kept(outcome: Outcome, slices: Iterable[Chunk], now: datetime, limits: Limits) -> Outcome:
    """Keep slices, each once. One that may not be kept is listed without its sound; the first beyond the limit ends the
    recording."""
    known = {chunk.id: chunk for chunk in outcome.chunks}
    new: list[Chunk] = []
    unwanted: list[Effect] = []
    for chunk in slices:
        if (old := known.get(chunk.id)) is not None:
            unwanted += [Forget(chunk.blob)] if chunk.blob and chunk.blob != old.blob else []
            continue
        listed = _listed(outcome.recording, chunk, limits)
        if chunk.blob is not None and (listed is None or listed.blob is None):
            unwanted.append(Forget(chunk.blob))
        if listed is not None:
            known[chunk.id] = listed
            new.append(listed)
    new.sort(key=lambda chunk: chunk.position)  # as all chunks stand: so they are only added to
    after = replace(outcome, chunks=(*outcome.chunks, *new), effects=(*outcome.effects, *unwanted))
    if not new:
        return after
    if any(chunk.reason == on_chunks.BEYOND_LIMIT for chunk in new):
        after = times.ended(after, EndedBy.LIMIT, now, limits)
    return replace(after, recording=replace(after.recording, heard_at=max(after.recording.heard_at, now)))


def _listed(recording: Recording, chunk: Chunk, limits: Limits) -> Chunk | None:
    """Return a new slice as the recording lists it; None: it belongs to none of its stems."""
    stem = _stem(recording, chunk.stem)
    if stem is None or chunk.sender != stem.user_id or chunk.at is None or chunk.at < stem.joined:
        return None
    if chunk.state is not ChunkState.STORED or chunk.blob is None or chunk.recording_id != recording.id:
        return None
    if stem.removed:
        return on_chunks.given_up(chunk, ChunkState.REDACTED, "redacted")
    if stem.cut_at is not None and chunk.position > stem.cut_at:
        return on_chunks.given_up(chunk, ChunkState.REFUSED, on_chunks.NOT_WANTED)
    if chunk.at >= limits.max_samples:
        return on_chunks.given_up(chunk, ChunkState.REFUSED, on_chunks.BEYOND_LIMIT)
    return chunk


def cut(outcome: Outcome, event: Silenced | Ended) -> Outcome:
    """Remove the slices that begin behind an objection, now and when they come."""
    if event.since is None:
        return outcome
    sender = event.sender if isinstance(event, Silenced) else None
    after = on_chunks.silenced(outcome, event) if isinstance(event, Silenced) else on_chunks.cut(outcome, event)
    theirs = [stem for stem in outcome.recording.stems if sender in (None, stem.user_id)]
    cut_at = [event.since if stem.cut_at is None else min(stem.cut_at, event.since) for stem in theirs]
    return with_stems(after, [replace(stem, cut_at=at) for stem, at in zip(theirs, cut_at, strict=True)])
