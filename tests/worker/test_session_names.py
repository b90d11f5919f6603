"""The names of a session's speakers: in file, feed and pages, and gone with the last sound of a speaker."""

import json
from dataclasses import replace

import pytest
from aiohttp import ClientSession

from bot import orders, topics
from bot.feeds.titles import episode_title, given_title, speaker
from bot.recording.model import Forgotten
from bot.recording.report import recording_json
from bot.web.server import WebServer
from storage import archive, jobs, rooms
from storage.records import Announce, UserId, Visibility
from tests.worker.session_world import BOB, Tone, begin, end, say, session
from tests.world import ALICE, ROOM, World, batch, heard, state

FILES = {name: Tone(400 + 200 * number, 48_000).wav() for number, name in enumerate("abc")}


async def name(world: World, who: str, displayname: str) -> None:
    await world.intake.take(
        batch(before=(state("m.room.member", {"membership": "join", "displayname": displayname}, who, who),))
    )


async def published(world: World, first: str) -> dict[str, bytes]:
    """Return everything that is told of a session, by address; and its JSON."""
    recording = await session(world, first)
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, visibility=Visibility.PUBLIC))
        await archive.save_recording(db, replace(recording, public=True))
        chunks, made = await archive.chunks(db, recording.id), await archive.episode(db, recording.id)
    zone = world.settings.feeds.zone
    told = recording_json(
        recording,
        chunks,
        made,
        title=episode_title(recording, zone),
        given_title=given_title(recording),
        named=speaker,
        path=None,
    )
    found = {"json": json.dumps(told).encode()}
    server = WebServer(world.store, world.settings, lambda: True, world.clock, lambda: None)
    await server.start(lambda: True)
    try:
        async with ClientSession(server.address) as client:
            for end_ in ("", "feed.xml", recording.code, f"{recording.code}.mp3", f"{recording.code}.chapters.json"):
                async with client.get(f"/r/{room.key}/{end_}") as answer:
                    found[end_] = await answer.read() if answer.status == 200 else b""
    finally:
        await server.stop()
    return found


async def test_the_announcement_names_who_spoke(world: World) -> None:
    """A finished session is announced as a reply to its first message, with all who spoke, its length and its state; a
    room that wants it is told when it begins, too."""
    await name(world, ALICE, "Xanthippe")
    await name(world, BOB, "Quirinus")
    await begin(world, FILES)
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, announce=Announce.ON))
    await say(world, "a", ALICE)
    await say(world, "b", BOB)
    await end(world)
    recording = await session(world, "a")
    async with world.store.read() as db:
        begun = await jobs.find(db, orders.Notice.about(topics.recording_begun(recording.event_id)))
        told = await jobs.find(db, orders.Notice.about(topics.episode_published(recording.event_id)))
    assert begun is not None
    assert told is not None
    assert orders.Notice.of(begun).body.startswith("I am recording: Xanthippe has sent a voice message.")
    notice = orders.Notice.of(told)
    assert notice.reply_to == "$a"
    title = episode_title(recording, world.settings.feeds.zone)
    assert title.startswith("Xanthippe, ")
    assert (
        notice.body == f"{title}, with Quirinus (3 s, complete) is ready. Say `!aircheck feed` to get your own address."
    )


@pytest.mark.parametrize(("gone", "forgotten"), [(ALICE, False), (BOB, True)])
async def test_a_name_goes_with_the_last_sound(world: World, gone: str, forgotten: bool) -> None:
    """When all that a speaker said is taken out, also of whoever began, their name is nowhere: not in the file, the
    feed, the pages, the chapters and the JSON. The others stay."""
    names = {ALICE: "Xanthippe", BOB: "Quirinus"}
    for who, displayname in names.items():
        await name(world, who, displayname)
    await begin(world, FILES)
    for number, message in enumerate(FILES):
        await say(world, message, BOB if number == 1 else ALICE)
    await end(world)
    before = await published(world, "a")
    for address, content in before.items():
        assert all(each.encode() in content for each in names.values()), address
        assert address == "json" or b":hs" not in content
    recording = await session(world, "a")
    if forgotten:
        async with world.store.write() as db:
            await world.recorder.apply(db, recording.id, Forgotten(UserId(gone)))
    else:
        for number, message in enumerate(FILES):
            if (BOB if number == 1 else ALICE) == gone:
                await world.hear(heard(f"$r{message}", "m.room.redaction", {}, redacts=f"${message}", sender=gone))
    await world.work_on()
    after = await published(world, "a")
    (left,) = (displayname for who, displayname in names.items() if who != gone)
    for address, content in after.items():
        assert names[gone].encode() not in content, address
        assert left.encode() in content or address.endswith(".chapters.json"), address
    assert after[f"{recording.code}.chapters.json"] == b""
