"""A feed's items, made of records."""

from dataclasses import replace

import pytest

from bot.feeds.addresses import personal_shelf, public_shelf
from bot.feeds.catalog import item_of
from bot.feeds.rss import render
from bot.settings import FeedsSettings
from storage.records import (
    BlobKey,
    DurationMs,
    EndedBy,
    Episode,
    Loss,
    Mark,
    RecordingId,
    RecordingState,
    Samples,
    to_samples,
)
from tests.feeds.samples import BASE, channel
from tests.recording.world import NOON, recording

TWO_MINUTES = Loss(to_samples(120_000), 1, ((to_samples(845_000), to_samples(120_000)),))


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
