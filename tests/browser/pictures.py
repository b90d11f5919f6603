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

    @property
    def path(self) -> Path:
        return PICTURES / f"{self.name}.png"

    async def take(self, browser: Browser, base: str, gallery: Gallery, path: Path) -> str:
        """Write the picture, and return the texts that are in it."""
        async with browser.tab(self.width, self.scheme) as tab:
            await tab.visit(base + gallery.addresses()[self.page])
            await tab.wait("[...document.images].every(image => image.complete)")
            await tab.picture(path)
            texts: str = await tab.evaluate(SEEN)
            return texts


SEEN = """[...document.querySelectorAll("h1, h2, h3, .button, .badge")]
    .filter(each => each.offsetParent && each.getBoundingClientRect().top < innerHeight)
    .map(each => each.innerText.trim()).filter(Boolean).join("\\n")"""
ALL = (
    Picture("home", "home"),
    Picture("room", "room"),
    Picture("room-dark", "room", scheme="dark"),
    Picture("room-phone", "room", PHONE),
    Picture("episode", "broadcast"),
    Picture("call", "call"),
    Picture("live-phone", "live", PHONE, "dark"),
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
