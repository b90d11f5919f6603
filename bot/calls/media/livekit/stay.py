"""A stay in a room of an SFU, from its JoinResponse on: signalling, the room, and both transports.

A stay outlasts breaks of the WebSocket and of the network (`resume`), as long as the SFU holds its end of it. Signals
are handled one after the other, as they come.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any

from livekit.protocol import models, rtc

from bot.calls.media.bounds import Bucket
from bot.calls.media.door import Refused
from bot.calls.media.livekit.frames import Sealer
from bot.calls.media.livekit.publisher import Publisher
from bot.calls.media.livekit.relay import relay
from bot.calls.media.livekit.room import Room
from bot.calls.media.livekit.signalling import Signalling, connect
from bot.calls.media.livekit.subscriber import Subscriber
from bot.calls.media.livekit.transport import Relay

UP_S = 6.0  # from the JoinResponse to sound, and from a resumption
MOST_OFFERS = 5  # a second
OFFERS_BURST = 100
MOST_TOKEN = 16 * 1024
AGAIN_S = 2.0  # until a track that the SFU refuses is asked for again
CLOSE_S = 0.8  # for closing; what takes longer goes on in the background
TOLD_S = 2.0
"""The time from the end of a transport to the reason for it: an SFU that puts us out closes both transports, and says
why by the signalling, which may be read later. Who joins again without it may put out who has our identity by now."""
TOLD_TURNS = 20  # of the event loop, in that time: one that was held up has not read what came meanwhile

log = logging.getLogger(__name__)


class Break(Enum):
    """The way a stay is interrupted."""

    RESUME = "resume"  # the network, or the SFU's wish: the stay may go on
    REJOIN = "rejoin"  # another stay may follow
    REFUSED = "refused"  # the token is taken no more, or the room is not there
    DUPLICATE = "duplicate"  # another connection has our identity
    REMOVED = "removed"  # a moderator removed us
    CLOSED = "closed"  # the room was closed


_OVER = {
    models.DisconnectReason.DUPLICATE_IDENTITY: Break.DUPLICATE,
    models.DisconnectReason.PARTICIPANT_REMOVED: Break.REMOVED,
    models.DisconnectReason.ROOM_DELETED: Break.CLOSED,
    models.DisconnectReason.ROOM_CLOSED: Break.CLOSED,
}


class Access:
    """The way into a room. The token is replaced by newer ones of the SFU."""

    def __init__(self, url: str, token: str, *, private: bool) -> None:
        self.url, self.token, self.private = url, token, private


@dataclass(frozen=True, slots=True)
class Hearer:
    """The receiver of a stay's news."""

    injected: Callable[[bytes], None]  # the trailer of the silence that the SFU puts in
    changed: Callable[[Collection[str]], None]  # participants who came, went or changed
    wants: Callable[[str], bool]  # whether a participant is received
    heard: Callable[[str, bytes, Collection[int]], None]  # a packet of theirs, and the payload types of Opus


