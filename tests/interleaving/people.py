"""The rules of the people: they speak, pause, stop, crash, come back, redact, and a stranger meddles."""

from datetime import timedelta
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from storage.records import DeviceId, SessionId, UserId
from tests.interleaving.homeserver import Fate, Told
from tests.interleaving.speaker import Broadcast, Piece
from tests.interleaving.world import BOB, MALLORY, World
from tests.world import ALICE

T = TypeVar("T")

PEOPLE = ((ALICE, DeviceId("D")), (ALICE, DeviceId("E")), (BOB, DeviceId("B")))
KEYS_COME_FOR = timedelta(hours=20)  # the bot keeps sealed events for a day after the end
MOST_BROADCASTS = 5
MOST_SAMPLES = 1 << 22
COMES, NEVER = "comes", "never"

ANY = st.integers(0, 11)
FATES = st.sampled_from([Fate.HERE] * 6 + [Fate.AWAY, Fate.BUSY, Fate.GONE, Fate.DAMAGED])
SEALS = st.sampled_from([None] * 4 + [COMES, COMES, NEVER])
LONG = 1180  # of a phone's: 1.2 s, which are 50 frames
LENGTHS = st.sampled_from([0, 1, 3, 4, 5, 20, 39, 41, 79, LONG])
Cut = tuple[int, Fate, str | None, bool, bool]
CUTS = st.tuples(LENGTHS, FATES, SEALS, st.booleans(), st.sampled_from([False, False, True]))
LASTS = st.sampled_from(["right", "absent", "zero", "too high", "too low"])


