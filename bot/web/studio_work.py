"""The work for requests below a studio's address: what is written, and what is told of it."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from bot import facts
from bot.audio.ffmpeg import Ffmpeg
from bot.errors import ConfigError
from bot.event_types import ROOM_NAME
from bot.feeds.addresses import public_shelf
from bot.feeds.titles import channel_title
from bot.pictures.avatar import MAX_AVATAR_BYTES, safe_picture
from bot.pictures.cover import SIDE, fitted
from bot.pictures.one_at_a_time import apart
from bot.recording.model import Change
from bot.settings import Settings
from bot.studio import telling
from bot.studio.life import Problem, closes_at, problem_for
from bot.studio.writing import StudioRefusedError, Taken, Writing
from bot.web.access import Verdict, may_hear_recording
from bot.web.bodies import BodyError, Spool
from bot.web.claims import AddressClaims
from bot.web.listening import Listening
from bot.web.studio import ProblemError
from storage import heirs, rooms, studios
from storage.blobs.new import new_blob
from storage.database import Connection
from storage.errors import StoreBusyError
from storage.records import BlobKey, Recording, Room, RoomId, Studio, StudioId
from storage.store import Store

MOST_RANGES = 500
"""Ranges of numbers that are told; a page sends again what is behind them."""
_CHANGES = {"pause": Change.PAUSED, "resume": Change.RESUMED, "stop": Change.STOPPED}


class StudioWork:
    """The work of one server. Its methods raise ProblemError and StoreError."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        claims: AddressClaims,
        listening: Listening,
        base: Callable[[], str],
        clock: Callable[[], datetime],
        ffmpeg: Ffmpeg | None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._claims = claims
        self._listening = listening
        self._base = base
        self._clock = clock
        self._ffmpeg = ffmpeg
        self._writing = Writing(store, settings, clock)
        self.most_bytes = self._writing.most_bytes
        self.most_picture_bytes = MAX_AVATAR_BYTES

    def scratch(self) -> Path:
        """Return the path of a new scratch file."""
        return self._store.blobs.part(f"studio-{secrets.token_hex(16)}")

    async def refuse_full_disk(self) -> None:
        try:
            await self._writing.refuse_full_disk()
        except StudioRefusedError as error:
            raise ProblemError(error.problem) from None

    # ---- what is written

    async def step(self, studio_id: StudioId, client: str, step: str, last: int | None) -> None:
        """Start, pause, resume or stop a broadcast."""
        try:
            if step == "start":
                await self._writing.start(studio_id, client)
            else:
                await self._writing.change(studio_id, client, _CHANGES[step], last if step == "stop" else None)
        except StudioRefusedError as error:
            raise ProblemError(error.problem) from None
        await self._store.database.settle()

    async def add(self, studio_id: StudioId, client: str, number: int, spool: Spool, duration_ms: int | None) -> bool:
        """Take a slice; return whether it is new."""
        try:
            taken = await self._writing.add(studio_id, client, number, spool.path, spool.key, spool.size, duration_ms)
        except StudioRefusedError as error:
            raise ProblemError(error.problem) from None
        except FileNotFoundError:  # the bot that owns the folder began, and emptied it
            raise StoreBusyError("what was uploaded has been removed") from None
        await self._store.database.settle()  # a browser keeps what is not acknowledged, and nothing else
        return taken is Taken.NOW

    async def tell(self, studio_id: StudioId, client: str | None, texts: Mapping[str, str | None]) -> None:
        """Change texts. Raises BodyError for one that is too long."""
        for name, text in texts.items():
            if text is not None and len(text) > telling.MOST[name]:
                raise BodyError(400, f"`{name}` has {len(text)} characters, of {telling.MOST[name]}")
        async with self._store.write() as db:
            await telling.tell(db, await self._own(db, studio_id, client), texts, self._clock())

    async def picture(self, path: Path, key: BlobKey) -> bytes | None:
        """Make a cover of a stranger's picture; None of one that can't be used."""
        if self._ffmpeg is None:
            try:
                self._ffmpeg = await asyncio.to_thread(Ffmpeg.find, self._settings.audio.ffmpeg)
            except ConfigError as error:
                raise StoreBusyError(error.sentence) from None
        square = await safe_picture(self._ffmpeg, path, SIDE)
        return await apart(fitted, square, key) if square is not None else None

    async def show(self, studio_id: StudioId, picture: bytes | None) -> None:
        """Change the picture; None: there is none."""
        if picture is None:
            async with self._store.write() as db:
                await telling.show(db, await self._own(db, studio_id, None), None, self._clock())
            return
        async with new_blob(self._store.blobs, picture, "cover") as (new, key), self._store.write() as db:
            studio = await self._own(db, studio_id, None)
            await new.keep(db)
            await telling.show(db, studio, key, self._clock())

    async def _own(self, db: Connection, studio_id: StudioId, client: str | None) -> Studio:
        studio = await studios.get(db, studio_id)
        problem = Problem.OVER if studio is None else problem_for(studio, client, self._clock(), late=True)
        if studio is None or problem is not None:
            raise ProblemError(problem or Problem.OVER)
        return studio

    # ---- what is told

    async def state(self, studio: Studio) -> dict[str, object]:
        """Return all that a studio's page shows."""
        async with self._store.read() as db:
            have = await studios.ranges_of(db, studio.id, MOST_RANGES)
            recording = await telling.recording_of(db, studio)
            podcast = await heirs.podcast(db, await heirs.line(db, studio.room_id))
            name = podcast.podcast.title or await self._name(db, studio.room_id)
            listeners = await self._listening.count(db, recording.id) if recording is not None else 0
        closes = closes_at(studio) or studio.expires_at
        page = await self._page(podcast, recording)
        return {
            "state": str(studio.state),
            "client": studio.client,
            "have": [list(each) for each in have],
            "last": studio.last,
            "title": studio.title,
            "description": studio.description,
            "cover": studio.cover is not None,
            "room": name,
            "listeners": listeners,
            "started_at": _ms(studio.started_at),
            "now": _ms(self._clock()),
            "expires_at": _ms(closes),
            "code": recording.code if recording is not None else None,
            "page": page,
            "heard": _heard(recording, public=page is not None),
            "most_s": self._settings.recording.max_broadcast_s,
            "most_bytes": self.most_bytes,
        }

    async def name(self, room_id: RoomId) -> str:
        """Return the name of a room's podcast, as its pages show it."""
        async with self._store.read() as db:
            podcast = await heirs.podcast(db, await heirs.line(db, room_id))
            return podcast.podcast.title or await self._name(db, room_id)

    async def _name(self, db: Connection, room_id: RoomId) -> str:
        name = facts.room_name(await rooms.state(db, room_id, ROOM_NAME))
        return channel_title(name, None, await rooms.servers(db, [room_id]))

    async def _page(self, podcast: Room, recording: Recording | None) -> str | None:
        """Return the page of the recording, if it is public: a studio's address opens nothing else."""
        if recording is None:
            return None
        access = await self._claims.public(podcast.key)
        if access.verdict is not Verdict.OPEN or not may_hear_recording(access, recording):
            return None
        return public_shelf(self._base(), podcast.key).episode(recording.code)


def _heard(recording: Recording | None, *, public: bool) -> str | None:
    """Return who can hear a recording: everybody, members of the room by addresses of their own, or its speakers and
    moderators until it is approved; None: nobody."""
    if recording is None or not recording.state.may_have_audio:
        return None
    if public:
        return "public"
    return "review" if recording.unreviewed else "members"


def _ms(at: datetime | None) -> int | None:
    return int(at.astimezone(UTC).timestamp() * 1000) if at is not None else None
