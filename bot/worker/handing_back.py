"""Finished recordings handed back: posted as one ordinary voice message, for clients that know no broadcasts.

A transmission of a walkie-talkie that was a broadcast is posted by itself when it is over, whether the room wants whole
recordings or not; sessions of what is in the room as voice messages already are never posted (`Kind.replayed`).

A row is written before the upload, the file's address before the event is sent, and the row's id names the event's
transaction: a death at any point repeats an upload, never a message. What may have been posted is looked for first.
"""

import asyncio
import logging
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bot import orders, rules
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form
from bot.audio.layout import piece_of
from bot.audio.opus_parts import Part
from bot.audio.plan import Mix, Piece, length
from bot.audio.render import Rendering
from bot.audio.voice_message import LEAST_BYTES, make_voice_message
from bot.audio.waveform import msc3246, stretch, whole
from bot.errors import GiveUp, TryLater
from bot.event_types import ENCRYPTED, MESSAGE
from bot.feeds import titles
from bot.intake import shown
from bot.intake.unsending import unsend
from bot.language import _, speaking
from bot.matrix.sending import Sending
from bot.matrix.uploads import Uploads, sealed_file
from bot.recording.kinds import kind_of, lay_out
from bot.recording.ledger import Ledger, fingerprint
from bot.recording.session import transmissions
from bot.recording.wording import told
from bot.settings import Settings
from bot.worker import unanswered
from bot.worker.attempts import LONGEST_WISH_S
from bot.worker.pieces import channels_of, pieces_of
from bot.worker.room_history import RoomHistory
from storage import archive, handed_back, heirs, jobs, rooms, tracks
from storage.database import Connection
from storage.records import (
    ChunkId,
    EventId,
    HandedBack,
    Job,
    Json,
    MediaSource,
    Recording,
    Room,
    UserId,
    to_ms,
)
from storage.store import Store

log = logging.getLogger(__name__)

MIMETYPE = "audio/ogg"
UNREVIEWED_S = 86_400.0  # the approval hastens the job
MUTED_S = 3600.0  # a change of the room's power levels hastens the job
REFUSED_S = 3600.0  # doubled each time: the sound may have to be encoded anew
MOST_TRIES_FOR_BARS = 10  # a transmission is posted without a waveform then
ANEW_S = 600.0  # the publication hastens the job


@dataclass(frozen=True, slots=True)
class _Subject:
    """A recording to hand back, read in one transaction."""

    room: Room
    recording: Recording  # or a transmission of a session, as if it were one
    part: EventId | None  # that transmission
    fingerprint: str
    pieces: tuple[Piece, ...]
    channels: int
    peaks: bytes
    messages: tuple[HandedBack, ...]  # of this sound
    earlier: bool  # whether there are any with another sound

    @property
    def posted(self) -> bool:
        return bool(self.messages) and all(message.event_id is not None for message in self.messages)


