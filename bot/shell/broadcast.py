"""`aircheck broadcast`: a file or standard input becomes a voice broadcast in a room.

The sound is decoded and cut here. Slices and events are written into the store beside the running bot, as its own
writers do: one transaction for each, in which the blob arrives, so that neither a killed bot nor a killed command
loses what was written. With no bot running this command takes the lock, and runs one.
"""

import asyncio
import logging
import os
import secrets
import select
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from bot import app
from bot.audio.containers import read_length
from bot.audio.continuous import NEEDS_FILE, sound_of
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.opus_arriving import Stretch
from bot.audio.sniff import sniff
from bot.dialects.studio import started_id
from bot.errors import AircheckError, ConfigError, GiveUp, StartError
from bot.feeds.text import DESCRIPTION_MOST, TITLE_MOST
from bot.process import stop_signals
from bot.recording.lengths import spoken_length
from bot.settings import Settings
from bot.shell.handover import LOOK_EVERY_S, closing_store
from bot.studio.broadcasting import Broadcasting, Pace, TooLongError
from bot.studio.life import Problem
from bot.studio.rights import Refusal, refusal
from bot.studio.writing import StudioRefusedError, Writing, new_studio
from storage import archive, rooms, studios
from storage.errors import StoreError
from storage.place import Place
from storage.records import (
    Container,
    Recording,
    RecordingState,
    RoomId,
    Samples,
    Studio,
    StudioSource,
    UserId,
    to_ms,
)
from storage.store import Store, is_owned

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 16
LOOK_FOR_INPUT_S = 0.2
STALLED_S = 30.0
"""Seconds without sound after which a broadcast is paused, as one of a source client is."""
STOP_WITHIN_S = 20.0
FINISHED_WITHIN_S = 90.0
"""Seconds for which the command waits for the episode."""

_WITHOUT_EPISODE = frozenset({RecordingState.EMPTY, RecordingState.DELETED})

_REFUSED = {
    Refusal.BOT_LEFT: "the bot is not in {room}",
    Refusal.NOT_A_MEMBER: "{user} is not in {room}",
    Refusal.NO_POWER: "{user} has no power to start a voice broadcast in {room}: a moderator can give it, or name"
    " with --as who has it",
    Refusal.STUDIO_OFF: "{room} takes no broadcasts from a studio: a moderator has switched them off",
    Refusal.BEHIND: "{room} was restored from a backup, and what happened there since is not known yet",
    Refusal.WALKIE: "{room} is a walkie-talkie: who has the floor speaks there",
    Refusal.NOT_RECORDED: "{room} is not recorded: a moderator switches it on with `record on`",
    Refusal.NOT_WANTED: "{user} is not recorded in {room}: they opted out, or the moderators record others only",
}


_PROBLEMS = {
    Problem.ROOM_FULL: "the room has no space left (storage.max_bytes_per_room)",
    Problem.BROADCAST_FULL: "it has more bytes than the longest broadcast may have",
}

