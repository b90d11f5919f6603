"""Members of a call: who comes, goes, expires, and whose sound may not be received. Pure."""

from dataclasses import replace

from bot.calls.model import Member, Seen
from bot.calls.session import at_sfus, messages, rules
from bot.calls.session.state import Key, Peer, Phase, key_of
from bot.calls.session.work import Work
from storage.records import CallEventKind, CallProtocol, LeftBy, UserId


def seen(work: Work, event: Seen) -> None:
    """Compare the members with those that were known."""
    members = {key_of(member.device): member for member in event.members if not work.is_own(member.device)}
    listed = {key: member for key, member in members.items() if not _is_expired(work, member)}
    for key in tuple(work.peers):
        if key in listed:
            _stays(work, key, listed[key])
        else:
            _is_gone(work, key, members, event.gone)
    for key, member in listed.items():
        if key in work.peers:
            continue
        if len(work.peers) < rules.MOST_DEVICES:
            _comes(work, key, member)
        else:
            work.refuse_device(member.device)
    for device in event.left_out:
        work.refuse_device(device)
    _declined(work, event.declined)
    work.note(has_seen=True)
    _hear_waiting(work)


def _is_expired(work: Work, member: Member) -> bool:
    return member.expires_at is not None and member.expires_at <= work.now


def _comes(work: Work, key: Key, member: Member) -> None:
    peer = Peer(member, work.now + rules.HOPE, was_there=not work.session.has_seen)
    call_at = rules.next_call(work.setup, peer, work.now, work.session.entered)
    work.peers[key] = replace(peer, call_at=call_at)
    if is_unsafe(work):
        work.refuse(key)


def _stays(work: Work, key: Key, member: Member) -> None:
    """Take over what the state says of a device now. A new session is a new client, which knows of no leg."""
    peer = work.peers[key]
    if peer.member == member:
        return
    is_new = peer.member.device.session_id != member.device.session_id
    if is_new and peer.leg is not None and peer.leg.device.session_id != member.device.session_id:
        work.close(key, LeftBy.LOST, CallEventKind.LOST, hang_up="new_session")
    elif at_sfus.is_moved(work, key, member):
        at_sfus.moves(work, key)
    is_renewed = work.setup.protocol is not CallProtocol.MXVC and peer.member.event_id != member.event_id
    peer = work.change(key, member=member)
    if is_new or is_renewed:
        again(work, key, is_hoped=is_new)


def again(work: Work, key: Key, *, is_hoped: bool) -> None:
    """Begin anew to call a device."""
    peer = work.change(key, calls=0)
    if is_hoped:
        peer = work.change(key, hoped_until=work.now + rules.HOPE)
    if peer.leg is None and (is_hoped or peer.call_at is None):
        work.change(key, call_at=rules.next_call(work.setup, peer, work.now, work.session.entered))


def greet_all(work: Work) -> None:
    """Begin anew with all devices that have no leg, after a time in which nobody could be reached."""
    for key, peer in tuple(work.peers.items()):
        if peer.leg is None:
            again(work, key, is_hoped=True)


def _is_gone(work: Work, key: Key, members: dict[Key, Member], gone: frozenset[UserId]) -> None:
    """Take out a device that the state lists no more. It left, unless only its time ran out; with its user it left the
    room too."""
    peer = work.peers[key]
    end = rules.end_of_listing(work.setup, replace(peer, member=members.get(key, peer.member)))
    if end is not None and end <= work.now:
        expire(work, key)
    elif key[0] in gone or not _is_kept(work, key, members):
        work.close(key, LeftBy.LEFT, CallEventKind.LEFT)
        at_sfus.goes(work, key, CallEventKind.LEFT)
        del work.peers[key]


def _is_kept(work: Work, key: Key, members: dict[Key, Member]) -> bool:
    """Return whether a device that is not listed stays: its timestamp alone is old, or another user took its name, of
    which MXVC's state has only one. Its connection tells when it leaves."""
    peer = work.peers[key]
    is_connected = peer.leg is not None and peer.leg.phase is Phase.CONNECTED
    if work.setup.protocol is not CallProtocol.MXVC or not is_connected:
        return False
    is_old = peer.member.expires_at is not None and peer.member.expires_at <= work.now
    return is_old or any(device_id == key[1] for _, device_id in members)


def expire(work: Work, key: Key) -> None:
    """Take out a device whose time has run out."""
    work.close(key, LeftBy.LOST, CallEventKind.LOST, hang_up="user_hangup")
    at_sfus.goes(work, key, CallEventKind.LOST)
    del work.peers[key]


def is_unsafe(work: Work) -> bool:
    """Return whether a room is encrypted and the protocol is not."""
    return work.setup.encrypted and work.setup.protocol is CallProtocol.MXVC


def _declined(work: Work, declined: frozenset[UserId]) -> None:
    """Close the legs of users whose sound may no longer be received, and call those whose sound may be again."""
    allowed = work.session.declined - declined
    work.note(declined=declined, told_declined=work.session.told_declined & declined)
    for key in tuple(work.peers):
        if key[0] in declined:
            work.close(key, LeftBy.ENDED, hang_up="user_hangup")
            work.hear_again(key)
            work.decline(key)
        elif key[0] in allowed:
            work.change(key, calls=0, hoped_until=work.now + rules.HOPE)
            if work.peers[key].leg is None:
                # Whoever's turn it was: a client that was turned down a few times calls no more.
                work.change(key, call_at=work.now)


def _hear_waiting(work: Work) -> None:
    """Hear the messages of devices that the state lists by now, in the order in which they came."""
    waiting = work.session.waiting
    heard = [one for one in waiting if key_of(one.received.device) in work.peers]
    work.note(waiting=tuple(one for one in waiting if one not in heard))
    for one in heard:
        messages.received(work, one.received)
