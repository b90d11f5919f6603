"""Style sheet, scripts, fonts and mark of the pages, under names that change with their content: browsers keep them."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from bot.web.encodings import EncodedBody, encode, unpacked
from bot.web.respond import KEPT_FOR_EVER, SAFE

FOLDER = Path(__file__).parent / "static"
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
PACKED_ALREADY = {".ico", ".png", ".woff2"}
BEST = 9
"""Level of compression: a file is packed once and sent often."""
FAVICON = "favicon.ico"
"""The file that browsers and feed readers ask for at the root, without being told to."""
A_DAY = "max-age=86400"
STYLE, SCRIPT = "style.css", "page.js"
"""The names of the one style sheet and the one script, which are made of the files of `static/style/` and
`static/script/` in the order of their names."""
MANIFEST = "aircheck.webmanifest"
STUDIO = "studio.js"
"""The script of a studio's page: a module, which imports others. It is in no other page."""
USED = {
    "css": STYLE,
    "js": SCRIPT,
    "studio_js": STUDIO,
    "hls_js": "hls.light.min.js",
    "font": "bricolage.woff2",
    "mark": "mark.svg",
    "touch_icon": "mark.png",
    "manifest": MANIFEST,
}
"""The files that templates link to, by their variables."""

_FROM = re.compile(r' from "\./([\w.-]+\.js)"', re.ASCII)
"""The name of a module that another one imports."""
_IMPORTED = re.compile(r'"\./([\w.-]+\.js)"', re.ASCII)
"""The name of a module in another one: of one that it imports, or adds as a worklet."""


class StaticFiles:
    """All files of `static/`, read once. `names` are those under which they are served, for the templates; `modules`,
    those that the script of a studio's page imports.

    Call `pack` before the first answer."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}
        files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.is_file()}
        modules = {file: body.decode() for file, body in files.items() if _is_module(file)}
        plain = {file: body for file, body in files.items() if file not in modules and file != MANIFEST}
        served = {file: self._serve(file, body) for file, body in plain.items()}
        served |= self._serve_modules(dict(modules))
        self.modules = tuple(served[file] for file in sorted(_reached(STUDIO, modules)))
        served[MANIFEST] = self._serve(MANIFEST, _linked(files[MANIFEST].decode(), served).encode())
        served[STYLE] = self._serve(STYLE, _linked(_joined("style"), served).encode())
        served[SCRIPT] = self._serve(SCRIPT, _joined("script").encode())
        self.names = {variable: served[file] for variable, file in USED.items()}
        self._favicon = served[FAVICON]
        self._packed: dict[str, EncodedBody] = {}
        newest = max(path.stat().st_mtime for path in FOLDER.rglob("*"))
        self._modified = datetime.fromtimestamp(int(newest), UTC)

    def _serve(self, file: str, body: bytes) -> str:
        """Serve a file under a name that changes with its content, and return the name."""
        name = f"{Path(file).stem}-{sha256(body).hexdigest()[:12]}{Path(file).suffix}"
        self._bodies[name] = body
        return name

    def _serve_modules(self, texts: dict[str, str]) -> dict[str, str]:
        """Serve modules, each after those that it imports: their names are part of it. Return all names."""
        served: dict[str, str] = {}
        while texts:
            ready = [file for file, text in texts.items() if not texts.keys() & set(_IMPORTED.findall(text))]
            assert ready, f"these modules import one another: {sorted(texts)}"
            for file in ready:
                served[file] = self._serve(file, _importing(texts.pop(file), served).encode())
        return served

    def pack(self) -> None:
        """Pack everything that packs well. Blocking."""
        for name, body in self._bodies.items():
            suffix = Path(name).suffix
            kind = CONTENT_TYPES[suffix]
            self._packed[name] = unpacked(body, kind) if suffix in PACKED_ALREADY else _packed(body, kind)

    def answer(self, request: web.BaseRequest, name: str) -> web.Response | None:
        """Answer with a file under its name; None where there is none."""
        return self._answer(request, name, KEPT_FOR_EVER) if name in self._packed else None

    def favicon(self, request: web.BaseRequest) -> web.Response:
        """Answer with the favicon at its fixed address, where another one may stand after an upgrade."""
        return self._answer(request, self._favicon, A_DAY)

    def _answer(self, request: web.BaseRequest, name: str, kept: str) -> web.Response:
        return self._packed[name].response(request, {**SAFE, "Cache-Control": f"public, {kept}"}, self._modified)


def _is_module(file: str) -> bool:
    return file.startswith(Path(STUDIO).stem) and file.endswith(".js")


def _reached(file: str, texts: Mapping[str, str]) -> set[str]:
    """Return the modules that a module imports, and those that these import."""
    reached: set[str] = set()
    todo = [file]
    while todo:
        new = set(_FROM.findall(texts[todo.pop()])) - reached
        reached |= new
        todo += new
    return reached


def _importing(text: str, served: Mapping[str, str]) -> str:
    """Return a module with the names under which the modules that it loads are served."""
    return _IMPORTED.sub(lambda match: f'"./{served[match[1]]}"', text)


def _joined(folder: str) -> str:
    return "\n".join(path.read_text() for path in sorted((FOLDER / folder).iterdir()))


@cache
def _packed(body: bytes, kind: str) -> EncodedBody:
    return encode(body, kind, BEST)


def _linked(text: str, served: Mapping[str, str]) -> str:
    """Return a style sheet or manifest with the names under which the files that it loads are served."""
    return re.sub(r'((?:url\(|"src": )")([^"]+)', lambda match: match[1] + served[match[2]], text)
