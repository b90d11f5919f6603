"""`review on|off`, `approve RECORDING`."""

from typing import Any

import pytest

from bot import orders
from bot.commands.replies import general
from bot.commands.replies import review as replies
from storage import changes, heirs
from storage.records import ChunkState, Position, RecordingKind, RecordingState, RoomId
from tests.commands.world import MEMBER, MOD, ROOM, SPEAKER, World

OLD_ROOM = RoomId("!old:hs")


async def log_of(world: World) -> list[tuple[str, str | None, str | None, str | None]]:
    async with world.store.read() as db:
        found = await changes.of_rooms(db, [ROOM])
    return [(change.what, change.subject, change.before, change.after) for change in found][::-1]


async def test_on_and_off_are_told_and_logged(world: World) -> None:
    """The switch names who used it, is in the log, and changes nothing the second time."""
    assert "Review is off" in (await world.say(MEMBER, "!aircheck review") or "")
    assert "Review is on: @mod:hs switched it on." in (await world.say(MOD, "!aircheck review on") or "")
    assert (await world.room()).review
    before = await world.room()
    assert "already on" in (await world.say(MOD, "!aircheck review on") or "")
    assert await world.room() == before
    assert "Review is off: @mod:hs switched it off." in (await world.say(MOD, "!aircheck review off") or "")
    assert await log_of(world) == [("review", None, "off", "on"), ("review", None, "on", "off")]


@pytest.mark.parametrize(
    ("fields", "waits"),
    [
        ({"state": RecordingState.LIVE}, True),
        ({"state": RecordingState.FINISHING, "length_ms": None}, True),
        ({"state": RecordingState.FINISHING}, False),
        ({}, False),
        ({"position": Position(10_000)}, True),
        ({"position": Position(10_000), "state": RecordingState.DELETED}, False),
    ],
    ids=["live", "without its episode", "healing", "published", "began after the command", "deleted"],
)
async def test_on_counts_for_what_is_new(world: World, fields: dict[str, Any], waits: bool) -> None:
    """Recordings that run, have no episode yet, or began after the command wait; published ones do not."""
    recording = await world.recording(**fields)
    await world.say(MOD, "!aircheck review on", position=Position(5000))
    assert (await world.look(recording)).unreviewed is waits


async def test_off_leaves_what_waits_and_says_how_to_approve_it(world: World) -> None:
    """`review off` publishes nothing by itself."""
    await world.say(MOD, "!aircheck review on")
    waiting = [await world.recording(unreviewed=True) for _ in range(2)]
    answer = await world.say(MOD, "!aircheck review off") or ""
    assert "2 recordings wait for approval" in answer
    assert all(recording.code in answer for recording in waiting)
    assert "`!aircheck approve CODE`" in answer
    assert [(await world.look(one)).unreviewed for one in waiting] == [True, True]


@pytest.mark.parametrize("who", [SPEAKER, MOD])
async def test_an_approved_episode_is_published_by_a_job(world: World, who: Any) -> None:
    """Its speaker or a moderator approves; the job that finishes it publishes and announces it."""
    recording = await world.recording(unreviewed=True)
    revision = (await world.room()).revision
    answer = await world.say(who, f"!aircheck approve {recording.code}")
    assert answer == replies.approved(recording.code, who, runs=False)
    assert not (await world.look(recording)).unreviewed
    assert [job.subject for job in await world.take(orders.Finish.kind)] == [str(recording.id)]
    assert (await world.room()).revision > revision
    assert await log_of(world) == [("approve", recording.code, "waits", "approved")]
    assert await world.say(who, "!aircheck approve last") == replies.does_not_wait(recording.code)


async def test_what_is_live_can_be_approved_beforehand(world: World) -> None:
    """A live recording is published when it is finished, and no job finishes it early."""
    recording = await world.recording(state=RecordingState.LIVE, length_ms=None, unreviewed=True)
    answer = await world.say(SPEAKER, "!aircheck approve last")
    assert answer == replies.approved(recording.code, SPEAKER, runs=True)
    assert not await world.take(orders.Finish.kind)


async def test_nobody_else_approves(world: World) -> None:
    """Another member, and a speaker who has left, can't approve."""
    recording = await world.recording(unreviewed=True)
    assert await world.say(MEMBER, "!aircheck approve last") == general.ONLY_ITS_SPEAKERS_OR_MODS
    await world.member(SPEAKER, "leave")
    assert await world.say(SPEAKER, "!aircheck approve last") is None
    assert (await world.look(recording)).unreviewed


async def test_who_sent_some_of_the_sound_is_a_speaker(world: World) -> None:
    """Everybody whose sound is stored may approve a recording; a refused part makes nobody its speaker."""
    recording = await world.recording(unreviewed=True, kind=RecordingKind.VOICE_MESSAGES)
    await world.chunk(recording, ChunkState.REFUSED, sender=MEMBER)
    assert await world.say(MEMBER, "!aircheck approve last") == general.ONLY_ITS_SPEAKERS_OR_MODS
    await world.chunk(recording, ChunkState.STORED, sender=MEMBER)
    assert await world.say(MEMBER, "!aircheck approve last") == replies.approved(recording.code, MEMBER, runs=False)


async def test_what_waits_is_marked_and_its_page_is_given_to_nobody(world: World) -> None:
    """`list` and `status` say that a recording waits, without an address; it counts as public nowhere."""
    await world.say(MOD, "!aircheck publish public")
    waiting = await world.recording(public=True, unreviewed=True)
    listed = await world.say(MEMBER, "!aircheck list") or ""
    assert "waits for approval" in listed
    assert "public" not in listed
    status = await world.say(MEMBER, "!aircheck status") or ""
    assert "waits for approval" in status
    assert f"/{waiting.code}" not in listed + status
    assert await world.say(SPEAKER, "!aircheck publish last") == replies.waits(waiting.code, "!aircheck")
    assert "0 recordings" in (await world.say(MOD, "!aircheck publish public") or "")


async def test_review_counts_for_all_rooms_of_the_podcast(world: World) -> None:
    """A broadcast that still runs in the upgraded room waits too."""
    await world.open(room_id=OLD_ROOM)
    async with world.store.write() as db:
        assert await heirs.inherit(db, OLD_ROOM, ROOM)
    running = await world.recording(room_id=OLD_ROOM, state=RecordingState.LIVE, length_ms=None)
    assert running.code in (await world.say(MOD, "!aircheck review on") or "")
    assert (await world.look(running)).unreviewed
