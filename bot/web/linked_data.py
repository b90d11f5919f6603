"""A public episode as search engines read it: PodcastEpisode of schema.org, in JSON-LD. Pure."""

from bot.feeds.addresses import Shelf
from storage.records import SAMPLE_RATE, Episode, Recording


def linked_data(
    recording: Recording, episode: Episode, title: str, summary: str, podcast: str, shelf: Shelf, cover: str
) -> dict[str, object]:
    """Describe an episode. `cover`: the file name of its picture."""
    audio = {
        "@type": "AudioObject",
        "contentUrl": shelf.audio(recording.code),
        "encodingFormat": "audio/mpeg",
        "contentSize": str(episode.bytes),
        "duration": iso_duration(round(episode.samples / SAMPLE_RATE)),
    }
    return {
        "@context": "https://schema.org",
        "@type": "PodcastEpisode",
        "url": shelf.episode(recording.code),
        "name": title,
        "description": summary,
        "datePublished": recording.started_at.isoformat(timespec="seconds"),
        "timeRequired": audio["duration"],
        "episodeNumber": recording.number,
        "image": shelf.cover(cover),
        "associatedMedia": audio,
        "partOfSeries": {"@type": "PodcastSeries", "name": podcast, "url": shelf.page, "webFeed": shelf.feed},
    }


def iso_duration(seconds: int) -> str:
    """Write a length as ISO 8601 does: `PT1H2M3S`."""
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    parts = [(hours, "H"), (minutes, "M"), (seconds % 60, "S")]
    return "PT" + ("".join(f"{count}{unit}" for count, unit in parts if count) or "0S")
