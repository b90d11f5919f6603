"""Episodes over HTTP, as podcast apps ask for them."""

from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime

import pytest
from aiohttp import ClientSession

from bot import orders
from storage import jobs
from storage.records import RecordingState, Visibility
from tests.blobs import folder_of
from tests.web.world import NOW, World

SHORT = bytes(range(256)) * 40
LONG = bytes(range(251)) * 8000  # about 2 MB: above what is read at once
MADE = NOW + timedelta(days=1)
DATE = format_datetime(MADE, usegmt=True)


async def published(world: World, audio: bytes = SHORT) -> tuple[str, str]:
    """Make a public episode; return its address and the quoted tag of its file."""
    room = await world.room(visibility=Visibility.PUBLIC)
    recording = await world.recording(room)
    episode = await world.episode(recording, audio)
    return f"/r/{room.key}/{recording.code}.mp3", f'"{episode.blob}"'


@pytest.mark.parametrize("audio", [SHORT, LONG], ids=["short", "long"])
async def test_whole_file(world: World, client: ClientSession, audio: bytes) -> None:
    """A GET without a range gives the whole file, with its name and type and what resuming needs."""
    address, tag = await published(world, audio)
    async with client.get(address) as answer:
        assert answer.status == 200
        assert await answer.read() == audio
        assert answer.headers["Content-Type"] == "audio/mpeg"
        assert answer.headers["Content-Length"] == str(len(audio))
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["ETag"] == tag
        assert answer.headers["Last-Modified"] == DATE
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("audio", [SHORT, LONG], ids=["short", "long"])
async def test_head_is_get_without_a_body(world: World, client: ClientSession, audio: bytes) -> None:
    """HEAD has the headers of GET, with the length (Apple refuses the feed otherwise)."""
    address, _ = await published(world, audio)
    async with client.get(address) as got, client.head(address) as head:
        assert head.status == 200
        assert await head.read() == b""
        kept = {name: value for name, value in head.headers.items() if name != "Date"}
        assert kept == {name: value for name, value in got.headers.items() if name != "Date"}


RANGES = {
    "first to last": ("bytes=10-19", 10, 20),
    "open": ("bytes=100-", 100, None),
    "suffix": ("bytes=-7", -7, None),
    "one byte": ("bytes=0-0", 0, 1),
    "last beyond the end": ("bytes=5-99999999", 5, None),
    "suffix longer than the file": ("bytes=-99999999", 0, None),
}


@pytest.mark.parametrize("case", RANGES)
@pytest.mark.parametrize("audio", [SHORT, LONG], ids=["short", "long"])
async def test_ranges(world: World, client: ClientSession, audio: bytes, case: str) -> None:
    """A range is answered with exactly its bytes, its type and its position."""
    asked, first, end = RANGES[case]
    address, _ = await published(world, audio)
    async with client.get(address, headers={"Range": asked}) as answer:
        body = await answer.read()
        assert answer.status == 206
        assert body == audio[first:end]
        start = first if first >= 0 else len(audio) + first
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(body) - 1}/{len(audio)}"
        assert answer.headers["Content-Type"] == "audio/mpeg"


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0", "bytes=9-3", "bytes=abc", "bytes=-"])
async def test_ranges_that_cannot_be(world: World, client: ClientSession, asked: str) -> None:
    """A range outside the file is 416 with the file's size and no body."""
    address, _ = await published(world)
    async with client.get(address, headers={"Range": asked}) as answer:
        assert answer.status == 416
        assert answer.headers["Content-Range"] == f"bytes */{len(SHORT)}"
        assert await answer.read() == b""


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2"])
async def test_ranges_that_are_ignored(world: World, client: ClientSession, asked: str) -> None:
    """Several ranges and unknown units are answered with the whole file."""
    address, _ = await published(world)
    async with client.get(address, headers={"Range": asked}) as answer:
        assert answer.status == 200
        assert await answer.read() == SHORT


async def test_resuming_the_same_file(world: World, client: ClientSession) -> None:
    """If-Range with the file's tag or date resumes the download."""
    address, tag = await published(world)
    for condition in (tag, DATE):
        async with client.get(address, headers={"Range": "bytes=10-", "If-Range": condition}) as answer:
            assert answer.status == 206
            assert await answer.read() == SHORT[10:]


@pytest.mark.parametrize(
    "condition", ['"another"', "W/{tag}", format_datetime(NOW, usegmt=True), "Thu, 01 Jan 2099 00:00:00 GMT", "junk"]
)
async def test_resuming_another_file(world: World, client: ClientSession, condition: str) -> None:
    """If-Range with any other tag or date gives the whole new file."""
    address, tag = await published(world)
    headers = {"Range": "bytes=10-", "If-Range": condition.format(tag=tag)}
    async with client.get(address, headers=headers) as answer:
        assert answer.status == 200
        assert await answer.read() == SHORT


