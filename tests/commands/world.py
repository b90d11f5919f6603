"""A room by hand: members with their powers, recordings, and commands said in it."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot import disclosure, orders
from bot.commands.handle import Commands
from bot.recorder import Recorder
from bot.recording.policy import Limits
from bot.settings import FeedsSettings, MatrixSettings, RetentionSettings, Settings, WebSettings
from storage import archive, jobs, questions, rooms
from storage.database import Connection
from storage.records import (
    BlobKey,
    CallProtocol,
    ChunkState,
    DeviceId,
    Episode,
    EventId,
    HistoryVisibility,
    Job,
    JobId,
    JobKind,
    JobState,
    Json,
    Position,
    Question,
    Recording,
    Room,
    RoomId,
    StateEvent,
    UserId,
    to_samples,
)
from storage.store import Store
from tests.clock import Clock
from tests.factories import a_chunk, a_recording, a_room, always

ROOM = RoomId("!r:hs")
BOT = UserId("@bot:hs")
ADMIN = UserId("@admin:hs")
CREATOR = UserId("@creator:hs")  # of a version 12 room: stands in no power levels
MOD = UserId("@mod:hs")
MEMBER = UserId("@member:hs")
SPEAKER = UserId("@speaker:hs")  # an ordinary member who spoke
STRANGER = UserId("@stranger:hs")
BANNED = UserId("@banned:hs")  # was a moderator
EVERYBODY = (BOT, ADMIN, CREATOR, MOD, MEMBER, SPEAKER)
SECRET = b"s" * 32
BASE = "https://pod.example"


class World:
    """A single room with its members. `say` gives the answer to a command, `take` the jobs that it wrote."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.feeds = FeedsSettings()
        self.retention = RetentionSettings()
        self.secret = always(SECRET)
        self.going_on: dict[CallProtocol, bool | None] = {}
        self._count = itertools.count(100)

    @property
    def settings(self) -> Settings:
        return Settings(
            matrix=MatrixSettings(homeserver="https://hs", user_id=BOT, admins=(ADMIN,)),
            web=WebSettings(public_url=BASE),
            feeds=self.feeds,
            retention=self.retention,
        )

    async def open(
        self, *, room_id: RoomId = ROOM, version: str = "12", members: Sequence[UserId] = EVERYBODY, **fields: Any
    ) -> None:
        """A room with these members, whose power levels know the moderator alone."""
        levels = {"users": {MOD: 50, BANNED: 100}}
        async with self.store.write() as db:
            await rooms.save_room(db, a_room(room_id, at=self.clock(), **fields))
            await self._set(db, room_id, "m.room.create", {"room_version": version}, sender=CREATOR)
            await self._set(db, room_id, "m.room.power_levels", levels)
            for user in members:
                await self._set(db, room_id, "m.room.member", {"membership": "join"}, key=user, sender=user)
            await self._set(db, room_id, "m.room.member", {"membership": "ban"}, key=BANNED)

    async def _set(
        self, db: Connection, room_id: RoomId, kind: str, content: Json, *, key: str = "", sender: UserId = MOD
    ) -> None:
        event = StateEvent(room_id, kind, key, sender, content, Position(next(self._count)))
        await rooms.save_state(db, event)

    async def state(self, kind: str, content: Json, *, room_id: RoomId = ROOM) -> None:
        async with self.store.write() as db:
            await self._set(db, room_id, kind, content)

    async def power_levels(self, content: Json) -> None:
        async with self.store.write() as db:
            await self._set(db, ROOM, "m.room.power_levels", content)

    async def member(self, user: UserId, membership: Any = "join", *, room_id: RoomId = ROOM, name: Any = None) -> None:
        content = {"membership": membership} | ({} if name is None else {"displayname": name})
        async with self.store.write() as db:
            await self._set(db, room_id, "m.room.member", content, key=user, sender=user)

    async def tell(self, at: Position | None) -> None:
        """Set the position at which the room was told that it is recorded; None: not yet."""
        async with self.store.write() as db:
            await rooms.save_room(db, replace(await self.room(), told_at=at))

    async def forget_state(self) -> None:
        """Forget the room's state but for its members, as it is right after the bot joined."""
        async with self.store.write() as db:
            await rooms.forget_state(db, ROOM)
        for user in (ADMIN, MOD, CREATOR, MEMBER):
            await self.member(user)

    async def recording(self, *, length_ms: int | None = 61_000, **fields: Any) -> Recording:
        """A recording of the speaker, with an episode unless `length_ms` is None."""
        count = next(self._count)
        fresh = a_recording(
            at=self.clock(),
            room_id=ROOM,
            event_id=EventId(f"$started{count}"),
            broadcaster=SPEAKER,
            device_id=DeviceId("DEV"),
            position=Position(count),
            history_visibility=HistoryVisibility.SHARED,
            broadcaster_name="Mira",
        )
        async with self.store.write() as db:
            saved = await archive.add_recording(db, replace(fresh, **fields))
            if length_ms is not None:
                blob, samples = BlobKey(f"{count:064x}"), to_samples(length_ms)
                await archive.save_episode(db, Episode(saved.id, saved.event_id, blob, 9, samples, self.clock()))
        return saved

    async def chunk(self, recording: Recording, state: ChunkState, **fields: Any) -> None:
        count = next(self._count)
        placed = {"event_id": EventId(f"$chunk{count}"), "position": Position(count), "sequence": None, "state": state}
        async with self.store.write() as db:
            await archive.save_chunks(db, [a_chunk(recording_id=recording.id, **(placed | fields))])

    def command(self, sender: UserId, body: str, **fields: Any) -> Job:
        """The job that the recorder writes for `body` said now."""
        count = next(self._count)
        said: dict[str, Any] = {"room_id": ROOM, "position": Position(count), "sent_at": self.clock()} | fields
        new = orders.Command(EventId(f"$command{count}"), sender=sender, body=body, **said).job()
        return Job(JobId(count), new.kind, new.subject, new.payload, JobState.RUNNING, self.clock(), 1)

    async def handle(self, job: Job) -> None:
        recorder = Recorder(self.store, Limits(60, 1800, 14400, 21600, 1 << 20), self.clock)
        commands = Commands(
            self.store, self.settings, self.secret, self.clock, apply=recorder.apply, calls_in=self._calls
        )
        await (commands.confirm if job.kind == orders.Confirm.kind else commands)(job)

    async def _calls(self, _db: Connection, _room_id: RoomId) -> dict[CallProtocol, bool | None]:
        return self.going_on

    async def say(self, sender: UserId, body: str, **fields: Any) -> str | None:
        """The body of the answer; None when there was none."""
        job = self.command(sender, body, **fields)
        return await self.answered(job, job.subject)

    async def react(self, sender: UserId, to: EventId, **fields: Any) -> str | None:
        """The body of the answer to a 👍, which the intake let through; None when there was none."""
        count, now = next(self._count), self.clock()
        given: dict[str, Any] = {"room_id": ROOM, "received_at": now, "sent_at": now} | fields
        new = orders.Confirm(EventId(f"$yes{count}"), sender=sender, to=to, position=Position(count), **given).job()
        job = Job(JobId(count), new.kind, new.subject, new.payload, JobState.RUNNING, self.clock(), 1)
        return await self.answered(job, to)

    async def answered(self, job: Job, reply_to: str) -> str | None:
        """Handle a job and return the body of its answer, which is said at once."""
        await self.handle(job)
        found = [job for job in await self.take(orders.Notice.kind) if not orders.Notice.of(job).greets]
        assert len(found) <= 1
        if not found:
            return None
        payload = found[0].payload
        assert found[0].subject == f"answer:{job.subject}"
        assert (payload["room_id"], payload["reply_to"]) == (job.payload["room_id"], reply_to)
        if "asks" in payload:
            async with self.store.write() as db:
                await questions.said(db, payload["asks"], EventId(f"$said{job.id}"), self.clock())
        return str(payload["body"])

    async def confirmed(self, sender: UserId, body: str, **fields: Any) -> str:
        """The answer to a command that was asked about and confirmed by `yes`."""
        question = await self.say(sender, body, **fields)
        assert question is not None
        assert "`!aircheck yes`" in question
        return await self.say(sender, "!aircheck yes", **fields) or ""

    async def question(self, asker: UserId, room_id: RoomId = ROOM) -> Question | None:
        """The question that a member has open."""
        async with self.store.read() as db:
            return await questions.open_of(db, room_id, asker)

    async def take(self, kind: JobKind) -> tuple[Job, ...]:
        """Return the waiting jobs of a kind and mark them as done."""
        async with self.store.write() as db:
            found = await jobs.claim(db, [kind], datetime.max.replace(tzinfo=self.clock().tzinfo), 100)
            for job in found:
                await jobs.done(db, job.id, self.clock())
        return found

    async def room(self, room_id: RoomId = ROOM) -> Room:
        async with self.store.read() as db:
            found = await rooms.room(db, room_id)
        assert found is not None
        return found

    async def recorded(self) -> list[str]:
        """The kinds of what is recorded in the room, as clients read them."""
        return [str(kind) for kind in disclosure.listed((await self.room()).recorded)]

    async def look(self, recording: Recording) -> Recording:
        """The recording as it stands now."""
        async with self.store.read() as db:
            found = await archive.recording(db, recording.id)
        assert found is not None
        return found
