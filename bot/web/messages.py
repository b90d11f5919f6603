"""Answers that say one thing: an address is closed, nothing is there, the server is not ready.

Apps get a line, for some of them save an error's body as an episode. A browser's user gets a page with one sentence:
what happened, and what to do.
"""

from collections.abc import Callable

from aiohttp import web

from bot.feeds.addresses import CODE
from bot.feeds.closed import closed_feed
from bot.language import N_, _, speaking, written
from bot.web import respond
from bot.web.access import Access, Ending
from bot.web.rendering import Renderer
from storage.records import Room

DEEPEST = 8
"""Slashes in a path, above which nobody followed a link of ours."""
CLOSED = N_("Closed podcast address")
STUDIO_CLOSED = N_("Closed studio")
STUDIO_ENDED = N_("This studio has ended, or its right to broadcast has: send {command} in its room to get a new one.")
ENDED = {
    Ending.REPLACED: N_(
        "This personal address was replaced by a new one: send {command} in its room to get the new one."
    ),
    Ending.LISTENER_LEFT: N_(
        "This personal address is closed because you are no longer in its room: it works again once you have joined "
        "the room again."
    ),
    Ending.BOT_LEFT: N_(
        "This personal address is closed because the bot is no longer in its room: it works again once somebody has "
        "invited the bot there."
    ),
}
FOR_PEOPLE = {
    404: (
        N_("Nothing here"),
        N_(
            "There is nothing at this address, or not any more: if it is a podcast's, ask for its present one with "
            "{command} in its room."
        ),
    ),
    503: (N_("Not yet"), N_("The server has just started, or is busy: try again in half a minute.")),
}


class Messages:
    """Such answers. `base` gives the address that links are built from."""

    def __init__(self, renderer: Renderer, base: Callable[[], str]) -> None:
        self._renderer = renderer
        self._base = base
        self._prefix = renderer.settings.commands.prefix

    def ended(self, request: web.BaseRequest, name: str, access: Access) -> web.Response:
        """Answer for a name below a personal address that was good once: 410 for feeds and pages. An app would save
        the body of anything else as what it asked for, so that is 404."""
        room = access.claim.room
        with speaking(room.language if room is not None else None):
            sentence = _(ENDED[access.ending])
            if name.endswith(".xml"):
                body = closed_feed(_(CLOSED), self._plain(sentence), f"{self._base()}/", written())
                return web.Response(status=410, body=body, headers={**respond.UNKEPT, "Content-Type": respond.RSS})
            if name and not CODE.fullmatch(name):
                return respond.not_found()
            return self._page(request, 410, _(CLOSED), sentence) or respond.short(410, self._plain(sentence))

    def studio_ended(self, request: web.BaseRequest, room: Room | None) -> web.Response | None:
        """Render the page of a studio that takes nothing more; None for who does not ask for one."""
        with speaking(room.language if room is not None else None):
            return self._page(request, 410, _(STUDIO_CLOSED), _(STUDIO_ENDED), "studio")

    def for_people(self, request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
        """Return a page in place of a short answer that a browser's user would read; else the answer itself."""
        if answer.status not in FOR_PEOPLE or not isinstance(answer, web.Response):
            return answer
        if answer.content_type != "text/plain" or (answer.status == 404 and "Retry-After" in answer.headers):
            return answer
        page = self._page(request, answer.status, *map(_, FOR_PEOPLE[answer.status]))
        if page is None:
            return answer
        if "Retry-After" in answer.headers:
            page.headers["Retry-After"] = answer.headers["Retry-After"]
        return page

    def _page(
        self, request: web.BaseRequest, status: int, title: str, sentence: str, command: str = "feed"
    ) -> web.Response | None:
        """Render the page; None for who does not ask for one, as apps and players don't. `command`: the one that stands
        for `{command}` in the sentence."""
        depth = request.rel_url.raw_path.count("/") - 1
        if "text/html" not in request.headers.get("Accept", "") or not 0 <= depth < DEEPEST:
            return None
        return self._renderer.message(status, title, sentence, "../" * depth, command)

    def _plain(self, sentence: str) -> str:
        return sentence.format(command=f"`{self._prefix} feed`")
