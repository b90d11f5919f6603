"""Rules for what a feed says, without a server: each fault is found alone."""

import pytest

from bot.check.artwork import PictureHeader, read_picture
from bot.check.channel import judge_channel
from bot.check.feed_document import FeedDocument, read_feed
from bot.check.finding import Finding, Level
from bot.check.frames import FrameCount
from bot.check.items import judge_items
from bot.check.reach import judge_address
from bot.check.report import MOST_LINES, report
from tests.check.site import NOW, Site, jpeg, mp3, png

ADDRESS = "https://pod.example/r/k/feed.xml"


def feed_with(old: str = "", new: str = "", episodes: int = 2) -> FeedDocument:
    """Read the good feed with a text in it replaced."""
    site = Site(episodes)
    site.base = "https://pod.example"
    site.write()
    if old:
        site.change(old, new)
    feed = read_feed(site.files["/r/k/feed.xml"][0])
    assert feed is not None
    return feed


def judged(feed: FeedDocument, *, private: bool = False) -> list[Finding]:
    return [
        *judge_channel(feed, ADDRESS, private=private),
        *judge_items([feed], "https", NOW, private=private),
    ]


def bad(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(str(finding.level), finding.subject) for finding in findings if finding.level is not Level.OK]


LONG = "x" * 5000
MOVED = "<itunes:new-feed-url>https://new.example</itunes:new-feed-url>"
LAW = '<itunes:category text="Law"/>'
CHANNEL = [
    ("<itunes:email>kitchen@pod.example</itunes:email>", "", "FAIL", "owner e-mail"),
    ("kitchen@pod.example", "kitchen", "FAIL", "owner e-mail"),
    ("<itunes:author>Kitchen radio</itunes:author>", "", "FAIL", "author"),
    ("<itunes:author>Kitchen radio", f"<itunes:author>{LONG}", "warn", "author"),
    ("<title>Kitchen radio</title>", "<title> </title>", "FAIL", "title"),
    ("<title>Kitchen radio", f"<title>{LONG}", "warn", "title"),
    ("<description>What was said in the kitchen.</description>", "", "FAIL", "title"),
    ("What was said in the kitchen.", LONG, "warn", "title"),
    ("<link>https://pod.example/r/k/</link>", "", "FAIL", "title"),
    ('<itunes:category text="Society &amp; Culture"/>', "", "FAIL", "category"),
    ("Society &amp; Culture", "Society", "FAIL", "category"),
    ('text="Society &amp; Culture"/>', f'text="Arts">{LAW}</itunes:category>', "FAIL", "category"),
    ("<language>en</language>", "", "FAIL", "language"),
    ("<language>en<", "<language>English<", "FAIL", "language"),
    ("<itunes:explicit>false<", "<itunes:explicit>no<", "FAIL", "explicit"),
    ("<itunes:explicit>false</itunes:explicit>", "", "FAIL", "explicit"),
    ("episodic", "sometimes", "warn", "explicit"),
    ('rel="self"', 'rel="alternate"', "FAIL", "own address"),
    ('<atom:link href="https://pod.example', '<atom:link href="http://pod.example', "FAIL", "own address"),
    ("<podcast:guid>", f"{MOVED}<podcast:guid>", "warn", "own address"),
    ("<podcast:guid>", "<itunes:block>Yes</itunes:block><podcast:guid>", "FAIL", "listing"),
    ("<podcast:guid>", "<podcast:block>yes</podcast:block><podcast:guid>", "FAIL", "listing"),
    ("<podcast:guid>9b024349-ccf0-5f69-a609-6b82873eab3c</podcast:guid>", "", "warn", "listing"),
    ("<podcast:locked>yes", "<podcast:locked>maybe", "warn", "listing"),
]  # fmt: skip
ITEMS = [
    ("<title>Episode 2</title>", "", "FAIL", "titles"),
    ("<title>Episode 2", f"<title>{LONG[:300]}", "warn", "titles"),
    ("Some words.", LONG, "warn", "titles"),
    ('<guid isPermaLink="false">guid-2</guid>', "", "FAIL", "GUIDs"),
    (">guid-2<", ">guid-1<", "FAIL", "GUIDs"),
    ('<guid isPermaLink="false">guid-2', "<guid>guid-2", "warn", "GUIDs"),
    ("<pubDate>Fri, 20 Nov 2026 02:05:00 +0000</pubDate>", "", "FAIL", "dates"),
    ("<pubDate>Fri, 20 Nov 2026 02", "<pubDate>Thu, 20 Nov 2026 02", "FAIL", "dates"),
    ("Fri, 20 Nov 2026 02:05:00 +0000", "2026-11-20T02:05:00Z", "FAIL", "dates"),
    ("Fri, 20 Nov 2026 02", "Tue, 01 Dec 2026 02", "FAIL", "dates"),
    ("Fri, 20 Nov 2026 02", "Thu, 19 Nov 2026 02", "warn", "dates"),
    ('<enclosure url="https://pod.example/r/k/2.mp3" length="{}" type="audio/mpeg"/>', "", "FAIL", "enclosures"),
    ('type="audio/mpeg"/>', 'type="audio/mpeg"/><enclosure url="x" length="1"/>', "FAIL", "enclosures"),
    ("/2.mp3", "/2é.mp3", "FAIL", "enclosures"),
    ('url="https://pod.example/r/k/2.mp3', 'url="2.mp3', "FAIL", "enclosures"),
    ('url="https://pod.example/r/k/2.mp3', 'url="http://pod.example/r/k/2.mp3', "FAIL", "enclosures"),
    ("/2.mp3", "/2.opus", "FAIL", "enclosures"),
    ("/2.mp3", "/2?file=2.mp3", "FAIL", "enclosures"),
    ('type="audio/mpeg"', 'type="audio/ogg"', "FAIL", "enclosures"),
    ('length="{}"', 'length="0"', "FAIL", "enclosures"),
    ('length="{}"', 'length="30.5"', "FAIL", "enclosures"),
    ("<itunes:duration>30<", "<itunes:duration>30.5<", "warn", "durations"),
    ("<itunes:duration>30<", "<itunes:duration>0:30<", "warn", "durations"),
]  # fmt: skip


