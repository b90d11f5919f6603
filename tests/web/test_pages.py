"""The pages that people look at."""

from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from io import BytesIO

import pytest
from aiohttp import ClientSession
from PIL import Image

from bot.feeds.catalog import Face
from bot.web import room_routes
from bot.web.access import Family
from bot.web.library import View
from bot.web.pages import Pages
from bot.web.static_files import StaticFiles
from storage import archive
from storage.records import ChunkState, DurationMs, Mark, PodcastTexts, RecordingState, Room, Visibility
from tests.recording.world import absent, mp4, stored
from tests.web.world import ALICE, NOW, World


class Reader(HTMLParser):
    """The texts and the addresses of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += " " if tag == "td" else ""
        self.addresses += [value for name, value in attrs if name in ("href", "src") and value]

    def handle_data(self, data: str) -> None:
        self.text += data


async def page(client: ClientSession, address: str) -> Reader:
    async with client.get(address) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        return Reader((await answer.read()).decode())


@pytest.fixture
async def room(world: World) -> Room:
    return await world.room(visibility=Visibility.PUBLIC)


async def test_room_page_lists_what_can_be_heard(world: World, client: ClientSession, room: Room) -> None:
    """A room's page has its name, its feed's address, and each episode with title, date, length and state."""
    await world.state(room, "m.room.topic", {"topic": "All about soup"})
    await world.episode(await world.recording(room, title="First"), b"1")
    await world.episode(await world.recording(room, state=RecordingState.INCOMPLETE), b"2")
    found = await page(client, f"/r/{room.key}/")
    for words in ("Kitchen radio", "All about soup", "First", "3 min 4 s", "complete", "incomplete"):
        assert words in found.text
    assert "Alice, 20 November 2026" in found.text
    assert "feed.xml" in found.addresses
    assert found.tags.count("audio") == 2


async def test_held_episode_is_on_its_page_at_once(world: World, client: ClientSession, room: Room) -> None:
    """An incomplete episode that no feed lists yet is on the room's page, on its own, and can be heard."""
    recording = await world.recording(room, state=RecordingState.INCOMPLETE, title="Still held")
    await world.episode(recording, published_at=None)
    assert "Still held" in (await page(client, f"/r/{room.key}/")).text
    assert "Still held" in (await page(client, f"/r/{room.key}/{recording.code}")).text
    async with client.get(f"/r/{room.key}/{recording.code}.mp3") as answer:
        assert answer.status == 200


async def test_live_is_said(world: World, client: ClientSession, room: Room) -> None:
    """A room's page names who is live, but not what the public may not hear."""
    await world.recording(room, state=RecordingState.LIVE, broadcaster_name="Carol")
    await world.recording(room, state=RecordingState.LIVE, broadcaster_name="Dave", public=False)
    found = await page(client, f"/r/{room.key}/")
    assert "Live since 16:05: Carol" in found.text
    assert "Dave" not in found.text


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


async def test_every_link_of_our_own_leads_somewhere(world: World, client: ClientSession, room: Room) -> None:
    """Every link of a page to this server works, and nothing is loaded from another one."""
    recording = await world.recording(room)
    await world.episode(recording)
    for address in (f"/r/{room.key}/", f"/r/{room.key}/{recording.code}"):
        async with client.get(address) as answer:
            base = answer.url
            found = Reader((await answer.read()).decode())
        ours = [link for link in found.addresses if "://" not in link]
        assert len(ours) >= 4
        for link in ours:
            async with client.get(base.join(type(base)(link))) as answer:
                assert answer.status == 200, link
        schemes = {link.partition("://")[0] for link in found.addresses if "://" in link}
        assert schemes <= {"podcast", "antennapod-subscribe", "overcast", "pktc"}


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


async def test_personal_page_is_for_one(world: World, client: ClientSession, room: Room) -> None:
    """A personal page shows its own feed address, is not indexed, and never names the public address."""
    await world.member(room, ALICE)
    token = await world.listener(room, ALICE)
    recording = await world.recording(room)
    await world.episode(recording)
    for name in ("", recording.code):
        async with client.get(f"/p/{token}/{name}") as answer:
            assert "noindex" in answer.headers["X-Robots-Tag"]
            assert answer.headers["Cache-Control"].startswith("private")
            html = (await answer.read()).decode()
        assert room.key not in html
        assert "og:url" not in html
        assert (f"/p/{token}/feed.xml" in html) == (name == "")


async def test_personal_address_is_offered_to_apps_that_keep_it(
    world: World, client: ClientSession, room: Room
) -> None:
    """A personal page offers no app whose server would fetch the feed; a public one may."""
    await world.member(room, ALICE)
    token = await world.listener(room, ALICE)
    offered = {}
    for root in (f"/p/{token}/", f"/r/{room.key}/"):
        found = await page(client, root)
        offered[root[1]] = {link.partition("://")[0] for link in found.addresses if "://" in link}
    assert offered == {
        "p": {"podcast", "antennapod-subscribe"},
        "r": {"podcast", "antennapod-subscribe", "overcast", "pktc"},
    }


