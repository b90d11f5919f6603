"""The publication of a finished recording: its episode's row, its listing, its announcement."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot import orders, topics, words
from bot.audio.episode import MadeEpisode
from bot.errors import TryLater
from bot.feeds import addresses, titles
from bot.feeds.guids import episode_guid
from bot.intake import announcements, portraying
from bot.language import speaking
from bot.recording import account
from bot.recording.chunks import is_removed
from bot.recording.ledger import Ledger
from bot.recording.lengths import spoken_length
from bot.recording.model import Joined
from bot.recording.speakers import credits_of
from bot.settings import Settings
from bot.worker import tracks as stored_tracks
from bot.worker.given import Apply
from bot.worker.keeping_original import drop_original, is_one_stream
from bot.worker.stored_track import StoredTrack
from storage import archive, found_again, handed_back, heirs, jobs, originals, rooms, tracks
from storage.blobs.door import Arrival
from storage.database import Connection
from storage.records import (
    Announce,
    BlobKey,
    ChunkState,
    EndedBy,
    Episode,
    EventId,
    Extent,
    HandedBack,
    Mark,
    Recording,
    RecordingState,
    Room,
    RoomId,
    Samples,
    Visibility,
    to_ms,
)
from storage.store import Store

log = logging.getLogger(__name__)

KEEP_OLD_AUDIO_FOR = timedelta(hours=1)  # lets running downloads of the old file finish


@dataclass(frozen=True, slots=True)
class Subject:
    """A recording to publish, read in one transaction."""

    room: Room
    podcast: RoomId  # the present room of its podcast
    podcast_title: str | None  # None: the podcast is named after its first speaker
    recording: Recording
    ledger: Ledger
    episode: Episode | None
    fingerprint: str
    channels: int
    chapters: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A file that may become the episode, and the track that it was made from."""

    file: MadeEpisode
    whole: StoredTrack


