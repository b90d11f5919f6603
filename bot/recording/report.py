"""The JSON of a recording, as `aircheck recordings --json` shows it. Pure; its form is part of the contract."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from bot.recording.kind import Named
from bot.recording.kinds import kind_of, lay_out
from bot.recording.ledger import Entry, Ledger
from bot.recording.speakers import Speaker
from storage.records import Chunk, ChunkId, Episode, Mark, Recording, RecordingState, to_ms

MIME = "audio/mpeg"


def recording_json(
    recording: Recording,
    chunks: Iterable[Chunk],
    episode: Episode | None,
    *,
    title: str,
    given_title: str | None,
    named: Named,
    path: str | None,
) -> dict[str, Any]:
    """Return the JSON of a recording. `title`: the title that people read; `given_title`: the one that people gave;
    `named`: the names that chapters show; `path`: the episode's file, relative to the storage directory."""
    deleted = recording.state is RecordingState.DELETED
    known = {} if deleted else {chunk.id: chunk for chunk in chunks}
    kind, ledger = kind_of(recording), lay_out(recording, known.values())
    spoke = kind.speakers(recording, known.values(), ledger)
    chapters = kind.chapters(recording, known.values(), ledger, given_title, named)
    return {
        "id": recording.event_id,
        "code": recording.code,
        "number": recording.number,
        "room_id": recording.room_id,
        "kind": str(recording.kind),
        "broadcaster": spoke[0].credit.user_id if spoke else recording.broadcaster,
        "state": str(recording.state),
        "ended_by": str(recording.ended_by) if recording.ended_by else None,
        "started_at": _moment(recording.started_at),
        "ended_at": _moment(recording.ended_at),
        "duration_ms": to_ms(ledger.samples),
        "speakers": [_speaker(speaker) for speaker in spoke],
        "chapters": [] if deleted else [_chapter(mark) for mark in chapters],
        "chunks": [] if deleted else [_chunk(entry, known, senders=kind.several_speakers) for entry in ledger.entries],
        "gaps": [] if deleted else _gaps(ledger),
        "episode": None if deleted or episode is None else _episode(episode, title, path),
    }


def _speaker(speaker: Speaker) -> dict[str, Any]:
    return {"user_id": speaker.credit.user_id, "name": speaker.credit.name, "heard_ms": to_ms(speaker.heard)}


def _chapter(mark: Mark) -> dict[str, Any]:
    return {"position_ms": mark.at, "title": mark.title}


def _chunk(entry: Entry, known: dict[ChunkId, Chunk], *, senders: bool) -> dict[str, Any]:
    chunk = known[entry.chunk_id] if entry.chunk_id else None
    facts = chunk.facts if chunk else None
    several = {"sequence": None, "sender": chunk.sender if chunk else entry.sender}
    return {
        **(several if senders else {"sequence": entry.sequence}),
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
