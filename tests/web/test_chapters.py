"""Chapters and waveforms over HTTP and on the page."""

import base64
import json
import re

import pytest
from aiohttp import ClientSession

from bot.web.waveforms import BARS, HEIGHT, svg_path
from storage import tracks
from storage.records import (
    ChunkState,
    Container,
    Cut,
    DurationMs,
    Mark,
    Recording,
    RecordingState,
    Room,
    Samples,
    Track,
    Visibility,
    to_samples,
)
from tests.web.world import ALICE, World

MARKS = (Mark(DurationMs(0), "Soup"), Mark(DurationMs(61_500), "1 min missing"), Mark(DurationMs(121_500), "Resumed"))


@pytest.fixture
async def room(world: World) -> Room:
    return await world.room(visibility=Visibility.PUBLIC)


async def both_families(world: World, room: Room) -> tuple[str, str]:
    await world.member(room, ALICE)
    return f"/r/{room.key}/", f"/p/{await world.listener(room, ALICE)}/"


async def test_chapters_lie_beside_the_audio(world: World, client: ClientSession, room: Room) -> None:
    """Both families serve chapters with their type and tag, and feeds name their address."""
    recording = await world.recording(room, title="Soup")
    await world.episode(recording, chapters=MARKS)
    for root in await both_families(world, room):
        address = f"{root}{recording.code}.chapters.json"
        async with client.get(address) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "application/json+chapters"
            open_to_all = root.startswith("/r/")
            assert (answer.headers.get("Access-Control-Allow-Origin") == "*") is open_to_all
            assert json.loads(await answer.read()) == {
                "version": "1.2.0",
                "title": "Soup",
                "chapters": [
                    {"startTime": 0.0, "title": "Soup"},
                    {"startTime": 61.5, "title": "1 min missing"},
                    {"startTime": 121.5, "title": "Resumed"},
                ],
            }
            tag = answer.headers["ETag"]
        async with client.get(address, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
        async with client.get(f"{root}feed.xml", headers={"Accept-Encoding": "identity"}) as answer:
            assert f"{world.server.address}{address}" in (await answer.read()).decode()


async def test_what_may_not_be_heard_has_no_chapters(world: World, client: ClientSession, room: Room) -> None:
    """Chapters of what is closed, missing, without audio or without chapters are all the same 404."""
    hidden = await world.recording(room, public=False)
    await world.episode(hidden, b"1", chapters=MARKS)
    plain = await world.recording(room)
    await world.episode(plain, b"2")
    redacted = await world.recording(room)
    await world.chunk(redacted, 1, ChunkState.REDACTED)
    await world.episode(redacted, b"3", chapters=MARKS)
    running = await world.recording(room, state=RecordingState.LIVE)
    for code in (hidden.code, plain.code, redacted.code, running.code, "zzzzzz", "..", "feed"):
        for name in ("chapters", "waveform"):
            async with client.get(f"/r/{room.key}/{code}.{name}.json") as answer:
                assert (answer.status, await answer.text()) == (404, "Not found\n"), code


async def test_the_page_lists_chapters_with_their_times(world: World, client: ClientSession, room: Room) -> None:
    """Each chapter links to its position in the audio; a page without chapters has no list."""
    recording = await world.recording(room)
    await world.episode(recording, b"1", chapters=MARKS)
    async with client.get(f"/r/{room.key}/{recording.code}") as answer:
        html = await answer.text()
    links = re.findall(r'<a href="(\S+)" data-seek="(\S+)" .*?<span class="clock">(\S+)</span> <bdi>(.*?)</bdi>', html)
    assert links == [
        (f"{recording.code}.mp3#t=0.0", "0.0", "0:00", "Soup"),
        (f"{recording.code}.mp3#t=61.5", "61.5", "1:01", "1 min missing"),
        (f"{recording.code}.mp3#t=121.5", "121.5", "2:01", "Resumed"),
    ]
    plain = await world.recording(room)
    await world.episode(plain, b"2")
    async with client.get(f"/r/{room.key}/{plain.code}") as answer:
        assert "data-seek" not in await answer.text()


# ---- the picture of the sound


async def heard(world: World, recording: Recording, *pieces: tuple[int, bytes | None]) -> None:
    """Store the pieces of a track with their peaks, each so many seconds long."""
    async with world.store.write() as db:
        await tracks.save(db, Track(recording.id, 1, 64, None, None, 0))
        cuts = [
            Cut(index, f"{index:064}", to_samples(seconds * 1000), None, Container.UNKNOWN, continues=False)
            for index, (seconds, _) in enumerate(pieces)
        ]
        await tracks.add_cuts(db, recording.id, cuts)
        known = [(cut, peaks) for cut, (_, peaks) in zip(cuts, pieces, strict=True) if peaks is not None]
        await tracks.decide(db, recording.id, known)


async def test_the_sound_has_a_picture_in_both_forms(world: World, client: ClientSession, room: Room) -> None:
    """The JSON holds the numbers of MSC3246 and bars from the same peaks; a piece without peaks is silence."""
    recording = await world.recording(room)
    await heard(world, recording, (40, b"\x80" * 4000), (20, None), (40, b"\x40" * 4000))
    await world.episode(recording, samples=Samples(to_samples(100_000)))
    for root in await both_families(world, room):
        address = f"{root}{recording.code}.waveform.json"
        async with client.get(address) as answer:
            assert answer.status == 200
            found = json.loads(await answer.read())
            tag = answer.headers["ETag"]
        assert found["duration_ms"] == 100_000
        assert found["waveform"] == [1024] * 40 + [0] * 20 + [512] * 40
        bars = base64.b64decode(found["bars"])
        assert (len(bars), bars[0], bars[200], bars[-1]) == (400, 255, 0, 128)
        async with client.head(address, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304


async def test_the_page_draws_it(world: World, client: ClientSession, room: Room) -> None:
    """The page draws the waveform without a script; an episode without peaks has none."""
    recording = await world.recording(room)
    await heard(world, recording, (184, b"\xff" * 18_400))
    await world.episode(recording, b"1")
    async with client.get(f"/r/{room.key}/{recording.code}") as answer:
        html = await answer.text()
    assert f'<path d="{svg_path(bytes([255]) * BARS)}"/>' in html
    assert 'data-seconds="184.0"' in html
    plain = await world.recording(room)
    await world.episode(plain, b"2")
    async with client.get(f"/r/{room.key}/{plain.code}") as answer:
        html = await answer.text()
    assert 'class="wave' not in html
    assert "<audio" in html


def test_bars_stand_around_the_middle() -> None:
    """Bars are centred; a full one has full height, and silence is a dot."""
    assert svg_path(bytes([255, 0, 128])) == f"M0.5 0v{HEIGHT}M1.5 19.5v1M2.5 10v20"
