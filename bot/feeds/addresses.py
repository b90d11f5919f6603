"""The addresses that the bot gives out, and the tokens in the personal ones. Pure.

Two families stand side by side: `/r/<random room key>/…` for the public, `/p/<token>/…` for one member of one
room. Addresses never change: podcast apps know an episode by its address as well as by its GUID. `base` is
`web.public_url`, without a slash at its end. Beside them `/studio/<token>/…` is for one broadcast of one member.
"""

import hmac
import re
from base64 import b32encode
from dataclasses import dataclass
from hashlib import sha256

from storage.records import RoomId, Studio, UserId

PLACEHOLDER = "\ue000"
"""Place-holder for the listener's token in a feed that is rendered once for all. A private-use character: `clean_text`
removes those from everything that people write, so nobody can put one into a title."""

TOKEN = re.compile(r"[a-z2-7]{52}")
"""256 bits in base32."""
ROOM_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
CODE = re.compile(r"[a-z]{6}")


def token_for(secret: bytes, room_id: RoomId, user_id: UserId, generation: int) -> str:
    """Compute the token of one member of one room: always the same for the same generation, with nothing stored.

    Raises ValueError for a secret of less than 32 bytes.
    """
    # With the lengths in it no two triples make the same message, whatever other servers put into their ids.
    return _token(secret, f"{len(room_id)}:{room_id}{len(user_id)}:{user_id}{generation}")


def studio_token(secret: bytes, studio: Studio) -> str:
    """Compute the token of a studio, from its random key: always the same, with nothing stored.

    Raises ValueError for a secret of less than 32 bytes.
    """
    # A listener's message begins with a digit, so that no studio has a listener's token.
    return _token(secret, f"studio:{studio.key}")


def studio_page(base: str, token: str) -> str:
    """Return the address of a studio's page, under which its requests go too; it ends in a slash."""
    return f"{base}/studio/{token}/"


def _token(secret: bytes, message: str) -> str:
    if len(secret) < 32:
        raise ValueError("the secret of the personal addresses is shorter than 32 bytes")
    digest = hmac.digest(secret, message.encode("utf-8", "surrogatepass"), "sha256")
    return b32encode(digest).decode().rstrip("=").lower()


def look_up_hash(token: str) -> str:
    """Return the hash by which the archive finds a token, in lower-case hex. The token can't be computed from it."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Shelf:
    """The addresses of one room in one family; `root` ends in a slash."""

    root: str

    @property
    def page(self) -> str:
        return self.root

    @property
    def feed(self) -> str:
        return f"{self.root}feed.xml"

    def feed_page(self, number: int) -> str:
        """Return a page of the feed (RFC 5005); the first is the feed itself."""
        return self.feed if number == 1 else f"{self.root}feed-{number}.xml"

    def archive(self, part: int, block: int) -> str:
        """Return an archive document of the feed (RFC 5005 section 4): a block of recordings by their numbers, in a
        part of the line of rooms, as `bot.web.episodes` numbers them, so that the address holds the same for ever."""
        return f"{self.root}feed-{part}-{block}.xml"

    def speaker_feed(self, speaker: str) -> str:
        """Return the feed of one speaker of a public room; `speaker` is no MXID, and none can be computed from it."""
        return f"{self.root}speaker-{speaker}.xml"

    def episode(self, code: str) -> str:
        return f"{self.root}{code}"

    def audio(self, code: str) -> str:
        return f"{self.root}{code}.mp3"

    def opus(self, code: str) -> str:
        """Return the address of the original sound, where it is one Ogg Opus stream."""
        return f"{self.root}{code}.opus"

    def stem(self, code: str, number: int) -> str:
        """Return the address of the sound of one device in a call."""
        return f"{self.root}{code}.stem-{number}.ogg"

    def playlist(self, code: str) -> str:
        """Return the HLS playlist of what is on the air."""
        return f"{self.root}{code}.m3u8"

    def stream(self, code: str) -> str:
        """Return the endless MP3 of what is on the air."""
        return f"{self.root}{code}-live.mp3"

    def embed(self, code: str) -> str:
        """Return the page of a player for other sites' pages."""
        return f"{self.root}{code}.embed"

    def chapters(self, code: str) -> str:
        """Return the address of the JSON chapters."""
        return f"{self.root}{code}.chapters.json"

    def cover(self, name: str) -> str:
        """Return the address of the picture. Its name holds a hash: apps keep a picture for as long as its address."""
        return f"{self.root}{name}"

    def portrait(self, digest: str) -> str:
        """Return the address of a speaker's picture; `digest` is its SHA-256, of which the beginning is taken."""
        return f"{self.root}portrait-{digest[:16]}.jpg"


def public_shelf(base: str, room_key: str) -> Shelf:
    return Shelf(f"{base}/r/{room_key}/")


def personal_shelf(base: str, token: str) -> Shelf:
    return Shelf(f"{base}/p/{token}/")
