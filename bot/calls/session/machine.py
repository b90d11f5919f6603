"""The bot's part in a call: a session and an event in, the new session and its effects out. Pure; the clock is passed
in.

A leg, from its beginning to its end:

    offering ──▶ offered ───answer───▶ connecting ──▶ connected ──▶ closing ──▶ (closed)
    answering ─────our answer is sent──────▲             ▲
    awaited ───────it is at its SFU (MatrixRTC)──────────┘

What is hard to see in the code:

- A device counts for its leg, whatever the state says of its session: an offer may come before the state that tells
  of its session, and the state of an old session after it.
- A stem begins when its leg is connected, also when its device is muted: a stem tells that a device was in.
- The end of the connection comes before the hang-up, usually by 40 ms. So a leg whose connection ended waits for two
  seconds (`closing`): with a hang-up, or the state without its device, it `left`, else it is `lost`.
- Any leg that ends is made again while its device is listed: by the bot where it is its turn, after a growing pause,
  and by the bot too where the other did not call in time. Clients take calls from whoever makes them, and two offers
  that cross are told apart on both sides by the same rule.
- MatrixRTC: nobody is called. A leg is the reception of a device at its SFU, and is awaited there for as long as the
  device is listed. Where the SFU refuses the bot or can't be reached, that is noted, and tried again without end.
- The bot is alone when no device is connected or connecting, and none was listed a moment ago. While the homeserver
  does not answer, it can't know: the network may be down that the call needs too. After that it calls all anew.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from bot.calls.model import (
    Answered,
    AnswerMade,
    LegConnected,
    LegEnded,
    LegFailed,
    LegMuted,
    LegReached,
    LegUnreadable,
    Offered,
    OfferMade,
    Over,
    Received,
    Renegotiated,
    Seen,
    SessionEffect,
    SessionEvent,
    SoundHeard,
    TellSilent,
    TimePassed,
    WakeAt,
    Why,
)
from bot.calls.session import at_sfus, members, messages, rules
from bot.calls.session.state import Key, Peer, Phase, Session, Setup
from bot.calls.session.work import Work
from storage.records import CallEvent, CallEventKind, CallProtocol, LeftBy, UserId

BROKEN = "ice_failed"
TIMED_OUT: Mapping[Phase, str] = {Phase.OFFERED: "invite_timeout", Phase.ANSWERING: "create_answer"}
"""Reasons of a hang-up (Client-Server API, `m.call.hangup`; `create_answer` is js-sdk's). Others: `ice_failed`."""
NOT_REFUSED = frozenset({"broken", "unreachable"})
"""Reasons of a failure that are not the device's: an error of ours, or of a homeserver."""


def begin(setup: Setup, now: datetime, past: Iterable[CallEvent] = (), *, stems: Iterable[UserId] = ()) -> Session:
    """Begin the bot's part in a call. `past`: what happened in it before a crash of the bot; who was in it rejoins.
    `stems`: the users of the stems that the recording has already."""
    events = tuple(past)
    came = {(e.user_id, e.device_id) for e in events if e.what in (CallEventKind.JOINED, CallEventKind.REJOINED)}
    refused = {(e.user_id, e.device_id) for e in events if e.what is CallEventKind.REFUSED}
    declined = {e.user_id for e in events if e.what is CallEventKind.DECLINED}
    return Session(
        setup,
        entered=now,
        came=frozenset(came),
        stems=Counter(stems),
        told_declined=frozenset(declined),
        told_refused=frozenset(refused),
    )


def step(session: Session, event: SessionEvent, now: datetime) -> tuple[Session, tuple[SessionEffect, ...]]:
    """Apply an event. The last effect says when the next `TimePassed` is due."""
    if session.is_over:
        return session, ()
    work = Work(session, now)
    _pass_time(work)
    _apply(work, event)
    if not work.session.is_over:
        _tend(work)
    if not work.session.is_over:
        work.effects.append(WakeAt(_next_look(work)))
    return work.done()


def _apply(work: Work, event: SessionEvent) -> None:
    match event:
        case Seen():
            members.seen(work, event)
        case Received():
            messages.received(work, event)
        case Over():
            work.leave(None)
        case TimePassed(is_cut=is_cut):
            if work.session.is_cut and not is_cut:
                members.greet_all(work)
            work.note(is_cut=is_cut)
        case _ if (key := work.with_leg(event.leg)) is not None:
            _happened(work, key, event)


def _happened(
    work: Work,
    key: Key,
    event: OfferMade
    | AnswerMade
    | LegConnected
    | LegReached
    | SoundHeard
    | LegMuted
    | LegUnreadable
    | LegEnded
    | LegFailed,
) -> None:
    """Handle what the media tell of the leg that a device has."""
    phase = work.leg(key).phase
    if isinstance(event, LegConnected | LegReached | LegMuted | LegUnreadable) and _is_at_sfu(work):
        at_sfus.happened(work, key, event)
        return
    if isinstance(event, LegEnded | LegFailed):
        if phase is not Phase.CLOSING:
            _over(work, key, phase, event)
        return
    match event:
        case OfferMade(sdp=sdp) if phase is Phase.OFFERING:
            work.send(key, Offered(sdp))
            work.enter(key, Phase.OFFERED)
        case AnswerMade(sdp=sdp, again=False) if phase is Phase.ANSWERING:
            work.send(key, Answered(sdp))
            work.enter(key, Phase.CONNECTING)
        case AnswerMade(sdp=sdp, again=True) if phase in messages.STANDING:
            work.send(key, Renegotiated(is_offer=False, sdp=sdp))
        case LegConnected() if phase is Phase.CONNECTING:
            work.connect(key)
        case SoundHeard() if phase in messages.STANDING:
            if phase is Phase.CONNECTING:
                work.connect(key)
            work.hear_again(key)
            work.change(key, heard_at=work.now)
            work.note(quiet_since=work.now)


def _over(work: Work, key: Key, phase: Phase, event: LegEnded | LegFailed) -> None:
    """Handle the end of a leg's connection, or of the attempt to make it."""
    if isinstance(event, LegFailed) and _is_at_sfu(work):
        at_sfus.failed(work, key, event)
    elif isinstance(event, LegFailed):
        if phase is not Phase.OFFERING and event.reason not in NOT_REFUSED:
            work.refuse(key)
        work.close(key, LeftBy.LOST, CallEventKind.LOST, hang_up=event.reason)
    elif phase is Phase.CONNECTED:
        work.enter(key, Phase.CLOSING)
        work.change(key, hoped_until=work.now)
    else:
        work.close(key, LeftBy.LOST, hang_up=BROKEN)


# ---- time


def _pass_time(work: Work) -> None:
    """End what has lasted long enough, and what was made in clear before the room became encrypted."""
    for key, peer in tuple(work.peers.items()):
        leg = peer.leg
        end = rules.end_of_listing(work.setup, peer)
        if end is not None and end <= work.now:
            members.expire(work, key)
        elif leg is not None and work.setup.encrypted and not leg.encrypted:
            work.close(key, LeftBy.ENDED, CallEventKind.REFUSED, hang_up="replaced")
        elif leg is not None and leg.until is not None and leg.until <= work.now:
            reason = TIMED_OUT.get(leg.phase, BROKEN)
            work.close(key, LeftBy.LOST, CallEventKind.LOST, hang_up=reason)
    waiting = work.session.waiting
    work.note(waiting=tuple(one for one in waiting if work.now < one.at + rules.WAIT_FOR_LISTING))


def _tend(work: Work) -> None:
    """Call who is to be called, and see whether it is time to leave or to tell."""
    taken = Counter(user for (user, _), peer in work.peers.items() if rules.is_live(peer.leg))
    most = rules.most_legs(work.setup)
    for key, peer in tuple(work.peers.items()):
        if peer.call_at is not None and peer.call_at <= work.now and _is_callable(work, key):
            if rules.may_take(taken, key[0], most) and rules.has_stem_left(work.session.stems, key[0]):
                at_sfus.await_it(work, key) if _is_at_sfu(work) else work.call(key)
                taken[key[0]] += 1
            else:
                work.refuse(key)
    at_sfus.tell_of_lasting(work)
    peers = work.peers.values()
    is_connected = any(_is_connected(peer) for peer in peers)
    has_company = any(_is_somebody(work, key) for key in work.peers)
    session = work.session
    work.note(
        quiet_since=(session.quiet_since or work.now) if is_connected else None,
        alone_since=None if has_company else work.now if session.is_cut else session.alone_since or work.now,
    )
    _leave_or_tell(work)


def _leave_or_tell(work: Work) -> None:
    session, setup, now = work.session, work.setup, work.now
    if now >= setup.began + setup.longest:
        work.leave(Why.LIMIT)
    elif session.alone_since is not None and now >= session.alone_since + setup.empty:
        work.leave(Why.ALONE)
    elif session.quiet_since is not None and not session.told_silent and now >= session.quiet_since + setup.silent:
        work.note(told_silent=True)
        work.effects.append(TellSilent())


def _is_at_sfu(work: Work) -> bool:
    """Return whether devices are heard at SFUs, and not called."""
    return work.setup.protocol is CallProtocol.MATRIXRTC


def _is_callable(work: Work, key: Key) -> bool:
    return work.peers[key].leg is None and key[0] not in work.session.declined and not members.is_unsafe(work)


def _is_connected(peer: Peer) -> bool:
    return peer.leg is not None and peer.leg.phase is Phase.CONNECTED


def _is_somebody(work: Work, key: Key) -> bool:
    """Return whether the bot isn't alone with this device: it is connected, shows signs of life, or has just come."""
    peer = work.peers[key]
    is_alive = peer.leg is not None and peer.leg.phase in (Phase.ANSWERING, *messages.STANDING)
    return is_alive or (work.now < peer.hoped_until and key[0] not in work.session.declined)


def _next_look(work: Work) -> datetime:
    """Return when time alone changes something."""
    session, setup = work.session, work.setup
    times = [setup.began + setup.longest]
    if session.alone_since is not None:
        times.append(session.alone_since + setup.empty)
    if session.quiet_since is not None and not session.told_silent:
        times.append(session.quiet_since + setup.silent)
    times += [one.at + rules.WAIT_FOR_LISTING for one in session.waiting[:1]]
    times += [absence.since + rules.UNTOLD for absence in session.unheard.values() if not absence.is_told]
    for peer in work.peers.values():
        mine = (peer.leg.until if peer.leg else peer.call_at, peer.hoped_until, rules.end_of_listing(setup, peer))
        times += [at for at in mine if at is not None and at > work.now]
    return min(times)
