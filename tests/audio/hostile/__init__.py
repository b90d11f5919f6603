"""Files that somebody might send to read our disk, to call home, or to eat time and memory, by container.

Nothing here is downloaded. The import of this package collects all of them in `kit.ATTACKS`.
"""

from tests.audio.hostile import adts, amr, flac, matroska, mp3, mp4, ogg, riff

__all__ = ["adts", "amr", "flac", "matroska", "mp3", "mp4", "ogg", "riff"]
