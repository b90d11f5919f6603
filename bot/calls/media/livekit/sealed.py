"""The stage between order and clock of one microphone: packets with encrypted frames in, packets of Opus out. Pure.

- A frame that no key fits waits, and all behind it, so that the order stays. When its key comes they are handed on with
  the time at which they arrived: so sound stands where it was said.
- After `PATIENCE`, or beyond the bounds, what waits longest is lost. So is a frame of the same index as one behind it
  that is readable: the key of the index is there, and does not fit.
- Clients make a new key when the bot comes, give it to the bot, and use it a second later: the sound until then was
  meant for those who were in the call before. It counts neither as lost nor as unreadable, and holds up nothing: it is
  given up when the first frame is readable.
- Unreadable sound is told once for each stretch, from its tenth packet on: a single frame can be broken. A stretch ends
  after `PATIENCE` without such a frame.
"""

from collections import deque
from dataclasses import dataclass

from bot.audio.opus_packets import length_of, well_formed
from bot.calls.media.livekit.frames import is_injected, key_index
from bot.calls.media.livekit.keyring import FAILURE_TOLERANCE, Keyring
from bot.calls.media.reorder import Ordered
from storage.records import SAMPLE_RATE, Samples

PATIENCE = Samples(10 * SAMPLE_RATE)
MOST_WAITING = 1200  # packets: 12 s of 10 ms each
MOST_BYTES = 1 << 19
TOLD_FROM = 10  # packets of a stretch
NO_KEY, UNENCRYPTED = "no_key", "unencrypted"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The beginning of sound that is silence for ever. `reason`: as `SfuListener.unreadable` has it."""

    reason: str


@dataclass(slots=True)
class _Held:
    """A packet whose turn has not come. `waits_for`: the index of its key; None: its payload is Opus, or empty."""

    ordered: Ordered
    bytes: int
    waits_for: int | None


class Unsealing:
    """The stage of one microphone. `keys`: those of its participant. `encrypted`: its sound is, or has to be."""

    def __init__(self, keys: Keyring, *, encrypted: bool) -> None:
        self.encrypted = encrypted
        self.injected = b""
        """The trailer of what the SFU puts in; empty: not known."""
        self._keys = keys
        self._held: deque[_Held] = deque()
        self._bytes = 0
        self._lost = 0  # numbers before the next packet that is handed on
        self._begins = False  # that packet is the first of its stream
        self._stretches: dict[str, tuple[Samples, int]] = {}  # by reason: the last arrival, and packets
        self._known: Samples | None = None  # the first arrival at which there was a key
        self._readable: Samples | None = None  # the first arrival of what was readable

    @property
    def waits_since(self) -> Samples | None:
        """The arrival of the packet that waits longest; None: nothing waits."""
        return self._held[0].ordered.packet.arrived if self._held else None

    @property
    def due(self) -> Samples | None:
        """The place on the clock at which to call `expire`; None: nothing waits."""
        return None if self.waits_since is None else Samples(self.waits_since + PATIENCE)

    def push(self, ordered: Ordered) -> list[Ordered | Unreadable]:
        """Take the next packet in order; return what is readable, and in its turn."""
        frame = ordered.packet.payload
        held = _Held(ordered, len(frame), None)
        told: list[Ordered | Unreadable] = []
        if is_injected(frame, self.injected):
            _fill(held, b"")
        elif self.encrypted and frame:
            if self._known is None and self._keys:
                self._known = ordered.packet.arrived
            held.waits_for = key_index(frame)
            told = self._lose(held, UNENCRYPTED) if held.waits_for is None else self._settle(held)
        self._held.append(held)
        self._bytes += held.bytes
        while len(self._held) > MOST_WAITING or self._bytes > MOST_BYTES:
            told += self._end_wait()
        return told + self._leaving()

    def take_key(self, index: int, key: bytes) -> list[Ordered | Unreadable]:
        """Take a key of the participant; return what has waited for it."""
        if not self._keys.take(index, key):
            return []
        told: list[Ordered | Unreadable] = []
        failed, fits, is_first = 0, False, self._readable is None
        for held in reversed(self._waiting_for(index)):  # a new key is for the newest
            if self._read(held):
                fits = True
            elif fits:
                told += self._lose(held, NO_KEY)
            elif (failed := failed + 1) > FAILURE_TOLERANCE:
                break
        return told + (self._forget_before() if fits and is_first else []) + self._leaving()

    def expire(self, now: Samples) -> list[Ordered | Unreadable]:
        """Return what need not wait any longer."""
        told: list[Ordered | Unreadable] = []
        while self.due is not None and self.due <= now:
            told += self._end_wait()
        return told

    def flush(self) -> list[Ordered | Unreadable]:
        """Return all that is readable."""
        told: list[Ordered | Unreadable] = []
        while self._held:
            told += self._end_wait()
        return told

    def _settle(self, held: _Held) -> list[Ordered | Unreadable]:
        """Read a frame that has just come. If that can be done, what it shows to be unreadable waits no longer."""
        index, is_first = held.waits_for, self._readable is None
        if not self._read(held):
            return []
        told = [each for older in self._waiting_for(index) for each in self._lose(older, NO_KEY)]
        return told + (self._forget_before() if is_first else [])

    def _forget_before(self) -> list[Ordered | Unreadable]:
        """Give up what waits from before the first frame that is readable: its keys were given to others."""
        assert self._readable is not None
        before = [held for held in self._held if held.waits_for is not None and self._is_before(held)]
        return [told for held in before for told in self._lose(held, NO_KEY)]

    def _is_before(self, held: _Held) -> bool:
        return self._readable is not None and held.ordered.packet.arrived < self._readable

    def _end_wait(self) -> list[Ordered | Unreadable]:
        """Try the packet that waits longest a last time: no more than a few are tried with a key that seems wrong."""
        first = self._held[0]
        return ([] if self._read(first) else self._lose(first, NO_KEY)) + self._leaving()

    def _waiting_for(self, index: int | None) -> list[_Held]:
        return [held for held in self._held if held.waits_for == index is not None]

    def _read(self, held: _Held) -> bool:
        opened = self._keys.open(held.ordered.packet.payload)
        if opened is None:
            return False
        arrived = held.ordered.packet.arrived
        self._readable = arrived if self._readable is None else min(arrived, self._readable)
        _fill(held, opened)
        return True

    def _lose(self, held: _Held, reason: str) -> list[Ordered | Unreadable]:
        """Give up a packet. Its sound was sent, and is lost, unless it was not meant for us."""
        _fill(held, b"")
        arrived = held.ordered.packet.arrived
        if reason == NO_KEY and self._is_of_before(arrived):
            return []
        held.ordered = held.ordered._replace(lost=held.ordered.lost + 1)
        last, count = self._stretches.get(reason, (arrived, 0))
        count = count + 1 if arrived - last <= PATIENCE else 1
        self._stretches[reason] = max(arrived, last), count
        return [Unreadable(reason)] if count == TOLD_FROM else []

    def _is_of_before(self, arrived: Samples) -> bool:
        """Tell whether sound is encrypted with a key from before the first that we were given."""
        if not self._keys or (self._readable is not None and arrived >= self._readable):
            return False
        return self._known is None or arrived < self._known + PATIENCE

    def _leaving(self) -> list[Ordered | Unreadable]:
        """Return the packets whose turn has come. What is no Opus leaves its place in the order to the next."""
        leaving: list[Ordered | Unreadable] = []
        while self._held and self._held[0].waits_for is None:
            held = self._held.popleft()
            self._bytes -= held.bytes
            packet, lost, begins = held.ordered
            self._lost += lost
            self._begins |= begins
            if length_of(packet.payload) is not None and well_formed(packet.payload):
                leaving.append(Ordered(packet, self._lost, self._begins))
                self._lost, self._begins = 0, False
        return leaving


def _fill(held: _Held, payload: bytes) -> None:
    held.waits_for = None
    held.ordered = held.ordered._replace(packet=held.ordered.packet._replace(payload=payload))
