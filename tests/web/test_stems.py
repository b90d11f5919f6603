"""Downloads of the stems of a call."""

import asyncio
import io
import zipfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bot.audio.ogg import read_pages
from bot.calls.stems.stream import StemStream
from bot.feeds.stems import whole_stems
from bot.web import files, stem_downloads
from storage.records import (
    SAMPLE_RATE,
    BlobKey,
    CallProtocol,
    LeftBy,
    Position,
    Recording,
    RecordingKind,
    Room,
    Samples,
    Stem,
    Turn,
    UserId,
    Visibility,
)
from tests.blobs import add_bytes, folder_of
from tests.calls.stems import packets
from tests.web.world import ALICE, BOB, World, world_of

S = SAMPLE_RATE


def a_stem(world: World, number: int, user: UserId, name: str | None, joined: int, left: int) -> Stem:
    """Store a stem's file and return its row."""
    stream = StemStream(Samples(joined), number)
    for packet in packets(joined, left):
        stream.put(packet)
    stream.finish(Samples(left))
    data = stream.take()
    blob = BlobKey(sha256(data).hexdigest())
    add_bytes(world.store, data, blob)
    return Stem(
        number=number,
        user_id=user,
        device_id="DEV",
        name=name,
        joined=Samples(joined),
        position=Position(1),
        serial=number,
        left=Samples(left),
        left_by=LeftBy.LEFT,
        received=Samples(stream.received),
        blob=blob,
        bytes=len(data),
    )


async def a_call(world: World, room: Room | None = None, *, public: bool = True) -> tuple[Room, Recording]:
    """Make a call of Ann, Bob and somebody whose name is an MXID, with its episode; Ann speaks twice."""
    room = room or await world.room(visibility=Visibility.PUBLIC if public else Visibility.PRIVATE)
    stems = (
        a_stem(world, 1, ALICE, "Ann/Äh", 0, 9 * S),
        a_stem(world, 2, BOB, "Bob", 4 * S, 12 * S),
        a_stem(world, 3, UserId("@cid:hs"), "@cid:hs.example", 6 * S, 7 * S),
    )
    turns = (Turn(ALICE, "Ann/Äh", Samples(S), Samples(3 * S)), Turn(BOB, "Bob", Samples(5 * S), Samples(2 * S)))
    about = {"kind": RecordingKind.CALL, "protocol": CallProtocol.MSC3401, "stems": stems, "turns": turns}
    recording = await world.recording(room, **about)
    await world.episode(recording)
    return room, recording


async def test_a_stem_is_a_file_with_ranges(world: World, client: ClientSession) -> None:
    """Each stem can be downloaded as it is, whole or in ranges, under its speaker's name; there is none of another
    number."""
    room, recording = await a_call(world)
    address = f"/r/{room.key}/{recording.code}.stem-2.ogg"
    blob = recording.stems[1].blob
    assert blob is not None
    data = folder_of(world.store).read(blob)
    async with client.get(address) as answer:
        assert (answer.status, await answer.read()) == (200, data)
        assert answer.headers["Content-Type"] == "audio/ogg"
        assert answer.headers["ETag"] == f'"{blob}"'
        assert f'attachment; filename="{recording.code}-2.ogg"' in answer.headers["Content-Disposition"]
        assert "02%20Bob.ogg" in answer.headers["Content-Disposition"]
    async with client.get(address, headers={"Range": "bytes=5-9"}) as answer:
        assert (answer.status, await answer.read()) == (206, data[5:10])
    async with client.get(address, headers={"If-None-Match": f'"{blob}"'}) as answer:
        assert answer.status == 304
    for other in ("stem-4.ogg", "stem-0.ogg", "stem-.ogg", "stems.ogg", "stem-2.mp3"):
        async with client.get(f"/r/{room.key}/{recording.code}.{other}") as answer:
            assert answer.status == 404


async def test_a_zip_has_a_file_for_each_and_labels(world: World, client: ClientSession) -> None:
    """The files of the zip all begin with the call and are named after their speakers, without any MXID; the labels are
    the turns of speech and who joined and left."""
    room, recording = await a_call(world)
    async with client.get(f"/r/{room.key}/{recording.code}.stems.zip") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/zip"
        assert f"{recording.code}-stems.zip" in answer.headers["Content-Disposition"]
        archive = zipfile.ZipFile(io.BytesIO(await answer.read()))
    assert archive.testzip() is None
    assert archive.namelist() == ["labels.txt", "01 Ann-Äh.ogg", "02 Bob.ogg", "03 Somebody.ogg"]
    for name, stem in zip(archive.namelist()[1:], recording.stems, strict=True):
        *_, last = read_pages(io.BytesIO(archive.read(name)))
        assert stem.left is not None
        assert last.granule - stem.left in range(120)  # in front of the sound, dropped by its pre-skip
    assert archive.read("labels.txt").decode() == (
        "0.000000\t0.000000\tAnn/Äh joins\n"
        "1.000000\t4.000000\tAnn/Äh\n"
        "4.000000\t4.000000\tBob joins\n"
        "5.000000\t7.000000\tBob\n"
        "6.000000\t6.000000\tSomebody joins\n"
        "7.000000\t7.000000\tSomebody leaves\n"
        "9.000000\t9.000000\tAnn/Äh leaves\n"
        "12.000000\t12.000000\tBob leaves\n"
    )
    assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


