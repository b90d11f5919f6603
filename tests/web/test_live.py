"""Live listening: the playlist over time, its segments, and access to them."""

import asyncio
import io
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession
from mutagen.id3 import ID3
from yarl import URL

from bot.audio.grid import SEGMENT_FRAMES as FRAMES
from bot.web import respond
from bot.web.server import WebServer
from storage import archive, rooms, tracks
from storage.database import Connection
from storage.place import Place
from storage.records import ChunkState, RecordingId, RecordingState, Visibility
from storage.store import Store
from tests.web.on_the_air import FRAME_BYTES, SEGMENT_BYTES, broadcast
from tests.web.reader import page
from tests.web.world import ALICE, World
from tests.world import find_ffmpeg

TAG_BYTES = 73
PLAIN = {"Accept-Encoding": "identity"}


async def listed(client: ClientSession, address: str) -> list[str]:
    """Return the segments of a playlist; none while there is no playlist."""
    async with client.get(address, headers=PLAIN) as answer:
        if answer.status == 404:
            return []
        assert answer.status == 200
        return re.findall(r"^[^#\n]+$", await answer.text(), re.MULTILINE)


async def got(client: ClientSession, address: str, status: int = 200) -> bytes:
    async with client.get(address, headers=PLAIN) as answer:
        assert answer.status == status, address
        return await answer.read()


async def test_the_playlist_grows_by_one_each_six_seconds(world: World, client: ClientSession) -> None:
    """A chunk's segments are listed one each six seconds, and never before they exist."""
    live, root = await broadcast(world)
    await live.speak(7 * FRAMES + 10)
    counts = []
    for _ in range(16):
        counts.append(len(await listed(client, f"{root}{live.recording.code}.m3u8")))
        world.clock.pass_by(3)
    assert counts == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 7, 7]


