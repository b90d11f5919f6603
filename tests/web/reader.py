"""Readers of pages: the texts and addresses in them."""

from html.parser import HTMLParser

from aiohttp import ClientSession

APPS = {"podcast", "antennapod-subscribe", "overcast", "pktc", "castro", "podcastaddict", "gpodder"}
"""The schemes by which a public page opens its feed in apps."""


class Reader(HTMLParser):
    """The texts and the addresses of a page, without the data for scripts and search engines; `loaded` are those that a
    browser asks for by itself, with their tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.loaded: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += " " if tag == "td" else ""
        found = [value for name, value in attrs if name in ("href", "src") and value and not value.startswith("#")]
        self.addresses += found
        linked = tag == "link" and dict(attrs).get("rel") in ("stylesheet", "icon", "preload", "manifest")
        if linked or tag in ("script", "img", "audio", "iframe"):
            self.loaded += [(tag, value) for value in found]

    def handle_data(self, data: str) -> None:
        self.text += data if self.lasttag != "script" else ""


async def page(client: ClientSession, address: str) -> Reader:
    async with client.get(address) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        return Reader((await answer.read()).decode())
