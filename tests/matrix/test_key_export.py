"""Import of exported room keys: valid entries are imported, the others named with a reason."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import vodozemac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from nio.crypto.key_export import decrypt_and_read, encrypt_and_save
from nio.crypto.sessions import InboundGroupSession

from bot.errors import ConfigError
from bot.matrix import key_export
from bot.matrix.keys import Imported, Keys
from storage.records import RoomId, SessionId

ROOM = RoomId("!room:hs")
CURVE = "c" * 43
ED = "e" * 43
PASSPHRASE = "pässphrase 🔑"


def group(*, at: int = 0) -> tuple[vodozemac.GroupSession, str, str]:
    """A speaker's session, its id, and its key as an export has it from message `at` on."""
    outbound = vodozemac.GroupSession()
    inbound = vodozemac.InboundGroupSession(outbound.session_key)
    key = inbound.export_at(at)
    assert key is not None
    return outbound, outbound.session_id, key.to_base64()


def later(key: str, at: int) -> str:
    """A later index of the same key."""
    found = vodozemac.InboundGroupSession.import_session(vodozemac.ExportedSessionKey(key)).export_at(at)
    assert found is not None
    return str(found.to_base64())


def forged(key: str) -> str:
    """A key of the same session that opens nothing: from message 0 on, with another ratchet."""
    raw = bytearray(base64.b64decode(key + "=" * (-len(key) % 4)))
    raw[1:133] = bytes(132)
    return base64.b64encode(bytes(raw)).decode().rstrip("=")


def entry(**changes: Any) -> dict[str, Any]:
    """A whole entry; a change to None takes the field out."""
    _, session_id, key = group()
    whole = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": session_id,
        "session_key": key,
        "sender_key": CURVE,
        "sender_claimed_keys": {"ed25519": ED},
        "forwarding_curve25519_key_chain": [],
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def exported(file: Path, entries: Any, passphrase: str = PASSPHRASE, rounds: int = 1000) -> Path:
    """A file as the specification says it, made without the code that reads it."""
    salt, iv = bytes(range(16)), bytes(16)
    both = hashlib.pbkdf2_hmac("sha512", passphrase.encode(), salt, rounds, dklen=64)
    data = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    sealed = b"\x01" + salt + iv + rounds.to_bytes(4, "big")
    sealed += Cipher(algorithms.AES(both[:32]), modes.CTR(iv)).encryptor().update(data)
    sealed += hmac.digest(both[32:], sealed, "sha256")
    lines = base64.encodebytes(sealed).decode()
    file.write_text(f"-----BEGIN MEGOLM SESSION DATA-----\n{lines}-----END MEGOLM SESSION DATA-----\n")
    return file


@pytest.fixture
async def keys(tmp_path: Path) -> AsyncIterator[Keys]:
    """An open key store of a device."""
    opened = Keys(lambda: datetime.now(UTC))
    (tmp_path / "store").mkdir()
    config = SimpleNamespace(pickle_key="pickle", store_name="keys.db")
    await opened.open(
        SimpleNamespace(user_id="@bot:hs", device_id="BOT", store_path=str(tmp_path / "store"), config=config)
    )
    yield opened
    opened.close()


async def imported(keys: Keys, folder: Path, *entries: Any) -> Imported:
    return await keys.import_keys(exported(folder / "keys.txt", list(entries)), PASSPHRASE)


def reads(keys: Keys, outbound: vodozemac.GroupSession, room_id: str = ROOM) -> bool:
    """Whether what the speaker says next can be decrypted."""
    found = keys.olm.find(room_id, outbound.session_id)
    return found is not None and found.decrypt(outbound.encrypt(b"hello").to_base64())[0] == "hello"


# ---- entries

REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ("a string", "it is not a JSON object"),
    "a list": ([1, 2], "it is not a JSON object"),
    "null": (None, "it is not a JSON object"),
    "no algorithm": (entry(algorithm=None), "it has no algorithm"),
    "another algorithm": (entry(algorithm="m.megolm.v2"), "its algorithm is not m.megolm.v1.aes-sha2"),
    "an algorithm of a wrong type": (entry(algorithm=["m.megolm.v1.aes-sha2"]), "its algorithm is not"),
    "no room": (entry(room_id=None), "it has no room_id"),
    "a room of a wrong type": (entry(room_id=7), "its room_id is malformed"),
    "no room id": (entry(room_id="#room:hs"), "its room_id is malformed"),
    "a room id with a line end": (entry(room_id="!a\n:hs"), "its room_id is malformed"),
    "a room id with half a letter": (entry(room_id="!\ud800:hs"), "its room_id is malformed"),
    "no key": (entry(session_key=None), "it has no session_key"),
    "a key of a wrong type": (entry(session_key={"key": 1}), "its session_key can't be read"),
    "a key that is none": (entry(session_key="AAAA"), "its session_key can't be read"),
    "an empty key": (entry(session_key=""), "its session_key can't be read"),
    "the id of another session": (entry(session_id=group()[1]), "its session_id is not that of its key"),
    "a session id of a wrong type": (entry(session_id=3), "its session_id is not that of its key"),
}
TAKEN: dict[str, dict[str, Any]] = {
    "no sender_claimed_keys": {"sender_claimed_keys": None},
    "sender_claimed_keys of a wrong type": {"sender_claimed_keys": "ed25519"},
    "empty sender_claimed_keys": {"sender_claimed_keys": {}},
    "a claimed key of a wrong type": {"sender_claimed_keys": {"ed25519": [1]}},
    "no sender_key": {"sender_key": None},
    "a sender_key of a wrong type": {"sender_key": 5},
    "a sender_key that is none": {"sender_key": "\ud800"},
    "no chain": {"forwarding_curve25519_key_chain": None},
    "a chain of a wrong type": {"forwarding_curve25519_key_chain": "x"},
    "a chain of wrong things": {"forwarding_curve25519_key_chain": [1, None, CURVE]},
    "no session_id": {"session_id": None},
    "fields that nobody knows": {"org.example.more": {"a": [1]}},
    "neither sender_key nor claimed keys nor chain": {
        "sender_key": None,
        "sender_claimed_keys": None,
        "forwarding_curve25519_key_chain": None,
    },
}


@pytest.mark.parametrize("what", REFUSED)
async def test_an_entry_that_can_not_be_taken_costs_itself_alone(keys: Keys, tmp_path: Path, what: str) -> None:
    """An invalid entry is named by number and reason; the entries around it are imported."""
    odd, reason = REFUSED[what]
    first, last = entry(), entry()
    done = await imported(keys, tmp_path, first, odd, last)
    assert done.sessions == {first["session_id"], last["session_id"]}
    (refusal,) = done.refused
    assert str(refusal).startswith("entry 2")
    assert reason in refusal.reason
    assert str(refusal).isprintable()


@pytest.mark.parametrize("what", TAKEN)
async def test_an_entry_without_what_decrypting_does_not_need_is_taken(keys: Keys, tmp_path: Path, what: str) -> None:
    """The owner in an export is only a claim: a key with a missing or odd one decrypts all the same."""
    outbound, session_id, key = group()
    done = await imported(keys, tmp_path, entry(**{"session_id": session_id, "session_key": key} | TAKEN[what]))
    assert done.sessions == {session_id}
    assert not done.refused
    assert reads(keys, outbound)
    stored = {one.id: one for one in keys.olm.store.load_inbound_group_sessions()}
    assert stored[session_id].room_id == ROOM
    assert stored[session_id].forwarding_chain


async def test_of_two_keys_the_one_that_begins_earlier_is_kept(keys: Keys, tmp_path: Path) -> None:
    """An earlier index wins, also between two entries of one file in either order; a later one counts as known."""
    outbound, session_id, key = group()
    known = [entry(session_id=session_id, session_key=later(key, at)) for at in (5, 9, 2)]
    done = await imported(keys, tmp_path, *known)
    assert (done.new, done.known, done.refused) == (2, 1, ())
    found = keys.olm.find(ROOM, session_id)
    assert found is not None
    assert found.first_known_index == 2
    done = await imported(keys, tmp_path, entry(session_id=session_id, session_key=key, sender_key="x" * 43))
    assert done.sessions == {session_id}
    assert reads(keys, outbound)
    better = keys.olm.find(ROOM, session_id)
    assert better is not None
    assert (better.first_known_index, better.sender_key, better.ed25519) == (0, CURVE, ED)


async def test_a_forged_key_replaces_none(keys: Keys, tmp_path: Path) -> None:
    """An exported key that contradicts the known one is refused, because exports are not signed."""
    outbound, session_id, key = group()
    await imported(keys, tmp_path, entry(session_id=session_id, session_key=key))
    done = await imported(keys, tmp_path, entry(session_id=session_id, session_key=forged(key)))
    assert [one.reason for one in done.refused] == ["it contradicts the known key of this session"]
    assert reads(keys, outbound)


async def test_the_owners_key_mends_a_forged_one(keys: Keys, tmp_path: Path) -> None:
    """A key sent by the speaker's device is signed and replaces a contradicting one from an export."""
    for claims in ({}, {"sender_key": None, "sender_claimed_keys": None}):
        outbound, session_id, key = group()
        await imported(keys, tmp_path, entry(session_id=session_id, session_key=forged(key), **claims))
        keys.olm.create_group_session(CURVE, ED, ROOM, session_id, outbound.session_key.to_base64())
        assert session_id in keys.new_sessions()
        assert reads(keys, outbound)


async def test_one_session_belongs_to_one_room(keys: Keys, tmp_path: Path) -> None:
    """Keys of unknown rooms are imported; a session for a second room is refused."""
    outbound, session_id, key = group()
    other = "!other:hs"
    done = await imported(
        keys,
        tmp_path,
        entry(room_id=other),
        entry(session_id=session_id, session_key=key),
        entry(session_id=session_id, session_key=key, room_id=other),
    )
    assert done.new == 2
    assert [str(one) for one in done.refused] == [
        f"entry 3 (session {session_id}, room {other}): the known key of this session is of another room"
    ]
    assert reads(keys, outbound)


