"""Stems of a call, from its first packet to the rows, and what a crash leaves of them."""

import asyncio
import hashlib
import io
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.audio.ogg import OggPage, PacketReader, read_pages
from bot.audio.opus_packets import mark_of
from bot.calls.stems import recovery
from bot.calls.stems.stems import THREADS
from bot.calls.stems.windows import PATIENCE
from bot.keeper import Keeper
from bot.recording.call.layout import WINDOW, lay_out
from bot.recording.model import Ended, StemOpened
from bot.settings import RetentionSettings
from bot.worker.forgetting import ForgettingStems
from storage import jobs
from storage.blobs.folder import Folder
from storage.database import Connection
from storage.errors import StoreBusyError
from storage.records import SAMPLE_RATE, ChunkState, EndedBy, LeftBy, Position, RecordingId
from storage.stem_files import GrowingFile, StemFiles
from tests.blobs import folder_of
from tests.calls.stems import BOB, a_stem, length_of_file, packet
from tests.calls.stems.studio import Studio, studio_in
from tests.clock import Clock
from tests.worker.quick import EVERY
from tests.world import Killed, Mortal

S = SAMPLE_RATE


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    async with studio_in(tmp_path / "data") as studio:
        yield studio


def file_of(studio: Studio, number: int) -> Path:
    return studio.store.stems.path(studio.recording_id, number)


def received(file: bytes) -> list[bytes]:
    """Return the packets of an Ogg file that were received."""
    reader, found = PacketReader(), list[bytes]()
    for page in read_pages(io.BytesIO(file)):
        found += reader.feed(page)
    return [each for each in found[2:] if mark_of(each) is None]


async def test_a_stem_grows_by_the_second_and_is_kept_by_the_window(studio: Studio) -> None:
    """The file holds all sound so far after each second; a slice is a row once its window is over; a stem that is
    closed is a blob, its row says how it ended, and its file is gone when all of it is in slices."""
    stem = a_stem(joined=100)
    await studio.open(stem)
    at = 100
    for second in range(1, 12):
        at = studio.speak(1, at, second * S)
        await studio.advance(second * S)
        assert length_of_file(file_of(studio, 1)) == at - 100
    assert [chunk.at for chunk in await studio.chunks()] == [100]
    await studio.close(1, 12 * S)
    (row,) = (await studio.recording()).stems
    assert (row.left, row.left_by, row.received, row.lost) == (12 * S, LeftBy.LEFT, at - 100, 0)
    assert row.blob is not None
    assert row.bytes == len(folder_of(studio.store).read(row.blob))
    assert hashlib.sha256(folder_of(studio.store).read(row.blob)).hexdigest() == row.blob
    assert file_of(studio, 1).exists()
    await studio.advance(20 * S)
    first, second_slice = await studio.chunks()
    assert not studio.store.stems.recordings()
    assert (second_slice.stem, second_slice.sender) == (1, stem.user_id)
    assert (first.position, second_slice.position, row.slices) == (stem.position, 5, 2)
    assert first.facts is not None
    assert second_slice.at == 100 + first.facts.samples
    assert received(studio.blob(first)) + received(studio.blob(second_slice)) == received(
        folder_of(studio.store).read(row.blob)
    )


async def test_slices_of_a_window_are_kept_together(studio: Studio) -> None:
    """A window waits for the stem that has not reached its end, for 5 s; later sound of a stalled one is kept when it
    comes, and one that is silent for long is not waited for."""
    for number in (1, 2):
        await studio.open(a_stem(number, user_id=BOB))
    studio.speak(1, 0, 11 * S)
    studio.speak(2, 0, 7 * S)
    await studio.advance(11 * S)
    assert await studio.chunks() == []
    await studio.advance(WINDOW + PATIENCE)
    assert [(chunk.stem, chunk.at) for chunk in await studio.chunks()] == [(1, 0), (2, 0)]
    studio.speak(2, 8 * S, 9 * S)  # what the stalled network held back
    studio.speak(1, 11 * S, 21 * S)
    await studio.advance(21 * S)
    last = (await studio.chunks(2))[-1]
    before = (await studio.chunks(2))[0]
    assert before.facts is not None
    assert last.at == before.facts.samples  # the silence before it is its own
    ledger = lay_out(await studio.recording(), await studio.chunks())
    parts = [part for part in ledger.entries[0].parts if part.stem == 2]
    assert [(part.at, part.before is not None, part.lead) for part in parts] == [(0, False, 0), (last.at, True, 0)]
    assert len(await studio.chunks(1)) == 2


