"""Headers that answers share, and the short answers."""

from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from urllib.parse import quote

from aiohttp import web

from bot.health import Report
from bot.language import _
from bot.web.access import Family
from bot.web.conditions import Representation, ResponsePlan, plan_response

SAFE = {
    "Server": "Aircheck",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a personal address is a secret: no other site may learn it from a link
}
UNKEPT = {**SAFE, "Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
RSS = "application/rss+xml; charset=utf-8"
# Access may end at any time (redaction, ban, `publish private`): caches must revalidate before each use.
OF_FAMILY = {
    Family.PUBLIC: {
        **SAFE,
        "Cache-Control": "public, no-cache",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range, ETag",
    },
    Family.PERSONAL: {
        **SAFE,
        "Cache-Control": "private, no-cache",
        "X-Robots-Tag": "noindex, nofollow",
    },
}


# Pages ask what is on the air. hls.js, which is loaded when somebody presses play, fetches segments and hands them to
# the player as a blob.
def _policy(media: str, ancestors: str) -> dict[str, str]:
    policy = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        f"media-src 'self' blob:{media}; manifest-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors {ancestors}"
    )
    return {"Content-Security-Policy": policy}


def page(media_origin: str | None = None) -> dict[str, str]:
    """Return the headers of a page. `media_origin`: where its player is sent for the sound of episodes."""
    own = {"X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin"}
    return {**_policy(_source(media_origin), "'none'"), **own}


def embedded(media_origin: str | None = None) -> dict[str, str]:
    """Return the headers of a page that other sites may show in a frame."""
    return _policy(_source(media_origin), "*")


def _source(origin: str | None) -> str:
    return f" {origin}" if origin is not None else ""


PAGE = page()
EMBEDDED = embedded()
KEPT_FOR_EVER = "max-age=31536000, immutable"
RETRY_AFTER_S = 30


def kept_for_ever(family: Family) -> dict[str, str]:
    """Return the headers of a file whose address names its content."""
    scope = "public" if family is Family.PUBLIC else "private"
    return {**OF_FAMILY[family], "Cache-Control": f"{scope}, {KEPT_FOR_EVER}"}


@lru_cache(maxsize=1024)  # most requests are for the same few
def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def content(
    request: web.BaseRequest, body: bytes, file: Representation, headers: dict[str, str], kind: dict[str, str]
) -> web.Response:
    """Answer with a body that is in memory, whole or a range of it. `kind`: headers that only a body has."""
    plan = plan_response(request.method, request.headers, file)
    shared = {**headers, "ETag": f'"{file.tag}"', "Accept-Ranges": "bytes"}
    if file.modified is not None:
        shared["Last-Modified"] = http_date(file.modified)
    if plan.status not in (200, 206):
        return web.Response(status=plan.status, headers={**shared, **content_range(plan, file.size)})
    part = body[plan.start : plan.start + plan.count]
    return web.Response(status=plan.status, headers={**shared, **kind, **content_range(plan, file.size)}, body=part)


def content_range(plan: ResponsePlan, size: int) -> dict[str, str]:
    """Return the Content-Range header of a 206 or 416; none of others."""
    if plan.status == 206:
        return {"Content-Range": f"bytes {plan.start}-{plan.start + plan.count - 1}/{size}"}
    return {"Content-Range": f"bytes */{size}"} if plan.status == 416 else {}


def short(status: int, text: str, **headers: str) -> web.Response:
    """Answer with one line. Errors have no longer body: some apps save it as the episode."""
    return web.Response(
        status=status,
        text=f"{text}\n",
        headers={**UNKEPT, **headers},
    )


def health(report: Report, *, details: bool) -> web.Response:
    """Answer whether the bot works, when the homeserver was last heard, and what is wrong; `details`: in words. A
    homeserver that is away is no failure."""
    status = 200 if report.works else 503
    return web.json_response(report.to_json(details=details), status=status, headers=UNKEPT)


def moved(location: str) -> web.Response:
    """Redirect permanently. The location is relative, so that it holds below a proxy's path too."""
    return short(308, _("Moved"), Location=quote(location, safe="/"))


def moved_for_good(address: str) -> web.Response:
    """Redirect a feed to its new address: podcast apps replace the one that they know."""
    return short(301, _("Moved"), Location=address)


def elsewhere(address: str, family: Family) -> web.Response:
    """Redirect to a signed address of a file, which ends soon: nobody may keep it, nor learn where it was found."""
    shared = "Access-Control-Allow-Origin", "X-Robots-Tag"
    headers = {name: value for name, value in OF_FAMILY[family].items() if name in shared}
    return web.Response(status=302, headers={**SAFE, **headers, "Cache-Control": "no-store", "Location": address})


def not_allowed(methods: str = "GET, HEAD") -> web.Response:
    return short(405, _("Not allowed"), Allow=methods)


def preflight() -> web.Response:
    """Allow players in other sites' pages to ask for ranges of public episodes (CORS)."""
    return web.Response(
        status=204,
        headers={
            **SAFE,
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": "GET, HEAD",
            "Access-Control-Allow-Headers": "Range, If-Range, If-None-Match, If-Modified-Since",
            "Access-Control-Max-Age": "86400",
        },
    )


def not_found() -> web.Response:
    return short(404, _("Not found"))


def not_yet(seconds: int) -> web.Response:
    """Answer for something that is linked and will exist soon: players treat it as any 404, people read why."""
    return short(404, _("Not yet"), **{"Retry-After": str(seconds)})


def too_many() -> web.Response:
    """Refuse a client that has too many requests running, and close the connection."""
    answer = short(429, _("Too many requests at once"), **{"Retry-After": str(RETRY_AFTER_S)})
    answer.force_close()
    return answer


def other_version() -> web.Response:
    """Refuse HTTP/0.9 and what claims to be a later version in the form of HTTP/1."""
    answer = short(505, _("This server speaks HTTP/1.1"))
    answer.force_close()
    return answer


def later() -> web.Response:
    return short(503, _("Not yet"), **{"Retry-After": str(RETRY_AFTER_S)})
