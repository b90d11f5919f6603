"""The pages that people look at."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bot.feeds.catalog import Face
from bot.web.access import Family
from bot.web.airing import Airing
from bot.web.library import View
from bot.web.recording_page import RecordingPage, Subject
from bot.web.rendering import Renderer
from bot.web.static_files import StaticFiles
from storage import archive
from storage.records import (
    ChunkState,
    DurationMs,
    Mark,
    PodcastTexts,
    RecordingState,
    Room,
    Visibility,
)
from tests.recording.world import absent, mp4, stored
from tests.web.reader import APPS, Reader, page
from tests.web.world import World


async def test_episode_page_says_what_is_missing(world: World, client: ClientSession, room: Room) -> None:
    """An incomplete episode's page says what is missing: position, length and reason."""
    recording = await world.recording(room, state=RecordingState.INCOMPLETE, description="One.\n\nTwo <b>.")
    for sequence, state in enumerate(("stored", "damaged", "stored", "waiting_for_key", "stored"), 1):
        await world.chunk(recording, sequence, ChunkState(state), seconds=70)
    await world.episode(recording)
    found = await page(client, f"/r/{room.key}/{recording.code}")
    words = " ".join(found.text.split())
    told = "1 min 10 s missing at 1:10 and 1 min 10 s at 3:30"
    assert words.index(told) < words.index("One.") < words.index("Two <b>.")
    assert "some audio that was sent is missing. Missing audio is added if it arrives later." in words
    assert "1:10 1 min 10 s arrived damaged" in words
    assert "3:30 1 min 10 s can't be decrypted yet: the speaker's key has not arrived" in words


async def test_complete_episode_says_so(world: World, client: ClientSession, room: Room) -> None:
    """A complete episode's page says that it has all audio."""
    recording = await world.recording(room)
    await world.episode(recording)
    found = await page(client, f"/r/{room.key}/{recording.code}")
    assert "the episode has all audio that was sent" in found.text


async def test_page_speaks_the_language_of_its_room(world: World, client: ClientSession) -> None:
    """A German room's page is German: its words, its dates and the speeds of its player."""
    room = await world.room(visibility=Visibility.PUBLIC, language="de")
    recording = await world.recording(room)
    await world.episode(recording)
    found = await page(client, f"/r/{room.key}/{recording.code}")
    words = " ".join(found.text.split())
    assert "Abonnieren" in words
    assert "20. November 2026" in words
    assert "0,8×1×1,2×1,5×1,75×2×" in words


async def test_every_link_of_our_own_leads_somewhere(world: World, client: ClientSession, room: Room) -> None:
    """Every link of a page to this server works, and nothing is loaded from another one."""
    recording = await world.recording(room)
    await world.episode(recording)
    for address in (f"/r/{room.key}/", f"/r/{room.key}/{recording.code}"):
        async with client.get(address) as answer:
            base = answer.url
            found = Reader((await answer.read()).decode())
        ours = [link for link in found.addresses if "://" not in link or link.startswith(str(base.origin()))]
        assert len(ours) >= 4
        for link in ours:
            async with client.get(base.join(type(base)(link))) as answer:
                assert answer.status == 200, link
        schemes = {link.partition("://")[0] for link in found.addresses if "://" in link}
        assert schemes <= APPS | {"http", "https"}
        loaded = [link for tag, link in found.loaded if "://" in link]
        assert not loaded


async def test_pages_may_run_and_load_our_own_things_only(world: World, client: ClientSession, room: Room) -> None:
    """Pages forbid inline scripts, other hosts, frames and referrers."""
    async with client.get(f"/r/{room.key}/") as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        html = (await answer.read()).decode()
    assert "style=" not in html
    assert "onclick" not in html


async def test_strangers_words_are_no_markup(world: World, client: ClientSession) -> None:
    """Names and titles are escaped."""
    evil = '<script>alert(1)</script>"><img src=x>'
    room = await world.room(name=evil, visibility=Visibility.PUBLIC)
    recording = await world.recording(room, title=evil, description=evil, broadcaster_name=evil)
    await world.episode(recording)
    await world.recording(room, state=RecordingState.LIVE, broadcaster_name=evil)
    for address in (f"/r/{room.key}/", f"/r/{room.key}/{recording.code}"):
        async with client.get(address) as answer:
            html = (await answer.read()).decode()
        assert "<script>alert" not in html
        assert "<img src=x>" not in html
        assert "&lt;script&gt;alert(1)" in html


async def test_episode_page_of_a_session(world: World, client: ClientSession, room: Room) -> None:
    """A session's page names its speakers, and lists each message with its speaker and without a number; nobody who
    has no name is named by an MXID."""
    session = await world.session(room, "Ann", "Ben", None, "Ann")
    await world.episode(session, chapters=(Mark(DurationMs(0), "Ann"), Mark(DurationMs(61_000), "Ben")))
    found = await page(client, f"/r/{room.key}/{session.code}")
    words = " ".join(found.text.split())
    assert "Ann, Ben and 1 other" in words
    assert "Chapters 0:00 Ann 1:01 Ben" in words
    assert "All voice messages in playback order (4) SpeakerPositionLengthState" in words
    rows = ["Ann 0:00 1 min stored", "Ben 1:01 1 min stored", "Somebody 2:02 1 min stored", "Ann 3:03 1 min stored"]
    assert " ".join(rows) in words
    assert not any(word in words for word in (":hs", "number", "chunk"))


