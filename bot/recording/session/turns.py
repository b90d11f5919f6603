"""The turns of a session's speakers: a chapter begins with the first sound of each. Pure."""

from collections.abc import Iterable
from itertools import islice

from bot.recording.chapters import MOST
from bot.recording.kind import Named
from bot.recording.ledger import Ledger
from storage.records import Chunk, Mark, Recording, UserId, to_ms


def chapters(
    _recording: Recording, chunks: Iterable[Chunk], ledger: Ledger, _title: str | None, named: Named
) -> tuple[Mark, ...]:
    """Return a chapter for each change of speaker; none where there is one speaker only."""
    by_id = {chunk.id: chunk for chunk in chunks}
    marks: list[Mark] = []
    speakers: set[UserId] = set()
    before: UserId | None = None
    for entry in ledger.entries:
        if not entry.sounds or entry.chunk_id is None:
            continue
        chunk = by_id[entry.chunk_id]
        speakers.add(chunk.sender)
        if chunk.sender != before:
            marks.append(Mark(to_ms(entry.position), named(chunk.sender_name)))
        before = chunk.sender
    return tuple(islice(marks, MOST)) if len(speakers) > 1 else ()
