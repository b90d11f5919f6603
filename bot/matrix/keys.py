"""Room keys: received, imported, and used to decrypt events, also long after the events came.

nio's Olm machine does the cryptography. Events are checked before it sees them, because a stranger's event must never
stop the sync. Decryption differs from nio's in three ways: it needs no sender_key, which the specification dropped in
1.3 (Client-Server API, m.megolm.v1.aes-sha2); it takes room_id and state_key from the homeserver, not from the
ciphertext; and it checks whose device made the key.
"""

import asyncio
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bot import facts
from bot.errors import StartError, TryLater
from bot.event_types import CALL_MESSAGES, ENCRYPTED, STICKY_FIELD
from bot.matrix import key_export, nesting
from bot.matrix.batch import Signal
from bot.matrix.key_export import MEGOLM, Refusal, RefusedError
from bot.matrix.key_store import KeyStore
from bot.matrix.nio_names import ForwardedRoomKeyEvent, RoomKeyEvent, ToDeviceEvent
from bot.matrix.olm import CarefulOlm
from storage.private import FILE_MODE, narrow, sync
from storage.records import EventId, HeardEvent, Json, Message, RoomId, SessionId, UserId, Withheld

log = logging.getLogger(__name__)

WITHHELD = frozenset({"m.room_key.withheld", "org.matrix.room_key.withheld"})
IMPORTED_AT_ONCE = 10  # room keys in one commit: a few milliseconds
HEARD_AT_ONCE = 50  # events decrypted before other tasks run: a few milliseconds
MOST_SIGNALS, MOST_OF_A_SENDER = 500, 100  # messages about calls out of one answer

