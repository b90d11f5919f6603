"""`settings`, `record` and `log`: what a room has decided, and who changed what."""

from datetime import timedelta

import pytest

from bot.commands.replies import general
from bot.commands.replies import policies as replies
from bot.settings import FeedsSettings
from storage import changes
from storage.records import Change, ChunkState, RoomId
from tests.commands.world import MEMBER, MOD, ROOM, SPEAKER, World

WHEN = "20 November 2026, 14:05 (UTC)"


async def lines(world: World, command: str) -> list[str]:
    return (await world.say(MOD, f"!aircheck {command}") or "").split("\n")


async def test_settings_of_a_fresh_room_are_all_defaults(world: World) -> None:
    """Each policy stands under the command that changes it; what nobody set is marked."""
    assert await lines(world, "settings") == [
        "`record`: on · set before I kept a log",
        "`record messages`: off · default",
        "`record calls`: off · default",
        "`publish`: private · default",
        "`announce`: quiet · default",
        "`language`: en · default",
        "`retention`: forever · default",
        "`review`: off · default",
        "`replay`: off · default",
        "`studio`: on · default",
        "`studio events`: off · default",
        "`speakers`: all · default",
        "`walkie`: off · default",
        "`podcast`: as the room is called · default",
        "No recording takes space.",
    ]


async def test_settings_tell_who_set_what_and_when_in_the_rooms_time(world: World) -> None:
    """The newest change of each policy counts, with the display name of who made it, and the zone of the time."""
    world.feeds = FeedsSettings(timezone="Europe/Berlin")
    await world.member(MOD, name="Mo")
    for command in ("publish public", "retention 30 days", "retention 90 days", "replay on", "podcast title Soup @all"):
        await world.say(MOD, f"!aircheck {command}")
        world.clock.pass_by(60)
    told = await lines(world, "settings")
    assert told[3] == "`publish`: public · Mo, 20 November 2026, 15:05 (Europe/Berlin)"
    assert told[6] == "`retention`: 90 days · Mo, 20 November 2026, 15:07 (Europe/Berlin)"
    assert told[8] == "`replay`: on · Mo, 20 November 2026, 15:08 (Europe/Berlin)"
    assert told[13] == "`podcast title`: “Soup @all” · Mo, 20 November 2026, 15:09 (Europe/Berlin)"


async def test_what_a_rule_changed_is_nobodys_decision(world: World) -> None:
    """A change without a person is told as the bot's own."""
    async with world.store.write() as db:
        await changes.add(db, Change(0, world.clock(), ROOM, None, "record", before="off", after="on"))
    assert (await lines(world, "settings"))[0] == f"`record`: on · a rule of mine, {WHEN}"


async def test_settings_tell_the_space_that_the_recordings_take(world: World) -> None:
    """Chunks and episodes of the room count."""
    recording = await world.recording()
    await world.chunk(recording, ChunkState.STORED, sequence=1, bytes=1_499_991)
    assert (await lines(world, "settings"))[-1] == "The recordings take 1.5 MB of 53.7 GB that they may take."


async def test_record_tells_what_is_recorded_and_who_switched_it(world: World) -> None:
    """Anybody may ask; the answer names who switched recording on or off, and when."""
    on = "I record here: voice broadcasts. Say `!aircheck optout` if I should record nothing of you."
    assert await world.say(MEMBER, "!aircheck record") == on
    await world.member(MOD, name="Mo")
    await world.say(MOD, "!aircheck record off")
    assert await world.say(MEMBER, "!aircheck record") == (
        "I record nothing here. A moderator can say `!aircheck record on`, `!aircheck record messages on` or "
        "`!aircheck record calls on`. "
        f"Voice broadcasts: switched off by Mo, {WHEN}."
    )
    await world.say(MOD, "!aircheck record on")
    await world.say(MOD, f"!aircheck speakers {SPEAKER}")
    assert await world.say(MEMBER, "!aircheck record") == (
        f"{on} Voice broadcasts: switched on by Mo, {WHEN}. "
        "Only some members are recorded: `!aircheck speakers` names them."
    )
    await world.tell(None)
    assert "recording begins when my notice is in the room" in (await world.say(MEMBER, "!aircheck record") or "")


async def test_log_tells_who_changed_what(world: World) -> None:
    """Moderators read the changes, the newest first, with values and codes, and nothing that somebody wrote."""
    assert await lines(world, "log") == [replies.NO_CHANGES]
    await world.member(MOD, name="Mo")
    recording = await world.recording()
    for user, command in (
        (MOD, "record off"),
        (SPEAKER, "title last Sesame"),
        (SPEAKER, "describe last Sesame opens"),
        (MOD, "keep last"),
        (MOD, "backfill"),
        (MEMBER, "optout"),
    ):
        await world.say(user, f"!aircheck {command}")
    assert await lines(world, "log") == [
        f"@member:hs, {WHEN} · `optout` @member:hs: in → out",
        f"Mo, {WHEN} · `backfill`",
        f"Mo, {WHEN} · `keep` {recording.code}",
        f"@speaker:hs, {WHEN} · `describe` {recording.code}: default → given",
        f"@speaker:hs, {WHEN} · `title` {recording.code}: default → given",
        f"Mo, {WHEN} · `record`: on → off",
    ]
    assert await world.say(MEMBER, "!aircheck log") == general.ONLY_MODS


async def test_log_is_read_in_pages(world: World) -> None:
    """A page has at most twenty lines; a longer log says how to see what is older."""
    async with world.store.write() as db:
        for number in range(45):
            at = world.clock() + timedelta(minutes=number)
            await changes.add(db, Change(0, at, ROOM, MOD, "replay", before="off", after="on"))
        await changes.add(db, Change(0, world.clock(), RoomId("!other:hs"), MOD, "replay", before="off", after="on"))
    newest = await lines(world, "log")
    assert len(newest) == 11
    assert newest[-1] == "`!aircheck log 10 2` shows what is older."
    pages = [await lines(world, f"log {words}") for words in ("50", "20 2", "20 3", "20 4")]
    assert [len(page) for page in pages] == [21, 21, 5, 1]
    assert pages[0][-1] == "`!aircheck log 20 2` shows what is older."
    assert pages[3] == [general.NO_SUCH_PAGE]
    assert len({line for page in pages[:3] for line in page}) == 45 + 2


@pytest.mark.parametrize("words", ["0", "51", "5 0", "5 1001", "many", "5 5 5"])
async def test_a_page_is_named_by_two_numbers(world: World, words: str) -> None:
    """Other words are answered with the forms and an example."""
    assert "for example `!aircheck log 20`" in (await lines(world, f"log {words}"))[0]


async def test_hostile_values_are_harmless(world: World) -> None:
    """A value of the log is one short line without a ping, whatever it was."""
    async with world.store.write() as db:
        await changes.add(db, Change(0, world.clock(), ROOM, MOD, "speakers", before="@room", after="x\n\u202e" * 999))
    (line,) = await lines(world, "log")
    assert "@room" not in line
    assert "\u202e" not in line
    assert len(line) < 300
