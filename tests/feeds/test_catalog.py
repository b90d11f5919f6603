"""A feed's items, made of records."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.feeds.addresses import personal_shelf, public_shelf
from bot.feeds.catalog import Face, channel_of, frequency, item_of, live_item_of, live_status
from bot.feeds.guids import episode_guid
from bot.feeds.model import LiveStatus, Paging
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
    Original,
    PodcastTexts,
    Position,
    RecordingId,
    RecordingState,
    Samples,
    Stem,
    UserId,
    to_samples,
)
from tests.factories import a_room
from tests.feeds.samples import BASE, channel
from tests.recording.world import NOON, recording

TWO_MINUTES = Loss(to_samples(120_000), 1, ((to_samples(845_000), to_samples(120_000)),))
ITEM_OF_A_BROADCAST = (
    "<title>Ann &amp; Ben, 20 November 2026, 12:00</title><link>https://pods.example.org/r/key/kfmtra</link>"
    "<description><![CDATA[<p>Ann &amp; Ben, 20 November 2026, 12:00. 15 min. Complete.</p>]]></description>"
    "<content:encoded><![CDATA[<p>Ann &amp; Ben, 20 November 2026, 12:00. 15 min. Complete.</p>]]></content:encoded>"
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
    """The item of a broadcast stays byte for byte, but for `content:encoded`, what earlier versions wrote."""
    made = Episode(RecordingId(1), "guid", BlobKey("ab"), 9, to_samples(900_000), NOON)
    said = replace(recording(), broadcaster_name="Ann & Ben", state=RecordingState.COMPLETE)
    one = item_of((said, made), FeedsSettings(), public_shelf(BASE, "key"), explicit=False)
    item = render(channel(), [one]).decode().partition("<item>")[2].partition("</item>")[0]
    assert item == ITEM_OF_A_BROADCAST


HEBREW = "\u05d3\u05e0\u05d4"
MADE = Episode(RecordingId(1), "guid", BlobKey("ab"), 9, to_samples(900_000), NOON, fingerprint="f")
SHELF = public_shelf(BASE, "key")


def test_a_name_from_right_to_left_leaves_the_date_alone() -> None:
    """The date beside a Hebrew name stands outside of the isolate that holds the name, in title and notes."""
    said = replace(recording(), broadcaster_name=HEBREW, state=RecordingState.COMPLETE)
    xml = render(channel(), [item_of((said, MADE), FeedsSettings(), SHELF, explicit=False)]).decode()
    assert f"<title>\u2068{HEBREW}\u2069, 20 November 2026, 12:00</title>" in xml
    assert f"<p>\u2068{HEBREW}\u2069, 20 November 2026, 12:00. 15 min. Complete.</p>" in xml
    assert f'<podcast:person role="host">{HEBREW}</podcast:person>' in xml


def test_the_original_is_named_while_the_file_is_of_it() -> None:
    """The original Opus is an alternate enclosure, with its hash, as long as it has the sound of the file."""
    original = Original(RecordingId(1), "f", BlobKey("cd"), 77, "c2hh")
    said = (recording(), MADE)
    (alternate,) = item_of(said, FeedsSettings(), SHELF, explicit=False, original=original).alternates
    assert (alternate.address, alternate.type, alternate.bytes) == (f"{BASE}/r/key/kfmtra.opus", "audio/ogg", 77)
    assert (alternate.codecs, alternate.sha384) == ("opus", "c2hh")
    healed = (recording(), replace(MADE, fingerprint="g"))
    assert item_of(healed, FeedsSettings(), SHELF, explicit=False, original=original).alternates == ()


def test_portraits_stand_beside_the_names_that_have_them() -> None:
    """A speaker's portrait is named by its hash; Somebody has none."""
    heard = tuple(Credit(UserId(f"@{name}:hs"), name) for name in ("Ann", "Ben", "@eva:hs"))
    portraits = {UserId("@Ann:hs"): BlobKey("ab" * 32), UserId("@@eva:hs:hs"): BlobKey("cd" * 32)}
    one = item_of(
        (replace(recording(), speakers=heard), MADE), FeedsSettings(), SHELF, explicit=False, portraits=portraits
    )
    assert [(person.name, person.picture) for person in one.persons] == [
        ("Ann", f"{BASE}/r/key/portrait-{'ab' * 8}.jpg"), ("Ben", None), ("Somebody", None)
    ]  # fmt: skip


def test_nobody_has_the_portrait_of_a_namesake() -> None:
    """Two speakers of one name are two persons where one has a portrait, and one where neither has."""
    said = replace(recording(), speakers=(Credit(UserId("@ann:a"), "Ann"), Credit(UserId("@ann:b"), "Ann")))
    shown = [
        [person.picture for person in one.persons]
        for portraits in ({UserId("@ann:b"): BlobKey("ab" * 32)}, {})
        for one in [item_of((said, MADE), FeedsSettings(), SHELF, explicit=False, portraits=portraits)]
    ]
    assert shown == [[None, f"{BASE}/r/key/portrait-{'ab' * 8}.jpg"], [None]]


