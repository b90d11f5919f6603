"""`publish public|private`, `publish RECORDING`, `unpublish RECORDING`."""

from dataclasses import replace

import pytest

from bot.commands.replies import general
from bot.commands.replies import publish as replies
from bot.feeds.guids import podcast_guid
from storage import heirs, rooms
from storage.records import EventId, Position, Recording, RecordingState, RoomId, Visibility
from tests.commands.world import BASE, MEMBER, MOD, ROOM, SPEAKER, World

OTHER = RoomId("!other:hs")


async def published(world: World) -> Recording:
    """A recording in a room that was made public after it."""
    recording = await world.recording()
    await world.say(MOD, "!aircheck publish public")
    return recording


async def test_public_is_announced_and_counts_from_the_command(world: World) -> None:
    """Only broadcasts that begin after `publish public` are public, even if the bot read them before it."""
    earlier = await world.recording(state=RecordingState.LIVE)
    job = world.command(MOD, "!aircheck publish public")
    later = await world.recording(state=RecordingState.LIVE)
    gone = await world.recording(state=RecordingState.DELETED)
    elsewhere = await world.recording(room_id=OTHER)
    before = await world.room()
    answer = await world.say(MOD, job.payload["body"], position=job.payload["position"])
    after = await world.room()
    assert answer is not None
    assert "public now: @mod:hs made it so" in answer
    assert f"{BASE}/r/{after.key}/feed.xml" in answer
    assert f"Page: {BASE}/r/{after.key}/" in answer
    assert (after.visibility, after.public_since) == (Visibility.PUBLIC, job.payload["position"])
    assert after.revision > before.revision
    assert after.key == before.key
    assert [(await world.look(one)).public for one in (earlier, later, gone, elsewhere)] == [False, True, False, False]


async def test_the_first_publication_gives_the_podcast_its_guid(world: World) -> None:
    """A podcast's GUID is made of its feed's address when it is first public, and stays when it is closed and opened
    again, or had another one before."""
    assert (await world.room()).podcast_guid == ""
    await world.say(MOD, "!aircheck publish public")
    first = (await world.room()).podcast_guid
    assert first == podcast_guid(f"{BASE}/r/{(await world.room()).key}/feed.xml")
    async with world.store.write() as db:
        await rooms.save_room(db, replace(await world.room(), podcast_guid="given before"))
    await world.say(MOD, "!aircheck publish private")
    await world.say(MOD, "!aircheck publish public")
    assert (await world.room()).podcast_guid == "given before"


async def test_public_twice_keeps_the_first_time(world: World) -> None:
    """A second `publish public` changes nothing."""
    await world.say(MOD, "!aircheck publish public")
    before = await world.room()
    answer = await world.say(MOD, "!aircheck publish public")
    assert answer == replies.public_already(f"{BASE}/r/{before.key}/feed.xml", 0)
    assert await world.room() == before


async def test_private_ends_the_public_addresses(world: World) -> None:
    """`publish private` closes everything, also what began after the command and was read before it."""
    await world.say(MOD, "!aircheck publish public")
    before = await world.room()
    on_air = await world.recording(public=True)
    job = world.command(MOD, "!aircheck publish private")
    later = await world.recording(public=True)
    answer = await world.say(MOD, job.payload["body"], position=job.payload["position"])
    assert answer == replies.now_private("@mod:hs", "!aircheck", 2)
    assert "2 recordings closed" in answer
    after = await world.room()
    assert after.visibility is Visibility.PRIVATE
    assert after.revision > before.revision
    assert await world.say(MOD, "!aircheck publish private") == replies.PRIVATE_ALREADY
    await world.say(MOD, "!aircheck publish public")
    assert [(await world.look(one)).public for one in (on_air, later)] == [False, False]


async def test_what_private_closed_is_published_one_by_one(world: World) -> None:
    """After a second `publish public`, only what its speaker publishes and what begins then is public."""
    await world.say(MOD, "!aircheck publish public")
    closed = [await world.recording(public=True) for _ in range(2)]
    await world.say(MOD, "!aircheck publish private")
    answer = await world.say(MOD, "!aircheck publish public") or ""
    assert "even if they were public before: `!aircheck publish RECORDING` opens one" in answer
    await world.say(SPEAKER, f"!aircheck publish {closed[0].code}")
    assert [(await world.look(one)).public for one in closed] == [True, False]
    assert "1 recording, and what begins here from now on" in (await world.say(MOD, "!aircheck publish public") or "")


async def test_private_closes_all_rooms_of_the_podcast(world: World) -> None:
    """`publish private` also closes what began in the upgraded room."""
    await world.open(room_id=OTHER)
    async with world.store.write() as db:
        assert await heirs.inherit(db, OTHER, ROOM)
    await world.say(MOD, "!aircheck publish public")
    old = await world.recording(room_id=OTHER, public=True)
    await world.say(MOD, "!aircheck publish private")
    await world.say(MOD, "!aircheck publish public")
    assert not (await world.look(old)).public


