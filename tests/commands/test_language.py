"""`language`: the room's language."""

import pytest

from bot.commands.replies import general
from storage import changes
from tests.commands.world import MEMBER, MOD, ROOM, World


async def test_a_moderator_chooses_the_language(world: World) -> None:
    """`language de` is answered in German, noted in the log of changes, and changes the pages."""
    revision = (await world.room()).revision
    answer = await world.say(MOD, "!aircheck language DE")
    assert answer is not None
    assert "Deutsch" in answer
    room = await world.room()
    assert room.language == "de"
    assert room.revision > revision
    async with world.store.read() as db:
        (change,) = await changes.of_rooms(db, [ROOM])
    assert (change.what, change.before, change.after, change.by) == ("language", None, "de", MOD)


async def test_language_tells_which_there_are(world: World) -> None:
    """`language` names the present language and all others by their own names."""
    answer = await world.say(MEMBER, "!aircheck language")
    assert answer == (
        "I speak English here (`en`). I can speak: English (`en`), Deutsch (`de`). "
        "A moderator chooses with `!aircheck language CODE`."
    )


@pytest.mark.parametrize("code", ["tlh", "../de", "de/LC_MESSAGES", "<b>"])
async def test_an_unknown_language_is_refused_with_the_list(world: World, code: str) -> None:
    """A language without a catalogue changes nothing, and what was typed is not repeated."""
    answer = await world.say(MOD, f"!aircheck language {code}") or ""
    assert answer.startswith("I do not speak that language. I can speak: English (`en`), Deutsch (`de`).")
    assert code not in answer
    assert (await world.room()).language is None


async def test_the_same_language_again_changes_nothing(world: World) -> None:
    """A language that is spoken already is not noted twice."""
    await world.say(MOD, "!aircheck language en")
    before = await world.room()
    assert await world.say(MOD, "!aircheck language en") == "I already speak English here."
    assert await world.room() == before
    async with world.store.read() as db:
        assert len(await changes.of_rooms(db, [ROOM])) == 1


async def test_only_moderators_choose_the_language(world: World) -> None:
    """Other members are refused."""
    assert await world.say(MEMBER, "!aircheck language de") == general.ONLY_MODS
