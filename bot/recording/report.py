"""The JSON of a recording, as `aircheck recordings --json` shows it. Pure; its form is part of the contract."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any

from bot.recording.kind import Named
from bot.recording.kinds import kind_of, lay_out
from bot.recording.ledger import Entry, Gap, Ledger, SpeakerGap
from bot.recording.speakers import Speaker
from storage.records import (
    CallEvent,
    CallEventKind,
    Chunk,
    ChunkId,
    Episode,
    Mark,
    Recording,
    RecordingKind,
    RecordingState,
    Stem,
    to_ms,
)

MIME, STEM_MIME = "audio/mpeg", "audio/ogg"
NO_PATHS: Mapping[int, str] = {}


IN_GAPS = frozenset({CallEventKind.UNREACHABLE, CallEventKind.UNREADABLE})
"""Events of a call that the gaps of its members tell of, with their ends."""


def recording_json(
    recording: Recording,
    chunks: Iterable[Chunk],
    episode: Episode | None,
    *,
    title: str,
    given_title: str | None,
    named: Named,
    path: str | None,
    events: Iterable[CallEvent] = (),
    stem_paths: Mapping[int, str] = NO_PATHS,
) -> dict[str, Any]:
    """Return the JSON of a recording. `title`: the title that people read; `given_title`: the one that people gave;
    `named`: the names that chapters show; `path`: the episode's file, relative to the storage directory. Of a call:
    `events` in their order, `stem_paths`: the files of stems by their numbers, as `path`."""
    deleted = recording.state is RecordingState.DELETED
    known = {} if deleted else {chunk.id: chunk for chunk in chunks}
    kind, ledger = kind_of(recording), lay_out(recording, known.values())
    spoke = kind.speakers(recording, known.values(), ledger)
    chapters = kind.chapters(recording, known.values(), ledger, given_title, named)
    is_call = recording.kind is RecordingKind.CALL
    entries = () if deleted or is_call else ledger.entries
    return {
        "id": recording.event_id,
        "code": recording.code,
        "number": recording.number,
        "room_id": recording.room_id,
        "kind": str(recording.kind),
        **({"via": str(recording.via)} if recording.via is not None else {}),
        "broadcaster": spoke[0].credit.user_id if spoke else recording.broadcaster,
        "state": str(recording.state),
        "ended_by": str(recording.ended_by) if recording.ended_by else None,
        "started_at": _moment(recording.started_at),
        "ended_at": _moment(recording.ended_at),
        "duration_ms": to_ms(ledger.samples),
        "speakers": [_speaker(speaker) for speaker in spoke],
        "chapters": [] if deleted else [_chapter(mark) for mark in chapters],
        **(_call(recording, () if deleted else events, stem_paths) if is_call else {}),
        "chunks": [_chunk(entry, known, senders=kind.several_speakers) for entry in entries],
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


def _call(recording: Recording, events: Iterable[CallEvent], paths: Mapping[int, str]) -> dict[str, Any]:
    return {
        "protocol": str(recording.protocol),
        "stems": [_stem(stem, paths.get(stem.number)) for stem in recording.stems],
        "events": [_event(event) for event in events if event.what not in IN_GAPS],
    }


def _stem(stem: Stem, path: str | None) -> dict[str, Any]:
    """Describe a stem. One whose device is still in the call, or whose sound was removed, has no file."""
    return {
        "user_id": stem.user_id,
        "device_id": stem.device_id,
        "joined_ms": to_ms(stem.joined),
        "left_ms": None if stem.left is None else to_ms(stem.left),
        "left_by": None if stem.left_by is None else str(stem.left_by),
        "received_ms": to_ms(stem.received),
        "lost_ms": to_ms(stem.lost),
        "path": path,
        "bytes": stem.bytes,
        "mime": STEM_MIME,
    }


def _event(event: CallEvent) -> dict[str, Any]:
    return {"at_ms": to_ms(event.at), "user_id": event.user_id, "what": str(event.what)}


def _gaps(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the gaps in the order of their beginnings: those of everybody, and those of one member of a call."""
    gaps = [_gap(gap) for gap in ledger.gaps] + [{**_gap(gap), "user_id": gap.user_id} for gap in ledger.of_speakers]
    return sorted(gaps, key=itemgetter("position_ms"))


def _gap(gap: Gap | SpeakerGap) -> dict[str, Any]:
    return {"position_ms": to_ms(gap.position), "duration_ms": to_ms(gap.samples), "reason": str(gap.reason)}


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