async def test_what_was_said_while_private_stays_private_when_public_again(world: World) -> None:
    """Each `publish public` counts for what begins after it only."""
    await world.say(MOD, "!aircheck publish public")
    await world.say(MOD, "!aircheck publish private")
    recording = await world.recording()
    await world.say(MOD, "!aircheck publish public")
    assert not (await world.look(recording)).public
    assert recording.position < ((await world.room()).public_since or 0)


@pytest.mark.parametrize("by", ["code", "CODE", "last", "event id"])
async def test_a_speaker_publishes_an_older_recording_and_takes_it_out(world: World, by: str) -> None:
    """A speaker publishes by any name of the recording, gets the page's address, and each change renews the feed."""
    recording = await published(world)
    names = {"code": recording.code, "CODE": recording.code.upper(), "last": "last", "event id": recording.event_id}
    room = await world.room()
    page = f"{BASE}/r/{room.key}/{recording.code}"
    answer = await world.say(SPEAKER, f"!aircheck publish {names[by]}")
    assert answer == replies.recording_published(recording.code, "@speaker:hs", page)
    assert (await world.look(recording)).public
    assert (await world.room()).revision == room.revision + 1
    again = await world.say(SPEAKER, f"!aircheck publish {names[by]}")
    assert again == replies.recording_public_already(recording.code, page)
    answer = await world.say(SPEAKER, f"!aircheck unpublish {names[by]}")
    assert answer == replies.recording_unpublished(recording.code, "@speaker:hs")
    assert not (await world.look(recording)).public
    assert (await world.room()).revision == room.revision + 2
    again = await world.say(SPEAKER, f"!aircheck unpublish {names[by]}")
    assert again == replies.recording_private_already(recording.code)


async def test_a_moderator_takes_out_what_is_not_theirs_and_puts_nothing_in(world: World) -> None:
    """A moderator may unpublish somebody else's recording, but not publish it."""
    recording = await published(world)
    assert await world.say(MOD, "!aircheck publish last") == general.ONLY_ITS_BROADCASTER
    await world.say(SPEAKER, "!aircheck publish last")
    assert await world.say(MEMBER, "!aircheck unpublish last") == general.ONLY_ITS_BROADCASTER_OR_MODS
    assert (await world.look(recording)).public
    await world.say(MOD, "!aircheck unpublish last")
    assert not (await world.look(recording)).public


async def test_in_a_private_room_nothing_is_published_by_itself(world: World) -> None:
    """No recording can be published before its room is public."""
    recording = await world.recording()
    assert await world.say(SPEAKER, "!aircheck publish last") == replies.room_is_private("!aircheck")
    assert not (await world.look(recording)).public


async def test_other_rooms_recordings_and_deleted_ones_are_not_there(world: World) -> None:
    """A recording of another room and a deleted one get the same answer, so that a code tells nothing."""
    there = await published(world)
    gone = await world.recording(state=RecordingState.DELETED)
    elsewhere = await world.recording(room_id=OTHER, broadcaster=SPEAKER)
    names = [gone.code, gone.event_id, elsewhere.code, elsewhere.event_id, "zzzzzz", "$nothing"]
    for name in names:
        for verb in ("publish", "unpublish"):
            assert await world.say(SPEAKER, f"!aircheck {verb} {name}") == general.NO_RECORDING
    assert not (await world.look(elsewhere)).public
    assert await world.say(SPEAKER, "!aircheck publish last") != general.NO_RECORDING
    assert (await world.look(there)).public


async def test_last_is_the_newest_that_can_be_heard(world: World) -> None:
    """`last` passes over empty and deleted recordings, however many."""
    assert await world.say(SPEAKER, "!aircheck unpublish last") == general.NO_RECORDING
    older = await published(world)
    world.clock.pass_by(60)
    newer = await world.recording(state=RecordingState.LIVE, event_id=EventId("$newer"), position=Position(5))
    for _ in range(14):
        world.clock.pass_by(60)
        await world.recording(state=RecordingState.EMPTY, length_ms=None)
    await world.say(SPEAKER, "!aircheck publish last")
    assert (await world.look(newer)).public
    assert not (await world.look(older)).public


async def test_a_room_that_closed_itself_is_opened_again_for_what_begins_then(world: World) -> None:
    """Recordings that were public before stay so; what began in between does not become public."""
    await world.say(MOD, "!aircheck publish public", position=50)
    before = await world.recording(public=True, position=Position(60))
    async with world.store.write() as db:
        await rooms.save_room(db, replace(await world.room(), closed_since=Position(70)))
    between = await world.recording(position=Position(80))
    answer = await world.say(MOD, "!aircheck publish public", position=90)
    assert "public again" in (answer or "")
    room = await world.room()
    assert (room.publishes, room.opens(Position(85)), room.opens(Position(95))) == (True, False, True)
    assert [(await world.look(one)).public for one in (before, between)] == [True, False]
