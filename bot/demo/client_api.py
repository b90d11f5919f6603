"""The Client-Server API as a person's app calls it: plain JSON over HTTP."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from bot.errors import AircheckError

CLIENT = "/_matrix/client/v3"


class Refused(AircheckError):
    """A refusal by the homeserver; `errcode` is its reason (M_FORBIDDEN, …)."""

    def __init__(self, sentence: str, *, errcode: str, room: str | None = None) -> None:
        super().__init__(sentence, room=room)
        self.errcode = errcode


class ClientApi:
    """Calls with one access token. Close it after use."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address.rstrip("/")
        self._token = token
        self._http: aiohttp.ClientSession | None = None

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call one endpoint by its path. Raises Refused when the status is not 200."""
        async with self._session().request(method, self.address + path, json=body) as answer:
            return await _content(answer, method)

    async def upload(self, data: bytes, mimetype: str) -> str:
        """Upload bytes to the media repository; give their mxc address."""
        url = f"{self.address}/_matrix/media/v3/upload"
        async with self._session().post(url, data=data, headers={"Content-Type": mimetype}) as answer:
            return str((await _content(answer, "POST"))["content_uri"])

    async def download(self, mxc: str) -> bytes:
        """Download media (authenticated media)."""
        server, _, media = mxc.removeprefix("mxc://").partition("/")
        url = f"{self.address}/_matrix/client/v1/media/download/{part(server)}/{part(media)}"
        async with self._session().get(url) as answer:
            if answer.status != 200:
                await _content(answer, "GET")
            return await answer.read()

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self._token}"})
        return self._http


def part(name: str) -> str:
    """Quote one segment of a path."""
    return quote(name, safe="")


def room_path(room_id: str, *parts: str) -> str:
    """Build a path below one room."""
    return "/".join((f"{CLIENT}/rooms", part(room_id), *map(part, parts)))


async def _content(answer: aiohttp.ClientResponse, method: str) -> dict[str, Any]:
    try:
        content = await answer.json(content_type=None)
    except ValueError:
        content = None
    content = content if isinstance(content, dict) else {}
    if answer.status != 200:
        errcode = str(content.get("errcode", answer.status))
        raise Refused(f"the homeserver refused a {method}: {errcode} {content.get('error', '')}", errcode=errcode)
    return content
