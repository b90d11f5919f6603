"""The account of a recording: which sound it lacks, in words. Pure. Show notes, tags, notices, `status` and pages take
their sentences from here.

Positions are those in the audio, as a player shows them: `14:05` is fourteen minutes in, where a listener can seek to.
A time of day would be right in one time zone only, and wrong after each pause, since pauses are cut out. Positions stay
right when a gap heals: a gap is silence of its true length.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bot.recording.ledger import Entry, Ledger
from bot.recording.lengths import player_clock, spoken_gap
from storage.records import (
    KEY_WITHHELD,
    SAMPLE_RATE,
    ChunkState,
    DurationMs,
    EndedBy,
    Loss,
    Recording,
    RecordingState,
    Samples,
    to_ms,
)

NOTICED = SAMPLE_RATE // 100
"""Samples. Nobody hears less than 10 ms, and no codec has a shorter frame."""
ANNOUNCED_WRONG = SAMPLE_RATE
"""Samples. Element Web announces up to 0.6 s too much for the last chunk of a run."""
TOLD_WRONG = SAMPLE_RATE // 10
"""Samples. A smaller difference is the padding of a codec."""
TOLD_SINGLY = 3
"""Gaps that are named one by one. For more, only the total and the first position are given."""

WHY = {
    ChunkState.WAITING_FOR_KEY: "can't be decrypted yet: the speaker's key has not arrived",
    ChunkState.WAITING_FOR_MEDIA: "can't be fetched from the homeserver yet (Aircheck keeps trying)",
    ChunkState.DAMAGED: "arrived damaged",
    ChunkState.REFUSED: "exceeded the limits on what is kept",
    ChunkState.MISSING: "did not arrive",
    ChunkState.REDACTED: "can no longer be played: removed by the speaker or a moderator",
}
"""Predicates that fit one chunk or many."""
ON_ITS_WAY = "being fetched"
NO_KEY = {
    "m.unverified": "the speaker's client shares keys with verified devices only: the speaker can verify this bot, "
    "or allow unverified devices",
    "m.blacklisted": "the speaker has blocked this bot and can unblock it in their client",
    "m.unauthorised": "the speaker's client says that this bot may not have the key",
    "m.unavailable": "the speaker's client no longer has the key",
}
NO_KEY_AT_ALL = "the speaker's client does not share the key"

WHY_NO_END = {
    EndedBy.ABANDONED: "its end never came",
    EndedBy.RESTARTED: "its speaker started a new broadcast before its end",
    EndedBy.LEFT: "its speaker left before its end",
    EndedBy.REMOVED: "the bot was removed before its end",
    EndedBy.SWITCHED_OFF: "recording was switched off before its end",
    EndedBy.LIMIT: "it was longer than may be recorded",
}


@dataclass(frozen=True, slots=True)
class SilentStretch:
    """A gap in the terms that people read: position and length."""

    position: DurationMs
    length: DurationMs
    why: str


def loss_of(ledger: Ledger) -> Loss:
    """Return the summary of a ledger's silences that an episode's row keeps."""
    stretches = ledger.silences
    return Loss(
        samples=Samples(sum(samples for _, samples in stretches)),
        gaps=len(stretches),
        first=stretches[:TOLD_SINGLY],
        end=not ledger.complete and _lacks_end(ledger),
    )


def _lacks_end(ledger: Ledger) -> bool:
    last = max((index for index, entry in enumerate(ledger.entries) if entry.sounds), default=-1)
    return any(_is_absent(entry) for entry in ledger.entries[last + 1 :])


def _is_absent(entry: Entry) -> bool:
    return entry.state not in (ChunkState.STORED, ChunkState.DUPLICATE)


# ---- the whole recording


def silences(loss: Loss) -> str | None:
    """Return `2 min missing at 14:05`, or None. The text depends on the audio alone, so the file itself may hold it."""
    if not loss.gaps:
        return None
    places = [player_clock(to_ms(position)) for position, _ in loss.first]
    if loss.gaps > len(places):
        return f"{spoken_gap(to_ms(loss.samples))} missing in {loss.gaps} places, the first at {places[0]}"
    lengths = [spoken_gap(to_ms(samples)) for _, samples in loss.first]
    told = [f"{lengths[0]} missing at {places[0]}"]
    told += [f"{length} at {place}" for length, place in zip(lengths[1:], places[1:], strict=True)]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def comment(loss: Loss) -> str:
    """Return the comment tag of the file. The sound can't show whether more followed its end, so the tag does not say
    so."""
    return silences(loss) or "no gaps"


def missing(recording: Recording, loss: Loss) -> str | None:
    """Return a text on the gaps, and on the end if it may be missing; None if nothing is missing."""
    parts = [part for part in (silences(loss), _end(recording, loss)) if part]
    return ", ".join(parts) or None


def _end(recording: Recording, loss: Loss) -> str | None:
    if recording.state is not RecordingState.INCOMPLETE:
        return None
    if recording.ended_by in WHY_NO_END:
        return WHY_NO_END[recording.ended_by]
    if loss.end:
        return "its end is missing"
    return None if loss.gaps else "some of it may be missing"


def first_line(recording: Recording, loss: Loss) -> str | None:
    """Return the first line of show notes, if something is missing."""
    told = missing(recording, loss)
    return told[0].upper() + told[1:] if told else None


def whole(recording: Recording, loss: Loss) -> str:
    """Return `complete`, `incomplete, 2 min missing at 14:05`, `live` or the like."""
    match recording.state:
        case RecordingState.FINISHING:
            return "being finished"
        case RecordingState.INCOMPLETE:
            return f"incomplete, {missing(recording, loss)}"
        case state:
            return str(state)


def verdict(recording: Recording, ledger: Ledger) -> str:
    """Return whole sentences on whether the recording is complete. Pages list the missing parts beside it."""
    match recording.state:
        case RecordingState.COMPLETE:
            return "Complete: the episode has all audio that was sent."
        case RecordingState.LIVE:
            return "Live: the audio received so far."
        case RecordingState.FINISHING:
            return "Ended: the last audio is being added."
        case RecordingState.INCOMPLETE:
            hope = " Missing audio is added if it arrives later." if ledger.waiting else ""
            return f"Incomplete: some audio that was sent is missing.{hope}"
        case _:
            return "There is no audio."


# ---- single chunks


def why(entry: Entry) -> str | None:
    """Return why a chunk is not in the audio; None if it is, or if its duplicate is."""
    reason = entry.reason or ""
    if entry.state is ChunkState.WAITING_FOR_KEY and reason.startswith(KEY_WITHHELD):
        return f"can't be decrypted: {NO_KEY.get(reason.removeprefix(KEY_WITHHELD), NO_KEY_AT_ALL)}"
    if entry.state is ChunkState.WAITING_FOR_MEDIA and not reason:
        return ON_ITS_WAY
    return WHY.get(entry.state)


def troubles(ledger: Ledger) -> tuple[tuple[str, int], ...]:
    """Count the chunks that are absent, by reason. A chunk that is being fetched for the first time is no trouble."""
    states = list(WHY)
    absent = sorted(filter(_is_absent, ledger.entries), key=lambda entry: states.index(entry.state))
    counted = Counter(said for entry in absent if (said := why(entry)) != ON_ITS_WAY)
    return (*((said, count) for said, count in counted.items() if said), *_in_part(ledger))


def _in_part(ledger: Ledger) -> Iterator[tuple[str, int]]:
    """Count the chunks that are damaged inside, and add up the sound that they lack."""
    torn = [sum(hole.samples for hole in entry.holes) for entry in ledger.entries if entry.holes]
    if torn:
        yield f"arrived partly damaged: {_tenths(sum(torn))} can't be played", len(torn)


def off_lengths(off_by: Iterable[Samples]) -> tuple[tuple[str, int], ...]:
    """Count the chunks that were decoded to a wrong length, and add up the differences; in the file their length is
    right. `off_by`: samples too many of each chunk (negative: too few)."""
    told = []
    for word, lengths in _apart(off_by, NOTICED):
        should = "it should" if len(lengths) == 1 else "they should, taken together"
        told.append((f"sounded {_tenths(sum(lengths))} {word} than {should}", len(lengths)))
    return tuple(told)


def off_announced(ledger: Ledger) -> tuple[tuple[str, int], ...]:
    """Count the chunks that hold more or less sound than their events announced, and add up the differences. The audio
    has all sound that was sent; but a speaker may miss sound that was never in the file."""
    differences = (entry.off_announced for entry in ledger.entries)
    return tuple(_held(differences, ANNOUNCED_WRONG, "its event announced", "their events announced"))


def off_told(ledger: Ledger) -> tuple[tuple[str, int], ...]:
    """Count the chunks that hold more or less sound than their files claim, and add up the differences."""
    differences = (entry.off_told for entry in ledger.entries)
    return tuple(_held(differences, TOLD_WRONG, "its file claims", "their files claim"))


def _held(differences: Iterable[Samples], noticed: int, one: str, many: str) -> Iterator[tuple[str, int]]:
    for word, lengths in _apart(differences, noticed):
        less = "less" if word == "shorter" else "more"
        told = f"{_tenths(sum(lengths))} {less} sound than"
        yield (f"holds {told} {one}", 1) if len(lengths) == 1 else (f"hold {told} {many}", len(lengths))


def note(entry: Entry) -> str | None:
    """Return the note on a chunk that is in the audio: a damaged part, or a wrong claim about its length."""
    if entry.holes:
        return "partly damaged"
    for difference, noticed, claimed in (
        (entry.off_told, TOLD_WRONG, "its file claims"),
        (entry.off_announced, ANNOUNCED_WRONG, "its event announced"),
    ):
        if abs(difference) >= noticed:
            return f"holds {'more' if difference > 0 else 'less'} sound than {claimed}"
    return None


def _apart(differences: Iterable[Samples], noticed: int) -> Iterator[tuple[str, list[Samples]]]:
    """Group the differences of `noticed` samples or more into shorter and longer ones, without their signs."""
    wrong = [difference for difference in differences if abs(difference) >= noticed]
    for word, lengths in (
        ("shorter", [Samples(-difference) for difference in wrong if difference < 0]),
        ("longer", [difference for difference in wrong if difference > 0]),
    ):
        if lengths:
            yield word, lengths


def _tenths(samples: int) -> str:
    seconds = f"{samples / SAMPLE_RATE:.1f} s"
    return "less than 0.1 s" if seconds == "0.0 s" else seconds


def gaps(ledger: Ledger) -> Iterator[SilentStretch]:
    """Yield each gap of a ledger, with all the reasons that its chunks give."""
    silent = iter([entry for entry in ledger.entries if entry.silence and entry.samples])
    entry = next(silent, None)
    for gap in ledger.gaps:
        said: dict[str, None] = {}
        while entry is not None and entry.position < gap.position + gap.samples:
            said[why(entry) or ""] = None
            entry = next(silent, None)
        yield SilentStretch(to_ms(gap.position), to_ms(gap.samples), "; ".join(said) or WHY[gap.reason])
