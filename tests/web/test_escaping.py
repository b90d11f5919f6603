"""Texts that people wrote, as they come out of everything that the server writes: escaped once, by what writes it."""

import json
import re
from html.parser import HTMLParser

from aiohttp import ClientSession

from storage.records import DurationMs, Mark, PodcastTexts, Visibility
from tests.web.world import World

NAME = 'Tom & Jerry\'s "show" <live>'
TWICE = re.compile(r"&amp;(amp|lt|gt|quot|apos|#\d+|#x[0-9a-f]+);")
PLAYER = re.compile(r"&lt;iframe .*?&lt;/iframe&gt;")
"""HTML of a player, for other pages, within a page: it is escaped as a text of its own."""
PLAIN = {"Accept-Encoding": "identity"}


class Page(HTMLParser):
    """The title of a page, and its meta elements by name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.title = ""
        self.metas: dict[str, str] = {}
        self._in_title = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._in_title = tag == "title"
        if tag == "meta":
            self.metas[values.get("property") or values.get("name") or ""] = values.get("content") or ""

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data


async def test_nothing_is_escaped_twice(world: World, client: ClientSession) -> None:
    """A name with every character that is escaped comes out of feeds, pages, OpenGraph, chapters, the list of podcasts
    and oEmbed as it was written."""
    texts = PodcastTexts(title=NAME, description=NAME, author=NAME)
    room = await world.room(NAME, visibility=Visibility.PUBLIC, podcast=texts)
    recording = await world.recording(room, title=NAME, description=NAME, broadcaster_name=NAME)
    await world.episode(recording, chapters=(Mark(DurationMs(0), NAME),))
    root, code = f"/r/{room.key}/", recording.code
    oembed = f"/oembed?url={world.server.address}{root}{code}&format="
    bodies = {}
    for address in ("/feed.xml", "/podcasts.opml", "/", f"{root}feed.xml", root, f"{root}{code}", f"{root}{code}.embed",
                    f"{root}{code}.chapters.json", f"{oembed}json", f"{oembed}xml"):  # fmt: skip
        async with client.get(address, headers=PLAIN) as answer:
            assert answer.status == 200, address
            bodies[address] = await answer.text()
    for address, body in bodies.items():
        assert not TWICE.search(PLAYER.sub("", body)), address
    chapters = json.loads(bodies[f"{root}{code}.chapters.json"])
    assert (chapters["title"], chapters["chapters"][0]["title"]) == (NAME, NAME)
    assert json.loads(bodies[f"{oembed}json"])["title"] == NAME
    of_room, of_episode = Page(bodies[root]), Page(bodies[f"{root}{code}"])
    assert (of_room.metas["og:title"], of_room.metas["og:description"]) == (NAME, NAME)
    assert of_episode.metas["og:title"] == NAME
    assert NAME in of_room.title
    assert NAME in of_episode.title
