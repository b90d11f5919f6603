"""simplematrixbotlib, which imports Pillow and nio: ours are first."""

from bot.matrix.nio_names import AsyncClient  # noqa: F401
from bot.pillow import Image  # noqa: F401

# isort: split

import simplematrixbotlib as botlib

__all__ = ["botlib"]
