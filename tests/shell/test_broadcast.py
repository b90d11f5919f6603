"""`aircheck broadcast` beside a bot that owns the store."""

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from imageio_ffmpeg import get_ffmpeg_exe

from bot.audio.opus_arriving import Stretch
from bot.dialects import studio as events
from bot.errors import AircheckError, ConfigError
from bot.settings import Settings
from bot.shell import broadcast as shell_broadcast
from bot.shell.broadcast import Options, broadcast, checked
from bot.studio.broadcasting import Broadcasting
from bot.studio.writing import Writing
from storage import studios
from storage.errors import StoreBusyError
from storage.records import EndedBy, EventId, RecordingState, Studio, StudioSource, StudioState, UserId
from tests.line.replay import ALICE, BOT
from tests.studio.air import ROOM, Air, as_file, assert_aligned, broadcast_command, on_the_air, spoken
from tests.world import hearing

WITHIN_S = 90


@pytest.fixture
async def air(tmp_path: Path) -> AsyncIterator[Air]:
    """A bot that hears of what other processes write, and does what follows."""
    async with on_the_air(tmp_path / "data") as made, hearing(made.bot.store, made.bot.recorder):
        yield made


@pytest.fixture
def settings(air: Air) -> Settings:
    return air.bot.settings


async def file_of(path: Path, seconds: float, *form: str) -> Path:
    data = await as_file(spoken(seconds), *form)
    await asyncio.to_thread(path.write_bytes, data)
    return path


async def only(air: Air) -> Studio:
    """Return the newest studio."""
    async with air.bot.store.read() as db:
        found = [studio for number in range(1, 9) if (studio := await studios.get(db, number)) is not None]  # type: ignore[arg-type]
    return found[-1]


def options(file: Path | str, **more: object) -> Options:
    return replace(Options(ROOM, str(file), fast=True, speaker=ALICE), **more)  # type: ignore[arg-type]


async def test_file_becomes_an_episode(air: Air, settings: Settings, tmp_path: Path) -> None:
    """A file is broadcast as fast as it goes, by the member who is named, under its title, to the sample."""
    file = await file_of(tmp_path / "show.flac", 17.4, "-f", "flac")
    async with asyncio.timeout(WITHIN_S):
        said = await broadcast(settings, options(file, title="The show", description="All of it"))
    await air.settled()
    studio = await only(air)
    recording = await air.recording(studio)
    assert said == f"Broadcast {recording.code}: 17 s in 5 slices; its episode is ready."
    assert (recording.state, recording.title, recording.broadcaster) == (RecordingState.COMPLETE, "The show", ALICE)
    assert (studio.source, studio.state, studio.last) == (StudioSource.SHELL, StudioState.OVER, 5)
    found = await air.heard(studio)
    assert len(found) == len(spoken(17.4))
    assert_aligned(found, spoken(17.4))


async def test_file_whose_tables_are_at_its_end(air: Air, settings: Settings, tmp_path: Path) -> None:
    """An M4A is read from its file, in which ffmpeg can jump."""
    file, wav = tmp_path / "show.m4a", await file_of(tmp_path / "show.wav", 6, "-f", "wav")
    made = await asyncio.create_subprocess_exec(get_ffmpeg_exe(), "-v", "error", "-i", str(wav), str(file))
    assert await made.wait() == 0
    async with asyncio.timeout(WITHIN_S):
        assert "6 s in 3 slices" in await broadcast(settings, options(file))
    await air.settled()
    assert_aligned(await air.heard(await only(air)), spoken(6))


async def test_bot_speaks_where_nobody_is_named(air: Air, settings: Settings, tmp_path: Path) -> None:
    """Without --as the bot itself is the speaker, once it has the power to be one."""
    file = await file_of(tmp_path / "show.wav", 3, "-f", "wav")
    with pytest.raises(AircheckError, match=f"{BOT} has no power to start a voice broadcast"):
        await broadcast(settings, options(file, speaker=None))
    await air.bot.tell(ROOM, [air.event("m.room.power_levels", {"users": {ALICE: 100, BOT: 50}}, state_key="")])
    async with asyncio.timeout(WITHIN_S):
        await broadcast(settings, options(file, speaker=None))
    assert (await air.recording(await only(air))).broadcaster == BOT


