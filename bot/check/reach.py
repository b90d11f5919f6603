"""Rules for whether a stranger reaches the feed at all: name, certificate, redirects, and who answers. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from bot.addresses import is_local, is_within
from bot.check.answers import Answer, Failure, Fetched, Trouble
from bot.check.finding import Finding, Level, Problem, judged, tripped
from bot.language import _, plural

ENDS_SOON = timedelta(days=14)
CLOCKS_DIFFER = timedelta(minutes=2)
MOST_CHARACTERS = 100
RSS = "application/rss+xml"
XML = ("application/xml", "text/xml")


def judge_address(base: str) -> Iterator[Finding]:
    """Judge `web.public_url` as it is written."""
    parts = urlsplit(base)
    host, problems = parts.hostname or "", []
    if is_local(host):
        problems.append(tripped(_("only this machine reaches {address} (`web.public_url`)").format(address=base)))
    elif is_within(host):
        problems.append(tripped(_("only your own network reaches {address} (`web.public_url`)").format(address=base)))
    elif parts.scheme == "http":
        problems.append(
            tripped(
                _("{address} is plain http: iPhones refuse it, and anybody on the way reads it").format(address=base)
            )
        )
    yield from judged(_("address"), problems, base)


def judge_failure(failure: Failure, base: str) -> Iterator[Finding]:
    """Tell why nothing at all is answered."""
    host = urlsplit(base).hostname or ""
    text = {
        Trouble.NAME: _("the name {host} leads nowhere: there is no DNS entry for it"),
        Trouble.REFUSED: _("nobody listens at {address}: does the bot run, or the proxy before it?"),
        Trouble.TIME: _("{address} does not answer in time: a firewall may drop what it is sent"),
        Trouble.CERTIFICATE: _("strangers refuse the certificate of {host}: {why}"),
        Trouble.TLS: _("{host} speaks no TLS: is the port that of plain http?"),
        Trouble.BROKEN: _("{address} ends the connection before it has answered"),
        Trouble.ELSEWHERE: _("the feed does not lie below {address}"),
    }[failure.trouble]
    why = failure.detail or "?"
    yield Finding(Level.FAIL, _("reachable"), text.format(host=host, address=base, why=why[:MOST_CHARACTERS]))


def is_aircheck(health: Fetched) -> bool:
    """Return whether the answer for /healthz is one of Aircheck's."""
    return isinstance(health, Answer) and b'"homeserver_last_heard"' in health.body


def judge_refusal(answer: Answer, base: str, *, ours: bool) -> Iterator[Finding]:
    """Tell why the answer is not the feed. `ours`: whether Aircheck answers at this address."""
    yield Finding(Level.FAIL, _("reachable"), _refusal(answer, ours=ours).format(address=base, status=answer.status))


def _refusal(answer: Answer, *, ours: bool) -> str:
    if answer.is_redirect:
        return _("{address} leads to another server, which was not asked")
    if answer.status == 503 and "retry-after" in answer.headers and ours:
        return _("the rooms were not read yet since the start: try again in a minute")
    if answer.status in (502, 503, 504):
        return _("a proxy answers in place of Aircheck ({status}): it does not reach it")
    if answer.status in (401, 403, 407, 451):
        return _("strangers are refused ({status}): directories have no password")
    if answer.status == 429:
        return _("too many requests are refused (429): try again in a minute")
    if not ours:
        return _("another server answers at {address} ({status}): is `web.public_url` right, or the proxy's path?")
    return _("the feed is answered with {status}")


def judge_reached(answer: Answer, asked: str, ends: datetime | None, now: datetime) -> Iterator[Finding]:
    """Judge the way to a feed that was answered. `ends`: when the certificate does, None without TLS."""
    yield Finding(Level.OK, _("reachable"), _("the feed can be downloaded"))
    if ends is not None:
        fine = _("valid until {day}").format(day=ends.date().isoformat())
        yield from judged(_("certificate"), list(_certificate(ends, now)), fine)
    yield from judged(_("redirects"), list(_redirects(answer, asked)), _("none"))
    yield from judged(_("type of the feed"), list(_type(answer)), answer.content_type)
    yield from judged(_("clock"), list(_clock(answer, now)), _("right"))


def _certificate(ends: datetime, now: datetime) -> Iterator[Problem]:
    if ends - now < ENDS_SOON:
        yield tripped(plural("ends in {count} day", "ends in {count} days", max(0, (ends - now).days)))


def _redirects(answer: Answer, asked: str) -> Iterator[Problem]:
    if not answer.moved:
        return
    if urlsplit(answer.moved[-1]).scheme == urlsplit(asked).scheme:
        yield tripped(_("the feed is redirected: give directories the address that its own link names"))
    else:
        yield tripped(_("the feed is redirected from http to https or back: set `web.public_url` to the last address"))


def _type(answer: Answer) -> Iterator[Problem]:
    kind = answer.content_type
    if kind in XML:
        yield tripped(_("{type}: `application/rss+xml` is right").format(type=kind))
    elif kind != RSS:
        shown = kind[:MOST_CHARACTERS] or "-"
        yield Problem(_("{type}: apps take it for no feed, `application/rss+xml` is right").format(type=shown))


def _clock(answer: Answer, now: datetime) -> Iterator[Problem]:
    try:
        date = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return
    if date.tzinfo is not None and abs(date - now) > CLOCKS_DIFFER:
        yield tripped(
            _("the web server's clock differs from this machine's by {count} s").format(
                count=round(abs(date - now).total_seconds())
            )
        )
