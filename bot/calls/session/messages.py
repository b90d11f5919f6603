"""Messages of the devices in a call. Pure."""

from bot.calls.model import (
    AnswerAgain,
    Answered,
    AnswerSelected,
    Candidate,
    Candidates,
    Device,
    Happened,
    HungUp,
    LegId,
    MakeAnswer,
    Muted,
    Offered,
    Received,
    Renegotiated,
    TakeAnswer,
    TakeCandidates,
)
from bot.calls.session import rules
from bot.calls.session.state import Key, Leg, Phase, Waiting, key_of
from bot.calls.session.work import Work
from storage.records import CallEventKind, CallProtocol, LeftBy

LOSSES = frozenset({"ice_failed", "ice_timeout"})
"""The reasons of a hang-up that tell of a connection that broke (Client-Server API, `m.call.hangup`)."""
STANDING = (Phase.CONNECTING, Phase.CONNECTED)


def received(work: Work, event: Received) -> None:
    """Handle a message, if its device is in the call, and says it in a way that the room allows."""
    key = key_of(event.device)
    if event.call_id != work.setup.call_id or work.is_own(event.device):
        return
    if key not in work.peers:
        _wait(work, event)
    elif work.setup.encrypted and not event.encrypted:
        work.refuse(key)
    elif work.counts(key, "messages"):
        _handle(work, key, event)


def _wait(work: Work, event: Received) -> None:
    """Keep a message for a moment: the state that lists its device may come after it."""
    waiting = work.session.waiting
    of_user = sum(one.received.device.user_id == event.device.user_id for one in waiting)
    if len(waiting) < rules.MOST_WAITING and of_user < rules.MOST_WAITING_OF_ONE:
        work.note(waiting=(*waiting, Waiting(event, work.now)))


def _handle(work: Work, key: Key, event: Received) -> None:
    leg = work.peers[key].leg
    message = event.message
    is_its_leg = leg is not None and event.leg in (leg.id, "")
    if leg is not None and is_its_leg and leg.encrypted and not event.encrypted:
        return  # whoever began it encrypted goes on so; the homeserver alone could send this
    match message:
        case Offered():
            _offered(work, key, event, message)
        case Candidates(candidates=candidates):
            _candidates(work, key, event.leg, candidates)
        case HungUp() if not is_its_leg:
            if event.leg:
                work.remember(key, event.leg)
        case HungUp(reason=reason):
            is_lost = reason in LOSSES
            work.close(
                key,
                LeftBy.LOST if is_lost else LeftBy.LEFT,
                CallEventKind.LOST if is_lost else CallEventKind.LEFT,
            )
        case _ if leg is not None and is_its_leg:
            _on_leg(work, key, leg, message)


def _on_leg(work: Work, key: Key, leg: Leg, message: object) -> None:
    """Handle a message that counts only on the leg that the device has."""
    match message:
        case Answered(sdp=sdp, muted=muted) if leg.phase is Phase.OFFERED:
            work.change_leg(key, muted=_is_muted(work, muted))
            work.effects.append(TakeAnswer(leg.id, sdp))
            work.enter(key, Phase.CONNECTING)
            _take_early(work, key)
            if work.hangs_up:
                work.send(key, AnswerSelected(leg.device.device_id))
        case AnswerSelected(party_id=party) if not leg.is_ours and party != work.setup.ours.device_id:
            work.close(key, LeftBy.LEFT, CallEventKind.LEFT)
        case Renegotiated(is_offer=True, sdp=sdp, muted=muted) if leg.phase in STANDING:
            if work.counts(key, "renegotiations"):
                work.effects.append(AnswerAgain(leg.id, sdp))
                mute(work, key, leg.muted if muted is None else muted)
        case Muted(audio=audio) if leg.phase is not Phase.CLOSING:
            mute(work, key, audio)


# ---- offers


def _offered(work: Work, key: Key, event: Received, offer: Offered) -> None:
    """Answer an offer, turn it down, or leave it."""
    if work.is_taken(event.leg) or not work.counts(key, "offers"):
        return
    offered = event.leg or work.new_id()
    if key[0] in work.session.declined:
        work.decline(key)
        work.turn_down(key, event.device, offered, event.encrypted)
    elif not work.has_place(key):
        work.refuse(key)
        work.turn_down(key, event.device, offered, event.encrypted)
    elif not _gives_way(work, key, event.device, offered):
        work.turn_down(key, event.device, offered, event.encrypted, "replaced")
    else:
        until = rules.end_of(Phase.ANSWERING, work.setup, event.device, work.now)
        muted = _is_muted(work, offer.muted)
        leg = Leg(offered, event.device, Phase.ANSWERING, until, is_ours=False, encrypted=event.encrypted, muted=muted)
        work.begin(key, leg)
        work.effects.append(MakeAnswer(offered, event.device, offer.sdp))
        _take_early(work, key)


def _gives_way(work: Work, key: Key, device: Device, offered: LegId) -> bool:
    """Make way for a new leg, and return whether it may be made. A leg that stands gives way always: a client makes a
    new one when it joins again, or has lost the old one."""
    leg = work.peers[key].leg
    if leg is None:
        return True
    if rules.is_glare(leg) and not rules.theirs_counts(work.setup, leg, offered, work.now):
        return False
    is_same = leg.device.session_id == device.session_id
    work.close(
        key,
        LeftBy.LEFT if is_same else LeftBy.LOST,
        CallEventKind.LEFT if is_same else CallEventKind.LOST,
        hang_up="replaced",
    )
    return True


# ---- candidates


def _candidates(work: Work, key: Key, named: LegId, candidates: tuple[Candidate, ...]) -> None:
    """Hand candidates to the media, or keep them for the offer or answer that they belong to."""
    peer = work.peers[key]
    leg = peer.leg
    if leg is not None and named in (leg.id, "") and leg.phase in (Phase.ANSWERING, *STANDING):
        _take(work, key, candidates)
    elif named not in peer.ended:
        is_mxvc = work.setup.protocol is CallProtocol.MXVC
        of_leg = leg.id if is_mxvc and leg is not None else named
        early = (*peer.early, *((of_leg, candidate) for candidate in candidates))
        work.change(key, early=early[: rules.MOST_CANDIDATES])


def _take_early(work: Work, key: Key) -> None:
    """Hand over the candidates that came before the offer or answer of a leg. MXVC names no leg: all are of it."""
    peer = work.peers[key]
    named = ("", work.leg(key).id)
    work.change(key, early=tuple(one for one in peer.early if one[0] not in named))
    _take(work, key, tuple(candidate for leg, candidate in peer.early if leg in named))


def _take(work: Work, key: Key, candidates: tuple[Candidate, ...]) -> None:
    leg = work.leg(key)
    taken = candidates[: max(0, rules.MOST_CANDIDATES - leg.candidates)]
    if taken:
        work.change_leg(key, candidates=leg.candidates + len(taken))
        work.effects.append(TakeCandidates(leg.id, taken))


# ---- mutes


def _is_muted(work: Work, told: bool | None) -> bool:
    """Return whether a device that joins is muted. Push to talk: it is, unless it says that it isn't."""
    return work.setup.push_to_talk if told is None else told


def mute(work: Work, key: Key, muted: bool) -> None:
    """Take note that a device is muted, or not any more."""
    leg = work.leg(key)
    if leg.muted == muted:
        return
    work.change_leg(key, muted=muted)
    if leg.phase is Phase.CONNECTED:
        work.effects.append(Happened(leg.device, CallEventKind.MUTED if muted else CallEventKind.UNMUTED))
