"""`publish public|private`, `publish RECORDING`, `unpublish RECORDING`"""

import pytest

from bot.commands import replies
from storage import heirs
from storage.records import EventId, Position, Recording, RecordingState, RoomId, Visibility
from tests.commands.stage import BASE, MEMBER, MOD, ROOM, SPEAKER, Stage

OTHER = RoomId("!other:hs")


async def published(stage: Stage) -> Recording:
    """A recording in a room that was made public after it."""
    recording = await stage.recording()
    await stage.say(MOD, "!aircheck publish public")
    return recording


async def test_public_is_announced_and_counts_from_the_command(stage: Stage) -> None:
    """What began before stays private; what began after, though the bot read it first, is public."""
    earlier = await stage.recording(state=RecordingState.LIVE)
    job = stage.command(MOD, "!aircheck publish public")
    later = await stage.recording(state=RecordingState.LIVE)
    gone = await stage.recording(state=RecordingState.DELETED)
    elsewhere = await stage.recording(room_id=OTHER)
    before = await stage.room()
    answer = await stage.say(MOD, job.payload["body"], position=job.payload["position"])
    after = await stage.room()
    assert answer is not None
    assert "public now: @mod:hs made it so" in answer
    assert f"{BASE}/r/{after.key}/feed.xml" in answer
    assert f"Page: {BASE}/r/{after.key}/" in answer
    assert (after.visibility, after.public_since) == (Visibility.PUBLIC, job.payload["position"])
    assert after.revision > before.revision
    assert after.key == before.key
    assert [(await stage.look(one)).public for one in (earlier, later, gone, elsewhere)] == [False, True, False, False]


async def test_public_twice_keeps_the_first_time(stage: Stage) -> None:
    """Saying it again moves nothing."""
    await stage.say(MOD, "!aircheck publish public")
    before = await stage.room()
    answer = await stage.say(MOD, "!aircheck publish public")
    assert answer == replies.public_already(f"{BASE}/r/{before.key}/feed.xml", 0)
    assert await stage.room() == before


async def test_private_ends_the_public_addresses(stage: Stage) -> None:
    """What was public, and what began after the command, though the bot read it first, is private for good."""
    await stage.say(MOD, "!aircheck publish public")
    before = await stage.room()
    on_air = await stage.recording(public=True)
    job = stage.command(MOD, "!aircheck publish private")
    later = await stage.recording(public=True)
    answer = await stage.say(MOD, job.payload["body"], position=job.payload["position"])
    assert answer == replies.now_private("@mod:hs", "!aircheck", 2)
    assert "2 recordings closed" in answer
    after = await stage.room()
    assert after.visibility is Visibility.PRIVATE
    assert after.revision > before.revision
    assert await stage.say(MOD, "!aircheck publish private") == replies.PRIVATE_ALREADY
    await stage.say(MOD, "!aircheck publish public")
    assert [(await stage.look(one)).public for one in (on_air, later)] == [False, False]


async def test_what_private_closed_is_published_one_by_one(stage: Stage) -> None:
    """Public again, only what its speaker publishes is heard beside what begins now, and the answers say so."""
    await stage.say(MOD, "!aircheck publish public")
    closed = [await stage.recording(public=True) for _ in range(2)]
    await stage.say(MOD, "!aircheck publish private")
    answer = await stage.say(MOD, "!aircheck publish public") or ""
    assert "also those that were public before: `!aircheck publish RECORDING` opens one" in answer
    await stage.say(SPEAKER, f"!aircheck publish {closed[0].code}")
    assert [(await stage.look(one)).public for one in closed] == [True, False]
    assert "1 recording, and what begins here from now on" in (await stage.say(MOD, "!aircheck publish public") or "")


async def test_private_closes_all_rooms_of_the_podcast(stage: Stage) -> None:
    """Also what began in the room that was upgraded."""
    await stage.open(room_id=OTHER)
    async with stage.store.write() as db:
        assert await heirs.inherit(db, OTHER, ROOM)
    await stage.say(MOD, "!aircheck publish public")
    old = await stage.recording(room_id=OTHER, public=True)
    await stage.say(MOD, "!aircheck publish private")
    await stage.say(MOD, "!aircheck publish public")
    assert not (await stage.look(old)).public


