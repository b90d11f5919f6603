"""Faults of an archive: files against their hashes, ledgers against their files, rows against each other.

A running bot changes both while they are read. So what looks wrong is looked at again, against the rows as they are
then, before it counts; and a recording of which work is under way is left alone.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import accumulate

from bot import orders
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger, fingerprint
from storage import archive, calls, checking, jobs, tracks
from storage.blobs import marks
from storage.checking import Torn, Use
from storage.database import Connection
from storage.records import (
    BlobKey,
    Chunk,
    ChunkState,
    Episode,
    JobKind,
    Recording,
    RecordingId,
    RecordingState,
    RoomId,
)
from storage.store import Store

AT_ONCE = 4
KEY = re.compile(r"[0-9a-f]{64}")
WORKING: Collection[JobKind] = frozenset(
    order.kind for order in (orders.Fetch, orders.Encode, orders.Finish, orders.Mend, orders.KeepOriginal)
)
"""Kinds of jobs that change the files of a recording."""
SILENT = frozenset({ChunkState.MISSING, ChunkState.REDACTED, ChunkState.WAITING_FOR_KEY})
"""States of chunks that have no sound."""

OF_RECORDINGS = frozenset({"recordings", "chunks", "episodes", "tracks", "cuts", "extents"})
"""Tables without whose rows no ledger can be laid out."""
FROM_A_BACKUP = "bring it back from a backup, by its name"
KEEPS_ORPHANS = "no file without a row is removed while it is so"
NAMELESS = "Restore a backup, delete the recording, or choose the cover again"
LOOKED_AT = {
    "_names": "names of files",
    "_files": "files",
    "_missing": "missing files",
    "_recordings": "ledgers",
    "_stems": "stems",
}


class Cure(Enum):
    """The way in which a fault can be mended."""

    MEND = auto()  # a recording's files are fetched or made again
    MEND_TRACK = auto()  # its frames too, with the rows about them
    MEND_ROOM = auto()  # a room's pictures are made again
    FORGET = auto()  # the file is removed
    FINISH = auto()  # the episode is made again
    NONE = auto()


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, as a sentence. What it is about tells how it is mended."""

    sentence: str
    cure: Cure = Cure.NONE
    recording: RecordingId | None = None
    room: RoomId | None = None
    blob: BlobKey | None = None