async def test_who_may_not_is_refused(air: Air, settings: Settings, tmp_path: Path) -> None:
    """Consent holds in the shell too, and nothing is left of a refused broadcast."""
    file = await file_of(tmp_path / "show.wav", 1, "-f", "wav")
    with pytest.raises(AircheckError, match=r"@nobody:lab[.]local is not in"):
        await broadcast(settings, options(file, speaker=UserId("@nobody:lab.local")))
    await air.bot.ask(ROOM, "!aircheck optout")
    with pytest.raises(AircheckError, match="opted out"):
        await broadcast(settings, options(file))
    async with air.bot.store.read() as db:
        assert await studios.open_in(db) == ()


async def test_wrong_arguments_are_named(air: Air, settings: Settings, tmp_path: Path) -> None:
    """A file that is none, a room without the bot, and texts that are too long are each a sentence that names them."""
    text = tmp_path / "notes.txt"
    text.write_text("no sound")
    file = await file_of(tmp_path / "show.wav", 1, "-f", "wav")
    for given, sentence in (
        (options(tmp_path / "gone.mp3"), "FILE: .* can't be read: No such file"),
        (options(text), "FILE: .*notes.txt is no sound"),
        (options(file, room_id="!other:lab.local"), "ROOM: the bot is not in !other"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            await broadcast(settings, given)
    for more, sentence in (
        ({"title": "x" * 201}, "--title: at most 200"),
        ({"description": "x" * 4001}, "--description: at most 4000"),
        ({"speaker": "alice"}, "--as: a user id"),
    ):
        about = {"title": None, "description": None, "speaker": None, "fast": False} | more
        with pytest.raises(ConfigError, match=sentence):
            checked("!a:b", "x.mp3", **about)  # type: ignore[arg-type]


async def test_later_broadcast_takes_the_place_of_an_earlier(air: Air, settings: Settings, tmp_path: Path) -> None:
    """A broadcast that a killed command left live ends when its speaker begins anew."""
    left = await air.studio(StudioSource.SHELL)
    await Writing(air.bot.store, settings, air.bot.clock).start(left.id, "killed")
    file = await file_of(tmp_path / "show.wav", 2, "-f", "wav")
    async with asyncio.timeout(WITHIN_S):
        await broadcast(settings, options(file))
    assert (await air.now(left)).state is StudioState.OVER


async def test_sound_that_breaks_is_an_error_with_what_came(air: Air, settings: Settings, tmp_path: Path) -> None:
    """A file that is too long is broadcast as far as it may be; the command says so and fails."""
    file = await file_of(tmp_path / "show.wav", 30, "-f", "wav")
    short = settings.model_copy(update={"recording": settings.recording.model_copy(update={"max_broadcast_s": 10.0})})
    with pytest.raises(AircheckError, match="a broadcast is 10 s long at most: the rest was left out"):
        async with asyncio.timeout(WITHIN_S):
            await broadcast(short, options(file))
    assert (await air.now(await only(air))).state is StudioState.OVER


async def test_right_that_ends_ends_the_command(
    air: Air, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the speaker leaves the room in the middle the command ends with the reason."""
    file = await file_of(tmp_path / "show.wav", 30, "-f", "wav")
    real = Broadcasting.put

    async def put(self: Broadcasting, stretch: Stretch) -> None:
        if self.number == 2:
            await air.leave()
        await real(self, stretch)

    monkeypatch.setattr(Broadcasting, "put", put)
    with pytest.raises(AircheckError, match=f"the broadcast was ended: {ALICE} is not in"):
        async with asyncio.timeout(WITHIN_S):
            await broadcast(settings, options(file))


async def test_later_broadcast_ends_the_command_of_an_earlier(
    air: Air, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Both are told: the first command why it ended, and the second that it ended another."""
    file = await file_of(tmp_path / "show.wav", 30, "-f", "wav")
    real = Broadcasting.put

    async def put(self: Broadcasting, stretch: Stretch) -> None:
        if self.number == 2:
            monkeypatch.setattr(Broadcasting, "put", real)
            await shell_broadcast._new_studio(air.bot.store, settings, options(file))
        await real(self, stretch)

    monkeypatch.setattr(Broadcasting, "put", put)
    with pytest.raises(AircheckError, match=f"the broadcast was ended: {ALICE} began another one from the shell"):
        async with asyncio.timeout(WITHIN_S):
            await broadcast(settings, options(file))
    assert f"an earlier broadcast of {ALICE} into {ROOM} had no end: it ends here" in caplog.text


async def test_room_without_space_ends_the_broadcast(air: Air, settings: Settings, tmp_path: Path) -> None:
    """When the room's space is used up the command says so, and the broadcast is over with what came."""
    file = await file_of(tmp_path / "show.wav", 30, "-f", "wav")
    storage = settings.storage.model_copy(update={"max_bytes_per_room": 100_000})
    with pytest.raises(AircheckError, match="the room has no space left"):
        async with asyncio.timeout(WITHIN_S):
            await broadcast(settings.model_copy(update={"storage": storage}), options(file))
    studio = await only(air)
    assert studio.state is StudioState.OVER
    await air.settled()
    await air.bot.pass_by(settings.recording.quiet_period_s + 1)
    assert_aligned(await air.heard(studio), spoken(30))


async def test_input_that_fails_ends_the_broadcast(
    air: Air, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk or a network share that breaks in the middle is named, and the broadcast ends properly with what came."""
    file = await file_of(tmp_path / "show.wav", 30, "-f", "wav")
    real, size = shell_broadcast._read_some, file.stat().st_size

    def read_some(descriptor: int) -> bytes | None:
        if os.lseek(descriptor, 0, os.SEEK_CUR) > size / 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor)

    monkeypatch.setattr(shell_broadcast, "_read_some", read_some)
    sentence = r"show[.]wav can't be read: Input/output error[.] Broadcast \w+: 1[56] s in 5 slices"
    with pytest.raises(AircheckError, match=sentence):
        async with asyncio.timeout(WITHIN_S):
            await broadcast(settings, options(file))
    await air.settled()
    recording = await air.recording(await only(air))
    assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)


async def test_database_that_is_away_at_the_end(
    air: Air, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once everything is stored, a store that can't tell for a moment whether the episode is made changes nothing."""
    file = await file_of(tmp_path / "show.wav", 3, "-f", "wav")
    real, asked = events.started_id, 0

    def started_id(studio: Studio) -> EventId:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise StoreBusyError("the database does not answer")
        return real(studio)

    monkeypatch.setattr(shell_broadcast, "started_id", started_id)
    monkeypatch.setattr(shell_broadcast, "LOOK_EVERY_S", 0.01)
    async with asyncio.timeout(WITHIN_S):
        assert "its episode is ready" in await broadcast(settings, options(file))
    assert asked > 1


# ---- an input that stalls


@contextlib.asynccontextmanager
async def pipe(path: Path) -> AsyncIterator[int]:
    """Make a named pipe that stays open for writing, and close it at the end at the latest."""
    os.mkfifo(path)
    writing = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield writing
    finally:
        with contextlib.suppress(OSError):
            os.close(writing)


async def fill(writing: int, data: bytes) -> None:
    """Write into a pipe as it is read."""
    await asyncio.to_thread(os.set_blocking, writing, True)
    at = 0
    while at < len(data):
        at += await asyncio.to_thread(os.write, writing, data[at : at + 4096])


async def becomes(air: Air, state: StudioState, slices: int = 0) -> Studio:
    """Wait until the only studio has this state, and so many slices."""
    with air.bot.store.changes.subscribe() as changed:
        async with asyncio.timeout(WITHIN_S):
            while True:
                changed.clear()
                async with air.bot.store.read() as db:
                    for studio in await studios.of(db, ROOM, ALICE):
                        if studio.state is state and len(await studios.slices_of(db, studio.id)) >= slices:
                            return studio
                await changed.wait()


async def test_input_that_stalls_is_paused_and_goes_on(
    air: Air, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While no sound comes from a pipe the broadcast is paused, and the terminal says so; the next sound is on air."""
    monkeypatch.setattr(shell_broadcast, "STALLED_S", 0.1)
    data = await as_file(spoken(16), "-f", "mp3", "-b:a", "64k", "-write_xing", "0", "-id3v2_version", "0")
    async with pipe(tmp_path / "pipe") as writing:
        running = asyncio.create_task(broadcast(settings, options(tmp_path / "pipe")))
        try:
            await fill(writing, data[: len(data) // 2])
            await becomes(air, StudioState.PAUSED, 3)
            monkeypatch.setattr(shell_broadcast, "STALLED_S", 3600.0)
            await fill(writing, data[len(data) // 2 :])
            await becomes(air, StudioState.LIVE, 4)
            os.close(writing)
            async with asyncio.timeout(WITHIN_S):
                said = await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert "its episode is ready" in said
    told = capsys.readouterr().err
    assert "no sound for 0 s: the broadcast is paused until sound comes. It ends in 4 h." in told
    assert "sound again, on air" in told
    await air.settled()
    assert (await air.recording(await only(air))).state is RecordingState.COMPLETE
    found = await air.heard(await only(air))
    assert_aligned(found[1105:], spoken(16))


async def test_input_that_stalls_for_too_long_ends_the_broadcast(
    air: Air, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After as long as a broadcast may be paused the command stops it and fails, with what came."""
    monkeypatch.setattr(shell_broadcast, "STALLED_S", 3600.0)
    short = settings.model_copy(update={"recording": settings.recording.model_copy(update={"paused_for_s": 0.0})})
    data = await as_file(spoken(9), "-f", "mp3", "-b:a", "64k", "-write_xing", "0", "-id3v2_version", "0")
    async with pipe(tmp_path / "pipe") as writing:
        running = asyncio.create_task(broadcast(short, options(tmp_path / "pipe")))
        try:
            await fill(writing, data[: len(data) // 2])
            await becomes(air, StudioState.LIVE, 2)
            monkeypatch.setattr(shell_broadcast, "STALLED_S", 0.0)  # behind the next sound
            await fill(writing, data[len(data) // 2 :])
            with pytest.raises(AircheckError, match=r"pipe: no sound for 0 s. Broadcast .* its episode is ready"):
                async with asyncio.timeout(WITHIN_S):
                    await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert (await air.now(await only(air))).state is StudioState.OVER


# ---- as a process


@contextlib.asynccontextmanager
async def process_of(
    tree: dict[str, Any], folder: Path, *arguments: str, **options: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command under these settings, and kill it at the end."""
    config = folder / "config.yaml"
    await asyncio.to_thread(config.write_text, yaml.safe_dump(tree))
    async with broadcast_command(config, *arguments, **options) as process:
        yield process


@contextlib.asynccontextmanager
async def command(air: Air, folder: Path, *arguments: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command for Alice, beside the bot."""
    tree = air.bot.settings.model_dump(exclude_unset=True, mode="json")
    if (address := air.bot.store.place.database_url) is not None:  # where the run of tests keeps its stores
        tree["storage"]["database_url"] = address
    async with process_of(tree, folder, "--as", ALICE, ROOM, *arguments, **options) as process:
        yield process


async def slices(air: Air, count: int) -> Studio:
    """Wait until the newest studio has so many slices on the disk."""
    with air.bot.store.changes.subscribe() as changed:
        async with asyncio.timeout(WITHIN_S):
            while True:
                changed.clear()
                async with air.bot.store.read() as db:
                    for studio in await studios.open_in(db):
                        if len(await studios.slices_of(db, studio.id)) >= count:
                            return studio
                await changed.wait()


@pytest.mark.long
async def test_pipe_is_broadcast_in_real_time_until_ctrl_c(air: Air, tmp_path: Path) -> None:
    """Standard input is live while it comes; Ctrl-C ends the broadcast as the end of the sound does."""
    truth = spoken(30)
    data = await as_file(truth, "-f", "flac")
    async with command(air, tmp_path, "-") as process, asyncio.timeout(WITHIN_S):
        assert process.stdin is not None
        process.stdin.write(data)
        studio = await slices(air, 2)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert (process.returncode, b"Traceback" in err) == (0, False)
        assert b"its episode is ready" in out
    assert (await air.now(studio)).state is StudioState.OVER
    await air.settled()
    assert (await air.recording(studio)).state is RecordingState.COMPLETE
    found = await air.heard(studio)
    assert 2.5 * 48_000 < len(found) < len(truth)
    assert_aligned(found, truth)


async def test_killed_command_leaves_what_it_had_written(air: Air, tmp_path: Path) -> None:
    """After kill -9 the slices are there; the recording ends when nothing came for long, and its ledger says that the
    end is not known."""
    data = await as_file(spoken(30), "-f", "flac")
    async with command(air, tmp_path, "--fast", "-") as process, asyncio.timeout(WITHIN_S):
        assert process.stdin is not None
        process.stdin.write(data)  # and no end of it
        studio = await slices(air, 4)
        process.kill()
        await process.wait()
    await air.settled()
    assert (await air.recording(studio)).state is RecordingState.LIVE
    await air.bot.pass_by(air.bot.settings.recording.abandoned_after_s + 1)
    await air.bot.pass_by(air.bot.settings.recording.quiet_period_s + 1)
    recording = await air.recording(studio)
    assert recording.state is not RecordingState.LIVE
    assert_aligned(await air.heard(studio), spoken(30))


@pytest.mark.long
async def test_killed_command_that_is_run_again(air: Air, tmp_path: Path) -> None:
    """After kill -9 the next run says that it ends the earlier broadcast, which is an episode of what was written; the
    whole file is another, and nothing of one is in the other."""
    truth = spoken(20)
    data = await as_file(truth, "-f", "flac")
    async with command(air, tmp_path, "--fast", "-") as process, asyncio.timeout(WITHIN_S):
        assert process.stdin is not None
        process.stdin.write(data)  # and no end of it
        killed = await slices(air, 4)
        process.kill()
        await process.wait()
    async with command(air, tmp_path, "--fast", "-") as process, asyncio.timeout(WITHIN_S):
        out, err = await process.communicate(data)
        assert (process.returncode, b"Traceback" in err) == (0, False)
        assert b"had no end: it ends here" in err
        assert b"20 s in 6 slices; its episode is ready" in out
    await air.settled()
    await air.bot.pass_by(air.bot.settings.recording.quiet_period_s + 1)
    first, second = await air.now(killed), await only(air)
    assert (first.state, second.state) == (StudioState.OVER, StudioState.OVER)
    assert (await air.recording(first)).ended_by is EndedBy.STOPPED
    assert_aligned(await air.heard(first), truth)
    found = await air.heard(second)
    assert len(found) == len(truth)
    assert_aligned(found, truth)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.long
async def test_ctrl_c_of_a_whole_pipe(air: Air, tmp_path: Path, number: signal.Signals) -> None:
    """A terminal sends Ctrl-C to every process of a pipe, and so to what decodes the sound, too: the broadcast ends as
    it does at the end of the sound, with all that came."""
    truth = spoken(30)
    data = await as_file(truth, "-f", "flac")
    async with command(air, tmp_path, "--fast", "-", start_new_session=True) as process, asyncio.timeout(WITHIN_S):
        assert process.stdin is not None
        process.stdin.write(data)
        studio = await slices(air, 3)
        os.killpg(process.pid, number)
        out, err = await process.communicate()
        assert (process.returncode, b"Traceback" in err) == (0, False), err
        assert b"its episode is ready" in out
    await air.settled()
    recording = await air.recording(studio)
    assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    assert_aligned(await air.heard(studio), truth)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
async def test_stop_before_the_bot_is_ready(tmp_path: Path, number: signal.Signals) -> None:
    """Without a running bot the command runs one; while the homeserver is away it can be stopped all the same."""
    tree = {
        "matrix": {"homeserver": "http://127.0.0.1:1", "user_id": BOT, "password": "x"},
        "storage": {"directory": str(tmp_path / "data"), "min_free_bytes": 0},
        "web": {"port": 0},
    }
    file = await file_of(tmp_path / "show.wav", 1, "-f", "wav")
    async with process_of(tree, tmp_path, ROOM, str(file)) as process, asyncio.timeout(WITHIN_S):
        assert process.stderr is not None
        while b"homeserver" not in await process.stderr.readline():
            assert process.returncode is None
        process.send_signal(number)
        out, err = await process.communicate()
        assert (process.returncode, b"Traceback" in err) == (0, False)
        assert out == b"Nothing was broadcast: it was stopped before the bot was ready.\n"


@pytest.mark.long
async def test_process_says_what_is_wrong(air: Air, tmp_path: Path) -> None:
    """Text from a pipe is refused with a sentence and exit code 1, an argument with 2."""
    async with command(air, tmp_path, "--fast", "-") as process, asyncio.timeout(WITHIN_S):
        out, err = await process.communicate(b"no sound\n" * 1000)
        assert (process.returncode, out) == (1, b"")
        assert err == b"standard input: the chunk is not audio\n"
    async with command(air, tmp_path, "/nowhere.mp3") as process, asyncio.timeout(WITHIN_S):
        _, err = await process.communicate()
        assert (process.returncode, err) == (2, b"FILE: /nowhere.mp3 can't be read: No such file or directory\n")
