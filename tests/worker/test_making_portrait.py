"""Portraits: they follow the avatars of who speaks, and go when a speaker takes the avatar away, leaves or objects."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.intake import forgotten, portraying
from bot.matrix.media import FetchedMedia
from bot.recording.model import Deleted
from bot.worker import covering
from storage import optouts, portraits
from storage.records import BlobKey, MediaSource, OptOut, Portrait, Position, UserId
from tests import world as there
from tests.worker import session_world
from tests.worker.quick import without_ffmpeg
from tests.world import ALICE, ROOM, World, batch, chunk, heard, info, state, world_of

AVATAR, OTHER = "mxc://hs/avatar", "mxc://hs/other"


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    without_ffmpeg(monkeypatch)

    async def square(_: Any, path: Path, side: int) -> bytes | None:
        data = await asyncio.to_thread(path.read_bytes)
        return data + str(side).encode() if data.startswith(b"mxc") else None

    monkeypatch.setattr(covering, "safe_picture", square)

    async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        if source.mxc not in (AVATAR, OTHER):
            return await there.download(source, part, max_bytes)
        data = source.mxc.encode()
        await asyncio.to_thread(part.write_bytes, data)
        return FetchedMedia(len(data), hashlib.sha256(data).hexdigest())

    async with world_of(tmp_path / "data") as world:
        await world.join()
        world.download = download
        yield world


async def look(world: World, avatar: str | None, membership: str = "join", sender: str = ALICE) -> None:
    """Change Alice's profile in the room."""
    content = {"membership": membership, "displayname": "Alice"} | ({"avatar_url": avatar} if avatar else {})
    event_id = f"$member-{avatar}-{membership}"
    await world.intake.take(batch(before=(state("m.room.member", content, ALICE, sender, event_id),)))
    await world.work()


async def speak(world: World) -> None:
    await world.begin(chunk("$c1", 1))
    await world.hear(info("$stop", "stopped", last_chunk_sequence=1))
    await world.work()


async def portrait(world: World) -> Portrait | None:
    async with world.store.read() as db:
        return await portraits.of(db, ROOM, UserId(ALICE))


def key(avatar: str) -> BlobKey:
    return BlobKey(hashlib.sha256(avatar.encode() + b"400").hexdigest())


async def test_who_speaks_has_a_portrait_that_follows_the_avatar(world: World) -> None:
    """Nobody has one before an episode is published; another avatar replaces the file, and without one it goes."""
    await look(world, AVATAR)
    assert await portrait(world) is None
    await speak(world)
    assert await portrait(world) == Portrait(ROOM, UserId(ALICE), AVATAR, key(AVATAR))
    await look(world, OTHER)
    assert await portrait(world) == Portrait(ROOM, UserId(ALICE), OTHER, key(OTHER))
    assert key(AVATAR) not in world.files()
    await look(world, None)
    assert await portrait(world) == Portrait(ROOM, UserId(ALICE), "", None)
    assert key(OTHER) not in world.files()
    await look(world, AVATAR)
    assert await portrait(world) == Portrait(ROOM, UserId(ALICE), AVATAR, key(AVATAR))


async def test_speakers_of_before_get_their_portraits(world: World) -> None:
    """A speaker without a row gets one, with or without an avatar; who has opted out is not asked for."""
    await look(world, AVATAR)
    await speak(world)
    users, found = [UserId(ALICE)], []
    async with world.store.write() as db:
        await portraits.remove(db, users[0], None)
    await world.keeper.order_missing()
    await world.work()
    assert await portrait(world) == Portrait(ROOM, users[0], AVATAR, key(AVATAR))
    for out in (False, True):
        async with world.store.write() as db:
            await optouts.add(db, OptOut(users[0], ROOM, Position(90 + out), out, world.clock()))
            found.append(await portraying.missing(db, 9))
            await portraits.remove(db, users[0], None)
            found.append(await portraying.missing(db, 9))
    assert found == [[], [orders.MakePortrait(ROOM, users[0])], [], []]


async def test_an_avatar_that_somebody_else_wrote_is_none(world: World) -> None:
    """A kick holds the profile that the moderator's client sends."""
    await look(world, AVATAR)
    await speak(world)
    await look(world, OTHER, "leave", sender="@mod:hs")
    assert await portrait(world) == Portrait(ROOM, UserId(ALICE), "", None)
    assert key(AVATAR) not in world.files()


async def test_the_portrait_goes_with_the_last_recording(world: World) -> None:
    """Not even the row stays."""
    await look(world, AVATAR)
    await speak(world)
    async with world.store.write() as db:
        await world.recorder.apply(db, (await world.recording()).id, Deleted())
    await world.work()
    assert await portrait(world) is None
    assert key(AVATAR) not in world.files()


async def test_forget_me_and_an_opt_out_remove_it(world: World) -> None:
    """Row and file go at once, and an opt-out keeps them away."""
    await look(world, AVATAR)
    await speak(world)
    async with world.store.write() as db:
        found = await forgotten.traces(db, UserId(ALICE), None)
        await forgotten.remove_the_rest(db, found, world.clock())
    await world.work()
    assert await portrait(world) is None
    assert key(AVATAR) not in world.files()
    async with world.store.write() as db:
        await optouts.add(db, OptOut(UserId(ALICE), ROOM, Position(99), True, world.clock()))
        await portraits.save(db, Portrait(ROOM, UserId(ALICE), ""))
    await look(world, OTHER)
    assert await portrait(world) is None


async def test_an_avatar_that_can_not_be_used_is_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first answer is not final; the row says that there is no picture so far."""

    async def nothing(*_: Any) -> None:
        return None

    with monkeypatch.context() as patch:
        patch.setattr(covering, "safe_picture", nothing)
        await look(world, AVATAR)
        await world.begin(chunk("$c1", 1))
        await world.hear(info("$stop", "stopped", last_chunk_sequence=1))
        await world.work_on()
        assert await portrait(world) == Portrait(ROOM, UserId(ALICE), AVATAR, None)
    world.clock.pass_by(10)
    assert await world.work_one([orders.MakePortrait.kind])
    assert await portrait(world) == Portrait(ROOM, UserId(ALICE), AVATAR, key(AVATAR))


async def test_whose_last_message_is_redacted_has_no_portrait(world: World) -> None:
    """The other speaker of the session keeps theirs."""
    bob = UserId(session_world.BOB)
    members = [
        state("m.room.member", {"membership": "join", "avatar_url": avatar}, user, user, f"$of-{user}")
        for user, avatar in ((ALICE, AVATAR), (bob, OTHER))
    ]
    await world.intake.take(batch(before=tuple(members)))
    await session_world.begin(world, {"one": b"one", "two": b"two", "avatar": b"mxc a", "other": b"mxc o"})
    await session_world.say(world, "one")
    await session_world.say(world, "two", bob)
    await session_world.end(world)
    async with world.store.read() as db:
        assert len(await portraits.of_rooms(db, [ROOM])) == 2
    await world.hear(heard("$r", "m.room.redaction", {}, redacts="$two", sender=bob))
    await world.work_on()
    async with world.store.read() as db:
        assert [user for _, user in await portraits.of_rooms(db, [ROOM])] == [ALICE]
        assert await portraits.of(db, ROOM, bob) is None
