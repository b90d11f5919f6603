"""The engine of calls as the program runs it: its parts are made, and the wire formats of the protocols connected."""

import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from bot.calls import transports
from bot.calls.engine import Engine
from bot.calls.key_messages import KeyMessages
from bot.calls.media.late import LateMedia
from bot.calls.model import Device, KeyTold, Received, Send
from bot.calls.parts import Calling, Key, Parts
from bot.calls.private import OwnServices, is_private
from bot.calls.session.state import Setup
from bot.calls.showing import Showing
from bot.calls.stems.keeping import Apply
from bot.calls.stems.stems import Stems
from bot.calls.tokens import Tokens
from bot.calls.turn import Turn
from bot.calls.wire import matrixrtc_keys, msc3401, mxvc
from bot.matrix.batch import Signal
from bot.matrix.poll import LONG_POLL_S
from bot.matrix.session import Session
from bot.settings import Settings
from storage.records import CallProtocol
from storage.store import Store

IN_TOUCH = timedelta(seconds=LONG_POLL_S + 10)
"""The age of its last answer at which the homeserver is out of reach, though the next one is not given up yet."""


async def engine_of(
    store: Store,
    settings: Settings,
    session: Session,
    *,
    calling: Calling,
    apply: Apply,
    clock: Callable[[], datetime],
) -> Engine:
    """Make the engine of a session's calls. It is to be told of messages (`take`), its start and its stop."""

    def device(protocol: CallProtocol) -> Device:
        """Return the bot's device as members see it, in a session of its own: the ids of legs are made from that."""
        if protocol is CallProtocol.MXVC:
            return Device(session.user_id, mxvc.name_of(session.user_id))
        return Device(session.user_id, str(session.keys.olm.device_id), secrets.token_urlsafe(12))

    async def post(key: Key, setup: Setup, send: Send, message_id: str) -> None:
        if setup.protocol is CallProtocol.MXVC:
            kind, content = mxvc.write(send, setup.ours)
            await session.sending.send(key[0], kind, content, txn_id=message_id)
            return
        kind, content = msc3401.write(send, setup.ours, setup.call_id, message_id)
        to, sealed = send.device, send.encrypted
        await session.to_device.send(to.user_id, to.device_id, kind, content, encrypted=sealed, txn_id=message_id)

    def read(key: Key, setup: Setup, signal: Signal) -> Received | KeyTold | None:
        if setup.protocol is CallProtocol.MATRIXRTC:
            told = matrixrtc_keys.read(signal, key[0])
            return told if isinstance(told, KeyTold) else None
        if setup.protocol is CallProtocol.MXVC:
            received = mxvc.read(signal, setup.ours, clock()) if signal.room_id == key[0] else None
        else:
            received = msc3401.read(signal, setup.ours, setup.call_id)
        return received if isinstance(received, Received) else None

    def in_touch() -> bool:
        """Return whether the homeserver answers: it says something at least at the end of each long poll."""
        return session.in_touch and session.heard_at is not None and clock() - session.heard_at < IN_TOUCH

    homeserver, server_name = settings.matrix.homeserver, session.user_id.partition(":")[2]
    services = OwnServices(homeserver, partial(transports.services, session.wire, server_name), time.monotonic)
    engine = Engine(
        Parts(
            store=store,
            settings=settings,
            calling=calling,
            apply=apply,
            stems=Stems(store, apply, clock),
            media=LateMedia(partial(is_private, homeserver)),
            presence=Showing(store, session.sending, session.delayed, session.sticky, device, clock),
            post=post,
            read=read,
            servers=Turn(session.wire, clock).servers,
            grant=Tokens(session.wire, services.may_be_private).grant,
            share=KeyMessages(session.to_device, clock).share,
            device=device,
            has_sticky=session.sticky.are_known,
            known_sticky=lambda: session.sticky.known,
            in_touch=in_touch,
            clock=clock,
            ticks=time.monotonic,
        )
    )
    session.to_device.listener, session.to_device.heeds = engine.take, engine.heeds
    return engine
