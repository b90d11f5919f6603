"""The page of a room: what it is, what is on the air, its episodes, and how to subscribe."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from bot.feeds.addresses import CODE
from bot.feeds.text import clean_line, clean_text
from bot.language import speaking, spoken_month
from bot.web.airing import Airing
from bot.web.calendar import Calendar, calendar_of
from bot.web.episodes import EpisodePage, Part
from bot.web.library import View
from bot.web.now import content_of
from bot.web.people import BESIDE, Person, person
from bot.web.recording_parts import live_player
from bot.web.rendering import Renderer
from bot.web.rows import episode_row, heard_in
from bot.web.speakers import PublicSpeaker
from bot.web.subscribing import subscription
from storage.records import BlobKey, UserId

EPISODES_ON_PAGE = 50
MOST_SPEAKERS = 30
"""Speakers who are named with their feeds."""
MOST_WORDS = 5
LONGEST_SEARCH = 100
BRIEF_CHARACTERS = 320
"""The beginning of a topic that is shown without being asked; only longer ones are cut."""
SUMMARY_CHARACTERS = 200
"""The description for search engines and for previews of links."""
_MONTH = re.compile(r"([12][0-9]{3})-(0[1-9]|1[0-2])")


def part_of(query: Mapping[str, str]) -> Part | None:
    """Read from a query which part of the list is asked for: `?before=CODE` or `?after=CODE`, `?month=2026-11`,
    `?q=words`. None where it can't be read."""
    month = _MONTH.fullmatch(query.get("month", ""))
    before, after = query.get("before", ""), query.get("after", "")
    if ("month" in query and month is None) or any(code and not CODE.fullmatch(code) for code in (before, after)):
        return None
    words = tuple(query.get("q", "")[:LONGEST_SEARCH].split()[:MOST_WORDS])
    return Part(EPISODES_ON_PAGE, before, after, (int(month[1]), int(month[2])) if month else None, words)


@dataclass(frozen=True, slots=True)
class EpisodeList:
    """A part of a room's episodes as it was asked for, with the newest ones, and the counts of all months."""

    part: Part
    page: EpisodePage
    first: EpisodePage
    months: Mapping[tuple[int, int], int]

    @property
    def count(self) -> int:
        return sum(self.months.values())

    @property
    def searched(self) -> bool:
        return bool(self.part.words or self.part.month)

    @property
    def calendar(self) -> Calendar | None:
        """The calendar of a list that is longer than one page."""
        return calendar_of(self.months) if self.count > self.part.size else None

    @property
    def newer(self) -> str:
        """The link to newer ones; empty where there are none."""
        return _link(self.part, after=self.page.newer) if self.page.newer else ""

    @property
    def older(self) -> str:
        return _link(self.part, before=self.page.older) if self.page.older else ""


@dataclass(frozen=True, slots=True)
class ListedPerson:
    """A speaker with a feed of their own; `feed` is its relative address, `heard_in` counts episodes."""

    person: Person
    feed: str
    heard_in: int


class RoomPage:
    """The pages of rooms."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._zone = renderer.settings.feeds.zone

    def answer(
        self,
        view: View,
        listed: EpisodeList,
        live: Sequence[Airing],
        speakers: Sequence[PublicSpeaker],
        portraits: Mapping[UserId, BlobKey],
        cover: str,
        token: str | None,
    ) -> web.Response:
        """Render a room's page with a part of its episodes. `live`: what is on the air; `speakers`: those with a feed,
        and `portraits`, their pictures. Blocking."""
        shelf = self._renderer.shelf(view, token)
        topic = clean_text(view.face.description or "")
        newest = listed.first.published[:1]
        with speaking(view.room.language):
            return self._renderer.of_room(
                "room.html",
                view,
                cover,
                shelf,
                page_address=shelf.page,
                feed_address=shelf.feed,
                topic=topic,
                brief=_brief(topic),
                summary=clean_line(topic, SUMMARY_CHARACTERS),
                heard=heard_in(recording for recording, _ in listed.first.published),
                live=[live_player(airing, self._zone) for airing in live],
                content=content_of(view.key, live),
                latest=[episode_row(*published, self._zone) for published in newest],
                episodes=[episode_row(*published, self._zone) for published in listed.page.published],
                count=listed.count,
                words=" ".join(listed.part.words),
                month=spoken_month(*listed.part.month) if listed.part.month else "",
                calendar=listed.calendar,
                searched=listed.searched,
                newer=listed.newer,
                older=listed.older,
                bounded=listed.page.bounded,
                backwards=bool(listed.part.after),
                people=_people(speakers, portraits),
                subscription=subscription(shelf.feed, private=token is not None),
            )


def _people(speakers: Sequence[PublicSpeaker], portraits: Mapping[UserId, BlobKey]) -> list[ListedPerson]:
    """List the speakers, the most frequent first, as far as a page names them; one alone needs no list."""
    if len(speakers) < 2:
        return []
    frequent = sorted(speakers, key=lambda each: -each.heard_in)[:MOST_SPEAKERS]
    return [
        ListedPerson(person(each.name, each.user_id, portraits, number), BESIDE.speaker_feed(each.id), each.heard_in)
        for number, each in enumerate(frequent, 1)
    ]


def _brief(topic: str) -> str:
    """Return the beginning of a long topic, up to a whole word; all of a short one."""
    if len(topic) <= BRIEF_CHARACTERS:
        return topic
    return topic[:BRIEF_CHARACTERS].rsplit(maxsplit=1)[0].rstrip(",.;: ") + " …"


def _link(part: Part, **place: str) -> str:
    """Return the link from a part of the list to another place in it, with the same search."""
    query = dict(place)
    if part.month:
        query["month"] = f"{part.month[0]}-{part.month[1]:02}"
    if part.words:
        query["q"] = " ".join(part.words)
    return f"./?{urlencode(query)}"
