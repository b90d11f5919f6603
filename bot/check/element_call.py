"""Rules for whether calls of Element Call (MatrixRTC) can be recorded. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from bot.check.finding import Finding, Level
from bot.language import _, plural

MOST_SERVICES = 4
"""Token services that are asked, and so lines about them."""
MOST_CHARACTERS = 80


class Answered(StrEnum):
    """The answer of a token service, and then of the media server that the token is for."""

    JOINS = "joins"  # both do
    REFUSED = "refused"  # the service answers, and gives no token
    FAILED = "failed"  # it can't be asked, or answers what is no token
    SFU_REFUSED = "sfu_refused"  # the media server takes no such token
    SFU_UNREACHABLE = "sfu_unreachable"


@dataclass(frozen=True, slots=True)
class Service:
    """A token service of a media server (MSC4195)."""

    address: str
    answered: Answered
    status: int = 0  # of the HTTP answer by which it refuses
    why: str = ""  # it failed
    sfu: str = ""  # the address that it gave


@dataclass(frozen=True, slots=True)
class Found:
    """Facts about the homeserver. `services`: those that it names and that were asked. `delayed`, `sticky`: it has such
    events."""

    services: Sequence[Service]
    unasked: int
    delayed: bool
    sticky: bool


def judge(found: Found, *, wanted: bool) -> Iterator[Finding]:
    """Judge each fact. `wanted`: calls are to be recorded, so that a service which gives no token is a failure."""
    subject = _("Element Call")
    if not found.services:
        yield Finding(
            Level.OK,
            subject,
            _(
                "the homeserver names no media server (SFU), so its own users can't begin such calls; those of others "
                "are recorded where their media server lets the bot in"
            ),
        )
        return
    for service in found.services:
        fine = service.answered is Answered.JOINS
        bad = Level.FAIL if wanted else Level.WARN
        yield Finding(Level.OK if fine else bad, subject, _told(service))
    if found.unasked:
        more = plural("{count} more service was not asked", "{count} more services were not asked", found.unasked)
        yield Finding(Level.OK, subject, more)
    yield from _judge_events(found)


def judge_power(type_: str) -> Finding:
    """Tell that a room does not let the bot send the type of state by which it would be seen in its calls."""
    text = _(
        "the room does not let the bot send `{type}`, so it can't be seen in a call and joins none: give it the power, "
        "or lower the level of that event"
    )
    return Finding(Level.FAIL, _("Element Call"), text.format(type=type_))


def _told(service: Service) -> str:
    host, sfu = _host(service.address), _host(service.sfu)
    match service.answered:
        case Answered.JOINS:
            said = _("{host} gives the bot a token, and the media server {sfu} takes it")
        case Answered.REFUSED:
            said = _refusal(service.status)
        case Answered.FAILED:
            said = _("{host} gives the bot no token: {why}. Is it a token service (lk-jwt-service)?")
        case Answered.SFU_REFUSED:
            said = _("the media server {sfu} refuses the token that {host} gives: their keys have to be the same")
        case Answered.SFU_UNREACHABLE:
            said = _("the media server {sfu}, which {host} names, does not answer: the bot has to reach it")
    return said.format(host=host, sfu=sfu, status=service.status, why=service.why)


def _refusal(status: int) -> str:
    if status == 401:
        return _(
            "{host} gives the bot no token ({status}): it can't tell who the bot is, for which it has to reach the "
            "federation API of the homeserver"
        )
    if status in (404, 405):
        return _("{host} gives the bot no token ({status}): nothing there answers `/sfu/get`; is the proxy right?")
    if status >= 500:
        return _("{host} gives the bot no token ({status}): does it reach its media server?")
    return _("{host} gives the bot no token ({status}): its settings have to let users of this homeserver in")


def _judge_events(found: Found) -> Iterator[Finding]:
    subject = _("bot in calls")
    if found.delayed:
        yield Finding(Level.OK, subject, _("is taken out by the homeserver within a minute if it dies"))
    else:
        yield Finding(
            Level.WARN,
            subject,
            _(
                "stays listed for up to four hours if it dies: the homeserver has no delayed events (MSC4140; Synapse: "
                "`max_event_delay_duration`)"
            ),
        )
    told = (
        _("the homeserver has them: calls in Matrix 2.0 mode are recorded too")
        if found.sticky
        else _("the homeserver has none (MSC4354): there are no calls in Matrix 2.0 mode here, and others are recorded")
    )
    yield Finding(Level.OK, _("sticky events"), told)


def _host(address: str) -> str:
    """Return host and port of an address alone: what else stands in it is nobody's business."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "?", parts.port
    except ValueError:
        return "?"
    return (host if port is None else f"{host}:{port}")[:MOST_CHARACTERS]
