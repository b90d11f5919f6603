"""`aircheck demo`: homeserver, bot and people on loopback; the episodes are checked at the end."""

import asyncio
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bot import app
from bot.audio.ffmpeg import Ffmpeg
from bot.demo import listener, story
from bot.demo.broadcaster import Broadcaster
from bot.demo.stage import Stage, set_stage, settings_for
from bot.demo.story import Addresses, Narrator
from bot.demo.synapse import port_is_free
from bot.demo.talk import Message
from bot.demo.verification import Verdict, verify_episode
from bot.errors import ConfigError, StartError
from bot.recording.session.layout import PAUSE
from storage.records import SAMPLE_RATE, to_ms
from storage.store import Store

SHOWN_PROBLEMS = 5
STOPPING = (signal.SIGINT, signal.SIGTERM)
QUICK = 8.0  # times faster than real time, for `--once`


async def run_demo(*, once: bool, port: int, directory: Path | None, out: Console) -> int:
    """Run the demo; give the exit code: 0 only if the episode was published and passed its check.

    Without `once` everything keeps running until a signal. Raises ConfigError for a folder that is not empty, and
    AircheckError when something does not start.
    """
    if not port_is_free(port):
        raise StartError(f"--port {port} can't be used: another program listens there, or this user may not")
    with folder(directory) as at:
        demo = Demo(at, once=once, port=port, out=out)
        show = asyncio.ensure_future(demo.play())

        def leave() -> None:
            if demo.resting.is_set():
                demo.leaving.set()
            else:
                show.cancel()

        with on_signals(leave):
            try:
                await asyncio.wait({show})
            finally:
                show.cancel()  # does nothing unless this task itself was cancelled
                await asyncio.wait({show})
        if show.cancelled():
            out.print("Stopped before the episode was published.")
            return 1
        return show.result()


