"""Permanent identifiers of podcasts, episodes, live streams and speakers. Pure.

Apps know an episode by its GUID: one that changed is a new episode, and is loaded again. So each is computed from what
never changes, or stored when it is first given out.
"""

import hmac
from uuid import NAMESPACE_URL, UUID, uuid5

from storage.records import EventId, UserId

PODCASTS = UUID("ead4c236-bf58-58c6-a2c6-a6b28d128cb6")
"""The podcast namespace's own: https://github.com/Podcastindex-org/podcast-namespace/blob/main/docs/tags/guid.md"""


def podcast_guid(feed: str) -> str:
    """Return the `podcast:guid` of a feed by its address. To be stored: it stays when the address changes."""
    return str(uuid5(PODCASTS, feed.partition("://")[2].rstrip("/")))


def episode_guid(event_id: EventId) -> str:
    """Return the GUID of the episode of a recording, by the event that began it: so one that is found again, as after a
    restored backup, is the same episode."""
    return uuid5(NAMESPACE_URL, f"matrix:{event_id}").urn


def stream_guid(event_id: EventId) -> str:
    """Return the GUID of the live stream of a recording, which is another than its episode's."""
    return uuid5(NAMESPACE_URL, f"matrix:{event_id}#live").urn


def speaker_id(secret: bytes, room_key: str, user_id: UserId) -> str:
    """Return the name of a speaker in the addresses of a podcast: without the secret nobody can compute it of a user
    id, or tell which podcasts somebody speaks in."""
    message = f"speaker {len(room_key)}:{room_key}{user_id}".encode("utf-8", "surrogatepass")
    return hmac.digest(secret, message, "sha256").hex()[:16]


def speaker_guid(podcast: str, speaker: str) -> str:
    """Return the `podcast:guid` of one speaker's feed, by that of the podcast: it stays when addresses change."""
    return str(uuid5(PODCASTS, f"{podcast}/{speaker}"))
