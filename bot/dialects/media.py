"""The source of a chunk's media: `url` in clear rooms, `file` (EncryptedFile v2) in encrypted ones. Pure."""

import base64
import binascii

from bot.dialects.fields import mapping, text
from bot.recording.model import Rejected
from storage.records import EncryptedFile, Json, MediaSource, MxcUri

MAX_URI = 1024
KEY_BYTES = 32
IV_BYTES = 16
HASH_BYTES = 32


def source(content: Json) -> MediaSource | Rejected:
    """Return the source; `Rejected("file")` or `Rejected("url")` when it can't be fetched. A key is only taken from
    `file`."""
    if content.get("file") is not None:
        return _encrypted(mapping(content["file"]))
    mxc = _mxc(content.get("url"))
    return MediaSource(mxc) if mxc else Rejected("url")


def _encrypted(file: Json) -> MediaSource | Rejected:
    """Read an EncryptedFile (Client-Server API, sending encrypted attachments): version 2, AES-CTR, a 256-bit key."""
    key = mapping(file.get("key"))
    mxc = _mxc(file.get("url"))
    secret = _base64(key.get("k"), KEY_BYTES, url_safe=True)
    iv = _base64(file.get("iv"), IV_BYTES)
    digest = _base64(mapping(file.get("hashes")).get("sha256"), HASH_BYTES)
    if file.get("v") != "v2" or key.get("alg") != "A256CTR" or key.get("kty") != "oct":
        return Rejected("file")
    if mxc is None or secret is None or iv is None or digest is None:
        return Rejected("file")
    return MediaSource(mxc, EncryptedFile(key=secret, iv=iv, sha256=digest))


def _mxc(value: object) -> MxcUri | None:
    """Return a text that looks like a content address. Its parts are checked where a path is built from them."""
    address = text(value, MAX_URI)
    return MxcUri(address) if address and address.startswith("mxc://") and len(address) > len("mxc://") else None


def _base64(value: object, length: int, *, url_safe: bool = False) -> str | None:
    """Return base64 of exactly so many bytes in one form: without padding, in the alphabet that is asked for."""
    encoded = text(value)
    if encoded is None or not encoded.isascii():
        return None
    bare = encoded.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != length:
        return None
    canonical = base64.urlsafe_b64encode(raw) if url_safe else base64.b64encode(raw)
    return canonical.decode("ascii").rstrip("=")