async def test_a_matroska_file_has_a_track_for_each(world: World, client: ClientSession) -> None:
    """All stems come as one file with named tracks; HEAD has its headers alone."""
    room, recording = await a_call(world)
    address = f"/r/{room.key}/{recording.code}.stems.mka"
    async with client.head(address) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["Content-Type"] == "audio/x-matroska"
    async with client.get(address) as answer:
        made = await answer.read()
    assert made.startswith(b"\x1a\x45\xdf\xa3")
    assert made.count(b"A_OPUS") == 3
    assert all(name in made for name in ("Ann/Äh".encode(), b"Bob", b"Somebody"))
    assert b"@cid" not in made


async def test_a_stem_of_silence_is_offered_to_nobody(world: World) -> None:
    """Nothing was received from somebody who only listened."""
    _, recording = await a_call(world)
    ann, bob, cid = recording.stems
    stems = (ann, replace(bob, received=Samples(0)), cid)
    assert [stem.number for stem in whole_stems(replace(recording, stems=stems))] == [1, 3]


async def test_who_was_forgotten_is_in_no_download(world: World, client: ClientSession) -> None:
    """A stem that was taken out, or of which a part was, can't be downloaded and is neither in the files of all nor in
    their labels, nor on the page."""
    room, recording = await a_call(world)
    ann, bob, cid = recording.stems
    gone = (replace(ann, blob=None, bytes=None, name=None, removed=True), bob, replace(cid, blob=None, bytes=None))
    await world.save(replace(recording, stems=gone, turns=recording.turns[1:]))
    base = f"/r/{room.key}/{recording.code}"
    async with client.get(f"{base}.stem-1.ogg") as answer:
        assert answer.status == 404
    async with client.get(f"{base}.stems.zip") as answer:
        archive = zipfile.ZipFile(io.BytesIO(await answer.read()))
    assert archive.namelist() == ["labels.txt", "02 Bob.ogg"]
    assert b"Ann" not in archive.read("labels.txt")
    async with client.get(base) as answer:
        page = await answer.text()
    assert f"{recording.code}.stem-2.ogg" in page
    assert f"{recording.code}.stem-1.ogg" not in page
    assert "Ann" not in page


@pytest.mark.parametrize("what", ["stem-1.ogg", "stems.mka", "stems.zip"])
async def test_only_who_may_hear_the_episode_may_have_its_stems(world: World, client: ClientSession, what: str) -> None:
    """Stems of a private room are behind the personal address of a member who may hear the episode, and of nobody
    else; those of an episode that waits for approval are its speakers'."""
    room, recording = await a_call(world, public=False)
    token = await world.listener(room, BOB)
    await world.member(room, BOB)
    private = f"/p/{token}/{recording.code}.{what}"
    async with client.get(private) as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "private, no-cache"
    await world.save(replace(recording, unreviewed=True))
    async with client.get(private) as answer:
        assert answer.status == 404
    await world.save(recording)
    await world.member(room, BOB, "leave")
    for address in (private, f"/r/{room.key}/{recording.code}.{what}"):
        async with client.get(address) as answer:
            assert answer.status == 404


async def test_a_broadcast_has_no_stems(world: World, client: ClientSession) -> None:
    """Episodes of other kinds offer none."""
    room = await world.room(visibility=Visibility.PUBLIC)
    recording = await world.recording(room)
    await world.episode(recording)
    for what in ("stem-1.ogg", "stems.mka", "stems.zip"):
        async with client.get(f"/r/{room.key}/{recording.code}.{what}") as answer:
            assert answer.status == 404
    async with client.get(f"/r/{room.key}/{recording.code}") as answer:
        assert "stem" not in (await answer.text()).lower().replace("system", "")


async def test_a_download_ends_with_the_access(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download of all stems that runs when its address is closed is cut off; too many at once have to wait."""
    room, recording = await a_call(world)
    address = f"/r/{room.key}/{recording.code}.stems.zip"
    monkeypatch.setattr(files, "CHECK_EACH_S", 0.0)

    async def never(*_: object) -> bool:
        return False

    routes = world.server._rooms
    monkeypatch.setattr(routes, "_stems_still_allowed", never)
    with pytest.raises(Exception, match=r"(?i)payload|disconnected|closed|reset"):
        async with client.get(address) as answer:
            await answer.read()
    monkeypatch.setattr(stem_downloads, "MOST", 0)
    async with client.get(address) as answer:
        assert answer.status == 503


async def test_one_client_keeps_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client has two downloads of all stems at once; a third has to wait, and another client has not."""
    goes_on = asyncio.Event()

    async def slow(*_: object) -> AsyncGenerator[bytes, None]:
        yield b"begun"
        await goes_on.wait()

    monkeypatch.setattr(stem_downloads, "_in_threads", slow)
    async with world_of(tmp_path, web={"trusted_proxies": ["127.0.0.1"]}) as (world, client), AsyncExitStack() as stack:
        room, recording = await a_call(world)
        address = f"/r/{room.key}/{recording.code}.stems.zip"

        async def ask(forwarded: str) -> int:
            asked = client.get(address, headers={"X-Forwarded-For": forwarded})
            return (await stack.enter_async_context(asked)).status

        assert [await ask("8.8.8.8") for _ in range(3)] == [200, 200, 503]
        assert await ask("9.9.9.9") == 200
        goes_on.set()


@pytest.mark.parametrize("what", ["stems.mka", "stems.zip"])
async def test_a_cut_stem_is_in_no_download(world: World, client: ClientSession, what: str) -> None:
    """While the file of a stem is shorter than its row says there is no download of all stems, as there is none of that
    one: it would pass for the whole call."""
    room, recording = await a_call(world)
    stem = recording.stems[1]
    assert stem.blob is not None
    data = folder_of(world.store).read(stem.blob)
    folder_of(world.store).remove(stem.blob)
    add_bytes(world.store, data[:-1], stem.blob)
    async with client.get(f"/r/{room.key}/{recording.code}.{what}") as answer:
        assert answer.status == 404
