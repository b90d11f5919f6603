"""Sound as a WebRTC sender encodes it."""

import io
import subprocess

import numpy as np

from bot.audio.ffmpeg import Ffmpeg
from bot.audio.ogg import PacketReader, read_pages


def encoded(ffmpeg: Ffmpeg, sound: np.ndarray, *options: str) -> list[bytes]:
    """Return the Opus packets of 32-bit float sound, of 20 ms each."""
    command = [ffmpeg.exe, "-v", "error", "-f", "f32le", "-ar", "48000", "-ac", "1", "-i", "-", "-c:a", "libopus"]
    ogg = subprocess.run([*command, *options, "-f", "ogg", "-"], input=sound.tobytes(), capture_output=True, check=True)
    reader, found = PacketReader(), list[bytes]()
    for page in read_pages(io.BytesIO(ogg.stdout)):
        found += reader.feed(page)
    return found[2:]
