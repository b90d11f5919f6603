"""The pages people look at: a room with its episodes, one episode with what is missing of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bot.feeds.addresses import Shelf, personal_shelf, public_shelf
from bot.feeds.text import clean_line, clean_text
from bot.feeds.titles import date_and_time, episode_title, speaker
from bot.recording import account
from bot.recording.ledger import lay_out
from bot.recording.lengths import player_clock, spoken_length
from bot.settings import Settings
from bot.web.access import Family
from bot.web.ledger_table import rows_of
from bot.web.library import Page, View
from bot.web.respond import KEPT_FOR_EVER, LIVE_PAGE, OF_FAMILY, PAGE, SAFE
from bot.web.waveforms import BARS, HEIGHT, Waveform
from storage.records import Chunk, Episode, Mark, Recording, RecordingState, to_ms

HERE = Path(__file__).parent
EPISODES_ON_PAGE = 50
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
STATIC = {"css": "style.css", "js": "page.js", "hls_js": "hls.light.min.js", "live_js": "live.js"}


@dataclass(frozen=True, slots=True)
class Row:
    """A recording in words; `length` and `size` are empty while it has no audio."""

    code: str
    title: str
    moment: str  # RFC 3339
    date: str  # empty where the title says it already
    length: str
    size: str
    state: str


@dataclass(frozen=True, slots=True)
class OnAir:
    """A broadcast that can be heard while it is spoken, or while its end is waited for."""

    code: str
    who: str
    moment: str  # RFC 3339
    since: str
    running: bool


@dataclass(frozen=True, slots=True)
class Chapter:
    clock: str
    seconds: float
    title: str


@dataclass(frozen=True, slots=True)
class App:
    name: str
    address: str


class Pages:
    def __init__(self, settings: Settings, base: Callable[[], str]) -> None:
        self._settings = settings
        self._zone = settings.feeds.zone
        self._base = base
        self._names, self._files = _named_by_content(HERE / "static")
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
            auto_reload=False,
        )

    def welcome(self) -> web.Response:
        return web.Response(
            text=self._render("welcome.html", prefix=self._settings.commands.prefix),
            content_type="text/html",
            headers={**SAFE, **PAGE},
        )

    def static(self, name: str) -> web.Response | None:
        body = self._files.get(name)
        if body is None:
            return None
        headers = {**SAFE, "Cache-Control": f"public, {KEPT_FOR_EVER}", "Content-Type": KINDS[Path(name).suffix]}
        return web.Response(body=body, headers=headers)

    def room(self, view: View, page: Page, live: Sequence[Recording], cover: str, token: str | None) -> web.Response:
        """A room's page with one page of its episodes."""
        shelf = self._shelf(view, token)
        return self._page(
            "room.html",
            view,
            cover,
            shelf,
            page_address=shelf.page,
            feed_address=shelf.feed,
            topic=clean_text(view.face.topic or ""),
            live=[self._on_air(one) for one in live],
            episodes=[self._row(*one) for one in page.published],
            newer=page.number - 1,
            older=page.number + 1 if page.more else 0,
            apps=_apps(shelf.feed, private=token is not None),
            prefix=self._settings.commands.prefix,
        )

    def episode(
        self,
        view: View,
        published: tuple[Recording, Episode | None],
        chunks: Sequence[Chunk],
        cover: str,
        token: str | None,
        waveform: Waveform | None = None,
        *,
        on_air: bool = False,
    ) -> web.Response:
        """A recording's page with its whole ledger, also before there is audio. Slow: make it beside the loop.

        `on_air`: it is, though its state says that it has ended: the episode is being made."""
        (recording, episode), shelf = published, self._shelf(view, token)
        running = on_air or recording.state is RecordingState.LIVE
        running |= recording.state is RecordingState.FINISHING and episode is None
        ledger = lay_out(recording, chunks)
        return self._page(
            "episode.html",
            view,
            cover,
            shelf,
            page_address=shelf.episode(recording.code),
            live=[self._on_air(recording)] if running else [],
            audio_address=shelf.audio(recording.code) if episode and not running else None,
            episode=self._row(recording, episode),
            chapters=[_chapter(mark) for mark in episode.chapters] if episode else [],
            seconds=to_ms(episode.samples) / 1000 if episode else 0,
            bars=waveform.path if waveform else "",
            box=(BARS, HEIGHT),
            missing=account.first_line(recording, account.loss_of(ledger)),
            description=clean_text(recording.description).split("\n\n") if recording.description else [],
            verdict=account.verdict(recording, ledger),
            rows=rows_of(ledger),
        )

    def _shelf(self, view: View, token: str | None) -> Shelf:
        if token is not None:
            return personal_shelf(self._base(), token)
        return public_shelf(self._base(), view.room.key)

    def _page(
        self, template: str, view: View, cover: str, shelf: Shelf, live: Sequence[OnAir], **values: object
    ) -> web.Response:
        private = view.family is Family.PERSONAL
        shared = {"private": private, "title": view.face.title, "cover": cover, "cover_address": shelf.cover(cover)}
        return web.Response(
            text=self._render(template, live=live, **shared, **values),
            content_type="text/html",
            headers={**OF_FAMILY[view.family], **(LIVE_PAGE if live else PAGE)},
        )

    def _render(self, template: str, **values: object) -> str:
        names = {name: self._names[file] for name, file in STATIC.items()}
        return self._templates.get_template(template).render(**names, **values)

    def _on_air(self, recording: Recording) -> OnAir:
        return OnAir(
            code=recording.code,
            who=speaker(recording.broadcaster_name),
            moment=recording.started_at.isoformat(timespec="seconds"),
            since=f"{recording.started_at.astimezone(self._zone):%H:%M}",
            running=recording.state is RecordingState.LIVE,
        )

    def _row(self, recording: Recording, episode: Episode | None) -> Row:
        title, date = episode_title(recording, self._zone), date_and_time(recording.started_at, self._zone)
        return Row(
            code=recording.code,
            title=title,
            moment=recording.started_at.isoformat(timespec="seconds"),
            date="" if title.endswith(date) else date,
            length=spoken_length(to_ms(episode.samples)) if episode else "",
            size=_megabytes(episode.bytes) if episode else "",
            state=str(recording.state),
        )


def _chapter(mark: Mark) -> Chapter:
    return Chapter(player_clock(mark.at), mark.at / 1000, clean_line(mark.title))


def _named_by_content(folder: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """The static files under names that change with them, so that browsers may keep them for ever; those names."""
    names, bodies = {}, {}
    for path in sorted(folder.iterdir()):
        body = path.read_bytes()
        name = f"{path.stem}-{sha256(body).hexdigest()[:12]}{path.suffix}"
        names[path.name], bodies[name] = name, body
    return names, bodies


def _apps(feed: str, *, private: bool) -> list[App]:
    """Links that open a feed in an app on this device. A personal address is offered only to apps that fetch feeds
    themselves: the others' servers would learn it, and have put such addresses into a public directory."""
    bare = feed.partition("://")[2]
    own = [App("Apple Podcasts", f"podcast://{bare}"), App("AntennaPod", f"antennapod-subscribe://{bare}")]
    if private:
        return own
    return [
        *own,
        App("Overcast", f"overcast://x-callback-url/add?url={quote(feed, safe='')}"),
        App("Pocket Casts", f"pktc://subscribe/{bare}"),
    ]


def _megabytes(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 100_000 else f"{max(1, count // 1000)} kB"
