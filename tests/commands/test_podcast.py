"""`podcast`, `podcast FIELD TEXT`, `podcast reset`."""

from dataclasses import replace
from typing import Any

import pytest

from bot import orders
from bot.commands.replies import describe, general
from bot.commands.replies import podcast as replies
from storage import changes, rooms
from storage.records import BlobKey, PodcastTexts
from tests.commands.world import MEMBER, MOD, ROOM, World

LONG = "ä" * 201


async def logged(world: World) -> list[tuple[str, str | None, str | None]]:
    async with world.store.read() as db:
        found = await changes.of_rooms(db, [ROOM])
    return [(change.what, change.before, change.after) for change in found][::-1]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("title Soup  &\u202e bread", {"title": "Soup & bread"}),
        ("TITLE Soup", {"title": "Soup"}),
        ("description First\nthen @mira:hs", {"description": "First\nthen Somebody"}),
        ("author The Kitchen", {"author": "The Kitchen"}),
        ("language PT-br", {"language": "pt-BR"}),
        ("category food", {"category": "Arts > Food"}),
        ("category Society & Culture", {"category": "Society & Culture"}),
        ("explicit YES", {"explicit": True}),
        ("explicit no", {"explicit": False}),
        ("stems ON", {"stems": True}),
        ("stems off", {"stems": False}),
    ],
)
async def test_a_moderator_describes_the_podcast(world: World, said: str, kept: dict[str, Any]) -> None:
    """Each field is kept as feeds can show it, and the feeds follow at once under the same addresses."""
    before = await world.room()
    answer = await world.say(MOD, f"!aircheck podcast {said}") or ""
    assert "@mod:hs" in answer
    after = await world.room()
    assert after.podcast == PodcastTexts(**kept)
    assert after.revision > before.revision
    assert (after.key, after.podcast_guid) == (before.key, before.podcast_guid)
    assert len(await world.take(orders.Cover.kind)) == ("title" in kept)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (f"title {LONG}", describe.too_long(describe.TITLE_TOO_LONG, 201, 200)),
        (f"author {LONG}", describe.too_long(replies.AUTHOR_TOO_LONG, 201, 200)),
        (f"description {'a' * 4001}", describe.too_long(describe.DESCRIPTION_TOO_LONG, 4001, 4000)),
        ("title \u202e", describe.NOTHING_TO_SHOW),
        ("language German", replies.no_language("de")),
        ("language en_us", replies.no_language("en-US")),
        ("language 12", replies.no_language(None)),
        ("category Society and culture", replies.no_category("Society & Culture", ())),
        ("explicit maybe", replies.YES_OR_NO),
        ("stems yes", replies.ON_OR_OFF),
    ],
)
async def test_texts_that_do_not_fit_are_refused_with_a_way_out(world: World, said: str, answer: str) -> None:
    """A refusal names the limit, or what was probably meant, and nothing changes."""
    before = await world.room()
    assert await world.say(MOD, f"!aircheck podcast {said}") == answer
    assert await world.room() == before


async def test_an_unknown_category_lists_the_known_ones(world: World) -> None:
    """The answer names the categories that directories know if none resembles the text."""
    assert "`True Crime`" in (await world.say(MOD, "!aircheck podcast category Zzzzzz") or "")


async def test_a_field_that_is_nearly_one_is_suggested(world: World) -> None:
    """A misspelt field is answered with the right one."""
    assert "Did you mean `!aircheck podcast title`?" in (await world.say(MOD, "!aircheck podcast titel Soup") or "")
    for said in ("title", "reset soup", "reset title now"):
        assert "I don't understand" in (await world.say(MOD, f"!aircheck podcast {said}") or "")


async def test_everybody_may_ask_what_is_said_of_the_podcast(world: World) -> None:
    """The answer shows what was given, and where the other texts come from; a member changes none of it."""
    await world.say(MOD, "!aircheck podcast title Soup @room")
    await world.say(MOD, "!aircheck podcast explicit yes")
    told = await world.say(MEMBER, "!aircheck podcast") or ""
    assert "• title: Soup room\n" in told
    assert "• explicit: yes\n" in told
    assert "• description: the room's topic (default)\n" in told
    assert "• category: Society & Culture (default)\n" in told
    for said in ("title Bread", "reset", "reset title"):
        assert await world.say(MEMBER, f"!aircheck podcast {said}") == general.ONLY_MODS
    assert (await world.room()).podcast == PodcastTexts(title="Soup @room", explicit=True)


async def test_reset_takes_back_one_field_or_all(world: World) -> None:
    """Fields that were reset follow the room and the settings again; the log holds no text that somebody wrote."""
    for said in ("title Soup", "author Mira", "language de", "explicit yes", "stems on"):
        await world.say(MOD, f"!aircheck podcast {said}")
    assert await world.say(MOD, "!aircheck podcast reset Title") == replies.reset("@mod:hs", "title")
    assert (await world.room()).podcast == PodcastTexts(author="Mira", language="de", explicit=True, stems=True)
    assert "`podcast stems`: on" in (await world.say(MOD, "!aircheck settings") or "")
    assert await world.say(MOD, "!aircheck podcast reset") == replies.reset("@mod:hs", None)
    assert (await world.room()).podcast == PodcastTexts()
    assert await logged(world) == [
        ("podcast title", "default", "given"),
        ("podcast author", "default", "given"),
        ("podcast language", "default", "de"),
        ("podcast explicit", "default", "yes"),
        ("podcast stems", "default", "on"),
        ("podcast title", "given", "default"),
        ("podcast author", "given", "default"),
        ("podcast language", "de", "default"),
        ("podcast explicit", "yes", "default"),
        ("podcast stems", "on", "default"),
    ]


async def test_a_cover_is_the_picture_that_is_replied_to(world: World) -> None:
    """The command orders it; without a reply it says how it is done."""
    assert await world.say(MOD, "!aircheck podcast cover") == replies.reply_to_a_picture("!aircheck")
    job = world.command(MOD, "!aircheck podcast cover", reply_to="$picture", thread="$root")
    assert await world.answered(job, job.subject) == replies.FETCHING_COVER
    (made,) = await world.take(orders.ChooseCover.kind)
    order = orders.ChooseCover.of(made)
    assert (order.command, order.picture, order.thread) == (job.subject, "$picture", "$root")
    assert (order.room_id, order.said_in, order.asker) == (ROOM, ROOM, MOD)
    assert await world.say(MEMBER, "!aircheck podcast cover", reply_to="$picture") == general.ONLY_MODS
    assert not await world.take(orders.ChooseCover.kind)


@pytest.mark.parametrize("said", ["reset", "reset cover"])
async def test_a_cover_that_is_reset_leaves_the_disk(world: World, said: str) -> None:
    """The room's own picture is the cover again, and the file of the chosen one is removed."""
    async with world.store.write() as db:
        await rooms.save_room(db, replace(await world.room(), own_cover=BlobKey("ab")))
    assert "• cover: a picture that a moderator chose" in (await world.say(MEMBER, "!aircheck podcast") or "")
    await world.say(MOD, f"!aircheck podcast {said}")
    assert (await world.room()).own_cover is None
    assert [orders.Forget.of(job).blobs for job in await world.take(orders.Forget.kind)] == [("ab",)]
    assert await logged(world) == [("podcast cover", "given", "default")]
