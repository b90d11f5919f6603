"""Voice broadcasts as transmissions of a session. Pure.

A broadcast that is sent with the floor is a part of the session, and no recording of its own. It lives by the rules of
any broadcast: the machine of broadcasts is asked about it, as if it were a recording (`part`), and so is their layout.
Then the session's machine, which knows nothing of numbers and pages, goes on with what changed.

- A chunk that came without the floor is listed and not heard, and the broadcast is over with it. What the sender
  numbered or announced from there on is not missing. One that begins without the floor is over from the start.
- A broadcast gives the floor back when it has stopped and all chunks up to the announced number have come: the
  homeserver would refuse the rest, which clients send after `stopped`. It waits for `TAIL` at most.
- When it is whole, or as whole as it gets, the bot hands it back as a voice message.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot.recording import chunks as on_chunks
from bot.recording.broadcast import layout, machine
from bot.recording.chunks import NOT_WANTED, OUT_OF_TURN
from bot.recording.ledger import Ledger
from bot.recording.model import (
    BroadcastStarted,
    ChunkSealed,
    ChunkSent,
    Effect,
    Ended,
    FetchChunk,
    Finish,
    Forget,
    HandBack,
    LookAgain,
    Outcome,
    RecordingEvent,
    Spoke,
    TakeBack,
    Tell,
    Tick,
    Withdraw,
)
from bot.recording.policy import Limits
from storage.records import (
    SAMPLE_RATE,
    Chunk,
    EndedBy,
    EventId,
    Position,
    Recording,
    RecordingKind,
    RecordingState,
    Transmission,
    UserId,
)

TAIL = timedelta(seconds=10)
"""The time after `stopped` for which the sender keeps the floor while announced chunks are missing."""
MOST_OUT_OF_TURN = 100
"""Broadcasts in one session that are begun without the floor, and listed."""
OF_A_BROADCAST = ("state", "heard_at", "paused", "announced_last", "ended_by", "ended_at", "quiet_until")
"""The fields that the machine of broadcasts changes."""


def find(recording: Recording, broadcast: EventId | None) -> Transmission | None:
    """Return the transmission that a started event began; None where it began none."""
    return next((each for each in recording.transmissions if each.event_id == broadcast), None)


def part(recording: Recording, broadcast: EventId) -> Recording:
    """Return the broadcast that a started event began, as a recording: itself, or a transmission of a session."""
    transmission = find(recording, broadcast)
    return recording if transmission is None else _as_broadcast(recording, transmission)


def alone(recording: Recording, broadcast: EventId, chunks: Iterable[Chunk]) -> tuple[Recording, tuple[Chunk, ...]]:
    """Return a transmission of a session as a recording of its own, and the chunks that are heard in it."""
    transmission = find(recording, broadcast)
    assert transmission is not None, "its messages refer to it"
    chunks = tuple(chunks)
    mine, _others = _divided(chunks, transmission)
    return _as_broadcast(recording, transmission, passed_over(chunks, transmission)), mine


def of_chunk(outcome: Outcome, chunk: Chunk | None) -> Transmission | None:
    """Return the transmission whose sound a chunk is a part of; None for a message, and for a chunk that is not heard
    by any rule of its broadcast."""
    if chunk is None or chunk.transmission is None or is_passed_over(chunk):
        return None
    return find(outcome.recording, chunk.transmission)


def is_passed_over(chunk: Chunk) -> bool:
    """Return whether a chunk counts as if it had not been said."""
    return chunk.reason in (OUT_OF_TURN, NOT_WANTED)


def begun(
    outcome: Outcome, event: BroadcastStarted, event_id: EventId, position: Position, now: datetime, limits: Limits
) -> Outcome:
    """Add the transmission of a broadcast that starts. An earlier one of the same device is over, and so is one that
    begins without the floor."""
    if find(outcome.recording, event_id) is not None:
        return outcome
    if not event.in_turn and sum(not each.in_turn for each in outcome.recording.transmissions) >= MOST_OUT_OF_TURN:
        return replace(outcome, ignored="too_many_out_of_turn")
    for each in outcome.recording.transmissions:
        if machine.restarts(event, position, _as_broadcast(outcome.recording, each)):
            outcome = step(outcome, each, Ended(EndedBy.RESTARTED), now=now, limits=limits)
    assert event.sent_at is not None
    new = Transmission(
        event_id=event_id,
        sender=event.sender,
        position=position,
        started_at=event.sent_at,
        heard_at=now,
        sender_name=event.sender_name,
        device_id=event.device_id,
        in_turn=event.in_turn,
    )
    if not event.in_turn:
        new = replace(new, state=RecordingState.EMPTY, ended_by=EndedBy.STOPPED, ended_at=event.sent_at)
    return _with(outcome, new)


def step(
    outcome: Outcome,
    transmission: Transmission,
    event: RecordingEvent,
    *,
    now: datetime,
    limits: Limits,
    event_id: EventId | None = None,
    position: Position | None = None,
) -> Outcome:
    """Apply an event to a transmission of a session."""
    if isinstance(event, ChunkSent | ChunkSealed) and not event.in_turn:
        assert event_id is not None
        assert position is not None
        return _out_of_turn(outcome, transmission, event, event_id, position, now, limits)
    mine, others = _divided(outcome.chunks, transmission)
    broadcast = _as_broadcast(outcome.recording, transmission, passed_over(outcome.chunks, transmission))
    left = replace(limits, max_broadcast_s=limits.max_broadcast_s - _seconds(others))
    after = machine.step(broadcast, mine, event, now=now, limits=left, event_id=event_id, position=position, asked=True)
    if after.ignored:
        return replace(outcome, effects=(*outcome.effects, *after.effects), ignored=after.ignored)
    changed = replace(transmission, **{name: getattr(after.recording, name) for name in OF_A_BROADCAST})
    if transmission.state is RecordingState.LIVE and changed.state is not RecordingState.LIVE:
        changed = replace(changed, yields_at=now + TAIL)
    chunks = [
        replace(
            chunk,
            transmission=changed.event_id,
            sender_name=None if on_chunks.is_removed(chunk) else changed.sender_name,
        )
        for chunk in after.chunks
    ]
    heard_at = max(outcome.recording.heard_at, changed.heard_at)
    together = replace(
        outcome,
        recording=replace(outcome.recording, heard_at=heard_at),
        chunks=tuple(sorted([*others, *chunks], key=lambda chunk: chunk.position)),
        effects=(*outcome.effects, *_effects(after.effects, changed)),
    )
    return yielded(_with(together, changed), changed, now)


def _divided(chunks: Sequence[Chunk], transmission: Transmission) -> tuple[tuple[Chunk, ...], tuple[Chunk, ...]]:
    """Return the chunks that are heard as parts of a transmission, and all others."""
    mine = tuple(each for each in chunks if each.transmission == transmission.event_id and not is_passed_over(each))
    ids = {chunk.id for chunk in mine}
    return mine, tuple(chunk for chunk in chunks if chunk.id not in ids)


def passed_over(chunks: Iterable[Chunk], transmission: Transmission) -> tuple[Chunk, ...]:
    """Return the chunks of a transmission that count as if they had not been said."""
    return tuple(each for each in chunks if each.transmission == transmission.event_id and is_passed_over(each))


def _seconds(chunks: Iterable[Chunk]) -> float:
    """Return the length of all sound in these chunks. The same media sent twice count once."""
    lengths = {chunk.blob: chunk.facts.samples for chunk in chunks if chunk.facts and chunk.blob is not None}
    return sum(lengths.values()) / SAMPLE_RATE


def _as_broadcast(recording: Recording, transmission: Transmission, cut: Sequence[Chunk] = ()) -> Recording:
    """Return a transmission as a recording. `cut`: the chunks that are passed over; nothing is missing from the first
    of them on."""
    fields = {name: getattr(transmission, name) for name in OF_A_BROADCAST}
    if cut:
        fields["announced_last"] = _announced_before(cut, transmission.announced_last)
        fields["ended_by"] = EndedBy.STOPPED if transmission.ended_by is not None else None
    return replace(
        recording,
        event_id=transmission.event_id,
        kind=RecordingKind.VOICE_BROADCAST,
        broadcaster=transmission.sender,
        broadcaster_name=transmission.sender_name,
        device_id=transmission.device_id,
        position=transmission.position,
        started_at=transmission.started_at,
        transmissions=(),
        **fields,
    )


def _announced_before(cut: Sequence[Chunk], announced: int | None) -> int | None:
    """Return the number up to which chunks are expected, if the numbers of those that are passed over tell it."""
    numbers = [chunk.sequence for chunk in cut if chunk.sequence is not None]
    if len(numbers) < len(cut):
        return None
    before = min(numbers) - 1
    return (before if announced is None else min(announced, before)) or None


def _with(outcome: Outcome, transmission: Transmission) -> Outcome:
    others = [each for each in outcome.recording.transmissions if each.event_id != transmission.event_id]
    ordered = tuple(sorted([*others, transmission], key=lambda each: each.position))
    return replace(outcome, recording=replace(outcome.recording, transmissions=ordered))


def _effects(effects: Iterable[Effect], transmission: Transmission) -> Iterable[Effect]:
    """Return what the effects of a broadcast are in its session, which makes one episode of all, and tells the room."""
    for effect in effects:
        match effect:
            case Finish():
                yield HandBack(transmission.event_id)
            case Withdraw():
                yield TakeBack(transmission.event_id)
            case FetchChunk() | Forget() | LookAgain():
                yield effect
            case Tell(what=on_chunks.LIMIT):
                yield effect


def _out_of_turn(
    outcome: Outcome,
    transmission: Transmission,
    event: ChunkSent | ChunkSealed,
    event_id: EventId,
    position: Position,
    now: datetime,
    limits: Limits,
) -> Outcome:
    """List a chunk that came without the floor, and end its broadcast."""
    after = on_chunks.refused_out_of_turn(
        outcome, event, event_id, position, transmission=transmission.event_id, name=transmission.sender_name
    )
    if after.ignored or len(after.chunks) == len(outcome.chunks):
        return after
    return step(after, transmission, Ended(EndedBy.STOPPED), now=now, limits=limits)


def ended(outcome: Outcome, by: EndedBy, now: datetime, limits: Limits, *, sender: UserId | None = None) -> Outcome:
    """End the transmissions that are running, or those of one sender."""
    for each in outcome.recording.transmissions:
        if each.state is RecordingState.LIVE and sender in (None, each.sender):
            outcome = step(outcome, each, Ended(by), now=now, limits=limits)
    return outcome


def removed(outcome: Outcome, transmission: Transmission) -> Outcome:
    """Take a transmission out of the session: its started event was redacted, or its sender wants to be forgotten."""
    mine = {chunk.id for chunk in outcome.chunks if chunk.transmission == transmission.event_id}
    outcome = on_chunks.without_sound(outcome, mine)
    gone = replace(
        transmission,
        state=RecordingState.DELETED,
        sender_name=None,
        device_id=None,
        quiet_until=None,
        ended_at=transmission.ended_at or transmission.heard_at,
    )
    return _with(outcome, gone).also(TakeBack(gone.event_id))


def forgotten(outcome: Outcome, sender: UserId) -> Outcome:
    """Take out all transmissions of a member who wants to be forgotten."""
    for each in outcome.recording.transmissions:
        if each.sender == sender and each.state is not RecordingState.DELETED:
            outcome = removed(outcome, each)
    return outcome


# ---- the clock, and the floor


def ticked(outcome: Outcome, now: datetime, limits: Limits) -> Outcome:
    """Look at the clocks of all transmissions."""
    for each in outcome.recording.transmissions:
        if each.state.is_open:
            outcome = step(outcome, each, Tick(), now=now, limits=limits)
        elif each.yields_at is not None:
            outcome = yielded(outcome, each, now)
    return outcome


def yielded(outcome: Outcome, transmission: Transmission, now: datetime) -> Outcome:
    """Give the floor back for a transmission that is over, or look again later."""
    if transmission.state is RecordingState.LIVE or transmission.yields_at is None:
        return outcome
    if now < transmission.yields_at and _lacks_a_number(outcome, transmission):
        return outcome.also(LookAgain(transmission.yields_at))
    after = _with(outcome, replace(transmission, yields_at=None))
    return after.also(Spoke(transmission.sender, transmission.position))


def _lacks_a_number(outcome: Outcome, transmission: Transmission) -> bool:
    if transmission.ended_by is not EndedBy.STOPPED or transmission.announced_last is None:
        return False
    mine, _others = _divided(outcome.chunks, transmission)
    if any(chunk.sequence is None for chunk in mine):
        return len(mine) < transmission.announced_last
    known = {chunk.sequence for chunk in mine}
    return any(number not in known for number in range(1, min(transmission.announced_last, len(known) + 1) + 1))


# ---- the sound


def lay_out(recording: Recording, transmission: Transmission, chunks: Iterable[Chunk]) -> Ledger:
    """Lay out the sound of a transmission, given the chunks of its session, as that of a broadcast."""
    return layout.lay_out(*alone(recording, transmission.event_id, chunks))