async def test_what_was_said_while_private_stays_private_when_public_again(stage: Stage) -> None:
    """Going public is for what comes after, each time."""
    await stage.say(MOD, "!aircheck publish public")
    await stage.say(MOD, "!aircheck publish private")
    recording = await stage.recording()
    await stage.say(MOD, "!aircheck publish public")
    assert not (await stage.look(recording)).public
    assert recording.position < ((await stage.room()).public_since or 0)


@pytest.mark.parametrize("by", ["code", "CODE", "last", "event id"])
async def test_a_speaker_publishes_an_older_recording_and_takes_it_out(stage: Stage, by: str) -> None:
    """By any of its names; the page's address is in the answer, and the feed is made anew each time."""
    recording = await published(stage)
    names = {"code": recording.code, "CODE": recording.code.upper(), "last": "last", "event id": recording.event_id}
    room = await stage.room()
    page = f"{BASE}/r/{room.key}/{recording.code}"
    answer = await stage.say(SPEAKER, f"!aircheck publish {names[by]}")
    assert answer == replies.recording_published(recording.code, "@speaker:hs", page)
    assert (await stage.look(recording)).public
    assert (await stage.room()).revision == room.revision + 1
    again = await stage.say(SPEAKER, f"!aircheck publish {names[by]}")
    assert again == replies.recording_public_already(recording.code, page)
    answer = await stage.say(SPEAKER, f"!aircheck unpublish {names[by]}")
    assert answer == replies.recording_unpublished(recording.code, "@speaker:hs")
    assert not (await stage.look(recording)).public
    assert (await stage.room()).revision == room.revision + 2
    again = await stage.say(SPEAKER, f"!aircheck unpublish {names[by]}")
    assert again == replies.recording_private_already(recording.code)


async def test_a_moderator_takes_out_what_is_not_theirs_and_puts_nothing_in(stage: Stage) -> None:
    """Nobody's words are made public by somebody else."""
    recording = await published(stage)
    assert await stage.say(MOD, "!aircheck publish last") == replies.ONLY_ITS_SPEAKER
    await stage.say(SPEAKER, "!aircheck publish last")
    assert await stage.say(MEMBER, "!aircheck unpublish last") == replies.ONLY_ITS_SPEAKER_OR_MODS
    assert (await stage.look(recording)).public
    await stage.say(MOD, "!aircheck unpublish last")
    assert not (await stage.look(recording)).public


async def test_in_a_private_room_nothing_is_published_by_itself(stage: Stage) -> None:
    """First the room, then the recording."""
    recording = await stage.recording()
    assert await stage.say(SPEAKER, "!aircheck publish last") == replies.room_is_private("!aircheck")
    assert not (await stage.look(recording)).public


async def test_other_rooms_recordings_and_deleted_ones_are_not_there(stage: Stage) -> None:
    """One sentence for all that this room has not: a code tells nothing about other rooms."""
    there = await published(stage)
    gone = await stage.recording(state=RecordingState.DELETED)
    elsewhere = await stage.recording(room_id=OTHER, broadcaster=SPEAKER)
    names = [gone.code, gone.event_id, elsewhere.code, elsewhere.event_id, "zzzzzz", "$nothing"]
    for name in names:
        for verb in ("publish", "unpublish"):
            assert await stage.say(SPEAKER, f"!aircheck {verb} {name}") == replies.NO_RECORDING
    assert not (await stage.look(elsewhere)).public
    assert await stage.say(SPEAKER, "!aircheck publish last") != replies.NO_RECORDING
    assert (await stage.look(there)).public


async def test_last_is_the_newest_that_can_be_heard(stage: Stage) -> None:
    """Empty and deleted ones are passed over, however many."""
    assert await stage.say(SPEAKER, "!aircheck unpublish last") == replies.NO_RECORDING
    older = await published(stage)
    stage.clock.pass_by(60)
    newer = await stage.recording(state=RecordingState.LIVE, event_id=EventId("$newer"), position=Position(5))
    for _ in range(14):
        stage.clock.pass_by(60)
        await stage.recording(state=RecordingState.EMPTY, length_ms=None)
    await stage.say(SPEAKER, "!aircheck publish last")
    assert (await stage.look(newer)).public
    assert not (await stage.look(older)).public
