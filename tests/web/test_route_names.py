"""The routes by which requests are counted."""

import pytest

from bot.web.route_names import ROUTES, route_of


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "page"),
        ("/r/abcdef0123/", "page"),
        ("/r/abcdef0123/?q=word", "page"),
        ("/r/abcdef0123/kfmtra", "page"),
        ("/r/abcdef0123/kfmtra.embed", "page"),
        ("/p/token/feed.xml", "feed"),
        ("/p/token/feed-3.xml", "feed"),
        ("/podcasts.opml", "feed"),
        ("/r/abcdef0123/kfmtra.mp3", "audio"),
        ("/r/abcdef0123/kfmtra.mp3?from=app.xml", "audio"),
        ("/r/abcdef0123/kfmtra.stems.zip", "audio"),
        ("/r/abcdef0123/live.mp3", "live"),
        ("/r/abcdef0123/kfmtra-live.mp3", "live"),
        ("/r/abcdef0123/kfmtra-0-17.mp3", "live"),
        ("/r/abcdef0123/kfmtra.m3u8", "live"),
        ("/r/abcdef0123/cover-0123.jpg", "picture"),
        ("/r/abcdef0123/now.json", "data"),
        ("/static/site.css", "static"),
        ("/studio/token/", "studio"),
        ("/studio/token/slice-7", "studio"),
        ("/healthz", "health"),
        ("/oembed?url=x", "data"),
        ("/p/token/whatever", "other"),
        ("/wp-login.php", "other"),
        ("*", "other"),
    ],
)
def test_routes(path: str, route: str) -> None:
    """Each path has one of few routes, and nothing of the path is in it."""
    assert route_of(path) == route
    assert route in ROUTES