def test_a_good_feed_breaks_no_rule() -> None:
    """All others here are made of it."""
    assert bad(judged(feed_with())) == []


@pytest.mark.parametrize(("old", "new", "level", "subject"), [*CHANNEL, *ITEMS])
def test_a_fault_of_the_feed_is_found(old: str, new: str, level: str, subject: str) -> None:
    """Each is named with its level, and nothing else is."""
    findings = judged(feed_with(old.replace("{}", str(len(mp3()))), new.replace("{}", str(len(mp3())))))
    assert bad(findings) == [(level, subject)]


def test_a_podcast_without_an_episode_is_refused_by_directories() -> None:
    """A private one waits for its first."""
    assert ("FAIL", "episodes") in bad(judged(feed_with(episodes=0)))
    assert ("warn", "episodes") in bad(judged(feed_with(episodes=0), private=True))


def test_a_fault_of_many_episodes_is_told_once() -> None:
    """With the number of them, and the first."""
    texts = [finding.text for finding in judged(feed_with("<itunes:duration>30<", "<itunes:duration>x<", episodes=7))]
    assert "7 episodes, the first “Episode 7”: the duration is missing or is not in whole seconds" in texts


def test_titles_of_strangers_are_shown_harmless() -> None:
    """Whoever answers at the address writes them."""
    evil = "<title>@room &#10;\u202eEpisode"
    texts = [finding.text for finding in judged(feed_with("<title>Episode", evil)) if finding.level is not Level.OK]
    assert texts == []
    feed = feed_with("<title>Episode 2", f"{evil}{LONG[:300]}")
    (text,) = [finding.text for finding in judged(feed) if finding.level is not Level.OK]
    assert "@room" not in text
    assert "\u202e" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("base", "level"),
    [
        ("https://pod.example", Level.OK),
        ("http://pod.example", Level.WARN),
        ("http://localhost:8040", Level.WARN),
        ("https://10.1.2.3", Level.WARN),
        ("https://nas.local", Level.WARN),
        ("https://nas", Level.WARN),
    ],
)
def test_an_address_that_strangers_do_not_reach_is_told(base: str, level: Level) -> None:
    """Plain http is told too."""
    assert [finding.level for finding in judge_address(base)] == [level]


@pytest.mark.parametrize("piece", [7, 1000, 10**6])
def test_frames_are_counted_whatever_pieces_they_come_in(piece: int) -> None:
    """Tags, the frame that describes the file, and damage hold no sound."""
    data = mp3(30) + b"TAG" + bytes(125)
    count = FrameCount()
    for at in range(0, len(data), piece):
        count.take(data[at : at + piece])
    assert (count.frames, count.constant, count.stray) == (1251, True, 0)
    assert count.seconds == pytest.approx(30.0, abs=0.05)
    assert count.rate == pytest.approx(8000)


def test_what_is_no_mp3_is_known_soon() -> None:
    """Noise has no frames that count; zeros have none at all."""
    count = FrameCount()
    for _ in range(100):
        count.take(bytes(4096))
    assert not count.is_mp3


def test_pictures_are_read_from_their_headers() -> None:
    """A header that is cut off is no picture."""
    assert read_picture(png(2, 3)) == PictureHeader("image/png", 2, 3, 3)
    assert read_picture(jpeg(2, 3)) == PictureHeader("image/jpeg", 2, 3, 3)
    assert read_picture(jpeg(2, 3)[:12]) is None
    assert read_picture(png()[:20]) is None
    assert read_picture(b"\xff\xd8" + b"\xff" * 50) is None
    assert read_picture(b"") is None


def test_what_is_no_feed_is_none() -> None:
    """Neither a page nor another kind of feed."""
    assert read_feed(b"<html/>") is None
    assert read_feed(b"") is None
    assert read_feed(b"<rss/>") is None
    assert read_feed(b"<feed xmlns='http://www.w3.org/2005/Atom'/>") is None


def test_a_report_names_the_worst_first_and_is_short() -> None:
    """Its last line names the fine rest."""
    warnings = [Finding(Level.WARN, f"w{number}", "text") for number in range(30)]
    lines = report([*warnings, Finding(Level.OK, "clock", ""), Finding(Level.FAIL, "artwork", "missing")]).split("\n")
    assert len(lines) == MOST_LINES
    assert lines[0].endswith("1 thing is refused; 30 things do not work as they should.")
    assert lines[1] == "• ❌ artwork: missing"
    assert lines[2] == "• ⚠️ w0: text"
    assert lines[-2] == "• 14 more; `aircheck check --feed` lists all"
    assert lines[-1] == "Fine: clock."
    assert "as it is" in report([Finding(Level.OK, "clock", "")])
