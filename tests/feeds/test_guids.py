"""Permanent identifiers of podcasts, episodes and streams."""

from bot.feeds.guids import episode_guid, podcast_guid, stream_guid
from storage.records import EventId


def test_the_guid_of_a_podcast_is_the_one_of_the_podcast_namespace() -> None:
    """The GUID of a feed is what the podcast namespace's own example says, whatever the scheme, without a slash."""
    assert podcast_guid("https://podnews.net/rss") == "9b024349-ccf0-5f69-a609-6b82873eab3c"
    assert podcast_guid("http://podnews.net/rss/") == "9b024349-ccf0-5f69-a609-6b82873eab3c"


def test_episodes_keep_the_guids_that_were_published() -> None:
    """An episode's GUID is computed as ever; its live stream has another."""
    event = EventId("$started")
    assert episode_guid(event) == "urn:uuid:425232da-2987-5499-a41f-54811419e846"
    assert stream_guid(event) != episode_guid(event) != episode_guid(EventId("$other"))
