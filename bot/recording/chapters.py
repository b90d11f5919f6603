"""The chapters of an episode: the one source for its tags, pages and feeds. Pure."""

from dataclasses import dataclass

from bot.recording.ledger import Ledger
from bot.recording.lengths import spoken_gap
from storage.records import DurationMs, to_ms

BEGINNING = "Beginning"
GOES_ON = "Goes on"


@dataclass(frozen=True, slots=True)
class Mark:
    """A chapter begins here and lasts until the next, or to the end."""

    at: DurationMs
    title: str


def marks(ledger: Ledger) -> tuple[Mark, ...]:
    """Where sound is missing, and where it goes on; none where nothing is. Only what the audio itself tells, for the
    file keeps them."""
    if not ledger.gaps:
        return ()
    titles = {DurationMs(0): BEGINNING}
    for gap in ledger.gaps:
        titles[to_ms(gap.position)] = f"{spoken_gap(to_ms(gap.samples))} missing"
        titles[to_ms(gap.position + gap.samples)] = GOES_ON  # unless another gap begins there
    return tuple(Mark(at, title) for at, title in titles.items())
