"""The JSON of a recording, as `aircheck recordings --json` shows it. Pure; its form is part of the contract."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from bot.recording.kinds import lay_out
from bot.recording.ledger import Entry, Ledger
from storage.records import Chunk, ChunkId, Episode, Recording, RecordingState, to_ms

MIME = "audio/mpeg"


def recording_json(
    recording: Recording, chunks: Iterable[Chunk], episode: Episode | None, *, title: str, path: str | None
) -> dict[str, Any]:
    """Return the JSON of a recording. `title`: the title that people read; `path`: the episode's file, relative to the
    storage directory."""
    deleted = recording.state is RecordingState.DELETED
    known = {} if deleted else {chunk.id: chunk for chunk in chunks}
    ledger = lay_out(recording, known.values())
    return {
        "id": recording.event_id,
        "code": recording.code,
        "number": recording.number,
        "room_id": recording.room_id,
        "kind": str(recording.kind),
        "broadcaster": recording.broadcaster,
        "state": str(recording.state),
        "ended_by": str(recording.ended_by) if recording.ended_by else None,
        "started_at": _moment(recording.started_at),
        "ended_at": _moment(recording.ended_at),
        "duration_ms": to_ms(ledger.samples),
        "chunks": [] if deleted else [_chunk(entry, known) for entry in ledger.entries],
        "gaps": [] if deleted else _gaps(ledger),
        "episode": None if deleted or episode is None else _episode(episode, title, path),
    }


def _chunk(entry: Entry, known: dict[ChunkId, Chunk]) -> dict[str, Any]:
    chunk = known[entry.chunk_id] if entry.chunk_id else None
    facts = chunk.facts if chunk else None
    return {
        "sequence": entry.sequence,
        "event_id": chunk.event_id if chunk else None,
        "state": str(entry.state),
        "position_ms": to_ms(entry.position),
        "duration_ms": to_ms(entry.samples),
        "timing": str(entry.timing),
        "bytes": chunk.bytes if chunk else None,
        "sha256": chunk.blob if chunk else None,
        "container": str(facts.container) if facts else None,
    }


def _gaps(ledger: Ledger) -> list[dict[str, Any]]:
    return [
        {"position_ms": to_ms(gap.position), "duration_ms": to_ms(gap.samples), "reason": str(gap.reason)}
        for gap in ledger.gaps
    ]


def _episode(episode: Episode, title: str, path: str | None) -> dict[str, Any]:
    return {
        "guid": episode.guid,
        "title": title,
        "path": path,
        "bytes": episode.bytes,
        "mime": MIME,
        "published_at": _moment(episode.published_at),
    }


def _moment(moment: datetime | None) -> str | None:
    """Return a time by RFC 3339, with its zone."""
    return moment.isoformat(timespec="milliseconds") if moment else None