async def test_live_page_of_a_session(world: World, client: ClientSession, room: Room) -> None:
    """While a session runs its pages say who was heard last, and what is waited for."""
    session = await world.session(room, "Ann", "Ben", state=RecordingState.LIVE, ended_by=None)
    for address in (f"/r/{room.key}/", f"/r/{room.key}/{session.code}"):
        async with client.get(address) as answer:
            html = (await answer.read()).decode()
        words = " ".join(Reader(html).text.split())
        assert "Ann and Ben Last heard: Ben" in words
        assert 'data-waiting="Waiting for the next voice message."' in html
        assert 'data-gone="These voice messages are no longer available here."' in html
        assert ":hs" not in html


async def test_late_sound_is_said(world: World, client: ClientSession, room: Room) -> None:
    """While late audio is added the episode stays and its page says so."""
    recording = await world.recording(room)
    await world.episode(recording)
    await world.save(replace(recording, state=RecordingState.FINISHING))
    assert "the last audio is being added" in (await page(client, f"/r/{room.key}/{recording.code}")).text


async def test_page_of_a_long_ledger_is_no_long_page(world: World, client: ClientSession, room: Room) -> None:
    """A ledger of five thousand chunks with every second one damaged is cut; as many alike ones are one row."""
    recording = await world.recording(room, state=RecordingState.INCOMPLETE)
    await world.episode(recording)
    whole = [replace(stored(f"$c{number}", number, mp4()), recording_id=recording.id) for number in range(1, 5001)]
    damaged = [replace(chunk, state=ChunkState.DAMAGED) for chunk in whole[::2]]
    async with world.store.write() as db:
        await archive.save_chunks(db, whole)
        await archive.save_chunks(db, damaged)
    async with client.get(f"/r/{room.key}/{recording.code}") as answer:
        cut = await answer.read()
    assert len(cut) < 200_000
    assert b"And 4500 more." in cut
    async with world.store.write() as db:
        await archive.save_chunks(db, whole)
    text = (await page(client, f"/r/{room.key}/{recording.code}")).text
    assert "1–5000" in text
    assert len(text) < 2_000


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (RecordingState.LIVE, "Live: the audio received so far."),
        (RecordingState.FINISHING, "Ended: the last audio is being added."),
        (RecordingState.INCOMPLETE, "some audio that was sent is missing"),
    ],
)
async def test_page_before_there_is_audio_shows_the_ledger(
    world: World, room: Room, state: RecordingState, words: str
) -> None:
    """A recording without an episode has a live player at most, no download, and its ledger."""
    recording = replace(await world.recording(room), state=state)
    view = View(room, Family.PUBLIC, Face("Kitchen radio", None, None, PodcastTexts()), ())
    sealed = absent("$2", None, ChunkState.WAITING_FOR_KEY, position=20)
    page = RecordingPage(Renderer(world.settings, StaticFiles(), lambda: "http://here"))
    live = [Airing(recording, DurationMs(0))] if recording.state.is_open else []
    subject = Subject(view, recording, None, [stored("$1", 1, mp4()), sealed], live)
    answer = page.answer(subject, "cover.jpg", None)
    html = answer.text or ""
    assert words in html
    on_the_air = 0 if state is RecordingState.INCOMPLETE else 1
    assert html.count("<audio") == on_the_air
    assert html.count(".mp3") == html.count("-live.mp3") == 3 * on_the_air
    told = " ".join(Reader(html).text.split())
    assert "1 0:00 about 5 s stored no number yet 0:05 0 s waiting for key" in told


async def test_files_that_files_load_are_served(world: World, client: ClientSession, room: Room) -> None:
    """The letters that the style sheet loads and the icons of the manifest are served, with types of their own, and
    kept for ever."""
    found = await page(client, f"/r/{room.key}/")
    sources = [address for address in found.addresses if address.endswith((".css", ".webmanifest"))]
    assert len(sources) == 2
    loaded = set()
    for source in sources:
        async with client.get(source.removeprefix("../.."), headers={"Accept-Encoding": "identity"}) as answer:
            loaded |= set(re.findall(r'(?:url\(|"src": )"([^"]+)"', (await answer.read()).decode()))
    assert {Path(name).suffix for name in loaded} == {".woff2", ".svg", ".png"}
    for name in loaded:
        async with client.get(f"/static/{name}") as answer:
            assert answer.status == 200
            assert answer.content_type in ("font/woff2", "image/svg+xml", "image/png")
            assert "immutable" in answer.headers["Cache-Control"]
