"""A feed's items, made of records."""

from dataclasses import replace

import pytest

from bot.feeds.addresses import personal_shelf, public_shelf
from bot.feeds.catalog import item_of
from bot.feeds.rss import render
from bot.settings import FeedsSettings
from storage.records import (
    BlobKey,
    Credit,
    DurationMs,
    EndedBy,
    Episode,
    Loss,
    Mark,
    RecordingId,
    RecordingState,
    Samples,
    UserId,
    to_samples,
)
from tests.feeds.samples import BASE, channel
from tests.recording.world import NOON, recording

TWO_MINUTES = Loss(to_samples(120_000), 1, ((to_samples(845_000), to_samples(120_000)),))
ITEM_OF_A_BROADCAST = (
    "<title>Ann &amp; Ben, 20 November 2026, 12:00</title><link>https://pods.example.org/r/key/kfmtra</link>"
    "<description><![CDATA[<p>Ann &amp; Ben, 20 November 2026, 12:00. 15 min. Complete.</p>]]></description>"
    '<guid isPermaLink="false">guid</guid>'
    '<enclosure url="https://pods.example.org/r/key/kfmtra.mp3" length="9" type="audio/mpeg"/>'
    "<pubDate>Fri, 20 Nov 2026 12:00:00 +0000</pubDate><itunes:author>Ann &amp; Ben</itunes:author>"
    "<itunes:duration>900</itunes:duration><itunes:episode>1</itunes:episode><itunes:episodeType>full"
    "</itunes:episodeType><itunes:explicit>false</itunes:explicit>"
    '<podcast:person role="host">Ann &amp; Ben</podcast:person>'
)


def notes(state: RecordingState, loss: Loss, description: str | None = None) -> str:
    """Return the show notes of an episode that was made with this loss."""
    made = Episode(RecordingId(1), "guid", BlobKey("ab"), 9, to_samples(900_000), NOON, loss=loss)
    said = replace(recording(), state=state, ended_by=EndedBy.STOPPED, description=description)
    return item_of((said, made), FeedsSettings(), public_shelf(BASE, "key"), explicit=False).description


def test_what_is_missing_is_the_first_line() -> None:
    """Show notes begin with what is missing; then comes the description."""
    told = notes(RecordingState.INCOMPLETE, TWO_MINUTES, "About soup.\nAnd bread.")
    assert told == "2 min missing at 14:05\n\nAbout soup.\nAnd bread."
    assert notes(RecordingState.INCOMPLETE, TWO_MINUTES).splitlines()[0] == "2 min missing at 14:05"


def test_a_long_description_does_not_push_it_out() -> None:
    """A long description does not push what is missing out of the feed."""
    told = notes(RecordingState.INCOMPLETE, TWO_MINUTES, "ä" * 9000)
    one = item_of(
        (recording(), Episode(RecordingId(1), "guid", BlobKey("ab"), 9, Samples(1), NOON)),
        FeedsSettings(),
        public_shelf(BASE, "key"),
        explicit=False,
    )
    assert b"<![CDATA[<p>2 min missing at 14:05</p><p>" in render(channel(), [replace(one, description=told)])


def test_a_whole_one_says_nothing_of_it() -> None:
    """A complete episode mentions nothing missing."""
    assert notes(RecordingState.COMPLETE, Loss(), "About soup.") == "About soup."
    assert notes(RecordingState.COMPLETE, Loss()).endswith("Complete.")


@pytest.mark.parametrize("loss", [TWO_MINUTES, Loss()])
def test_while_late_sound_is_joined_in_the_notes_are_those_of_the_file(loss: Loss) -> None:
    """While late audio is added the notes describe the file that is served, and do not call it complete."""
    told = notes(RecordingState.FINISHING, loss)
    assert told.startswith("2 min missing at 14:05\n") is bool(loss.gaps)
    assert "Complete" not in told


def test_an_item_has_chapters_when_its_file_has() -> None:
    """An item names its chapters, in its own family, when the file has some."""
    made = Episode(RecordingId(1), "guid", BlobKey("ab"), 9, Samples(9), NOON)
    marked = replace(made, chapters=(Mark(DurationMs(0), "Beginning"),))
    shelf = personal_shelf(BASE, "token")
    assert item_of((recording(), made), FeedsSettings(), shelf, explicit=False).chapters is None
    assert (
        item_of((recording(), marked), FeedsSettings(), shelf, explicit=False).chapters
        == f"{BASE}/p/token/kfmtra.chapters.json"
    )


def test_an_item_names_all_speakers() -> None:
    """An episode of several speakers has all of them as persons, its author in one line, no MXID anywhere."""
    heard = tuple(Credit(UserId(f"@{name}:hs"), name) for name in ("Ann", "Ben", "Cem", "Dora", "@eva:hs"))
    made = Episode(RecordingId(1), "guid", BlobKey("ab"), 9, to_samples(900_000), NOON)
    said = replace(recording(), broadcaster_name="Ann", speakers=heard, state=RecordingState.COMPLETE)
    one = item_of((said, made), FeedsSettings(), public_shelf(BASE, "key"), explicit=False)
    xml = render(channel(), [one]).decode()
    assert xml.count('<podcast:person role="co-host">') == 4
    assert '<podcast:person role="host">Ann</podcast:person>' in xml
    assert "<itunes:author>Ann, Ben and 3 others</itunes:author>" in xml
    assert "<p>Ann, Ben and 3 others, 20 November 2026" in xml
    assert ":hs" not in xml


def test_an_item_of_a_broadcast_stays_the_same() -> None:
    """The item of a broadcast is byte for byte what earlier versions wrote: podcast apps would load it again."""
    made = Episode(RecordingId(1), "guid", BlobKey("ab"), 9, to_samples(900_000), NOON)
    said = replace(recording(), broadcaster_name="Ann & Ben", state=RecordingState.COMPLETE)
    one = item_of((said, made), FeedsSettings(), public_shelf(BASE, "key"), explicit=False)
    item = render(channel(), [one]).decode().partition("<item>")[2].partition("</item>")[0]
    assert item == ITEM_OF_A_BROADCAST