async def test_a_muted_stem_costs_no_slices(studio: Studio) -> None:
    """Windows in which nothing came are silence in the file and no chunks."""
    await studio.open(a_stem())
    studio.speak(1, 0, 5 * S)
    studio.speak(1, 65 * S, 66 * S)
    await studio.finish(70 * S)
    assert [chunk.at for chunk in await studio.chunks()] == [0, 6 * WINDOW]
    (stem,) = (await studio.recording()).stems
    assert stem.blob is not None
    assert (stem.left, stem.bytes, stem.received) == (70 * S, len(folder_of(studio.store).read(stem.blob)), 6 * S)


async def test_a_device_that_sends_nothing_has_a_file_of_silence(studio: Studio) -> None:
    """The file is as long as the device was in; there are no slices, and the recording is as silent as before."""
    await studio.open(a_stem(joined=S))
    await studio.finish(4 * S + 7)
    (stem,) = (await studio.recording()).stems
    assert stem.blob is not None
    pages = list(read_pages(io.BytesIO(folder_of(studio.store).read(stem.blob))))
    assert (stem.left, stem.left_by, stem.received) == (4 * S + 7, LeftBy.ENDED, 0)
    assert (pages[-1].granule, pages[-1].ends) == (3 * S + 7, True)
    assert stem.bytes == len(folder_of(studio.store).read(stem.blob))
    assert not lay_out(await studio.recording(), await studio.chunks()).sounds
    assert not studio.store.stems.recordings()


@pytest.mark.parametrize("has_file", [True, False])
async def test_a_stem_of_which_a_crash_left_nothing_has_a_file(studio: Studio, *, has_file: bool) -> None:
    """The row was written, and no sound: the stem is closed as lost, without a length."""
    await (studio.open(a_stem()) if has_file else studio.apply(StemOpened(a_stem())))
    await studio.crash()
    await studio.stems.recover()
    (stem,) = (await studio.recording()).stems
    assert (stem.left, stem.left_by, stem.received) == (stem.joined, LeftBy.LOST, 0)
    assert stem.blob is not None
    assert [page.ends for page in read_pages(io.BytesIO(folder_of(studio.store).read(stem.blob)))] == [
        False,
        False,
        True,
    ]
    assert not studio.store.stems.recordings()


async def test_sound_of_a_deleted_recording_is_not_kept(studio: Studio) -> None:
    """A call that is deleted while it runs keeps nothing: no blob, no row, no file. Its growing files go at once, by
    the job that the deletion orders."""
    await studio.open(a_stem())
    studio.speak(1, 0, 11 * S)
    await studio.advance(11 * S)
    await studio.delete()
    async with studio.store.read() as db:
        (job,) = await jobs.unfinished(db, orders.ForgetStems.kind)
    await ForgettingStems(studio.store)(job)
    assert not studio.store.stems.recordings()
    studio.speak(1, 11 * S, 12 * S)
    await studio.advance(12 * S)
    await studio.finish(13 * S)
    assert await studio.chunks() == []
    assert (await studio.recording()).stems == ()
    assert not studio.store.stems.recordings()
    async with studio.store.read() as db:
        left = {key for job in await jobs.unfinished(db, orders.Forget.kind) for key in orders.Forget.of(job).blobs}
    assert {key for keys in folder_of(studio.store).key_batches() for key in keys} <= left


async def test_the_keeper_leaves_stems_alone(studio: Studio) -> None:
    """The sweep of leftover files removes neither a stem that grows nor one that is whole."""
    await studio.open(a_stem())
    studio.speak(1, 0, 2 * S)
    await studio.advance(2 * S)
    await studio.open(a_stem(2))
    studio.speak(2, 0, 2 * S)
    await studio.close(2, 3 * S)
    await Keeper(studio.store, Clock(), RetentionSettings()).sweep()
    async with studio.store.read() as db:
        assert not await jobs.unfinished(db, orders.Forget.kind)
    assert file_of(studio, 1).exists()


