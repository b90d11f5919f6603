"""The routes by which requests to the web server are counted: a few words, whatever is asked for. Pure.

A path holds tokens and codes, so nothing of it is kept.
"""

import re

OTHER = "other"
_LIVE = re.compile(r"(?:[a-z]{6}-)?live\.mp3|[a-z]{6}-[0-9]+-[0-9]+\.mp3")
_PAGE = re.compile(r"[a-z]{6}(?:\.embed)?|")
_ENDINGS = {
    "xml": "feed",
    "opml": "feed",
    "m3u8": "live",
    "mp3": "audio",
    "opus": "audio",
    "ogg": "audio",
    "mka": "audio",
    "zip": "audio",
    "jpg": "picture",
    "png": "picture",
    "ico": "picture",
    "json": "data",
}
_NAMES = {"healthz": "health", "oembed": "data"}
ROUTES = frozenset({*_ENDINGS.values(), *_NAMES.values(), "page", "static", "studio", OTHER})


def route_of(path: str) -> str:
    """Return the kind of file that a path, with or without a query, asks for."""
    path = path.partition("?")[0]
    if path.startswith("/static/"):
        return "static"
    if path.startswith("/studio/"):
        return "studio"
    name = path.rpartition("/")[2]
    if name in _NAMES:
        return _NAMES[name]
    if _LIVE.fullmatch(name):
        return "live"
    return "page" if _PAGE.fullmatch(name) else _ENDINGS.get(name.rpartition(".")[2], OTHER)
