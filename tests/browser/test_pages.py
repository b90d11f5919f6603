"""Every page in headless Chromium: on a phone and at a desk, in light and dark, and without scripts."""

import pytest

from storage.records import Visibility
from tests.browser.chromium import DESK, PHONE, ZOOMED, Browser, Tab
from tests.browser.conftest import Shown
from tests.web.world import BOB

pytestmark = pytest.mark.browser

PAGES = {
    "home": "/",
    "room": "{room}",
    "room, searched": "{room}?q=soup",
    "room, nothing found": "{room}?q=xyzzy",
    "right to left": "{right_to_left}",
    "empty room": "{empty}",
    "one short episode": "{quiet}",
    "personal": "{personal}",
    "live": "{live}",
    "broadcast": "{broadcast}",
    "incomplete": "{incomplete}",
    "call": "{call}",
    "session": "{session}",
    "studio": "{studio}",
    "embed": "{broadcast}.embed",
    "not found": "/r/nothing/",
}
STATUS = {"not found": 404}
BEHIND = {
    "older episodes": ("{room}", "a[rel=next]"),
    "a month": ("{room}", ".calendar a"),
    "waits for approval": ("{personal}", "li:has(.badge.lack) h3 a"),
}
"""Pages that others link to: where from, and by which link."""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
PANELS = "[...document.querySelectorAll('details[data-popover]')].filter(panel => panel.offsetParent)"
OPEN = PANELS + ".forEach((panel, number) => { panel.open = number === NUMBER; })"
BESIDE = """(() => {
    const { left, right } = document.querySelector("details[data-popover][open] .panel").getBoundingClientRect();
    return Math.max(-left, right - document.documentElement.clientWidth);
})()"""
"""Measure by how many pixels the open panel reaches past the window."""

SHARED = """[...document.querySelectorAll(".rows > li")].filter((row) => {
    const length = row.querySelector(".length").getBoundingClientRect();
    return [...row.querySelectorAll(".began time")].map((each) => each.getBoundingClientRect())
        .some((box) => box.right > length.left && box.bottom > length.top && box.top < length.bottom);
}).length"""
"""The rows in which date and length share a place."""
OPENED = """[...document.querySelectorAll("main details.popover")]
    .forEach((each, at) => {{ each.open = at === {number}; }})"""


async def assert_good(tab: Tab, address: str, status: int) -> None:
    """Open a page, and check that nothing is wrong with it."""
    assert await tab.visit(address) == status
    # Chromium puts the status of a page that is an error into the console.
    assert [fault for fault in await tab.faults() if status == 200 or f"status of {status}" not in fault] == []
    assert await tab.axe() == []
    assert await tab.evaluate(SIDEWAYS) <= 0


def path_of(shown: Shown, page: str) -> str:
    return PAGES[page].format(**shown.gallery.addresses())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("page", PAGES)
async def test_a_page_is_as_it_should_be(shown: Shown, browser: Browser, page: str, width: int, scheme: str) -> None:
    """axe-core finds nothing, the console is silent, nothing breaches the page's policy or scrolls sideways."""
    async with browser.tab(width, scheme) as tab:
        await assert_good(tab, shown.address(path_of(shown, page)), STATUS.get(page, 200))


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_at_four_times_the_size_is_too(shown: Shown, browser: Browser, page: str) -> None:
    """So is a page at 400 % on a desk: dates and lengths stand apart, and open panels lie within the window."""
    async with browser.tab(ZOOMED) as tab:
        await assert_good(tab, shown.address(path_of(shown, page)), STATUS.get(page, 200))
        assert await tab.evaluate(SHARED) == 0
        for number in range(await tab.evaluate("document.querySelectorAll('main details.popover').length")):
            await tab.evaluate(OPENED.format(number=number))
            assert await tab.evaluate(SIDEWAYS) <= 0


async def test_a_long_topic_opens_and_closes(shown: Shown, browser: Browser) -> None:
    """A long topic is opened from the keyboard, and closed again where the focus stays and is seen."""
    room = await shown.world.room("Long topic", visibility=Visibility.PUBLIC)
    await shown.world.state(room, "m.room.topic", {"topic": "Soup and bread. " * 40})
    async with browser.tab() as tab:
        await tab.visit(shown.address(f"/r/{room.key}/"))
        await tab.evaluate("document.querySelector('.topic summary').focus()")
        for word in ("More", "Less", "More"):
            assert (await tab.evaluate("document.activeElement.innerText")).endswith(word)
            assert await tab.evaluate("document.activeElement.getBoundingClientRect().height") > 10
            await tab.press("Enter")


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "dark"), (DESK, "light")])
@pytest.mark.parametrize(("page", "panels"), [("room", 3), ("call", 3), ("personal", 1)])
async def test_an_open_panel_is_as_it_should_be(
    shown: Shown, browser: Browser, page: str, panels: int, width: int, scheme: str
) -> None:
    """Each panel stays inside the window, axe-core finds nothing in it, and nothing scrolls sideways; also while the
    player is there with all its controls."""
    async with browser.tab(width, scheme) as tab:
        await tab.visit(shown.address(path_of(shown, page)))
        await tab.evaluate("document.querySelector('[data-row] [data-play]:not([data-live-play])').click()")
        await tab.wait("!document.querySelector('[data-bar]').hidden")
        await tab.evaluate("document.querySelector('[data-do=more]').click()")
        await tab.wait(f"{PANELS}.length === {panels}")
        for number in range(panels):
            await tab.evaluate(OPEN.replace("NUMBER", str(number)))
            assert await tab.evaluate(BESIDE) <= 0
            assert await tab.evaluate(SIDEWAYS) <= 0
            assert await tab.axe() == []


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("page", BEHIND)
async def test_a_page_behind_a_link_is_too(shown: Shown, browser: Browser, page: str, width: int) -> None:
    """So are the pages of the archive, and of a recording that waits for approval."""
    path, link = BEHIND[page]
    async with browser.tab(width) as tab:
        await tab.visit(shown.address(path.format(**shown.gallery.addresses())))
        address = await tab.evaluate(f"document.querySelector({link!r}).href")
        await assert_good(tab, address, 200)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_of_a_closed_address_is_too(shown: Shown, browser: Browser, scheme: str) -> None:
    """So is the page that says that a personal address has ended."""
    world = shown.world
    room = await world.room("Closed", visibility=Visibility.PRIVATE)
    await world.member(room, BOB)
    token = await world.listener(room, BOB)
    await world.member(room, BOB, "leave")
    async with browser.tab(PHONE, scheme) as tab:
        await assert_good(tab, shown.address(f"/p/{token}/"), 410)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_works_without_scripts(shown: Shown, browser: Browser, page: str) -> None:
    """Without JavaScript there is a title and text, and the sound is a link or a player."""
    async with browser.tab(PHONE, scripts=False) as tab:
        await tab.visit(shown.address(path_of(shown, page)))
        assert await tab.faults() == [] or page in STATUS
        assert await tab.evaluate("document.querySelector('h1').innerText.trim().length") > 0
        assert await tab.evaluate(SIDEWAYS) <= 0
        if page in ("room", "broadcast", "call", "session", "incomplete", "personal", "embed", "one short episode"):
            seen = "[...document.querySelectorAll('a[href$=\".mp3\"], audio[src]')].filter(e => e.offsetParent).length"
            assert await tab.evaluate(seen) > 0
