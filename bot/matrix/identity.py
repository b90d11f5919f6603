"""Cross-signing: keys of the account sign the bot's device, or strict clients share no room keys with it.

Client-Server API, cross-signing; why it matters: https://github.com/matrix-org/matrix-spec-proposals/pull/4153
The seeds of keys that the bot made lie in a file of mode 0600, written before anything is uploaded.
"""

import base64
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bot.errors import ConfigError, StartError
from bot.matrix.keys import Keys
from bot.matrix.login import matrix_folder
from bot.matrix.wire import Refused, Wire, path
from storage.private import write_whole
from storage.records import Json

log = logging.getLogger(__name__)

SEEDS_FILE = "cross-signing.json"
NEW_SEEDS_FILE = "cross-signing.new.json"  # during a reset, until the homeserver has taken its keys
USAGES = ("master", "self_signing", "user_signing")


class IdentityState(StrEnum):
    UNKNOWN = "unknown"  # not checked yet
    OK = "ok"  # the device is signed by the account's keys
    UNSIGNED_FOREIGN = "unsigned_foreign"  # the account's keys were made elsewhere and did not sign the device
    UNSIGNED_REFUSED = "unsigned_refused"  # the homeserver demands more than the password for new keys


@dataclass(frozen=True)
class Seeds:
    """The private halves of the account's cross-signing keys."""

    master: Ed25519PrivateKey
    self_signing: Ed25519PrivateKey
    user_signing: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> Self:
        return cls(*(Ed25519PrivateKey.generate() for _ in USAGES))

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Read the seeds; None if there are none. Raises StartError for a file that can't be read."""
        try:
            entry = json.loads(file.read_bytes())
            return cls(*(Ed25519PrivateKey.from_private_bytes(_bytes(entry[usage])) for usage in USAGES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise StartError(f"{file} can't be read: restore it, or run `aircheck init --reset-identity`") from None

    def write(self, file: Path) -> None:
        seeds = {usage: _text(getattr(self, usage).private_bytes_raw()) for usage in USAGES}
        write_whole(file, json.dumps(seeds).encode())


class Identity:
    """The account's cross-signing keys, and whether they sign the device."""

    def __init__(self, wire: Wire, keys: Keys, directory: Path) -> None:
        self.state = IdentityState.UNKNOWN
        self._wire = wire
        self._keys = keys
        self._file = matrix_folder(directory) / SEEDS_FILE
        self._new_file = matrix_folder(directory) / NEW_SEEDS_FILE

    async def ensure(self, password: str | None) -> IdentityState:
        """Create keys if the account has none; sign the device if the bot holds the keys.

        The device's own keys must be uploaded before. Raises TryLater, StartError.
        """
        published = await self._published()
        seeds = self._seeds_of(published)
        if published.master is None:
            if seeds is None:
                seeds = Seeds.generate()
                seeds.write(self._file)
            self.state = await self._publish(seeds, password)
            return self.state
        if published.is_signed():
            self.state = IdentityState.OK
        elif seeds is not None and published.is_of(seeds):
            await self._sign_device(seeds)
            self.state = IdentityState.OK
        else:
            self.state = IdentityState.UNSIGNED_FOREIGN
            log.warning(
                "the account's cross-signing keys were made in another client and did not sign this device: "
                "strict clients will give it no keys (`aircheck init --reset-identity` makes new ones)"
            )
        return self.state

    async def reset(self, password: str) -> None:
        """Replace the account's cross-signing keys by new ones of the bot. Raises ConfigError, TryLater."""
        seeds = Seeds.generate()
        seeds.write(self._new_file)
        self.state = await self._publish(seeds, password)
        if self.state is not IdentityState.OK:
            self._new_file.unlink()
            raise ConfigError(
                "matrix.password: the homeserver does not accept new cross-signing keys with it "
                "(another client may be able to reset them)"
            )
        self._new_file.replace(self._file)

    def _seeds_of(self, published: "Published") -> Seeds | None:
        """Read the seeds: those of an interrupted reset if the homeserver has taken their keys."""
        fresh = Seeds.read(self._new_file)
        if fresh is not None and published.is_of(fresh):
            self._new_file.replace(self._file)
        return Seeds.read(self._file)

    async def _published(self) -> "Published":
        olm = self._keys.olm
        every_device: list[str] = []
        body = {"device_keys": {olm.user_id: every_device}}
        answer = await self._wire.call("POST", path("keys", "query"), body=body)
        return Published(
            user_id=olm.user_id,
            master=_entry(answer, "master_keys", olm.user_id),
            self_signing=_entry(answer, "self_signing_keys", olm.user_id),
            device=_entry(_entry(answer, "device_keys", olm.user_id) or {}, olm.device_id),
            device_id=olm.device_id,
        )

    async def _publish(self, seeds: Seeds, password: str | None) -> IdentityState:
        user_id = self._keys.olm.user_id
        body: dict[str, Any] = {}
        for usage in USAGES:
            public = public_key(getattr(seeds, usage))
            body[f"{usage}_key"] = {"user_id": user_id, "usage": [usage], "keys": {f"ed25519:{public}": public}}
        for usage in USAGES[1:]:
            sign(body[f"{usage}_key"], user_id, seeds.master)
        device_signature = self._keys.olm.sign_json(dict(body["master_key"]))
        body["master_key"]["signatures"] = {user_id: {f"ed25519:{self._keys.olm.device_id}": device_signature}}
        try:
            await self._upload(body, password)
        except Refused as refused:
            log.warning("the homeserver refused the bot's cross-signing keys (%s)", refused)
            return IdentityState.UNSIGNED_REFUSED
        await self._sign_device(seeds)
        log.info("new cross-signing keys: user=%s", user_id)
        return IdentityState.OK

    async def _upload(self, body: dict[str, Any], password: str | None) -> None:
        """Upload the keys, with the password if asked for it (Client-Server API, user-interactive authentication)."""
        where = path("keys", "device_signing", "upload")
        try:
            await self._wire.call("POST", where, body=body)
        except Refused as refused:
            if refused.status != 401 or not password or not _takes_password(refused.body):
                raise
            identifier = {"type": "m.id.user", "user": self._keys.olm.user_id}
            proof = {"type": "m.login.password", "identifier": identifier, "password": password}
            session = refused.body.get("session")
            body = body | {"auth": proof | ({"session": session} if isinstance(session, str) else {})}
            await self._wire.call("POST", where, body=body)

    async def _sign_device(self, seeds: Seeds) -> None:
        published = await self._published()
        olm = self._keys.olm
        own = olm.account.identity_keys["ed25519"]
        device = dict(published.device or {})
        if _entry(device, "keys", f"ed25519:{olm.device_id}", leaf=True) != own:
            raise StartError("the homeserver has other keys for the bot's device: log the device out there")
        device.pop("unsigned", None)
        sign(device, olm.user_id, seeds.self_signing)
        body = {olm.user_id: {olm.device_id: device}}
        answer = await self._wire.call("POST", path("keys", "signatures", "upload"), body=body)
        if answer.get("failures"):
            raise StartError("the homeserver refused the signature of the bot's device")


@dataclass(frozen=True)
class Published:
    """The account's keys as the homeserver publishes them; None for those that it lacks."""

    user_id: str
    device_id: str
    master: Mapping[str, Any] | None
    self_signing: Mapping[str, Any] | None
    device: Mapping[str, Any] | None

    def is_signed(self) -> bool:
        """Verify the chain from the master key over the self-signing key to the device."""
        if self.master is None or self.self_signing is None or self.device is None:
            return False
        master, self_signing = _only_key(self.master), _only_key(self.self_signing)
        return verify(self.self_signing, self.user_id, master) and verify(self.device, self.user_id, self_signing)

    def is_of(self, seeds: Seeds) -> bool:
        """Tell whether master and self-signing key are those of the seeds."""
        pairs = ((self.master, seeds.master), (self.self_signing, seeds.self_signing))
        return all(key is not None and _only_key(key) == public_key(seed) for key, seed in pairs)


def public_key(private: Ed25519PrivateKey) -> str:
    return _text(private.public_key().public_bytes_raw())


def sign(entry: dict[str, Any], user_id: str, private: Ed25519PrivateKey) -> None:
    """Add a signature to a JSON object (appendices, signing JSON)."""
    signature = _text(private.sign(canonical(entry)))
    signatures = dict(entry.get("signatures") or {})
    signatures[user_id] = {**(signatures.get(user_id) or {}), f"ed25519:{public_key(private)}": signature}
    entry["signatures"] = signatures


def verify(entry: Json, user_id: str, public: str | None) -> bool:
    """Tell whether this key signed the object."""
    signature = _entry(entry, "signatures", user_id, f"ed25519:{public}", leaf=True)
    if public is None or not isinstance(signature, str):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(_bytes(public)).verify(_bytes(signature), canonical(entry))
    except (InvalidSignature, ValueError):
        return False
    return True


def canonical(entry: Json) -> bytes:
    """Encode the signed part of an object as canonical JSON (appendices)."""
    signed = {key: value for key, value in entry.items() if key not in ("signatures", "unsigned")}
    return json.dumps(signed, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _entry(tree: Any, *names: str, leaf: bool = False) -> Any:
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree if leaf or isinstance(tree, Mapping) else None


def _only_key(entry: Json) -> str | None:
    keys = entry.get("keys")
    values = list(keys.values()) if isinstance(keys, Mapping) else []
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def _takes_password(body: Json) -> bool:
    flows = body.get("flows")
    return isinstance(flows, list) and any(
        isinstance(flow, dict) and flow.get("stages") == ["m.login.password"] for flow in flows
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