class Stay:
    """A stay. `sealer`: as of Publisher."""

    def __init__(
        self,
        access: Access,
        signalling: Signalling,
        join: rtc.JoinResponse,
        relay: Relay | None,
        hearer: Hearer,
        sealer: Callable[[], Sealer | None],
    ) -> None:
        self._access, self._signalling, self._relay, self._hearer = access, signalling, relay, hearer
        self._sid = join.participant.sid
        self.room = Room(join.participant.identity)
        self.room.update(join.other_participants)
        hearer.injected(bytes(join.sif_trailer))
        self._subscribed: set[str] = set()
        self._again: asyncio.TimerHandle | None = None
        self._subscriber = Subscriber(
            private=access.private, owner=self._owner, heard=hearer.heard, changed=self._subscriber_changed
        )
        self._publisher = Publisher(private=access.private, sealer=sealer, lost=self._transport_lost)
        self._published = False
        self._pings = (join.ping_interval, join.ping_timeout)
        signalling.keep_alive(*self._pings)
        self._up = asyncio.Event()
        self._ending = False  # a transport is over, and the reason is waited for
        self._broken: asyncio.Future[Break] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._offers = Bucket(MOST_OFFERS, OFFERS_BURST)
        self._reading = asyncio.ensure_future(self._read(signalling))

    async def established(self) -> None:
        """Wait until sound can be received. Raises Refused (`no_media`, or why the SFU put us out)."""
        up = asyncio.ensure_future(self._up.wait())
        waiting: list[asyncio.Future[Any]] = [up, self._broken]
        try:
            await asyncio.wait(waiting, timeout=UP_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
        if self._broken.done():
            raise Refused(self._broken.result().value)
        if not self._up.is_set():
            raise Refused("no_media")

    async def broken(self) -> Break:
        """Wait for the next break."""
        return await asyncio.shield(self._broken)

    async def resume(self) -> None:
        """Go on after a break. Raises Refused (`unreachable`, `no_stay`: the SFU holds it no more, …)."""
        self._reading.cancel()
        await self._signalling.close()
        self._signalling = await connect(
            self._access.url, self._access.token, private=self._access.private, resume=self._sid
        )
        self._signalling.keep_alive(*self._pings)
        self._broken, self._up = asyncio.get_running_loop().create_future(), asyncio.Event()
        first = await self._signalling.receive()
        if first is None:
            raise Refused("unreachable")
        _raise_if_over(first)
        if first.WhichOneof("message") in ("leave", "join") or self._has_ended:  # a transport may have ended meanwhile
            raise Refused("no_stay")
        await self._take(first)
        self._reading = asyncio.ensure_future(self._read(self._signalling))
        if self._published:
            await self._publisher.offer(self._signalling, self._relay)
            await self._publisher.mute(self._signalling)  # what was told before may have been lost
        self._subscribe_anew()
        await self.established()

    def subscribe(self) -> None:
        """Subscribe to the microphones that are wanted, and to nothing else."""
        if self._closing is not None:
            return
        wanted = self._microphones(self._hearer.wants)
        for tracks, subscribed in ((self._subscribed - wanted, False), (wanted - self._subscribed, True)):
            if tracks:
                update = rtc.UpdateSubscription(track_sids=sorted(tracks), subscribe=subscribed)
                self._run(self._signalling.send(subscription=update))
        self._subscribed = wanted
        self._subscriber.route()

    def _subscribe_anew(self) -> None:
        """Tell the SFU of every microphone whether it is wanted: what was told before may have been lost."""
        wanted = self._microphones(self._hearer.wants)
        self._subscribed = (self._subscribed | self._microphones(lambda _: True)) - wanted
        self.subscribe()

    def _microphones(self, whose: Callable[[str], bool]) -> set[str]:
        """Return the tracks of the microphones of some participants."""
        return {
            one.microphone.track
            for identity, one in self.room.participants.items()
            if one.microphone is not None and whose(identity)
        }

    def publish(self, *, encrypted: bool) -> None:
        """Publish our own track, unless that was done."""
        if not self._published:
            self._published = True
            self._run(self._publish(encrypted))

    def beep(self) -> None:
        """Play the short tone, if our track is published."""
        if self._published:
            self._run(self._publisher.beep(lambda: self._signalling))

    async def leave(self) -> None:
        """Say good-bye, and close everything."""
        leave = rtc.LeaveRequest(
            reason=models.DisconnectReason.CLIENT_INITIATED, action=rtc.LeaveRequest.Action.DISCONNECT
        )
        try:
            await self._signalling.send(leave=leave)
        finally:
            await self.close()

    async def close(self) -> None:
        """Close everything. What takes longer than `CLOSE_S` goes on, as all does where the caller is cancelled."""
        if self._closing is None:
            for task in (self._reading, *self._tasks):
                task.cancel()
            if self._again is not None:
                self._again.cancel()
            self._broken.cancel()
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.wait([self._closing], timeout=CLOSE_S)

    async def _close(self) -> None:
        parts = (self._subscriber, self._publisher, self._signalling)
        for failed in await asyncio.gather(*(part.close() for part in parts), return_exceptions=True):
            if failed is not None:
                log.warning("a part of a stay was not closed: %s", type(failed).__name__)

    async def _publish(self, encrypted: bool) -> None:
        await self._publisher.publish(self._signalling, self._relay, encrypted=encrypted)
        try:
            await self._publisher.announce()
        except TimeoutError:
            log.info("our own track was not published")

    # ---- signals

    async def _read(self, signalling: Signalling) -> None:
        while (message := await signalling.receive()) is not None:
            try:
                await self._take(message)
            except Refused as refused:
                log.info("a message of the SFU was not taken: %s", refused.reason)
                return self._break(Break.REJOIN)
            except Exception as error:
                # Nothing that was checked should be too much for the transports, but it is a stranger's all the same.
                log.warning("a message of the SFU failed: %s", type(error).__name__)
                return self._break(Break.REJOIN)
        return self._break(Break.RESUME)

    async def _take(self, message: rtc.SignalResponse) -> None:
        kind = message.WhichOneof("message")
        take = self._takers().get(kind or "")
        if take is not None:
            await take(getattr(message, kind or ""))

    def _takers(self) -> "dict[str, Callable[..., Awaitable[None]]]":
        return {
            "offer": self._offered,
            "answer": self._answered,
            "trickle": self._trickled,
            "update": self._updated,
            "track_published": self._track_published,
            "subscription_response": self._subscription_refused,
            "refresh_token": self._refreshed,
            "room_moved": self._moved,
            "leave": self._left,
        }

    async def _offered(self, offer: rtc.SessionDescription) -> None:
        if not self._offers.take(1, time.monotonic()):
            raise Refused("too_many")
        answer = await self._subscriber.answer(offer.sdp, dict(offer.mid_to_track_id), self._relay)
        await self._signalling.send(answer=rtc.SessionDescription(type="answer", sdp=answer, id=offer.id))

    async def _answered(self, answer: rtc.SessionDescription) -> None:
        await self._publisher.accept(answer.sdp, answer.id)

    async def _trickled(self, trickle: rtc.TrickleRequest) -> None:
        try:
            candidate = json.loads(trickle.candidateInit)["candidate"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if isinstance(candidate, str):
            ours = trickle.target == rtc.SignalTarget.PUBLISHER
            await (self._publisher if ours else self._subscriber).add_candidate(candidate)

    async def _updated(self, update: rtc.ParticipantUpdate) -> None:
        self._changed(self.room.update(update.participants))

    async def _track_published(self, published: rtc.TrackPublishedResponse) -> None:
        self._publisher.published(published)

    async def _subscription_refused(self, response: rtc.SubscriptionResponse) -> None:
        if response.err != models.SubscriptionError.SE_UNKNOWN:
            log.info("the SFU refuses a track: error %d", response.err)
            self._subscribed.discard(response.track_sid)
            if self._again is None:
                self._again = asyncio.get_running_loop().call_later(AGAIN_S, self._ask_again)

    def _ask_again(self) -> None:
        self._again = None
        self.subscribe()

    async def _refreshed(self, token: str) -> None:
        if token and len(token) <= MOST_TOKEN:
            self._access.token = token

    async def _moved(self, moved: rtc.RoomMovedResponse) -> None:
        await self._refreshed(moved.token)
        before = set(self.room.participants)
        self.room = Room(moved.participant.identity)
        self._sid = moved.participant.sid
        self._subscribed.clear()
        self._changed(before | self.room.update(moved.other_participants))

    async def _left(self, leave: rtc.LeaveRequest) -> None:
        log.info("the SFU ends a stay: reason %d, action %d", leave.reason, leave.action)
        if leave.reason in _OVER:
            self._break(_OVER[leave.reason])
        else:
            resumes = leave.action == rtc.LeaveRequest.Action.RESUME
            self._break(Break.RESUME if resumes else Break.REJOIN)

    def _changed(self, identities: Collection[str]) -> None:
        if identities:
            self.subscribe()
            self._hearer.changed(identities)

    # ---- transports

    def _owner(self, track: str) -> str | None:
        identity = self.room.owner(track)
        return identity if identity is not None and self._hearer.wants(identity) else None

    def _subscriber_changed(self, up: bool) -> None:
        if up:
            self._up.set()
        else:
            self._transport_lost()

    @property
    def _has_ended(self) -> bool:
        """Whether a transport is over: the stay can't be resumed."""
        return self._subscriber.has_ended or self._publisher.has_ended

    def _transport_lost(self) -> None:
        if not self._has_ended:
            self._break(Break.RESUME)
        elif not self._ending:
            self._ending = True
            self._run(self._end_untold())

    async def _end_untold(self) -> None:
        """End the stay, unless the SFU says why before."""
        for _ in range(TOLD_TURNS):
            await asyncio.sleep(TOLD_S / TOLD_TURNS)
        self._break(Break.REJOIN)

    def _break(self, kind: Break) -> None:
        if not self._broken.done():
            ended = kind is Break.RESUME and self._has_ended
            self._broken.set_result(Break.REJOIN if ended else kind)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(self._attempt(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # it may be cancelled before it begins

    async def _attempt(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (Refused, TimeoutError) as error:
            log.info("a request to the SFU failed: %s", type(error).__name__)


async def enter(access: Access, hearer: Hearer, sealer: Callable[[], Sealer | None], *, relayed: bool) -> Stay:
    """Begin a stay. `relayed`: through a TURN server of the SFU. Raises Refused."""
    signalling = await connect(access.url, access.token, private=access.private)
    try:
        first = await signalling.receive()
        if first is None:
            raise Refused("unreachable")
        _raise_if_over(first)
        if first.WhichOneof("message") != "join":
            raise Refused("unreachable")
        through = await relay(first.join.ice_servers, private=access.private) if relayed else None
        stay = Stay(access, signalling, first.join, through, hearer, sealer)
    except BaseException:
        await signalling.close()
        raise
    try:
        stay.subscribe()
        await stay.established()
    except BaseException:
        await stay.close()
        raise
    return stay


def _raise_if_over(message: rtc.SignalResponse) -> None:
    if message.WhichOneof("message") == "leave" and message.leave.reason in _OVER:
        raise Refused(_OVER[message.leave.reason].value)
