"""A link: the bot's connection to the room of one SFU, for all legs of a call whose devices send their sound there.

- It is made while a leg needs it, or the bot's own silence is sent there; each time with a new token. It is made again
  after it has ended, with growing pauses.
- An SFU that refuses the bot, or can't be reached, fails the legs that wait for it, and nobody else's. The session
  machine has them tried again.
- An SFU is a stranger: one that tells more than a call has to tell is left.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable

from bot.calls.media import door
from bot.calls.media.bounds import Bucket
from bot.calls.model import (
    KeyTold,
    LegConnected,
    LegEnded,
    LegFailed,
    LegId,
    LegMuted,
    LegReached,
    LegUnreadable,
    SessionEvent,
    SoundHeard,
)
from bot.calls.silence import Told
from bot.calls.tokens import Grant, Place
from bot.errors import GiveUp, TryLater

log = logging.getLogger(__name__)

PAUSES_S = (0.0, 2.0, 5.0, 20.0, 60.0)
"""The pauses after the last attempt: the first one, and those after failures in a row."""
LASTING_S = 60.0
"""The age at which a connection is a success."""
CONNECT_S = 30.0
CLOSING_S = 2.0
"""The longest time for which the end of a connection is waited for."""
MOST_PRESENT = 2000
"""Participants of an SFU's room that are known; more are left out."""
TOLD_A_SECOND, TOLD_AT_ONCE = 50, 5000
"""Reports of an SFU on participants that are heeded, sound aside."""


