"""`replay on|off`."""

from storage import changes
from tests.commands.world import MEMBER, MOD, ROOM, World


async def test_a_moderator_switches_it_on_and_off(world: World) -> None:
    """The room's policy changes, the answer names who changed it, and each change is in the log."""
    await world.member(MOD, name="Mo")
    assert not (await world.room()).replay
    assert (await world.say(MOD, "!aircheck replay on") or "").startswith("Replay is on: Mo switched it on.")
    assert (await world.room()).replay
    assert await world.say(MOD, "!aircheck replay ON") == "Replay is already on."
    assert (await world.say(MOD, "!aircheck replay off") or "").startswith("Replay is off: Mo switched it off.")
    assert not (await world.room()).replay
    async with world.store.read() as db:
        noted = await changes.of_rooms(db, [ROOM])
    assert [(one.by, one.what, one.subject, one.before, one.after) for one in reversed(noted)] == [
        (MOD, "replay", None, "off", "on"),
        (MOD, "replay", None, "on", "off"),
    ]


async def test_other_words_get_an_example(world: World) -> None:
    """Words that are neither on nor off change nothing."""
    assert "`!aircheck replay on`" in (await world.say(MEMBER, "!aircheck replay loudly") or "")
    assert not (await world.room()).replay
