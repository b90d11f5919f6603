"""The pages that people look at: a room with its episodes, and a recording with its ledger."""

from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bot.feeds.addresses import Shelf, personal_shelf, public_shelf
from bot.feeds.text import clean_text
from bot.language import _, plural, speaking, written
from bot.recording import account
from bot.recording.kinds import lay_out
from bot.recording.wording import words_of
from bot.settings import Settings
from bot.web.access import Family
from bot.web.episodes import EpisodePage
from bot.web.ledger_table import table_of
from bot.web.library import View
from bot.web.page_parts import LivePlayer, app_links, chapter_link, episode_row, live_player, senders
from bot.web.respond import LIVE_PAGE, OF_FAMILY, PAGE, SAFE
from bot.web.static_files import StaticFiles
from bot.web.stem_names import MOST_TRACKS, stem_row, whole_stems
from bot.web.waveforms import BARS, HEIGHT, Waveform
from storage.records import Chunk, Episode, Recording, RecordingState, to_ms

TEMPLATES = Path(__file__).parent / "templates"
EPISODES_ON_PAGE = 50
OPEN_PARTS = 30
"""The most messages that an episode's page shows without being asked."""


class Pages:
    """All HTML pages. `base` gives the address that links are built from."""

    def __init__(self, settings: Settings, static: StaticFiles, base: Callable[[], str]) -> None:
        self._settings = settings
        self._zone = settings.feeds.zone
        self._static = static
        self._base = base
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
            auto_reload=False,
        )
        self._templates.globals.update(_=_, plural=plural, written=written)

    def welcome(self) -> web.Response:
        return web.Response(
            text=self._render("welcome.html", prefix=self._settings.commands.prefix),
            content_type="text/html",
            headers={**SAFE, **PAGE},
        )

    def room(
        self,
        view: View,
        page: EpisodePage,
        live: Sequence[tuple[Recording, Sequence[Chunk]]],
        cover: str,
        token: str | None,
    ) -> web.Response:
        """Render a room's page with one page of its episodes. `live`: what is on the air, with the chunks of those
        recordings in which several people speak."""
        shelf = self._shelf(view, token)
        with speaking(view.room.language):
            return self._page(
                "room.html",
                view,
                cover,
                shelf,
                page_address=shelf.page,
                feed_address=shelf.feed,
                topic=clean_text(view.face.description or ""),
                live=[live_player(*running, self._zone) for running in live],
                episodes=[episode_row(*published, self._zone) for published in page.published],
                newer=page.number - 1,
                older=page.number + 1 if page.more else 0,
                apps=app_links(shelf.feed, private=token is not None),
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
        """Render a recording's page with its whole ledger, also before there is audio. Blocking.

        `on_air`: it can still be heard live, though it may have ended: its episode is being made."""
        (recording, episode), shelf = published, self._shelf(view, token)
        running = on_air or recording.state is RecordingState.LIVE
        running |= recording.state is RecordingState.FINISHING and episode is None
        ledger = lay_out(recording, chunks)
        named, words = senders(recording, chunks), words_of(recording)
        with speaking(view.room.language):
            return self._page(
                "episode.html",
                view,
                cover,
                shelf,
                page_address=shelf.episode(recording.code),
                prefix=self._settings.commands.prefix,
                live=[live_player(recording, chunks, self._zone)] if running else [],
                audio_address=shelf.audio(recording.code) if episode and not running else None,
                episode=episode_row(recording, episode, self._zone),
                chapters=[chapter_link(mark) for mark in episode.chapters] if episode else [],
                stems=[stem_row(stem) for stem in whole_stems(recording)] if episode and not running else [],
                most_tracks=MOST_TRACKS,
                seconds=to_ms(episode.samples) / 1000 if episode else 0,
                bars=waveform.path if waveform else "",
                box=(BARS, HEIGHT),
                missing=account.first_line(recording, account.loss_of(ledger)),
                description=clean_text(recording.description).split("\n\n") if recording.description else [],
                verdict=account.verdict(recording, ledger),
                ledger=table_of(ledger, named),
                parts=(_(words.part), _(words.parts)),
                several=named is not None,
                open_parts=OPEN_PARTS,
            )

    def _shelf(self, view: View, token: str | None) -> Shelf:
        if token is not None:
            return personal_shelf(self._base(), token)
        return public_shelf(self._base(), view.room.key)

    def _page(
        self, template: str, view: View, cover: str, shelf: Shelf, live: Sequence[LivePlayer], **values: object
    ) -> web.Response:
        private = view.family is Family.PERSONAL
        shared = {"private": private, "title": view.face.title, "cover": cover, "cover_address": shelf.cover(cover)}
        return web.Response(
            text=self._render(template, live=live, **shared, **values),
            content_type="text/html",
            headers={**OF_FAMILY[view.family], **(LIVE_PAGE if live else PAGE)},
        )

    def _render(self, template: str, **values: object) -> str:
        return self._templates.get_template(template).render(**self._static.names, **values)
