"""Addresses after a room was upgraded: the old addresses with the new room's rules."""

import re

from aiohttp import ClientSession

from storage import heirs
from storage.records import BlobKey, HistoryVisibility, Position, Recording, Room, UserId, Visibility
from tests.web.world import ALICE, BOB, World

PLAIN = {"Accept-Encoding": "identity"}
CAROL = UserId("@carol:hs")


async def inherit(world: World, old: Room, new: Room) -> None:
    async with world.store.write() as db:
        assert await heirs.inherit(db, old.room_id, new.room_id)


async def spoken(world: World, room: Room, **changes: object) -> Recording:
    recording = await world.recording(room, **changes)
    await world.episode(recording, recording.code.encode())
    return recording


async def feed(client: ClientSession, root: str) -> str:
    async with client.get(f"{root}feed.xml", headers=PLAIN) as answer:
        assert answer.status == 200
        return (await answer.read()).decode()


async def listed(client: ClientSession, root: str) -> list[str]:
    """Return the codes in a feed, in its order."""
    return re.findall(rf'<enclosure url="[^"]*{root}([a-z]+)\.mp3"', await feed(client, root))


async def status(client: ClientSession, path: str) -> int:
    async with client.get(path) as answer:
        return answer.status


def named(xml: str) -> list[str]:
    """Return what may never change of a podcast: GUID, picture, and the GUIDs and addresses of its episodes."""
    return re.findall(r"<podcast:guid>[^<]*|<itunes:image [^>]*|<guid[^<]*|<enclosure [^>]*", xml)


async def test_the_public_address_goes_on_with_both_rooms_episodes(world: World, client: ClientSession) -> None:
    """GUIDs and addresses stay, and the newest episode comes first, whichever room it is from."""
    old = await world.room(visibility=Visibility.PUBLIC)
    first = await spoken(world, old)
    root = f"/r/{old.key}/"
    before = named(await feed(client, root))
    new = await world.room("The new kitchen", visibility=Visibility.PUBLIC)
    await inherit(world, old, new)
    after = await feed(client, root)
    picture = r"<itunes:image [^>]*"
    assert named(re.sub(picture, "", after)) == [one for one in before if not re.match(picture, one)]
    assert "The new kitchen" in after
    second = await spoken(world, new)
    assert await listed(client, root) == [second.code, first.code]
    for code in (first.code, second.code):
        assert [await status(client, f"{root}{name}") for name in (code, f"{code}.mp3")] == [200, 200]
    third = await spoken(world, old)  # a change in the old room shows at once
    assert await listed(client, root) == [third.code, second.code, first.code]


async def test_the_picture_is_the_heirs(world: World, client: ClientSession) -> None:
    """The heir has taken over the picture, so that its address is the same."""
    picture = BlobKey("ab" * 32)
    old = await world.room(visibility=Visibility.PUBLIC, cover=picture)
    before = re.findall(r"cover-[0-9a-f]+", await feed(client, f"/r/{old.key}/"))
    await inherit(world, old, await world.room(visibility=Visibility.PUBLIC, cover=picture))
    assert re.findall(r"cover-[0-9a-f]+", await feed(client, f"/r/{old.key}/")) == before


async def test_the_present_rooms_visibility_counts(world: World, client: ClientSession) -> None:
    """The old room's public address is closed while the heir is private."""
    old, new = await world.room(visibility=Visibility.PUBLIC), await world.room()
    recording = await spoken(world, old)
    root = f"/r/{old.key}/"
    assert await status(client, f"{root}{recording.code}.mp3") == 200
    await inherit(world, old, new)
    for name in ("", "feed.xml", recording.code, f"{recording.code}.mp3"):
        assert await status(client, f"{root}{name}") == 404
    await world.change(new, visibility=Visibility.PUBLIC)
    assert await listed(client, root) == [recording.code]


