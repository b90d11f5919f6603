"""The legs of a call that the bot is in, and the work on each.

- What the media do for one leg, and the messages of one leg, are done in their order, and no leg delays another.
- An error of one leg ends that leg alone (`LegFailed`).
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bot.calls.media import door
from bot.calls.model import (
    AnswerAgain,
    AnswerMade,
    CloseLeg,
    Device,
    LegConnected,
    LegEffect,
    LegEnded,
    LegFailed,
    LegId,
    MakeAnswer,
    MakeOffer,
    OfferMade,
    Send,
    SessionEvent,
    SoundHeard,
    TakeAnswer,
    TakeCandidates,
)
from bot.calls.parts import Means
from bot.calls.serial import Serial
from bot.calls.silence import Told
from bot.calls.stem_rows import StemRows
from bot.errors import GiveUp, TryLater
from storage.records import LeftBy, Samples

log = logging.getLogger(__name__)

MOST_OF_A_LEG = 200
"""Messages, and pieces of work for the media, that wait for one leg."""
SEND_AGAIN_S = (1.0, 2.0, 4.0)
"""The pauses before a message is sent again."""
CLOSING_S = 2.0
"""The longest time for which the end of a call waits for its connections."""


@dataclass(slots=True)
class _Work:
    """The work on one leg."""

    device: Device
    media: Serial
    messages: Serial
    leg: door.Leg | None = None
    is_closed: bool = False


class _Listener:
    """The receiver of a leg's sound, which goes to its stem. The machine is told of it now and then."""

    def __init__(self, leg: LegId, legs: "Legs") -> None:
        self._leg = leg
        self._legs = legs
        self._told = Told()

    def connected(self) -> None:
        self._legs.take(LegConnected(self._leg))

    def heard(self, sound: door.Sound) -> None:
        self._legs.rows.write(self._leg, sound)
        if self._told.is_due(sound):
            self._legs.take(SoundHeard(self._leg))

    def ended(self) -> None:
        self._legs.take(LegEnded(self._leg))


