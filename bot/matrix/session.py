"""The bot's one session with its homeserver: log in, sync, hand each batch to the sink, stop at once.

The library's loop syncs before it listens, ends with the first connection error, spins on a revoked token and loses a
batch when a listener fails. Here the sink stores the sync token in one transaction with its batch: a batch that was
not stored comes again. The upkeep of the device's keys runs after that, beside the next long poll.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from bot import counted
from bot.errors import AircheckError, ConfigError, StartError, TryLater
from bot.matrix.batch import SyncBatch
from bot.matrix.delayed import DelayedEvents
from bot.matrix.history import History
from bot.matrix.identity import Identity, IdentityState
from bot.matrix.keys import Keys
from bot.matrix.library import botlib
from bot.matrix.login import Api, Credentials
from bot.matrix.media import Media
from bot.matrix.poll import Poll
from bot.matrix.sending import Sending
from bot.matrix.sticky import StickyRequests
from bot.matrix.to_device import ToDevice
from bot.matrix.upkeep import Upkeep
from bot.matrix.uploads import Uploads
from bot.matrix.wire import Backoff, TokenRevoked, Wire, pause
from bot.settings import Settings
from storage.records import RoomId, UserId

log = logging.getLogger(__name__)

RELOGIN_AGAIN_S = 600  # a token that ends sooner than this after a login was revoked on purpose
IDENTITY_AGAIN_S = 300

T = TypeVar("T")


class Sink(Protocol):
    """The store of batches."""

    async def since(self) -> str | None: ...

    async def take(self, batch: SyncBatch) -> None:
        """Store the batch and its token in one transaction."""

    async def encrypted_rooms(self) -> frozenset[RoomId]: ...


class Stopped(Exception):
    """The end of the loop after a call of `stop`."""


class NotWritten(TryLater):
    """A batch could not be stored, and comes again. Says nothing about the homeserver."""


class Session(botlib.Bot):
    """The session: `run` until `stop`. `ready` is set when the first batch of this process is stored; `before_sync` is
    awaited once, between the login and the first sync; `share_token` is given the access token after each login, and
    None when it has ended. `owns` tells whether this process owns the session."""

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        sink: Sink,
        keys: Keys,
        clock: Callable[[], datetime],
        owns: Callable[[], bool] = lambda: True,
    ) -> None:
        config = botlib.Config()
        config.encryption_enabled = True
        super().__init__(Credentials(settings, directory), config)
        self.user_id = UserId(settings.matrix.user_id)
        self.ready = asyncio.Event()
        self.wire = Wire(settings.matrix.homeserver, owns)
        self.keys = keys
        self.upkeep = Upkeep(self.wire, self.keys)
        self.identity = Identity(self.wire, self.keys, directory)
        self.history = History(self.wire)
        self.sending = Sending(self.wire, self.keys, self.upkeep, sink.encrypted_rooms)
        self.media = Media(self.wire)
        self.uploads = Uploads(self.wire)
        self.delayed = DelayedEvents(self.wire)
        self.sticky = StickyRequests(self.wire)
        self.to_device = ToDevice(self.keys, self.upkeep)
        self.before_sync: Callable[[], Awaitable[None]] | None = None
        self.share_token: Callable[[str | None], Awaitable[None]] | None = None
        self.api = Api(self.creds, config, settings=settings, directory=directory, wire=self.wire)
        self._settings = settings
        self._sink = sink
        self._poll = Poll(self.wire, self.keys, self.upkeep, self.user_id, clock)
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self.refused = False  # by the homeserver, when it was last asked for news
        self._away = False
        self._behind = False
        self._unwritten: type[Exception] | None = None
        self._relogin_at: float | None = None
        self._identity_at = 0.0
        self._chores: asyncio.Task[None] | None = None
        self._chore_trouble = ""

    # ---- life

    async def run(self) -> None:
        """Run until `stop`, waiting for a homeserver that is away. Raises ConfigError or StartError."""
        self._ended.clear()
        try:
            await self.main()
        except Stopped:
            log.info("the Matrix session has ended")
        finally:
            await self.close()
            self._ended.set()

    async def stop(self) -> None:
        """End `run` after the batch that is being stored, if any; drop everything else."""
        self._stopping.set()
        await self._ended.wait()

    async def connect(self) -> None:
        """Log in once and check the device's identity, without a sync: for commands while no bot runs.

        Call `close` afterwards. Raises ConfigError, StartError, TryLater.
        """
        await self._open()
        try:
            await self._log_in()
        except TokenRevoked:
            await asyncio.to_thread(self.api.forget_token)
            await self._log_in()

    async def close(self) -> None:
        """Close connections and key store, also after `connect`."""
        if self._chores is not None:
            self._chores.cancel()
            await asyncio.gather(self._chores, return_exceptions=True)
            self._chores = None
        await self.to_device.close()
        await self.wire.close()
        self.keys.close()

    async def main(self) -> None:
        """Log in and sync until stopped; the library names this method."""
        await self._open()
        await self._persist(lambda: self._unless_stopped(self._log_in()))
        if self.before_sync is not None:
            await self._unless_stopped(self.before_sync())
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
        """Get a token, publish the device's keys and check its identity."""
        if await self.api.login():
            self.upkeep.publish_anew()
            log.info("logged in: user=%s device=%s", self.user_id, self.creds.device_id)
        if self.share_token is not None:
            await self.share_token(self.wire.token)
        await self.upkeep.upload_keys()
        await self._look_at_identity()

    async def _look_at_identity(self) -> None:
        """Check that the device is cross-signed; a failure is only logged, because the bot works without."""
        self._identity_at = asyncio.get_running_loop().time()
        try:
            await self.identity.ensure(await asyncio.to_thread(self._settings.password))
        except TokenRevoked:
            raise
        except AircheckError as error:
            log.warning("the device could not be cross-signed: %s", error.sentence)

    async def _log_in_again(self, revoked: TokenRevoked) -> None:
        """Log in once more as the same device. Raises ConfigError if the last login was a short while ago."""
        now = asyncio.get_running_loop().time()
        if self._relogin_at is not None and now - self._relogin_at < RELOGIN_AGAIN_S:
            raise ConfigError(
                f"the homeserver keeps ending the session of {self.user_id}: "
                "is another Aircheck running with a copy of its data?"
            )
        self._relogin_at = now
        log.warning("the homeserver has ended the session%s: logging in again", " for now" if revoked.soft else "")
        await asyncio.to_thread(self.api.forget_token)
        if self.share_token is not None:
            await self.share_token(None)
        if not await asyncio.to_thread(self._settings.password):
            raise ConfigError(f"the homeserver has ended the session of {self.user_id}: matrix.password is needed")
        await self._persist(lambda: self._unless_stopped(self._log_in()))

    # ---- trying again

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat the attempt until it succeeds; give its result. Raises Stopped, ConfigError, StartError."""
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
                counted.SYNCS.add("not_stored")
                await pause(backoff.next(), self._stopping)
                continue
            except TryLater as error:
                self._note_away(error.sentence)
                await pause(backoff.next(error.after_s), self._stopping)
                continue
            except (ConfigError, StartError, Stopped):
                raise
            except AircheckError as error:  # a refusal, which may be temporary
                self._note_away(error.sentence)
                self.refused = True
                await pause(backoff.next(), self._stopping)
                continue
            self._note_back()
            return result

    @property
    def heard_at(self) -> datetime | None:
        """When the homeserver last answered /sync; None: not since this process began."""
        return self._poll.heard_at

    @property
    def in_touch(self) -> bool:
        """Whether all that the homeserver answered is stored, and no request to /sync has failed since."""
        return self.ready.is_set() and not self._behind

    def _note_away(self, why: str) -> None:
        self._behind = True
        if not self._away:
            self._away = True
            log.warning("no news from the homeserver, trying again: %s", why)

    def _note_back(self) -> None:
        self.refused = False
        if self._away:
            self._away = False
            log.info("the homeserver is back")

    async def _unless_stopped(self, work: Awaitable[T]) -> T:
        """Await the work, and cancel it when the session stops. Raises Stopped."""
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

    # ---- one batch

    async def _next(self, since: str | None) -> str:
        """Get one batch and have it stored; give the token after it. A failure leaves everything as it was."""
        batch, pause_s = await self._unless_stopped(self._poll.hear(since, wait=self.ready.is_set()))
        self._note_back()
        if batch is None:
            await pause(pause_s, self._stopping)
            assert since is not None
            return since
        try:
            await self._sink.take(batch)
        except AircheckError:
            raise
        except Exception as error:  # whatever fails in the store, the batch comes again with the same token
            if type(error) is not self._unwritten:
                # Without the error's text, which may hold what somebody said.
                log.error("batch not stored, trying again (%s)", type(error).__name__)
            self._unwritten = type(error)
            raise NotWritten("the batch could not be stored") from None
        self._unwritten = None
        self.keys.forget_new(batch.new_keys)
        self.keys.forget_signals()
        await self.to_device.hand(batch.signals)
        if batch.anew:
            log.warning("the homeserver did not know the sync token any more: synced anew without one")
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
                log.warning("upkeep of the keys failed, next try after the next sync: %s", error.sentence)
            self._chore_trouble = error.sentence
            return
        now = asyncio.get_running_loop().time()
        if self.identity.state is IdentityState.UNKNOWN and now - self._identity_at > IDENTITY_AGAIN_S:
            with contextlib.suppress(TokenRevoked):  # the next sync meets it too, and logs in again
                await self._look_at_identity()