def test_each_whole_stem_is_named_where_the_room_wants_it() -> None:
    """With stems each speaker's own sound is an alternate enclosure under the speaker's name; else none is."""
    ann = UserId("@ann:hs")
    whole: dict[str, Any] = {"left": Samples(9), "received": Samples(9), "blob": BlobKey("aa"), "bytes": 5}
    stem = replace(Stem(1, ann, "DEV", "Ann", Samples(0), Position(1), serial=1), **whole)
    said = replace(recording(), stems=(stem, replace(stem, number=2, removed=True)))
    (named,) = item_of((said, MADE), FeedsSettings(), SHELF, explicit=False, stems=True).alternates
    assert (named.address, named.title, named.bytes) == (f"{BASE}/r/key/kfmtra.stem-1.ogg", "Ann alone", 5)
    assert item_of((said, MADE), FeedsSettings(), SHELF, explicit=False).alternates == ()
    lost = item_of((said, MADE), FeedsSettings(), SHELF, explicit=False, stems=True, lost={BlobKey("aa")})
    assert lost.alternates == ()


COMPLETE = {"state": RecordingState.COMPLETE, "ended_at": NOON}
STAGES: dict[str, tuple[dict[str, Any], bool, LiveStatus | None]] = {
    "no sound yet": ({"state": RecordingState.LIVE}, False, LiveStatus.PENDING),
    "on the air": ({"state": RecordingState.LIVE}, True, LiveStatus.LIVE),
    "just ended": (COMPLETE | {"ended_at": NOON - timedelta(minutes=29)}, True, LiveStatus.ENDED),
    "ended long ago": (COMPLETE | {"ended_at": NOON - timedelta(minutes=30)}, True, None),
    "without sound": (COMPLETE, False, None),
    "deleted": (COMPLETE | {"state": RecordingState.DELETED}, True, None),
    "found in the history": (COMPLETE | {"past": True}, True, None),
    "waits for approval": (COMPLETE | {"unreviewed": True}, True, None),
}


@pytest.mark.parametrize("case", STAGES)
def test_stages_of_a_broadcast(case: str) -> None:
    """A broadcast is pending, then live, then ended for half an hour, then no live item at all."""
    changes, has_sound, stage = STAGES[case]
    assert live_status(replace(recording(), **changes), NOON, has_sound=has_sound) is stage


def test_a_live_item_has_a_guid_of_its_own() -> None:
    """The GUID of a stream stays through all its stages, and is not the episode's; the end is told once it is over."""
    over = replace(recording(), ended_at=NOON)
    stages = [
        live_item_of(over, status, FeedsSettings(), SHELF, explicit=False, cover="c.jpg") for status in LiveStatus
    ]
    (guid,) = {item.guid for item in stages}
    assert guid != episode_guid(over.event_id)
    assert [item.ended_at for item in stages] == [None, None, NOON]
    sounds = [f"{BASE}/r/key/kfmtra.m3u8", f"{BASE}/r/key/kfmtra-live.mp3"]
    assert [each.address for each in stages[0].alternates] == sounds


@pytest.mark.parametrize(
    ("pauses_h", "rule"),
    [
        ([24] * 7, "FREQ=DAILY"),
        ([168, 160, 176, 168, 168, 168, 168, 3], "FREQ=WEEKLY"),
        ([168] * 6, None),
        ([168] * 5 + [336, 168], None),
        ([24] * 5 + [2, 24], None),
    ],
)
def test_only_what_was_regular_is_called_so(pauses_h: list[int], rule: str | None) -> None:
    """A feed is daily or weekly if its last eight episodes were; nothing is guessed."""
    began = [NOON]
    for pause in pauses_h:
        began.append(began[-1] - timedelta(hours=pause))
    told = frequency(began)
    assert (told.rule if told else None) == rule


def test_an_archive_says_nothing_of_the_present() -> None:
    """An archive document has no live items and no frequency; the subscription document has them."""
    said = [(replace(recording(), started_at=NOON - timedelta(days=days)), MADE) for days in range(8)]
    running = live_item_of(recording(), LiveStatus.LIVE, FeedsSettings(), SHELF, explicit=False, cover="c.jpg")
    face = Face("Kitchen", None, None, PodcastTexts())
    for paging, present in ((None, True), (Paging(archive=True), False)):
        made = channel_of(
            a_room(), face, FeedsSettings(), SHELF, private=False, cover="c.jpg", built_at=NOON, paging=paging,
            published=said, live=[running],
        )  # fmt: skip
        assert (bool(made.live), made.frequency is not None) == (present, present)
