"""The sharing of the key of the bot's own sound with the devices in a call: its rules are in `session.own_keys`."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime

from bot.calls.model import Member
from bot.calls.session.own_keys import KEY_BYTES, KeyEffect, OwnKeys, ShareKey, UseKey

log = logging.getLogger(__name__)


class KeySharing:
    """The bot's keys in one call. `share` sends one to devices, `use` has the media use it."""

    def __init__(
        self,
        code: str,
        *,
        share: Callable[[ShareKey], Awaitable[None]],
        use: Callable[[int, bytes], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._code = code
        self._share, self._use, self._clock = share, use, clock
        self._keys = OwnKeys(lambda: secrets.token_bytes(KEY_BYTES))
        self._round: asyncio.Task[None] | None = None
        self._is_sharing = False
        self._timer: asyncio.TimerHandle | None = None

    def see(self, members: Collection[Member]) -> None:
        """Look at the devices in the call, without the bot's own."""
        self._carry_out(self._keys.see(members, self._clock()))

    async def stop(self) -> None:
        """Send nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    def _carry_out(self, effects: Iterable[KeyEffect]) -> None:
        for effect in effects:
            match effect:
                case UseKey(index=index, key=key):
                    self._use(index, key)
                case ShareKey():
                    self._is_sharing = True
                    self._round = asyncio.create_task(self._send(effect), name=f"key of call {self._code}")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._keys.due is not None and not self._is_sharing:
            wait_s = max(0.0, (self._keys.due - self._clock()).total_seconds())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._pass_time)

    def _pass_time(self) -> None:
        self._timer = None
        self._carry_out(self._keys.pass_time(self._clock()))

    async def _send(self, effect: ShareKey) -> None:
        try:
            await self._share(effect)
        except Exception as error:
            log.warning("key not shared with all: call=%s (%s)", self._code, type(error).__name__)
        self._is_sharing = False
        self._carry_out(self._keys.shared(self._clock()))
