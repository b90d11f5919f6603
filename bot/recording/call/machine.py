"""The life of a call's recording: a state and an event in, the new state and its effects out. Pure; the clock is passed
in.

    live ──the call ends, or the bot leaves it──▶ finishing ──every stem is closed──▶ complete | incomplete | empty

What is hard to see in the code:

- A time away begins where the last sound before it ends. After a crash this is known only once the stems are recovered,
  so the end of a lost stem moves the beginning.
- The recording ends when the bot decides so, or a command; the stems end a moment later, with their last slices. So it
  is decided once every stem is closed and all of its slices are here, or after the quiet period. Stems that a crash
  left open are closed later, and their slices heal it.
- An objection has a position in the timeline. A slice that begins behind it is not kept, whether it is here already or
  still comes: its stem remembers the position (`Stem.cut_at`). It is listed without its sound, as are the slices of a
  speaker who wants to be forgotten. The slice that had begun before stays, up to the end of its stem: the leg ends as
  soon as the objection is carried out, and a slice is never longer than a window.
- The file of a stem holds all of its slices. If one of them may not be kept, the file can't be either.
- A call goes on without one who objects: the others are still in it, or may come.
- Who speaks is known once the call was mixed. Until then whoever began it stands for the speakers.
- The same event twice changes nothing: slices and stems have names, and states only move forward.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from bot.recording import chunks as on_chunks
from bot.recording.call.layout import lay_out
from bot.recording.life import by_this_clock, ended, tombstone
from bot.recording.model import (
    CameBack,
    Deleted,
    Effect,
    Ended,
    Erase,
    Forget,
    Forgotten,
    LookAgain,
    NoticeSent,
    Outcome,
    RecordingEvent,
    Silenced,
    SlicesKept,
    Spoken,
    StemClosed,
    StemOpened,
    Tell,
    Tick,
    WentAway,
)
from bot.recording.policy import Limits
from bot.recording.settling import settled
from bot.recording.speakers import bounded
from storage.records import (
    SAMPLE_RATE,
    Away,
    BlobKey,
    CallProtocol,
    Chunk,
    ChunkState,
    EndedBy,
    EventId,
    HistoryVisibility,
    LeftBy,
    Position,
    Recording,
    RecordingId,
    RecordingKind,
    RecordingState,
    RoomId,
    Samples,
    Stem,
    UserId,
)

MOST_STEMS = 500
"""Stems of one recording. More are an attempt to fill the disk: its row holds them all."""

NOBODY_WATCHES = timedelta(minutes=2)
"""Time behind the limit after which a recording that nobody ended is over: the part that is in the call should have
ended it."""


def begin(
    *,
    protocol: CallProtocol,
    call_id: str,
    room_id: RoomId,
    event_id: EventId,
    position: Position,
    broadcaster: UserId,
    broadcaster_name: str | None,
    now: datetime,
    history_visibility: HistoryVisibility = HistoryVisibility.JOINED,
    public: bool = False,
    chosen: bool = False,
) -> Recording:
    """Return the recording of a call that the bot is about to join: its clock begins now. Storage gives it its id, code
    and number."""
    return Recording(
        id=RecordingId(0),
        code="",
        number=0,
        room_id=room_id,
        event_id=event_id,
        kind=RecordingKind.CALL,
        broadcaster=broadcaster,
        state=RecordingState.LIVE,
        position=position,
        started_at=now,
        heard_at=now,
        history_visibility=history_visibility,
        public=public,
        broadcaster_name=broadcaster_name,
        chosen=chosen,
        protocol=protocol,
        call_id=call_id,
    )


def first_effects(recording: Recording, limits: Limits) -> tuple[Effect, ...]:
    """Return the effects of the beginning."""
    return (LookAgain(_latest_end(recording, limits)),)


def step(
    recording: Recording,
    chunks: tuple[Chunk, ...],
    event: RecordingEvent,
    *,
    now: datetime,
    limits: Limits,
    event_id: EventId | None = None,
    position: Position | None = None,
    asked: bool = True,
) -> Outcome:
    """Apply an event to the recording of a call."""
    before = Outcome(by_this_clock(recording, now, limits), chunks)
    if recording.state is RecordingState.DELETED:
        return replace(before, effects=tuple(map(Forget, _brought_by(event))), ignored="deleted")
    if isinstance(event, Deleted):
        return replace(before, recording=tombstone(recording, now), effects=(Erase(),))
    after = _without_torn_files(_applied(before, event, now, limits))
    if after.ignored or after.recording.state is RecordingState.LIVE or isinstance(event, Spoken):
        return after
    if isinstance(event, StemClosed | SlicesKept) and _is_ending(before.recording) and _is_ending(after.recording):
        return after  # the next stem, or the end of the quiet period, decides
    return settled(before, after, event, now, limits, lay_out=lay_out, asked=True)


def _is_ending(recording: Recording) -> bool:
    """Return whether a recording has ended, and stems of it are still to be closed."""
    return recording.state is RecordingState.FINISHING and any(stem.left is None for stem in recording.stems)


def _applied(outcome: Outcome, event: RecordingEvent, now: datetime, limits: Limits) -> Outcome:
    """Apply the event itself, before anything is decided."""
    match event:
        case StemOpened(stem=stem):
            return _opened(outcome, stem, now)
        case StemClosed():
            return _closed(outcome, event)
        case SlicesKept(slices=slices):
            return _kept(outcome, slices, now, limits)
        case Silenced() | Ended() | Forgotten():
            return _objected(outcome, event, now, limits)
        case Tick() if outcome.recording.state is RecordingState.LIVE:
            return _watched(outcome, now, limits)
    return _noted(outcome, event)


def _noted(outcome: Outcome, event: RecordingEvent) -> Outcome:
    """Apply an event about the call as a whole."""
    match event:
        case NoticeSent():
            return _told(outcome, event)
        case WentAway(at=at):
            return _away(outcome, at)
        case CameBack(at=at):
            return _back(outcome, at)
        case Spoken():
            return _spoken(outcome, event)
    return outcome


def _objected(outcome: Outcome, event: Silenced | Ended | Forgotten, now: datetime, limits: Limits) -> Outcome:
    """Apply an end, or the objection of one speaker, without whom the call goes on."""
    match event:
        case Forgotten(sender=sender):
            return _forgotten(outcome, sender)
        case Silenced(sender=None):
            return _ended(_cut(outcome, event), EndedBy.SWITCHED_OFF, now, limits)
        case Silenced():
            return _cut(outcome, event)
        case Ended(by=by):
            return _ended(_cut(outcome, event), by, now, limits)


def _brought_by(event: RecordingEvent) -> list[BlobKey]:
    """Return the keys of the blobs that an event brings into the archive."""
    match event:
        case SlicesKept(slices=slices):
            return [chunk.blob for chunk in slices if chunk.blob is not None]
        case StemClosed(blob=blob) if blob is not None:
            return [blob]
    blob = on_chunks.blob_of(event)
    return [] if blob is None else [blob]


def _ignored(outcome: Outcome, event: RecordingEvent, rule: str) -> Outcome:
    return replace(outcome, effects=tuple(map(Forget, _brought_by(event))), ignored=rule)


# ---- the notice, and the times away


def _told(outcome: Outcome, event: NoticeSent) -> Outcome:
    recording = outcome.recording
    return outcome if recording.notice else replace(outcome, recording=replace(recording, notice=event.notice))


def clock(recording: Recording, at: datetime) -> Samples:
    """Return the place of a time on the clock of a call."""
    return Samples(max(0, round((at - recording.started_at).total_seconds() * SAMPLE_RATE)))


def _away(outcome: Outcome, at: Samples) -> Outcome:
    """Note that the bot is out of the call, and whether it leaves an open stem. It is out once at a time."""
    recording = outcome.recording
    company = any(stem.left is None for stem in recording.stems)
    last = recording.aways[-1] if recording.aways else None
    if recording.state is not RecordingState.LIVE or (last and last.ends is None):
        return outcome
    if last is not None and last.ends is not None and at <= last.ends:  # it was hardly back
        again = Away(last.begins, company=last.company or company)
        return replace(outcome, recording=replace(recording, aways=(*recording.aways[:-1], again)))
    return replace(outcome, recording=replace(recording, aways=(*recording.aways, Away(at, company=company))))


def _back(outcome: Outcome, at: Samples) -> Outcome:
    recording = outcome.recording
    last = recording.aways[-1] if recording.aways else None
    if last is None or last.ends is not None:
        return outcome
    ended_away = (replace(last, ends=at),) if at > last.begins else ()
    return replace(outcome, recording=replace(recording, aways=(*recording.aways[:-1], *ended_away)))


def _heard_until(recording: Recording, stem: Stem, end: Samples) -> Recording:
    """Begin a time away where the sound of a stem ends that was open when the bot went."""
    aways = []
    for away in recording.aways:
        until = end if away.ends is None else min(end, away.ends)
        begins = max(away.begins, until) if stem.joined <= away.begins else away.begins
        if begins != away.ends:
            aways.append(replace(away, begins=Samples(begins)))
    return replace(recording, aways=tuple(aways))


# ---- stems


def _opened(outcome: Outcome, stem: Stem, now: datetime) -> Outcome:
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


def _closed(outcome: Outcome, event: StemClosed) -> Outcome:
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
    after = _with_stems(outcome, [closed])
    if event.left_by is not LeftBy.LOST:
        return after
    return replace(after, recording=_heard_until(after.recording, stem, event.left))


def _is_unread(stem: Stem, event: StemClosed) -> bool:
    """Return whether a stem was closed without its file, which could not be read, and an event brings it."""
    return stem.left_by is LeftBy.LOST and stem.blob is None and event.blob is not None and not stem.removed


def _is_cut(stem: Stem) -> bool:
    """Return whether somebody objected to a stem: it ends, and not all of it is kept."""
    return stem.removed or stem.cut_at is not None


def _stem(recording: Recording, number: int | None) -> Stem | None:
    return next((stem for stem in recording.stems if stem.number == number), None)


def _with_stems(outcome: Outcome, changed: Iterable[Stem]) -> Outcome:
    by_number = {stem.number: stem for stem in changed}
    stems = tuple(by_number.get(stem.number, stem) for stem in outcome.recording.stems)
    return replace(outcome, recording=replace(outcome.recording, stems=stems))


def _without_torn_files(outcome: Outcome) -> Outcome:
    """Forget the files of stems of which a slice may not be kept."""
    suspects = {stem.number: stem for stem in outcome.recording.stems if stem.blob is not None and _is_cut(stem)}
    if not suspects:
        return outcome
    torn = {chunk.stem for chunk in outcome.chunks if chunk.stem in suspects and on_chunks.is_removed(chunk)}
    gone = [stem for stem in suspects.values() if stem.removed or stem.number in torn]
    forgotten = tuple(Forget(stem.blob) for stem in gone if stem.blob is not None)
    after = _with_stems(outcome, [replace(stem, blob=None, bytes=None) for stem in gone])
    return replace(after, effects=(*after.effects, *forgotten))


# ---- slices


def _kept(outcome: Outcome, slices: Iterable[Chunk], now: datetime, limits: Limits) -> Outcome:
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
        after = _ended(after, EndedBy.LIMIT, now, limits)
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


def _cut(outcome: Outcome, event: Silenced | Ended) -> Outcome:
    """Remove the slices that begin behind an objection, now and when they come."""
    if event.since is None:
        return outcome
    sender = event.sender if isinstance(event, Silenced) else None
    after = on_chunks.silenced(outcome, event) if isinstance(event, Silenced) else on_chunks.cut(outcome, event)
    theirs = [stem for stem in outcome.recording.stems if sender in (None, stem.user_id)]
    cut_at = [event.since if stem.cut_at is None else min(stem.cut_at, event.since) for stem in theirs]
    return _with_stems(after, [replace(stem, cut_at=at) for stem, at in zip(theirs, cut_at, strict=True)])


def _forgotten(outcome: Outcome, sender: UserId) -> Outcome:
    """Take a speaker out: their sound is silence, and their name goes. Their stems stay, without a file."""
    after = on_chunks.redacted(outcome, Forgotten(sender))
    after = _with_stems(
        after,
        [replace(stem, removed=True, name=None) for stem in after.recording.stems if stem.user_id == sender],
    )
    recording = after.recording
    remaining = tuple(credit for credit in recording.speakers if credit.user_id != sender)
    turns = tuple(turn for turn in recording.turns if turn.user_id != sender)
    return replace(after, recording=_led(replace(recording, speakers=remaining, turns=turns)))


def _spoken(outcome: Outcome, event: Spoken) -> Outcome:
    """Note who speaks. Whoever was taken out while the call was mixed is not among them."""
    heard = {stem.user_id for stem in outcome.recording.stems if not stem.removed}
    speakers = tuple(credit for credit in bounded(event.speakers) if credit.user_id in heard)
    turns = tuple(turn for turn in event.turns if turn.user_id in heard)
    return replace(outcome, recording=_led(replace(outcome.recording, speakers=speakers, turns=turns)))


def _led(recording: Recording) -> Recording:
    """Return the recording with its first speaker as its broadcaster, once they are known."""
    if not recording.speakers:
        return recording
    first = recording.speakers[0]
    return replace(recording, broadcaster=first.user_id, broadcaster_name=first.name)


# ---- the end


def _ended(outcome: Outcome, by: EndedBy, now: datetime, limits: Limits) -> Outcome:
    """End a live recording, and a time away that lasts."""
    if outcome.recording.state is not RecordingState.LIVE:
        return outcome
    over = _back(outcome, clock(outcome.recording, now))
    over = replace(over, recording=ended(over.recording, by, now, now, limits))
    return over.also(Tell(on_chunks.LIMIT)) if by is EndedBy.LIMIT else over


def _latest_end(recording: Recording, limits: Limits) -> datetime:
    return recording.started_at + timedelta(seconds=limits.max_broadcast_s) + NOBODY_WATCHES


def _watched(outcome: Outcome, now: datetime, limits: Limits) -> Outcome:
    latest = _latest_end(outcome.recording, limits)
    return _ended(outcome, EndedBy.LIMIT, now, limits) if now >= latest else outcome.also(LookAgain(latest))