async def test_the_loop_goes_on_while_many_keys_are_taken(keys: Keys, tmp_path: Path) -> None:
    """Other tasks run after every ten keys."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    file = exported(tmp_path / "keys.txt", [entry() for _ in range(200)])
    reading = asyncio.create_task(others())
    done = await keys.import_keys(file, PASSPHRASE)
    reading.cancel()
    assert done.new == 200
    assert turns >= 20


# ---- files


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(change(file.read_bytes()))


NOT_AN_EXPORT = "is not an export of room keys"
FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda file: file.write_bytes(b""), NOT_AN_EXPORT),
    "text": (lambda file: file.write_text("hello"), NOT_AN_EXPORT),
    "bytes": (lambda file: file.write_bytes(bytes(range(256)) * 10), NOT_AN_EXPORT),
    "keys that are not encrypted": (lambda file: file.write_text(json.dumps([entry()])), NOT_AN_EXPORT),
    "cut": (changed(lambda text: text[:200]), NOT_AN_EXPORT),
    "no content": (changed(lambda text: text[:36] + text[-36:]), "is damaged"),
    "no base64": (changed(lambda text: text[:40] + b"!" + text[41:]), "is damaged"),
    "changed": (lambda file: exported(file, [], "another"), "can't be read: the passphrase is wrong, or the file"),
    "another passphrase": (lambda file: exported(file, [entry()], "x"), "can't be read: the passphrase is wrong"),
    "work for hours": (lambda file: hours(file), "asks for 4294967295 rounds"),
    "no JSON": (lambda file: exported(file, b"\xff\x00"), "holds no list of room keys"),
    "an object": (lambda file: exported(file, {"sessions": []}), "holds no list of room keys"),
    "deep": (lambda file: exported(file, b"[" * 100_000), "holds no list of room keys"),
    "gone": (lambda file: file.rename(file.with_name("elsewhere")), "does not exist"),
    "a folder": (lambda file: folder_at(file), "can't be read: Is a directory"),
}


def folder_at(file: Path) -> None:
    file.unlink()
    file.mkdir()


def hours(file: Path) -> None:
    """Make a file whose key derivation would take hours."""
    sealed = b"\x01" + bytes(32) + b"\xff" * 4 + bytes(64)
    file.write_text(f"{key_export.HEADER}\n{base64.b64encode(sealed).decode()}\n{key_export.FOOTER}")


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_export_is_one_sentence(tmp_path: Path, what: str) -> None:
    """A file that is not an export is a wrong argument; the sentence names the file and the fault."""
    file = exported(tmp_path / "keys.txt", [entry()])
    change, sentence = FILES[what]
    change(file)
    with pytest.raises(ConfigError) as caught:
        key_export.read(file, PASSPHRASE)
    assert caught.value.sentence.startswith(f"{file} {sentence}")
    assert PASSPHRASE not in caught.value.sentence


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda text: text,
    "Windows line ends": lambda text: text.replace(b"\n", b"\r\n"),
    "one line": lambda text: text.replace(b"\n", b""),
    "a BOM, blanks and lines around it": lambda text: b"\xef\xbb\xbf\n  \n" + text + b"\n\nbye\n",
    "no padding": lambda text: text.replace(b"=", b""),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_export_is_read_in_every_form(tmp_path: Path, form: str) -> None:
    """Other line ends, a byte order mark and missing padding are accepted."""
    file = exported(tmp_path / "keys.txt", [entry()])
    file.write_bytes(FORMS[form](file.read_bytes()))
    assert list(key_export.read(file, PASSPHRASE).sessions) == [1]


def test_an_empty_export_holds_nothing(tmp_path: Path) -> None:
    """An empty export has neither sessions nor refusals."""
    export = key_export.read(exported(tmp_path / "keys.txt", []), PASSPHRASE)
    assert (export.sessions, export.refused) == ({}, ())


def test_what_is_written_is_an_export(tmp_path: Path) -> None:
    """Exports are read by other programs and theirs are read here; the file is private."""
    _, session_id, key = group()
    session = InboundGroupSession.import_session(key, ED, CURVE, ROOM)
    file = tmp_path / "sealed"
    key_export.write(file, "a passphrase", [session], rounds=10)
    assert file.stat().st_mode & 0o777 == 0o600
    (said,) = json.loads(decrypt_and_read(str(file), "a passphrase"))
    assert (said["session_id"], said["session_key"], said["sender_key"]) == (session_id, key, CURVE)
    file.unlink()
    encrypt_and_save(json.dumps([said]).encode(), str(file), "a passphrase", count=10)
    assert key_export.read(file, "a passphrase").sessions[1].id == SessionId(session_id)
