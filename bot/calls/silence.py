"""Reports of sound to the session machine: now and then, and not of silence."""

import asyncio

from bot.calls.media import door

TELL_EVERY_S = 2.0
"""The pause between two reports of sound to the machine."""
SILENT_BYTES = 8
"""The largest payload that holds digital silence, as a muted microphone sends it; speech has 40 and more."""


class Told:
    """The reports of one leg's sound."""

    def __init__(self) -> None:
        self._at: float | None = None

    def is_due(self, sound: door.Sound) -> bool:
        """Return whether this sound is to be reported, and count it as reported."""
        now = asyncio.get_running_loop().time()
        if _is_silent(sound) or (self._at is not None and now - self._at <= TELL_EVERY_S):
            return False
        self._at = now
        return True


def _is_silent(sound: door.Sound) -> bool:
    return isinstance(sound, door.OpusPacket) and len(sound.payload) <= SILENT_BYTES
