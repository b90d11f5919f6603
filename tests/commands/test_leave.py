"""`leave`: what stays is said first; then the bot leaves."""

from bot import orders
from storage.records import RecordingState, Visibility
from tests.commands.world import MOD, World


async def test_the_question_says_what_stays(world: World) -> None:
    """The question names the number of recordings, of the public ones, what runs, and the way to delete them."""
    await world.open(visibility=Visibility.PUBLIC)
    await world.recording(public=True)
    await world.recording(state=RecordingState.LIVE)
    await world.recording(state=RecordingState.EMPTY)
    question = await world.say(MOD, "!aircheck leave") or ""
    assert "2 recordings stay in the archive" in question
    assert "1 of them is public" in question
    assert "1 recording that is running is closed" in question
    assert "`!aircheck delete RECORDING`" in question
    assert await world.take(orders.Leave.kind) == ()


async def test_in_a_private_room_nothing_is_public(world: World) -> None:
    """A recording that would be public in a public room is not counted."""
    await world.recording(public=True)
    assert "public" not in (await world.say(MOD, "!aircheck leave") or "")


async def test_once_confirmed_the_bot_is_ordered_to_leave_with_the_reason(world: World) -> None:
    """The answer is said first; the reason names who asked."""
    await world.member(MOD, name="Mo")
    assert "Mo asked me to" in await world.confirmed(MOD, "!aircheck leave")
    (job,) = await world.take(orders.Leave.kind)
    assert orders.Leave.of(job).reason == "Mo asked me to leave."
