"""The one check: who may see what."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import ClientSession

from bot.feeds.addresses import look_up_hash, token_for
from bot.recording.kinds import lay_out
from bot.recording.ledger import fingerprint
from bot.web.access import Access, Claim, Family, Verdict, decide, may_hear_recording
from storage import archive, rooms
from storage.records import (
    ChunkState,
    HistoryVisibility,
    Listener,
    Position,
    RecordingState,
    Room,
    StateEvent,
    Visibility,
)
from tests.factories import a_room
from tests.web.world import ALICE, BOB, NOW, SECRET, World

ROOM = a_room()
OPEN_ROOM = replace(ROOM, visibility=Visibility.PUBLIC)
ALICES = Listener(ROOM.room_id, ALICE, 0, "hash")


def member(membership: object = "join", at: int = 5) -> StateEvent:
    return StateEvent(ROOM.room_id, "m.room.member", ALICE, ALICE, {"membership": membership}, Position(at))


def public(room: Room | None) -> Claim:
    return Claim(Family.PUBLIC, room)


def personal(room: Room | None = ROOM, listener: Listener | None = ALICES, who: StateEvent | None = None) -> Claim:
    return Claim(Family.PERSONAL, room, listener, who)


VERDICTS = {
    "public room": (public(OPEN_ROOM), True, Verdict.OPEN),
    "public room, before anything was read": (public(OPEN_ROOM), False, Verdict.OPEN),
    "private room by its key": (public(ROOM), True, Verdict.CLOSED),
    "unknown key": (public(None), True, Verdict.CLOSED),
    "joined": (personal(who=member()), True, Verdict.OPEN),
    "joined, public room": (personal(OPEN_ROOM, who=member()), True, Verdict.OPEN),
    "joined, nothing read yet": (personal(who=member()), False, Verdict.LATER),
    "banned, nothing read yet": (personal(who=member("ban")), False, Verdict.LATER),
    "left": (personal(who=member("leave")), True, Verdict.ENDED),
    "banned": (personal(who=member("ban")), True, Verdict.ENDED),
    "banned, public room": (personal(OPEN_ROOM, who=member("ban")), True, Verdict.ENDED),
    "invited": (personal(who=member("invite")), True, Verdict.ENDED),
    "junk for a membership": (personal(who=member(["join"])), True, Verdict.ENDED),
    "no membership known": (personal(), True, Verdict.ENDED),
    "the bot is out": (personal(replace(ROOM, joined=False), who=member()), True, Verdict.ENDED),
    "unknown token": (personal(None, None), True, Verdict.CLOSED),
    "unknown token, nothing read yet": (personal(None, None), False, Verdict.CLOSED),
    "replaced": (Claim(Family.PERSONAL, None, replaced=True), True, Verdict.ENDED),
    "replaced, nothing read yet": (Claim(Family.PERSONAL, None, replaced=True), False, Verdict.ENDED),
    "room is gone": (personal(None, who=member()), True, Verdict.ENDED),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_verdicts(case: str) -> None:
    """An address is open, closed or not decidable yet, by what the archive and the process know."""
    claim, fresh, verdict = VERDICTS[case]
    assert decide(claim, fresh=fresh).verdict is verdict


async def test_recordings_within_reach(world: World) -> None:
    """A listener's access follows the history visibility, the public's the switch of each recording."""
    room = await world.room(visibility=Visibility.PUBLIC)
    since_join = {"history_visibility": HistoryVisibility.JOINED}
    old = await world.recording(room, position=Position(3), public=False, **since_join)
    new = await world.recording(room, position=Position(9), **since_join)
    shared = await world.recording(room, position=Position(1), public=False)
    gone = await world.recording(room, position=Position(9), state=RecordingState.DELETED)
    elsewhere = await world.recording(await world.room(visibility=Visibility.PUBLIC))
    everybody = decide(public(room), fresh=True)
    listener = decide(Claim(Family.PERSONAL, room, ALICES, member(at=5)), fresh=True)
    closed = Access(Verdict.CLOSED, everybody.claim)
    assert [may_hear_recording(everybody, one) for one in (old, new, shared, gone, elsewhere)] == [0, 1, 0, 0, 0]
    assert [may_hear_recording(listener, one) for one in (old, new, shared, gone, elsewhere)] == [0, 1, 1, 0, 0]
    assert not may_hear_recording(closed, new)


PLAIN = {"Accept-Encoding": "identity"}
EVERYTHING = ["", "feed.xml", "{code}", "{code}.mp3"]
Get = Callable[[str], Awaitable[list[int]]]


@pytest.fixture
def statuses(client: ClientSession) -> Callable[[str, str], Awaitable[list[int]]]:
    async def get(root: str, code: str) -> list[int]:
        found = []
        for name in EVERYTHING:
            async with client.get(f"{root}{name.format(code=code)}") as answer:
                found.append(answer.status)
                assert answer.status in (200, 410) or len(await answer.read()) < 32
        return found

    return get


async def test_public_addresses_follow_the_room(world: World, statuses: Callable[..., Awaitable[list[int]]]) -> None:
    """Public addresses are 404 while the room is private, and the same ones work again when it is public."""
    room = await world.room(visibility=Visibility.PUBLIC)
    recording = await world.recording(room)
    await world.episode(recording)
    root = f"/r/{room.key}/"
    assert await statuses(root, recording.code) == [200] * 4
    room = await world.change(room, visibility=Visibility.PRIVATE)
    assert await statuses(root, recording.code) == [404] * 4
    await world.change(room, visibility=Visibility.PUBLIC)
    assert await statuses(root, recording.code) == [200] * 4


async def test_personal_address_follows_membership(world: World, statuses: Callable[..., Awaitable[list[int]]]) -> None:
    """A ban ends a personal address with the next request, 410 where apps stop at it; joining again revives it."""
    room = await world.room()
    recording = await world.recording(room)
    await world.episode(recording)
    await world.member(room, ALICE, "join", at=1)
    root = f"/p/{await world.listener(room, ALICE)}/"
    assert await statuses(root, recording.code) == [200] * 4
    await world.member(room, ALICE, "ban", at=50)
    assert await statuses(root, recording.code) == [410, 410, 410, 404]
    await world.member(room, ALICE, "join", at=60)
    assert await statuses(root, recording.code) == [200] * 4


async def test_unread_state_is_not_yet(world: World, client: ClientSession) -> None:
    """Until the rooms' state was read, a known token is told to try again later, an unknown one is 404."""
    room = await world.room()
    await world.member(room, ALICE)
    token = await world.listener(room, ALICE)
    world.fresh = False
    async with client.get(f"/p/{token}/feed.xml") as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert len(await answer.read()) < 32
    async with client.get(f"/p/{'a' * 52}/feed.xml") as answer:
        assert answer.status == 404
    world.fresh = True
    async with client.get(f"/p/{token}/feed.xml") as answer:
        assert answer.status == 200


