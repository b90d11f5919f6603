"""The same ffmpeg and sounds as the tests of audio."""

from tests.audio.conftest import ffmpeg, studio

__all__ = ["ffmpeg", "studio"]
