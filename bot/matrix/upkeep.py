"""Upkeep of the device: one-time and fallback keys, the keys of other devices, broken Olm sessions.

The requests are not nio's. Its Olm machine gets the answers in checked parts, because one malformed device of one
member would fail the query for a whole room.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import vodozemac

from bot.errors import NotOwner
from bot.event_types import ENCRYPTED
from bot.matrix.keys import Keys
from bot.matrix.nio_names import KeysClaimResponse, KeysQueryResponse
from bot.matrix.wire import Refused, Wire, path
from storage.records import Json

log = logging.getLogger(__name__)

SIGNED_CURVE = "signed_curve25519"
REMOTE_MS = 10_000  # how long the homeserver may wait for other homeservers
USERS_AT_ONCE = 200
SILENT_FOR_S = 600.0  # before a user without an answer, or a device without a key left, is asked about again


class Silent:
    """Users and devices that gave no answer lately: one dead homeserver must not delay every message."""

    def __init__(self, for_s: float) -> None:
        self._for_s = for_s
        self._until: dict[str, float] = {}

    def note(self, name: str) -> None:
        self._until[name] = time.monotonic() + self._for_s

    def forget(self, name: str) -> None:
        self._until.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return self._until.get(name, 0.0) > time.monotonic()


class Upkeep:
    """The upkeep of one device. Every method raises TryLater or Refused, and is safe to repeat."""

    def __init__(self, wire: Wire, keys: Keys) -> None:
        self._wire = wire
        self._keys = keys
        self._wants_fallback = False
        self._lock = asyncio.Lock()  # the account's unpublished keys are one set
        self._silent = Silent(SILENT_FOR_S)

    def note(self, sync: Json) -> None:
        """Note what a sync says about own keys and other devices (Client-Server API, extensions to /sync)."""
        olm = self._keys.olm
        counts = sync.get("device_one_time_keys_count")
        if isinstance(counts, dict):
            count = counts.get(SIGNED_CURVE, 0)
            olm.uploaded_key_count = count if isinstance(count, int) else 0
        unused = sync.get(
            "device_unused_fallback_key_types", sync.get("org.matrix.msc2732.device_unused_fallback_key_types")
        )
        if isinstance(unused, list):
            self._wants_fallback = SIGNED_CURVE not in unused
        lists = sync.get("device_lists")
        for name in ("changed", "left"):
            for user in _strings(lists.get(name) if isinstance(lists, dict) else None):
                olm.tracked_users.discard(user)
                self._silent.forget(user)
                if name == "changed" and user in olm.device_store.users:
                    olm.users_for_key_query.add(user)

    async def after_sync(self) -> None:
        """Do everything that is due."""
        olm = self._keys.olm
        await self.upload_keys()
        if users := set(olm.users_for_key_query):
            await self.query(users)
            olm.users_for_key_query -= users  # silent users are asked about again with their next event
        broken: dict[str, list[str]] = {}
        for device in [*olm.wedged_devices, *olm.key_request_devices_no_session]:
            broken.setdefault(device.user_id, []).append(device.id)
        if broken:
            await self.claim(broken)
            olm.wedged_devices.clear()  # a device without a key left is tried again at its next failure
            olm.key_request_devices_no_session.clear()
        for message in list(olm.outgoing_to_device_messages):
            await self.send_to_device(message.type, message.as_dict())
            olm.outgoing_to_device_messages.remove(message)

    # ---- own keys

    async def upload_keys(self, *, fallback: bool = False) -> None:
        """Upload device, one-time and fallback keys, as far as the homeserver lacks them."""
        async with self._lock:
            olm = self._keys.olm
            body: dict[str, Any] = olm.share_keys() if olm.should_upload_keys else {}
            if fallback or self._wants_fallback or not olm.account.shared:
                body["fallback_keys"] = self._fallback_key()
            if not body:
                return
            # Stored before they are sent: the homeserver must never hand out a key that the bot has lost.
            olm.save_account()
            await self._keys.settle(sealed=True)
            try:
                answer = await self._wire.call("POST", path("keys", "upload"), body=body)
            except Refused as refused:
                if refused.status != 400:
                    raise
                log.warning("the homeserver refused one-time keys (%s): uploading new ones", refused.errcode)
                olm.mark_keys_as_published()
                olm.save_account()
                return
            counts = answer.get("one_time_key_counts")
            olm.uploaded_key_count = counts.get(SIGNED_CURVE, 0) if isinstance(counts, dict) else None
            olm.account.shared = True
            olm.mark_keys_as_published()
            olm.save_account()
            self._wants_fallback = False

    def publish_anew(self) -> None:
        """Have all keys uploaded again: after a new login the homeserver may have forgotten the device."""
        self._keys.olm.account.shared = False
        self._keys.olm.uploaded_key_count = None

    def _fallback_key(self) -> dict[str, Any]:
        """Make a signed fallback key (Client-Server API, one-time and fallback keys); the one before still works."""
        olm = self._keys.olm
        account = olm.account._account  # nio knows no fallback keys
        if not account.fallback_key:
            account.generate_fallback_key()
        signed = {}
        for key_id, key in account.fallback_key.items():
            entry: dict[str, Any] = {"key": key.to_base64(), "fallback": True}
            signature = olm.sign_json(entry)
            entry["signatures"] = {olm.user_id: {f"ed25519:{olm.device_id}": signature}}
            signed[f"{SIGNED_CURVE}:{key_id}"] = entry
        return signed

    # ---- other devices

    async def query(self, users: Iterable[str]) -> None:
        """Query the devices of these users; users without an answer are left out for a while."""
        everybody = sorted(user for user in set(users) if user not in self._silent)
        for start in range(0, len(everybody), USERS_AT_ONCE):
            asked = everybody[start : start + USERS_AT_ONCE]
            every_device: list[str] = []
            body = {"device_keys": dict.fromkeys(asked, every_device), "timeout": REMOTE_MS}
            answer = await self._wire.call("POST", path("keys", "query"), body=body)
            answered = answer.get("device_keys")
            for user in asked:
                self._keys.olm.users_for_key_query.discard(user)
                devices = answered.get(user) if isinstance(answered, dict) else None
                if isinstance(devices, dict):
                    self._take_devices(user, devices)
                else:
                    self._silent.note(user)
                await asyncio.sleep(0)
            self._keys.devices_changed()

    def _take_devices(self, user: str, devices: Mapping[str, Any]) -> None:
        sane = {name: dict(device) for name, device in devices.items() if _is_sane(user, name, device)}
        try:
            self._keys.olm.handle_response(KeysQueryResponse({user: sane}, {}))
        except NotOwner:
            raise
        except Exception as error:  # nio raises many types for keys that their owner made up
            log.warning("devices refused: user=%s (%s)", user, type(error).__name__)
            return
        for name in sane:
            device = self._keys.olm.device_store[user].get(name)
            if device is not None and device.deleted:
                device.deleted = False  # a device can come back after a new login; nio would ignore it for good

    async def claim(self, devices: Mapping[str, Iterable[str]]) -> None:
        """Start Olm sessions with the devices that have a one-time key left."""
        asked = {
            user: [name for name in names if f"{user} {name}" not in self._silent] for user, names in devices.items()
        }
        wanted = {user: dict.fromkeys(names, SIGNED_CURVE) for user, names in asked.items() if names}
        if not wanted:
            return
        body = {"one_time_keys": wanted, "timeout": REMOTE_MS}
        answer = await self._wire.call("POST", path("keys", "claim"), body=body)
        claimed = answer.get("one_time_keys")
        for user, names in wanted.items():
            keys = claimed.get(user) if isinstance(claimed, dict) else None
            for name in names:
                key = keys.get(name) if isinstance(keys, dict) else None
                if key:
                    self._take_claimed(user, name, key)
                else:
                    self._silent.note(f"{user} {name}")

    def _take_claimed(self, user: str, device: str, key: Any) -> None:
        try:
            self._keys.olm.handle_response(KeysClaimResponse({user: {device: key}}, {}))
        except NotOwner:
            raise
        except Exception as error:  # as above: the owner may have uploaded anything
            log.warning("one-time key refused: user=%s (%s)", user, type(error).__name__)

    async def send_to_device(self, kind: str, body: Json, *, txn_id: str | None = None) -> None:
        if kind == ENCRYPTED:
            await self._keys.settle(sealed=True)
        await self._wire.call("PUT", path("sendToDevice", kind, txn_id or uuid.uuid4().hex), body=body)


def _is_sane(user: str, device: str, payload: Any) -> bool:
    """Tell whether a device's keys are well-formed, so that nio can read them."""
    if not isinstance(payload, dict) or (payload.get("user_id"), payload.get("device_id")) != (user, device):
        return False
    keys, signatures = payload.get("keys"), payload.get("signatures")
    if not isinstance(keys, dict) or not isinstance(signatures, dict) or not isinstance(signatures.get(user), dict):
        return False
    try:
        vodozemac.Curve25519PublicKey.from_base64(keys[f"curve25519:{device}"])
        vodozemac.Ed25519PublicKey.from_base64(keys[f"ed25519:{device}"])
        vodozemac.Ed25519Signature.from_base64(signatures[user][f"ed25519:{device}"])
    except (KeyError, TypeError, ValueError):
        return False
    return isinstance(payload.get("unsigned", {}), dict)


def _strings(value: Any) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []
