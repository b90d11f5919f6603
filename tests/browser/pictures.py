"""The pictures in `docs/pictures/` that show pages, taken of the gallery: `make pictures`."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.browser.chromium import DESK, PHONE, Browser, chromium
from tests.browser.gallery import Gallery, fill
from tests.web.world import world_of

PICTURES = Path(__file__).parent.parent.parent / "docs" / "pictures"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a page: what it is called, and how it is taken."""

    name: str
    page: str  # of the gallery
    width: int = DESK
    scheme: str = "light"
    does: str = ""  # on the page, before it is taken
    until: str = "true"  # what is then waited for
    then: str = ""  # what is changed last: what would be another each time

    @property
    def path(self) -> Path:
        return PICTURES / f"{self.name}.png"

    async def take(self, browser: Browser, base: str, gallery: Gallery, path: Path) -> str:
        """Write the picture, and return the texts that are in it."""
        async with browser.tab(self.width, self.scheme) as tab:
            await tab.visit(base + gallery.addresses()[self.page])
            await tab.wait("[...document.images].every(image => image.complete)")
            if self.does:
                await tab.evaluate(self.does)
            await tab.wait(self.until)
            if self.then:
                await tab.evaluate(self.then)
            await tab.picture(path)
            texts: str = await tab.evaluate(SEEN)
            return texts


SEEN = """[...document.querySelectorAll("h1, h2, h3, .button, button, .badge")]
    .filter(each => each.offsetParent && each.getBoundingClientRect().top < innerHeight)
    .map(each => each.innerText.trim()).filter(Boolean).join("\\n")"""
# A microphone that the page makes itself, since the browser has none.
SPEAKS = """(() => {
    const context = new AudioContext(), tone = context.createOscillator(), gain = context.createGain();
    const heard = context.createMediaStreamDestination();
    gain.gain.value = 0.3;
    tone.connect(gain).connect(heard);
    tone.start();
    navigator.mediaDevices.getUserMedia = async () => heard.stream.clone();
    document.querySelector("#studio-title").value = "Soup for forty";
    document.querySelector("[data-do=go]").click();
})()"""
SPOKEN = """document.querySelector("[data-studio]").dataset.state === "live"
    && Number(document.querySelector("[data-elapsed]").dataset.ms) > 3000
    && !["", "0", "0.000"].includes(document.querySelector("[data-level]").style.getPropertyValue("--level"))"""
# The clock and the listeners are written each quarter of a second: in a copy of the page they stand still.
TWELVE_MINUTES = """(() => {
    document.querySelector("main").replaceChildren(document.querySelector("[data-studio]").cloneNode(true));
    document.querySelector("[data-elapsed]").innerText = "12:34";
    document.querySelector("[data-listeners]").innerText = "Listeners: 7";
})()"""


def _studio(name: str, page: str, width: int = DESK, scheme: str = "light") -> Picture:
    """Return a picture of a studio that is live."""
    return Picture(name, page, width, scheme, SPEAKS, SPOKEN, TWELVE_MINUTES)


ALL = (
    Picture("home", "home"),
    Picture("room", "room"),
    Picture("room-dark", "room", scheme="dark"),
    Picture("room-phone", "room", PHONE),
    Picture("episode", "broadcast"),
    Picture("call", "call"),
    Picture("live-phone", "live", PHONE, "dark"),
    _studio("studio", "studio"),
    _studio("studio-dark", "studio_dark", scheme="dark"),
    _studio("studio-phone", "studio_phone", PHONE),
)


async def main() -> None:
    """Take all pictures anew."""
    with tempfile.TemporaryDirectory() as folder:
        async with world_of(Path(folder) / "data") as (world, _), chromium(Path(folder)) as browser:
            gallery = await fill(world)
            for picture in ALL:
                await picture.take(browser, world.server.address, gallery, picture.path)


if __name__ == "__main__":
    asyncio.run(main())