async def test_speaker_and_date_are_said_once(world: World, client: ClientSession, room: Room) -> None:
    """A given title stands beside the speaker's name and the date; the default title holds both."""
    for number, title in ((1, "First"), (2, None)):
        await world.episode(await world.recording(room, title=title), f"{number}".encode())
        text = (await page(client, f"/r/{room.key}/")).text
        assert (text.count("20 November 2026"), text.count("Alice")) == (number, number)


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
    """While a session runs its pages say who was heard last, in parts that the page loads again."""
    session = await world.session(room, "Ann", "Ben", state=RecordingState.LIVE, ended_by=None)
    for address in (f"/r/{room.key}/", f"/r/{room.key}/{session.code}"):
        async with client.get(address) as answer:
            html = (await answer.read()).decode()
        words = " ".join(Reader(html).text.split())
        assert "Ann and Ben Last heard: Ben" in words
        assert "Waiting for the next voice message." in words
        assert 'data-removed="These voice messages are no longer available here."' in html
        assert f'data-fresh="newest-{session.code}"' in html
        assert ":hs" not in html


async def test_live_page_of_a_broadcast_is_not_loaded_again(world: World, client: ClientSession, room: Room) -> None:
    """A broadcast's pages have no parts that change with each message."""
    recording = await world.recording(room, state=RecordingState.LIVE)
    for address in (f"/r/{room.key}/", f"/r/{room.key}/{recording.code}"):
        async with client.get(address) as answer:
            assert b"data-fresh" not in await answer.read()


async def test_episodes_come_in_pages(
    world: World, client: ClientSession, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long list goes on over several pages, newest first; there is no page behind the last."""
    monkeypatch.setattr(room_routes, "EPISODES_ON_PAGE", 2)
    for number in (1, 2, 3):
        began = NOW + timedelta(days=number)
        await world.episode(await world.recording(room, title=f"Part {number}", started_at=began), bytes([number]))
    first, second = await page(client, f"/r/{room.key}/"), await page(client, f"/r/{room.key}/?page=2")
    assert "Part 3" in first.text
    assert "Part 1" not in first.text
    assert "Part 1" in second.text
    assert "./?page=2" in first.addresses
    assert "./" in second.addresses
    for asked in ("3", "0", "-1", "x", "99999999999"):
        async with client.get(f"/r/{room.key}/?page={asked}") as answer:
            assert answer.status == 404


async def test_cover_is_what_apple_takes(world: World, client: ClientSession, room: Room) -> None:
    """The cover is a square RGB JPEG of 1400 pixels below 512 kB that may be cached for ever."""
    html = (await page(client, f"/r/{room.key}/")).addresses
    name = next(address for address in html if address.startswith("cover-"))
    async with client.get(f"/r/{room.key}/{name}") as answer:
        body = await answer.read()
        assert answer.content_type == "image/jpeg"
        assert "immutable" in answer.headers["Cache-Control"]
    with Image.open(BytesIO(body)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (1400, 1400), "RGB")
    assert len(body) < 512_000
    async with client.head(f"/r/{room.key}/{name}") as answer:
        assert answer.headers["Content-Length"] == str(len(body))
        tag = answer.headers["ETag"]
    async with client.get(f"/r/{room.key}/{name}", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
    async with client.get(f"/r/{room.key}/cover-0000000000000000.jpg") as answer:
        assert answer.status == 404


async def test_cover_moves_with_the_name(world: World, client: ClientSession, room: Room) -> None:
    """A renamed room has a new picture at a new address."""

    async def cover() -> str:
        found = (await page(client, f"/r/{room.key}/")).addresses
        return next(address for address in found if address.startswith("cover-"))

    before = await cover()
    await world.state(room, "m.room.name", {"name": "日本語ラジオ"})
    await world.change(room)
    after = await cover()
    assert before != after
    async with client.get(f"/r/{room.key}/{after}") as answer:
        assert answer.status == 200


async def test_cover_that_was_made_is_served(world: World, client: ClientSession, room: Room) -> None:
    """A room whose picture was made of its avatar serves it at an address of its own."""
    recording = await world.recording(room)
    episode = await world.episode(recording, b"\xff\xd8\xff picture")  # any blob will do
    await world.change(room, cover=episode.blob)
    name = f"cover-{episode.blob[:16]}.jpg"
    assert name in (await page(client, f"/r/{room.key}/")).addresses
    async with client.get(f"/r/{room.key}/{name}") as answer:
        assert await answer.read() == b"\xff\xd8\xff picture"


async def test_cover_that_a_moderator_chose_comes_first(world: World, client: ClientSession, room: Room) -> None:
    """A chosen picture is served, and named by every page and feed, in the place of the room's own."""
    made, chosen = [
        (await world.episode(await world.recording(room), picture)).blob
        for picture in (b"\xff\xd8\xff 1", b"\xff\xd8\xff 2")
    ]
    await world.change(room, cover=made, own_cover=chosen)
    name = f"cover-{chosen[:16]}.jpg"
    assert name in (await page(client, f"/r/{room.key}/")).addresses
    for address, content in (("feed.xml", name.encode()), (name, b"\xff\xd8\xff 2")):
        async with client.get(f"/r/{room.key}/{address}", headers={"Accept-Encoding": "identity"}) as answer:
            assert content in await answer.read()


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
    pages = Pages(world.settings, StaticFiles(), lambda: "http://here")
    answer = pages.episode(view, (recording, None), [stored("$1", 1, mp4()), sealed], "cover.jpg", None)
    html = answer.text or ""
    assert words in html
    on_the_air = 0 if state is RecordingState.INCOMPLETE else 1
    assert html.count("<audio") == on_the_air
    assert html.count(".mp3") == html.count("-live.mp3") == 2 * on_the_air
    told = " ".join(Reader(html).text.split())
    assert "1 0:00 about 5 s stored no number yet 0:05 0 s waiting for key" in told
