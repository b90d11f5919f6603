"""Chunks that hold more or less sound than somebody said, in words. Pure."""

from collections.abc import Callable, Iterable, Iterator

from bot.language import _, plural, spoken_number
from bot.recording.ledger import Entry, Ledger
from storage.records import SAMPLE_RATE, Samples

NOTICED = SAMPLE_RATE // 100
"""Samples. Nobody hears less than 10 ms, and no codec has a shorter frame."""
ANNOUNCED_WRONG = SAMPLE_RATE
"""Samples. Element Web announces up to 0.6 s too much for the last chunk of a run."""
TOLD_WRONG = SAMPLE_RATE // 10
"""Samples. A smaller difference is the padding of a codec."""

Predicate = Callable[[int, str], str]
"""The words about so many chunks and so many seconds."""


def off_lengths(off_by: Iterable[Samples]) -> tuple[tuple[str, int], ...]:
    """Count the chunks that were decoded to a wrong length, and add up the differences; in the file their length is
    right. `off_by`: samples too many of each chunk (negative: too few)."""
    return tuple(_told(off_by, NOTICED, _sounded_shorter, _sounded_longer))


def off_announced(ledger: Ledger) -> tuple[tuple[str, int], ...]:
    """Count the chunks that hold more or less sound than their events announced, and add up the differences. The audio
    has all sound that was sent; but a speaker may miss sound that was never in the file."""
    differences = (entry.off_announced for entry in ledger.entries)
    return tuple(_told(differences, ANNOUNCED_WRONG, _less_than_announced, _more_than_announced))


def off_told(ledger: Ledger) -> tuple[tuple[str, int], ...]:
    """Count the chunks that hold more or less sound than their files claim, and add up the differences."""
    differences = (entry.off_told for entry in ledger.entries)
    return tuple(_told(differences, TOLD_WRONG, _less_than_claimed, _more_than_claimed))


def _told(differences: Iterable[Samples], noticed: int, less: Predicate, more: Predicate) -> Iterator[tuple[str, int]]:
    """Yield the predicate of the chunks that are `noticed` samples or more too short, and of those too long."""
    wrong = [difference for difference in differences if abs(difference) >= noticed]
    shorter = [-difference for difference in wrong if difference < 0]
    longer = [difference for difference in wrong if difference > 0]
    for predicate, lengths in ((less, shorter), (more, longer)):
        if lengths:
            yield predicate(len(lengths), seconds(sum(lengths))), len(lengths)


def _sounded_shorter(chunks: int, seconds: str) -> str:
    return plural(
        "sounded {seconds} shorter than it should",
        "sounded {seconds} shorter than they should, taken together",
        chunks,
        seconds=seconds,
    )


def _sounded_longer(chunks: int, seconds: str) -> str:
    return plural(
        "sounded {seconds} longer than it should",
        "sounded {seconds} longer than they should, taken together",
        chunks,
        seconds=seconds,
    )


def _less_than_announced(chunks: int, seconds: str) -> str:
    return plural(
        "holds {seconds} less sound than its event announced",
        "hold {seconds} less sound than their events announced",
        chunks,
        seconds=seconds,
    )


def _more_than_announced(chunks: int, seconds: str) -> str:
    return plural(
        "holds {seconds} more sound than its event announced",
        "hold {seconds} more sound than their events announced",
        chunks,
        seconds=seconds,
    )


def _less_than_claimed(chunks: int, seconds: str) -> str:
    return plural(
        "holds {seconds} less sound than its file claims",
        "hold {seconds} less sound than their files claim",
        chunks,
        seconds=seconds,
    )


def _more_than_claimed(chunks: int, seconds: str) -> str:
    return plural(
        "holds {seconds} more sound than its file claims",
        "hold {seconds} more sound than their files claim",
        chunks,
        seconds=seconds,
    )


def note(entry: Entry) -> str | None:
    """Return the note on a chunk whose file or event claims a wrong length."""
    if abs(entry.off_told) >= TOLD_WRONG:
        more = entry.off_told > 0
        return _("holds more sound than its file claims") if more else _("holds less sound than its file claims")
    if abs(entry.off_announced) >= ANNOUNCED_WRONG:
        more = entry.off_announced > 0
        return (
            _("holds more sound than its event announced") if more else _("holds less sound than its event announced")
        )
    return None


def seconds(samples: int) -> str:
    """Return `1.5 s`, or that it is less than 0.1 s."""
    tenths = round(samples / SAMPLE_RATE, 1)
    return _("{n} s").format(n=spoken_number(tenths, 1)) if tenths else _("less than 0.1 s")
