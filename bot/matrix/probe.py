"""Requests to a homeserver that change nothing there, for `check` and `init`, also beside a running bot.

They raise TryLater when the homeserver can't be reached or answers nonsense, TokenRevoked and Refused.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bot.errors import GiveUp, TryLater
from bot.matrix.wire import Refused, Wire, path
from storage.records import DeviceId, UserId

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Whoami:
    user_id: UserId
    device_id: DeviceId | None


class Signing(StrEnum):
    """The cross-signing of a device as everybody can see it."""

    SIGNED = "signed"  # by the self-signing key of its user, which is signed by the master key
    UNSIGNED = "unsigned"  # the user has cross-signing keys and they did not sign this device
    NO_KEYS = "no_keys"  # the user has no cross-signing keys
    NO_DEVICE = "no_device"  # the device has published no keys


class Probe:
    """Requests to one homeserver. Made by `probing`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def versions(self) -> tuple[str, ...]:
        """List the versions of the specification that it supports (Client-Server API, /versions)."""
        answer = await self._wire.call("GET", "/_matrix/client/versions", auth=False, timeout_s=TIMEOUT_S)
        versions = answer.get("versions")
        if not isinstance(versions, list):
            raise TryLater("no Matrix homeserver answers there")
        return tuple(str(version) for version in versions)

    async def base_address(self) -> str | None:
        """Find the homeserver of a server name (Client-Server API, .well-known); None if it names none."""
        try:
            answer = await self._wire.call("GET", "/.well-known/matrix/client", auth=False, timeout_s=TIMEOUT_S)
        except (TryLater, GiveUp):
            return None
        address = (_section(answer, "m.homeserver") or {}).get("base_url")
        return address.rstrip("/") if isinstance(address, str) and address.startswith(("https://", "http://")) else None

    async def whoami(self, token: str) -> Whoami:
        """Find the account and device of a token. Raises TokenRevoked if it has ended."""
        self._wire.token = token
        answer = await self._wire.call("GET", path("account", "whoami"), timeout_s=TIMEOUT_S)
        device = answer.get("device_id")
        return Whoami(UserId(str(answer.get("user_id"))), DeviceId(device) if isinstance(device, str) else None)

    async def try_password(self, user_id: str, password: str) -> None:
        """Log in and out again, which leaves no device behind. Raises Refused (M_FORBIDDEN) on a wrong password."""
        await self._log_in_and_out(user_id, password)

    async def account_of(self, user_id: str, password: str) -> UserId | None:
        """Find the account with the localpart of `user_id` if the password is right, else None.

        This tells a wrong server name in `user_id` from a wrong password: homeservers answer both with M_FORBIDDEN.
        """
        try:
            return await self._log_in_and_out(user_id.removeprefix("@").split(":", 1)[0], password)
        except Refused:
            return None

    async def _log_in_and_out(self, user: str, password: str) -> UserId:
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user},
            "password": password,
            "initial_device_display_name": "Aircheck (check)",
        }
        answer = await self._wire.call("POST", path("login"), body=login, auth=False, timeout_s=TIMEOUT_S)
        token = answer.get("access_token")
        if not isinstance(token, str):
            raise TryLater("the homeserver's answer to the login is malformed")
        self._wire.token = token
        await self._wire.call("POST", path("logout"), body={}, timeout_s=TIMEOUT_S)
        return UserId(str(answer.get("user_id")))

    async def signing(self, token: str, user_id: str, device_id: str) -> Signing:
        """Find out whether a device is cross-signed, as its own user sees it (Client-Server API, /keys/query)."""
        from bot.matrix.identity import Published  # imports nio, a second that `init` need not spend

        self._wire.token = token
        every_device: list[str] = []
        query = {"device_keys": {user_id: every_device}}
        answer = await self._wire.call("POST", path("keys", "query"), body=query, timeout_s=TIMEOUT_S)
        published = Published(
            user_id=user_id,
            device_id=device_id,
            master=_section(answer, "master_keys", user_id),
            self_signing=_section(answer, "self_signing_keys", user_id),
            device=_section(_section(answer, "device_keys", user_id) or {}, device_id),
        )
        if published.master is None or published.self_signing is None:
            return Signing.NO_KEYS
        if published.device is None:
            return Signing.NO_DEVICE
        return Signing.SIGNED if published.is_signed() else Signing.UNSIGNED

    async def offers_relays(self, token: str) -> bool:
        """Find out whether the homeserver offers TURN servers (Client-Server API, /voip/turnServer)."""
        self._wire.token = token
        answer = await self._wire.call("GET", path("voip", "turnServer"), timeout_s=TIMEOUT_S)
        return bool(answer.get("uris"))


@asynccontextmanager
async def probing(homeserver: str) -> AsyncIterator[Probe]:
    """Open a Probe for the homeserver at this address."""
    wire = Wire(homeserver)
    try:
        yield Probe(wire)
    finally:
        await wire.close()


async def why_refused(homeserver: str, user_id: str, password: str) -> str:
    """Explain a login that was refused with M_FORBIDDEN, in a sentence that names the wrong setting."""
    async with probing(homeserver) as probe:
        try:
            known = await probe.account_of(user_id, password)
        except (TryLater, GiveUp):
            known = None
    if known is None or known == user_id:
        return f"matrix.password: the homeserver does not accept it for {user_id}"
    return f"matrix.user_id: the homeserver does not know {user_id}; it calls this account {known}"


def _section(tree: Mapping[str, Any], *names: str) -> Mapping[str, Any] | None:
    """Get an object below an object; None if there is none."""
    for name in names:
        below = tree.get(name)
        if not isinstance(below, dict):
            return None
        tree = below
    return tree
