"""Broadcasts that somebody names and nobody heard begin: the homeserver is asked for them, by a job.

Anybody can name whatever they like, so there is a share for each sender and each room; who uses it up is left out
without a trace.
"""

from collections import OrderedDict, deque
from datetime import datetime, timedelta

from bot import dialects
from bot.intake import missed
from storage import jobs, journal, rooms
from storage.database import Connection
from storage.records import EventId, HeardEvent, JobKind, JobState, NewJob, RoomId, UserId

SHARE_OF_A_SENDER = 5
SHARE_OF_A_ROOM = 30
WITHIN = timedelta(minutes=10)
IN_A_MOMENT = timedelta(seconds=2)
MOST_REMEMBERED = 10_000  # senders and rooms
NOT_AGAIN_FOR = timedelta(minutes=1)
UNKNOWN = "unknown"
"""In the payload of a FOLLOW job: nobody heard of the broadcast but by a reference."""


class Asking:
    """What was asked of late, in memory: after a start everybody has their share again."""

    def __init__(self) -> None:
        self._asked: OrderedDict[tuple[RoomId, UserId | None], deque[datetime]] = OrderedDict()

    async def ask(
        self, db: Connection, room_id: RoomId, broadcast: EventId, sender: UserId, now: datetime, *, soon: bool
    ) -> None:
        """Has an unknown broadcast of this sender read, if it may be one that is to be recorded; `soon`: in a moment,
        for the next sync may bring it."""
        room = await rooms.room(db, room_id)
        if room is None or not room.joined or await self._is_known(db, room_id, broadcast, sender, now):
            return
        if not self._has_share(room_id, sender, now):
            return
        if not room.recording_on:  # what is said while recording is off is not recorded later
            await journal.add(db, HeardEvent(room_id, broadcast, {}), now, keep=False)
            return
        payload = {"room_id": room_id, "sender": sender, UNKNOWN: True}
        await jobs.add(db, NewJob(JobKind.FOLLOW, broadcast, payload, now + IN_A_MOMENT if soon else now), now)

    async def _is_known(
        self, db: Connection, room_id: RoomId, broadcast: EventId, sender: UserId, now: datetime
    ) -> bool:
        """Heard before, named by the state that the bot found when it came, or asked for already."""
        if await journal.position_of(db, broadcast) is not None:
            return True
        for kind in dialects.INFOS:
            state = await rooms.state(db, room_id, kind, sender)
            if state is not None and broadcast in (state.event_id, state.content.get(missed.BROADCAST)):
                return True
        job = await jobs.find(db, JobKind.FOLLOW, broadcast)
        if job is None:
            return False
        return job.state in (JobState.READY, JobState.RUNNING) or now - job.run_at < NOT_AGAIN_FOR

    def _has_share(self, room_id: RoomId, sender: UserId, now: datetime) -> bool:
        shares = [((room_id, sender), SHARE_OF_A_SENDER), ((room_id, None), SHARE_OF_A_ROOM)]
        for whose, share in shares:
            asked = self._asked.setdefault(whose, deque())
            self._asked.move_to_end(whose)
            while asked and now - asked[0] > WITHIN:
                asked.popleft()
            if len(asked) >= share:
                return False
        for whose, _ in shares:
            self._asked[whose].append(now)
        while len(self._asked) > MOST_REMEMBERED:
            self._asked.popitem(last=False)
        return True
