"""Speakers' pictures and the original sound below a room's address."""

from hashlib import sha256

import pytest
from aiohttp import ClientSession

from bot import orders
from storage import jobs, originals, portraits
from storage.records import BlobKey, Original, Portrait, Recording, RecordingState, Room, UserId, Visibility
from tests.blobs import add_bytes, folder_of
from tests.web.world import ALICE, BOB, World


async def kept(world: World, data: bytes) -> BlobKey:
    key = BlobKey(sha256(data).hexdigest())
    add_bytes(world.store, data, key)
    return key


async def with_portrait(world: World, room: Room, user: UserId, data: bytes) -> str:
    """Give a user a portrait in a room, and return its name."""
    key = await kept(world, data)
    async with world.store.write() as db:
        await portraits.save(db, Portrait(room.room_id, user, "mxc://hs/a", key))
    return f"portrait-{key[:16]}.jpg"


async def test_in_public_only_speakers_of_public_recordings_have_a_face(world: World, client: ClientSession) -> None:
    """Members with a personal address see the others too; other rooms' portraits are not there."""
    room, other = await world.room(visibility=Visibility.PUBLIC), await world.room(visibility=Visibility.PUBLIC)
    await world.episode(await world.recording(room))
    await world.recording(room, broadcaster=BOB, public=False)
    alice = await with_portrait(world, room, ALICE, b"alice")
    bob = await with_portrait(world, room, BOB, b"bob")
    elsewhere = await with_portrait(world, other, ALICE, b"else")
    await world.member(room, BOB)
    token = await world.listener(room, BOB)
    answers = {}
    for root in (f"/r/{room.key}/", f"/p/{token}/"):
        for name in (alice, bob, elsewhere, "portrait-0123456789abcdef.jpg"):
            async with client.get(root + name) as response:
                answers[root[1], name] = response.status, await response.read() if response.ok else b""
                if response.ok:
                    scope = "public" if root.startswith("/r") else "private"
                    assert response.headers["Cache-Control"] == f"{scope}, no-cache"
                    assert response.headers["Content-Type"] == "image/jpeg"
    assert [answers["r", name][0] for name in (alice, bob, elsewhere)] == [200, 404, 404]
    assert [answers["p", name] for name in (alice, bob)] == [(200, b"alice"), (200, b"bob")]
    assert answers["p", elsewhere][0] == answers["r", "portrait-0123456789abcdef.jpg"][0] == 404


async def with_original(world: World, recording: Recording, fingerprint: str) -> bytes:
    data = b"OggS original"
    key = await kept(world, data)
    async with world.store.write() as db:
        await originals.save(db, Original(recording.id, fingerprint, key, len(data), "digest"))
    return data


@pytest.mark.parametrize("fingerprint", ["now", "before"])
async def test_the_original_sound_is_that_of_the_episode(world: World, client: ClientSession, fingerprint: str) -> None:
    """The file comes with ranges and a strong tag; that of an earlier episode is not served."""
    room = await world.room(visibility=Visibility.PUBLIC)
    recording = await world.recording(room, state=RecordingState.COMPLETE)
    await world.episode(recording, fingerprint="now")
    data = await with_original(world, recording, fingerprint)
    address = f"/r/{room.key}/{recording.code}.opus"
    async with client.get(address, headers={"Range": "bytes=5-"}) as response:
        if fingerprint == "before":
            assert response.status == 404
            return
        assert (response.status, await response.read()) == (206, data[5:])
        assert response.headers["Content-Type"] == "audio/ogg; codecs=opus"
        assert response.headers["ETag"] == f'"{sha256(data).hexdigest()}"'
    async with client.head(address) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(data)))


async def test_a_lost_original_is_joined_again(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An original whose file is gone is in no feed, and ordered anew, while its episode stays; that of the episode is
    noticed all the same."""
    monkeypatch.setattr("bot.web.feeds.LOOK_EACH_S", 0)
    room = await world.room(visibility=Visibility.PUBLIC)
    recording = await world.recording(room, state=RecordingState.COMPLETE)
    episode = await world.episode(recording, fingerprint="now")
    key = BlobKey(sha256(await with_original(world, recording, "now")).hexdigest())

    async def listed() -> list[bool]:
        async with client.get(f"/r/{room.key}/feed.xml") as response:
            text = await response.text()
        return [f"{recording.code}.{ending}" in text for ending in ("mp3", "opus")]

    async def ordered() -> list[int]:
        async with world.store.read() as db:
            kinds = orders.CheckEpisode.kind, orders.KeepOriginal.kind
            return [len(await jobs.unfinished(db, kind)) for kind in kinds]

    assert await listed() == [True, True]
    folder_of(world.store).remove(key)
    async with client.get(f"/r/{room.key}/{recording.code}.opus") as response:
        assert response.status == 404
    assert (await listed(), await ordered()) == ([True, False], [0, 1])
    folder_of(world.store).remove(episode.blob)
    assert (await listed(), await ordered()) == ([False, False], [1, 1])