async def test_renewed_address_ends_the_old_one(world: World, client: ClientSession) -> None:
    """Once the new address was said, the old one has ended."""
    room = await world.room()
    await world.member(room, ALICE)
    old, new = await world.listener(room, ALICE), token_for(SECRET, room.room_id, ALICE, 1)
    renewed = Listener(room.room_id, ALICE, 0, look_up_hash(old), 1, look_up_hash(new))
    async with world.store.write() as db:
        await rooms.save_listener(db, renewed)
        await rooms.end_old_address(db, room.room_id, ALICE, NOW)
    for token, status in ((old, 410), (new, 200), (token_for(SECRET, room.room_id, ALICE, 2), 404)):
        async with client.get(f"/p/{token}/feed.xml") as answer:
            assert answer.status == status


async def test_one_listener_hears_since_their_join(world: World, client: ClientSession) -> None:
    """Two members of a room whose history begins with their joins get different feeds and audio."""
    room = await world.room()
    joined = {"history_visibility": HistoryVisibility.JOINED}
    early = await world.recording(room, position=Position(10), **joined)
    late = await world.recording(room, position=Position(30), **joined)
    for recording in (early, late):
        await world.episode(recording, recording.code.encode())
    await world.member(room, ALICE, at=1)
    await world.member(room, BOB, at=20)
    for user, codes in ((ALICE, [early.code, late.code]), (BOB, [late.code])):
        root = f"/p/{await world.listener(room, user)}/"
        async with client.get(f"{root}feed.xml", headers=PLAIN) as answer:
            xml = (await answer.read()).decode()
        assert [code for code in (early.code, late.code) if f"{code}.mp3" in xml] == codes
        async with client.get(f"{root}{early.code}.mp3") as answer:
            assert answer.status == (200 if early.code in codes else 404)


async def test_another_rooms_episode_is_not_here(world: World, client: ClientSession) -> None:
    """An episode of one room is not served below another room's address."""
    mine, other = [await world.room(visibility=Visibility.PUBLIC) for _ in range(2)]
    recording = await world.recording(other)
    await world.episode(recording)
    async with client.get(f"/r/{mine.key}/{recording.code}.mp3") as answer:
        assert answer.status == 404


async def test_redacted_sound_is_closed_until_it_is_cut_out(world: World, client: ClientSession) -> None:
    """Old audio stays while a late chunk is joined in, but not with a redacted chunk in it."""
    room = await world.room(visibility=Visibility.PUBLIC)
    recording = await world.recording(room)
    await world.episode(recording)
    address = f"/r/{room.key}/{recording.code}.mp3"
    await world.save(replace(recording, state=RecordingState.FINISHING))
    async with client.get(address) as answer:
        assert answer.status == 200
    await world.chunk(recording, 1, ChunkState.REDACTED)
    await world.save(replace(recording, state=RecordingState.FINISHING))
    for path in (address, f"/r/{room.key}/{recording.code}"):
        async with client.get(path) as answer:
            assert answer.status == 404
    async with client.get(f"/r/{room.key}/feed.xml", headers=PLAIN) as answer:
        assert recording.code.encode() not in await answer.read()
    for state in (RecordingState.COMPLETE, RecordingState.INCOMPLETE):
        await world.save(replace(recording, state=state))
        async with client.get(address) as answer:
            assert answer.status == 404
    async with world.store.read() as db:
        chunks = await archive.chunks(db, recording.id)
    await world.episode(recording, b"without it", fingerprint=fingerprint(lay_out(recording, chunks)))
    async with client.get(address) as answer:
        assert await answer.read() == b"without it"
