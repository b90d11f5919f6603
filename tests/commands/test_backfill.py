"""`backfill [since]`: the words of its day."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from bot import orders
from bot.commands.replies import backfill as replies
from bot.dates import Misread
from bot.settings import FeedsSettings
from tests.commands.world import MOD, ROOM, World


async def since(world: World) -> datetime | None:
    (job,) = await world.take(orders.Backfill.kind)
    return orders.Backfill.of(job).since


@pytest.mark.parametrize(
    ("words", "day"), [("2026-01-31", 31), ("31.1.2026", 31), ("31 January 2026", 31), ("42 weeks ago", 30)]
)
async def test_a_day_is_taken_as_people_write_it(world: World, words: str, day: int) -> None:
    """The search goes back to the beginning of the day, in the zone of the settings."""
    world.feeds = FeedsSettings(timezone="Europe/Berlin")
    began = datetime(2026, 1, day, tzinfo=ZoneInfo("Europe/Berlin"))
    answer = await world.say(MOD, f"!aircheck backfill {words}")
    assert answer == replies.begins(began, world.feeds.zone)
    assert f"since {day} January 2026, 00:00 (Europe/Berlin)" in answer
    assert await since(world) == began.astimezone(UTC)


async def test_a_day_in_german_is_taken_where_german_is_spoken(world: World) -> None:
    """`gestern` is a day in a room whose language is German only."""
    answer = await world.say(MOD, "!aircheck backfill gestern")
    assert answer == replies.misread(Misread.UNREADABLE, "!aircheck backfill")
    await world.say(MOD, "!aircheck language de")
    await world.say(MOD, "!aircheck backfill gestern")
    assert await since(world) == datetime(2026, 11, 19, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "why"), [("tomorrow", Misread.FUTURE), ("1/2/2026", Misread.AMBIGUOUS), ("1.1.1990", Misread.TOO_EARLY)]
)
async def test_another_day_is_refused_with_examples(world: World, words: str, why: Misread) -> None:
    """A day to come and an ambiguous one begin no search; the answer has days that are right."""
    answer = await world.say(MOD, f"!aircheck backfill {words}")
    assert answer == replies.misread(why, "!aircheck backfill")
    for example in ("2026-01-31", "31.1.2026", "yesterday", "2 weeks ago"):
        assert f"`!aircheck backfill {example}`" in answer
    assert await world.take(orders.Backfill.kind) == ()
    assert (await world.room(ROOM)).recording_on


async def test_messages_are_searched_for_by_a_search_of_their_own(world: World) -> None:
    """With or without a day; a second one waits for the first to end, and broadcasts are searched for meanwhile."""
    began = datetime(2026, 11, 19, tzinfo=UTC)
    answer = await world.say(MOD, "!aircheck backfill messages yesterday")
    assert answer == replies.messages_begin(began, world.feeds.zone)
    assert await world.say(MOD, "!aircheck backfill MESSAGES") == replies.BACKFILL_UNDER_WAY
    assert await world.say(MOD, "!aircheck backfill") == replies.BACKFILL_BEGINS
    (job,) = await world.take(orders.BackfillMessages.kind)
    order = orders.BackfillMessages.of(job)
    assert (order.since, order.command is None) == (began, False)
    assert order.at is not None
    assert order.asked_at is not None


async def test_a_day_that_messages_can_t_be_searched_from_is_refused(world: World) -> None:
    """The examples are those of this command."""
    answer = await world.say(MOD, "!aircheck backfill messages tomorrow")
    assert answer == replies.misread(Misread.FUTURE, "!aircheck backfill messages")
    assert "`!aircheck backfill messages 2 weeks ago`" in answer
