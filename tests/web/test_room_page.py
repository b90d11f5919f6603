"""The page of a room."""

import asyncio
import json
import re
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest
import segno
from aiohttp import ClientSession

from bot.web import episodes, room_page, turns
from bot.web.rendering import TEMPLATES
from bot.web.static_files import FOLDER
from bot.web.subscribing import app_links, qr_code
from storage.records import (
    Loss,
    RecordingState,
    Room,
    Visibility,
    to_samples,
)
from tests.web.reader import APPS, page
from tests.web.world import ALICE, BOB, NOW, World, world_of


async def test_room_page_lists_what_can_be_heard(world: World, client: ClientSession, room: Room) -> None:
    """A room's page has its name, its topic, its feed's address, and each episode with title, speaker, date and length;
    of its state only what is wrong."""
    await world.state(room, "m.room.topic", {"topic": "All about soup"})
    await world.episode(await world.recording(room, title="First"), b"1")
    lost = Loss(to_samples(20_000), 1, ((to_samples(0), to_samples(20_000)),))
    await world.episode(await world.recording(room, state=RecordingState.INCOMPLETE), b"2", loss=lost)
    found = await page(client, f"/r/{room.key}/")
    for words in ("Kitchen radio", "With Alice", "All about soup", "First", "3 min 4 s", "20 s missing"):
        assert words in found.text
    assert "complete" not in found.text
    assert "feed.xml" in found.addresses
    assert len([address for address in found.addresses if address.endswith(".mp3")]) == 3  # the latest, and each


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
    assert "About to begin Carol" in " ".join(found.text.split())
    assert "Dave" not in found.text


async def test_personal_page_is_for_one(world: World, client: ClientSession, room: Room) -> None:
    """A personal page shows its own feed address, also as a QR code, is kept by no cache and no search engine, and
    never names the public address."""
    await world.member(room, ALICE)
    token = await world.listener(room, ALICE)
    recording = await world.recording(room)
    await world.episode(recording)
    for name in ("", recording.code):
        async with client.get(f"/p/{token}/{name}") as answer:
            assert "noindex" in answer.headers["X-Robots-Tag"]
            assert answer.headers["Cache-Control"] == "private, no-store"
            html = (await answer.read()).decode()
        assert room.key not in html
        assert "og:url" not in html
        assert f"/p/{token}/feed.xml" in html
        assert 'class="qr"' in html


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
    assert offered == {"p": {"podcast", "antennapod-subscribe", "gpodder"}, "r": APPS | {"http", "https"}}


async def test_speaker_and_date_are_said_once(world: World, client: ClientSession, room: Room) -> None:
    """Speaker and date have places of their own in a list, beside a given title and where there is none."""
    await world.episode(await world.recording(room, title="First"), b"1")
    await world.episode(await world.recording(room, title=None), b"2")
    text = " ".join((await page(client, f"/r/{room.key}/")).text.split("Episodes 2")[-1].split())
    assert text.startswith("Alice 20 November 2026 17:05 3 min 4 s First Alice 20 November 2026 16:05 3 min 4 s")


