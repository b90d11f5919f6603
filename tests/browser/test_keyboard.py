"""Everything can be done from the keyboard, and the focus is seen wherever it is."""

import pytest

from tests.browser.chromium import DESK, PHONE, Browser, Tab
from tests.browser.conftest import Shown

pytestmark = pytest.mark.browser

MOST_STOPS = 400
FOCUS = """(() => {
    const at = document.activeElement;
    if (!at || at === document.body) return null;
    const style = getComputedStyle(at), box = at.getBoundingClientRect();
    const ring = ({ outlineStyle, outlineWidth }) => outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
    const ringed = ring(style) || ring(getComputedStyle(at, "::after"));
    const name = at.getAttribute("aria-label") ?? at.innerText ?? "";
    const inside = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    return [at.tagName.toLowerCase() + (at.id ? "#" + at.id : "") + " " + name.trim().slice(0, 40), ringed && inside];
})()"""
FOCUS_ON = "document.querySelector({selector!r}).focus()"
PLACE = "document.querySelector('[data-bar-at]').innerText.split(':').reduce((all, part) => 60 * all + Number(part), 0)"


async def walk(tab: Tab) -> list[tuple[str, bool]]:
    """Press Tab until the focus has left the page; return where it stood, and whether it was seen there."""
    stops: list[tuple[str, bool]] = []
    for _ in range(MOST_STOPS):
        await tab.press("Tab")
        stop = await tab.evaluate(FOCUS)
        if stop is None:
            return stops
        stops.append((stop[0], stop[1]))
    raise AssertionError(f"the focus never leaves the page: {stops[-5:]}")


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("page", ["home", "room", "broadcast", "call", "live", "personal", "studio"])
async def test_the_focus_is_seen_at_each_stop(shown: Shown, browser: Browser, page: str, width: int) -> None:
    """Tab leads through the page, from the link past the head on, and shows a ring inside the window at each stop."""
    async with browser.tab(width) as tab:
        await tab.visit(shown.address(shown.gallery.addresses()[page]))
        stops = await walk(tab)
    assert "Skip to the content" in stops[0][0]
    assert [name for name, seen in stops if not seen] == []


async def test_a_listener_plays_seeks_and_changes_speed_by_keys(shown: Shown, browser: Browser) -> None:
    """Subscribe opens and closes; an episode plays, is moved through, and played faster; the player is closed."""
    async with browser.tab() as tab:
        await tab.visit(shown.address(shown.gallery.broadcast))
        await tab.evaluate(FOCUS_ON.format(selector=".subscribe summary"))
        await tab.press("Enter")
        assert await tab.evaluate("document.querySelector('.subscribe').open")
        await tab.press("Escape")
        assert not await tab.evaluate("document.querySelector('.subscribe').open")
        await tab.evaluate(FOCUS_ON.format(selector=".listen .play"))
        await tab.press("Enter")
        await tab.wait(f"!document.querySelector('[data-bar]').hidden && {PLACE} > 0")
        before = await tab.evaluate(PLACE)
        await tab.evaluate(FOCUS_ON.format(selector="[data-do=on]"))
        await tab.press("Enter")
        await tab.wait(f"{PLACE} >= {before + 29}")
        await tab.evaluate(FOCUS_ON.format(selector="[data-bar-speed]"))
        await tab.press("ArrowDown")
        assert await tab.evaluate("document.querySelector('[data-bar-speed]').value") == "1.2"
        await tab.evaluate(FOCUS_ON.format(selector="[data-bar] [role=slider]"))
        await tab.press("Home")
        await tab.wait(f"{PLACE} < 20")
        await tab.evaluate(FOCUS_ON.format(selector="[data-do=close]"))
        await tab.press("Enter")
        assert await tab.evaluate("document.querySelector('[data-bar]').hidden")
        assert await tab.evaluate("document.activeElement.matches('.listen .play')")
        assert await tab.faults() == []
