"""The turns of a call's speakers: a chapter for each of ten seconds or more. Pure."""

from collections.abc import Iterable
from itertools import islice

from bot.recording.chapters import MOST
from bot.recording.kind import Named
from bot.recording.ledger import Ledger
from storage.records import Chunk, Mark, Recording, to_ms


def chapters(
    recording: Recording, _chunks: Iterable[Chunk], _ledger: Ledger, _title: str | None, named: Named
) -> tuple[Mark, ...]:
    """Return a chapter for each turn, once they are known."""
    return tuple(islice((Mark(to_ms(turn.at), named(turn.name)) for turn in recording.turns), MOST))
