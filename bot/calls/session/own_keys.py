"""The keys of the bot's own sound in an encrypted MatrixRTC call: to whom each is given, and when it is used. Pure.

Our own sound is silence and a beep, but clients show a member as broken whose key they don't have. The rules are those
of matrix-js-sdk (`src/matrixrtc/RTCEncryptionManager.ts`), in whose clients they are tried:

- The first key is used at once. Each later one a second after it was sent: it has to arrive first.
- When a device leaves, all others get a new key. One that comes gets the present key if that is younger than the grace;
  else all get a new one. So nobody can read what was sent while they weren't in the call.
- A device whose membership is another comes anew: it may have lost its keys.
- One round at a time. What changes meanwhile is looked at after it.

All devices that the call lists get the key, also those of members whose sound is not recorded: they are in the call,
and would see the bot as broken.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.calls.model import Device, Member
from bot.calls.session.state import Key, key_of

GRACE = timedelta(seconds=10)
"""The age up to which a key is given to devices that come (js-sdk's `keyRotationGracePeriodMs`)."""
USE_AFTER = timedelta(seconds=1)
"""The time from the sending of a new key to its use (js-sdk's `useKeyDelay`)."""
INDICES = 256
KEY_BYTES = 16

Membership = tuple[str, datetime | None]


@dataclass(frozen=True, slots=True)
class ShareKey:
    """Send a key to devices, each sealed for it, with a few tries. `OwnKeys.shared` is to be called after that, also if
    some of them could not be reached."""

    index: int
    key: bytes = field(repr=False)
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class UseKey:
    """Encrypt our own sound with this key from now on, at all SFUs; also at those that are joined later."""

    index: int
    key: bytes = field(repr=False)


KeyEffect = ShareKey | UseKey


class OwnKeys:
    """The bot's keys in one call, from entering to leaving. `make` makes a random key of `KEY_BYTES`."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self.due: datetime | None = None
        """The time at which to call `pass_time`; None: nothing waits."""
        self._make = make
        self._index, self._key = -1, b""  # the newest
        self._made: datetime | None = None
        self._given: dict[Key, Membership] = {}  # the devices that have it
        self._listed: dict[Key, Member] = {}
        self._is_sharing = False

    def see(self, members: Iterable[Member], now: datetime) -> list[KeyEffect]:
        """Look at the devices in the call, without the bot's own."""
        self._listed = {key_of(member.device): member for member in members}
        if self._made is not None:
            return self._look(now)
        self._renew(now)
        return [UseKey(self._index, self._key), *self._look(now)]

    def shared(self, now: datetime) -> list[KeyEffect]:
        """Go on after a `ShareKey` was carried out."""
        self._is_sharing = False
        if self.due is not None:
            self.due = now + USE_AFTER
        return self._look(now)

    def pass_time(self, now: datetime) -> list[KeyEffect]:
        """Use a new key when it is time."""
        if self._is_sharing or self.due is None or now < self.due:
            return []
        self.due = None
        return [UseKey(self._index, self._key), *self._look(now)]

    def _look(self, now: datetime) -> list[KeyEffect]:
        """Begin a round, if one is needed and none goes on."""
        if self._is_sharing or self.due is not None or self._made is None:
            return []
        listed = {key: _membership(member) for key, member in self._listed.items()}
        came = [key for key, membership in listed.items() if self._given.get(key) != membership]
        left = self._given.keys() - listed.keys()
        if not came and not left:
            return []
        if left or now - self._made >= GRACE:
            self._renew(now)
            self._given, came = {}, list(listed)
            self.due = now + USE_AFTER  # counted anew once it is shared
        self._given |= {key: listed[key] for key in came}
        self._is_sharing = True
        return [ShareKey(self._index, self._key, tuple(self._listed[key].device for key in came))]

    def _renew(self, now: datetime) -> None:
        self._index, self._key, self._made = (self._index + 1) % INDICES, self._make(), now


def _membership(member: Member) -> Membership:
    return member.device.session_id, member.since
