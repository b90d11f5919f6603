"""A listener to an SFU that notes what it is told, for tests."""

import asyncio

from bot.calls.media.door import OpusPacket, Sound


class SfuEar:
    """The listener."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.sounds: dict[str, list[OpusPacket]] = {}
        self._news = asyncio.Condition()
        self._notices: set[asyncio.Task[None]] = set()

    def joined(self) -> None:
        self._note("joined")

    def came(self, identity: str) -> None:
        self._note(f"came {identity}")

    def went(self, identity: str) -> None:
        self._note(f"went {identity}")

    def muted(self, identity: str, muted: bool) -> None:
        self._note(f"{'muted' if muted else 'unmuted'} {identity}")

    def heard(self, identity: str, sound: Sound) -> None:
        assert isinstance(sound, OpusPacket)
        self.sounds.setdefault(identity, []).append(sound)
        self._notify()

    def unreadable(self, identity: str, reason: str) -> None:
        self._note(f"{reason} {identity}")

    def ended(self, reason: str) -> None:
        self._note(f"ended {reason}")

    def payloads(self, identity: str) -> list[bytes]:
        return [sound.payload for sound in self.sounds.get(identity, ())]

    async def hears(self, identity: str, packets: int, within_s: float = 60) -> list[OpusPacket]:
        """Wait until so many packets of somebody were heard."""
        async with asyncio.timeout(within_s), self._news:
            await self._news.wait_for(lambda: len(self.sounds.get(identity, ())) >= packets)
        return self.sounds[identity]

    async def is_told(self, what: str, times: int = 1, within_s: float = 60) -> None:
        """Wait until something was told so often."""
        async with asyncio.timeout(within_s), self._news:
            await self._news.wait_for(lambda: self.told.count(what) >= times)

    def _note(self, what: str) -> None:
        self.told.append(what)
        self._notify()

    def _notify(self) -> None:
        task = asyncio.ensure_future(self._tell())
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()