class Demo:
    """The course of the demo. `resting` is set when all was shown; then it waits for `leaving`."""

    def __init__(self, directory: Path, *, once: bool, port: int, out: Console) -> None:
        self.resting = asyncio.Event()
        self.leaving = asyncio.Event()
        self._directory = directory
        self._once = once
        self._port = port
        self._out = out
        self._narrator = Narrator(out)

    @property
    def _pace(self) -> float:
        return QUICK if self._once else 1.0

    async def play(self) -> int:
        self._narrator.say("starting a homeserver (Synapse) on loopback")
        async with set_stage(self._directory) as stage:
            settings = settings_for(stage, self._directory, self._port)
            async with app.running(settings) as aircheck:
                show = asyncio.ensure_future(self._show(stage, aircheck))
                either: set[asyncio.Future[Any]] = {show, aircheck.failed}
                try:
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                    if aircheck.failed.done():
                        await aircheck.failed
                    return await show
                finally:
                    show.cancel()
                    await asyncio.gather(show, return_exceptions=True)

    async def _show(self, stage: Stage, aircheck: app.Aircheck) -> int:
        self._narrator.say(f"Aircheck is running; its web server is at {aircheck.address}")
        await story.invite_the_bot(stage, self._narrator)
        addresses = await story.ask_for_the_feed(stage, self._narrator, aircheck.address)
        self._narrator.quote(f"Watch the page while Mira speaks: {addresses.page}")
        await story.delete_a_sound_check(stage, self._narrator, self._pace)
        await story.ask_for_voice_messages(stage, self._narrator)
        broadcaster = await self._record(stage, aircheck.store)
        await story.hear_the_announcement(stage, self._narrator, broadcaster.broadcast_id)
        voice_message = await story.receive_the_voice_message(stage, self._narrator)
        passed = await self._check(broadcaster, addresses)
        passed = await self._verify("voice message", voice_message, broadcaster.truth_ogg()) and passed
        passed = await self._talk(stage, aircheck.store, addresses) and passed
        self._say_addresses(stage, addresses)
        if not self._once:
            self.resting.set()
            await self.leaving.wait()
        return 0 if passed else 1

    async def _record(self, stage: Stage, store: Store) -> Broadcaster:
        watch = asyncio.ensure_future(story.Watch(store, self._narrator).until_published())
        try:
            broadcaster = await story.broadcast(stage, self._narrator, self._pace)
            async with asyncio.timeout(story.PATIENCE_S):
                await watch
        except TimeoutError:
            raise StartError("the episode was not published") from None
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        return broadcaster

    async def _check(self, broadcaster: Broadcaster, addresses: Addresses) -> bool:
        """Download the episode from the feed, as a listener does, and verify it; give whether it passed."""
        listed = await listener.subscribe(addresses.feed)
        if len(listed) != 1:
            self._narrator.say(f"WRONG: the feed lists {len(listed)} episodes instead of 1", style="bold red")
            return False
        return await self._verify("episode", await listener.listen(listed[0]), broadcaster.truth_ogg())

    async def _talk(self, stage: Stage, store: Store, addresses: Addresses) -> bool:
        """Let people send voice messages, and check the episode that they become; give whether it passed."""
        await story.switch_on_voice_messages(stage, self._narrator)
        messages, first = await story.talk(stage, self._narrator)
        try:
            async with asyncio.timeout(story.PATIENCE_S):
                await story.Watch(store, self._narrator, first).until_published()
        except TimeoutError:
            raise StartError("the episode of the voice messages was not published") from None
        await story.hear_the_announcement(stage, self._narrator, first)
        listed = await listener.subscribe(addresses.feed)
        if len(listed) != 2:
            self._narrator.say(f"WRONG: the feed lists {len(listed)} episodes instead of 2", style="bold red")
            return False
        truth = [message.ogg for message in messages]
        audio = await listener.listen(listed[0])
        passed = await self._verify("episode", audio, truth, of="voice messages", pause=PAUSE)
        return self._compare_chapters(await listener.chapters_of(listed[0]), messages) and passed

    def _compare_chapters(self, chapters: Sequence[tuple[float, str]], messages: Sequence[Message]) -> bool:
        """Compare the chapters with the messages, each by another speaker than the one before."""
        expected, at = [], 0
        for message in messages:
            expected.append((to_ms(at) / 1000, message.name))
            at += message.samples + PAUSE
        if list(chapters) != expected:
            self._narrator.say(f"WRONG: the chapters are {chapters}, not {expected}", style="bold red")
            return False
        told = ", ".join(f"{name} at {begins:.3f} s" for begins, name in chapters)
        self._narrator.say(f"checked: it has a chapter for each turn ({told})", style="bold green")
        return True

    async def _verify(
        self, what: str, audio: bytes, truth: Sequence[bytes], *, of: str = "broadcast", pause: int = 0
    ) -> bool:
        """Compare a file with what was sent; give whether it passed."""
        ffmpeg = await asyncio.to_thread(Ffmpeg.find)
        verdict = await asyncio.to_thread(partial(verify_episode, audio, truth, ffmpeg.exe, pause=pause))
        for line in describe(what, verdict, of):
            self._narrator.say(line, style="bold green" if verdict.ok else "bold red")
        return verdict.ok

    def _say_addresses(self, stage: Stage, addresses: Addresses) -> None:
        lines = [
            "",
            f"Page, for a browser on this machine:      {addresses.page}",
            f"Feed, for a podcast app on this machine:  {addresses.feed}",
        ]
        if not self._once:
            login = f"{stage.phone.user_id}, password {stage.password}"
            lines += [f"Room, for a Matrix client:                {stage.homeserver.address}, {login}", ""]
            lines += ["Everything keeps running until you press Ctrl-C."]
        for line in lines:
            self._out.print(line, soft_wrap=True, markup=False)


def describe(what: str, verdict: Verdict, of: str = "broadcast") -> list[str]:
    """Put the verdict on a file into lines for people."""
    if verdict.ok:
        length = f"{verdict.actual / SAMPLE_RATE:.3f} s, {verdict.actual} samples"
        return [
            f"checked: the {what} has the exact length of the {of} ({length}),",
            f"         and is in step in all {len(verdict.comparisons)} windows that were compared",
        ]
    more = len(verdict.problems) - SHOWN_PROBLEMS
    shown = [f"WRONG: the {what}: {problem}" for problem in verdict.problems[:SHOWN_PROBLEMS]]
    return [*shown, f"WRONG: and {more} more"] if more > 0 else shown


@contextmanager
def folder(directory: Path | None) -> Iterator[Path]:
    """Give the folder for everything: `directory`, which must be new or empty and stays, or a temporary one."""
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="aircheck-demo-", ignore_cleanup_errors=True) as made:
            yield Path(made)
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        empty = not any(directory.iterdir())
    except OSError as error:
        raise ConfigError(f"--directory {directory} can't be used: {error.strerror}") from None
    if not empty:
        raise ConfigError(f"--directory {directory} is not empty: name a new or an empty folder")
    yield directory.absolute()


@contextmanager
def on_signals(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` for SIGINT and SIGTERM, and do nothing else for them, within the block."""
    loop = asyncio.get_running_loop()
    for kind in STOPPING:
        loop.add_signal_handler(kind, act)
    try:
        yield
    finally:
        for kind in STOPPING:
            loop.remove_signal_handler(kind)
