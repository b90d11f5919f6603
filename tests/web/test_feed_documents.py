"""Documents of feeds over HTTP: archives, their validators, and what moves those."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from aiohttp import ClientSession

import bot.web.documents
import bot.web.press
from bot import orders
from bot.feeds.addresses import look_up_hash
from bot.feeds.model import Channel, Item
from bot.feeds.rss import render
from bot.web import turns
from bot.web.documents import MOST_IN_FEED, Outline
from bot.web.library import Library
from storage import archive, backfill, feed_editions, heirs, jobs, listings, rooms
from storage.records import HistoryVisibility, Position, RecordingState, Room, Visibility
from tests.blobs import folder_of
from tests.web.world import ALICE, BOB, MOD, NOW, World, world_of

PLAIN = {"Accept-Encoding": "identity"}
ATOM = "{http://www.w3.org/2005/Atom}link"
FH = "{http://purl.org/syndication/history/1.0}archive"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make documents of two recordings, and four in the feed itself."""
    monkeypatch.setattr(listings, "BLOCK", 2)
    monkeypatch.setattr(bot.web.documents, "MOST_IN_FEED", 4)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the address of each document that is rendered."""
    addresses: list[str] = []

    def counted(channel: Channel, items: Sequence[Item]) -> bytes:
        addresses.append(channel.address.rpartition("/")[2])
        return render(channel, items)

    monkeypatch.setattr("bot.feeds.rss.render", counted)
    return addresses


async def spoken(world: World, room: Room, **changes: Any) -> str:
    recording = await world.recording(room, **changes)
    await world.episode(recording, recording.code.encode())
    return recording.code


async def document(client: ClientSession, address: str) -> tuple[list[str], dict[str, str], bool]:
    """Return the codes in a document, the names of its neighbours by relation, and whether it is of the archive."""
    async with client.get(address, headers=PLAIN) as answer:
        assert answer.status == 200, address
        root = ElementTree.fromstring(await answer.read())  # noqa: S314  our own
    codes = [node.attrib["url"].rpartition("/")[2].removesuffix(".mp3") for node in root.iter("enclosure")]
    links = {node.attrib["rel"]: node.attrib["href"].rpartition("/")[2] for node in root.iter(ATOM)}
    return codes, links, root.find(f"*/{FH}") is not None


async def walk(client: ClientSession, root: str, rel: str = "prev-archive") -> dict[str, list[str]]:
    """Follow the links of a feed to its end; return the codes in each document."""
    met: dict[str, list[str]] = {}
    name: str | None = "feed.xml"
    while name is not None:
        assert name not in met
        met[name], links, _ = await document(client, root + name)
        assert links["self"] == name
        name = links.get(rel)
    return met


@pytest.mark.usefixtures("small")
async def test_long_feed_is_a_feed_and_its_archive(world: World, client: ClientSession) -> None:
    """Each episode is in one document; both kinds of links lead to all of them; a document keeps its address."""
    room = await world.room(visibility=Visibility.PUBLIC)
    codes = [await spoken(world, room) for _ in range(7)]
    root = f"/r/{room.key}/"
    met = await walk(client, root)
    assert met == {"feed.xml": codes[:3:-1], "feed-1-2.xml": codes[3:1:-1], "feed-1-1.xml": codes[1::-1]}
    assert met == await walk(client, root, "next")
    assert (await document(client, root + "feed-1-2.xml"))[1:] == (
        {
            "self": "feed-1-2.xml",
            "current": "feed.xml",
            "first": "feed.xml",
            "previous": "feed.xml",
            "next": "feed-1-1.xml",
            "prev-archive": "feed-1-1.xml",
        },
        True,
    )
    oldest = {"self": "feed-1-1.xml", "current": "feed.xml", "first": "feed.xml"}
    newer = {"previous": "feed-1-2.xml", "next-archive": "feed-1-2.xml"}
    assert (await document(client, root + "feed-1-1.xml"))[1:] == (oldest | newer, True)
    assert (await document(client, root + "feed.xml"))[2] is False
    codes += [await spoken(world, room) for _ in range(2)]
    met = await walk(client, root)
    assert met["feed-1-1.xml"] == codes[1::-1]
    assert sorted(code for each in met.values() for code in each) == sorted(codes)
    for name in ("feed-1-4.xml", "feed-1-9.xml", "feed-2-1.xml", "feed-0-1.xml", "feed-1-0.xml", "feed-1-01.xml"):
        async with client.get(root + name) as answer:
            assert answer.status == 404, name


async def test_feed_of_a_hundred_is_whole(world: World, client: ClientSession) -> None:
    """A feed of up to a hundred items is one document, however their numbers are spread."""
    assert MOST_IN_FEED == 100
    room = await world.room(visibility=Visibility.PUBLIC)
    codes = [await spoken(world, room) for _ in range(3)]
    async with world.store.write() as db:
        for number, code in zip((230, 70, 1), codes[::-1], strict=True):
            recording = await archive.recording_by_code(db, code)
            assert recording is not None
            await archive.save_recording(db, replace(recording, number=number))
        await rooms.touch(db, room.room_id, NOW)
    assert await walk(client, f"/r/{room.key}/") == {"feed.xml": codes[::-1]}


@pytest.mark.usefixtures("small")
async def test_listeners_get_what_is_theirs(world: World, client: ClientSession) -> None:
    """A listener who joined late has fewer documents, with their own addresses."""
    room = await world.room()
    codes = [
        await spoken(world, room, history_visibility=HistoryVisibility.JOINED, position=Position(number))
        for number in range(10, 20)
    ]
    for at, heard in ((0, codes), (14, codes[5:])):
        await world.member(room, ALICE, "leave", at=at)
        await world.member(room, ALICE, at=at)
        token = await world.listener(room, ALICE)
        met = await walk(client, f"/p/{token}/")
        assert [code for each in met.values() for code in each] == heard[::-1]
    assert set(met) == {"feed.xml", "feed-1-3.xml"}
    async with client.get(f"/p/{token}/feed-1-1.xml") as answer:
        assert answer.status == 404


async def test_unchanged_feed_needs_no_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many listeners there are, 304 costs neither rows nor a body, and a body no rows: what is kept of a feed
    is one for all who hear the same."""
    monkeypatch.setattr("bot.web.feeds.CACHE_BYTES", 1)  # each cache keeps one
    read, made = list[object](), list[object]()
    async with world_of(tmp_path) as (world, client):
        room = await world.room()
        code = await spoken(world, room)
        tokens, tags = [], []
        for number, user in enumerate((ALICE, BOB, MOD)):
            await world.member(room, user, at=number)
            tokens.append(await world.listener(room, user))
        monkeypatch.setattr(Library, "feed_rows", _noted(Library.feed_rows, read))
        monkeypatch.setattr("bot.web.feeds.body_of", _noted(bot.web.press.body_of, made))
        for token in tokens:
            async with client.get(f"/p/{token}/feed.xml") as answer:
                assert f"/p/{token}/{code}.mp3" in await answer.text()
                tags.append(answer.headers["ETag"])
        assert (len(read), len(made), len(set(tags))) == (1, 3, 3)
        for token, tag in zip(tokens, tags, strict=True):
            async with client.get(f"/p/{token}/feed.xml", headers={"If-None-Match": tag}) as answer:
                assert (answer.status, answer.headers["ETag"]) == (304, tag)
        assert (len(read), len(made)) == (1, 3)
        async with client.get(f"/p/{tokens[0]}/feed.xml", headers={"If-None-Match": tags[1]}) as answer:
            assert answer.status == 200  # another listener's
        assert (len(read), len(made)) == (1, 4)


