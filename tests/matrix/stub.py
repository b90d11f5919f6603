"""A fake homeserver on loopback."""

from collections.abc import Awaitable, Callable

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Stub:
    """A fake homeserver: gives the answers of `answers` by path, and keeps the requests in `asked`."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.address = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, request.headers.get("Authorization")))
        answer = self.answers.get(request.path)
        return await answer(request) if answer else refusal(404, "M_UNRECOGNIZED")

    def gives(self, path: str, data: bytes) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            response.content_length = len(data)
            await response.prepare(request)
            for start in range(0, len(data), 64 * 1024):
                await response.write(data[start : start + 64 * 1024])
            return response

        self.answers[path] = answer

    def says(self, path: str, status: int, errcode: str = "", **headers: str) -> None:
        async def answer(_: web.Request) -> web.Response:
            return refusal(status, errcode, **headers)

        self.answers[path] = answer


def refusal(status: int, errcode: str, **headers: str) -> web.Response:
    return web.json_response({"errcode": errcode} if errcode else {}, status=status, headers=headers)