async def test_healed_episode_keeps_its_address_and_changes_its_tag(world: World, client: ClientSession) -> None:
    """A healed episode keeps its address; resuming the old file gives the new one from its start."""
    room = await world.room(visibility=Visibility.PUBLIC)
    recording = await world.recording(room)
    before = await world.episode(recording, SHORT)
    address = f"/r/{room.key}/{recording.code}.mp3"
    async with client.get(address) as answer:
        assert await answer.read() == SHORT
    await world.episode(recording, LONG)
    async with client.get(address, headers={"Range": "bytes=10-", "If-Range": f'"{before.blob}"'}) as answer:
        assert answer.status == 200
        assert await answer.read() == LONG


@pytest.mark.parametrize(
    "headers",
    [
        {"If-None-Match": "{tag}"},
        {"If-None-Match": '"x", W/{tag}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": DATE},
    ],
)
async def test_known_file_is_not_sent_again(world: World, client: ClientSession, headers: dict[str, str]) -> None:
    """A client that has the file gets a 304 with its tag and no body."""
    address, tag = await published(world)
    filled = {name: value.format(tag=tag) for name, value in headers.items()}
    async with client.get(address, headers=filled) as answer:
        assert answer.status == 304
        assert answer.headers["ETag"] == tag
        assert await answer.read() == b""


async def test_tag_wins_over_date(world: World, client: ClientSession) -> None:
    """With a tag in the request the date is ignored."""
    address, _ = await published(world)
    headers = {"If-None-Match": '"other"', "If-Modified-Since": DATE}
    async with client.get(address, headers=headers) as answer:
        assert answer.status == 200


async def test_wanted_file_that_is_gone(world: World, client: ClientSession) -> None:
    """If-Match and If-Unmodified-Since fail with 412 for another file."""
    address, tag = await published(world)
    old = format_datetime(NOW, usegmt=True)
    expected = [({"If-Match": tag}, 200), ({"If-Match": '"x"'}, 412), ({"If-Unmodified-Since": old}, 412)]
    for headers, status in expected:
        async with client.get(address, headers=headers) as answer:
            assert answer.status == status


async def test_file_name_is_the_title(world: World, client: ClientSession) -> None:
    """A saved episode is named by its title, without characters that file systems refuse."""
    room = await world.room(visibility=Visibility.PUBLIC)
    recording = await world.recording(room, title='../Sopa "ñ"\r\nX-Evil: 1')
    await world.episode(recording)
    async with client.get(f"/r/{room.key}/{recording.code}.mp3") as answer:
        assert answer.headers["Content-Disposition"] == (
            f"inline; filename=\"{recording.code}.mp3\"; filename*=UTF-8''-Sopa%20-%C3%B1-%20X-Evil-%201.mp3"
        )
        assert "X-Evil" not in answer.headers


async def test_missing_file_is_a_short_404(world: World, client: ClientSession) -> None:
    """Audio whose file is missing is a 404 with a short body, for some apps save it as audio."""
    room = await world.room(visibility=Visibility.PUBLIC)
    recording = await world.recording(room)
    episode = await world.episode(recording)
    folder_of(world.store).remove(episode.blob)
    async with client.get(f"/r/{room.key}/{recording.code}.mp3") as answer:
        assert answer.status == 404
        assert len(await answer.read()) < 32


@pytest.mark.parametrize("audio", [SHORT, LONG], ids=["short", "long"])
async def test_cut_file_is_never_sent(
    world: World, client: ClientSession, audio: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of another length than its row is a short 404 for every kind of request, told once, until it is mended."""
    address, tag = await published(world, audio)
    path = next(folder_of(world.store).directory.glob(f"*/{tag.strip(chr(34))}"))
    async with client.get(address) as answer:  # it stays open between requests
        assert await answer.read() == audio
    for cut in (audio[:-1], audio + b"more", b""):
        path.write_bytes(cut)
        requests = [("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=0-9"}), ("GET", {"If-None-Match": tag})]
        for method, headers in requests:
            async with client.request(method, address, headers=headers) as answer:
                assert answer.status == 404
                assert len(await answer.read()) < 32
    assert caplog.text.count("has another length") == 1
    async with world.store.read() as db:
        assert len(await jobs.unfinished(db, orders.CheckEpisode.kind)) == 1
    path.write_bytes(audio)
    async with client.get(address) as answer:
        assert await answer.read() == audio


async def test_deleted_recording_is_gone_at_once(world: World, client: ClientSession) -> None:
    """A deleted recording's audio is closed with the next request, though its file is still open."""
    room = await world.room(visibility=Visibility.PUBLIC)
    recording = await world.recording(room)
    await world.episode(recording)
    address = f"/r/{room.key}/{recording.code}.mp3"
    async with client.get(address) as answer:
        assert answer.status == 200
    await world.save(replace(recording, state=RecordingState.DELETED))
    async with client.get(address) as answer:
        assert answer.status == 404
