"""Questions before what can't be undone: who confirms them, where, how, and for how long."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot import orders
from bot.commands.replies import confirm as replies
from bot.commands.replies import general
from storage import archive, questions, rooms
from storage.records import EventId, RecordingState, UserId
from tests.commands.world import ADMIN, CREATOR, MEMBER, MOD, ROOM, SPEAKER, World

YES, DELETE = "!aircheck yes", "!aircheck delete last"


async def asked(world: World, by: UserId = MOD, command: str = DELETE, **fields: bool) -> EventId:
    """Say a command that asks, and return the event of the question."""
    answer = await world.say(by, command, **fields)
    question = await world.question(by)
    assert answer is not None
    assert question is not None
    assert question.event_id is not None
    return question.event_id


async def gone(world: World) -> bool:
    async with world.store.read() as db:
        (recording,) = await archive.recordings(db, ROOM)
    return recording.state is RecordingState.DELETED


async def test_the_question_names_what_will_be_gone_and_how_to_confirm_it(world: World) -> None:
    """Until it is confirmed nothing is changed; then it is done, once."""
    recording = await world.recording(title="Soup")
    question = await world.say(SPEAKER, DELETE)
    assert question is not None
    assert f"{recording.code} · Soup, by Mira · 1 min 1 s" in question
    assert "`!aircheck yes`" in question
    assert "👍 within 60 seconds" in question
    assert await world.look(recording) == recording
    assert f"{recording.code} is deleted" in (await world.say(SPEAKER, YES) or "")
    assert await gone(world)
    assert await world.say(SPEAKER, YES) == replies.NOTHING_TO_CONFIRM


async def test_a_thumb_up_on_the_question_confirms_it(world: World) -> None:
    """The answer stands below the question."""
    await world.recording()
    assert "is deleted" in (await world.react(SPEAKER, await asked(world, SPEAKER)) or "")
    assert await gone(world)


@pytest.mark.parametrize("user", [MOD, ADMIN, CREATOR, MEMBER])
async def test_only_who_asked_confirms(world: World, user: UserId) -> None:
    """Moderators who could have asked it themselves do nothing by their yes."""
    await world.recording()
    question = await asked(world, SPEAKER)
    assert await world.react(user, question) is None
    assert await world.say(user, YES) == replies.NOTHING_TO_CONFIRM
    assert not await gone(world)
    assert "is deleted" in (await world.react(SPEAKER, question) or "")


@pytest.mark.parametrize("by_word", [True, False], ids=["yes", "reaction"])
@pytest.mark.parametrize(("seconds", "counts"), [(60, True), (61, False)])
async def test_a_question_is_open_for_a_minute(world: World, seconds: int, counts: bool, by_word: bool) -> None:
    """Later, nothing is done, and that is said once."""
    await world.recording()
    question = await asked(world)
    world.clock.pass_by(seconds)
    answer = await (world.say(MOD, YES) if by_word else world.react(MOD, question))
    assert (answer == replies.ENDED) is not counts
    assert await gone(world) is counts
    if not counts:
        assert await world.react(MOD, question) is None
        assert await world.say(MOD, YES) == replies.NOTHING_TO_CONFIRM


@pytest.mark.parametrize(
    ("sent_after", "received_after", "counts"),
    [(30, 59, True), (30, 61, False), (61, 30, False), (-1, 30, False), (None, 30, False)],
)
async def test_both_clocks_decide(world: World, sent_after: int | None, received_after: int, counts: bool) -> None:
    """A confirmation that was sent late, comes late, or was sent before the command does nothing."""
    await world.recording()
    question, begun = await asked(world), world.clock()
    sent_at = None if sent_after is None else begun + timedelta(seconds=sent_after)
    world.clock.pass_by(70)
    times = {"sent_at": sent_at, "received_at": begun + timedelta(seconds=received_after)}
    answer = await world.react(MOD, question, **times)
    assert (answer != replies.ENDED) is counts
    assert await gone(world) is counts


async def test_a_homeserver_whose_clock_is_ahead_confirms_too(world: World) -> None:
    """Its clock is compared with itself: the command's time tells how far it is ahead."""
    await world.recording()
    ahead = timedelta(minutes=5)
    await world.say(MOD, DELETE, sent_at=world.clock() + ahead)
    world.clock.pass_by(50)
    assert "is deleted" in (await world.say(MOD, YES, sent_at=world.clock() + ahead) or "")