class People(RuleBasedStateMachine):
    """Acts on the homeserver alone; the bot hears of it when a sync comes."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self._began = world.clock()
        self._bob_is_there = True

    # ---- who is there

    @property
    def broadcasts(self) -> list[Broadcast]:
        return self.world.broadcasts

    @property
    def live(self) -> list[Broadcast]:
        return [one for one in self.broadcasts if not one.over]

    @property
    def speaking(self) -> list[Broadcast]:
        return [one for one in self.live if not one.paused and not _ended(one)]

    @property
    def paused(self) -> list[Broadcast]:
        return [one for one in self.live if one.paused]

    @property
    def slow(self) -> list[Broadcast]:
        return [one for one in self.broadcasts if one.slow]

    def _is_short(self) -> bool:
        return self.world.voice.next(0) < MOST_SAMPLES

    # ---- broadcasters

    @precondition(lambda self: len(self.broadcasts) < MOST_BROADCASTS)
    @rule(person=st.sampled_from(PEOPLE), web=st.booleans(), pages=st.integers(1, 2), early=st.integers(0, 5))
    def somebody_starts(self, person: tuple[UserId, DeviceId], web: bool, pages: int, early: int) -> None:
        """Start a broadcast; an earlier one of the same device ends without an event."""
        who, device = person
        if who == BOB and not self._bob_is_there:
            return
        for other in self.live:
            if (other.who, other.device) == (who, device):
                _dies(other)
        if early == 1:
            self.world.redact_next(ALICE)
        start = self.world.start(who, device, web=web, pages=pages)
        start.early = early == 1

    @initialize(web=st.booleans(), pages=st.integers(1, 2), cuts=st.lists(CUTS, max_size=4))
    def alice_speaks(self, web: bool, pages: int, cuts: list[Cut]) -> None:
        """Start each story with something to record."""
        self.world.start(ALICE, DeviceId("D"), web=web, pages=pages)
        self.chunks_are_cut(0, cuts)

    @precondition(lambda self: self.speaking and self._is_short())
    @rule(which=ANY, cuts=st.lists(CUTS, min_size=1, max_size=3))
    def chunks_are_cut(self, which: int, cuts: list[Cut]) -> None:
        broadcast = one_of(self.speaking, which)
        for length, fate, seal, announced, slow in cuts:
            piece = broadcast.cut(length, last=False, announced=announced)
            self._upload(broadcast, piece, fate, seal, slow=slow)

    @precondition(lambda self: self.slow)
    @rule(which=ANY, piece=ANY, fate=FATES, seal=SEALS)
    def a_slow_upload_ends(self, which: int, piece: int, fate: Fate, seal: str) -> None:
        broadcast = one_of(self.slow, which)
        self._send(broadcast, one_of(broadcast.slow, piece), fate, seal)

    @precondition(lambda self: any(piece.events for one in self.broadcasts for piece in one.pieces))
    @rule(which=ANY, fate=FATES, seal=SEALS)
    def a_chunk_is_sent_again(self, which: int, fate: Fate, seal: str) -> None:
        sent = [(one, piece) for one in self.broadcasts for piece in one.pieces if len(piece.events) == 1]
        if sent:
            broadcast, piece = sent[-1 - which % len(sent)]
            self._send(broadcast, piece, fate, seal)

    @precondition(lambda self: self.speaking and self._is_short())
    @rule(which=ANY, tail=CUTS, first=st.booleans(), lost=st.none() | st.booleans(), cuts=st.lists(CUTS, max_size=3))
    def somebody_pauses(self, which: int, tail: Cut, first: bool, lost: bool | None, cuts: list[Cut]) -> None:
        """And mostly goes on soon."""
        broadcast = one_of(self.speaking, which)
        length, fate, seal, *_ = tail
        broadcast.paused = True
        if first:
            self.world.change(broadcast, "paused", broadcast.number)
        self._upload(broadcast, broadcast.cut(length, last=True, announced=first), fate, seal, slow=False)
        if not first:
            self.world.change(broadcast, "paused")
        if lost is not None:
            self._resume(broadcast, lost=lost)
            self.chunks_are_cut(self.speaking.index(broadcast), cuts)

    @precondition(lambda self: self.paused)
    @rule(which=ANY, lost=st.booleans())
    def somebody_resumes(self, which: int, lost: bool) -> None:
        self._resume(one_of(self.paused, which), lost=lost)

    def _resume(self, broadcast: Broadcast, *, lost: bool) -> None:
        """Resume; what Element Web has not uploaded yet comes now, or never."""
        for piece in list(broadcast.slow) if broadcast.web else ():
            if lost:
                broadcast.slow.remove(piece)
            else:
                self._send(broadcast, piece, Fate.HERE, None)
        broadcast.resume()
        self.world.change(broadcast, "resumed")

    @precondition(lambda self: self.live)
    @rule(which=ANY, length=LENGTHS, fate=FATES, seal=SEALS, last=LASTS, early=st.booleans(), slow=st.booleans())
    def somebody_stops(
        self, which: int, length: int, fate: Fate, seal: str, last: str, early: bool, slow: bool
    ) -> None:
        broadcast = one_of(self.live, which)
        broadcast.over = True
        number = {
            "right": broadcast.number + 1,
            "absent": None,
            "zero": 0,
            "too high": broadcast.number + 3,
            "too low": max(1, broadcast.number - 1),
        }[last]
        if early:
            self.world.change(broadcast, "stopped", number)
        if not broadcast.paused and not _ended(broadcast) and self._is_short():
            self._upload(broadcast, broadcast.cut(length, last=True, announced=early), fate, seal, slow=slow)
        if not early:
            self.world.change(broadcast, "stopped", number)

    @precondition(lambda self: self.live)
    @rule(which=ANY)
    def a_client_dies(self, which: int) -> None:
        _dies(one_of(self.live, which))

    @precondition(lambda self: any(one.over for one in self.broadcasts))
    @rule(which=ANY)
    def a_client_comes_back_and_says_stopped(self, which: int) -> None:
        broadcast = one_of([one for one in self.broadcasts if one.over], which)
        if broadcast.who != BOB or self._bob_is_there:
            self.world.change(broadcast, "stopped")

    @precondition(lambda self: self._bob_is_there and any(one.who == BOB for one in self.live))
    @rule()
    def bob_leaves(self) -> None:
        self._bob_is_there = False
        for broadcast in self.broadcasts:
            if broadcast.who == BOB:
                _dies(broadcast)
        self.world.leave(BOB)

    @precondition(lambda self: self.live)
    @rule(which=ANY, seal=SEALS)
    def somebody_says_something_else(self, which: int, seal: str) -> None:
        broadcast = one_of(self.live, which)
        self.world.chat(broadcast, self._session(broadcast, seal))

    @precondition(lambda self: self.broadcasts)
    @rule(which=ANY, number=st.integers(1, 4), stops=st.booleans())
    def a_stranger_meddles(self, which: int, number: int, stops: bool) -> None:
        broadcast = one_of(self.broadcasts, which)
        if stops:
            self.world.change(broadcast, "stopped", number, who=MALLORY)
        else:
            self.world.forge(broadcast, number)

    def _redactable(self, *, chunks: bool) -> list[Told]:
        told = [one for one in self.world.homeserver.timeline if one.broadcast and not one.redacted]
        return [one for one in told if (one.kind == "m.room.message") is chunks]

    @precondition(lambda self: self._redactable(chunks=True))
    @rule(which=ANY)
    def a_chunk_is_redacted(self, which: int) -> None:
        self.world.redact(one_of(self._redactable(chunks=True)[::-1], which))

    @precondition(lambda self: self.speaking and self._is_short())
    @rule(which=ANY, cut=CUTS, who=st.sampled_from([ALICE, MALLORY]))
    def a_redaction_comes_before_its_chunk(self, which: int, cut: Cut, who: UserId) -> None:
        """Redact: a moderator's redaction counts, a stranger's does not."""
        broadcast = one_of(self.speaking, which)
        length, fate, seal, announced, _ = cut
        piece = broadcast.cut(length, last=False, announced=announced)
        self.world.redact_next(who)
        self.world.send(broadcast, piece, fate, self._session(broadcast, seal)).early = who == ALICE

    @precondition(lambda self: self._redactable(chunks=False))
    @rule(which=ANY, really=st.integers(0, 2))
    def an_info_event_is_redacted(self, which: int, really: int) -> None:
        if not really:
            self.world.redact(one_of(self._redactable(chunks=False)[::-1], which))

    # ---- how a chunk goes out

    def _upload(self, broadcast: Broadcast, piece: Piece, fate: Fate, seal: str | None, *, slow: bool) -> None:
        if slow and len(broadcast.slow) < 2:
            broadcast.slow.append(piece)
        else:
            self._send(broadcast, piece, fate, seal)

    def _send(self, broadcast: Broadcast, piece: Piece, fate: Fate, seal: str | None) -> None:
        if broadcast.who == BOB and not self._bob_is_there:
            return
        self.world.send(broadcast, piece, fate, self._session(broadcast, seal))

    def _session(self, broadcast: Broadcast, seal: str | None) -> SessionId | None:
        early = self.world.peak - self._began < KEYS_COME_FOR
        return session_of(broadcast, seal) if seal and early else None


def session_of(broadcast: Broadcast, seal: str) -> SessionId:
    return SessionId(f"{seal} {broadcast.started}")


def one_of(things: list[T], which: int) -> T:
    return things[which % len(things)]


def _dies(broadcast: Broadcast) -> None:
    """End a client; its uploads are lost."""
    broadcast.over = True
    broadcast.slow.clear()


def _ended(broadcast: Broadcast) -> bool:
    """Its take is over."""
    pieces = broadcast.takes[-1].pieces
    return bool(pieces) and pieces[-1].ends
