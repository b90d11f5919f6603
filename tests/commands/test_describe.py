"""`title RECORDING TEXT`, `describe RECORDING TEXT`"""

import pytest

from bot import orders
from bot.commands import replies
from storage.records import EventId, RecordingState, RoomId
from tests.commands.stage import MEMBER, MOD, SPEAKER, Stage


@pytest.mark.parametrize("by", ["code", "CODE", "last", "event id"])
async def test_a_speaker_names_a_recording(stage: Stage, by: str) -> None:
    """By any of its names; the file is made again for its tag, once, and the feed too."""
    recording = await stage.recording(event_id=EventId("$started"))
    names = {"code": recording.code, "CODE": recording.code.upper(), "last": "last", "event id": recording.event_id}
    before = await stage.room()
    answer = await stage.say(SPEAKER, f"!aircheck title {names[by]}  About   soup")
    assert answer == f"{recording.code} is called “About soup” now: @speaker:hs named it."
    assert (await stage.look(recording)).title == "About soup"
    assert (await stage.room()).revision == before.revision + 1
    (job,) = await stage.take(orders.Finish.kind)
    assert (job.subject, job.payload) == (str(recording.id), {})
    await stage.say(SPEAKER, f"!aircheck title {names[by]} About soup")
    assert await stage.take(orders.Finish.kind) == ()


async def test_a_moderator_describes_it_in_paragraphs(stage: Stage) -> None:
    """Line ends are kept, the file is left alone, and the words are not said again in the room."""
    recording = await stage.recording()
    answer = await stage.say(MOD, f"!aircheck describe {recording.code}\nStock  first.\nThen bread.\n\n\n\nThe end. ")
    assert answer == replies.described(recording.code, "@mod:hs")
    assert (await stage.look(recording)).description == "Stock first.\nThen bread.\n\nThe end."
    assert await stage.take(orders.Finish.kind) == ()


@pytest.mark.parametrize("state", [RecordingState.LIVE, RecordingState.FINISHING])
async def test_what_has_no_file_yet_gets_its_title_with_it(stage: Stage, state: RecordingState) -> None:
    """There is nothing to make again."""
    recording = await stage.recording(state=state, length_ms=None)
    await stage.say(SPEAKER, "!aircheck title last Soup")
    assert (await stage.look(recording)).title == "Soup"
    assert await stage.take(orders.Finish.kind) == ()


async def test_what_nobody_may_show_is_not_kept(stage: Stage) -> None:
    """User ids, and what turns the direction of the text around it, are taken out before it is written down."""
    recording = await stage.recording()
    answer = await stage.say(SPEAKER, "!aircheck title last With @guest:hs \u202eat @room")
    assert (await stage.look(recording)).title == "With Somebody at @room"
    assert answer is not None
    assert "@room" not in answer
    before = await stage.look(recording)
    assert await stage.say(SPEAKER, "!aircheck title last \u202e\ue000") == replies.NOTHING_TO_SHOW
    assert await stage.say(SPEAKER, "!aircheck describe last \u202e") == replies.NOTHING_TO_SHOW
    assert await stage.look(recording) == before


async def test_text_that_only_resembles_an_id_is_kept(stage: Stage) -> None:
    """Times and addresses stay in titles and descriptions; ids of the room's servers go, in links too."""
    recording = await stage.recording()
    await stage.say(SPEAKER, "!aircheck title last Live @18:30 with DJ Max")
    await stage.say(
        SPEAKER, "!aircheck describe last https://dj@radio.example:8000/live by %40guest%3Ahs, matrix:u/guest:hs"
    )
    changed = await stage.look(recording)
    assert changed.title == "Live @18:30 with DJ Max"
    assert changed.description == "https://dj@radio.example:8000/live by Somebody, matrix:u/Somebody"


@pytest.mark.parametrize(("verb", "what", "most"), [("title", "title", 200), ("describe", "description", 4000)])
async def test_a_text_that_is_too_long_is_refused_with_the_number(
    stage: Stage, verb: str, what: str, most: int
) -> None:
    """One character more than a title or a description may have changes nothing; 60 kB cost no more than that."""
    recording = await stage.recording()
    await stage.say(SPEAKER, f"!aircheck {verb} last {'x' * most}")
    changed = await stage.look(recording)
    assert (changed.title or changed.description) == "x" * most
    for long in ("y" * (most + 1), "@" * 60_000):
        answer = await stage.say(SPEAKER, f"!aircheck {verb} last {long}")
        assert answer == replies.too_long(what, len(long), most)
        assert f"{most:,}" in answer
    assert await stage.look(recording) == changed


@pytest.mark.parametrize("verb", ["title", "describe"])
async def test_it_takes_a_recording_and_a_text(stage: Stage, verb: str) -> None:
    """Without them it says how; of what is not in this room it says that there is none."""
    await stage.recording()
    for words in ("", " last", " kfm Soup"):
        assert f"`!aircheck {verb} RECORDING TEXT`" in (await stage.say(SPEAKER, f"!aircheck {verb}{words}") or "")
    elsewhere = await stage.recording(room_id=RoomId("!other:hs"))
    gone = await stage.recording(state=RecordingState.DELETED)
    for name in (elsewhere.code, gone.code, "zzzzzz"):
        assert await stage.say(SPEAKER, f"!aircheck {verb} {name} Soup") == replies.NO_RECORDING
        assert await stage.say(MEMBER, f"!aircheck {verb} {name} Soup") == replies.NO_RECORDING
    assert ((await stage.look(elsewhere)).title, (await stage.look(gone)).title) == (None, None)
