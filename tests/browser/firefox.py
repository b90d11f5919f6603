"""Headless Firefox, driven through `browser.js`: `make test-browser` installs it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.browser.chromium import Browser, driven

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
TONE_HZ = 443
"""The sound of its microphone, which goes on without a break from the moment at which it is opened."""
ALLOWED, REFUSED = 1, 2
LIGHT = 1


@asynccontextmanager
async def firefox(directory: Path, profile: Path, *, microphone: int = ALLOWED) -> AsyncIterator[Browser]:
    """Run a browser with a profile, which is made where there is none: what pages store stays in it."""
    assert FIREFOX is not None, "Firefox is not installed"
    settings = {
        "media.navigator.streams.fake": True,
        "media.navigator.audio.fake_frequency": TONE_HZ,
        "permissions.default.microphone": microphone,
        "layout.css.prefers-color-scheme.content-override": LIGHT,
        "ui.prefersReducedMotion": 1,
    }
    await asyncio.to_thread(profile.mkdir, exist_ok=True)
    told = {"program": FIREFOX, "flags": [], "firefox": {"settings": settings, "profile": str(profile)}}
    async with driven(directory, told) as browser:
        yield browser
