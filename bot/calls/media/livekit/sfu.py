"""A connection to a room of LiveKit's SFU, through breaks and restarts."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from bot.calls.media.bounds import Bucket
from bot.calls.media.door import Refused, SfuListener
from bot.calls.media.livekit.ears import Ears
from bot.calls.media.livekit.frames import Sealer
from bot.calls.media.livekit.keyring import cipher_of
from bot.calls.media.livekit.stay import Access, Break, Hearer, Stay, enter
from storage.records import Samples

LOST_S = 20.0  # from a break to the end
AGAIN_S = (0.0, 0.3, 0.7, 1.5, 3.0)  # between attempts; then the last
MOST_BREAKS = 0.1  # a second, that are mended at once
BREAKS_BURST = 6
TOO_MANY_S = 5.0
FINAL = frozenset({kind.value for kind in Break} - {Break.RESUME.value, Break.REJOIN.value})
CLOSE_S = 0.8  # for the good-byes; the rest goes on in the background

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class LiveKitSfu:
    """A connection to a room of an SFU. `encrypted`: sound that is not, is not taken. `private`: it may lead into
    private networks."""

    def __init__(self, listener: SfuListener, clock: Callable[[], Samples], *, private: bool, encrypted: bool) -> None:
        self._listener, self._private, self._encrypted = listener, private, encrypted
        self._ears = Ears(listener, clock, encrypted=encrypted)
        self._hearer = Hearer(
            injected=self._ears.know_injected,
            changed=self._changed,
            wants=self._ears.__contains__,
            heard=self._ears.push,
        )
        self._stay: Stay | None = None
        self._relayed = False  # the last stay was reached through a TURN server
        self._told: dict[str, bool] = {}  # who came, and whether they are muted
        self._sealer: Sealer | None = None
        self._holding: asyncio.Task[None] | None = None
        self._over = False

    async def join(self, url: str, token: str) -> None:
        """Join with a token (MSC4195). Raises Refused (`refused`: the SFU takes no such token; `unreachable`, …)."""
        access = Access(url, token, private=self._private)
        try:
            self._stay = await self._enter(access, relayed=False)
        except Refused as refused:
            if refused.reason != "no_media":
                raise
            self._relayed = True
            self._stay = await self._enter(access, relayed=True)
        if self._over:
            await self._stay.leave()
            raise Refused("closed")
        self._listener.joined()
        self._entered(self._stay)
        self._holding = asyncio.ensure_future(self._hold(access, self._stay))

    def receive(self, identities: Collection[str]) -> None:
        """Receive the microphones of these participants and of nobody else, from now on."""
        self._ears.receive(identities)
        if self._stay is not None:
            self._stay.subscribe()

    def take_key(self, identity: str, index: int, key: bytes) -> None:
        """Take a key of a participant's sound, who may not be there yet. Sound that waits for it is heard now."""
        self._ears.take_key(identity, index, key)

    def use_own_key(self, index: int, key: bytes) -> None:
        """Encrypt our own track with this key from now on."""
        self._sealer = Sealer(index, cipher_of(key), secrets.randbits(32))
        if self._stay is not None and self._encrypted:
            self._stay.publish(encrypted=True)

    def beep(self) -> None:
        """Play the short tone, once the bot is in the room."""
        if self._stay is not None:
            self._stay.beep()

    async def close(self) -> None:
        """Leave. Sound that still waits is handed on before it returns."""
        if self._over:
            return
        self._finish()
        if self._holding is not None:
            self._holding.cancel()
        if self._stay is not None:
            await asyncio.wait([asyncio.ensure_future(self._stay.leave())], timeout=CLOSE_S)

    async def _enter(self, access: Access, *, relayed: bool) -> Stay:
        return await _foreseen(enter(access, self._hearer, self._own_sealer, relayed=relayed))

    def _own_sealer(self) -> Sealer | None:
        return self._sealer if self._encrypted else None

    def _entered(self, stay: Stay) -> None:
        stay.subscribe()  # as was wished since it began
        self._changed([*self._told, *stay.room.participants])
        if not self._encrypted or self._sealer is not None:
            stay.publish(encrypted=self._encrypted)

    # ---- breaks

    async def _hold(self, access: Access, stay: Stay) -> None:
        """Hold the connection until it is over."""
        reason, breaks = "failed", Bucket(MOST_BREAKS, BREAKS_BURST)
        try:
            while True:
                kind = await stay.broken()
                log.info("a connection to an SFU breaks: %s", kind.value)
                if not breaks.take(1, time.monotonic()):
                    await asyncio.sleep(TOO_MANY_S)
                async with asyncio.timeout(LOST_S):
                    following = await self._recover(access, stay, kind)
                if following is not stay:
                    stay = self._stay = following
                    self._entered(stay)
        except TimeoutError:
            reason = "lost"
        except Refused as refused:
            reason = refused.reason
        finally:
            if not self._over:
                self._end(reason)
                await stay.close()

    async def _recover(self, access: Access, stay: Stay, kind: Break) -> Stay:
        """Go on with the stay, or begin another; return it. Raises Refused where that can't be."""
        waits = iter(AGAIN_S)
        while kind in (Break.RESUME, Break.REJOIN):
            await asyncio.sleep(next(waits, AGAIN_S[-1]))
            try:
                if kind is Break.RESUME:
                    await _foreseen(stay.resume())
                    return stay
                await stay.close()
                return await self._enter(access, relayed=self._relayed)
            except Refused as refused:
                log.info("a connection to an SFU can't be had again yet: %s", refused.reason)
                if refused.reason in FINAL:
                    raise
                if kind is Break.RESUME and refused.reason != "unreachable":
                    kind, waits = Break.REJOIN, iter(AGAIN_S)
                elif refused.reason == "no_media":
                    self._relayed = not self._relayed
        raise Refused(kind.value)

    # ---- news

    def _changed(self, identities: Collection[str]) -> None:
        """Tell what is new about these participants."""
        if self._stay is None or self._over:
            return
        for identity in dict.fromkeys(identities):
            participant = self._stay.room.participants.get(identity)
            before = self._told.get(identity)
            if participant is None:
                self._ears.know_encrypted(identity, False)
                if self._told.pop(identity, None) is not None:
                    self._listener.went(identity)
                continue
            if before is None:
                self._listener.came(identity)
            if participant.microphone is not None:
                self._ears.know_encrypted(identity, participant.microphone.encrypted)
            muted = participant.microphone is None or participant.microphone.muted
            if muted != before:
                self._told[identity] = muted
                self._listener.muted(identity, muted)

    def _end(self, reason: str) -> None:
        self._finish()
        self._listener.ended(reason)

    def _finish(self) -> None:
        self._over = True
        self._ears.close()


async def _foreseen(work: Awaitable[Result]) -> Result:
    """Do something with an SFU; an error that nobody foresaw is a refusal (`failed`) like others."""
    try:
        return await work
    except Refused:
        raise
    except Exception as error:
        log.warning("a connection to an SFU fails: %s", type(error).__name__)
        raise Refused("failed") from None
