"""The check whether calls of Element Call can be recorded: what the homeserver names and can do, and what its token
services answer. It joins no call and changes nothing."""

import time
from collections.abc import Sequence

from bot.calls import transports
from bot.calls.entries import REMOVED_AFTER
from bot.calls.media import late
from bot.calls.model import Device, Member, Transport
from bot.calls.private import OwnServices
from bot.calls.tokens import Refusal, Tokens, Trouble
from bot.calls.wire.matrixrtc import plain_identity
from bot.check import media_servers
from bot.check.element_call import MOST_SERVICES, Answered, Found, Service, judge
from bot.check.finding import Finding, Level
from bot.errors import GiveUp, TryLater
from bot.intake.calls import installed
from bot.language import _
from bot.matrix.delayed import DelayedEvents
from bot.matrix.session import Session
from bot.matrix.sticky import StickyRequests
from bot.matrix.wire import Wire
from storage.records import DeviceId, RoomId, UserId


async def check_for_room(session: Session) -> Sequence[Finding]:
    """Return the findings for a room whose calls are to be recorded, in the running bot."""
    if not installed():
        return [Finding(Level.FAIL, _("calls"), _("the extra `calls` is not installed"))]
    try:
        await late.check()
    except GiveUp as unfit:
        return [Finding(Level.FAIL, _("calls"), unfit.sentence)]
    return await check(session.wire, session.user_id, DeviceId(session.creds.device_id), wanted=True)


async def check(wire: Wire, user_id: UserId, device_id: DeviceId, *, wanted: bool) -> Sequence[Finding]:
    """Return a finding for each thing that these calls need. `wire`: logged in. `wanted`: calls are to be recorded."""
    server_name = user_id.partition(":")[2]
    try:
        named = await transports.services(wire, server_name)
        room = RoomId(f"!aircheck-check:{server_name}")  # of no call; the SFU knows a hash of it

        async def known() -> Sequence[str]:
            return named

        tokens = Tokens(wire, OwnServices(wire.homeserver, known, time.monotonic).may_be_private)
        identity = plain_identity(user_id, device_id)
        ours = Member(Device(user_id, device_id, identity), None, identity=identity)
        found = Found(
            services=[await _ask(tokens, address, room, ours) for address in named[:MOST_SERVICES]],
            unasked=len(named[MOST_SERVICES:]),
            delayed=await DelayedEvents(wire).longest_ms() >= REMOVED_AFTER.total_seconds() * 1000,
            sticky=await StickyRequests(wire).are_known(),
        )
    except (TryLater, GiveUp) as error:
        return [Finding(Level.WARN, _("Element Call"), error.sentence)]
    return list(judge(found, wanted=wanted))


async def _ask(tokens: Tokens, address: str, room: RoomId, ours: Member) -> Service:
    """Ask a token service for a token as for a call, and its media server whether it takes that."""
    try:
        grant = await tokens.grant(room, ours, Transport(address))
        answered = await media_servers.ask(grant.url, grant.token, private=grant.private)
    except (Refusal, Trouble) as refusal:
        return Service(address, Answered.REFUSED, refusal.status)
    except (TryLater, GiveUp) as error:
        return Service(address, Answered.FAILED, why=error.sentence)
    return Service(address, answered, sfu=grant.url)
