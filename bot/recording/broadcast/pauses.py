"""The places in a voice broadcast where the speaker resumes after a pause: a chapter begins at each. Pure.

- One Ogg stream that is cut into chunks is one press of the button: the next stream begins after a pause, whatever the
  client said. A client that makes each chunk a stream of its own gives no such proof, and other containers none.
- The client's `resumed` counts too: the sound resumes with the first chunk after it in the timeline. A chunk that
  continues its stream does not count: it is the end of the sound before the pause, uploaded late.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from bot.recording.chapters import marks
from bot.recording.kind import Named
from bot.recording.ledger import Entry, Ledger
from storage.records import Chunk, ChunkId, Container, Mark, Position, Recording, Samples


def chapters(
    recording: Recording, chunks: Iterable[Chunk], ledger: Ledger, title: str | None, _named: Named
) -> tuple[Mark, ...]:
    """Return the chapters of a broadcast. `title`: the title that people gave."""
    return marks(ledger, resumptions(ledger, chunks, recording.resumes), title)


def resumptions(ledger: Ledger, chunks: Iterable[Chunk], resumed: Sequence[Position]) -> tuple[Samples, ...]:
    """Return the positions where the sound resumes after a pause. `resumed`: the positions of `resumed` events in the
    timeline."""
    heard = [entry for entry in ledger.entries if entry.sounds]
    places: dict[ChunkId | None, Position] = {chunk.id: chunk.position for chunk in chunks}
    begins = [index for index, entry in enumerate(heard) if index and not entry.continues]
    resuming = {index for index in begins if _new_stream(heard, index)}
    latest = list(accumulate((places[heard[index].chunk_id] for index in begins), max))
    for position in resumed:
        first = bisect_right(latest, position)  # the first beginning after this `resumed` event
        resuming.update(begins[first : first + 1])
    return tuple(heard[index].position for index in sorted(resuming))


def _new_stream(heard: Sequence[Entry], index: int) -> bool:
    """Return whether an entry begins another Ogg stream than the sound before it, and one of the two is in slices."""
    before, entry = heard[index - 1], heard[index]
    both = before.container is entry.container is Container.OGG_OPUS
    return both and (before.continues or any(after.continues for after in heard[index + 1 : index + 2]))
