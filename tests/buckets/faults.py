"""A proxy before a server of S3 that makes faults: errors, resets, truncated and wrong bytes, slow answers."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Fault = Callable[["Exchange"], bool]
"""A fault: returns whether it has answered, or broken, the exchange by itself."""


class Exchange(BaseHTTPRequestHandler):
    """A request on its way."""

    protocol_version = "HTTP/1.1"
    proxy: "Proxy"
    changed = False  # whether a byte of the answer's body is another
    cut = False  # whether most of the answer's body is missing

    def _handle(self) -> None:
        self.changed = self.cut = False
        fault = self.proxy.next_fault(self.command, self.path)
        if fault is not None and fault(self):
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with closing(HTTPConnection(self.proxy.upstream, timeout=30)) as connection:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            data = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.changed and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        self.wfile.write(data[:3] if self.cut else data)
        self.close_connection = self.close_connection or self.cut

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle  # noqa: N815  names of http.server's

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def refuse(self, status: int, code: str) -> bool:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = f"<Error><Code>{code}</Code><Message>secret details</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Length", "0" if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def reset(self) -> bool:
        """Read a part of the body, then reset the connection."""
        self.rfile.read(min(1000, int(self.headers.get("Content-Length", 0))))
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            self.connection.close()
        self.close_connection = True
        return True


def refused(status: int, code: str) -> Fault:
    return lambda exchange: exchange.refuse(status, code)


def reset(exchange: Exchange) -> bool:
    return exchange.reset()


def truncated(exchange: Exchange) -> bool:
    """Send three bytes of the answer's body, and close."""
    exchange.cut = True
    return False


def wrong_bytes(exchange: Exchange) -> bool:
    """Change a byte of the answer's body."""
    exchange.changed = True
    return False


def held(until: threading.Event) -> Fault:
    """Keep a request from the server until the event is set."""

    def wait(_: Exchange) -> bool:
        assert until.wait(60)
        return False

    return wait


def slow(seconds: float) -> Fault:
    def wait(_: Exchange) -> bool:
        time.sleep(seconds)  # the fault itself: a server that is slow
        return False

    return wait


@dataclass
class Proxy:
    """The proxy. `faults` by method: the first of them for the first request, and so on; `always`: for all requests."""

    upstream: str
    endpoint: str = ""
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    always: Fault | None = None
    seen: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.seen.append((method, path))
            if self.always is not None:
                return self.always
            waiting = self.faults.get(method)
            return waiting.pop(0) if waiting else None

    def count(self, method: str) -> int:
        return sum(seen == method for seen, _ in self.seen)


@contextmanager
def proxy_before(endpoint: str) -> Iterator[Proxy]:
    proxy = Proxy(urlsplit(endpoint).netloc)

    class Handler(Exchange):
        pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing: clients disconnect, as they may."""

    Handler.proxy = proxy
    server = Server(("127.0.0.1", 0), Handler)
    proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
