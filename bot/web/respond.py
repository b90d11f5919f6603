"""Headers that answers share, and the short answers."""

from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote

from aiohttp import web

from bot.language import _
from bot.web.access import Family
from bot.web.conditions import Representation, ResponsePlan, plan_response

SAFE = {
    "Server": "Aircheck",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a personal address is a secret: no other site may learn it from a link
}
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
PAGE = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; media-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
LIVE_PAGE = {
    **PAGE,
    # hls.js fetches segments itself and hands them to the player.
    "Content-Security-Policy": PAGE["Content-Security-Policy"].replace(
        "media-src 'self'", "media-src 'self' blob:; connect-src 'self'"
    ),
}
KEPT_FOR_EVER = "max-age=31536000, immutable"
RETRY_AFTER_S = 30


@lru_cache(maxsize=1024)  # most requests are for the same few
def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def content(
    request: web.BaseRequest, body: bytes, file: Representation, headers: dict[str, str], kind: dict[str, str]
) -> web.Response:
    """Answer with a body that is in memory, whole or a range of it. `kind`: headers that only a body has."""
    plan = plan_response(request.method, request.headers, file)
    shared = {**headers, "ETag": f'"{file.tag}"', "Last-Modified": http_date(file.modified), "Accept-Ranges": "bytes"}
    if plan.status not in (200, 206):
        return web.Response(status=plan.status, headers={**shared, **content_range(plan, file.size)})
    part = body[plan.start : plan.start + plan.count]
    return web.Response(status=plan.status, headers={**shared, **kind, **content_range(plan, file.size)}, body=part)


def data(request: web.BaseRequest, family: Family, body: bytes, kind: str, made_at: datetime) -> web.Response:
    """Answer with a small file about an episode, under a tag of its content."""
    file = Representation(sha256(body).hexdigest(), len(body), made_at.replace(microsecond=0))
    return content(request, body, file, OF_FAMILY[family], {"Content-Type": kind})


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
        headers={**SAFE, "Cache-Control": "no-store", "X-Robots-Tag": "noindex", **headers},
    )


def health(*, works: bool, heard_at: datetime | None) -> web.Response:
    """Answer whether the bot works, and when the homeserver was last heard. A homeserver that is away is no failure."""
    report = {
        "status": "ok" if works else "not working",
        "homeserver_last_heard": heard_at.isoformat(timespec="seconds") if heard_at else None,
    }
    return web.json_response(
        report, status=200 if works else 503, headers={**SAFE, "Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
    )


def moved(location: str) -> web.Response:
    """Redirect permanently. The location is relative, so that it holds below a proxy's path too."""
    return short(308, _("Moved"), Location=quote(location, safe="/"))


def not_allowed() -> web.Response:
    return short(405, _("Not allowed"), Allow="GET, HEAD")


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


def later() -> web.Response:
    return short(503, _("Not yet"), **{"Retry-After": str(RETRY_AFTER_S)})