async def test_episodes_come_in_pages(
    world: World, client: ClientSession, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long list goes on over several pages, newest first; there is no page behind the last."""
    monkeypatch.setattr(room_page, "EPISODES_ON_PAGE", 2)
    codes = []
    for number in (1, 2, 3, 4, 5):
        recording = await world.recording(room, title=f"Part {number}", started_at=NOW + timedelta(days=number))
        await world.episode(recording, bytes([number]))
        codes.append(recording.code)

    async def parts(query: str) -> tuple[str, list[str]]:
        shown = await page(client, f"/r/{room.key}/{query}")
        found = "".join(str(number) for number in (5, 4, 3, 2, 1) if f"Part {number}" in shown.text)
        return found, [address for address in shown.addresses if "before=" in address or "after=" in address]

    assert await parts("") == ("54", [f"./?before={codes[3]}"])
    assert await parts(f"?before={codes[3]}") == ("32", [f"./?after={codes[2]}", f"./?before={codes[1]}"])
    assert await parts(f"?before={codes[1]}") == ("1", [f"./?after={codes[0]}"])
    assert await parts(f"?after={codes[0]}") == ("32", [f"./?after={codes[2]}", f"./?before={codes[1]}"])
    assert await parts(f"?after={codes[2]}") == ("54", [f"./?before={codes[3]}"])
    other = await world.recording(await world.room(), title="Elsewhere")
    for asked in ("before=3", "before=aaaaaa", f"after={other.code}", "month=2026-13", "month="):
        async with client.get(f"/r/{room.key}/?{asked}") as answer:
            assert answer.status == 404, asked


async def test_long_archive_has_search_and_calendar(
    world: World, client: ClientSession, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of more than one page can be searched, and has a calendar with the number of episodes in each month; what
    was asked for stands above the list, and further pages keep it."""
    monkeypatch.setattr(room_page, "EPISODES_ON_PAGE", 2)
    for number in range(1, 4):
        recording = await world.recording(room, title=f"Soup {number}", started_at=NOW + timedelta(days=number))
        await world.episode(recording, bytes([number]))
    bread = await world.recording(room, title="Bread", started_at=NOW - timedelta(days=60))
    await world.episode(bread, b"bread")
    first = await page(client, f"/r/{room.key}/")
    assert "Episodes 4" in " ".join(first.text.split())
    assert {"./?month=2026-11", "./?month=2026-09"} <= set(first.addresses)
    assert "form" in first.tags
    found = await page(client, f"/r/{room.key}/?q=soup")
    assert "Episodes with “soup”" in found.text
    assert "Bread" not in found.text.split("Episodes with")[1]
    (older,) = [address for address in found.addresses if "before=" in address]
    assert older.endswith("&q=soup")
    assert "Soup 1" in (await page(client, f"/r/{room.key}/{older[2:]}")).text
    september = (await page(client, f"/r/{room.key}/?month=2026-09")).text.split("Show all episodes")[1]
    assert "Bread" in september
    assert "Soup" not in september
    assert "Nothing was found." in (await page(client, f"/r/{room.key}/?q=salad")).text
    monkeypatch.setattr(episodes, "SEARCHED", 1)
    cut = await page(client, f"/r/{room.key}/?q=SOUP")
    assert "There are more episodes to search." in cut.text
    assert "Search older episodes" in cut.text
    assert [address for address in cut.addresses if "before=" in address]


async def test_short_archive_needs_no_search(world: World, client: ClientSession, room: Room) -> None:
    """A list that fits on its page has neither search nor calendar."""
    await world.episode(await world.recording(room))
    found = await page(client, f"/r/{room.key}/")
    assert "form" not in found.tags
    assert not any("month=" in address for address in found.addresses)


async def test_speakers_of_a_public_podcast(world: World, client: ClientSession, room: Room) -> None:
    """A public page lists several speakers with their number of episodes, their own feeds, and a search for each; no
    user id is in it, and a personal page has no such list."""
    for number, (user, name) in enumerate(((ALICE, "Alice"), (BOB, "Bob"), (ALICE, "Alice"))):
        await world.episode(await world.recording(room, broadcaster=user, broadcaster_name=name), bytes([number]))
    found = await page(client, f"/r/{room.key}/")
    words = " ".join(found.text.split())
    assert "Alice 2 episodes" in words.split("Speakers")[1]
    assert "./?q=Bob" in found.addresses
    feeds = sorted({address for address in found.addresses if address.startswith("speaker-")})
    assert len(feeds) == 2
    async with client.get(f"/r/{room.key}/{feeds[0]}") as answer:
        assert answer.status == 200
    assert ":hs" not in words
    await world.member(room, ALICE)
    personal = await page(client, f"/p/{await world.listener(room, ALICE)}/")
    assert "Speakers" not in personal.text


async def test_topic_keeps_its_lines_and_links(world: World, client: ClientSession, room: Room) -> None:
    """A topic keeps its line ends, and its addresses are links; of a long one the beginning is shown first."""
    await world.state(room, "m.room.topic", {"topic": "Soup.\nhttps://soup.example/now"})
    found = await page(client, f"/r/{room.key}/")
    assert "Soup.\nhttps://soup.example/now" in found.text
    assert "https://soup.example/now" in found.addresses
    await world.state(room, "m.room.topic", {"topic": "soup and bread " * 40})
    await world.change(room)
    found = await page(client, f"/r/{room.key}/")
    assert " … More" in found.text


async def test_what_is_said_of_a_public_page(world: World, client: ClientSession, room: Room) -> None:
    """A public page names itself for search engines and previews; a personal one, and what a search finds, do not."""
    await world.state(room, "m.room.topic", {"topic": 'All about "soup" </script>'})
    await world.member(room, ALICE)
    personal = f"/p/{await world.listener(room, ALICE)}/"
    async with client.get(f"/r/{room.key}/") as answer:
        html = (await answer.read()).decode()
    data = json.loads(html.split('<script type="application/ld+json">')[1].split("</script>")[0])
    assert (data["@type"], data["description"]) == ("PodcastSeries", 'All about "soup" </script>')
    assert data["webFeed"].endswith(f"/r/{room.key}/feed.xml")
    for tag in ('<link rel="canonical"', '<meta name="description"', '"og:image"', '"og:description"', "twitter:card"):
        assert tag in html
    assert re.search(r'"og:image" content="[^"]+/cover-\w+-800\.jpg"', html)
    async with client.get(personal) as answer:
        html = (await answer.read()).decode()
    assert not any(tag in html for tag in ("ld+json", "og:", "canonical"))
    async with client.get(f"/r/{room.key}/?q=soup") as answer:
        assert '<meta name="robots" content="noindex">' in (await answer.read()).decode()


async def test_right_to_left_names_stand_apart(world: World, client: ClientSession, room: Room) -> None:
    """A right-to-left title reads in its own direction, and its date is outside of it; names in a line are isolated."""
    hebrew = await world.recording(room, title="שוק", broadcaster_name="נועה")
    await world.episode(hebrew)
    async with client.get(f"/r/{room.key}/") as answer:
        html = (await answer.read()).decode()
    assert f'<a href="{hebrew.code}" dir="auto">שוק</a>' in html
    assert "With \u2068נועה\u2069<" in html
    assert '<p class="began"><time datetime="2026-11-20T' in html


def test_each_app_has_a_symbol_and_colour_of_its_own() -> None:
    """The button of each app has a drawing and a colour that no other has."""
    drawings = (TEMPLATES / "apps.html").read_text()
    style = (FOLDER / "style" / "70-subscribe.css").read_text()
    apps = app_links("https://radio.example/r/kitchen/feed.xml", private=False)
    drawn = [re.findall(rf'<symbol id="icon-app-{app.symbol}" [^>]+>(.+)</symbol>', drawings) for app in apps]
    colours = [re.findall(rf"\.app-{app.symbol} {{ --tile: (#\w+); }}", style) for app in apps]
    for found in (drawn, colours):
        assert len({one for (one,) in found}) == len(apps)


def test_qr_code_is_that_of_the_feed() -> None:
    """The strokes of the QR code are the dark modules of the code of the address, inside of its quiet zone."""
    address = "https://radio.example/r/kitchen/feed.xml"
    code = qr_code(address)
    dark = set()
    for x, y, length in re.findall(r"M(\d+) (\d+)\.5h(\d+)", code.path):
        dark |= {(int(x) + step, int(y)) for step in range(int(length))}
    matrix = segno.make(address, error="m", micro=False).matrix
    assert dark == {(x + 4, y + 4) for y, row in enumerate(matrix) for x, module in enumerate(row) if module}
    assert code.side == len(matrix) + 8


async def test_searches_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose searches wait already is refused one more; meanwhile the page itself, what was searched before and
    the feed come at once."""
    monkeypatch.setattr(turns, "MOST_WAITING_OF_ONE", 1)
    async with world_of(tmp_path, web={"trusted_proxies": ["127.0.0.1"]}) as (world, client):
        room = await world.room(visibility=Visibility.PUBLIC)
        await world.episode(await world.recording(room))

        async def ask(name: str) -> int:
            async with client.get(f"/r/{room.key}/{name}", headers={"X-Forwarded-For": "8.8.8.8"}) as answer:
                return answer.status

        assert await ask("?q=known") == 200
        async with world.server._rooms._list_turns.turn("9.9.9.9"):
            waiting = [asyncio.create_task(ask(f"?q=word{number}")) for number in range(3)]
            assert [await ended for ended in islice(asyncio.as_completed(waiting), 2)] == [429, 429]
            assert [await ask(name) for name in ("", "?q=known", "feed.xml")] == [200] * 3
        assert sorted(await asyncio.gather(*waiting)) == [200, 429, 429]