def _noted(function: Callable[..., Any], calls: list[object]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        calls.append(arguments)
        return function(*arguments)

    return called


async def test_equal_numbers_open_nothing(world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener gets no document that was made for somebody who hears more, even if both were taken for the same."""
    monkeypatch.setattr(Outline, "content_of", lambda *_: ())
    room = await world.room()
    codes = [
        await spoken(world, room, history_visibility=HistoryVisibility.JOINED, position=Position(at)) for at in (10, 20)
    ]
    heard = []
    for user, at in ((ALICE, 1), (BOB, 15)):
        await world.member(room, user, at=at)
        async with client.get(f"/p/{await world.listener(room, user)}/feed.xml") as answer:
            xml = await answer.text()
        heard.append([code for code in codes if code in xml])
    assert heard == [codes, codes[1:]]


@pytest.mark.usefixtures("small")
async def test_line_of_rooms_has_parts(world: World, client: ClientSession) -> None:
    """After an upgrade the old room's documents keep their addresses; the new room's are of the next part."""
    old = await world.room(visibility=Visibility.PUBLIC)
    before = [await spoken(world, old) for _ in range(7)]
    root = f"/r/{old.key}/"
    archived = await document(client, root + "feed-1-1.xml")
    new = await world.room(visibility=Visibility.PUBLIC)
    async with world.store.write() as db:
        assert await heirs.inherit(db, old.room_id, new.room_id)
    after = [await spoken(world, new) for _ in range(5)]
    met = await walk(client, root)
    assert list(met) == ["feed.xml", "feed-2-1.xml", *(f"feed-1-{block}.xml" for block in (4, 3, 2, 1))]
    assert [code for each in met.values() for code in each] == [*after[::-1], *before[::-1]]
    assert met["feed-1-1.xml"] == archived[0]


@pytest.mark.usefixtures("small")
async def test_heir_with_episodes_keeps_its_documents(world: World, client: ClientSession) -> None:
    """A room that has documents of its own before it becomes an heir keeps their addresses; the old room's come behind,
    and a third room's in front."""
    old, new, third = [await world.room(visibility=Visibility.PUBLIC) for _ in range(3)]
    own, before = [[await spoken(world, room) for _ in range(7)] for room in (new, old)]
    root = f"/r/{new.key}/"
    archived = await document(client, root + "feed-1-1.xml")
    async with world.store.write() as db:
        assert await heirs.inherit(db, old.room_id, new.room_id)
        assert await heirs.inherit(db, new.room_id, third.room_id)
    last = [await spoken(world, third) for _ in range(4)]
    met = await walk(client, root)
    names = [f"feed-{part}-{block}.xml" for part in (1, 51) for block in (4, 3, 2, 1)]
    assert list(met) == ["feed.xml", *names]
    assert [code for each in met.values() for code in each] == [*last[::-1], *own[::-1], *before[::-1]]
    assert met["feed-1-1.xml"] == archived[0]


@pytest.mark.usefixtures("small")
async def test_past_recordings_shift_the_documents(world: World, client: ClientSession) -> None:
    """After a search of the history has put recordings in front, each is still in one document."""
    room = await world.room(visibility=Visibility.PUBLIC)
    codes = [await spoken(world, room) for _ in range(7)]
    await walk(client, f"/r/{room.key}/")
    past = await spoken(world, room, position=Position(-5), started_at=NOW - timedelta(days=9), past=True)
    async with world.store.write() as db:
        await backfill.renumber(db, room.room_id)
        await rooms.touch(db, room.room_id, NOW)
    met = await walk(client, f"/r/{room.key}/")
    assert [code for each in met.values() for code in each] == [*codes[::-1], past]
    assert met["feed-1-1.xml"] == [codes[0], past]


@pytest.mark.usefixtures("small")
async def test_documents_are_rendered_when_they_change(
    world: World, client: ClientSession, rendered: list[str]
) -> None:
    """A new episode has only those documents rendered whose content it changes; so has a healed one."""
    room = await world.room(visibility=Visibility.PUBLIC)
    for _ in range(6):
        await spoken(world, room)
    healed = await world.recording(room, state=RecordingState.INCOMPLETE)
    await world.episode(healed, b"with a hole")
    for _ in range(5):
        await spoken(world, room)
    root = f"/r/{room.key}/"
    await walk(client, root)
    await walk(client, root)
    assert rendered == ["feed.xml", *(f"feed-1-{block}.xml" for block in (4, 3, 2, 1))]
    rendered.clear()
    await spoken(world, room)
    await walk(client, root)
    # The newest archive document gets a newer neighbour.
    assert rendered == ["feed.xml", "feed-1-5.xml", "feed-1-4.xml"]
    rendered.clear()
    await world.episode(healed, b"now it is whole")
    await walk(client, root)
    assert rendered == ["feed-1-4.xml"]
    rendered.clear()
    await world.change(room)
    await walk(client, root)
    assert rendered == []


async def test_old_pages_lead_to_the_feed(world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbered pages that a feed had in earlier versions lead to it; those that it never had are not found."""
    monkeypatch.setattr(bot.web.documents, "OLD_PAGE", 2)
    monkeypatch.setattr("bot.web.feeds.OLD_PAGE", 2)
    room = await world.room(visibility=Visibility.PUBLIC)
    for _ in range(3):
        await spoken(world, room)
    root = f"/r/{room.key}/"
    async with client.get(f"{root}feed-2.xml", allow_redirects=False) as answer:
        assert answer.status == 301
        assert answer.headers["Location"] == f"{world.server.address}{root}feed.xml"
    for name in ("feed-1.xml", "feed-3.xml", "feed-50000.xml"):
        async with client.get(root + name) as answer:
            assert answer.status == 404


async def test_what_never_was_costs_no_reading(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown document is told without reading a single episode."""
    room = await world.room(visibility=Visibility.PUBLIC)
    await spoken(world, room)

    async def fail(*_: object) -> None:
        raise AssertionError("read")

    for function in ("blocks", "of_block"):
        monkeypatch.setattr(listings, function, fail)
    for name in ("feed-50000.xml", "feed-1-2.xml", "feed-2-1.xml", "feed-99999999-99999999.xml"):
        async with client.get(f"/r/{room.key}/{name}") as answer:
            assert answer.status == 404


# ---- validators


@asynccontextmanager
async def restarted(directory: Path, **sections: dict[str, Any]) -> AsyncIterator[tuple[World, ClientSession]]:
    async with world_of(directory, web={"port": 0, "public_url": "https://one.example"}, **sections) as both:
        yield both


Validators = dict[str, str]


async def fetched(client: ClientSession, address: str) -> tuple[bytes, Validators]:
    """Return a document with its validators, by which the next request of it is answered 304; alone, too."""
    async with client.get(address, headers=PLAIN) as answer:
        assert answer.status == 200
        body = await answer.read()
        tag, date = answer.headers["ETag"], answer.headers["Last-Modified"]
    for known in ({"If-None-Match": tag}, {"If-Modified-Since": date}):
        async with client.get(address, headers=known) as answer:
            assert answer.status == 304
    text = body.decode()
    assert f"<lastBuildDate>{date.replace('GMT', '+0000')}</lastBuildDate>" in text
    return body, {"If-None-Match": tag, "If-Modified-Since": date}


async def is_current(client: ClientSession, address: str, known: Validators) -> bool:
    """Return whether a client's copy is current by each of its validators; they must agree."""
    statuses = set()
    for name, value in known.items():
        async with client.get(address, headers={name: value}) as answer:
            statuses.add(answer.status)
    assert len(statuses) == 1, statuses
    return statuses == {304}


CHANGES: list[dict[str, dict[str, Any]]] = [
    {"web": {"port": 0, "public_url": "https://two.example"}},
    {"feeds": {"author": "Somebody else"}},
    {"feeds": {"language": "pt"}},
    {"feeds": {"explicit": True}},
    {"feeds": {"email": "mail@one.example"}},
    {"feeds": {"category": "Arts"}},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: "-".join(next(iter(change.values()))))
async def test_changed_setting_is_seen(tmp_path: Path, change: dict[str, dict[str, Any]]) -> None:
    """After a setting has changed, no validator hides the new feed; a restart without a change moves none."""
    async with restarted(tmp_path) as (world, client):
        room = await world.room(visibility=Visibility.PUBLIC)
        await spoken(world, room)
        await world.member(room, ALICE)
        addresses = (f"/r/{room.key}/feed.xml", f"/p/{await world.listener(room, ALICE)}/feed.xml")
        before = {address: await fetched(client, address) for address in addresses}
    async with restarted(tmp_path) as (world, client):
        world.clock.pass_by(3600)
        for address in addresses:
            assert await is_current(client, address, before[address][1])
    web = change.get("web", {"port": 0, "public_url": "https://one.example"})
    async with world_of(tmp_path, **{**change, "web": web}) as (world, client):
        world.clock.pass_by(7200)
        for address in addresses[: 1 if "email" in change.get("feeds", {}) else 2]:  # private feeds have no owner
            assert not await is_current(client, address, before[address][1])
            body, validators = await fetched(client, address)
            assert body != before[address][0]
            assert validators != before[address][1]


async def test_touched_room_changes_nothing(world: World, client: ClientSession) -> None:
    """A change that a feed does not show moves none of its validators; one that is undone moves them twice."""
    room = await world.room(visibility=Visibility.PUBLIC)
    await spoken(world, room)
    address = f"/r/{room.key}/feed.xml"
    _, known = await fetched(client, address)
    for _ in range(2):
        world.clock.pass_by(300)
        await world.change(room)
        assert await is_current(client, address, known)
    dates = [known["If-Modified-Since"]]
    for name in ("Another", "Kitchen radio"):
        await world.state(room, "m.room.name", {"name": name})
        await world.change(room)
        dates.append((await fetched(client, address))[1]["If-Modified-Since"])
        assert not await is_current(client, address, known)
    assert len(set(dates)) == 3


async def test_listeners_date_is_their_own(world: World, client: ClientSession) -> None:
    """A listener who joins again has another feed, of a later date, under a name that does not hold their token."""
    room = await world.room()
    first = await spoken(world, room, history_visibility=HistoryVisibility.JOINED, position=Position(50))
    await world.member(room, ALICE, at=1)
    token = await world.listener(room, ALICE)
    address = f"/p/{token}/feed.xml"
    body, early = await fetched(client, address)
    assert first in body.decode()
    world.clock.pass_by(3600)
    await world.member(room, ALICE, "leave", at=60)
    await world.member(room, ALICE, at=60)
    assert not await is_current(client, address, early)
    body, late = await fetched(client, address)
    assert first not in body.decode()
    assert late["If-Modified-Since"] > early["If-Modified-Since"]
    async with world.store.read() as db:
        names = await feed_editions.of(db, [f"p/{look_up_hash(token)}/feed.xml"])
    assert len(names) == 1


async def test_editions_of_ended_addresses_are_pruned(world: World, client: ClientSession) -> None:
    """When an address is renewed the dates of its documents go; others stay."""
    room = await world.room(visibility=Visibility.PUBLIC)
    await spoken(world, room)
    await world.member(room, ALICE)
    names = [f"r/{room.key}/feed.xml"]
    for generation in (0, 1):
        token = await world.listener(room, ALICE, generation)
        await fetched(client, f"/p/{token}/feed.xml")
        names.append(f"p/{look_up_hash(token)}/feed.xml")
    await fetched(client, f"/r/{room.key}/feed.xml")
    async with world.store.write() as db:
        assert set(await feed_editions.of(db, names)) == set(names)
        await feed_editions.prune(db)
        assert set(await feed_editions.of(db, names)) == {names[0], names[2]}


# ---- lost files


async def test_lost_file_is_not_listed(world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """An episode whose file is gone or cut is in no feed, until it is there again; it is ordered that it is mended."""
    monkeypatch.setattr("bot.web.feeds.LOOK_EACH_S", 0)
    room = await world.room(visibility=Visibility.PUBLIC)
    recordings = [await world.recording(room) for _ in range(3)]
    episodes = [await world.episode(recording, recording.code.encode() * 9) for recording in recordings]
    gone, cut, whole = recordings
    address = f"/r/{room.key}/feed.xml"
    assert len((await document(client, address))[0]) == 3
    paths = [next(folder_of(world.store).directory.glob(f"*/{episode.blob}")) for episode in episodes]
    paths[0].unlink()
    paths[1].write_bytes(b"short")
    for _ in range(2):
        assert (await document(client, address))[0] == [whole.code]
    async with world.store.read() as db:
        ordered = await jobs.unfinished(db, orders.CheckEpisode.kind)
    assert {orders.CheckEpisode.of(job).recording for job in ordered} == {gone.id, cut.id}
    paths[1].write_bytes(cut.code.encode() * 9)
    assert (await document(client, address))[0] == [whole.code, cut.code]


# ---- bounds


async def test_documents_are_made_few_at_a_time(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ask at once, two documents are made at a time, everything else is answered, and a long queue is
    refused with the time to wait."""
    rooms_ = [await world.room(visibility=Visibility.PUBLIC) for _ in range(6)]
    running, most, counting = 0, 0, threading.Lock()
    two, go_on = threading.Event(), threading.Event()

    def slow(channel: Channel, items: Sequence[Item]) -> bytes:
        nonlocal running, most
        with counting:
            running += 1
            most = max(most, running)
            if running == 2:
                two.set()
        assert go_on.wait(30)
        with counting:
            running -= 1
        return render(channel, items)

    monkeypatch.setattr("bot.feeds.rss.render", slow)
    monkeypatch.setattr(turns, "MOST_WAITING", 3)

    async def ask(room: Room) -> tuple[int, str | None]:
        async with client.get(f"/r/{room.key}/feed.xml") as answer:
            return answer.status, answer.headers.get("Retry-After")

    asked = [asyncio.create_task(ask(room)) for room in rooms_]
    refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in refused] == [(429, "30")]
    assert await asyncio.to_thread(two.wait, 30)
    async with client.get("/healthz") as answer:
        assert answer.status == 200
    go_on.set()
    assert sorted([status for status, _ in await asyncio.gather(*asked)]) == [200] * 5 + [429]
    assert most == 2
