"""The chapters of an episode: the one source for its tag, pages and feeds. Pure.

A chapter begins where the speaker goes on after a pause, where sound is missing, and where it is there again.

- One Ogg stream that is cut into chunks is one press of the button: the next stream begins behind a pause, whatever
  the client said. A client that makes each chunk a stream of its own gives no such proof, and other containers none.
- The client's `resumed` counts too: the sound goes on with the first chunk behind it in the timeline. A chunk that
  carries on its stream is none: it is the end of what was said before the pause, uploaded late.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, islice

from bot.recording.ledger import Entry, Ledger
from bot.recording.lengths import spoken_gap
from storage.records import Chunk, Container, DurationMs, EventId, Mark, Position, Samples, to_ms

BEGINNING = "Beginning"
GOES_ON = "Goes on"
MOST = 255  # a file's table of contents counts them in one byte
CLOSEST = DurationMs(1000)


def marks(ledger: Ledger, resumed: Iterable[Samples] = (), title: str | None = None) -> tuple[Mark, ...]:
    """Each begins inside the audio, a second or more behind the one before; none where there is only the beginning.
    `resumed`: where it goes on after a pause; `title`: what people called the recording. Only what the audio itself
    and its title tell, for the file keeps them."""
    titles = {DurationMs(0): title or BEGINNING}
    titles.update((to_ms(position), GOES_ON) for position in resumed)
    missing = set()
    for position, samples in ledger.silences:
        begins = to_ms(position)
        missing.add(begins)
        titles[begins] = f"{spoken_gap(to_ms(samples))} missing"
        titles[to_ms(position + samples)] = GOES_ON  # unless another one begins there
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


# ---- pauses


def resumptions(ledger: Ledger, chunks: Iterable[Chunk], resumed: Sequence[Position]) -> tuple[Samples, ...]:
    """Where the sound goes on after a pause. `resumed`: the places of such events in the timeline."""
    heard = [entry for entry in ledger.entries if entry.sounds]
    places: dict[EventId | None, Position] = {chunk.event_id: chunk.position for chunk in chunks}
    begins = [index for index, entry in enumerate(heard) if index and not entry.continues]
    found = {index for index in begins if _new_stream(heard, index)}
    latest = list(accumulate((places[heard[index].event_id] for index in begins), max))
    for position in resumed:
        first = bisect_right(latest, position)  # of those that stand behind it
        found.update(begins[first : first + 1])
    return tuple(heard[index].position for index in sorted(found))


def _new_stream(heard: Sequence[Entry], index: int) -> bool:
    """It begins another Ogg stream than the sound before it, and one of the two is cut into chunks."""
    before, entry = heard[index - 1], heard[index]
    both = before.container is entry.container is Container.OGG_OPUS
    return both and (before.continues or any(after.continues for after in heard[index + 1 : index + 2]))
