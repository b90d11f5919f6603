"""simplematrixbotlib, which imports Pillow: ours is first."""

from bot.pillow import Image  # noqa: F401

# isort: split

import simplematrixbotlib as botlib

__all__ = ["botlib"]
