"""The page of a studio: one member broadcasts from it into one room."""

from aiohttp import web

from bot.feeds.text import DESCRIPTION_MOST, TITLE_MOST
from bot.language import speaking
from bot.web.rendering import Renderer
from storage.records import Room


class StudioPage:
    """The pages of studios. Everything that changes is asked for by the page's script: each page of a room is alike."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def answer(self, room: Room, name: str) -> web.Response:
        """Render the page of a studio in a room of this name, in the room's language. Blocking."""
        with speaking(room.language):
            return self._renderer.of_studio(room, name, most_title=TITLE_MOST, most_description=DESCRIPTION_MOST)
