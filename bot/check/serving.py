"""Rules for how a feed is served: HEAD, compression, conditional requests, CORS, robots. Pure."""

from collections.abc import Iterator, Mapping
from urllib.robotparser import RobotFileParser

from bot.check.answers import Answer, Fetched
from bot.check.finding import Finding, Problem, judged, tripped
from bot.language import _

SMALL_BYTES = 2048
"""The size of a feed below which compression saves nothing."""
CRAWLERS = ("iTMS", "Spotify", "*")
_SAME = {"content-length": True, "content-type": True, "etag": False, "last-modified": False}
"""Headers that HEAD and GET share; whether a difference is refused."""


def differences(head: Fetched, got: Answer) -> Iterator[Problem]:
    """Find where HEAD and GET of the same file differ."""
    if not isinstance(head, Answer):
        yield Problem(_("HEAD is not answered: Apple refuses the feed"))
    elif head.status != got.status:
        yield Problem(_("HEAD is answered with {status}: Apple refuses the feed").format(status=head.status))
    else:
        for name, refused in _SAME.items():
            if head.headers.get(name) != got.headers.get(name):
                yield Problem(_("HEAD and GET differ in `{header}`").format(header=name), refused=refused)


def judge_compression(plain: Answer, packed: Fetched, unpacked: bytes | None) -> Iterator[Finding]:
    """Judge the answer to a request that takes gzip; `unpacked` is its body."""
    problems = []
    if not isinstance(packed, Answer) or packed.headers.get("content-encoding", "").lower() != "gzip":
        if len(plain.body) >= SMALL_BYTES:
            problems.append(tripped(_("the feed is not compressed: every poll costs the whole feed")))
    elif unpacked != plain.body:
        problems.append(Problem(_("the compressed feed is another than the plain one")))
    elif "accept-encoding" not in packed.headers.get("vary", "").lower() and packed.headers.get("vary") != "*":
        problems.append(tripped(_("`Vary: Accept-Encoding` is missing: a cache may send gzip to who can't read it")))
    yield from judged(_("compression"), problems, "gzip")


def judge_conditions(plain: Answer, by_tag: Fetched | None, by_date: Fetched | None) -> Iterator[Finding]:
    """Judge the answers to requests that hold the feed's own validators; None: it has none."""
    problems = []
    if by_tag is None:
        problems.append(tripped(_("the feed has no `ETag`: every poll downloads all of it")))
    elif not _not_modified(by_tag):
        problems.append(tripped(_("an unchanged feed is sent again to who has its `ETag`")))
    if by_date is not None and not _not_modified(by_date):
        problems.append(tripped(_("an unchanged feed is sent again to who has its `Last-Modified`")))
    yield from judged(_("unchanged feed"), problems, "304")


def _not_modified(fetched: Fetched) -> bool:
    return isinstance(fetched, Answer) and fetched.status == 304


def judge_cors(answers: Mapping[str, Answer]) -> Iterator[Finding]:
    """Judge whether players in other sites' pages may read what is public; `answers` by what they are of."""
    closed = [what for what, answer in answers.items() if answer.headers.get("access-control-allow-origin") != "*"]
    text = _("players in web pages can't read: {what} (`Access-Control-Allow-Origin` is missing)")
    problems = [tripped(text.format(what=", ".join(closed)))] if closed else []
    yield from judged(_("web players"), problems, _("may read feed, sound and chapters"))


def judge_robots(feed: Answer, robots: Fetched | None, address: str, *, private: bool) -> Iterator[Finding]:
    """Judge what search engines and directories are told; `robots`: the answer for robots.txt, None where that of this
    host is not ours."""
    refused = _refused(robots, address)
    hidden = "noindex" in feed.headers.get("x-robots-tag", "").lower()
    problems = []
    if private:
        if not hidden:
            problems.append(Problem(_("`X-Robots-Tag: noindex` is missing: a search engine may list a private feed")))
        fine = _("kept away")
    else:
        if hidden:
            problems.append(tripped(_("`X-Robots-Tag: noindex` hides the public feed from search engines")))
        if refused:
            problems.append(Problem(_("robots.txt refuses the feed to {crawlers}").format(crawlers=", ".join(refused))))
        fine = _("welcome")
    yield from judged(_("robots"), problems, fine)


def _refused(robots: Fetched | None, address: str) -> list[str]:
    """Return the crawlers that robots.txt keeps from an address."""
    if not isinstance(robots, Answer) or robots.status != 200:
        return []
    rules = RobotFileParser()
    rules.parse(robots.body.decode("utf-8", "replace").splitlines())
    return [crawler for crawler in CRAWLERS if not rules.can_fetch(crawler, address)]
