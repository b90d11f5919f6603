"""Broadcasts whose start was not heard, but to which an event refers: a job reads them from the homeserver.

Anybody can refer to any event, so each sender and each room has a share; references beyond it are ignored, and not
logged.
"""

from collections import OrderedDict, deque
from datetime import datetime, timedelta

from bot import dialects, orders
from bot.dialects.state import broadcast_of
from storage import jobs, journal, rooms
from storage.database import Connection
from storage.records import EventId, HeardEvent, JobState, RoomId, UserId

SHARE_OF_A_SENDER = 5
SHARE_OF_A_ROOM = 30
WITHIN = timedelta(minutes=10)
IN_A_MOMENT = timedelta(seconds=2)
MOST_REMEMBERED = 10_000  # senders and rooms that are remembered
NOT_AGAIN_FOR = timedelta(minutes=1)


class UnheardBroadcasts:
    """The recent requests, in memory: after a start everybody has a full share again."""

    def __init__(self) -> None:
        self._requests: OrderedDict[tuple[RoomId, UserId | None], deque[datetime]] = OrderedDict()

    async def ask_for(
        self, db: Connection, room_id: RoomId, broadcast: EventId, sender: UserId, now: datetime, *, soon: bool
    ) -> None:
        """Order a reading of an unknown broadcast of this sender, if it may have to be recorded. `soon`: wait a moment,
        since the next sync may bring its start."""
        room = await rooms.room(db, room_id)
        if room is None or not room.joined or await self._is_known(db, room_id, broadcast, sender, now):
            return
        if not self._has_share(room_id, sender, now):
            return
        if not room.recording_on:  # broadcasts sent while recording is off are not recorded later
            await journal.add(db, HeardEvent(room_id, broadcast, {}), now, keep=False)
            return
        reread = orders.Reread(broadcast, room_id, sender, unknown=True)
        await jobs.add(db, reread.job(now + IN_A_MOMENT if soon else now), now)

    async def _is_known(
        self, db: Connection, room_id: RoomId, broadcast: EventId, sender: UserId, now: datetime
    ) -> bool:
        """Return whether the broadcast was heard before, is named by the state that the bot found when it joined, or
        was requested already."""
        if await journal.position_of(db, broadcast) is not None:
            return True
        for kind in dialects.INFOS:
            info = await rooms.state(db, room_id, kind, sender)
            if info is not None and broadcast in (info.event_id, broadcast_of(info)):
                return True
        job = await jobs.find(db, orders.Reread.about(broadcast))
        if job is None:
            return False
        return job.state in (JobState.READY, JobState.RUNNING) or now - job.run_at < NOT_AGAIN_FOR

    def _has_share(self, room_id: RoomId, sender: UserId, now: datetime) -> bool:
        shares = [((room_id, sender), SHARE_OF_A_SENDER), ((room_id, None), SHARE_OF_A_ROOM)]
        for whose, share in shares:
            requests = self._requests.setdefault(whose, deque())
            self._requests.move_to_end(whose)
            while requests and now - requests[0] > WITHIN:
                requests.popleft()
            if len(requests) >= share:
                return False
        for whose, _ in shares:
            self._requests[whose].append(now)
        while len(self._requests) > MOST_REMEMBERED:
            self._requests.popitem(last=False)
        return True
