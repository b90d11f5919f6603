"""`retention [N days|N episodes|forever]`, `keep RECORDING`, `unkeep RECORDING`"""

from datetime import timedelta
from typing import Any

import pytest

from bot import orders
from bot.commands.replies import general
from bot.commands.replies import retention as replies
from bot.settings import RetentionSettings
from storage import changes
from storage.records import Recording, RecordingState, Retention, RoomId, UserId
from tests.commands.world import MEMBER, MOD, ROOM, SPEAKER, World

DAY = timedelta(days=1)


async def old_recording(world: World, days: int, **fields: Any) -> Recording:
    """Make a recording that ended so many days ago."""
    ended = world.clock() - days * DAY
    return await world.recording(started_at=ended, ended_at=ended, **fields)


async def log(world: World) -> list[tuple[str, str | None, str | None, str | None]]:
    async with world.store.read() as db:
        return [(each.what, each.subject, each.before, each.after) for each in await changes.of_rooms(db, [ROOM])]


@pytest.mark.parametrize(
    ("words", "retention", "told"),
    [
        ("30 days", Retention(days=30), "Recordings stay here for 30 days after their end."),
        ("1 DAY", Retention(days=1), "Recordings stay here for 1 day after their end."),
        ("36500 days", Retention(days=36500), "Recordings stay here for 36500 days after their end."),
        ("20 episodes", Retention(episodes=20), "The newest 20 episodes stay here."),
        ("1 episode", Retention(episodes=1), "The newest episode stays here."),
    ],
)
async def test_a_moderator_decides_how_long_recordings_stay(
    world: World, words: str, retention: Retention, told: str
) -> None:
    """The rule is kept and logged, a look at the podcast is ordered, and the answer says who set it."""
    answer = await world.say(MOD, f"!aircheck retention {words}")
    assert answer == (
        f"{told} @mod:hs set it. I tell this room 7 days before one goes; not one goes sooner.\n"
        "Nothing has to go so far."
    )
    assert (await world.room()).retention == retention
    assert await log(world) == [("retention", None, "forever", str(retention))]
    (job,) = await world.take(orders.Expire.kind)
    assert job.subject == ROOM
    again = await world.say(MOD, f"!aircheck retention {words}")
    assert again == f"{told} That was the rule already.\nNothing has to go so far."
    assert len(await log(world)) == 1
    await world.say(MOD, "!aircheck retention forever")
    assert (await world.room()).retention == Retention()


async def test_the_answer_says_what_will_go_and_when(world: World) -> None:
    """All that the new rule ends is listed with its day, and how to keep one."""
    old, kept = await old_recording(world, 31, title="Soup"), await old_recording(world, 90, kept=True)
    answer = await world.say(MOD, "!aircheck retention 30 days") or ""
    line = f"{old.code} · Soup, by Mira · 27 November 2026, 14:05 (UTC) · older than 30 days"
    assert answer.endswith(f"\nThis recording goes:\n{line}\n`!aircheck keep CODE` keeps one.")
    assert kept.code not in answer
    told = await world.say(MEMBER, "!aircheck retention")
    assert told == (
        "Recordings stay here for 30 days after their end.\n1 recording is kept for good.\nThis recording goes:\n"
        f"{line}\n`!aircheck keep CODE` keeps one."
    )


async def test_without_a_time_of_notice_the_answer_says_that_they_go_now(world: World) -> None:
    """With `warn_days: 0` the answer is all that the room hears before."""
    world.retention = RetentionSettings(warn_days=0, max_days=365)
    old = [await old_recording(world, days) for days in (1, 2, 3)]
    answer = await world.say(MOD, "!aircheck retention 1 episode") or ""
    assert answer.startswith("The newest episode stays here. The administrator lets no room keep them longer than 365 ")
    assert "These 2 recordings go now:\n" in answer
    assert "keep CODE" not in answer
    assert [recording.code in answer for recording in old] == [False, True, True]