NOTHING_CAME = "Nothing was broadcast: no sound came."
STOPPED_EARLY = "Nothing was broadcast: it was stopped before the bot was ready."


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of the command. `speaker`: None for the bot itself."""

    room_id: RoomId
    file: str
    fast: bool = False
    title: str | None = None
    description: str | None = None
    speaker: UserId | None = None


def checked(
    room: str, file: str, *, title: str | None, description: str | None, speaker: str | None, fast: bool
) -> Options:
    """Check the arguments of the command. Raises ConfigError."""
    for option, text, most in (("--title", title, TITLE_MOST), ("--description", description, DESCRIPTION_MOST)):
        if text is not None and len(text) > most:
            raise ConfigError(f"{option}: at most {most} characters, not {len(text)}")
    if speaker is not None and not (speaker.startswith("@") and ":" in speaker):
        raise ConfigError(f"--as: a user id such as @alice:example.org, not {speaker}")
    return Options(RoomId(room), file, fast, title, description, UserId(speaker) if speaker else None)


class StalledError(Exception):
    """An input from which no sound has come for longer than a broadcast may be paused."""


@dataclass(slots=True)
class _Input:
    """The file or standard input. `size`: None where nobody knows; `taken`: bytes that were read."""

    name: str
    file: BinaryIO
    path: Path | None = None
    container: Container | None = None  # of a file
    length: int | None = None  # samples, where the file states them
    size: int | None = None  # bytes
    taken: int = 0

    @property
    def jumps(self) -> bool:
        """Whether ffmpeg reads the file itself, as it may have to jump in it."""
        return self.container in NEEDS_FILE

    @property
    def total(self) -> int | None:
        """The length that the progress goes up to: in samples where ffmpeg reads the file itself, else in bytes."""
        return self.length if self.jumps else self.size

    async def _blocks(self) -> AsyncGenerator[bytes, None]:
        descriptor = self.file.fileno()
        while True:
            try:
                block = await asyncio.to_thread(_read_some, descriptor)
            except OSError as error:
                raise AircheckError(f"{self.name} can't be read: {error.strerror}") from None
            if block is None:
                continue
            if not block:
                return
            self.taken += len(block)
            yield block

    async def sound(self, ffmpeg: Ffmpeg, max_seconds: float) -> AsyncGenerator[Stretch, None]:
        """Yield the sound. Raises GiveUp. Close the iterator if you leave it early."""
        async with aclosing(self._blocks()) as blocks, aclosing(self._sound(ffmpeg, blocks, max_seconds)) as sound:
            async for stretch in sound:
                yield stretch

    def _sound(
        self, ffmpeg: Ffmpeg, blocks: AsyncGenerator[bytes, None], max_seconds: float
    ) -> AsyncGenerator[Stretch, None]:
        if self.jumps:
            assert self.path is not None
            assert self.container is not None
            return ffmpeg.to_opus(self.path, self.container, max_seconds=max_seconds)
        return sound_of(ffmpeg, blocks, max_seconds=max_seconds)


def _read_some(descriptor: int) -> bytes | None:
    """Read what is there; None where nothing came for a moment. A thread that waits for ever would keep the program
    from ending. Blocking, short."""
    ready, _, _ = select.select([descriptor], [], [], LOOK_FOR_INPUT_S)
    return os.read(descriptor, BLOCK_BYTES) if ready else None


def _opened(name: str) -> _Input:
    """Open the input. Raises ConfigError."""
    if name == "-":
        if sys.stdin.isatty():
            raise ConfigError("FILE: standard input is a terminal: pipe sound into the command")
        return _Input("standard input", sys.stdin.buffer)
    path = Path(name)
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise ConfigError(f"FILE: {name} can't be read: {error.strerror}") from None
    if not path.is_file():  # a named pipe
        return _Input(name, file)
    try:
        with path.open("rb") as looked_at:
            container = sniff(looked_at)
            length = read_length(looked_at, container) if container in NEEDS_FILE else None
    except (GiveUp, OSError):
        file.close()
        raise ConfigError(f"FILE: {name} is no sound that can be played") from None
    return _Input(name, file, path, container, length.samples if length else None, path.stat().st_size)


@asynccontextmanager
async def _beside_a_bot(
    settings: Settings, stop: asyncio.Event
) -> AsyncIterator[tuple[Store, "asyncio.Future[None] | None"]]:
    """Give a store that may be written, beside the running bot or with one of our own, which has read the rooms' state
    unless it was stopped before; and the future that ends with its error. Raises AircheckError."""
    place = settings.storage.place
    try:
        if await is_owned(place):
            async with closing_store(await _beside_its_owner(place)) as store:
                yield store, None
            return
    except StoreError as error:
        raise StartError(str(error)) from None
    async with app.running(settings) as aircheck:
        await _first_of(asyncio.create_task(_ready(aircheck)), stop, aircheck.failed)
        yield aircheck.store, aircheck.failed


async def _beside_its_owner(place: Place) -> Store:
    """Open a store for writing beside the bot that owns it. It keeps no local copies of media that lie elsewhere, since
    nobody would remove those of sound that is deleted. Raises StoreError."""
    if place.database_url is None:
        return await Store.look(place)
    return await Store.join(replace(place, cache_bytes=0))


async def _ready(aircheck: app.Aircheck) -> None:
    await aircheck.session.ready.wait()


async def broadcast(settings: Settings, options: Options) -> str:
    """Broadcast into a room until the sound or the patience of the operator ends; give the result as a sentence.

    Raises AircheckError, and ConfigError for a room that the bot is not in, or a file that can't be read.
    """
    source = _opened(options.file)
    stop = stop_signals()
    try:
        ffmpeg = await asyncio.to_thread(Ffmpeg.find, settings.audio.ffmpeg)
        async with _beside_a_bot(settings, stop) as (store, failed):
            if stop.is_set():
                return STOPPED_EARLY
            studio = await _new_studio(store, settings, options)
            return await _broadcast(store, settings, studio, source, ffmpeg, stop, failed, fast=options.fast)
    finally:
        source.file.close()


async def _new_studio(store: Store, settings: Settings, options: Options) -> Studio:
    """Make the studio of this broadcast, in the place of an earlier one of this speaker from the shell. Raises
    AircheckError for one who may not broadcast."""
    user_id = options.speaker or UserId(settings.matrix.user_id)
    now = datetime.now(UTC)
    writing = Writing(store, settings, lambda: datetime.now(UTC))
    async with store.write() as db:
        room = await rooms.room(db, options.room_id)
        if room is None or not room.joined:
            raise ConfigError(f"ROOM: the bot is not in {options.room_id}")
        if (refused := await refusal(db, room.room_id, user_id)) is not None:
            raise AircheckError(_reason(refused, user_id, room.room_id))
        for earlier in await studios.of(db, room.room_id, user_id):
            if earlier.source is StudioSource.SHELL:
                if earlier.state.is_on_air:
                    log.warning("an earlier broadcast of %s into %s had no end: it ends here", user_id, room.room_id)
                await writing.end(db, earlier)
        studio = new_studio(room.room_id, user_id, StudioSource.SHELL, now)
        return await studios.add(db, replace(studio, title=options.title, description=options.description))


def _reason(refused: Refusal, user_id: UserId, room_id: RoomId) -> str:
    return _REFUSED.get(refused, "{user} may not broadcast into {room} now").format(user=user_id, room=room_id)


async def _broadcast(
    store: Store,
    settings: Settings,
    studio: Studio,
    source: _Input,
    ffmpeg: Ffmpeg,
    stop: asyncio.Event,
    failed: "asyncio.Future[None] | None",
    *,
    fast: bool,
) -> str:
    client, most = f"shell-{secrets.token_hex(16)}", settings.recording.max_broadcast_s
    writing = Writing(store, settings, lambda: datetime.now(UTC))
    on_air = Broadcasting(store, writing, studio.id, client, most)
    trouble: AircheckError | None = None
    try:
        try:
            with _progress() as progress:
                task = progress.add_task("waiting for sound", total=source.total)
                pace = None if fast else Pace(0.0)
                patience_s = settings.recording.paused_for_s
                playing = asyncio.create_task(_play(on_air, source, ffmpeg, pace, most, patience_s, progress, task))
                await _first_of(playing, stop, failed)
        except GiveUp as error:
            trouble = AircheckError(f"{source.name}: {error}")
        except StalledError:
            trouble = AircheckError(f"{source.name}: no sound for {_spoken(settings.recording.paused_for_s)}")
        except TooLongError:
            trouble = AircheckError(f"a broadcast is {_spoken(most)} long at most: the rest was left out")
        except AircheckError as error:
            trouble = error  # of the source, or of the bot that this command runs
        on_air.patience_s = STOP_WITHIN_S
        await on_air.stop()
    except StudioRefusedError as error:
        raise AircheckError(await _ended(store, writing, studio, error.problem)) from None
    except StoreError as error:
        raise StartError(str(error)) from None
    said = await _said(store, studio, on_air, stop, failed)
    if trouble is not None:
        raise AircheckError(f"{trouble.sentence}. {said}" if on_air.begun else trouble.sentence)
    return said


async def _play(
    on_air: Broadcasting,
    source: _Input,
    ffmpeg: Ffmpeg,
    pace: Pace | None,
    most: float,
    patience_s: float,
    progress: Progress,
    task: TaskID,
) -> None:
    samples = 0

    async def stalls() -> None:
        await on_air.pause()
        progress.update(task, description="no sound comes")
        what = "the broadcast is paused until sound comes" if on_air.begun else "nothing is broadcast yet"
        _say(progress, f"{source.name}: no sound for {_spoken(STALLED_S)}: {what}. It ends in {_spoken(patience_s)}.")

    async with (
        aclosing(source.sound(ffmpeg, most + 1)) as coming,
        aclosing(_unless_stalled(coming, stalls, patience_s)) as sound,
    ):
        async for stretch in sound:
            if on_air.paused:
                _say(progress, f"{source.name}: sound again, on air.")
            if pace is not None:
                await pace.keep(stretch.samples)
            await on_air.put(stretch)
            samples += stretch.samples
            length = spoken_length(to_ms(Samples(samples)))
            progress.update(task, description=f"on air: {length}", completed=samples if source.jumps else source.taken)


async def _unless_stalled(
    sound: AsyncGenerator[Stretch, None], stalls: Callable[[], Awaitable[None]], patience_s: float
) -> AsyncGenerator[Stretch, None]:
    """Yield sound. `stalls` is called where none has come for STALLED_S. Raises StalledError where none comes for
    `patience_s` after that."""
    while True:
        coming = asyncio.ensure_future(anext(sound))
        try:
            if not (await asyncio.wait({coming}, timeout=STALLED_S))[0]:
                await stalls()
                if not (await asyncio.wait({coming}, timeout=patience_s))[0]:
                    raise StalledError
            stretch = await coming
        except StopAsyncIteration:
            return
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
        yield stretch


def _say(progress: Progress, sentence: str) -> None:
    """Print a sentence on standard error, above the progress bar where there is one."""
    progress.console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _spoken(seconds: float) -> str:
    return spoken_length(round(seconds * 1000))


async def _first_of(working: asyncio.Task[None], stop: asyncio.Event, failed: "asyncio.Future[None] | None") -> None:
    """Wait for the end of some work, a signal, or the failure of the bot. Raises what ended the first or the last; not
    what breaks because of the signal, which a terminal sends to what pipes sound in, too."""
    stopped = asyncio.create_task(stop.wait())
    ends: set[asyncio.Future[object]] = {working, stopped}  # type: ignore[arg-type]
    if failed is not None:
        ends.add(failed)  # type: ignore[arg-type]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = working.done()
        for task in (working, stopped):
            task.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)
    if ended:
        if not (stop.is_set() and isinstance(working.exception(), AircheckError)):
            await working
    elif failed is not None and failed.done():
        await failed


async def _ended(store: Store, writing: Writing, studio: Studio, problem: Problem) -> str:
    """End a broadcast that is refused with what came so far; say why it is."""
    async with store.write() as db:
        now = await studios.get(db, studio.id)
        if now is not None:
            await writing.end(db, now)
        refused = await refusal(db, studio.room_id, studio.user_id)
        others = await studios.of(db, studio.room_id, studio.user_id)
    replaced = any(other.source is StudioSource.SHELL and other.id > studio.id for other in others)
    if problem is not Problem.OVER:
        why = _PROBLEMS.get(problem, str(problem).replace("_", " "))
    elif refused is not None:
        why = _reason(refused, studio.user_id, studio.room_id)
    elif replaced:
        why = f"{studio.user_id} began another one from the shell"
    else:
        why = "it was stopped, deleted or forgotten elsewhere, or the bot was restored from a backup"
    return f"the broadcast was ended: {why}"


async def _said(
    store: Store,
    studio: Studio,
    on_air: Broadcasting,
    stop: asyncio.Event,
    failed: "asyncio.Future[None] | None",
) -> str:
    """Wait for the episode, for a time; say what became of the broadcast."""
    if not on_air.begun:
        return NOTHING_CAME
    length = spoken_length(to_ms(Samples(on_air.samples)))
    loop = asyncio.get_running_loop()
    until = loop.time() + FINISHED_WITHIN_S
    stop.clear()
    recording: Recording | None = None
    ready = False
    while loop.time() < until and not stop.is_set():
        with suppress(StoreError):  # everything is stored: it is asked again
            async with store.read() as db:
                recording = await archive.recording_by_event(db, started_id(studio))
                ready = recording is not None and await archive.episode(db, recording.id) is not None
            over = ready or (recording is not None and recording.state in _WITHOUT_EPISODE)
            if over or (failed is not None and failed.done()) or not await is_owned(store.place):
                break
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_EVERY_S)
    if recording is None:
        return f"{length} in {on_air.number} slices are stored; the bot makes a recording of them when it runs."
    after = "its episode is ready" if ready else "its episode follows"
    if recording.state in _WITHOUT_EPISODE:
        after = "there is no episode of it"
    return f"Broadcast {recording.code}: {length} in {on_air.number} slices; {after}."


def _progress() -> Progress:
    """Make a progress bar on standard error; it shows on a terminal only."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn()
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)