class Verifying:
    """A look at everything in a store. `seen` counts the files, for who waits; `named` those that a row names."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seen = self.named = 0

    async def faults(self) -> AsyncIterator[Fault]:
        """Yield the faults. Raises StoreError."""
        for sentence in await asyncio.to_thread(checking.database_faults, self._store.place):
            yield Fault(sentence)
        torn = await self._torn()
        for row in torn:
            yield _of_torn(row)
        whole = not any(row.table in OF_RECORDINGS for row in torn)
        for part in (self._names, self._files, self._missing, *([self._recordings] if whole else []), self._stems):
            try:
                async for fault in part():
                    yield fault
            except checking.UNREADABLE:
                if not torn:
                    raise
                yield Fault(f"{LOOKED_AT[part.__name__]} can't be looked at because of the rows above")

    # ---- rows

    async def _torn(self) -> list[Torn]:
        return [row async for row in checking.torn(self._store)]

    async def _names(self) -> AsyncIterator[Fault]:
        """Look for rows that name a file by what is no name of one."""
        async with self._store.read() as db:
            found = await checking.torn_names(db)
        for use, key in found:
            yield _of_name(use, key)

    # ---- files

    async def _files(self) -> AsyncIterator[Fault]:
        """Compare each file with its hash, and look for a row that names it."""
        unnamed, slots = set[BlobKey](), asyncio.Semaphore(AT_ONCE)

        async def is_whole(key: BlobKey) -> bool:
            async with slots:
                return await self._store.blobs.is_whole(key)

        async for keys in self._store.blobs.pages():
            keys = list(keys)
            self.seen += len(keys)
            foreign = [key for key in keys if not KEY.fullmatch(key)]
            for name in foreign:
                yield Fault(f"{self._store.blobs.relative(name)}: no file of Aircheck's, which are named by their hash")
            known = [key for key in keys if KEY.fullmatch(key)]
            async with self._store.read() as db:
                named = sorted(await archive.referenced(db, known)) if known else []
            self.named += len(named)
            unnamed |= set(known).difference(named)
            whole = await asyncio.gather(*map(is_whole, named))
            damaged = [key for key, is_right in zip(named, whole, strict=True) if not is_right]
            for use in await self._still(damaged):
                yield _of_file(use, f"{self._store.blobs.relative(use.blob)} is damaged")
        for key in sorted(await self._unnamed(unnamed)):
            yield Fault(f"{self._store.blobs.relative(key)}: no row names it", Cure.FORGET, blob=key)

    async def _still(self, damaged: Sequence[BlobKey]) -> list[Use]:
        """Return the rows that name these files by now, if their bytes are there and still wrong."""
        if not damaged:
            return []
        wrong = [key for key in damaged if await self._store.blobs.exists(key)]
        wrong = [key for key in wrong if not await self._store.blobs.is_whole(key)]
        async with self._store.read() as db:
            return await checking.uses(db, wrong)

    async def _unnamed(self, keys: Collection[BlobKey]) -> set[BlobKey]:
        """Return those of these files that no row names, and that no order removes."""
        if not keys:
            return set()
        async with self._store.write() as db:  # no file is between its place and its row while we have the turn
            removing = [orders.Forget.of(job).blobs for job in await jobs.unfinished(db, orders.Forget.kind)]
            named = await archive.referenced(db, sorted(keys)) | await marks.of(db, keys)
        left = set(keys).difference(named, *removing)
        return {key for key in left if await self._store.blobs.exists(key)}

    async def _missing(self) -> AsyncIterator[Fault]:
        """Look for the file of every row that names one, and compare the lengths."""
        for prefix in (f"{number:02x}" for number in range(256)):
            async with self._store.read() as db:
                keys = await archive.blobs_with(db, prefix)
                uses = await checking.uses(db, keys) if keys else []
            for use in await self._wrong(uses):
                async with self._store.read() as db:
                    now = await checking.uses(db, [use.blob])
                for again in await self._wrong([each for each in now if each == use]):
                    there = await self._store.blobs.exists(again.blob)
                    where = self._store.blobs.relative(again.blob)
                    yield _of_file(again, f"{where} has another length" if there else f"{where} is missing")

    async def _wrong(self, uses: Sequence[Use]) -> list[Use]:
        unlike = await self._store.blobs.unlike({use.blob: use.bytes for use in uses if use.bytes is not None})
        unmeasured = {use.blob for use in uses if use.bytes is None}
        gone = {key for key in unmeasured if not await self._store.blobs.exists(key)}
        return [use for use in uses if use.blob in (unlike if use.bytes is not None else gone)]

    async def _stems(self) -> AsyncIterator[Fault]:
        """Look for files of stems whose call is over: a crash leaves some, until the next start."""
        for recording_id in await asyncio.to_thread(self._store.stems.recordings):
            async with self._store.read() as db:
                recording = await archive.recording(db, recording_id)
                waits = await jobs.unfinished_of(db, [orders.ForgetStems.kind])
            if recording is None or (
                recording.state is RecordingState.DELETED
                and not any(orders.ForgetStems.of(job).recording == recording_id for job in waits)
            ):
                yield Fault(f"{self._store.stems.directory.name}/{recording_id}: its recording is gone")

    # ---- ledgers

    async def _recordings(self) -> AsyncIterator[Fault]:
        async with self._store.read() as db:
            ids = await archive.all_ids(db)
        for recording_id in ids:
            for fault in await self._recording(recording_id):
                yield fault

    async def _recording(self, recording_id: RecordingId) -> list[Fault]:
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
            if recording is None or recording.state.is_open or await _is_worked_on(db, recording_id):
                return []
            chunks = await archive.chunks(db, recording_id)
            episode = await archive.episode(db, recording_id)
            found = _of_deleted(recording, chunks, episode) or _of_chunks(recording, chunks)
            found += await _of_stems(db, recording)
            if recording.state is RecordingState.DELETED or found:
                return found
            try:
                ledger = await asyncio.to_thread(lay_out, recording, chunks)
            except Exception as error:  # rows that contradict each other can raise anything in the layout
                said = f"{recording.code}: its chunks can't be laid out ({type(error).__name__})"
                return [Fault(said, recording=recording_id)]
            return [*_of_ledger(recording, ledger, episode), *await _of_track(db, recording, ledger, episode)]


async def _is_worked_on(db: Connection, recording_id: RecordingId) -> bool:
    for job in await jobs.unfinished_of(db, WORKING):
        order = orders.KINDS[job.kind].of(job)
        if getattr(order, "recording", None) == recording_id:
            return True
    return False


def _of_torn(row: Torn) -> Fault:
    said = f"a row of {row.table} can't be read: {', '.join(map(str, row.key))}"
    is_track = row.table in ("tracks", "cuts", "extents") and row.recording is not None
    return Fault(said, Cure.MEND_TRACK if is_track else Cure.NONE, recording=row.recording)


def _of_file(use: Use, said: str) -> Fault:
    sentence = f"{said} ({use.what} names it)"
    if use.is_last:
        return Fault(f"{sentence}; it can't be made again: {FROM_A_BACKUP}", recording=use.recording, room=use.room)
    if use.recording is not None:
        return Fault(sentence, Cure.MEND, recording=use.recording, blob=use.blob)
    return Fault(sentence, Cure.MEND_ROOM, room=use.room, blob=use.blob)


def _of_name(use: Use, key: Sequence[object]) -> Fault:
    """Return the fault of a row that names no file. What is made of others is made again, under a name of its own."""
    sentence = f"{use.what} is not the name of a file: {', '.join(map(str, key))}; {KEEPS_ORPHANS}"
    if use.is_last or use.table == "chunks":
        return Fault(f"{sentence}. {NAMELESS}", recording=use.recording, room=use.room)
    cure = Cure.MEND if use.recording is not None else Cure.MEND_ROOM
    return Fault(sentence, cure, recording=use.recording, room=use.room)


def _of_deleted(recording: Recording, chunks: Sequence[Chunk], episode: Episode | None) -> list[Fault]:
    if recording.state is not RecordingState.DELETED or not (episode or any(chunk.blob for chunk in chunks)):
        return []
    return [Fault(f"{recording.code}: it was deleted, and rows of its sound are left", recording=recording.id)]


def _of_chunks(recording: Recording, chunks: Sequence[Chunk]) -> list[Fault]:
    """Compare the state of each chunk with its file."""
    faults = []
    for chunk in chunks:
        has_sound = chunk.blob is not None and chunk.facts is not None
        if chunk.state is ChunkState.STORED and not has_sound:
            faults.append(f"chunk {chunk.id} is stored, and has no file")
        elif chunk.state in SILENT and chunk.blob is not None:
            faults.append(f"chunk {chunk.id} is {chunk.state}, and has a file")
    return [Fault(f"{recording.code}: {said}", recording=recording.id) for said in faults]


async def _of_stems(db: Connection, recording: Recording) -> list[Fault]:
    named = {stem.blob for stem in recording.stems if stem.blob is not None}
    rows = set(await calls.stem_files(db, recording.id))
    return [Fault(f"{recording.code}: its stems name other files than their rows", recording=recording.id)] * (
        named != rows
    )


def _of_ledger(recording: Recording, ledger: Ledger, episode: Episode | None) -> list[Fault]:
    """Compare state and episode with what the chunks make."""
    wrong: list[tuple[str, Cure]] = []
    lacking = [gap for gap in ledger.gaps if gap.reason is not ChunkState.UNRECORDED]
    if recording.state is RecordingState.COMPLETE and lacking:
        wrong.append(("it is complete, and its ledger has gaps", Cure.NONE))
    if recording.state.may_have_episode and ledger.sounds:
        if episode is None:
            wrong.append(("it has no episode", Cure.FINISH))
        elif episode.fingerprint != fingerprint(ledger):
            wrong.append(("its episode is not made of its chunks", Cure.FINISH))
        elif episode.samples != ledger.samples:
            wrong.append(("its episode has another length than its ledger", Cure.FINISH))
    elif episode is not None:
        wrong.append(("it has an episode, and no sound", Cure.NONE))
    return [Fault(f"{recording.code}: {said}", cure, recording=recording.id) for said, cure in wrong]


async def _of_track(db: Connection, recording: Recording, ledger: Ledger, episode: Episode | None) -> list[Fault]:
    """Compare pieces and frames of a finished recording with each other, and with its ledger."""
    track = await tracks.track(db, recording.id)
    if track is None or episode is None:
        return []
    cuts, extents = await tracks.cuts(db, recording.id), await tracks.extents(db, recording.id)
    wrong = []
    if [cut.ordinal for cut in cuts] != list(range(len(cuts))) or sum(cut.samples for cut in cuts) != ledger.samples:
        wrong.append("the pieces of its track don't add up")
    begins = [extent.first for extent in extents]
    if begins != [0, *accumulate(extent.frames for extent in extents)][: len(begins)]:
        wrong.append("the frames of its track have gaps")
    if any(extent.frames <= 0 or extent.offset < 0 for extent in extents):
        wrong.append("the places of its frames are impossible")
    return [Fault(f"{recording.code}: {said}", Cure.MEND_TRACK, recording=recording.id) for said in wrong]
