"""`record on|off`."""

from bot import orders
from storage.records import EndedBy, RecordingState, RoomId
from tests.commands.world import MEMBER, MOD, World


async def test_off_ends_what_is_live_and_says_who_did_it(world: World) -> None:
    """`record off` ends each live recording of the room at once, and none that is finishing."""
    live = [await world.recording(state=RecordingState.LIVE, length_ms=None) for _ in range(2)]
    others = [
        await world.recording(state=RecordingState.FINISHING, length_ms=None),
        await world.recording(state=RecordingState.LIVE, room_id=RoomId("!other:hs")),
    ]
    await world.member(MOD, name="Mo")
    answer = await world.say(MOD, "!aircheck record off")
    assert answer == (
        "Recording is off: Mo switched it off. The 2 broadcasts that are running are closed here. "
        "What was recorded before stays."
    )
    assert not (await world.room()).recording_on
    assert {(await world.look(one)).ended_by for one in live} == {EndedBy.SWITCHED_OFF}
    assert [(await world.look(one)).ended_by for one in others] == [None, None]


async def test_on_is_on_again(world: World) -> None:
    """`record on` names the moderator, by id where there is no display name."""
    await world.say(MOD, "!aircheck record OFF")
    answer = await world.say(MOD, "!aircheck record On")
    assert answer is not None
    assert "@mod:hs switched it on" in answer
    assert (await world.room()).recording_on


async def test_what_is_so_already_is_said(world: World) -> None:
    """The same switch again changes nothing."""
    before = await world.room()
    world.clock.pass_by(60)
    assert await world.say(MOD, "!aircheck record on") == "Recording is already on."
    assert await world.room() == before
    await world.say(MOD, "!aircheck record off")
    assert await world.say(MOD, "!aircheck record off") == "Recording is already off."


async def test_a_command_that_is_handled_twice_ends_nothing_more(world: World) -> None:
    """A broadcast that began after `record off` and a new `record on` is not ended by a repetition of the first."""
    job = world.command(MOD, "!aircheck record off")
    await world.handle(job)
    await world.take(orders.Notice.kind)
    await world.say(MOD, "!aircheck record on")
    live = await world.recording(state=RecordingState.LIVE, length_ms=None)
    await world.handle(job)
    assert (await world.look(live)).state is RecordingState.LIVE


async def test_record_on_ends_the_waiting_for_the_notice(world: World) -> None:
    """`record on` stands in for a notice that the bot could not send, from the command's place on."""
    await world.tell(None)
    assert "Recording waits" in (await world.say(MOD, "!aircheck status") or "")
    await world.say(MEMBER, "!aircheck record on")
    assert (await world.room()).waits
    answer = await world.say(MOD, "!aircheck record on", position=70)
    assert "Recording is on" in (answer or "")
    assert (await world.room()).told_at == 70
    assert "Recording is on." in (await world.say(MOD, "!aircheck status") or "")
    await world.say(MOD, "!aircheck record on", position=80)
    assert (await world.room()).told_at == 70
