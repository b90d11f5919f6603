"""The account of a recording: which sound it lacks, in words. Pure. Show notes, tags, notices, `status` and pages take
their sentences from here.

Positions are those in the audio, as a player shows them: `14:05` is fourteen minutes in, where a listener can seek to.
A time of day would be right in one time zone only, and wrong after each pause, since pauses are cut out. Positions stay
right when a gap heals: a gap is silence of its true length.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from bot.language import N_, _, plural
from bot.recording import wrong_lengths
from bot.recording.chunks import NOT_WANTED, OUT_OF_TURN
from bot.recording.ledger import Entry, Ledger
from bot.recording.lengths import player_clock, spoken_gap
from bot.recording.wording import words_of
from storage.records import (
    KEY_WITHHELD,
    ChunkState,
    DurationMs,
    Loss,
    Recording,
    RecordingState,
    Samples,
    to_ms,
)

TOLD_SINGLY = 3
"""Gaps that are named one by one. For more, only the total and the first position are given."""

WHY = {
    ChunkState.WAITING_FOR_KEY: N_("can't be decrypted yet: the speaker's key has not arrived"),
    ChunkState.WAITING_FOR_MEDIA: N_("can't be fetched from the homeserver yet (Aircheck keeps trying)"),
    ChunkState.DAMAGED: N_("arrived damaged"),
    ChunkState.REFUSED: N_("exceeded the limits on what is kept"),
    ChunkState.MISSING: N_("did not arrive"),
    ChunkState.REDACTED: N_("can no longer be played: removed by the speaker or a moderator"),
    ChunkState.AWAY: N_("was said while Aircheck was not in the call"),
    ChunkState.UNRECORDED: N_("not recorded: the microphone gave no sound"),
}
"""Predicates that fit one chunk or many."""
ON_ITS_WAY = N_("being fetched")
UNWANTED = N_("not kept: recording was switched off")
WITHOUT_FLOOR = N_("said without the floor")
NO_KEY = {
    "m.unverified": N_(
        "the speaker's client shares keys with verified devices only: the speaker can verify this bot, or allow "
        "unverified devices"
    ),
    "m.blacklisted": N_("the speaker has blocked this bot and can unblock it in their client"),
    "m.unauthorised": N_("the speaker's client says that this bot may not have the key"),
    "m.unavailable": N_("the speaker's client no longer has the key"),
}
NO_KEY_AT_ALL = N_("the speaker's client does not share the key")

STATES = {
    RecordingState.LIVE: N_("live"),
    RecordingState.FINISHING: N_("being finished"),
    RecordingState.COMPLETE: N_("complete"),
    RecordingState.INCOMPLETE: N_("incomplete"),
    RecordingState.EMPTY: N_("empty"),
    RecordingState.DELETED: N_("deleted"),
}
CHUNK_STATES = {
    ChunkState.STORED: N_("stored"),
    ChunkState.WAITING_FOR_KEY: N_("waiting for key"),
    ChunkState.WAITING_FOR_MEDIA: N_("waiting for media"),
    ChunkState.DAMAGED: N_("damaged"),
    ChunkState.MISSING: N_("missing"),
    ChunkState.DUPLICATE: N_("duplicate"),
    ChunkState.REDACTED: N_("redacted"),
    ChunkState.REFUSED: N_("refused"),
    ChunkState.AWAY: N_("away"),
    ChunkState.UNRECORDED: N_("not recorded"),
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
    return entry.state not in (ChunkState.STORED, ChunkState.DUPLICATE) and entry.reason != OUT_OF_TURN


# ---- the whole recording


def silences(loss: Loss) -> str | None:
    """Return `2 min missing at 14:05`, or None. The text depends on the audio alone, so the file itself may hold it."""
    if not loss.gaps:
        return None
    places = [player_clock(to_ms(position)) for position, _samples in loss.first]
    if loss.gaps > len(places):
        told = _("{length} missing in {count} places, the first at {place}")
        return told.format(length=spoken_gap(to_ms(loss.samples)), count=loss.gaps, place=places[0])
    forms = (_("{length} missing at {place}"), *[_("{length} at {place}")] * (loss.gaps - 1))
    lengths = [spoken_gap(to_ms(samples)) for _position, samples in loss.first]
    parts = [
        form.format(length=length, place=place) for form, length, place in zip(forms, lengths, places, strict=True)
    ]
    return (
        parts[0] if len(parts) == 1 else _("{several} and {last}").format(several=", ".join(parts[:-1]), last=parts[-1])
    )


def comment(loss: Loss) -> str:
    """Return the comment tag of the file. The sound can't show whether more followed its end, so the tag does not say
    so."""
    return silences(loss) or _("no gaps")


def missing(recording: Recording, loss: Loss) -> str | None:
    """Return a text on the gaps, and on the end if it may be missing; None if nothing is missing."""
    parts = [part for part in (silences(loss), _of_speakers(recording), _end(recording, loss)) if part]
    return ", ".join(parts) or None


def _of_speakers(recording: Recording) -> str | None:
    """Tell that members of a call were not heard for a time. Public texts name nobody."""
    if recording.state is not RecordingState.INCOMPLETE or not recording.unheard:
        return None
    count = len({each.user_id for each in recording.unheard})
    return plural("some sound of {count} member is missing", "some sound of {count} members is missing", count)


def _end(recording: Recording, loss: Loss) -> str | None:
    if recording.state is not RecordingState.INCOMPLETE:
        return None
    no_end = words_of(recording).no_end
    if recording.ended_by and recording.ended_by in no_end:
        return _(no_end[recording.ended_by])
    if loss.end:
        return _("its end is missing")
    return None if loss.gaps or recording.unheard else _("some of it may be missing")


def first_line(recording: Recording, loss: Loss) -> str | None:
    """Return the first line of show notes, if something is missing."""
    told = missing(recording, loss)
    return told[0].upper() + told[1:] if told else None


def whole(recording: Recording, loss: Loss) -> str:
    """Return `complete`, `incomplete, 2 min missing at 14:05`, `live` or the like."""
    state = _(STATES[recording.state])
    return f"{state}, {missing(recording, loss)}" if recording.state is RecordingState.INCOMPLETE else state


def verdict(recording: Recording, ledger: Ledger, *, unheard: bool = False) -> str:
    """Return whole sentences on whether the recording is complete. Pages list the missing parts beside it. `unheard`:
    members of a call were not heard, and pages say why."""
    match recording.state:
        case RecordingState.COMPLETE if unheard:
            return _("The episode has all audio that was received.")
        case RecordingState.COMPLETE:
            return _("Complete: the episode has all audio that was sent.")
        case RecordingState.LIVE:
            return _("Live: the audio received so far.")
        case RecordingState.FINISHING:
            return _("Ended: the last audio is being added.")
        case RecordingState.INCOMPLETE:
            hope = _("Missing audio is added if it arrives later.") if ledger.waiting else ""
            return f"{_('Incomplete: some audio that was sent is missing.')} {hope}".strip()
        case _other:
            return _("There is no audio.")


# ---- single chunks


def why(entry: Entry) -> str | None:
    """Return why a chunk is not in the audio; None if it is, or if its duplicate is."""
    reason = entry.reason or ""
    if entry.state is ChunkState.WAITING_FOR_KEY and reason.startswith(KEY_WITHHELD):
        withheld = NO_KEY.get(reason.removeprefix(KEY_WITHHELD), NO_KEY_AT_ALL)
        return _("can't be decrypted: {reason}").format(reason=_(withheld))
    if _is_on_its_way(entry):
        return _(ON_ITS_WAY)
    if reason == NOT_WANTED:
        return _(UNWANTED)
    if reason == OUT_OF_TURN:
        return _(WITHOUT_FLOOR)
    return _(WHY[entry.state]) if entry.state in WHY else None


def _is_on_its_way(entry: Entry) -> bool:
    return entry.state is ChunkState.WAITING_FOR_MEDIA and not entry.reason


def troubles(ledger: Ledger) -> tuple[tuple[str, int], ...]:
    """Count the chunks that are absent, by reason. A chunk that is being fetched for the first time is no trouble."""
    states = list(WHY)
    absent = sorted(filter(_is_absent, ledger.entries), key=lambda entry: states.index(entry.state))
    counted = Counter(why(entry) for entry in absent if not _is_on_its_way(entry))
    return (*((said, count) for said, count in counted.items() if said), *_in_part(ledger))


def _in_part(ledger: Ledger) -> Iterator[tuple[str, int]]:
    """Count the chunks that are damaged inside, and add up the sound that they lack."""
    torn = [sum(hole.samples for hole in entry.holes) for entry in ledger.entries if entry.holes]
    if torn:
        yield (
            _("arrived partly damaged: {seconds} can't be played").format(seconds=wrong_lengths.seconds(sum(torn))),
            len(torn),
        )


def note(entry: Entry) -> str | None:
    """Return the note on a chunk that is in the audio: a part that is damaged or was not recorded, or a wrong claim
    about its length."""
    if entry.holes:
        return _("partly damaged")
    return _("partly not recorded") if entry.unrecorded else wrong_lengths.note(entry)


def gaps(ledger: Ledger) -> Iterator[SilentStretch]:
    """Yield each gap of a ledger, with all the reasons that its chunks give."""
    silent = iter([entry for entry in ledger.entries if entry.silence and entry.samples])
    entry = next(silent, None)
    for gap in ledger.gaps:
        said: dict[str, None] = {}
        while entry is not None and entry.position < gap.position + gap.samples:
            said[why(entry) or ""] = None
            entry = next(silent, None)
        yield SilentStretch(to_ms(gap.position), to_ms(gap.samples), "; ".join(said) or _(WHY[gap.reason]))