class HandingBack:
    """The handler of HandBack orders. `us` is the bot."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        ffmpeg: Ffmpeg,
        sending: Sending,
        uploads: Uploads,
        history: RoomHistory,
        *,
        us: UserId,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settings = settings
        self._ffmpeg = ffmpeg
        self._sending = sending
        self._uploads = uploads
        self._unanswered = unanswered.Unanswered(store, sending, history, us=us, clock=clock)
        self._us = us
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        is_part = job.kind == orders.HandBackPart.kind
        order = orders.HandBackPart.of(job) if is_part else orders.HandBack.of(job)
        refused_s = min(LONGEST_WISH_S, REFUSED_S * 2.0 ** min(job.attempts, 10))
        try:
            await self._unanswered.settle(order)
        except GiveUp:
            raise TryLater("the homeserver refuses to tell an event", after_s=refused_s) from None
        subject = await self._read(order, attempts=job.attempts)
        if subject is None:
            return
        if subject.posted:
            await self._end(subject)
            return
        if subject.recording.unreviewed and subject.part is None:  # the room has heard its transmissions
            raise TryLater("the recording waits for its approval", after_s=UNREVIEWED_S)
        try:
            sealed = await self._sending.is_encrypted(order.room_id)
            await self._check_power(subject.room, sealed=sealed)
            await self._post(subject, sealed=sealed)
        except GiveUp as refused:
            await self._tell_refused(subject.recording, refused)
            raise TryLater("the homeserver refuses a voice message", after_s=refused_s) from None

    async def _end(self, subject: _Subject) -> None:
        """Redact what has an earlier sound, where the last message turned out to be posted."""
        if subject.earlier:
            async with self._store.write() as db:
                await self._withdraw_earlier(db, subject)

    async def _withdraw_earlier(self, db: Connection, subject: _Subject) -> None:
        recording = subject.recording
        earlier = await handed_back.withdraw(db, recording.id, subject.part, but=subject.fingerprint)
        await unsend(db, recording, earlier, self._clock())
        await handed_back.forget(db, recording.id, subject.part)

    # ---- posting

    async def _read(self, order: unanswered.Order, *, attempts: int) -> _Subject | None:
        """Read a recording that is to be handed back, or a transmission; None if there is nothing to do. Raises
        TryLater while its sound is made ready."""
        part = unanswered.part_of(order)
        async with self._store.read() as db:
            recording = await archive.recording(db, order.recording)
            if recording is None or not recording.state.may_have_audio:
                return None
            room = await rooms.room(db, recording.room_id)
            assert room is not None
            podcast = await heirs.podcast(db, await heirs.line(db, room.room_id))
            if not room.joined or (part is None and not (podcast.replay and kind_of(recording).replayed)):
                return None
            chunks = await archive.chunks(db, recording.id)
            episode = await archive.episode(db, recording.id)
            peaks = await tracks.peaks(db, recording.id)
            messages = await handed_back.of(db, recording.id, part)
        whole_ledger = await asyncio.to_thread(lay_out, recording, chunks)
        row = await asyncio.to_thread(whole, peaks)
        if part is None:
            ledger = whole_ledger
            if recording.state.is_open or episode is None or episode.fingerprint != fingerprint(ledger):
                raise TryLater("the episode is being made anew", after_s=ANEW_S)
        else:
            recording, chunks = transmissions.alone(recording, part, chunks)
            ledger = await asyncio.to_thread(lay_out, recording, chunks)
            if not recording.state.is_decided or not ledger.sounds:
                return None  # it is ordered again when it is over, or heals
            first = next(entry.position for entry in whole_ledger.entries if entry.chunk_id in _ids(ledger))
            row = stretch(row, first, ledger.samples)
            is_decoded = sum(samples for samples, _known in peaks) >= first + ledger.samples
            if not is_decoded and attempts < MOST_TRIES_FOR_BARS:
                raise TryLater("the sound is being decoded for the live stream", at_most_s=1)
        sound = fingerprint(ledger)
        return _Subject(
            room=room,
            recording=recording,
            part=part,
            fingerprint=sound,
            pieces=tuple(pieces_of(ledger.entries)),
            channels=channels_of(ledger.entries, chunks),
            peaks=row,
            messages=tuple(one for one in messages if one.fingerprint == sound and not one.withdrawn),
            earlier=any(one.fingerprint != sound or one.withdrawn for one in messages),
        )

    async def _check_power(self, room: Room, *, sealed: bool) -> None:
        """Raise TryLater while the bot is muted: nothing is made or uploaded that can't be sent."""
        async with self._store.read() as db:
            power = await rooms.power(db, room.room_id)
        if not rules.may_send(self._us, ENCRYPTED if sealed else MESSAGE, power):
            log.info("voice message waits until the bot may speak: room=%s", room.room_id)
            raise TryLater("the bot may not speak in the room", after_s=MUTED_S, room=room.room_id)

    async def _post(self, subject: _Subject, *, sealed: bool) -> None:
        limit = await self._uploads.limit()
        if limit < LEAST_BYTES:
            raise GiveUp("the homeserver takes only tiny files", reason="too_large")
        if subject.messages and all(_is_uploaded(message, sealed=sealed) for message in subject.messages):
            await self._send_all(subject, subject.messages, {}, sealed=sealed)
            return
        scratch = self._store.blobs.scratch
        with tempfile.TemporaryDirectory(prefix="voice-", dir=scratch, ignore_cleanup_errors=True) as folder:
            made = await make_voice_message(
                subject.pieces,
                subject.channels,
                Path(folder),
                local=self._store.blobs.local,
                ffmpeg=self._ffmpeg,
                max_bytes=limit,
                mixed=await self._mixed(subject),
            )
            messages = await self._begin(subject, made)
            files = {number: part.path for number, part in enumerate(made, start=1)}
            await self._send_all(subject, messages, files, sealed=sealed)

    async def _mixed(self, subject: _Subject) -> AsyncGenerator[bytes, None] | None:
        """Return the sound of a call as it is in its episode: its stems are levelled before they are added up."""
        if not any(isinstance(piece, Mix) for piece in subject.pieces):
            return None
        async with self._store.read() as db:
            track, cuts = await tracks.track(db, subject.recording.id), await tracks.cuts(db, subject.recording.id)
        if track is None or length(subject.pieces) != sum(cut.samples for cut in cuts):
            raise TryLater("the episode is being made anew", after_s=ANEW_S)
        return Rendering(
            [*map(piece_of, cuts)],
            cuts,
            Form.of(track),
            start_db=track.start_db,
            local=self._store.blobs.local,
            ffmpeg=self._ffmpeg,
            workdir=self._store.blobs.scratch,
        ).sound()

    async def _begin(self, subject: _Subject, made: Sequence[Part]) -> tuple[HandedBack, ...]:
        """Write down what is posted; what was written before stays if it is the same. Raises TryLater when it is not:
        the homeserver takes other sizes since, and what was begun is withdrawn."""
        recording = subject.recording
        if subject.messages:
            if [_form(message) for message in subject.messages] == [_form_of(part) for part in made]:
                return subject.messages
            async with self._store.write() as db:
                withdrawn = await handed_back.withdraw(db, recording.id, subject.part, only=subject.fingerprint)
                await unsend(db, recording, withdrawn, self._clock())
            raise TryLater("the voice message is cut in another way", at_most_s=1)
        async with self._store.write() as db:
            now = await archive.recording(db, recording.id)
            if now is None or await unanswered.sound_of(db, now, subject.part) != subject.fingerprint:
                raise TryLater("the sound has changed meanwhile", at_most_s=1)
            known = await handed_back.of(db, recording.id, subject.part)
            earlier = {one.part: one.event_id for one in known if one.event_id}
            messages = [
                HandedBack(
                    0,
                    recording.id,
                    subject.fingerprint,
                    number,
                    len(made),
                    part.first,
                    part.samples,
                    part.bytes,
                    part.sha256,
                    replaces=earlier[min(number, max(earlier))] if earlier else None,
                    transmission=subject.part,
                )
                for number, part in enumerate(made, start=1)
            ]
            return await handed_back.add(db, messages)

    async def _send_all(
        self, subject: _Subject, messages: Sequence[HandedBack], files: dict[int, Path], *, sealed: bool
    ) -> None:
        """Upload and send what is not sent yet, in order; then redact those with earlier sound."""
        recording = subject.recording
        for message in messages:
            if message.event_id is not None:
                continue
            source = message.source
            if source is None or not _is_uploaded(message, sealed=sealed):
                name = f"{recording.code}.ogg"
                source = await self._uploads.upload(files[message.part], MIMETYPE, name=name, sealed=sealed)
            async with self._store.write() as db:
                if not await handed_back.uploaded(db, message.id, source):
                    raise TryLater("the voice message was withdrawn meanwhile", at_most_s=1)
            content = await self._content(subject, message, source)
            room_id = recording.room_id
            event_id = await self._sending.send(room_id, MESSAGE, content, txn_id=unanswered.transaction(message))
            async with self._store.write() as db:
                await unanswered.note(db, message, event_id, self._clock())
                if message is messages[-1]:
                    await self._withdraw_earlier(db, subject)
        log.info("handed back: recording=%s room=%s parts=%d", recording.code, recording.room_id, len(messages))

    async def _content(self, subject: _Subject, message: HandedBack, source: MediaSource) -> Json:
        """Build the m.audio of a message (MSC3245, MSC1767)."""
        recording, duration = subject.recording, to_ms(message.samples)
        peaks = stretch(subject.peaks, message.first, message.samples)
        content: dict[str, Any] = {
            "msgtype": "m.audio",
            "body": await self._body(recording, message),
            "info": {"mimetype": MIMETYPE, "duration": duration, "size": message.bytes},
            "org.matrix.msc1767.audio": {
                "duration": duration,
                "waveform": await asyncio.to_thread(msc3246, peaks),
            },
            "org.matrix.msc3245.voice": {},
            "m.mentions": {},
            "org.aircheck.recording": recording.code,
        }
        async with self._store.read() as db:
            began = await shown.event_of(db, recording)
        if began is not None:
            content["m.relates_to"] = {"rel_type": "m.reference", "event_id": began}
        content |= {"url": source.mxc} if source.file is None else {"file": sealed_file(source)}
        if message.replaces is not None:
            content["org.aircheck.replaces"] = message.replaces
        return content

    async def _body(self, recording: Recording, message: HandedBack) -> str:
        """Name the file as clients show it that know no voice messages."""
        async with self._store.read() as db:
            language = await rooms.language(db, recording.room_id)
        with speaking(language):
            title = titles.credited_title(recording, self._settings.feeds.zone)
            if message.parts > 1:
                title = _("{title} ({part} of {parts})").format(title=title, part=message.part, parts=message.parts)
        return f"{title}.ogg"

    async def _tell_refused(self, recording: Recording, refused: GiveUp) -> None:
        """Tell the room once that the homeserver refuses."""
        log.warning("not handed back: recording=%s reason=%s", recording.code, refused.reason)
        async with self._store.write() as db:
            with speaking(await rooms.language(db, recording.room_id)):
                notice = orders.Notice.on(recording, "unsent", told(recording, "unsent"))
            await jobs.add(db, notice.job(), self._clock())


def _ids(ledger: Ledger) -> set[ChunkId | None]:
    return {entry.chunk_id for entry in ledger.entries if entry.sounds}


def _is_uploaded(message: HandedBack, *, sealed: bool) -> bool:
    """Return whether a message needs no upload any more. One that was uploaded in clear is sealed for a room that is
    encrypted now."""
    if message.event_id is not None:
        return True
    return message.source is not None and (message.source.file is not None or not sealed)


def _form(message: HandedBack) -> tuple[int, int, int, str]:
    return message.first, message.samples, message.bytes, message.sha256


def _form_of(part: Part) -> tuple[int, int, int, str]:
    return part.first, part.samples, part.bytes, part.sha256
