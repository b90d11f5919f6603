"""The chapters of an episode: the one source for its tag, pages and feeds. Pure.

A chapter begins where sound is missing (but for a microphone's short stutter), where sound returns, and where the
recording's kind says so (`kinds`).
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from bot.language import N_, _
from bot.recording.ledger import Ledger
from bot.recording.lengths import spoken_gap
from storage.records import SAMPLE_RATE, ChunkState, DurationMs, Mark, Samples, to_ms

BEGINNING = N_("Beginning")
RESUMED = N_("Resumed")
MOST = 255  # a file's table of contents counts them in one byte
CLOSEST = DurationMs(1000)
BRIEF = Samples(2 * SAMPLE_RATE)
"""A microphone that stutters for less begins no chapter."""


def marks(ledger: Ledger, resumed: Iterable[Samples] = (), title: str | None = None) -> tuple[Mark, ...]:
    """Return the chapters: each begins inside the audio, a second or more after the one before. Return no chapters if
    the only one would begin at 0. `resumed`: the positions after a pause; `title`: the title that people gave. Only the
    audio and the title decide, since the file holds the chapters."""
    titles = {DurationMs(0): title or _(BEGINNING)}
    titles.update((to_ms(position), _(RESUMED)) for position in resumed)
    missing = set()
    brief = {gap.position for gap in ledger.gaps if gap.reason is ChunkState.UNRECORDED and gap.samples < BRIEF}
    for position, samples in ledger.silences:
        if position in brief and samples < BRIEF:
            continue
        begins = to_ms(position)
        missing.add(begins)
        titles[begins] = _("{length} missing").format(length=spoken_gap(to_ms(samples)))
        titles[to_ms(position + samples)] = _(RESUMED)  # unless another chapter begins there
    if len(titles) == 1 and not missing:
        return ()
    inside = (Mark(at, titles[at]) for at in sorted(titles) if at < to_ms(ledger.samples))
    return tuple(islice(_apart(inside, missing), MOST))


def _apart(candidates: Iterable[Mark], missing: set[DurationMs]) -> list[Mark]:
    """Keep the first of several marks within a second. If one of them is a gap, its title is used."""
    kept: list[Mark] = []
    for mark in candidates:
        if not kept or mark.at - kept[-1].at >= CLOSEST:
            kept.append(mark)
        elif mark.at in missing and kept[-1].at not in missing:
            kept[-1] = replace(kept[-1], title=mark.title)
    return kept
