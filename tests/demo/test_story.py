"""The demo's narration, and its reading of the bot's messages."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bot.demo.stage import Stage, set_stage, settings_for
from bot.demo.story import Addresses, Narrator, Watch, addresses_in, broadcast, seconds_of
from bot.errors import StartError
from storage import archive
from storage.place import Place
from storage.records import (
    BlobKey,
    ChunkFacts,
    ChunkState,
    Container,
    Episode,
    EventId,
    OggFacts,
    Recording,
    RecordingState,
    Samples,
    Timing,
)
from storage.store import Store
from tests.factories import a_chunk, a_recording
from tests.lab import decode

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
WEB = "http://127.0.0.1:8040"
SLICE = OggFacts(1, 2, 8, 0, 268_800, False, Samples(3840), Samples(268_800), True, "00")
FACTS = ChunkFacts(Container.OGG_OPUS, Timing.EXACT, Samples(264_960), 48_000, 1, SLICE)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.own(Place(tmp_path / "data"))
    yield opened
    await opened.close()


def console() -> tuple[Console, StringIO]:
    written = StringIO()
    return Console(file=written, width=200), written


def recording(state: RecordingState) -> Recording:
    return a_recording(code="kfmtra", state=state)


def test_the_addresses_are_found_in_the_bots_words() -> None:
    """The feed is the address that ends in .xml, the page the other one; addresses elsewhere are ignored."""
    text = f"Yours:\n{WEB}/p/abc/feed.xml\n\nhttps://example.org/feed.xml and the page {WEB}/p/abc/\nDon't pass it on."
    assert addresses_in(text, WEB) == Addresses(f"{WEB}/p/abc/feed.xml", f"{WEB}/p/abc/")
    for text in ("", f"{WEB}/p/abc/feed.xml", f"{WEB}/p/abc/"):
        with pytest.raises(StartError):
            addresses_in(text, WEB)


def test_the_narrator_shows_what_others_wrote_as_it_is() -> None:
    """Markup in quoted words is printed as it is."""
    out, written = console()
    narrator = Narrator(out)
    narrator.say("[bold]joined[/bold]")
    narrator.quote("one\n\n[red]two[/red]")
    assert "[bold]joined[/bold]" in written.getvalue()
    assert written.getvalue().count("│") == 2
    assert "[red]two[/red]" in written.getvalue()


def test_a_slice_is_as_long_as_its_packets() -> None:
    """A slice's length includes the pre-skip of 80 ms; without facts it is 0."""
    chunk = a_chunk(facts=FACTS)
    assert seconds_of(chunk) == 5.6
    assert seconds_of(replace(chunk, facts=replace(FACTS, ogg=None))) == 5.52
    assert seconds_of(replace(chunk, facts=None)) == 0


async def test_the_watch_tells_each_change_once(store: Store) -> None:
    """Each chunk is narrated once when it is stored or fails, and the watch ends with the published episode."""
    async with store.write() as db:
        made = await archive.add_recording(db, recording(RecordingState.COMPLETE))
        stored = a_chunk(recording_id=made.id, facts=FACTS)
        await archive.save_chunks(db, [stored])
        sealed = a_chunk(recording_id=made.id, event_id=EventId("$2"), sequence=None, state=ChunkState.WAITING_FOR_KEY)
        await archive.save_chunks(db, [sealed])
        await archive.save_episode(db, Episode(made.id, "g", BlobKey("0" * 64), 452_000, Samples(2_712_960), NOW, NOW))
    out, written = console()
    found, episode = await Watch(store, Narrator(out)).until_published()
    assert (found.code, episode.guid) == ("kfmtra", "g")
    told = [line.split(" s  ", 1)[1].strip() for line in written.getvalue().splitlines()]
    assert told == [
        "chunk 1 stored, 5.6 s",
        "chunk ? waiting for key",
        "recording kfmtra: complete",
        "published: an episode of 56.5 s, 452 kB",
    ]


@pytest.mark.synapse
async def test_the_stage_and_the_broadcast(tmp_path: Path) -> None:
    """The stage has an encrypted room with two devices of one moderator and settings that fit, and the broadcast on
    it has two runs of the exact length."""
    out, written = console()
    stage: Stage
    async with set_stage(tmp_path) as stage:
        settings = settings_for(stage, tmp_path, 0)
        assert (settings.matrix.user_id, settings.web.host) == (stage.bot_id, "127.0.0.1")
        assert settings.web.port > 0
        assert settings.storage.path == tmp_path / "aircheck"
        assert stage.phone.user_id == stage.browser.user_id
        assert await stage.phone.is_encrypted(stage.room_id)
        made = await broadcast(stage, Narrator(out), pace=1000)
        chunks = [await stage.phone.wait_for(lambda event: event.event_id in made.chunks) for _ in made.chunks]
        assert not any(chunk.sealed for chunk in chunks)
    assert [len(decode(run)) for run in made.truth_ogg()] == [run.audible for run in made.slicers]
    assert [told in written.getvalue() for told in ("pauses", "resumes", "stops after 11 chunks")] == [True] * 3
