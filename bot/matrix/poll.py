"""Requests to /sync, and their answers as batches whose events are decrypted as far as possible.

The first request of a process does not wait for news. An answer that is too long is asked for again with fewer events
of each room. A token that the homeserver no longer seems to know is dropped.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot import counted, facts
from bot.errors import AircheckError, TryLater
from bot.event_types import CALL_SIGNAL, STICKY_FIELD
from bot.matrix import sync
from bot.matrix.batch import LimitedTimeline, RoomBatch, Signal, SyncBatch
from bot.matrix.keys import MOST_OF_A_SENDER, MOST_SIGNALS, Keys
from bot.matrix.standing import Standing
from bot.matrix.upkeep import Upkeep
from bot.matrix.wire import MAX_STATE_BYTES, Refused, TooLong, Wire, path
from storage.records import Json, UserId

LONG_POLL_S = 30
ANSWER_S = 90  # well more than the long poll
FIRST_ANSWER_S = 600  # of a process: the answer after a long absence is long


class Poll:
    """Requests to /sync of one session. `heard_at`: when the homeserver last answered one; None: not yet."""

    def __init__(self, wire: Wire, keys: Keys, upkeep: Upkeep, user_id: UserId, clock: Callable[[], datetime]) -> None:
        self.heard_at: datetime | None = None
        self._wire = wire
        self._keys = keys
        self._upkeep = upkeep
        self._user_id = user_id
        self._clock = clock
        self._standing = Standing()
        self._size = self._asked = sync.Size.LIVE

    async def hear(self, since: str | None, *, wait: bool) -> tuple[SyncBatch | None, float]:
        """Ask once for what came after the token; give the batch and the seconds to wait before the next request.

        The batch is None where the answer holds only the same token again. With `wait` the homeserver holds the
        request until there is news. A doubtful token is left out, and the batch says so. Raises TryLater, Refused.
        """
        anew = since is not None and self._standing.is_doubtful
        began, long_poll = time.monotonic(), wait and since is not None and not anew
        answer = await self._ask(None if anew else since, wait_s=LONG_POLL_S if long_poll else 0)
        news, same = not sync.brings_nothing(answer), answer["next_batch"] == since
        if long_poll:
            took_s = time.monotonic() - began
            pause_s = self._standing.answered(news=news, same_token=same, took_s=took_s, of_s=LONG_POLL_S)
            if same and not news:
                self._upkeep.note(answer)
                return None, pause_s
        else:
            pause_s = 0.0
            self._standing.accepted()
        batch = await self._batch(answer, since, anew=anew)
        if not wait:  # of a process: messages from before it are about connections that ended
            batch = replace(batch, signals=())
        await self._keys.settle()
        return batch, pause_s

    async def _ask(self, since: str | None, *, wait_s: int) -> dict[str, Any]:
        size = self._size if since or self._size is not sync.Size.LIVE else sync.Size.FIRST
        self._asked = size
        query = {"filter": json.dumps(sync.sync_filter(size), separators=(",", ":")), "set_presence": "offline"}
        query |= {"timeout": str(wait_s * 1000), **({"since": since} if since else {})}
        timeout_s = ANSWER_S if wait_s else FIRST_ANSWER_S
        try:
            answer = await self._wire.call(
                "GET", path("sync"), query=query, timeout_s=timeout_s, max_bytes=MAX_STATE_BYTES
            )
        except TooLong:
            self._size = size.smaller()
            counted.SYNCS.add("failed")
            raise
        except Refused as refused:
            counted.SYNCS.add("refused")
            self._standing.refused(errcode=refused.errcode, with_token=since is not None)
            raise
        except AircheckError:
            counted.SYNCS.add("failed")
            raise
        if sync.token(answer.get("next_batch")) is None:
            counted.SYNCS.add("failed")
            raise TryLater("the homeserver's answer to /sync has no next_batch")
        self._size = sync.Size.LIVE
        counted.SYNCS.add("answered")
        self.heard_at = self._clock()
        return answer

    async def _batch(self, answer: Json, since: str | None, *, anew: bool) -> SyncBatch:
        """Take in the answer's keys first, then decrypt its events with them."""
        self._upkeep.note(answer)
        withheld = await self._keys.take_to_device(sync.to_device(answer))
        next_batch = str(answer["next_batch"])
        rooms = []
        for room in sync.rooms(answer, self._user_id):
            # Without prev_batch the walk begins at the end of this sync: the timeline's own events are met again.
            start = room.prev_batch or next_batch
            is_limited = anew or (since is not None and room.limited)
            limited = LimitedTimeline(start, None if anew else since) if is_limited else None
            timeline = await self._keys.hear_all(room.room_id, room.timeline)
            beside = await self._keys.hear_all(room.room_id, room.sticky)
            sticky = (*beside, *(heard for heard in timeline if STICKY_FIELD in heard.event))
            rooms.append(RoomBatch(room.room_id, room.joined, room.state, timeline, limited, sticky))
        return SyncBatch(
            next_batch=next_batch,
            rooms=tuple(rooms),
            invites=sync.invites(answer, self._user_id),
            new_keys=self._keys.new_sessions(),
            withheld=withheld,
            signals=(*self._keys.signals(), *signals_of(rooms)),
            retracted=sync.retracted(answer, self._user_id),
            anew=anew,
            without_members=self._asked is sync.Size.LEAST,
        )


def signals_of(rooms: Iterable[RoomBatch]) -> tuple[Signal, ...]:
    """List the messages about calls in the timelines of joined rooms, at most so many of one sender and in all."""
    signals: list[Signal] = []
    senders: Counter[UserId] = Counter()
    for heard in (heard for room in rooms if room.joined for heard in room.timeline):
        event = heard.event
        kind, sender, content = event.get("type"), event.get("sender"), event.get("content")
        if kind != CALL_SIGNAL or "state_key" in event or not isinstance(sender, str) or not isinstance(content, dict):
            continue
        senders[UserId(sender)] += 1
        if len(signals) < MOST_SIGNALS and senders[UserId(sender)] <= MOST_OF_A_SENDER:
            signal = Signal(UserId(sender), CALL_SIGNAL, content, encrypted=heard.encrypted, room_id=heard.room_id)
            signals.append(replace(signal, sent_at=facts.sent_at(event)))
    return tuple(signals)