async def test_a_track_is_checked_once_while_it_stays_the_same(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other writes do not have all windows of a call read again; a redaction does."""
    live, root = await broadcast(world)
    await live.speak(2 * FRAMES)
    holds, read = tracks.holds, list[RecordingId]()

    async def counted(db: Connection, recording_id: RecordingId) -> bool:
        read.append(recording_id)
        return await holds(db, recording_id)

    monkeypatch.setattr(tracks, "holds", counted)
    for _ in range(3):
        await world.room()
        assert await listed(client, f"{root}{live.recording.code}.m3u8")
    assert len(read) == 1
    async with world.store.write() as db:
        (chunk,) = await archive.chunks(db, live.recording.id)
        await archive.save_chunks(db, [replace(chunk, state=ChunkState.REDACTED, blob=None)])
    assert not await listed(client, f"{root}{live.recording.code}.m3u8")
    assert len(read) == 2


async def test_a_late_chunk_moves_what_follows(world: World, client: ClientSession) -> None:
    """After a pause the next segment is listed with its chunk, then one each six seconds."""
    live, root = await broadcast(world)
    address = f"{root}{live.recording.code}.m3u8"
    await live.speak(5 * FRAMES)
    world.clock.pass_by(40)
    assert len(await listed(client, address)) == 5
    await live.speak(5 * FRAMES)
    assert len(await listed(client, address)) == 6
    world.clock.pass_by(5.9)
    assert len(await listed(client, address)) == 6
    world.clock.pass_by(0.1)
    assert len(await listed(client, address)) == 7


async def test_all_segments_together_are_the_episode(world: World, client: ClientSession) -> None:
    """The frames of all segments are those of the episode's file, byte for byte."""
    live, root = await broadcast(world)
    address = f"{root}{live.recording.code}.m3u8"
    heard = b""
    for frames in (300, 290, 610, 1, 199, 333):
        await live.speak(frames)
        world.clock.pass_by(frames * 0.024)
        for name in (await listed(client, address))[len(heard) // (FRAMES * FRAME_BYTES) :]:
            heard += (await got(client, root + name))[TAG_BYTES:]
    assert len(heard) == 6 * FRAMES * FRAME_BYTES
    file = await live.end(b"\xff" * 4 * FRAME_BYTES)
    names = await listed(client, address)
    for name in names[6:]:
        heard += (await got(client, root + name))[TAG_BYTES:]
    assert file.endswith(heard)
    assert len(heard) == len(live.sound)
    # And from the beginning, out of the episode's file alone.
    again = b"".join([(await got(client, root + name))[TAG_BYTES:] for name in names])
    assert again == heard


async def test_the_end(world: World, client: ClientSession) -> None:
    """Once the episode exists all segments are listed and the playlist ends."""
    live, root = await broadcast(world)
    await live.speak(10 * FRAMES)
    await live.end(b"\0" * 25 * FRAME_BYTES)
    text = (await got(client, f"{root}{live.recording.code}.m3u8")).decode()
    assert text.count("#EXTINF:6.00000,") == 10
    assert text.endswith(f"#EXTINF:0.60000,\n{live.recording.code}-0-10.mp3\n#EXT-X-ENDLIST\n")


async def test_no_end_before_the_episode_is_there(world: World, client: ClientSession) -> None:
    """While late chunks are awaited and the episode is made, the playlist grows and does not end."""
    live, root = await broadcast(world)
    await live.speak(10 * FRAMES)
    for state in (RecordingState.FINISHING, RecordingState.COMPLETE):
        await world.save(replace(live.recording, state=state))
        world.clock.pass_by(20)
        text = (await got(client, f"{root}{live.recording.code}.m3u8")).decode()
        assert "ENDLIST" not in text
    assert text.count("#EXTINF") == 7


async def test_an_episode_that_heals_has_no_end(world: World, client: ClientSession) -> None:
    """While an episode heals its playlist does not end."""
    live, root = await broadcast(world)
    await live.speak(10 * FRAMES)
    await live.end()
    address = f"{root}{live.recording.code}.m3u8"
    assert b"ENDLIST" in await got(client, address)
    async with world.store.write() as db:
        (place,) = await tracks.extents(db, live.recording.id)
        await tracks.replace_extents(db, live.recording.id, [replace(place, frames=6 * FRAMES)])
    await live.change()
    world.clock.pass_by(90)
    text = (await got(client, address)).decode()
    assert text.count("#EXTINF:6.00000,") == 6
    assert "ENDLIST" not in text


async def test_a_segment_says_when_it_begins(world: World, client: ClientSession) -> None:
    """A segment begins with its time on a 90 kHz clock, then come its frames."""
    live, root = await broadcast(world)
    await live.speak(5 * FRAMES)
    world.clock.pass_by(60)
    body = await got(client, f"{root}{live.recording.code}-0-3.mp3")
    (frame,) = ID3(io.BytesIO(body)).getall("PRIV")
    assert int.from_bytes(frame.data, "big") == 3 * 6 * 90_000
    assert body[TAG_BYTES:] == live.sound[3 * FRAMES * FRAME_BYTES : 4 * FRAMES * FRAME_BYTES]


async def test_what_is_not_listed_is_not_there(world: World, client: ClientSession) -> None:
    """A segment before its time, behind the end or with an unknown name is 404."""
    live, root = await broadcast(world)
    await live.speak(6 * FRAMES)
    world.clock.pass_by(24)
    code = live.recording.code
    await got(client, f"{root}{code}-0-4.mp3")
    for name in (f"{code}-0-5.mp3", f"{code}-0-6.mp3", f"{code}-1-0.mp3", f"{code}-0-00.mp3", f"{code}-0--1.mp3",
                 f"{code}-0-9999999999.mp3", f"{code}.m3u", "zzzzzz.m3u8", "zzzzzz-live.mp3"):  # fmt: skip
        await got(client, root + name, 404)


async def test_headers(world: World, client: ClientSession) -> None:
    """Playlist and segments have their types, must be revalidated, and support 304, ranges and gzip."""
    live, root = await broadcast(world)
    await live.speak(6 * FRAMES)
    world.clock.pass_by(24)
    for name, kind in (("{}.m3u8", "application/vnd.apple.mpegurl"), ("{}-0-0.mp3", "audio/mpeg")):
        address = root + name.format(live.recording.code)
        async with client.get(address) as answer:
            assert answer.content_type == kind
            assert answer.headers["Cache-Control"] == "public, no-cache"
            tag = answer.headers["ETag"]
        async with client.get(address, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
        async with client.get(address, headers={"Range": "bytes=0-2", "Accept-Encoding": "identity"}) as answer:
            assert (answer.status, await answer.read()) == (206, b"#EX" if "m3u8" in name else b"ID3")
    async with client.get(f"{root}{live.recording.code}.m3u8", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"


async def test_other_frames_have_other_addresses(world: World, client: ClientSession) -> None:
    """When frames were made again, old segment names end and the playlist has new ones."""
    live, root = await broadcast(world)
    await live.speak(6 * FRAMES)
    world.clock.pass_by(24)
    (old, *_) = await listed(client, f"{root}{live.recording.code}.m3u8")
    await live.change()
    await got(client, root + old, 404)
    (new, *_) = await listed(client, f"{root}{live.recording.code}.m3u8")
    assert new == old.replace("-0-", "-1-")
    await got(client, root + new)


async def test_redacted_sound_is_not_heard_from_then_on(world: World, client: ClientSession) -> None:
    """From a redaction until the frames are made again nothing of the broadcast is served."""
    live, root = await broadcast(world)
    await live.speak(6 * FRAMES)
    await live.speak(6 * FRAMES)
    world.clock.pass_by(60)
    names = [f"{live.recording.code}.m3u8", f"{live.recording.code}-0-0.mp3", f"{live.recording.code}-0-7.mp3"]
    for name in names:
        await got(client, root + name)
    await live.redact(2)
    for name in names:
        await got(client, root + name, 404)


async def test_who_leaves_hears_no_more(world: World, client: ClientSession) -> None:
    """Live listening at a personal address ends with the membership."""
    live, _ = await broadcast(world, Visibility.PRIVATE)
    async with world.store.read() as db:
        room = await rooms.room(db, live.recording.room_id)
    assert room is not None
    await world.member(room, ALICE)
    root = f"/p/{await world.listener(room, ALICE)}/"
    await live.speak(6 * FRAMES)
    world.clock.pass_by(24)
    names = [f"{live.recording.code}.m3u8", f"{live.recording.code}-0-0.mp3"]
    for name in names:
        async with client.get(root + name) as answer:
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == "private, no-cache"
        await got(client, f"/r/{room.key}/{name}", 404)
    await world.member(room, ALICE, "ban")
    for name in names:
        await got(client, root + name, 404)


async def test_a_restart_changes_nothing(world: World, client: ClientSession, tmp_path: Path) -> None:
    """Another process over the same store has the same playlist at the same time."""
    live, root = await broadcast(world)
    await live.speak(20 * FRAMES)
    world.clock.pass_by(50)
    address = f"{root}{live.recording.code}.m3u8"
    before = await got(client, address)
    store = await Store.look(Place(world.store.directory))
    server = WebServer(store, world.settings, lambda: True, clock=world.clock)
    await server.start()
    try:
        async with ClientSession(f"http://127.0.0.1:{server.port}") as other:
            assert await got(other, address) == before
    finally:
        await server.stop()
        await store.close()


async def test_ffmpeg_plays_it(world: World, client: ClientSession, tmp_path: Path) -> None:
    """ffmpeg reads playlist and segments and decodes every frame."""
    ffmpeg = find_ffmpeg().exe
    made = await _run(ffmpeg, "-f", "lavfi", "-i", "sine=frequency=300:sample_rate=48000:duration=20", "-c:a",
                      "libmp3lame", "-b:a", "64k", "-reservoir", "0", "-write_xing", "0", "-id3v2_version", "0",
                      "-f", "mp3", "-")  # fmt: skip
    frames = len(made) // FRAME_BYTES
    live, root = await broadcast(world)
    await live.speak(frames, made[: frames * FRAME_BYTES])
    await live.end()
    address = f"http://127.0.0.1:{world.server.port}{root}{live.recording.code}.m3u8"
    pcm = await _run(ffmpeg, "-v", "error", "-i", address, "-f", "s16le", "-")
    assert len(pcm) // 2 == frames * 1152


async def _run(*command: str) -> bytes:
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_the_pages_play_it(world: World, client: ClientSession) -> None:
    """The pages of the room and the recording have the live mark, a player that needs no script, and one script; hls.js
    is loaded when somebody presses play."""
    live, root = await broadcast(world)
    code = live.recording.code
    for address in (root, root + code):
        found = await page(client, address)
        assert "About to begin Alice" in " ".join(found.text.split())
        assert f"{code}-live.mp3" in found.addresses
        assert f"{code}.m3u8" in found.addresses
        scripts = [one for one in found.addresses if one.endswith(".js")]
        assert [re.sub("-[0-9a-f]{12}", "", one) for one in scripts] == ["../../static/page.js"]
        async with client.get(address) as answer:
            policy = answer.headers["Content-Security-Policy"]
            (hls,) = re.findall(r'data-hls="\.\./\.\.(\S+)"', await answer.text())
        for script in (*(one.removeprefix("../..") for one in scripts), hls):
            await got(client, script)
        assert "connect-src 'self'; media-src 'self' blob:;" in policy
        assert "script-src 'self';" in policy


async def test_the_page_leads_to_the_sound(world: World, client: ClientSession) -> None:
    """The links of a public or personal page lead to the playlist and its segments without a script."""
    live, root = await broadcast(world)
    async with world.store.read() as db:
        room = await rooms.room(db, live.recording.room_id)
    assert room is not None
    await world.member(room, ALICE)
    await live.speak(6 * FRAMES)
    world.clock.pass_by(30)
    for base in (root, f"/p/{await world.listener(room, ALICE)}/"):
        for address in (base, base + live.recording.code):
            (link,) = [one for one in (await page(client, address)).addresses if one.endswith(".m3u8")]
            here = URL(address)
            names = await listed(client, str(here.join(URL(link))))
            for number, name in enumerate(names):
                body = await got(client, str(here.join(URL(link)).join(URL(name))))
                assert body[TAG_BYTES:] == live.sound[number * SEGMENT_BYTES : (number + 1) * SEGMENT_BYTES]
            assert len(names) == 6


async def test_before_the_first_sound_the_playlist_asks_to_come_again(world: World, client: ClientSession) -> None:
    """A playlist without segments is 404 with Retry-After, for players give up on an empty one."""
    live, root = await broadcast(world)
    address = f"{root}{live.recording.code}.m3u8"
    for frames in (FRAMES - 1, 0):
        async with client.get(address) as answer:
            assert (answer.status, await answer.text()) == (404, "Not yet\n")
            assert answer.headers["Retry-After"] == "6"
            assert answer.headers["Cache-Control"] == "no-store"
        if frames:
            await live.speak(frames)
    await got(client, f"{root}{live.recording.code}-0-0.mp3", 404)
    await got(client, f"{root}zzzzzz.m3u8", 404)
    await live.speak(1)
    assert len(await listed(client, address)) == 1


async def test_the_playlist_says_when_to_begin(world: World, client: ClientSession) -> None:
    """The playlist has Retry-After until four segments were due, and never after the end."""
    live, root = await broadcast(world)
    address = f"{root}{live.recording.code}.m3u8"
    await live.speak(2 * FRAMES)
    asks = []
    for seconds in (17, 1, 3600):
        async with client.head(address) as answer:
            asks.append((answer.status, answer.headers.get("Retry-After")))
        world.clock.pass_by(seconds)
    await live.end()
    async with client.head(address) as answer:
        asks.append((answer.status, answer.headers.get("Retry-After")))
    assert asks == [(200, "6"), (200, "6"), (200, None), (200, None)]


async def test_who_only_looks_does_not_listen(world: World, client: ClientSession) -> None:
    """HEAD requests do not count as listening, so that a late chunk still takes its place."""
    live, root = await broadcast(world)
    await live.speak(6 * FRAMES)
    names = [f"{live.recording.code}.m3u8", f"{live.recording.code}-live.mp3", f"{live.recording.code}-0-0.mp3"]
    for name in names:
        async with client.head(root + name) as answer:
            assert answer.status == 200
    assert not world.server.listening.is_listened(live.recording.id)
    await got(client, root + names[0])
    assert world.server.listening.is_listened(live.recording.id)


@pytest.mark.parametrize("past", [False, True])
async def test_the_first_sound_is_waited_for_after_the_end_too(past: bool, world: World, client: ClientSession) -> None:
    """A broadcast that ended before its first chunk came is still live; a recorded past one is not."""
    live, root = await broadcast(world)
    await world.save(replace(live.recording, state=RecordingState.FINISHING, past=past))
    async with client.get(f"{root}{live.recording.code}.m3u8") as answer:
        assert (answer.status, await answer.text()) == (404, "Not found\n" if past else "Not yet\n")
    async with client.head(f"{root}{live.recording.code}-live.mp3") as answer:
        assert answer.status == (404 if past else 200)


async def test_the_playlist_only_grows_to_its_end(world: World, client: ClientSession) -> None:
    """Every version of the playlist begins with all of the one before (RFC 8216, 6.2.1)."""
    live, root = await broadcast(world)
    address = f"{root}{live.recording.code}.m3u8"
    await live.speak(6 * FRAMES)
    world.clock.pass_by(18)
    before = await got(client, address)
    for frames in (5 * FRAMES, 800, 9 * FRAMES):
        await live.speak(frames)
        for _ in range(6):
            world.clock.pass_by(7)
            now = await got(client, address)
            assert now.startswith(before)
            before = now
    await live.end(b"\xff" * 40 * FRAME_BYTES)
    now = await got(client, address)
    assert now.startswith(before)
    assert now.endswith(b"#EXT-X-ENDLIST\n")


async def test_the_page_says_that_it_ended(world: World, client: ClientSession) -> None:
    """A page says that a broadcast has just ended; with the episode it needs no live scripts."""
    live, root = await broadcast(world)
    await live.speak(6 * FRAMES)
    await world.save(replace(live.recording, state=RecordingState.FINISHING))
    assert "Just ended Alice" in " ".join((await page(client, root)).text.split())
    await live.end()
    for address in (root, root + live.recording.code):
        found = await page(client, address)
        assert "Live since" not in found.text
        assert "Just ended" not in found.text
        assert not [one for one in found.addresses if "hls" in one]
        assert f"{live.recording.code}.mp3" in found.addresses
        async with client.get(address) as answer:
            assert answer.headers["Content-Security-Policy"] == respond.PAGE["Content-Security-Policy"]


async def test_it_is_on_the_air_until_the_episode_is_there(world: World, client: ClientSession) -> None:
    """Pages keep the live player until the episode exists; a recording without audio has none."""
    live, root = await broadcast(world)
    for state in (RecordingState.COMPLETE, RecordingState.INCOMPLETE):
        await world.save(replace(live.recording, state=state))
        assert "Just ended" not in (await page(client, root)).text
        async with client.get(root + live.recording.code) as answer:
            assert answer.status == 404
    await live.speak(6 * FRAMES)
    for address in (root, root + live.recording.code):
        found = await page(client, address)
        assert "Just ended Alice" in " ".join(found.text.split())
        assert found.addresses.count(f"{live.recording.code}.m3u8") == 1
    await live.end()
    for address in (root, root + live.recording.code):
        found = await page(client, address)
        assert "Just ended" not in found.text
        assert f"{live.recording.code}.mp3" in found.addresses


async def test_what_heals_is_not_on_the_air(world: World, client: ClientSession) -> None:
    """An episode that heals and a recorded past broadcast are not called live."""
    live, root = await broadcast(world)
    await live.speak(6 * FRAMES)
    await live.end()
    await world.save(replace(live.recording, state=RecordingState.FINISHING))
    old, old_root = await broadcast(world)
    await world.save(replace(old.recording, state=RecordingState.FINISHING, past=True))
    for address in (root, old_root):
        assert "Just ended" not in (await page(client, address)).text
