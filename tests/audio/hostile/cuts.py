"""Healthy files to be cut, and where."""

from tests.audio.sounds import FLAC, M4A, MP3, WAV

FORMS = {"wav": WAV, "m4a": M4A, "mp3": MP3, "flac": FLAC}
CUTS = (1, 3, 4, 8, 12, 27, 28, 44, 100, 1000, -1000, -100, -2, -1)
