"""The chapters of an episode: the one source for its tag, pages and feeds. Pure.

A chapter begins where sound is missing, where it is there again, and where the recording's kind says so (`kinds`).
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from bot.recording.ledger import Ledger
from bot.recording.lengths import spoken_gap
from storage.records import DurationMs, Mark, Samples, to_ms

BEGINNING = "Beginning"
RESUMED = "Resumed"
MOST = 255  # a file's table of contents counts them in one byte
CLOSEST = DurationMs(1000)


def marks(ledger: Ledger, resumed: Iterable[Samples] = (), title: str | None = None) -> tuple[Mark, ...]:
    """Each begins inside the audio, a second or more behind the one before; none where there is only the beginning.
    `resumed`: where it goes on after a pause; `title`: what people called the recording. Only what the audio itself
    and its title tell, for the file keeps them."""
    titles = {DurationMs(0): title or BEGINNING}
    titles.update((to_ms(position), RESUMED) for position in resumed)
    missing = set()
    for position, samples in ledger.silences:
        begins = to_ms(position)
        missing.add(begins)
        titles[begins] = f"{spoken_gap(to_ms(samples))} missing"
        titles[to_ms(position + samples)] = RESUMED  # unless another one begins there
    if len(titles) == 1 and not missing:
        return ()
    inside = (Mark(at, titles[at]) for at in sorted(titles) if at < to_ms(ledger.samples))
    return tuple(islice(_apart(inside, missing), MOST))


def _apart(found: Iterable[Mark], missing: set[DurationMs]) -> list[Mark]:
    """Of those that are closer to one another the first counts; but what is missing has the word."""
    kept: list[Mark] = []
    for mark in found:
        if not kept or mark.at - kept[-1].at >= CLOSEST:
            kept.append(mark)
        elif mark.at in missing and kept[-1].at not in missing:
            kept[-1] = replace(kept[-1], title=mark.title)
    return kept
