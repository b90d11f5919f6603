"""The ways to subscribe to a feed: links into podcast apps, and the QR code. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

import segno

MODULE = 4
"""Quiet zone of a QR code, in modules (ISO/IEC 18004)."""


class Platform(StrEnum):
    """The systems that an app runs on, as the pages' script tells them apart."""

    APPLE = "apple"  # phones and computers
    IPHONE = "iphone"
    ANDROID = "android"
    PHONES = "phones"  # both
    DESKTOP = "desktop"


@dataclass(frozen=True, slots=True)
class AppLink:
    """A link that opens the feed in a podcast app on this device. `symbol`: the name of the drawing on its button."""

    name: str
    symbol: str
    address: str
    platform: Platform
    keeps: bool = False  # the app fetches feeds itself, and tells no server


@dataclass(frozen=True, slots=True)
class QrCode:
    """A QR code as an SVG path of strokes; `side` is that of its box, with the quiet zone."""

    path: str
    side: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """All ways to subscribe to one feed."""

    address: str
    apps: tuple[AppLink, ...]
    qr: QrCode


def subscription(feed: str, *, private: bool) -> Subscription:
    """Collect the ways to subscribe to a feed. Takes some milliseconds: call it in a thread."""
    return Subscription(feed, tuple(app_links(feed, private=private)), qr_code(feed))


def app_links(feed: str, *, private: bool) -> list[AppLink]:
    """List links that open a feed in an app. A personal address is offered only to apps that fetch feeds themselves:
    other apps' servers would learn it, and some have put such addresses into a public directory."""
    bare, whole = feed.partition("://")[2], quote(feed, safe="")
    links = [
        AppLink("Apple Podcasts", "apple", f"podcast://{bare}", Platform.APPLE, keeps=True),
        AppLink("AntennaPod", "antennapod", f"antennapod-subscribe://{bare}", Platform.ANDROID, keeps=True),
        AppLink("Overcast", "overcast", f"overcast://x-callback-url/add?url={whole}", Platform.IPHONE),
        AppLink("Pocket Casts", "pocketcasts", f"pktc://subscribe/{bare}", Platform.PHONES),
        AppLink("Castro", "castro", f"castro://subscribe/{bare}", Platform.IPHONE),
        AppLink("Podcast Addict", "podcastaddict", f"podcastaddict://{bare}", Platform.ANDROID),
        AppLink("gPodder", "gpodder", f"gpodder://{bare}", Platform.DESKTOP, keeps=True),
        AppLink("Player FM", "playerfm", f"https://player.fm/subscribe?id={whole}", Platform.DESKTOP),
    ]
    return [link for link in links if link.keeps or not private]


def qr_code(address: str) -> QrCode:
    """Make the QR code of an address. Takes some milliseconds: call it in a thread."""
    code = segno.make(address, error="m", micro=False)
    strokes = []
    for y, row in enumerate(code.matrix):
        x = 0
        while x < len(row):
            end = x
            while end < len(row) and row[end]:
                end += 1
            if end > x:
                strokes.append(f"M{x + MODULE} {y + MODULE}.5h{end - x}")
            x = end + 1
    return QrCode("".join(strokes), len(code.matrix) + 2 * MODULE)
