"""`title RECORDING TEXT`, `describe RECORDING TEXT`"""

import pytest

from bot import orders
from bot.commands.replies import describe as replies
from bot.commands.replies import general
from storage.records import EventId, RecordingState, RoomId
from tests.commands.world import MEMBER, MOD, SPEAKER, World


@pytest.mark.parametrize("by", ["code", "CODE", "last", "event id"])
async def test_a_speaker_names_a_recording(world: World, by: str) -> None:
    """A title is set by any name of the recording, and file and feed are made again once."""
    recording = await world.recording(event_id=EventId("$started"))
    names = {"code": recording.code, "CODE": recording.code.upper(), "last": "last", "event id": recording.event_id}
    before = await world.room()
    answer = await world.say(SPEAKER, f"!aircheck title {names[by]}  About   soup")
    assert answer == f"{recording.code} is now called “About soup”: @speaker:hs named it."
    assert (await world.look(recording)).title == "About soup"
    assert (await world.room()).revision == before.revision + 1
    (job,) = await world.take(orders.Finish.kind)
    assert (job.subject, job.payload) == (str(recording.id), {})
    await world.say(SPEAKER, f"!aircheck title {names[by]} About soup")
    assert await world.take(orders.Finish.kind) == ()


async def test_a_moderator_describes_it_in_paragraphs(world: World) -> None:
    """A description keeps its line ends, leaves the file alone, and is not repeated in the room."""
    recording = await world.recording()
    answer = await world.say(MOD, f"!aircheck describe {recording.code}\nStock  first.\nThen bread.\n\n\n\nThe end. ")
    assert answer == replies.described(recording.code, "@mod:hs")
    assert (await world.look(recording)).description == "Stock first.\nThen bread.\n\nThe end."
    assert await world.take(orders.Finish.kind) == ()


@pytest.mark.parametrize("state", [RecordingState.LIVE, RecordingState.FINISHING])
async def test_what_has_no_file_yet_gets_its_title_with_it(world: World, state: RecordingState) -> None:
    """A title given before there is a file makes nothing again."""
    recording = await world.recording(state=state, length_ms=None)
    await world.say(SPEAKER, "!aircheck title last Soup")
    assert (await world.look(recording)).title == "Soup"
    assert await world.take(orders.Finish.kind) == ()


async def test_what_nobody_may_show_is_not_kept(world: World) -> None:
    """User ids and direction marks are removed before a text is stored."""
    recording = await world.recording()
    answer = await world.say(SPEAKER, "!aircheck title last With @guest:hs \u202eat @room")
    assert (await world.look(recording)).title == "With Somebody at @room"
    assert answer is not None
    assert "@room" not in answer
    before = await world.look(recording)
    assert await world.say(SPEAKER, "!aircheck title last \u202e\ue000") == replies.NOTHING_TO_SHOW
    assert await world.say(SPEAKER, "!aircheck describe last \u202e") == replies.NOTHING_TO_SHOW
    assert await world.look(recording) == before


async def test_text_that_only_resembles_an_id_is_kept(world: World) -> None:
    """Times and addresses stay in titles and descriptions; ids of the room's servers are removed, in links too."""
    recording = await world.recording()
    await world.say(SPEAKER, "!aircheck title last Live @18:30 with DJ Max")
    await world.say(
        SPEAKER, "!aircheck describe last https://dj@radio.example:8000/live by %40guest%3Ahs, matrix:u/guest:hs"
    )
    changed = await world.look(recording)
    assert changed.title == "Live @18:30 with DJ Max"
    assert changed.description == "https://dj@radio.example:8000/live by Somebody, matrix:u/Somebody"


@pytest.mark.parametrize(
    ("verb", "sentence", "most"),
    [("title", replies.TITLE_TOO_LONG, 200), ("describe", replies.DESCRIPTION_TOO_LONG, 4000)],
)
async def test_a_text_that_is_too_long_is_refused_with_the_number(
    world: World, verb: str, sentence: str, most: int
) -> None:
    """A text that is one character too long, or 60 kB, changes nothing."""
    recording = await world.recording()
    await world.say(SPEAKER, f"!aircheck {verb} last {'x' * most}")
    changed = await world.look(recording)
    assert (changed.title or changed.description) == "x" * most
    for long in ("y" * (most + 1), "@" * 60_000):
        answer = await world.say(SPEAKER, f"!aircheck {verb} last {long}")
        assert answer == replies.too_long(sentence, len(long), most)
        assert f"{most:,}" in answer
    assert await world.look(recording) == changed


@pytest.mark.parametrize("verb", ["title", "describe"])
async def test_it_takes_a_recording_and_a_text(world: World, verb: str) -> None:
    """Missing words are answered with the form of the command, and an unknown recording with a refusal."""
    await world.recording()
    for words in ("", " last", " kfm Soup"):
        assert f"`!aircheck {verb} RECORDING TEXT`" in (await world.say(SPEAKER, f"!aircheck {verb}{words}") or "")
    elsewhere = await world.recording(room_id=RoomId("!other:hs"))
    gone = await world.recording(state=RecordingState.DELETED)
    for name in (elsewhere.code, gone.code, "zzzzzz"):
        assert await world.say(SPEAKER, f"!aircheck {verb} {name} Soup") == general.NO_RECORDING
        assert await world.say(MEMBER, f"!aircheck {verb} {name} Soup") == general.NO_RECORDING
    assert ((await world.look(elsewhere)).title, (await world.look(gone)).title) == (None, None)
