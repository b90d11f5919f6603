"""Compares what the bot has kept with the truth, when all has come to rest."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import select

from bot import orders
from bot.audio.track import settled_frames
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.recording.report import recording_json
from bot.worker.pieces import pieces_of
from storage import archive, originals, rooms, tables, tracks
from storage.database import Connection
from storage.records import (
    Chunk,
    ChunkState,
    Cut,
    Episode,
    EventId,
    Extent,
    JobState,
    Recording,
    RecordingId,
    RecordingState,
    to_ms,
)
from tests.blobs import folder_of
from tests.interleaving import sound
from tests.interleaving.homeserver import sha256
from tests.interleaving.listener import Heard
from tests.interleaving.truth import Part, Quiet, Sound, Truth
from tests.interleaving.world import World, sound_of
from tests.world import ROOM

ABANDONED_AFTER_S = 1800
LISTED = {ChunkState.WAITING_FOR_KEY, ChunkState.WAITING_FOR_MEDIA, ChunkState.REDACTED}


@dataclass(frozen=True)
class Kept:
    recording: Recording
    chunks: tuple[Chunk, ...]
    episode: Episode | None
    cuts: tuple[Cut, ...]
    extents: tuple[Extent, ...]


def without_its_date(one: Kept) -> Kept:
    """Leave out the date of a file: one that was made again may have its own."""
    return replace(one, episode=one.episode and replace(one.episode, made_at=one.recording.started_at))


async def kept(world: World) -> tuple[Kept, ...]:
    """Everything in the archive, the oldest first."""
    async with world.bot.store.read() as db:
        found = sorted(await archive.recordings(db), key=lambda one: one.position)
        return tuple([await _kept(db, one) for one in found])


async def _kept(db: Connection, one: Recording) -> Kept:
    chunks, episode = await archive.chunks(db, one.id), await archive.episode(db, one.id)
    return Kept(one, chunks, episode, await tracks.cuts(db, one.id), await tracks.extents(db, one.id))


async def judge(world: World) -> None:
    """Compare the archive with the truth. Raises AssertionError for every difference."""
    assert world.complaints.heard == []
    archived = {one.recording.event_id: one for one in await kept(world)}
    truths = {one.started: Truth(one, world.homeserver, _rows(archived.get(one.started))) for one in world.broadcasts}
    followed = {started for started, truth in truths.items() if truth.followed}
    # One that was redacted before it came leaves a tombstone where a gap hid its redaction.
    early = {started for started, truth in truths.items() if truth.start.early}
    assert followed <= set(archived) <= followed | early
    # One that was found in a gap after a later one was recorded has the next number: numbers never change.
    assert sorted(one.recording.number for one in archived.values()) == list(range(1, len(archived) + 1))
    for started, one in archived.items():
        if truths[started].deleted or started in early:
            _is_gone(one)
        else:
            _is_true(world, truths[started], one)
        _is_handed_back(world, one)
    await _was_said_once(world, archived)
    await _nothing_is_left_over(world, archived)


def _rows(one: Kept | None) -> tuple[Chunk, ...]:
    return one.chunks if one else ()


# ---- one recording


def _is_gone(one: Kept) -> None:
    recording = one.recording
    assert recording.state is RecordingState.DELETED
    assert (one.chunks, one.episode) == ((), None)
    assert (recording.title, recording.description, recording.broadcaster_name) == (None, None, None)


def _is_handed_back(world: World, one: Kept) -> None:
    """Assert that the room has one voice message with the present sound; none where there is no episode."""
    ledger = lay_out(one.recording, one.chunks)
    expected = [sound_of(tuple(pieces_of(ledger.entries)))] if one.episode else []
    assert world.posted.visible(one.recording.code) == expected


def _is_true(world: World, truth: Truth, one: Kept) -> None:
    recording = one.recording
    _has_the_chunks(world, truth, one)
    may_be_abandoned = (world.peak - world.begun[recording.event_id]).total_seconds() >= ABANDONED_AFTER_S
    assert recording.ended_by is not None
    assert recording.ended_by in truth.ended_by(may_be_abandoned=may_be_abandoned)
    assert recording.announced_last == (truth.announced or None)
    assert recording.state is truth.state(recording.ended_by)
    ledger = lay_out(recording, one.chunks)
    _lists_what_there_is(truth, one, ledger)
    if not truth.sounds:
        assert one.episode is None
        return
    assert one.episode is not None
    assert one.episode.published_at is not None
    frames = sound.read(folder_of(world.bot.store).open(one.episode.blob))
    heard = sound.decoded(frames)[: ledger.samples]
    assert one.episode.samples == len(heard) == ledger.samples
    assert frames == sound.encoded(heard), "not what one encoder makes of the whole"
    assert [cut.off_by for cut in one.cuts if cut.off_by] == []
    _is_heard(truth.parts, heard, ledger)


async def is_heard_as_it_is(world: World, heard: Mapping[RecordingId, Heard]) -> None:
    """Assert that listeners who are in the middle of a broadcast at its end heard the frames of the episode only."""
    for one in await kept(world):
        frames = sound.read(folder_of(world.bot.store).open(one.episode.blob)) if one.episode else b""
        if one.episode and settled_frames(one.episode.samples):  # less can't be told from a track that is being made
            assert heard[one.recording.id] == Heard(frames, ended=True)
        else:
            assert one.recording.id not in heard or not heard[one.recording.id].frames


def _has_the_chunks(world: World, truth: Truth, one: Kept) -> None:
    """Every chunk that was ever heard of, as what it is; and no other."""
    rows = {row.event_id: row for row in one.chunks}
    wanted = truth.chunks()
    assert set(rows) <= set(wanted)
    for event_id, states in wanted.items():
        row = rows.get(event_id)
        assert (row.state if row else None) in states, event_id
        if row is None:
            continue
        told = next(told for told in truth.told if told.event_id == event_id)
        assert row.sequence in {None, told.piece.number if told.piece else None}
        assert row.sequence is not None or told.session is not None
        stored = row.state is ChunkState.STORED
        kept = world.homeserver.download(row.source) if row.state is ChunkState.DAMAGED and row.source else None
        kept = told.piece.data if stored and told.piece else kept
        assert row.blob == (None if kept is None else sha256(kept))
        if stored:
            assert folder_of(world.bot.store).exists(sha256(told.piece.data) if told.piece else row.blob)  # type: ignore[arg-type]


def _is_heard(parts: list[Part], heard: sound.Pcm, ledger: Ledger) -> None:
    """Each sound to the sample, in the order in which it was spoken, and silence of its true length between."""
    entries = [entry for entry in ledger.entries if entry.sounds]
    assert [entry.chunk_id for entry in entries] == [part.chunk_id for part in parts if isinstance(part, Sound)]
    silent = dict(sound.silences(heard))
    at = least = most = 0
    for part in parts:
        if isinstance(part, Quiet):
            least, most = least + part.least, most + part.most
            continue
        length = silent.pop(at, 0)
        assert least <= length <= most, f"{length} samples of silence at {at}, not {least} to {most}"
        at, least, most = at + length, 0, 0
        entry = entries.pop(0)
        assert (entry.position, entry.samples) == (at, part.samples)
        assert (heard[at : at + part.samples] == sound.heard(part.first, part.samples)).all(), f"other sound at {at}"
        at += part.samples
    assert at == len(heard)
    assert silent == {}


def _lists_what_there_is(truth: Truth, one: Kept, ledger: Ledger) -> None:
    """Each chunk once, each number that is missing, each gap."""
    shown = recording_json(one.recording, one.chunks, one.episode, title="", given_title=None, named=str, path=None)
    listed = [chunk for chunk in shown["chunks"] if chunk["event_id"] is not None]
    assert Counter(chunk["event_id"] for chunk in listed) == Counter(row.event_id for row in one.chunks)
    spoken = {row.event_id for piece in truth.broadcast.pieces if (row := truth.row(piece))}
    for chunk in listed:
        row = next(row for row in one.chunks if row.event_id == chunk["event_id"])
        spare = row.event_id not in spoken and row.sequence is not None
        winner = spare and any(
            (heard := truth.row(piece)) is not None and heard.state is ChunkState.STORED
            for piece in truth.broadcast.pieces
            if row.event_id in piece.events
        )
        duplicate = winner and row.state not in LISTED
        assert chunk["state"] == ("duplicate" if duplicate else row.state)
    numbers = [chunk["sequence"] for chunk in shown["chunks"] if chunk["state"] == "missing"]
    missing = [number for number in numbers if number is not None]
    assert set(missing) <= set(truth.absent)
    assert len(missing) == max(0, len(truth.absent) - len(truth.nameless))
    assert sum(gap["duration_ms"] for gap in shown["gaps"]) == sum(to_ms(gap.samples) for gap in ledger.gaps)
    silence = sum(entry.samples for entry in ledger.entries if entry.silence)
    assert sum(gap.samples for gap in ledger.gaps) == silence


# ---- the files


async def _was_said_once(world: World, archived: dict[EventId, Kept]) -> None:
    """Nothing is said twice, and of each recording that can be heard that it is there."""
    async with world.bot.store.read() as db:
        notices = list(await db.execute(select(tables.jobs).where(tables.jobs.c.kind == orders.Notice.kind)))
    subjects = Counter(job.subject for job in notices)
    assert set(subjects.values()) <= {1}
    assert len(world.said.notices) <= len(subjects)
    for started, one in archived.items():
        assert one.episode is None or one.episode.announced
        assert one.episode is None or subjects[f"published:{started}"] == 1


async def _nothing_is_left_over(world: World, archived: dict[EventId, Kept]) -> None:
    """No job, event or file that nobody waits for."""
    states = {chunk.event_id: chunk.state for one in archived.values() for chunk in one.chunks}
    waiting = {event: state for event, state in states.items() if state in LISTED}
    async with world.bot.store.read() as db:
        # A stranger who names a broadcast that is not known yet has it asked for in vain.
        in_vain = (tables.jobs.c.kind == orders.Reread.kind) & (tables.jobs.c.state == JobState.FAILED)
        found = list(await db.execute(select(tables.jobs).where(~in_vain)))
        journal = list(await db.execute(select(tables.journal)))
    left = {(job.kind, job.subject) for job in found if job.state is not JobState.DONE}
    asked = {event for event, state in waiting.items() if state is ChunkState.WAITING_FOR_MEDIA}
    for_a_week = {event for event, state in states.items() if state is ChunkState.DAMAGED}
    assert left - {(orders.Fetch.kind, event) for event in for_a_week} == {
        (orders.Fetch.kind, event) for event in asked
    }
    assert all(job.state is JobState.READY for job in found if job.state is not JobState.DONE)
    assert all(row.handled for row in journal)
    assert list(world.bot.store.blobs.scratch.iterdir()) == []
    sealed = {event for event, state in waiting.items() if state is ChunkState.WAITING_FOR_KEY}
    assert {row.event_id for row in journal if row.event is not None} == sealed
    await no_file_is_lost(world)


async def no_file_is_lost(world: World) -> None:
    """Each file has its row and each row its file. Only a death may leave one, until the keeper has run."""
    recordings = [one.recording.id for one in await kept(world)]
    async with world.bot.store.read() as db:
        room = await rooms.room(db, ROOM)
        joined = await originals.current(db, recordings)
    assert room is not None
    needed = {room.cover} | {original.blob for original in joined.values()}
    for one in await kept(world):
        needed |= {chunk.blob for chunk in one.chunks} | {one.episode.blob if one.episode else None}
    assert set(world.bot.files()) == needed - {None}
