"""Lists of episodes: the database and the one check agree on what is reached; months and searches."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.web import episodes
from bot.web.access import Access, Claim, Family, decide, may_hear_recording, may_list_recording, reaches
from bot.web.episodes import Part
from storage import heirs, listings
from storage.records import (
    Credit,
    HistoryVisibility,
    Listener,
    Position,
    Recording,
    RecordingState,
    Room,
    StateEvent,
    UserId,
    Visibility,
)
from tests.web.world import ALICE, BOB, NOW, World

UTC_ZONE = ZoneInfo("UTC")
AUCKLAND = ZoneInfo("Pacific/Auckland")


def member(room: Room, membership: str, at: int) -> StateEvent:
    return StateEvent(room.room_id, "m.room.member", ALICE, ALICE, {"membership": membership}, Position(at))


async def accesses(world: World, old: Room, new: Room) -> list[Access]:
    """Return the accesses of everybody, and of members who joined at various times."""
    async with world.store.read() as db:
        podcast = await heirs.podcast(db, (old.room_id, new.room_id))
    listener = Listener(old.room_id, ALICE, 0, "")
    claims = [Claim(Family.PUBLIC, podcast, before={old.room_id: None})]
    for there, at, here in itertools.product(("join", "leave"), (0, 15, 10_000), (0, 35, 10_000)):
        before = {old.room_id: member(old, there, at)}
        claims.append(Claim(Family.PERSONAL, podcast, listener, member=member(new, "join", here), before=before))
    return [decide(replace(claim, room=replace(podcast, joined=True)), fresh=True) for claim in claims]


async def test_database_and_check_agree(world: World) -> None:
    """The database counts and lists for an access what the one check lets it hear, in rooms that follow one
    another."""
    old, new = await world.room(visibility=Visibility.PUBLIC), await world.room(visibility=Visibility.PUBLIC)
    made = []
    for room, start in ((old, 10), (new, 30)):
        kinds = itertools.product(HistoryVisibility, (True, False), (True, False))
        for place, (history, public, unreviewed) in enumerate(kinds, start=start):
            recording = await world.recording(
                room,
                history_visibility=history,
                public=public,
                unreviewed=unreviewed,
                position=Position(place),
                state=RecordingState.EMPTY if place % 7 == 0 else RecordingState.COMPLETE,
            )
            await world.episode(recording, b"sound", published_at=None if place % 5 == 0 else NOW)
            made.append((recording, place % 5 != 0))
    async with world.store.write() as db:
        assert await heirs.inherit(db, old.room_id, new.room_id)
    for access in await accesses(world, old, new):
        listed = {recording.id for recording, out in made if out and may_list_recording(access, recording)}
        shown = {recording.id for recording, out in made if out and may_hear_recording(access, recording)}
        async with world.store.read() as db:
            found = reaches(access)
            blocks = [(reach, number) for reach in found for number in await listings.blocks(db, reach)]
            of_blocks = [one for reach, number in blocks for one in await listings.of_block(db, reach, number)]
            assert {recording.id for recording, _ in of_blocks} == listed
            assert len(of_blocks) == len(listed)
            assert sum([sum((await listings.blocks(db, reach)).values()) for reach in found]) == len(listed)
            assert {recording.id async for recording, _ in listings.shown(db, found, ())} == shown
            months = await episodes.count_months(db, access, ZoneInfo("UTC"))
            assert sum(months.values()) == len(shown)


async def test_pages_go_on_where_the_last_one_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk over small pages meets each episode once, newest first, also where several began in the same moment."""
    monkeypatch.setattr(listings, "BATCH", 3)
    room = await world.room(visibility=Visibility.PUBLIC)
    for number in range(10):
        await world.episode(await world.recording(room, started_at=NOW + timedelta(hours=number // 4)), b"sound")
    access = decide(Claim(Family.PUBLIC, room), fresh=True)
    async with world.store.read() as db:
        everything = [recording async for recording, _ in listings.shown(db, reaches(access), ())]
        assert everything == sorted(everything, key=lambda one: (one.started_at, one.id), reverse=True)
        for size in (1, 3, 4):
            met, page = list[Recording](), await episodes.read_part(db, access, Part(size), UTC_ZONE)
            while page is not None:
                met += [recording for recording, _ in page.published]
                older = Part(size, page.older)
                page = await episodes.read_part(db, access, older, UTC_ZONE) if page.older else None
            assert met == everything


async def test_search_goes_on_behind_its_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that looked at as many episodes as it may says so, and goes on where it stopped, in both directions."""
    monkeypatch.setattr(episodes, "SEARCHED", 3)
    room = await world.room(visibility=Visibility.PUBLIC)
    # The word is in an id, which is not shown.
    told = (Credit(UserId("@a:soup.example"), "Ann"), Credit(BOB, "Bob"))
    codes = []
    for number, title in enumerate(["soup", *["bread"] * 5, "soup"]):
        recording = await world.recording(room, title=title, speakers=told)
        await world.episode(recording, bytes([number]))
        codes.append(recording.code)
    access = decide(Claim(Family.PUBLIC, room), fresh=True)

    async def read(before: str = "", after: str = "") -> tuple[list[str], str, str, bool]:
        async with world.store.read() as db:
            page = await episodes.read_part(db, access, Part(5, before, after, words=("soup",)), UTC_ZONE)
        assert page is not None
        return [recording.code for recording, _ in page.published], page.newer, page.older, page.bounded

    assert await read() == ([codes[6]], "", codes[4], True)
    assert await read(before=codes[4]) == ([], codes[4], codes[1], True)
    assert await read(before=codes[1]) == ([codes[0]], codes[0], "", False)
    assert await read(after=codes[0]) == ([], codes[3], codes[0], True)
    assert await read(after=codes[3]) == ([codes[6]], codes[6], codes[6], True)
    assert await read(after=codes[4]) == await read()


async def test_months_are_those_of_the_feeds_zone(world: World) -> None:
    """An episode counts in the month that it began in where the podcast is at home."""
    room = await world.room(visibility=Visibility.PUBLIC)
    for moment in (datetime(2026, 10, 31, 12, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)):
        await world.episode(await world.recording(room, started_at=moment), b"sound")
    access = decide(Claim(Family.PUBLIC, room), fresh=True)
    async with world.store.read() as db:
        assert await episodes.count_months(db, access, UTC_ZONE) == {(2026, 10): 2}
        assert await episodes.count_months(db, access, AUCKLAND) == {(2026, 11): 1, (2026, 10): 1}
        for month, count in (((2026, 11), 1), ((2026, 10), 1), ((2026, 9), 0)):
            page = await episodes.read_part(db, access, Part(50, month=month), AUCKLAND)
            assert page is not None
            assert len(page.published) == count


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("soup", ["soup"]),
        ("SOUP bread", ["soup"]),
        ("çorba", ["other"]),
        ("jürgen", ["two"]),
        ("100%", ["other"]),
        ("10_%", []),
        ("nobody", []),
        ("@eve:example.org", []),
        ("example.org", []),
        ("alice", ["other", "soup"]),
        ("", ["two", "other", "soup"]),
    ],
)
async def test_search_finds_what_is_shown(world: World, words: str, found: list[str]) -> None:
    """A search looks at titles, descriptions and names in any case and script, and confirms nobody's user id."""
    room = await world.room(visibility=Visibility.PUBLIC)
    told: dict[str, dict[str, Any]] = {
        "soup": {"title": "Soup & Bread", "description": "by @eve:example.org"},
        "other": {"title": None, "description": "100% ÇORBA"},
        "two": {
            "title": "Two",
            "broadcaster_name": None,
            "speakers": (Credit(BOB, "JÜRGEN"), Credit(ALICE, "@eve:example.org")),
        },
    }
    codes = {}
    for name, texts in told.items():
        recording = await world.recording(room, **texts)
        await world.episode(recording, b"sound")
        codes[recording.code] = name
    access = decide(Claim(Family.PUBLIC, room), fresh=True)
    async with world.store.read() as db:
        page = await episodes.read_part(db, access, Part(50, words=tuple(words.split())), UTC_ZONE)
    assert page is not None
    assert [codes[recording.code] for recording, _ in page.published] == found
