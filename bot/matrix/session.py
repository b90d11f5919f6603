"""The bot's one session with its homeserver: log in, hear everything once, hand it on, stop at once.

The library's loop syncs before it listens, dies of the first connection error, spins on a revoked token and loses a
batch when a listener fails. Here the token is the sink's, written in one transaction with what came under it: what
is not written comes again. Only after that are our keys looked after, beside the next long poll.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import simplematrixbotlib as botlib

from bot.errors import AircheckError, ConfigError, StartError, TryLater
from bot.matrix.batch import SyncBatch
from bot.matrix.history import History
from bot.matrix.identity import Identity, IdentityState
from bot.matrix.keys import Keys
from bot.matrix.login import Api, Credentials
from bot.matrix.media import Media
from bot.matrix.poll import Poll
from bot.matrix.sending import Sending
from bot.matrix.upkeep import Upkeep
from bot.matrix.wire import Backoff, TokenRevoked, Wire, pause
from bot.settings import Settings
from storage.records import RoomId, UserId

log = logging.getLogger(__name__)

RELOGIN_AGAIN_S = 600  # a token that ends sooner than this after a new login is taken from us on purpose
IDENTITY_AGAIN_S = 300

T = TypeVar("T")


class Sink(Protocol):
    """Where what was heard goes."""

    async def since(self) -> str | None: ...

    async def take(self, batch: SyncBatch) -> None:
        """Writes the batch and its token in one transaction."""

    async def encrypted_rooms(self) -> frozenset[RoomId]: ...


class Stopped(Exception):
    """The session was asked to stop."""


class NotWritten(TryLater):
    """What was heard could not be written down: it comes again. That is no news of the homeserver."""


class Session(botlib.Bot):
    """`run` until `stop`. `ready` is set when the first sync of this process is written."""

    def __init__(self, settings: Settings, directory: Path, sink: Sink, clock: Callable[[], datetime]) -> None:
        config = botlib.Config()
        config.encryption_enabled = True
        super().__init__(Credentials(settings, directory), config)
        self.user_id = UserId(settings.matrix.user_id)
        self.ready = asyncio.Event()
        self.wire = Wire(settings.matrix.homeserver)
        self.keys = Keys(clock)
        self.upkeep = Upkeep(self.wire, self.keys)
        self.identity = Identity(self.wire, self.keys, directory)
        self.history = History(self.wire)
        self.sending = Sending(self.wire, self.keys, self.upkeep, sink.encrypted_rooms)
        self.media = Media(self.wire)
        self.api = Api(self.creds, config, settings=settings, directory=directory, wire=self.wire)
        self._settings = settings
        self._sink = sink
        self._poll = Poll(self.wire, self.keys, self.upkeep, self.user_id, clock)
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self._away = False
        self._behind = False
        self._unwritten: type[Exception] | None = None
        self._relogin_at: float | None = None
        self._identity_at = 0.0
        self._chores: asyncio.Task[None] | None = None
        self._chore_trouble = ""

    # ---- life

    async def run(self) -> None:
        """Until `stop`; waits for a homeserver that is not there. Raises ConfigError or StartError."""
        self._ended.clear()
        try:
            await self.main()
        except Stopped:
            log.info("the Matrix session has ended")
        finally:
            await self.close()
            self._ended.set()

    async def stop(self) -> None:
        """Ends `run`: a batch that is being written is written, everything else is dropped."""
        self._stopping.set()
        await self._ended.wait()

    async def connect(self) -> None:
        """Log in once and look at the device's identity, without a sync: for commands while no bot runs.

        Raises ConfigError, StartError, TryLater. `close` after it.
        """
        await self._open()
        try:
            await self._log_in()
        except TokenRevoked:
            await asyncio.to_thread(self.api.forget_token)
            await self._log_in()

    async def close(self) -> None:
        """Connections and key store; also after `connect`."""
        if self._chores is not None:
            self._chores.cancel()
            await asyncio.gather(self._chores, return_exceptions=True)
            self._chores = None
        await self.wire.close()
        self.keys.close()

    async def main(self) -> None:
        """The library's name for the loop."""
        await self._open()
        await self._persist(lambda: self._unless_stopped(self._log_in()))
        since = await self._sink.since()
        while True:
            since = await self._persist(partial(self._next, since))
            self._behind = False
            self.ready.set()
            self._begin_chores()

    async def _open(self) -> None:
        await asyncio.to_thread(self.creds.session_read_file)
        self.async_client = await asyncio.to_thread(self.api.make_client)
        await self.keys.open(self.async_client)

    # ---- logging in

    async def _log_in(self) -> None:
        """A token that works as far as we know, and a device that others can reach."""
        if await self.api.login():
            self.upkeep.publish_anew()
            log.info("logged in: user=%s device=%s", self.user_id, self.creds.device_id)
        await self.upkeep.upload_keys()
        await self._look_at_identity()

    async def _look_at_identity(self) -> None:
        """Without a signature the bot hears less, without a session nothing: trouble here is told, and no more."""
        self._identity_at = asyncio.get_running_loop().time()
        try:
            await self.identity.ensure(await asyncio.to_thread(self._settings.password))
        except TokenRevoked:
            raise
        except AircheckError as error:
            log.warning("the device could not be cross-signed: %s", error.sentence)

    async def _log_in_again(self, revoked: TokenRevoked) -> None:
        """Once, as the same device. Raises ConfigError when the new token is taken from us too."""
        now = asyncio.get_running_loop().time()
        if self._relogin_at is not None and now - self._relogin_at < RELOGIN_AGAIN_S:
            raise ConfigError(
                f"the homeserver keeps ending the session of {self.user_id}: "
                "is another Aircheck running with a copy of its data?"
            )
        self._relogin_at = now
        log.warning("the homeserver has ended the session%s: logging in again", " for now" if revoked.soft else "")
        await asyncio.to_thread(self.api.forget_token)
        if not await asyncio.to_thread(self._settings.password):
            raise ConfigError(f"the homeserver has ended the session of {self.user_id}: matrix.password is needed")
        await self._persist(lambda: self._unless_stopped(self._log_in()))

    # ---- keeping on

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The attempt's result, tried again for as long as it may come. Raises Stopped, ConfigError, StartError."""
        backoff = Backoff()
        while True:
            if self._stopping.is_set():
                raise Stopped
            try:
                result = await attempt()
            except TokenRevoked as revoked:
                await self._log_in_again(revoked)
                continue
            except NotWritten:
                await pause(backoff.next(), self._stopping)
                continue
            except TryLater as error:
                self._gone(error.sentence)
                await pause(backoff.next(error.after_s), self._stopping)
                continue
            except (ConfigError, StartError, Stopped):
                raise
            except AircheckError as error:  # refused: nothing that waiting for would be certain to mend, or to not
                self._gone(error.sentence)
                await pause(backoff.next(), self._stopping)
                continue
            self._back()
            return result

    @property
    def heard_at(self) -> datetime | None:
        """When the homeserver last answered to /sync; None: not since this process began."""
        return self._poll.heard_at

    @property
    def in_touch(self) -> bool:
        """All that the homeserver had to say is written down, as far as it can be known."""
        return self.ready.is_set() and not self._behind

    def _gone(self, why: str) -> None:
        self._behind = True
        if not self._away:
            self._away = True
            log.warning("no news from the homeserver, trying on: %s", why)

    def _back(self) -> None:
        if self._away:
            self._away = False
            log.info("the homeserver is back")

    async def _unless_stopped(self, work: Awaitable[T]) -> T:
        """The work's result; cancelled at once when the session stops."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Stopped
            return task.result()
        finally:
            stop.cancel()
            task.cancel()
            await asyncio.gather(stop, task, return_exceptions=True)

    # ---- one sync

    async def _next(self, since: str | None) -> str:
        """Hear one batch and have it written; the token after it. Failing, nothing has moved on."""
        batch, pause_s = await self._unless_stopped(self._poll.hear(since, wait=self.ready.is_set()))
        self._back()
        if batch is None:
            await pause(pause_s, self._stopping)
            assert since is not None
            return since
        try:
            await self._sink.take(batch)
        except AircheckError:
            raise
        except Exception as error:  # whatever the store's trouble is, the batch comes again with the same token
            if type(error) is not self._unwritten:
                log.error("what was heard could not be written (%s)", type(error).__name__)  # its text may hold words
            self._unwritten = type(error)
            raise NotWritten("what was heard could not be written") from None
        self._unwritten = None
        self.keys.forget_new(batch.new_keys)
        if batch.anew:
            log.warning("the homeserver did not know the sync token any more: begun anew")
        await pause(pause_s, self._stopping)
        return batch.next_batch

    # ---- beside the long poll

    def _begin_chores(self) -> None:
        if self._chores is None or self._chores.done():
            self._chores = asyncio.create_task(self._do_chores())

    async def _do_chores(self) -> None:
        try:
            await self.upkeep.after_sync()
            self._chore_trouble = ""
        except AircheckError as error:
            if error.sentence != self._chore_trouble:
                log.warning("the keys' upkeep waits for the next sync: %s", error.sentence)
            self._chore_trouble = error.sentence
            return
        now = asyncio.get_running_loop().time()
        if self.identity.state is IdentityState.UNKNOWN and now - self._identity_at > IDENTITY_AGAIN_S:
            with contextlib.suppress(TokenRevoked):  # the next sync finds out too, and acts on it
                await self._look_at_identity()