class Publishing:
    """A publisher of recordings, in the caller's transaction. `apply` is the recorder's."""

    def __init__(self, store: Store, settings: Settings, apply: Apply) -> None:
        self._store = store
        self._settings = settings
        self._apply = apply

    async def publish(self, db: Connection, subject: Subject, made: Made | None, new: Arrival, now: datetime) -> None:
        """Save the episode whose file is `new` (`made` is None: the file is unchanged), list it and announce it."""
        recording = await archive.recording(db, subject.recording.id)
        if recording is None or not recording.state.may_have_episode:
            return  # deleted or re-opened meanwhile: another order makes it again
        # Read it again: an episode that was published meanwhile keeps its GUID.
        subject = replace(subject, episode=await archive.episode(db, recording.id))
        if made is None and subject.episode is None:
            await jobs.add(db, orders.Finish(recording.id).job(), now)
            return  # withdrawn meanwhile
        if made is not None:
            await new.keep(db)
            await self._move_into(db, recording, made, subject.episode, now)
        file = made.file if made is not None else None
        episode = replace(_episode(subject, file, now), loss=account.loss_of(subject.ledger))
        if episode.published_at is None and not recording.unreviewed:
            held_until = self._held_until(recording, subject.ledger)
            if held_until is None or held_until <= now:
                episode = replace(episode, published_at=now)
            else:
                await jobs.add(db, orders.Finish(recording.id).job(held_until), now)
        old = subject.episode
        if old is not None and old.blob != episode.blob:
            removed = any(map(is_removed, subject.ledger.entries))
            forget_at = now if removed else now + KEEP_OLD_AUDIO_FOR
            await jobs.add(db, orders.Forget((old.blob,), recording.id).job(forget_at), now)
        episode = await self._order_original(db, subject, episode, now)
        await portraying.add(db, recording.room_id, [each.user_id for each in credits_of(recording)], now)
        if subject.room.joined and not recording.past:
            await self._announce(db, replace(subject, recording=recording), episode, now)
            episode = replace(episode, announced=not recording.unreviewed)
            await self._hand_back(db, subject, now)
        await archive.save_episode(db, episode)
        await rooms.touch(db, recording.room_id, now)
        await self._apply(db, recording.id, Joined(subject.fingerprint))
        listed = "published" if episode.published_at else "unreviewed" if recording.unreviewed else "held"
        log.info("%s: %.1f s recording=%s room=%s", listed, episode.samples / 48_000, recording.code, recording.room_id)

    async def _move_into(
        self, db: Connection, recording: Recording, made: Made, old: Episode | None, now: datetime
    ) -> None:
        """Point the track's frames into the episode's file, so that there is no second copy of them.

        The old file is not removed here: its Forget order runs later. Raises TryLater when another process has changed
        the track since the file was made.
        """
        if await tracks.edition(db, recording.id) != made.whole.edition:
            raise TryLater("the track was changed while its episode was made", at_most_s=1)
        place = Extent(0, made.whole.frames, BlobKey(made.file.sha256), made.file.head)
        gone = await tracks.replace_extents(db, recording.id, [place] if place.frames else [])
        await stored_tracks.forget(db, gone - {old.blob if old else None}, now)

    def _held_until(self, recording: Recording, ledger: Ledger) -> datetime | None:
        """Return the time until which an incomplete episode that may heal stays unlisted: apps never fetch an item
        again. The time counts from the end by our clock, as the quiet period does, since `ended_at` is the sender's
        word.
        """
        if recording.state is RecordingState.COMPLETE or not may_heal(recording, ledger):
            return None
        if recording.quiet_until is None:
            return None
        held_s = self._settings.feeds.hold_incomplete_s - self._settings.recording.quiet_period_s
        return recording.quiet_until + timedelta(seconds=held_s)

    async def _order_original(self, db: Connection, subject: Subject, episode: Episode, now: datetime) -> Episode:
        """Order the original sound of an episode, and remove that of an earlier one, which may hold what was redacted
        since. Return the episode, which knows where there can be none."""
        before = await originals.of(db, episode.recording_id)
        if before is not None and before.fingerprint == episode.fingerprint:
            return episode
        if before is not None:
            await drop_original(db, episode.recording_id, now)
        if not is_one_stream(subject.ledger):
            return replace(episode, unjoined=episode.fingerprint)
        await jobs.add(db, orders.KeepOriginal(episode.recording_id).job(), now)
        return episode

    async def _hand_back(self, db: Connection, subject: Subject, now: datetime) -> None:
        """Order a voice message where the room wants that: for a recording that is finished now, and for one that was
        handed back before and may sound different now."""
        recording = subject.recording
        podcast = await heirs.podcast(db, await heirs.line(db, recording.room_id))
        first = subject.episode is None
        if first and (posted := await found_again.handed_back(db, recording.room_id, recording.event_id)):
            await handed_back.add(db, _posted(recording, subject.fingerprint, posted))
            first = False
        await found_again.forget(db, recording.room_id, recording.event_id)
        if podcast.replay and (first or await handed_back.of(db, recording.id)):
            await jobs.add(db, orders.HandBack(recording.id, recording.room_id).job(), now)
        await jobs.hasten(db, orders.HandBack.about(recording.id), now)  # it may have waited for this

    async def _announce(self, db: Connection, subject: Subject, episode: Episode, now: datetime) -> None:
        """Tell the room once, as a reply to the started event: where to hear the episode, or that it waits for
        approval. A room that wants no announcements is told neither: `status`, `list` and `review` say what waits."""
        recording, room, prefix = subject.recording, subject.room, self._settings.commands.prefix
        told = subject.episode is not None and subject.episode.announced
        if subject.episode is None and not recording.unreviewed:
            told = await self._was_announced(db, recording)
        if not told and not recording.unreviewed:
            await announcements.approved(db, recording, now)
        if told or room.announce is Announce.OFF:
            return
        address = await self._public_page(db, recording)
        with speaking(room.language):
            title = titles.credited_title(recording, self._settings.feeds.zone)
            length = spoken_length(to_ms(episode.samples))
            whole = account.whole(recording, episode.loss)
            if recording.unreviewed:
                topic = topics.episode_waits(recording.event_id)
                body = words.waits(length=length, whole=whole, code=recording.code, prefix=prefix)
            else:
                topic = topics.episode_published(recording.event_id)
                body = words.published(title=title, length=length, whole=whole, address=address, prefix=prefix)
        notice = orders.Notice(topic, room.room_id, body, reply_to=recording.event_id, announces=recording.id)
        await jobs.add(db, notice.job(), now)

    async def _was_announced(self, db: Connection, recording: Recording) -> bool:
        """Return whether a recording that was found again after a restore was announced before, and note as what."""
        notice = await found_again.get(db, recording.room_id, found_again.Trace.ANSWERED, recording.event_id)
        if notice is not None and recording.announced_as is None:
            await archive.save_recording(db, replace(recording, announced_as=EventId(notice)))
        return notice is not None

    async def _public_page(self, db: Connection, recording: Recording) -> str | None:
        podcast = await heirs.podcast(db, await heirs.line(db, recording.room_id))
        if not recording.public or podcast.visibility is not Visibility.PUBLIC:
            return None
        return addresses.public_shelf(self._settings.web.address, podcast.key).episode(recording.code)


def _episode(subject: Subject, made: MadeEpisode | None, now: datetime) -> Episode:
    """Build the episode's row: a new one, or the old one with new audio under the same GUID."""
    if made is None:
        assert subject.episode is not None
        return subject.episode
    if subject.episode is None:
        guid = episode_guid(subject.recording.event_id)
        blob, recording_id = BlobKey(made.sha256), subject.recording.id
        episode = Episode(recording_id, guid, blob, made.bytes, made.samples, now)
    else:
        episode = subject.episode
    return replace(
        episode,
        blob=BlobKey(made.sha256),
        bytes=made.bytes,
        samples=made.samples,
        made_at=now,
        fingerprint=subject.fingerprint,
        chapters=subject.chapters,
        titled=subject.recording.title,
        credited=names_in_file(subject.recording),
        head=made.head,
        lost_at=None,
    )


def _posted(recording: Recording, sound: str, events: Sequence[EventId]) -> list[HandedBack]:
    """Build the rows of voice messages that were posted before the store was restored. They count as made from the
    present sound; nothing else is known of their files."""
    count = len(events)
    return [
        HandedBack(0, recording.id, sound, part, count, Samples(0), Samples(0), 0, "", event_id=event_id)
        for part, event_id in enumerate(events, start=1)
    ]


def names_in_file(recording: Recording) -> str:
    """Return the names that an episode's file holds, as its row keeps them: of the default title, and the artists."""
    return "\n".join((titles.speaker(recording.broadcaster_name), *titles.persons(recording)))


def may_heal(recording: Recording, ledger: Ledger) -> bool:
    """Return whether missing sound may still turn up: by a key, media, an unseen chunk, a client that comes back."""
    never_seen = any(entry.state is ChunkState.MISSING for entry in ledger.entries)
    return ledger.waiting or never_seen or recording.ended_by is EndedBy.ABANDONED
