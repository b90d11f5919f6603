"""Style sheet and scripts of the pages, under names that change with their content, so that browsers keep them."""

from hashlib import sha256
from pathlib import Path

from aiohttp import web

from bot.web.respond import KEPT_FOR_EVER, SAFE

FOLDER = Path(__file__).parent / "static"
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
USED = {"css": "style.css", "js": "page.js", "hls_js": "hls.light.min.js", "live_js": "live.js"}
"""The files that templates link to, by their variables."""


class StaticFiles:
    """All files of `static/`, read once. `names` are those under which they are served, for the templates."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}
        served = {}
        for path in sorted(FOLDER.iterdir()):
            body = path.read_bytes()
            name = f"{path.stem}-{sha256(body).hexdigest()[:12]}{path.suffix}"
            served[path.name], self._bodies[name] = name, body
        self.names = {variable: served[file] for variable, file in USED.items()}

    def answer(self, name: str) -> web.Response | None:
        body = self._bodies.get(name)
        if body is None:
            return None
        kind = CONTENT_TYPES[Path(name).suffix]
        headers = {**SAFE, "Cache-Control": f"public, {KEPT_FOR_EVER}", "Content-Type": kind}
        return web.Response(body=body, headers=headers)
