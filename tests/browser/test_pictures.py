"""The pictures in the documentation show the pages as they are."""

from pathlib import Path

import pytest

from tests.browser.chromium import Browser
from tests.browser.conftest import Shown
from tests.browser.pictures import ALL, Picture

pytestmark = pytest.mark.browser

PNG_SIZE = slice(16, 24)  # width and height in the header
TEXTS = {
    "home": ("Kitchen Radio",),
    "room": ("Kitchen Radio", "Listen to the latest", "Subscribe"),
    "broadcast": ("What the baker does at four in the morning", "Subscribe", "Share", "Download"),
    "call": ("Subscribe", "Share", "Download"),
    "live": ("Live from the flea market", "Live"),
    **dict.fromkeys(("studio", "studio_dark", "studio_phone"), ("You are live", "Mute", "Pause", "End the broadcast")),
}


@pytest.mark.parametrize("picture", ALL, ids=lambda picture: picture.name)
async def test_a_picture_is_of_the_page(shown: Shown, browser: Browser, tmp_path: Path, picture: Picture) -> None:
    """The picture that is kept has the size of one taken now, and what has to be in it is seen on the page."""
    taken = tmp_path / "now.png"
    texts = await picture.take(browser, shown.world.server.address, shown.gallery, taken)
    assert [text for text in TEXTS[picture.page] if text not in texts] == []
    assert picture.path.exists(), "`make pictures` takes it"
    assert picture.path.read_bytes()[PNG_SIZE] == taken.read_bytes()[PNG_SIZE]