KeyPair = tuple[str, str]  # Curve25519 and Ed25519 key of a device; nobody can publish both of another's


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import: entries that were new (`sessions`: their sessions), known before, or refused."""

    sessions: frozenset[SessionId]
    new: int
    known: int
    refused: tuple[Refusal, ...]


class Keys:
    """The device's keys. While it is closed, every encrypted event counts as not readable yet. `epoch`: the owner's, by
    which the store refuses its predecessors; None where nobody else can have the session."""

    def __init__(self, clock: Callable[[], datetime], epoch: int | None = None) -> None:
        self._clock = clock
        self._epoch = epoch
        self._olm: Any | None = None
        self._owners: dict[KeyPair, UserId] | None = None  # by the devices' published keys; None: rebuild
        self._olm_senders: dict[KeyPair, UserId] = {}  # by the Olm messages that brought room keys
        self._signals: list[Signal] = []
        self._signalled: Counter[UserId] = Counter()
        self._unsettled = False

    # ---- opening and closing

    async def open(self, client: Any) -> None:
        """Load the client's store; its `olm` is set. Raises StartError when it can't be read."""
        try:
            await asyncio.to_thread(self._load, client)
        except StartError:
            raise
        except Exception as error:  # peewee's, sqlite3's and vodozemac's errors have no common base
            file = Path(client.store_path) / client.config.store_name
            raise StartError(f"the end-to-end keys in {file} can't be read ({type(error).__name__})") from None
        self._olm = client.olm

    def _load(self, client: Any) -> None:
        file = Path(client.store_path) / client.config.store_name
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives its side files the same mode
        narrow(file, FILE_MODE)
        config = client.config
        device = (client.user_id, client.device_id, client.store_path, config.pickle_key, config.store_name)
        store = KeyStore(*device, epoch=self._epoch)
        try:
            client.olm = CarefulOlm(client.user_id, client.device_id, store)
            client.store = store
        finally:
            store.database.close()  # this thread's connection; the event loop's thread opens its own

    def close(self) -> None:
        if self._olm is not None:
            self._olm.store.database.close()
            self._olm = None

    @property
    def olm(self) -> Any:
        """nio's machine. Raises TryLater before `open`."""
        if self._olm is None:
            raise TryLater("the bot is not logged in yet")
        return self._olm

    async def settle(self, *, sealed: bool = False) -> None:
        """Write new keys to the disk, so that the sync token may move past them; `sealed`: the state of ratchets, so
        that what they sealed may be sent. After a power cut, none seals another message in the same state."""
        if not (self._unsettled or sealed) or self._olm is None:
            return
        self._unsettled = False
        try:
            await asyncio.to_thread(sync, Path(f"{self._olm.store.database_path}-wal"))
        except FileNotFoundError:  # all of it is in the database already
            return
        except OSError:
            self._unsettled = True
            raise TryLater("the end-to-end keys could not be written") from None

    # ---- receiving keys

    async def take_to_device(self, events: Iterable[Json]) -> tuple[Withheld, ...]:
        """Take in Olm messages; give the notes on withheld keys. `new_sessions` then names the new room keys, and
        `signals` gives the messages about calls.

        Other to-device events are ignored: key requests, verification, forwarded keys in clear.
        """
        withheld = []
        self._signals = [signal for signal in self._signals if signal.encrypted]  # plain ones come again
        self._signalled = Counter(signal.sender for signal in self._signals)
        for event in events:
            kind, content = event.get("type"), event.get("content")
            if not isinstance(content, dict) or not isinstance(kind, str):
                continue
            if kind in WITHHELD:
                session, sender, code = content.get("session_id"), event.get("sender"), content.get("code")
                if isinstance(session, str) and isinstance(sender, str) and isinstance(code, str):
                    withheld.append(Withheld(SessionId(session), UserId(sender), code))
            elif kind == ENCRYPTED:
                self._take_olm(dict(event))
                await asyncio.sleep(0)  # each is a commit
            elif kind.startswith(CALL_MESSAGES) and isinstance(event.get("sender"), str):
                self._take_signal(Signal(UserId(event["sender"]), kind, content))
        return tuple(withheld)

    def _take_olm(self, event: dict[str, Any]) -> None:
        self._unsettled = True
        self.olm.opened = None
        try:
            parsed = ToDeviceEvent.parse_event(event)
            opened = self.olm.handle_to_device_event(parsed) if parsed else None
        except TryLater:
            raise
        except Exception as error:  # hostile input raises anything inside nio and vodozemac; the sync must go on
            log.warning("to-device event failed (%s)", type(error).__name__)
            return
        if isinstance(opened, RoomKeyEvent) and not isinstance(opened, ForwardedRoomKeyEvent):
            session = self.olm.find(opened.room_id, opened.session_id)
            if session is not None and session.sender_key == opened.sender_key:
                self._olm_senders[session.sender_key, session.ed25519] = UserId(opened.sender)
        if (message := self.olm.opened) is not None:
            by = (message.curve25519, message.ed25519)
            self._take_signal(Signal(message.sender, message.type, message.content, encrypted=True, sealed_by=by))

    def _take_signal(self, signal: Signal) -> None:
        """Keep a message about a call until its batch is stored: Olm opens a message only once."""
        self._signalled[signal.sender] += 1
        if len(self._signals) < MOST_SIGNALS and self._signalled[signal.sender] <= MOST_OF_A_SENDER:
            self._signals.append(signal)
        else:
            log.debug("message about a call dropped: too many: sender=%s", signal.sender)

    def signals(self) -> tuple[Signal, ...]:
        """List the messages about calls that came to this device since `forget_signals`."""
        return tuple(self._signals)

    def forget_signals(self) -> None:
        self._signals.clear()

    def new_sessions(self) -> frozenset[SessionId]:
        """List the sessions that got a key since `forget_new`."""
        return frozenset(self.olm.arrived)

    def forget_new(self, sessions: Iterable[SessionId]) -> None:
        self.olm.arrived.difference_update(sessions)

    async def import_keys(self, file: Path, passphrase: str) -> Imported:
        """Import room keys that another client exported, as far as they are valid.

        Raises ConfigError if the file can't be read with this passphrase.
        """
        export = await asyncio.to_thread(key_export.read, file, passphrase)
        rooms = await self.olm.rooms_of_sessions()
        sessions, new, known, refused = set(), 0, 0, list(export.refused)
        entries = list(export.sessions.items())
        for start in range(0, len(entries), IMPORTED_AT_ONCE):
            with self.olm.store.database.atomic():
                for number, session in entries[start : start + IMPORTED_AT_ONCE]:
                    try:
                        if rooms.setdefault(session.id, session.room_id) != session.room_id:
                            raise RefusedError("the known key of this session is of another room")
                        if self.olm.add(session):
                            sessions.add(SessionId(session.id))
                            new += 1
                        else:
                            known += 1
                    except RefusedError as error:
                        refused.append(Refusal(number, f"session {session.id}, room {session.room_id}", str(error)))
            await asyncio.sleep(0)
        self._unsettled = True
        await self.settle()
        return Imported(frozenset(sessions), new, known, tuple(sorted(refused, key=lambda refusal: refusal.number)))

    # ---- owners of keys

    def devices_changed(self) -> None:
        """Forget the owners of keys after a query for devices; the next use looks them up again."""
        self._owners = None

    def owner(self, session: Any) -> UserId | None:
        """Find the user whose device made this session; None if unknown."""
        if session.sender_key == self.olm.account.identity_keys["curve25519"]:
            return UserId(self.olm.user_id)
        if self._owners is None:
            devices = self.olm.device_store
            self._owners = {(device.curve25519, device.ed25519): UserId(device.user_id) for device in devices}
        pair = (session.sender_key, session.ed25519)
        return self._owners.get(pair) or self._olm_senders.get(pair)

    # ---- decrypting

    def hear(self, room_id: RoomId, event: Json, *, history: bool = False) -> HeardEvent | None:
        """Read a raw event, decrypted if its key is there. None if it has no id that is one, or is nested too deep."""
        event_id = event.get("event_id")
        if not isinstance(event_id, str) or not event_id or not facts.is_id(event_id):
            return None
        if nesting.is_too_deep(event):
            log.info("event ignored: nested too deep: room=%s", room_id)
            return None
        heard = HeardEvent(room_id, EventId(event_id), event, history=history, received_at=self._clock())
        content = event.get("content")
        if event.get("type") != ENCRYPTED or "state_key" in event or not isinstance(content, dict) or not content:
            return heard
        relation = content.get("m.relates_to")
        session_id = content.get("session_id")
        sealed = replace(
            heard,
            encrypted=True,
            clear_relation=relation if isinstance(relation, dict) else None,
            session_id=SessionId(session_id if isinstance(session_id, str) and facts.is_id(session_id) else ""),
        )
        return self.open_sealed(sealed) or sealed

    async def hear_all(
        self, room_id: RoomId, events: Sequence[Json], *, history: bool = False
    ) -> tuple[HeardEvent, ...]:
        """Read many events in their order, with turns for other tasks."""
        heard = []
        for number, event in enumerate(events):
            readable = self.hear(room_id, event, history=history)
            if readable is not None:
                heard.append(readable)
            if number % HEARD_AT_ONCE == HEARD_AT_ONCE - 1:
                await asyncio.sleep(0)
        return tuple(heard)

    def open_sealed(self, sealed: HeardEvent) -> HeardEvent | None:
        """Decrypt an event; None while its key is missing. Blocks for less than a millisecond.

        An event whose key came from an export counts as history: exports open the past, and their author can have
        made the keys in anybody's name.
        """
        return self._decrypt(sealed) if self._olm is not None and sealed.session_id else None

    def _decrypt(self, sealed: HeardEvent) -> HeardEvent | None:
        wrapper = sealed.event
        sender, content = wrapper.get("sender"), wrapper["content"]
        ciphertext, session_id = content.get("ciphertext"), sealed.session_id
        if content.get("algorithm") != MEGOLM or not isinstance(ciphertext, str) or not isinstance(sender, str):
            return None
        session = self.olm.find(sealed.room_id, session_id)
        owner = self.owner(session) if session is not None else None
        if owner is None:
            self.olm.users_for_key_query.add(sender)  # tells whose key it is, and heals a broken Olm session
        if session is None:
            return None
        if owner not in (None, sender):
            log.warning("event refused: the key is another user's: room=%s event=%s", sealed.room_id, sealed.event_id)
            return None
        try:
            plaintext, index = session.decrypt(ciphertext)
            payload = json.loads(plaintext)
        except (ValueError, RecursionError):  # vodozemac's errors, bad UTF-8 and bad JSON are all ValueErrors
            log.info("event not decrypted: its key does not fit: room=%s event=%s", sealed.room_id, sealed.event_id)
            return None
        if isinstance(payload, dict) and payload.get("room_id", sealed.room_id) != sealed.room_id:
            log.warning("event refused: encrypted for another room: room=%s event=%s", sealed.room_id, sealed.event_id)
            return None
        return replace(
            sealed,
            event=_clear_event(wrapper, payload),
            session_id=None,
            history=sealed.history or bool(session.forwarding_chain),
            message=Message(SessionId(str(session_id)), index),
        )


def _clear_event(wrapper: Json, payload: Any) -> dict[str, Any]:
    """Build the event as if it had come in clear: type and content from the payload, the rest from the wrapper."""
    kept = ("event_id", "sender", "origin_server_ts", "unsigned", STICKY_FIELD)
    clear = {key: wrapper[key] for key in kept if key in wrapper}
    inner = payload if isinstance(payload, dict) and not nesting.is_too_deep(payload) else {}
    kind, content = inner.get("type"), inner.get("content")
    clear["type"] = kind if isinstance(kind, str) else ENCRYPTED
    clear["content"] = dict(content) if isinstance(content, dict) else {}
    encrypted_ts, clear_ts = inner.get("origin_server_ts"), clear.get("origin_server_ts")
    if type(encrypted_ts) is int and type(clear_ts) is int:  # a client may make its event older, never newer
        clear["origin_server_ts"] = min(encrypted_ts, clear_ts)
    relation = wrapper["content"].get("m.relates_to")
    if "m.relates_to" not in clear["content"] and relation is not None:
        clear["content"]["m.relates_to"] = relation  # Android and iOS leave it out of the ciphertext
    return clear
