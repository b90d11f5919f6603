"""Pillow without numpy, of which it needs the name of a type only. It takes 11 MB, and a twentieth of a start; a bot at
rest needs none of it, and who works on sound imports it then."""

import sys

_known = sys.modules.get("numpy")
sys.modules["numpy"] = None  # type: ignore[assignment]  # the import of a module that is None is refused
try:
    from PIL import Image, ImageDraw, ImageFont
finally:
    if _known is None:
        del sys.modules["numpy"]
    else:
        sys.modules["numpy"] = _known

__all__ = ["Image", "ImageDraw", "ImageFont"]
