"""The reception of a MatrixRTC call: its legs, at all SFUs that members send their sound to.

- Each SFU is one link (`bot.calls.link`), and waits for no other. Where one fails, its legs alone fail.
- Services may differ that lead to the same room of one SFU, which holds no more than one connection of the bot: then
  one link receives the legs of both.
- Keys may come before the state lists their device. They are kept for it.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from bot.calls.key_sharing import KeySharing
from bot.calls.key_shelf import KeyShelf
from bot.calls.link import Link
from bot.calls.media import door
from bot.calls.model import (
    Call,
    CloseLeg,
    Device,
    KeyTold,
    LegEffect,
    LegFailed,
    LegId,
    Member,
    Receive,
    SessionEvent,
    Transport,
)
from bot.calls.parts import Means, SfuMeans
from bot.calls.session import rules
from bot.calls.session.state import key_of
from bot.calls.stem_rows import StemRows
from bot.calls.tokens import Grant, Place
from bot.calls.wire import matrixrtc_own
from bot.errors import GiveUp
from storage.records import LeftBy, Samples, UserId

log = logging.getLogger(__name__)

MOST_LINKS = 16
"""SFUs of a call. Legs at others fail."""
MOST_LINKS_OF_ONE = 4
"""SFUs that devices of one user alone send to. Nobody takes all places."""
LINGER_S = 5.0
"""The time for which an SFU is not left that no leg needs: a new leg of the same device may be about to begin."""


@dataclass(frozen=True, slots=True)
class _Place:
    """The place where a leg is received."""

    link: Link
    device: Device
    identity: str


class Reception:
    """The legs of a MatrixRTC call. `take` is told what happens to them; `ends_as`: how stems end from now on, once the
    call is over."""

    def __init__(
        self,
        code: str,
        rows: StemRows,
        means: Means,
        sfus: SfuMeans,
        *,
        encrypted: bool,
        take: Callable[[SessionEvent], None],
        now: Callable[[], Samples],
    ) -> None:
        self.ends_as: LeftBy | None = None
        self._code, self._rows, self._means, self._sfus = code, rows, means, sfus
        self._take, self._now = take, now
        self._encrypted = encrypted
        self._links: dict[Transport, Link] = {}
        self._joined: dict[Transport, Link] = {}  # other services for the room where a link is
        self._places: dict[LegId, _Place] = {}
        self._keys = KeyShelf()
        self._sharing = KeySharing(code, share=sfus.share, use=self._use_own_key, clock=means.clock)
        self._own_key: tuple[int, bytes] | None = None
        self._endings: dict[Link, asyncio.Task[None]] = {}
        self._own = sfus.own.transport
        self._failing: dict[Transport, datetime] = {}  # where the bot's own sound could not be sent, and when
        if self._own is not None:
            self._make_link(self._own)

    def carry_out(self, effect: LegEffect) -> None:
        """Carry out what concerns one leg, beside everything else."""
        match effect:
            case Receive():
                self._receive(effect)
            case CloseLeg(leg=leg, by=by):
                self._close(leg, by)

    def beep(self) -> None:
        """Have all members hear that the call is recorded: they all listen where the bot sends its sound."""
        for link in self._links.values():
            if link.is_own:
                link.beep()

    def seal(self) -> None:
        """Take no sound that is not encrypted from now on: the room is encrypted."""
        if not self._encrypted:
            self._encrypted = True
            for link in self._links.values():
                link.renew()

    def see(self, members: Collection[Member]) -> None:
        """Take note of the devices in the call, and have all of them know the key of the bot's own sound, where it is
        encrypted."""
        self._keys.see({key_of(member.device) for member in members})
        if self._encrypted:
            self._sharing.see(members)

    async def end(self, by: LeftBy, within_s: float) -> None:
        """End all legs, leave all SFUs, and wait until that is done, within a time."""
        self.ends_as = by
        await self._sharing.stop()
        for leg in tuple(self._places):
            self._close(leg, by)
        for link in tuple(self._links.values()):
            self._leave(link)
        if self._endings:
            await asyncio.wait(set(self._endings.values()), timeout=within_s)

    # ---- legs

    def _receive(self, effect: Receive) -> None:
        if self._is_taken(effect):
            self._take(LegFailed(effect.leg, "taken"))
            return
        link = self._link(effect.transport, effect.device.user_id)
        if link is None:
            self._take(LegFailed(effect.leg, "too_many"))
            return
        self._places[effect.leg] = _Place(link, effect.device, effect.identity)
        link.add(effect.leg, effect.identity)

    def _is_taken(self, effect: Receive) -> bool:
        """Return whether another device has the name at SFUs under which one is to be received. No name leads to two:
        the sound of one would be kept as the other's."""
        theirs = (key_of(place.device) for place in self._places.values() if place.identity == effect.identity)
        return any(key != key_of(effect.device) for key in theirs)

    def _close(self, leg: LegId, by: LeftBy) -> None:
        """End a leg. Once the call is over its stem ends when its SFU's connection has handed on the last sound."""
        place = self._places.pop(leg, None)
        if place is None:
            return
        if self.ends_as is not None:
            self._rows.close(leg, self.ends_as, self._now(), self._leave(place.link))
            return
        # With `ENDED` it ends although its device is in the call: its sound may not be received any longer.
        place.link.remove(leg, place.identity, hears_out=by is not LeftBy.ENDED)
        closed = asyncio.get_running_loop().create_future()
        closed.set_result(None)
        self._rows.close(leg, by, self._now(), closed)
        if not place.link.is_needed:
            asyncio.get_running_loop().call_later(LINGER_S, self._leave_unneeded)

    # ---- links

    def _link(self, transport: Transport, user: UserId) -> Link | None:
        """Return the link to an SFU; None where there are too many."""
        if (other := self._joined.pop(transport, None)) is not None and other.place is not None:
            self._joined[transport] = other
            return other
        if transport not in self._links:
            users: dict[Link, set[UserId]] = {}
            for place in self._places.values():
                users.setdefault(place.link, set()).add(place.device.user_id)
            alone = sum(theirs == {user} for theirs in users.values())
            if len(self._links) >= MOST_LINKS or alone >= MOST_LINKS_OF_ONE:
                return None
            self._make_link(transport)
        return self._links[transport]

    def _make_link(self, transport: Transport) -> None:
        link = self._links[transport] = Link(
            self._code,
            open_sfu=self._open_sfu,
            grant=lambda: self._grant(link, transport),
            keys_of=self._keys_of,
            write=self._rows.write,
            take=self._take,
            is_own=transport == self._own,
            tell_own=self._tell_own,
        )
        if self._own_key is not None:
            link.use_own_key(*self._own_key)

    def _open_sfu(self, listener: door.SfuListener, private: bool) -> door.Sfu:
        return self._means.media.sfu(listener, self._now, encrypted=self._encrypted, private=private)

    async def _grant(self, link: Link, transport: Transport) -> Grant:
        """Ask for a token for a link. Raises GiveUp, TryLater: also where another link is in that room, which receives
        its legs then."""
        grant = await self._sfus.grant(transport)
        while (other := self._at(grant.place, link)) is not None:
            await other.settled()
            if other.place != grant.place:
                continue
            if not link.is_own:
                self._join(link, other)
                raise GiveUp("another link is in that room", reason="joined")
            self._join(other, link)
        link.enter(grant.place)
        return grant

    def _at(self, place: Place | None, link: Link) -> Link | None:
        """Return the link that is in a room, or tries to be, if that is another one."""
        others = (each for each in self._links.values() if each is not link)
        return next((each for each in others if place is not None and each.place == place), None)

    def _join(self, link: Link, other: Link) -> None:
        """Have another link receive the legs of one, which is left."""
        log.info("two services for one room of an SFU: call=%s", self._code)
        link.hand_over()
        for transport in [each for each, its in (self._links | self._joined).items() if its is link]:
            self._joined[transport] = other
        while len(self._joined) > MOST_LINKS:
            self._joined.pop(next(iter(self._joined)))
        for leg, place in tuple(self._places.items()):
            if place.link is link:
                self._places[leg] = replace(place, link=other)
                other.add(leg, place.identity)
        self._leave(link)

    def _leave_unneeded(self) -> None:
        for link in tuple(self._links.values()):
            if not link.is_needed:
                self._leave(link)

    def _leave(self, link: Link) -> "asyncio.Task[None]":
        """Leave an SFU, once."""
        ending = self._endings.get(link)
        if ending is None:
            self._links = {transport: each for transport, each in self._links.items() if each is not link}
            self._joined = {transport: each for transport, each in self._joined.items() if each is not link}
            ending = asyncio.create_task(link.close(), name=f"end of an SFU of {self._code}")
            self._endings[link] = ending
            ending.add_done_callback(lambda _: self._endings.pop(link))
        return ending

    # ---- the bot's own sound

    def follow(self, call: Call) -> Member | None:
        """Send the bot's own sound where members are: elsewhere, if the bot does not get in where it is sent now, or
        nobody names that SFU any more. Return the bot as a member who sends there; None: nothing has changed."""
        own = matrixrtc_own.transport_in(call, self._own, self._failing)
        if own is None or own == self._own:
            return None
        self._own = own
        joined = self._joined.get(own)
        if joined is None and own not in self._links:
            self._make_link(own)
        mine = joined or self._links[own]
        for link in self._links.values():
            link.become_own(link is mine)
        asyncio.get_running_loop().call_later(LINGER_S, self._leave_unneeded)
        log.info("own sound sent to another SFU: call=%s", self._code)
        return replace(self._sfus.own, transport=own)

    def _tell_own(self, is_in: bool) -> None:
        """Take note of whether the bot gets in where its own sound is sent."""
        if self._own is None:
            return
        now, is_known = self._means.clock(), self._own in self._failing
        self._failing = {each: at for each, at in self._failing.items() if now - at < rules.UNREACHABLE}
        self._failing.pop(self._own, None)
        if not is_in:
            self._failing[self._own] = now
            if not is_known:
                self._sfus.kept_out()

    # ---- keys

    def take_key(self, told: KeyTold) -> None:
        """Take a key of a device's sound, which may not be listed yet."""
        if not self._keys.put(told):
            return
        for place in self._places.values():
            if key_of(place.device) == key_of(told.device):
                place.link.take_key(place.identity, told)

    def _keys_of(self, identity: str) -> Iterable[KeyTold]:
        device = next((place.device for place in self._places.values() if place.identity == identity), None)
        return () if device is None else self._keys.of(device)

    def _use_own_key(self, index: int, key: bytes) -> None:
        self._own_key = index, key
        for link in self._links.values():
            link.use_own_key(index, key)
