"""Files of recordings that are gone or have another length than their rows say: met by the web, mended by the workers.

Such a file is in no feed, and is not sent: under the strong tag of its row a client would take it for the whole one.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from bot import orders
from bot.feeds.stems import WholeStem, whole_stems
from bot.web.episodes import FeedRows
from storage import jobs
from storage.errors import StoreError
from storage.records import BlobKey, Episode, Original, Recording, RecordingId
from storage.store import Store

log = logging.getLogger(__name__)

TOLD_EACH = timedelta(hours=1)
MOST_TOLD = 1000


class FileKind(StrEnum):
    """A kind of file, as the log names it."""

    EPISODE = "the audio"
    ORIGINAL = "the original sound"
    STEM = "a stem"


class StoredFile(NamedTuple):
    """A file of a recording, as its row has it."""

    kind: FileKind
    recording_id: RecordingId
    code: str
    blob: BlobKey
    bytes: int


def episode_file(recording: Recording, episode: Episode) -> StoredFile:
    return StoredFile(FileKind.EPISODE, recording.id, recording.code, episode.blob, episode.bytes)


def original_file(recording: Recording, original: Original) -> StoredFile:
    return StoredFile(FileKind.ORIGINAL, recording.id, recording.code, original.blob, original.bytes)


def stem_file(recording: Recording, stem: WholeStem) -> StoredFile:
    return StoredFile(FileKind.STEM, recording.id, recording.code, stem.blob, stem.bytes)


def files_of(rows: FeedRows, *, stems: bool) -> Iterator[StoredFile]:
    """Yield the files that items of these rows name. `stems`: also those."""
    for recording, episode in rows.published:
        yield episode_file(recording, episode)
        if (original := rows.originals.get(recording.id)) is not None:
            yield original_file(recording, original)
        for stem in whole_stems(recording) if stems else ():
            yield stem_file(recording, stem)


class LostFiles:
    """The look-out for such files."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._told: dict[BlobKey, datetime] = {}

    async def among(self, files: Sequence[StoredFile]) -> frozenset[BlobKey]:
        """Return which files are gone or have another length, and order that they are looked after."""
        if self._store.blobs.remote is not None:
            return frozenset()  # the daily look finds them: a feed must not cost a request for each of its files
        unlike = await self._store.blobs.unlike({file.blob: file.bytes for file in files})
        lost = [file for file in files if file.blob in unlike]
        if lost:
            await self.report(lost)
        return frozenset(file.blob for file in lost)

    async def report(self, files: Sequence[StoredFile]) -> None:
        """Order that these files are looked after; once an hour for each. A stem can't be made again."""
        now = self._clock()
        new = [file for file in files if self._is_new(file.blob, now)]
        if not new:
            return
        if len(self._told) + len(new) > MOST_TOLD:
            self._told.clear()
        for file in new:
            self._told[file.blob] = now
            log.error("recording %s: %s is gone or has another length, so it is not served", file.code, file.kind)
        repairs = [repair for file in new if (repair := _repair(file)) is not None]
        if not repairs:
            return
        try:
            async with self._store.write() as db:
                for repair in repairs:
                    await jobs.add(db, repair.job(), now)
        except StoreError as error:
            log.error("the care for lost files could not be ordered: %s", error)

    def _is_new(self, blob: BlobKey, now: datetime) -> bool:
        told = self._told.get(blob)
        return told is None or now - told >= TOLD_EACH


def _repair(file: StoredFile) -> orders.Order | None:
    match file.kind:
        case FileKind.EPISODE:
            return orders.CheckEpisode(file.recording_id)
        case FileKind.ORIGINAL:
            return orders.KeepOriginal(file.recording_id)
        case FileKind.STEM:
            return None
