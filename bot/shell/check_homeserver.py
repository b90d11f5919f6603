"""Findings of `aircheck check` on the homeserver, the account and its device."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bot.calls import checking
from bot.calls.media import late
from bot.check.finding import Finding, Level
from bot.errors import ConfigError, GiveUp, StartError, TryLater
from bot.intake.calls import installed
from bot.matrix.login import StoredSession, read_session
from bot.matrix.probe import Probe, Signing, why_refused
from bot.matrix.wire import Refused, TokenRevoked, Wire
from bot.settings import Settings
from bot.shell.check_storage import records_calls
from bot.shell.check_web import health_of, runs

SILENT_FOR = timedelta(minutes=3)  # several long polls


async def check_homeserver(probe: Probe, settings: Settings) -> Finding:
    """Check that a Matrix homeserver answers, and that a running bot has heard it lately."""
    try:
        versions = await probe.versions()
    except (TryLater, GiveUp) as error:
        return Finding(Level.FAIL, "homeserver", f"matrix.homeserver {settings.matrix.homeserver}: {error.sentence}")
    newest = versions[-1] if versions else "nothing"
    text = f"{settings.matrix.homeserver} speaks Matrix up to {newest}"
    if not await runs(settings):
        return Finding(Level.OK, "homeserver", text)
    health = await health_of(settings.web.local_address)
    if health is None:
        return Finding(Level.OK, "homeserver", text)
    return judge_hearing(health.get("homeserver_last_heard"), text)


def judge_hearing(said: object, text: str) -> Finding:
    """Judge when the running bot last heard the homeserver: `said` is the time in its health report."""
    if not isinstance(said, str):
        return Finding(Level.WARN, "homeserver", f"{text}, but the running Aircheck has not heard it yet")
    silent_for = datetime.now(UTC) - datetime.fromisoformat(said)
    if silent_for > SILENT_FOR:
        return Finding(Level.WARN, "homeserver", f"{text}, but the running Aircheck last heard it at {said}")
    return Finding(Level.OK, "homeserver", f"{text}, last heard at {said}")


async def check_login(probe: Probe, settings: Settings) -> tuple[StoredSession | None, Finding]:
    """Check the stored session, or without one the password; give the session if it is alive."""
    try:
        session = await asyncio.to_thread(read_session, settings.storage.path)
        password = settings.password()
        if session and session.user_id != settings.matrix.user_id:
            text = f"matrix.user_id: the data in {settings.storage.path} belong to {session.user_id}"
            return None, Finding(Level.FAIL, "login", text)
        if session and session.access_token:
            return await _check_session(probe, session, session.access_token, password)
        return None, await _check_password(probe, settings, password)
    except (StartError, ConfigError, TryLater, GiveUp) as error:
        return None, Finding(Level.FAIL, "login", error.sentence)


async def _check_session(
    probe: Probe, session: StoredSession, token: str, password: str | None
) -> tuple[StoredSession | None, Finding]:
    try:
        who = await probe.whoami(token)
    except TokenRevoked:
        if password:
            text = "the stored session has ended; `aircheck run` will log in again by password"
            return None, Finding(Level.WARN, "login", text)
        text = "the stored session has ended and matrix.password is not set to log in again"
        return None, Finding(Level.FAIL, "login", text)
    if who.user_id != session.user_id:
        return None, Finding(Level.FAIL, "login", f"the stored session belongs to {who.user_id}")
    return session, Finding(Level.OK, "login", f"{who.user_id}, device {session.device_id}")


async def _check_password(probe: Probe, settings: Settings, password: str | None) -> Finding:
    if not password:
        return Finding(Level.FAIL, "login", "matrix.password is not set, and there is no session yet")
    try:
        await probe.try_password(settings.matrix.user_id, password)
    except Refused as error:
        sentence = f"matrix.user_id: {error.sentence}"
        if error.errcode == "M_FORBIDDEN":
            sentence = await why_refused(settings.matrix.homeserver, settings.matrix.user_id, password)
        return Finding(Level.FAIL, "login", sentence)
    return Finding(Level.OK, "login", f"the password of {settings.matrix.user_id} is right (logged in and out again)")


async def check_signing(probe: Probe, session: StoredSession | None) -> Finding:
    """Check that the device is cross-signed, as strict clients demand before they share room keys."""
    subject = "device cross-signed"
    if session is None or session.access_token is None:
        return Finding(Level.WARN, subject, "not known before the first `aircheck run`")
    try:
        signing = await probe.signing(session.access_token, session.user_id, session.device_id)
    except (TryLater, GiveUp) as error:
        return Finding(Level.WARN, subject, error.sentence)
    if signing is Signing.SIGNED:
        return Finding(Level.OK, subject, "by the account's own keys")
    if signing is Signing.NO_DEVICE:
        return Finding(Level.FAIL, subject, "the device has published no keys yet: start `aircheck run`")
    if signing is Signing.NO_KEYS:
        return Finding(Level.FAIL, subject, "the account has no cross-signing keys yet: `aircheck run` makes them")
    return Finding(
        Level.FAIL,
        subject,
        "the account's cross-signing keys were made elsewhere, so strict clients give the bot no keys: "
        "`aircheck init --reset-identity` replaces them",
    )


async def check_calls(probe: Probe, session: StoredSession | None) -> Finding:
    """Check that calls can be recorded, and that the homeserver offers relays for members behind strict firewalls."""
    if not installed():
        return Finding(Level.OK, "calls", "can't be recorded: the extra `calls` is not installed")
    try:
        await late.check()
    except GiveUp as unfit:
        return Finding(Level.WARN, "calls", f"can't be recorded: {unfit.sentence}")
    if session is None or session.access_token is None:
        return Finding(Level.OK, "calls", "can be recorded; relays are not known before the first `aircheck run`")
    try:
        has_relays = await probe.offers_relays(session.access_token)
    except (TryLater, GiveUp) as error:
        return Finding(Level.WARN, "calls", error.sentence)
    if has_relays:
        return Finding(Level.OK, "calls", "can be recorded; the homeserver offers TURN servers")
    return Finding(
        Level.WARN,
        "calls",
        "the homeserver offers no TURN server: members behind strict firewalls may not be heard in recorded calls",
    )


async def check_element_call(settings: Settings, session: StoredSession | None) -> Sequence[Finding]:
    """Check that calls of Element Call can be recorded: token services and media servers, and how the bot stays listed.
    Nothing is found where no call can be recorded at all."""
    if not installed() or session is None or session.access_token is None:
        return ()
    wire = Wire(settings.matrix.homeserver)
    wire.token = session.access_token
    try:
        wanted = await records_calls(settings)
        return await checking.check(wire, session.user_id, session.device_id, wanted=wanted)
    finally:
        await wire.close()