class Legs:
    """The legs of a call. `take` is told what happens to them; `ends_as`: how stems end from now on, once the call is
    over."""

    def __init__(
        self,
        code: str,
        rows: StemRows,
        means: Means,
        *,
        take: Callable[[SessionEvent], None],
        now: Callable[[], Samples],
    ) -> None:
        self.rows = rows
        self.take = take
        self.ends_as: LeftBy | None = None
        self._code = code
        self._means = means
        self._now = now
        self._works: dict[LegId, _Work] = {}
        self._making = asyncio.Lock()
        self._endings: set[asyncio.Task[None]] = set()

    def carry_out(self, effect: LegEffect) -> None:
        """Carry out what concerns one leg, beside everything else."""
        leg = effect.leg
        match effect:
            case MakeOffer(device=device):
                self._work(leg, device).media.add(partial(self._offer, leg))
            case MakeAnswer(device=device, offer=offer):
                self._work(leg, device).media.add(partial(self._answer, leg, offer))
            case Send(device=device):
                self._work(leg, device).messages.add(partial(self._send, effect))
            case CloseLeg(by=by):
                self._close(leg, by)
            case TakeAnswer() | TakeCandidates() | AnswerAgain() if (work := self._works.get(leg)) is not None:
                work.media.add(partial(self._change, leg, effect))

    def beep(self) -> None:
        """Have all members hear that the call is recorded."""
        for work in self._works.values():
            if work.leg is not None:
                work.leg.beep()

    def seal(self) -> None:
        """Leave it to the session machine: what is not encrypted ends there."""

    async def end(self, by: LeftBy, within_s: float) -> None:
        """End all legs, and wait until they have ended, within a time."""
        for leg in tuple(self._works):
            self._close(leg, by)
        endings = set(self._endings)
        if endings:
            await asyncio.wait(endings, timeout=within_s)

    # ---- the work on one leg

    def _work(self, leg: LegId, device: Device) -> _Work:
        work = self._works.get(leg)
        if work is None:
            name = f"call {self._code}, {{}} of a leg"
            work = _Work(
                device,
                Serial(name.format("media"), MOST_OF_A_LEG),
                Serial(name.format("messages"), MOST_OF_A_LEG),
            )
            self._works[leg] = work
        return work

    async def _make(self, leg: LegId) -> door.Leg | None:
        """Make the media of a leg, unless it was closed meanwhile. One at a time: that takes some 2 ms of the loop."""
        work = self._works[leg]
        servers = await self._means.servers()
        async with self._making:
            if work.is_closed:
                return None
            work.leg = self._means.media.leg(_Listener(leg, self), self._now, servers)
            await asyncio.sleep(0)
        return work.leg

    async def _offer(self, leg: LegId) -> None:
        async with self._guarded(leg):
            made = await self._make(leg)
            if made is not None:
                offer = await made.offer()
                self.take(OfferMade(leg, offer.sdp))

    async def _answer(self, leg: LegId, sdp: str) -> None:
        async with self._guarded(leg):
            made = await self._make(leg)
            if made is not None:
                answer = await made.answer(sdp)
                self.take(AnswerMade(leg, answer.sdp))

    async def _change(self, leg: LegId, effect: TakeAnswer | TakeCandidates | AnswerAgain) -> None:
        made = self._works[leg].leg
        if made is None:
            return
        async with self._guarded(leg):
            match effect:
                case TakeAnswer(answer=answer):
                    await made.accept(answer)
                case TakeCandidates(candidates=candidates):
                    await made.add_candidates(candidates)
                case AnswerAgain(offer=offer):
                    answer_again = await made.renegotiate(offer)
                    self.take(AnswerMade(leg, answer_again.sdp, again=True))

    @asynccontextmanager
    async def _guarded(self, leg: LegId) -> AsyncIterator[None]:
        """Turn an error of the media into the end of this leg."""
        try:
            yield
        except door.Refused as refused:
            log.info("leg refused: call=%s reason=%s", self._code, refused.reason)
            self.take(LegFailed(leg, refused.reason))
        except Exception as error:
            # Without the error's text, which may hold what somebody sent.
            log.error("leg failed: call=%s (%s)", self._code, type(error).__name__)
            self.take(LegFailed(leg, "broken"))

    async def _send(self, send: Send) -> None:
        """Send a message. The other side waits for each number, so one that can't be sent ends the leg."""
        message_id = secrets.token_urlsafe(16)
        for pause_s in (*SEND_AGAIN_S, None):
            try:
                await self._means.post(send, message_id)
                return
            except TryLater as error:
                if pause_s is None or self.ends_as is not None:
                    log.warning("message not sent: call=%s (%s)", self._code, error.sentence)
                    break
                await asyncio.sleep(pause_s)
            except GiveUp as error:
                log.info("message refused: call=%s reason=%s", self._code, error.reason)
                break
        self.take(LegFailed(send.leg, "unreachable"))

    def _close(self, leg: LegId, by: LeftBy) -> None:
        """End a leg: its connection at once, whatever waits for it, and its stem once the last sound is handed on."""
        work = self._works.get(leg)
        if work is None or work.is_closed:
            return
        work.is_closed = True
        closing = asyncio.create_task(self._shut(work), name=f"end of a leg of {self._code}")
        self.rows.close(leg, self.ends_as or by, self._now(), closing)
        self._ending(self._forget(leg, work, closing))

    async def _shut(self, work: _Work) -> None:
        """End a leg's connection. What the media do for it just then is not cancelled: they would lose the sockets that
        they have opened so far. They end it themselves."""
        work.media.drop()
        if work.leg is None:
            return
        try:
            async with asyncio.timeout(CLOSING_S):
                await work.leg.close()
        except Exception as error:
            log.warning("leg not closed cleanly: call=%s (%s)", self._code, type(error).__name__)

    async def _forget(self, leg: LegId, work: _Work, closing: "asyncio.Task[None]") -> None:
        await asyncio.wait({closing})
        await work.messages.done()
        del self._works[leg]

    def _ending(self, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