async def test_the_present_rooms_members_listen(world: World, client: ClientSession) -> None:
    """A token of the old room works for members of the heir alone, and only while the bot is there."""
    old, new = await world.room(), await world.room()
    recordings = [await spoken(world, room) for room in (old, new)]
    for user in (ALICE, BOB):
        await world.member(old, user, at=1)
    alices, bobs = [f"/p/{await world.listener(old, user)}/" for user in (ALICE, BOB)]
    assert await listed(client, bobs) == [recordings[0].code]
    await inherit(world, old, new)
    await world.member(new, ALICE, at=2)
    assert await listed(client, alices) == [one.code for one in reversed(recordings)]
    for name, closed in (("", 410), ("feed.xml", 410), (f"{recordings[0].code}.mp3", 404)):
        assert await status(client, f"{bobs}{name}") == closed
    await world.member(new, ALICE, "leave", at=3)
    assert await status(client, f"{alices}{recordings[0].code}.mp3") == 404
    await world.member(new, ALICE, at=4)
    await world.change(old, joined=False)
    assert await status(client, f"{alices}{recordings[0].code}.mp3") == 200
    await world.change(new, joined=False)
    assert await status(client, f"{alices}{recordings[0].code}.mp3") == 404


async def test_what_only_those_heard_who_were_there_stays_theirs(world: World, client: ClientSession) -> None:
    """An old room's recordings follow its history visibility; world-readable ones are for every member of the heir."""
    old, new = await world.room(), await world.room()
    closed = {"history_visibility": HistoryVisibility.JOINED}
    early = await spoken(world, old, position=Position(10), **closed)
    shared = await spoken(world, old, position=Position(15))
    open_to_all = await spoken(world, old, position=Position(16), history_visibility=HistoryVisibility.WORLD_READABLE)
    late = await spoken(world, old, position=Position(30), **closed)
    now = await spoken(world, new, position=Position(50), **closed)
    await world.member(old, ALICE, at=5)
    await world.member(old, BOB, at=20)
    await inherit(world, old, new)
    roots = {}
    for user in (ALICE, BOB, CAROL):
        await world.member(new, user, at=40)
        roots[user] = f"/p/{await world.listener(old, user)}/"
    assert await listed(client, roots[ALICE]) == [now.code, late.code, open_to_all.code, shared.code, early.code]
    assert await listed(client, roots[BOB]) == [now.code, late.code, open_to_all.code, shared.code]
    assert await listed(client, roots[CAROL]) == [now.code, open_to_all.code]
    for code in (shared.code, late.code):
        assert [await status(client, f"{roots[CAROL]}{name}") for name in (code, f"{code}.mp3")] == [404, 404]
    await world.member(old, ALICE, "leave", at=5)  # known only by a state block: at the place of the join
    assert await listed(client, roots[ALICE]) == [now.code, open_to_all.code]


async def test_the_new_rooms_own_addresses_of_before_go_on_too(world: World, client: ClientSession) -> None:
    """A room that became the heir late keeps its own addresses beside the older ones."""
    old, new = [await world.room(visibility=Visibility.PUBLIC) for _ in range(2)]
    recordings = [await spoken(world, room) for room in (old, new)]
    root = f"/r/{new.key}/"
    before = named(await feed(client, root))
    await inherit(world, old, new)
    everything = [one.code for one in reversed(recordings)]
    for where in (f"/r/{old.key}/", root, f"/r/{old.key}/"):
        assert await listed(client, where) == everything
    assert set(before) < set(named(await feed(client, root)))


async def test_a_room_that_only_claims_to_be_the_heir_shows_nothing(world: World, client: ClientSession) -> None:
    """Without a confirmed link a new room's addresses do not reach the old room's recordings."""
    old, impostor = [await world.room(visibility=Visibility.PUBLIC) for _ in range(2)]
    recording = await spoken(world, old)
    create = {"predecessor": {"room_id": old.room_id, "event_id": "$tombstone"}}
    await world.state(impostor, "m.room.create", create)
    await world.member(impostor, BOB, at=1)
    for root in (f"/r/{impostor.key}/", f"/p/{await world.listener(impostor, BOB)}/"):
        assert await listed(client, root) == []
        assert await status(client, f"{root}{recording.code}") == 404
        assert await status(client, f"{root}{recording.code}.mp3") == 404