async def test_a_longer_rule_forgets_what_was_told(world: World) -> None:
    """A recording that the new rule spares has to be told anew by a later one."""
    told = {"expiry_told_at": world.clock() - 6 * DAY, "expiry_tried_at": world.clock() - 6 * DAY}
    old = await old_recording(world, 31, **told)
    await world.say(MOD, "!aircheck retention 90 days")
    assert ((await world.look(old)).expiry_told_at, (await world.look(old)).expiry_tried_at) == (None, None)
    answer = await world.say(MOD, "!aircheck retention 30 days") or ""
    assert "27 November 2026, 14:05 (UTC)" in answer


@pytest.mark.parametrize(
    ("words", "what", "most"),
    [
        ("0 days", "days", 36_500),
        ("-3 days", "days", 36_500),
        ("36501 days", "days", 36_500),
        (f"{'9' * 5000} day", "days", 36_500),
        ("0 episodes", "episodes", 100_000),
        ("100001 episodes", "episodes", 100_000),
    ],
)
async def test_a_number_out_of_bounds_is_refused_with_an_example(
    world: World, words: str, what: str, most: int
) -> None:
    """Zero would delete everything: the answer says what is possible, and how one recording is deleted."""
    answer = await world.say(MOD, f"!aircheck retention {words}")
    assert answer == replies.out_of_bounds(what, most, "!aircheck")
    assert f"`!aircheck retention 30 {what}`" in answer
    assert (await world.room()).retention == Retention()


@pytest.mark.parametrize(
    "words", ["days", "30", "30 weeks", "1.5 days", "thirty days", "٣ days", "forever 3", "- days"]
)
async def test_words_that_are_no_rule_change_nothing(world: World, words: str) -> None:
    """The answer shows the forms of the command."""
    answer = await world.say(MOD, f"!aircheck retention {words}") or ""
    assert "`!aircheck retention N days|N episodes|forever`" in answer
    assert (await world.room()).retention == Retention()


@pytest.mark.parametrize("user", [SPEAKER, MOD])
async def test_a_recording_is_kept_and_let_go_again(world: World, user: UserId) -> None:
    """`keep` and `unkeep` are logged; what was told of it is to be told anew."""
    told = {"expiry_told_at": world.clock(), "expiry_tried_at": world.clock()}
    old = await old_recording(world, 31, **told)
    assert await world.say(SPEAKER, "!aircheck unkeep last") == replies.not_kept(old.code)
    assert await world.say(user, "!aircheck keep last") == replies.kept(old.code, user)
    kept = await world.look(old)
    assert (kept.kept, kept.expiry_told_at, kept.expiry_tried_at) == (True, None, None)
    assert await world.say(user, f"!aircheck keep {old.code}") == replies.kept_already(old.code)
    assert await world.take(orders.Expire.kind) == ()
    stays = "Recordings stay here forever."
    assert await world.say(user, f"!aircheck unkeep {old.code}") == replies.no_longer_kept(old.code, user, stays)
    assert not (await world.look(old)).kept
    assert len(await world.take(orders.Expire.kind)) == 1
    assert await log(world) == [("unkeep", old.code, None, None), ("keep", old.code, None, None)]


async def test_keep_names_a_recording_of_this_room(world: World) -> None:
    """Recordings of other rooms and deleted ones are refused; missing words are answered with the form."""
    elsewhere = await world.recording(room_id=RoomId("!other:hs"))
    gone = await world.recording(state=RecordingState.DELETED)
    for code in (elsewhere.code, gone.code, "zzzzzz"):
        assert await world.say(MOD, f"!aircheck keep {code}") == general.NO_RECORDING
    for words in ("", " kfm", " last now"):
        assert "`!aircheck keep RECORDING`" in (await world.say(MOD, f"!aircheck keep{words}") or "")
    assert not (await world.look(elsewhere)).kept
