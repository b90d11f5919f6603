"""The small file that open pages ask: what is on the air, and whether the page changed."""

import json
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession

from bot.audio.grid import SEGMENT_FRAMES as FRAMES
from bot.web.airing import Airings
from bot.web.library import Library
from storage import archive, rooms, tracks
from storage.records import (
    BlobKey,
    Container,
    Cut,
    EventId,
    Position,
    RecordingKind,
    RecordingState,
    Samples,
    Stem,
    StemPart,
    Track,
    UserId,
    Visibility,
    to_samples,
)
from tests.factories import a_chunk
from tests.web.on_the_air import broadcast
from tests.web.world import ALICE, World


async def now(client: ClientSession, root: str) -> dict[str, Any]:
    async with client.get(f"{root}now.json") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        said: dict[str, Any] = json.loads(await answer.read())
        return said


async def test_it_follows_a_broadcast_to_its_end(world: World, client: ClientSession) -> None:
    """A broadcast is pending before its first sound, then live, then ended, then gone; each step is a new page."""
    live, root = await broadcast(world)
    seen = [await now(client, root)]
    await live.speak(6 * FRAMES)
    seen.append(await now(client, root))
    await world.save(replace(live.recording, state=RecordingState.FINISHING))
    seen.append(await now(client, root))
    await live.end()
    seen.append(await now(client, root))
    assert [[each["state"] for each in said["live"]] for said in seen] == [["pending"], ["live"], ["ended"], []]
    assert len({said["page"] for said in seen}) == 4
    (told,) = seen[1]["live"]
    assert (told["speakers"], told["arrived_ms"], told["flows"]) == ("Alice", 36_000, True)


async def test_a_date_hides_no_change_of_it(world: World, client: ClientSession) -> None:
    """A broadcast goes on without a change of the room: a client that asks by a date gets the new file."""
    live, root = await broadcast(world)
    await live.speak(6 * FRAMES)
    files = (f"{root}now.json", "/now.json", f"{root}{live.recording.code}.m3u8")
    dates = []
    for file in files:
        async with client.get(file) as answer:
            dates.append(answer.headers.get("Last-Modified", formatdate(usegmt=True)))
    await live.speak(6 * FRAMES)
    for file, date in zip(files, dates, strict=True):
        async with client.get(file, headers={"If-Modified-Since": date}) as answer:
            assert answer.status == 200


async def test_it_is_cheap_to_ask_again(world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is 304 while nothing changes, and no row is read for it."""
    _live, root = await broadcast(world)
    async with client.get(f"{root}now.json") as answer:
        tag = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "public, no-cache"
    monkeypatch.setattr(world.store, "read", None)  # whatever reads a row now fails
    async with client.get(f"{root}now.json", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304


async def test_it_says_nothing_of_what_is_out_of_reach(world: World, client: ClientSession) -> None:
    """A private broadcast of a public room is not told to the public, but to a member; a closed address has no file."""
    live, root = await broadcast(world)
    await world.save(replace(live.recording, public=False))
    async with world.store.read() as db:
        room = await rooms.room(db, live.recording.room_id)
    assert room is not None
    await world.member(room, ALICE)
    own = f"/p/{await world.listener(room, ALICE)}/"
    assert (await now(client, root))["live"] == []
    assert len((await now(client, own))["live"]) == 1
    await world.change(room, visibility=Visibility.PRIVATE)
    await world.member(room, ALICE, "leave")
    for address in (root, own):
        async with client.get(f"{address}now.json") as answer:
            assert answer.status == 404


async def test_a_session_names_who_spoke_last(world: World, client: ClientSession) -> None:
    """A session's file says who is in it, who spoke last, and gives it no place in time; that somebody else speaks
    makes no new page."""
    room = await world.room(visibility=Visibility.PUBLIC)
    session = await world.session(room, "Ann", "Ben", state=RecordingState.LIVE, ended_by=None)
    before = await now(client, f"/r/{room.key}/")
    (told,) = before["live"]
    assert (told["code"], told["speakers"], told["flows"]) == (session.code, "Ann and Ben", False)
    assert told["speaking"] == "Ben"
    ann = a_chunk(
        event_id=EventId("$more"), recording_id=session.id, position=Position(99), sequence=None,
        sender=session.speakers[0].user_id, sender_name="Ann",
    )  # fmt: skip
    async with world.store.write() as db:
        await archive.save_chunks(db, [ann])
    after = await now(client, f"/r/{room.key}/")
    assert (after["live"][0]["speaking"], after["page"]) == ("Ann", before["page"])
    assert "@" not in json.dumps(before)


async def test_a_call_names_who_spoke_last(world: World) -> None:
    """The newest windows of a call tell who spoke last in it; nobody is named who was taken out."""
    room = await world.room(visibility=Visibility.PUBLIC)
    stems = tuple(
        Stem(number, UserId(f"@{name}:hs"), "DEV", name, joined=Samples(0), position=Position(1), serial=number)
        for number, name in ((1, "Ann"), (2, "Ben"))
    )
    call = await world.recording(room, kind=RecordingKind.CALL, state=RecordingState.LIVE, stems=stems)
    airings = Airings(world.store, Library(world.store, world.settings.feeds.zone))
    windows = [window(0, [1, 1, 0, 0], [0, 0, 0, 1]), window(1, [1, 0, 0, 0], [0, 0, 0, 0])]
    async with world.store.write() as db:
        await tracks.save(db, Track(call.id, 1, 64, None, None, 0))
        await tracks.add_cuts(db, call.id, windows)
    assert (await airings.one(call)).newest == "Ann"
    gone = replace(call, stems=(replace(stems[0], removed=True), stems[1]))
    await world.save(gone)
    assert (await airings.one(gone)).newest == "Ben"


def window(ordinal: int, *speech: list[int]) -> Cut:
    """Make a window of a call in which each stem speaks in these quarters of ten seconds."""
    hops = 100
    rows = [bytes(2 * (hops + 1)) + np.packbits(np.repeat(each, hops // 4)).tobytes() for each in speech]
    parts = tuple(
        StemPart(number, BlobKey(f"{number:064}"), Samples(0), to_samples(10_000)) for number in range(1, len(rows) + 1)
    )
    return Cut(
        ordinal, f"{ordinal:064}", to_samples(10_000), None, Container.UNKNOWN, False, gains=b"".join(rows), parts=parts
    )