async def test_a_reaction_that_is_met_in_history_comes_too_late(world: World) -> None:
    """The reaction may have been given while the bot was away."""
    await world.recording()
    assert await world.react(MOD, await asked(world), history=True) == replies.ENDED
    assert not await gone(world)


async def test_a_question_that_was_not_said_can_not_be_confirmed(world: World) -> None:
    """Not by a yes that was said before it, either."""
    await world.recording()
    await world.handle(world.command(MOD, DELETE))
    (notice,) = await world.take(orders.Notice.kind)
    assert await world.say(MOD, YES) == replies.NOTHING_TO_CONFIRM
    early = world.clock()
    world.clock.pass_by(5)
    async with world.store.write() as db:
        await questions.said(db, notice.payload["asks"], EventId("$q"), world.clock())
    assert await world.say(MOD, YES, received_at=early) == replies.NOTHING_TO_CONFIRM
    assert "is deleted" in (await world.say(MOD, YES) or "")


async def test_what_is_carried_out_is_what_was_asked_about(world: World) -> None:
    """`last` means another recording by then."""
    recording = await world.recording()
    await asked(world)
    world.clock.pass_by(10)
    newer = await world.recording()
    await world.say(MOD, YES)
    assert (await world.look(recording)).state is RecordingState.DELETED
    assert await world.look(newer) == newer


async def test_a_second_question_replaces_the_first(world: World) -> None:
    """The yes is for the newest; a reaction to the first does nothing."""
    first, second = await world.recording(), await world.recording()
    question = await asked(world, MOD, f"!aircheck delete {first.code}")
    await asked(world, MOD, f"!aircheck delete {second.code}")
    assert await world.react(MOD, question) is None
    assert f"{second.code} is deleted" in (await world.say(MOD, YES) or "")
    assert await world.look(first) == first


async def test_rights_are_looked_up_again(world: World) -> None:
    """Whoever is no moderator any more by the time of the yes gets the refusal that a command would get."""
    await world.recording()
    await asked(world)
    await world.power_levels({"users": {}})
    assert await world.say(MOD, YES) == general.ONLY_ITS_BROADCASTER_OR_MODS
    await asked(world, SPEAKER)
    await world.member(SPEAKER, "leave")
    assert await world.say(SPEAKER, YES) is None
    assert not await gone(world)


async def test_in_an_encrypted_room_the_yes_is_encrypted(bare: World) -> None:
    """A reaction need not be, since no client encrypts it; a question from before the encryption is void."""
    await bare.open(encrypted=True)
    await bare.recording()
    question = await asked(bare, MOD, encrypted=True)
    assert await bare.say(MOD, YES) == general.NOT_ENCRYPTED
    assert not await gone(bare)
    assert "is deleted" in (await bare.react(MOD, question) or "")
    await bare.recording()
    async with bare.store.write() as db:
        await rooms.save_room(db, replace(await bare.room(), encrypted=False))
    question = await asked(bare, MOD)
    async with bare.store.write() as db:
        await rooms.save_room(db, replace(await bare.room(), encrypted=True))
    assert await bare.react(MOD, question) == general.NOT_ENCRYPTED


async def test_a_confirmation_whose_job_runs_again_does_and_says_nothing(world: World) -> None:
    """A crash between the deletion and the end of its job leaves one answer."""
    await world.recording()
    await asked(world)
    yes = world.command(MOD, YES)
    assert "is deleted" in (await world.answered(yes, yes.subject) or "")
    assert await world.answered(yes, yes.subject) is None


async def test_questions_of_yesterday_are_forgotten(world: World) -> None:
    """The keeper prunes them."""
    await world.recording()
    await asked(world)
    async with world.store.write() as db:
        await questions.prune(db, world.clock() + timedelta(seconds=1))
    assert await world.question(MOD) is None
