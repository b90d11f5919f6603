"""`announce on|quiet|off`."""

from storage import changes
from storage.records import Announce
from tests.commands.world import MEMBER, MOD, ROOM, World


async def test_a_moderator_chooses_how_recordings_are_announced(world: World) -> None:
    """The answer says what it means and who set it; each change is in the log."""
    await world.member(MOD, name="Mo")
    assert "reaction" in (await world.say(MEMBER, "!aircheck announce") or "")
    answer = await world.say(MOD, "!aircheck announce ON") or ""
    assert "by a notice when they begin" in answer
    assert "Mo set it" in answer
    assert (await world.room()).announce is Announce.ON
    assert "Mo set it" not in (await world.say(MOD, "!aircheck announce on") or "")
    assert "not announced" in (await world.say(MOD, "!aircheck announce off") or "")
    async with world.store.read() as db:
        noted = await changes.of_rooms(db, [ROOM])
    assert [(one.what, one.before, one.after) for one in noted] == [
        ("announce", "on", "off"),
        ("announce", "quiet", "on"),
    ]


async def test_other_words_get_an_example(world: World) -> None:
    """An unknown way changes nothing."""
    assert "`!aircheck announce on`" in (await world.say(MOD, "!aircheck announce loudly") or "")
    assert (await world.room()).announce is Announce.QUIET
