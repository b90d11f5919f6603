"""The templates, and what all pages have in common."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bot import memory
from bot.feeds.addresses import Shelf, personal_shelf, public_shelf
from bot.feeds.links import parts_of
from bot.language import _, plural, spoken_date, spoken_number, written
from bot.pictures.sizes import SIDES
from bot.settings import Settings
from bot.web.access import Family
from bot.web.covers import sized
from bot.web.library import View
from bot.web.respond import OF_FAMILY, SAFE, UNKEPT, embedded, page
from bot.web.static_files import StaticFiles
from storage.records import Room

ACCENTS = 24
"""Accent colours in the style sheet, around the colour wheel."""
KEPT_BY_NONE = {**OF_FAMILY[Family.PERSONAL], "Cache-Control": "private, no-store"}
"""Headers of a personal page: the listener's address is on it, as text and as a QR code."""
MICROPHONE = {"Permissions-Policy": "microphone=(self), camera=(), geolocation=()"}
PREVIEW_SIDE = 800
"""Pixels of the picture for previews of links: one of the sizes of covers."""
TEMPLATES = Path(__file__).parent / "templates"


class Renderer:
    """The templates with what each of them may use. `base` gives the address that links are built from;
    `media_origin`: where players are sent for the sound of episodes."""

    def __init__(
        self, settings: Settings, static: StaticFiles, base: Callable[[], str], media_origin: str | None = None
    ) -> None:
        self.settings = settings
        self._static = static
        self.base = base
        self._page, self._embedded = page(media_origin), embedded(media_origin)
        self._templates = _templates()

    def shelf(self, view: View, token: str | None) -> Shelf:
        """Return the addresses of a room as this listener, or everybody, has them."""
        if token is not None:
            return personal_shelf(self.base(), token)
        return public_shelf(self.base(), view.room.key)

    def of_server(self, template: str, **values: object) -> web.Response:
        """Render a page that belongs to no room."""
        return web.Response(
            text=self._render(template, root="", hue=None, private=False, **{"content": "", **values}),
            content_type="text/html",
            headers={**SAFE, **self._page},
        )

    def message(self, status: int, heading: str, sentence: str, root: str, command: str = "feed") -> web.Response:
        """Render a page that says one thing; `{command}` in it stands for this command. `root` leads from its address
        to the server's own page."""
        said = {"heading": heading, "sentence": sentence, "command_said": command}
        text = self._render("message.html", root=root, hue=None, private=True, content="", **said)
        return web.Response(status=status, text=text, content_type="text/html", headers={**UNKEPT, **self._page})

    def of_room(
        self, template: str, view: View, cover: str, shelf: Shelf, *, framed: bool = False, **values: object
    ) -> web.Response:
        """Render a page of a room or of one of its recordings. `framed`: other sites may show it in a frame."""
        private = view.family is Family.PERSONAL
        shared = {
            "root": "../../",
            "hue": accent_of(view.room.key),
            "private": private,
            "title": view.face.title,
            "covers": {side: sized(cover, side) for side in SIDES},
            "preview": shelf.cover(sized(cover, PREVIEW_SIDE)),
        }
        return web.Response(
            text=self._render(template, **shared, **values),
            content_type="text/html",
            headers={
                **(KEPT_BY_NONE if private else OF_FAMILY[view.family]),
                **(self._embedded if framed else self._page),
            },
        )

    def of_studio(self, room: Room, title: str, **values: object) -> web.Response:
        """Render the page of a studio, which nobody may keep and no other site may learn of."""
        shared = {"root": "../../", "hue": accent_of(room.key), "private": True, "content": "", "title": title}
        text = self._render("studio.html", modules=self._static.modules, **shared, **values)
        return web.Response(text=text, content_type="text/html", headers={**UNKEPT, **self._page, **MICROPHONE})

    def warm(self) -> None:
        """Compile the templates and read the names of months, which takes 0.2 s of the first page. Blocking."""
        for template in self._templates.list_templates():
            self._templates.get_template(template)
        spoken_date(datetime(1970, 1, 1, tzinfo=UTC), self.settings.feeds.zone)
        memory.give_back_what_is_free()  # the compiler used several times what it made

    def _render(self, template: str, **values: object) -> str:
        shared = {**self._static.names, "prefix": self.settings.commands.prefix}
        return self._templates.get_template(template).render(**shared, **values)


@cache
def _templates() -> Environment:
    """Return the templates, each compiled once in a process."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        auto_reload=False,
    )
    templates.globals.update(_=_, plural=plural, written=written, spoken_number=spoken_number, parts_of=parts_of)
    return templates


def accent_of(key: str) -> int:
    """Return the accent colour of a room's pages, one of those in the style sheet: that of its drawn cover."""
    return int.from_bytes(sha256(key.encode()).digest()[:2]) * ACCENTS >> 16