class Link:
    """A connection to an SFU, and its listener. `open_sfu` makes one, which may lead into private networks or not,
    `grant` asks for a token, `keys_of` returns the keys of a device's sound, `write` and `take` are handed the sound
    and the fate of legs. `is_own`: the bot's own sound is sent there, and `tell_own` is told whether the bot gets
    in."""

    def __init__(
        self,
        code: str,
        *,
        open_sfu: Callable[[door.SfuListener, bool], door.Sfu],
        grant: Callable[[], Awaitable[Grant]],
        keys_of: Callable[[str], Iterable[KeyTold]],
        write: Callable[[LegId, door.Sound], None],
        take: Callable[[SessionEvent], None],
        tell_own: Callable[[bool], None],
        is_own: bool = False,
    ) -> None:
        self.is_own = is_own
        self._tell_own = tell_own
        self.place: Place | None = None
        """The room where it is, or tries to be."""
        self._settled = asyncio.Event()  # it is there, or is not
        self._code = code
        self._open, self._grant, self._keys_of = open_sfu, grant, keys_of
        self._write, self._take = write, take
        self._legs: dict[str, LegId] = {}  # by the identity of the device
        self._told: dict[LegId, Told] = {}
        self._present: dict[str, bool] = {}  # participants: whether they are muted
        self._own_key: tuple[int, bytes] | None = None
        self._sfu: door.Sfu | None = None
        self._over: asyncio.Future[str] | None = None  # while it is connected
        self._needed = asyncio.Event()
        self._bucket = Bucket(TOLD_A_SECOND, TOLD_AT_ONCE)
        self._need()
        self._task = asyncio.create_task(self._run(), name=f"SFU of call {code}")

    @property
    def is_needed(self) -> bool:
        return self.is_own or bool(self._legs)

    def become_own(self, is_own: bool) -> None:
        """Be the one where the bot's own sound is sent, or not any more."""
        self.is_own = is_own
        self._need()

    def _need(self) -> None:
        self._needed.set() if self.is_needed else self._needed.clear()

    # ---- legs

    def add(self, leg: LegId, identity: str) -> None:
        """Receive a device, which may not be there yet, for a leg."""
        self._legs[identity] = leg
        self._give_keys(identity)
        self._told[leg] = Told()
        self._need()
        self._receive(self._legs)
        if self._sfu is not None and self._settled.is_set():
            self._take(LegReached(leg))
        if identity in self._present:
            self._tell_came(leg, muted=self._present[identity])

    def remove(self, leg: LegId, identity: str, *, hears_out: bool) -> None:
        """Receive a device no longer, unless another leg of it has begun. `hears_out`: hand on the sound that waits."""
        if self._legs.get(identity) == leg:
            if hears_out:
                self._receive(self._legs.keys() - {identity})
            del self._legs[identity]
            self._need()
            self._receive(self._legs)
        self._told.pop(leg, None)

    def hand_over(self) -> None:
        """Let go of all legs: another link receives them from now on."""
        self._receive(())
        self._lose()
        self._legs.clear()
        self._told.clear()
        self.is_own, self.place = False, None
        self._need()

    def _give_keys(self, identity: str) -> None:
        """Give the SFU's connection all keys of a device's sound, which may have come before it, or before a break."""
        for told in self._keys_of(identity) if self._sfu is not None else ():
            self.take_key(identity, told)

    def _receive(self, identities: Collection[str]) -> None:
        if self._sfu is not None:
            self._sfu.receive(frozenset(identities))

    def take_key(self, identity: str, told: KeyTold) -> None:
        """Take a key of a device's sound."""
        if self._sfu is not None:
            self._sfu.take_key(identity, told.index, told.key)

    def use_own_key(self, index: int, key: bytes) -> None:
        """Encrypt the bot's own sound with this key."""
        self._own_key = index, key
        if self._sfu is not None:
            self._sfu.use_own_key(index, key)

    def beep(self) -> None:
        """Play the short tone, if the bot is there."""
        if self._sfu is not None:
            self._sfu.beep()

    def renew(self) -> None:
        """Connect anew: what is asked of the connection has changed."""
        self.ended("renewed")

    # ---- the connection

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        failures, not_before = 0, loop.time()
        while True:
            await self._needed.wait()
            await asyncio.sleep(max(0.0, not_before - loop.time()))
            began = loop.time()
            is_success = False
            try:
                reason = await self._stay()
                log.info("SFU's connection over: call=%s reason=%s", self._code, reason)
                is_success = reason == "renewed" or (reason != "duplicate" and loop.time() - began >= LASTING_S)
            except (door.Refused, GiveUp) as refused:
                self._fail(refused.reason)
            except (TryLater, TimeoutError):
                self._fail("unreachable")
            except Exception as error:
                # Without the error's text, which may hold what somebody sent.
                log.error("SFU's connection failed: call=%s (%s)", self._code, type(error).__name__)
                self._fail("broken")
            failures = 0 if is_success else failures + 1
            not_before = loop.time() + PAUSES_S[min(failures, len(PAUSES_S) - 1)]

    async def _stay(self) -> str:
        """Join the SFU's room with a new token, and stay there until the connection is over; return why it is. Raises
        Refused, GiveUp, TryLater, TimeoutError where the bot doesn't get in."""
        try:
            async with asyncio.timeout(CONNECT_S):
                grant = await self._grant()
                self._over = asyncio.get_running_loop().create_future()
                self._sfu = self._open(self, grant.private)
                await self._sfu.join(grant.url, grant.token)
            self._settled.set()
            self._greet(self._sfu)
            reason = await self._over
            self._lose()
            return reason
        finally:
            self.place = None
            self._settled.set()
            await self._shut()

    def enter(self, place: Place | None) -> None:
        """Take note of the room that it is about to enter."""
        self.place = place
        self._settled.clear()

    async def settled(self) -> None:
        """Wait until it is in its room, or is kept out."""
        await self._settled.wait()

    def _greet(self, sfu: door.Sfu) -> None:
        """Ask a new connection for all that is wanted of it."""
        if self._own_key is not None:
            sfu.use_own_key(*self._own_key)
        for identity in self._legs:
            self._give_keys(identity)
        sfu.receive(frozenset(self._legs))
        if self.is_own:
            self._tell_own(True)
        for leg in self._legs.values():
            self._take(LegReached(leg))

    def _fail(self, reason: str) -> None:
        """Fail the legs that wait. They begin anew after a pause, with their keys."""
        log.info("SFU not joined: call=%s reason=%s", self._code, reason)
        self._present.clear()
        for leg in self._legs.values():
            self._take(LegFailed(leg, reason))
        self._legs.clear()
        self._need()
        if self.is_own:
            self._tell_own(False)

    def _lose(self) -> None:
        """End the legs of all who were there. The others are still awaited."""
        gone = [self._legs[identity] for identity in self._present if identity in self._legs]
        self._present.clear()
        for leg in gone:
            self._take(LegEnded(leg))

    async def _shut(self) -> None:
        sfu, self._sfu = self._sfu, None
        if sfu is None:
            return
        try:
            async with asyncio.timeout(CLOSING_S):
                await sfu.close()
        except Exception as error:
            log.warning("SFU's connection not closed cleanly: call=%s (%s)", self._code, type(error).__name__)

    async def close(self) -> None:
        """Leave the SFU. Sound that still waits is handed on before it returns."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._shut()

    # ---- what the SFU tells

    def joined(self) -> None:
        """Take note that the bot is in the room of the SFU."""
        log.info("at an SFU: call=%s", self._code)

    def came(self, identity: str) -> None:
        """Take note that a participant is in the room."""
        if not self._heeds() or identity in self._present or len(self._present) >= MOST_PRESENT:
            return
        self._present[identity] = False
        if (leg := self._legs.get(identity)) is not None:
            self._tell_came(leg, muted=False)

    def _tell_came(self, leg: LegId, *, muted: bool) -> None:
        if muted:
            self._take(LegMuted(leg, muted))
        self._take(LegConnected(leg))

    def went(self, identity: str) -> None:
        """Take note that a participant is gone."""
        if not self._heeds() or self._present.pop(identity, None) is None:
            return
        if (leg := self._legs.get(identity)) is not None:
            self._take(LegEnded(leg))

    def muted(self, identity: str, muted: bool) -> None:
        """Take note that a participant is muted, or not any more."""
        if not self._heeds() or self._present.get(identity) in (None, muted):
            return
        self._present[identity] = muted
        if (leg := self._legs.get(identity)) is not None:
            self._take(LegMuted(leg, muted))

    def heard(self, identity: str, sound: door.Sound) -> None:
        """Hand on sound. The machine is told of it now and then."""
        leg = self._legs.get(identity)
        if leg is None:
            return
        self._write(leg, sound)
        if self._told[leg].is_due(sound):
            self._take(SoundHeard(leg))

    def unreadable(self, identity: str, reason: str) -> None:
        """Take note of sound that is silence for ever."""
        leg = self._legs.get(identity)
        if leg is not None and self._heeds():
            self._told[leg] = Told()  # the next sound ends this stretch
            self._take(LegUnreadable(leg, unencrypted=reason == "unencrypted"))

    def ended(self, reason: str) -> None:
        """Take note that the connection is over."""
        if self._over is not None and not self._over.done():
            self._over.set_result(reason)

    def _heeds(self) -> bool:
        """Count what the SFU tells, and return whether it is within bounds; else it is left."""
        is_within = self._bucket.take(1, asyncio.get_running_loop().time())
        if not is_within:
            self.ended("flood")
        return is_within
