"""The speakers of public podcasts: who is heard in what their public feeds list, under ids without user ids."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from bot.feeds.collections import MOST_ITEMS
from bot.feeds.guids import speaker_id
from bot.feeds.mxids import SOMEBODY
from bot.feeds.titles import speaker
from bot.web.access import Access, Family, reaches
from bot.web.caches import CommitCache, OnceCache
from bot.web.episodes import rooms_of
from bot.web.library import key_of
from storage import listings, optouts
from storage.listings import Spoken
from storage.records import RecordingId, RoomId, UserId
from storage.store import Store

CACHED = 50_000


@dataclass(frozen=True, slots=True)
class PublicSpeaker:
    """A speaker of a public podcast."""

    id: str  # in addresses
    user_id: UserId
    name: str  # as in the newest recording
    heard_in: int  # recordings


class Speakers:
    """The speakers of all public podcasts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._speakers: OnceCache[tuple[object, ...], dict[str, PublicSpeaker]] = OnceCache(
            CACHED, lambda speakers: 1 + len(speakers)
        )
        self._out: CommitCache[tuple[RoomId, ...], frozenset[UserId]] = CommitCache(
            lambda: store.database.changes.number
        )

    async def of(self, access: Access) -> dict[str, PublicSpeaker]:
        """Return the speakers of a public podcast by their ids, whoever was heard last first; nobody whose name can't
        be shown, or who opted out. None for a personal address: its listeners know who is in the room."""
        if access.claim.family is not Family.PUBLIC:
            return {}
        secret = await self._store.secret.fresh()
        found = await self._speakers.get((*key_of(access), secret), partial(self._read, access, secret))
        out = await self._out.get(rooms_of(access), partial(self._opted_out, rooms_of(access)))
        return {key: each for key, each in found.items() if each.user_id not in out} if out else found

    async def newest(self, access: Access, speaker: PublicSpeaker) -> tuple[RecordingId, ...]:
        """Return the newest recordings in which a speaker is heard, or was."""
        async with self._store.read() as db:
            return await listings.of_speaker(db, reaches(access), speaker.user_id, MOST_ITEMS)

    async def _read(self, access: Access, secret: bytes) -> dict[str, PublicSpeaker]:
        heard: dict[UserId, list[tuple[Spoken, str]]] = defaultdict(list)
        async with self._store.read() as db:
            async for some in listings.spoken(db, reaches(access)):
                for spoken in some:
                    for credit in spoken.speakers or (spoken.broadcaster,):
                        heard[credit.user_id].append((spoken, speaker(credit.name)))
                await asyncio.sleep(0)
        found: list[tuple[Spoken, PublicSpeaker]] = []
        for user_id, named in heard.items():
            named.sort(key=_age, reverse=True)
            name = next((name for _, name in named if name != SOMEBODY), None)
            if name is not None:
                key = speaker_id(secret, access.room.key, user_id)
                count = sum(spoken.count for spoken, _ in named)
                found.append((named[0][0], PublicSpeaker(key, user_id, name, count)))
        found.sort(key=lambda each: (*_age(each), each[1].id), reverse=True)
        return {each.id: each for _, each in found}

    async def _opted_out(self, room_ids: tuple[RoomId, ...]) -> frozenset[UserId]:
        async with self._store.read() as db:
            last = {word.user_id: word.out for word in await optouts.every(db, room_ids)}
        return frozenset(user_id for user_id, out in last.items() if out)


def _age(spoken: tuple[Spoken, object]) -> tuple[datetime, int]:
    return spoken[0].newest.started_at, spoken[0].newest.recording_id