async def test_a_full_disk_costs_no_sound(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails is made good by the next one."""
    await studio.open(a_stem())
    add = GrowingFile.add
    studio.speak(1, 0, S)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GrowingFile, "add", full)
    await studio.advance(S)
    monkeypatch.setattr(GrowingFile, "add", add)
    studio.speak(1, S, 2 * S)
    await studio.finish(2 * S)
    (stem,) = (await studio.recording()).stems
    assert stem.blob is not None
    assert len(received(folder_of(studio.store).read(stem.blob))) == 100


async def test_a_database_that_is_away_costs_no_sound(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices wait while they can't be kept, and nothing else does."""
    await studio.open(a_stem())

    def away() -> None:
        raise StoreBusyError("the database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(studio.store, "write", away)
        studio.speak(1, 0, 21 * S)
        await studio.advance(21 * S)
        assert await studio.chunks() == []
    await studio.advance(22 * S)
    assert [chunk.at for chunk in await studio.chunks()] == [0, 10 * S]


async def test_a_stalled_disk_stops_no_other_write(studio: Studio) -> None:
    """A transaction that keeps slices never waits for a thread in which sound is written."""
    await studio.open(a_stem())
    studio.speak(1, 0, 11 * S)
    stalled = threading.Event()
    threads = studio.stems._threads
    begin = studio.store.write

    @asynccontextmanager
    async def begin_and_stall() -> AsyncIterator[Connection]:
        async with begin() as db:
            stalls = [threads.submit(stalled.wait) for _ in range(THREADS)]
            assert not all(stall.done() for stall in stalls)
            yield db

    studio.store.write = begin_and_stall  # type: ignore[method-assign]
    async with asyncio.timeout(60):
        await studio.advance(11 * S)
    stalled.set()
    assert len(await studio.chunks()) == 1


# ---- crashes


@pytest.mark.parametrize("torn", [0, 1, 100])
async def test_a_crash_costs_what_was_not_on_the_disk(studio: Studio, torn: int) -> None:
    """The file that a crash left is cut to its last whole page, the slices that are not kept yet are kept, and the stem
    is closed as lost where its sound ends. Recovering again changes nothing."""
    await studio.open(a_stem())
    at = 0
    for second in range(1, 18):
        at = studio.speak(1, at, second * S)
        await studio.advance(second * S)
    studio.speak(1, at, 20 * S)  # not written
    await studio.crash()
    if torn:
        with file_of(studio, 1).open("ab") as file:
            file.write(b"OggS" + bytes(torn))
    await studio.stems.recover()
    await studio.stems.recover()
    (stem,) = (await studio.recording()).stems
    assert (stem.left, stem.left_by, stem.received, stem.lost) == (at, LeftBy.LOST, at, 0)
    assert stem.blob is not None
    whole = folder_of(studio.store).read(stem.blob)
    slices = await studio.chunks()
    assert [chunk.at for chunk in slices] == [0, 10 * S]
    assert [each for chunk in slices for each in received(studio.blob(chunk))] == received(whole)
    assert not studio.store.stems.recordings()


async def test_recovery_keeps_no_window_that_may_have_begun_behind_an_objection(studio: Studio) -> None:
    """The journal's place of a window that was in no row is not known: after an objection it is listed without its
    sound."""
    await studio.open(a_stem())
    studio.speak(1, 0, 11 * S)
    await studio.advance(11 * S)
    await studio.apply(Ended(EndedBy.SWITCHED_OFF, since=Position(4)))
    studio.speak(1, 11 * S, 18 * S)
    await studio.advance(18 * S)
    await studio.crash()
    await studio.stems.recover()
    first, second = await studio.chunks()
    assert (first.state, second.state, second.blob) == (ChunkState.STORED, ChunkState.REFUSED, None)
    (stem,) = (await studio.recording()).stems
    assert (stem.left_by, stem.blob) == (LeftBy.ENDED, None)


async def test_recovery_counts_pages_without_silence_as_they_are(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Received and lost sound is counted as the writer would have, and packets are read only of pages that hold
    silence: a call of hours has millions."""
    await studio.open(a_stem())
    studio.speak(1, 0, 30 * S)
    studio.call.put(1, packet(31 * S, 1, lost_before=960))
    studio.speak(1, 31 * S + 960, 40 * S)
    await studio.advance(40 * S)
    await studio.crash()
    read: list[OggPage] = []

    class Reader(PacketReader):
        def feed(self, page: OggPage) -> list[bytes]:
            read.append(page)
            return super().feed(page)

    monkeypatch.setattr(recovery, "PacketReader", Reader)
    await studio.stems.recover()
    (stem,) = (await studio.recording()).stems
    assert (stem.received, stem.lost, stem.left) == (39 * S, 960, 40 * S)
    assert 0 < len(read) <= 3


async def test_one_file_that_cannot_be_read_keeps_no_other_from_recovery(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that can't be read at the start stays for the next start. Its stem is closed where its slices end, so that
    its device can come back; the other stems are recovered."""
    for number in (1, 2):
        await studio.open(a_stem(number))
        studio.speak(number, 0, 12 * S)
    await studio.advance(12 * S)
    await studio.crash()
    cut = StemFiles.cut

    def broken(files: StemFiles, recording_id: RecordingId, number: int, *rest: Any) -> None:
        if number == 1:
            raise OSError(5, "Input/output error")
        cut(files, recording_id, number, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(StemFiles, "cut", broken)
        await studio.stems.recover()
    first, second = (await studio.recording()).stems
    assert (first.left, first.left_by, first.blob) == (10 * S, LeftBy.LOST, None)
    assert (second.left, second.blob is not None) == (12 * S, True)
    assert studio.store.stems.numbers(studio.recording_id) == [1]
    await studio.stems.recover()
    first, _ = (await studio.recording()).stems
    assert (first.left, first.received, first.blob is not None) == (12 * S, 12 * S, True)
    assert len(await studio.chunks(1)) == 2
    assert not studio.store.stems.recordings()


async def story(studio: Studio, given: dict[int, list[tuple[int, bytes]]], safe: dict[int, int]) -> None:
    """Two devices speak; one leaves, the other is there to the end. `given`: the packets of each, `safe`: how many of
    them are on the disk for certain."""
    await studio.open(a_stem(1))
    at = {1: 0, 2: 4 * S}
    for second in range(1, 15):
        if second == 4:
            await studio.open(a_stem(2, joined=4 * S, user_id=BOB))
        if second == 11:
            await studio.close(1, 10 * S + 500)
        for number in (1, 2):
            if (number == 1 and second > 10) or (number == 2 and second < 5):
                continue
            end = second * S
            given[number] += [(place, packet(place, place // 960).payload) for place in range(at[number], end, 960)]
            at[number] = studio.speak(number, at[number], end)
        counts = {number: len(each) for number, each in given.items()}
        await studio.advance(second * S)
        safe.update(counts)
    await studio.finish(14 * S)


class Deaths:
    """The process dies at the n-th step of what is done to files and rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.seen: list[str] = []
        for owner, name in (
            (GrowingFile, "add"), (StemFiles, "create"), (StemFiles, "remove"), (StemFiles, "cut"),
            (StemFiles, "remove_all"), (Folder, "add"), (Folder, "add_copy"),
        ):  # fmt: skip
            monkeypatch.setattr(owner, name, self._around(f"{owner.__name__}.{name}", getattr(owner, name)))

    def _step(self, what: str) -> None:
        self.seen.append(what)
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                raise Killed

    def _around(self, what: str, act: Any) -> Any:
        def acting(*args: Any, **kwargs: Any) -> Any:
            self._step(f"before {what}")
            done = act(*args, **kwargs)
            self._step(f"after {what}")
            return done

        return acting


async def outcome(studio: Studio, given: dict[int, list[tuple[int, bytes]]], safe: dict[int, int]) -> None:
    """Check that after a recovery nothing is doubled, and lost only what was not on the disk yet."""
    recording = await studio.recording()
    for stem in recording.stems:
        assert stem.left is not None
        assert stem.left_by is not None
        slices = await studio.chunks(stem.number)
        kept = [each for chunk in slices for each in received(studio.blob(chunk))]
        sent = [payload for _, payload in given[stem.number]]
        assert kept == sent[: len(kept)], "in their order, none twice"
        assert len(kept) >= safe.get(stem.number, 0), "what was on the disk is kept"
        assert stem.received == 960 * len(kept)
        assert stem.blob is not None
        whole = folder_of(studio.store).read(stem.blob)
        assert stem.bytes == len(whole)
        assert received(whole) == kept
        path = studio.store.directory / "whole.ogg"
        path.write_bytes(whole)
        assert stem.left == stem.joined + length_of_file(path) - (-(stem.left - stem.joined) % 120)
    assert not studio.store.stems.recordings()


async def test_killed_while_recovering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recovery that is killed on the way is done by the next one."""
    deaths = Deaths(monkeypatch)
    number = 1
    while True:
        given: dict[int, list[tuple[int, bytes]]] = {1: [], 2: []}
        safe: dict[int, int] = {}
        async with studio_in(tmp_path / str(number)) as studio:
            deaths.left = 60  # in the second window
            with pytest.raises(Killed):
                await story(studio, given, safe)
            deaths.left = number
            with suppress(Killed):
                await studio.stems.recover()
            survived, deaths.left = deaths.left > 0, None
            await studio.crash()
            await studio.stems.recover()
            await outcome(studio, given, safe)
        if survived:
            assert number > 6
            return
        number += 1 if EVERY == 1 else 5


async def test_the_trouble_of_one_stem_keeps_no_other_open(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file of one stem can't be written at the end, the others are whole, and what is on the disk of that one is
    recovered."""
    for number in (1, 2):
        await studio.open(a_stem(number, user_id=BOB if number == 2 else a_stem().user_id))
        studio.speak(number, 0, 2 * S)
    await studio.advance(2 * S)
    add, first = GrowingFile.add, studio.call._writers[1]._file

    def full(file: GrowingFile, data: bytes) -> None:
        if file is first:
            raise OSError(28, "No space left on device")
        add(file, data)

    monkeypatch.setattr(GrowingFile, "add", full)
    with pytest.raises(OSError, match="space"):
        await studio.finish(3 * S)
    ann, bob = (await studio.recording()).stems
    assert (ann.left, bob.left, bob.left_by) == (None, 3 * S, LeftBy.ENDED)
    monkeypatch.setattr(GrowingFile, "add", add)
    await studio.crash()
    await studio.stems.recover()
    ann, bob = (await studio.recording()).stems
    assert (ann.left, ann.left_by, ann.received) == (100 * 960, LeftBy.LOST, 100 * 960)
    assert [len(await studio.chunks(number)) for number in (1, 2)] == [1, 1]


@pytest.mark.parametrize("after_commit", [False, True])
async def test_killed_at_any_write_of_rows(tmp_path: Path, after_commit: bool) -> None:
    """Killed at every other transaction, before or after its commit, recovery leaves each packet once; with
    AIRCHECK_KILL_POINTS=all, at each."""
    number = 1
    while True:
        given: dict[int, list[tuple[int, bytes]]] = {1: [], 2: []}
        safe: dict[int, int] = {}
        async with studio_in(tmp_path / str(number), Mortal) as studio:
            store = studio.store
            assert isinstance(store, Mortal)
            store.die_at(number, after_commit=after_commit)
            with suppress(Killed):
                await story(studio, given, safe)
            survived = (store.left or 0) > 0
            await studio.crash()
            await studio.stems.recover()
            if number > 2:
                await outcome(studio, given, safe)
        if survived:
            assert number > 6
            return
        number += 1 if EVERY == 1 else 2


async def test_killed_at_any_step_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before or after a thing that is done to files, recovery leaves each packet once; with
    AIRCHECK_KILL_POINTS=all, at each."""
    deaths = Deaths(monkeypatch)
    async with studio_in(tmp_path / "undisturbed") as studio:
        await story(studio, {1: [], 2: []}, {})
    steps = len(deaths.seen)
    assert steps > 60
    for number in range(1, steps + 1, 1 if EVERY == 1 else 13):
        given: dict[int, list[tuple[int, bytes]]] = {1: [], 2: []}
        safe: dict[int, int] = {}
        async with studio_in(tmp_path / str(number)) as studio:
            deaths.left = number
            with pytest.raises(Killed):
                await story(studio, given, safe)
            deaths.left = None
            await studio.crash()
            await studio.stems.recover()
            await outcome(studio, given, safe)
