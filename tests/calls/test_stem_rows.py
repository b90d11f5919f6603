"""The writing about a call while its disk or its database fails."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bot.calls.model import Device, LegId
from bot.calls.stem_rows import StemRows
from storage import calls
from storage.errors import StoreBusyError
from storage.records import SAMPLE_RATE, CallEvent, CallEventKind, LeftBy, Samples, UserId
from storage.stem_files import GrowingFile, StemFiles
from tests.calls.stems import packet
from tests.calls.stems.studio import Studio, studio_in

S = SAMPLE_RATE
FIRST, SECOND = LegId("first"), LegId("second")
ANN, BEN = Device(UserId("@ann:hs"), "DEV", "s"), Device(UserId("@ben:hs"), "DEV", "s")


class Rows(StemRows):
    """The rows of a studio's call."""

    def speak(self, leg: LegId, begin: int, end: int) -> None:
        for at in range(begin, end, 960):
            self.write(leg, packet(at, at // 960))

    def hang_up(self, leg: LegId, at: int, by: LeftBy = LeftBy.LEFT) -> None:
        closing = asyncio.get_running_loop().create_future()
        closing.set_result(None)
        self.close(leg, by, Samples(at), closing)


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    async with studio_in(tmp_path / "data") as studio:
        yield studio


@pytest.fixture
async def rows(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Rows:
    monkeypatch.setattr("bot.calls.stem_rows.AGAIN_S", 0.01)
    return Rows(
        studio.store, studio.recorder.calling.open_stem, studio.call, await studio.recording(), studio.recorder.apply
    )


def full(*_: Any) -> NoReturn:
    raise OSError(28, "No space left on device")


async def again(rows: Rows) -> None:
    """Let what failed be tried once more."""
    await rows.done()
    await asyncio.sleep(0.03)
    await rows.done()


async def test_a_stem_that_could_not_be_opened_is_opened_later(
    studio: Studio, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full for a moment when somebody joins costs none of their sound."""
    with monkeypatch.context() as patched:
        patched.setattr(StemFiles, "create", full)
        rows.speak(FIRST, 0, S)
        rows.open(FIRST, ANN, Samples(S))
        await again(rows)
        rows.speak(FIRST, S, 2 * S)
    await again(rows)
    rows.hang_up(FIRST, 3 * S)
    await rows.done()
    (stem,) = (await studio.recording()).stems
    assert (stem.joined, stem.left, stem.left_by, stem.received) == (0, 3 * S, LeftBy.LEFT, 2 * S)


async def test_who_leaves_before_their_stem_is_opened_is_heard(
    studio: Studio, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stem is opened and closed once the disk has a place for it."""
    with monkeypatch.context() as patched:
        patched.setattr(StemFiles, "create", full)
        rows.open(FIRST, ANN, Samples(0))
        rows.speak(FIRST, 0, S)
        rows.hang_up(FIRST, 2 * S)
        await again(rows)
        assert [stem.left for stem in (await studio.recording()).stems] == [None]
    await again(rows)
    (stem,) = (await studio.recording()).stems
    assert (stem.left, stem.left_by, stem.received) == (2 * S, LeftBy.LEFT, S)


async def test_a_hang_up_on_a_full_disk_keeps_nobody_from_coming_back(
    studio: Studio, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first stem is closed as it was left, and the second begins with the first sound after that."""
    rows.open(FIRST, ANN, Samples(0))
    rows.speak(FIRST, 0, S)
    with monkeypatch.context() as patched:
        patched.setattr(GrowingFile, "add", full)
        rows.hang_up(FIRST, 2 * S)
        rows.speak(SECOND, 3 * S, 4 * S)
        rows.open(SECOND, ANN, Samples(3 * S))
        await again(rows)
    await again(rows)
    rows.finish(LeftBy.ENDED, Samples(5 * S))
    await rows.done()
    first, second = (await studio.recording()).stems
    assert (first.left, first.left_by, first.received) == (2 * S, LeftBy.LEFT, S)
    assert (second.joined, second.left_by, second.received) == (3 * S, LeftBy.ENDED, S)


async def test_the_end_of_a_call_on_a_full_disk_is_made_good(
    studio: Studio, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last windows are kept and the stems are closed once there is space, as they ended."""
    rows.open(FIRST, ANN, Samples(0))
    rows.open(SECOND, BEN, Samples(0))
    await rows.done()
    with monkeypatch.context() as patched:
        patched.setattr(GrowingFile, "add", full)
        rows.speak(FIRST, 0, S)
        rows.hang_up(FIRST, 2 * S)
        rows.finish(LeftBy.ENDED, Samples(3 * S))
        await again(rows)
        assert {stem.left for stem in (await studio.recording()).stems} == {None}
    await again(rows)
    first, second = (await studio.recording()).stems
    assert (first.left, first.left_by, first.received) == (2 * S, LeftBy.LEFT, S)
    assert (second.left, second.left_by) == (3 * S, LeftBy.ENDED)
    assert len(await studio.chunks()) == 1


async def test_events_wait_for_the_database(studio: Studio, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that happen while it is locked are noted later, each once and in order."""

    def away() -> NoReturn:
        raise StoreBusyError("the database is locked")

    happened = [CallEvent(Samples(at), ANN.user_id, CallEventKind.MUTED, "DEV") for at in range(3)]
    with monkeypatch.context() as patched:
        patched.setattr(studio.store, "write", away)
        rows.note(happened[0])
        await again(rows)
        rows.note(happened[1])
    await again(rows)
    rows.note(happened[2])
    await rows.done()
    async with studio.store.read() as db:
        assert list(await calls.events(db, studio.recording_id)) == happened


async def test_sound_waits_for_no_connection(studio: Studio, rows: Rows) -> None:
    """While the connection of one leg does not end, the sound of the others goes to the disk."""
    rows.open(FIRST, ANN, Samples(0))
    await rows.done()
    closing = asyncio.get_running_loop().create_future()
    rows.close(SECOND, LeftBy.LEFT, Samples(0), closing)
    rows.speak(FIRST, 0, S)
    rows.advance(Samples(S))
    await rows._disk.done()
    file = studio.store.stems.path(studio.recording_id, 1)
    assert file.stat().st_size > 500
    closing.set_result(None)
    await rows.done()


def broken(*_: Any) -> NoReturn:
    raise RuntimeError("a bug")


async def test_sound_that_waits_is_told(studio: Studio, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """While all sound is written, the place since which it waits goes with the call's clock; it stands still where a
    stem is not opened or not written, whatever the reason, and goes on when it is."""
    begun = rows.unwritten_since
    assert begun is None
    rows.open(FIRST, ANN, Samples(0))
    for now in (S, 2 * S):
        rows.speak(FIRST, now - S, now)
        rows.advance(Samples(now))
        await rows.done()
        assert rows.unwritten_since == now
    with monkeypatch.context() as patched:
        patched.setattr(GrowingFile, "add", full)
        rows.speak(FIRST, 2 * S, 3 * S)
        rows.advance(Samples(3 * S))
        await rows.done()
        assert rows.unwritten_since == 2 * S
    rows.advance(Samples(4 * S))
    await rows.done()
    assert rows.unwritten_since == 4 * S
    with monkeypatch.context() as patched:
        patched.setattr(type(studio.call), "write", broken)
        rows.advance(Samples(5 * S))
        await rows.done()
        assert rows.unwritten_since == 4 * S
    with monkeypatch.context() as patched:
        patched.setattr(StemFiles, "create", broken)
        rows.open(SECOND, BEN, Samples(6 * S))
        await rows.done()
    rows.advance(Samples(7 * S))
    await rows.done()
    assert rows.unwritten_since == 6 * S
    rows.hang_up(SECOND, 8 * S)
    rows.advance(Samples(9 * S))
    await rows.done()
    assert rows.unwritten_since == 9 * S
    rows.finish(LeftBy.ENDED, Samples(9 * S))
    await rows.done()
