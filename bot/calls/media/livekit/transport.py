"""A transport to an SFU: ICE by aioice and DTLS-SRTP by aiortc, without aiortc's connections.

Those can't restart ICE, and work through all lines of a description for each change of one, while packets wait. Here
the DTLS association stays while the ICE connection below it is replaced (RFC 8445, section 2.4): packets are taken
from both for a while after the new one is up, since the other end learns of that later. What is received is judged
before anything is done with it, as for legs.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aioice import Candidate, Connection
from aioice.stun import TransactionError
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters

from bot.addresses import is_public
from bot.calls.media import inside
from bot.calls.media.bounds import Bucket
from bot.calls.media.livekit.description import Local, Remote
from bot.calls.media.sdp import MOST_CANDIDATES, address

MOST_CHECKS = 50  # a second, of ICE and DTLS
BURST_S = 4
OVERLAP_S = 3.0
"""The time for which packets are taken from an ICE connection that was replaced: some are on the way, and the SFU
learns later than we do that the new one is up."""

CONNECT_S = 10.0  # for an ICE connection
ASKED_S = 0.2
"""The time that the controlled end waits for the other's first check: one of ours that comes before the other end has
read our description is ignored, and is repeated after half a second only."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Relay:
    """A TURN server. `host`: the address that was checked; `tls`: how it is connected to by TLS, as `turns` is."""

    host: str
    port: int
    protocol: str  # udp, tcp
    tls: ssl.SSLContext | None
    username: str
    password: str


class Transport:
    """A transport. `admits` judges an encrypted packet of RTP or RTCP, `received` takes a decrypted one of RTP;
    `changed` is called when the transport is up (True), also after ICE was restarted, and when it is lost (False)."""

    def __init__(
        self,
        *,
        private: bool,
        admits: Callable[[bytes], bool],
        received: Callable[[bytes], None],
        changed: Callable[[bool], None],
    ) -> None:
        self._private, self._admits, self._received, self._changed = private, admits, received, changed
        self._path = inside.Path()
        self._certificate = RTCCertificate.generateCertificate()
        self._dtls = inside.Dtls(self._path, self._certificate)
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: list[Connection] = []
        self._asked = asyncio.Event()  # a check came to the newest
        self._started = False
        self._checks = Bucket(MOST_CHECKS, BURST_S * MOST_CHECKS)
        self._fingerprints: tuple[str, ...] = ()
        self._candidates = 0
        self._gathering: asyncio.Future[None] | None = None
        self._over = False

    @property
    def is_up(self) -> bool:
        return self._dtls.is_up and self._path.connection is not None

    @property
    def is_settled(self) -> bool:
        """Whether what is sent takes the newest ICE connection."""
        return self.is_up and self._path.connection is self._connections[-1]

    @property
    def has_ended(self) -> bool:
        """Whether it is lost for good: the DTLS association is over, which a restart of ICE doesn't bring back."""
        return self._dtls.has_ended

    def admits_restart(self, remote: Remote) -> bool:
        """Tell whether a description is of the same DTLS association."""
        return not self._fingerprints or self._fingerprints == remote.fingerprints

    async def prepare(self, relay: Relay | None) -> Local:
        """Begin a new ICE connection, and describe our end of it."""
        connection = _connection(relay)
        self._asked = self._guard(connection)
        given_up = [one for one in self._connections if one is not self._path.connection]
        self._connections.append(connection)
        self._run(self._close_all(given_up))
        self._candidates = 0
        self._gathering = asyncio.ensure_future(connection.gather_candidates())
        await asyncio.shield(self._gathering)
        return Local(
            connection.local_username,
            connection.local_password,
            self._certificate.getFingerprints()[0].value,
            tuple(candidate.to_sdp() for candidate in connection.local_candidates),
        )

    def connect(self, remote: Remote, *, controlling: bool, client: bool) -> None:
        """Connect the ICE connection that was prepared last. `client`: we begin DTLS."""
        connection = self._connections[-1]
        connection.remote_is_lite = remote.lite
        connection.ice_controlling = controlling
        connection.remote_username, connection.remote_password = remote.fragment, remote.password
        self._fingerprints = remote.fingerprints
        patience_s = 0 if controlling else ASKED_S
        self._run(self._connect(connection, self._asked, patience_s, client=client))

    async def add_candidate(self, text: str) -> None:
        """Add a candidate of the SFU, if it may be connected to."""
        found = address(text, self._private)
        if found is None or not self._connections or self._candidates >= MOST_CANDIDATES or self._over:
            return
        self._candidates += 1
        await self._connections[-1].add_remote_candidate(
            Candidate(found.foundation, 1, "udp", found.priority, found.host, found.port, found.type)
        )

    async def send(self, packet: bytes) -> None:
        """Send a packet of RTP or RTCP; it is lost where the transport is not up."""
        if self.is_up:
            try:
                await self._path.forward(self._dtls.encrypted(packet))
            except (ConnectionError, OSError, TransactionError) as error:
                log.debug("a packet was not sent: %s", type(error).__name__)

    async def close(self) -> None:
        """Say good-bye, and close all sockets."""
        self._over = True
        await self._dtls.stop()
        self._path.close()
        for task in list(self._tasks):
            task.cancel()
        if self._gathering is not None:  # aioice leaves sockets open that it opens afterwards
            await asyncio.wait([self._gathering])
        await self._close_all(list(self._connections))

    async def _connect(self, connection: Connection, asked: asyncio.Event, patience_s: float, *, client: bool) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await asked.wait()
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()
        except (ConnectionError, TimeoutError):
            self._lost(connection)
            return
        if connection not in self._connections:
            return
        older, newer = self._around(connection)
        if self._path.connection in newer:
            return
        self._path.connection = connection
        if not self._started:
            self._started = True
            described = [RTCDtlsFingerprint(*value.split(" ", 1)) for value in self._fingerprints]
            await self._dtls.start(RTCDtlsParameters(described), client=client)
            self._run(self._watch_association())
        if self._dtls.is_up and not self._over:
            self._changed(True)
        self._run(self._close_replaced(older))
        await connection.get_event()  # its end
        self._lost(connection)

    def _around(self, connection: Connection) -> tuple[list[Connection], list[Connection]]:
        """Return the connections that were prepared before one, and after it."""
        place = self._connections.index(connection)
        return self._connections[:place], self._connections[place + 1 :]

    async def _close_replaced(self, replaced: Sequence[Connection]) -> None:
        if replaced:
            await asyncio.sleep(OVERLAP_S)
        await self._close_all(replaced)

    async def _close_all(self, connections: Sequence[Connection]) -> None:
        for one in connections:
            await one.close()
            if one in self._connections:
                self._connections.remove(one)

    async def _watch_association(self) -> None:
        await self._dtls.ended()
        self._lost(self._connections[-1])

    def _lost(self, connection: Connection | None) -> None:
        if not self._over and connection is self._connections[-1]:
            self._path.connection = None
            self._changed(False)

    def _guard(self, connection: Connection) -> asyncio.Event:
        """Have each datagram judged before anything is done with it. Returns what is set by the first check."""
        asked = asyncio.Event()

        def data(datagram: bytes) -> bool:
            if not datagram:
                return True
            if inside.is_media(datagram):
                if not inside.is_report(datagram) and self._admits(datagram):
                    for packet in self._dtls.decrypted(datagram):
                        self._received(packet)
            elif self._checks.take(1, time.monotonic()):
                self._path.put(datagram)
            return True

        def request(host: str, known: int) -> bool:
            if not self._checks.take(1, time.monotonic()) or known > 2 * MOST_CANDIDATES:
                return False
            asked.set()
            return self._private or is_public(host)

        inside.guard(connection, data, request)
        return asked

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a transport failed: %s", type(error).__name__)
            if not self._over:
                self._changed(False)


def _connection(relay: Relay | None) -> Connection:
    if relay is None:
        return Connection(ice_controlling=False)
    return Connection(
        ice_controlling=False,
        turn_server=(relay.host, relay.port),
        turn_username=relay.username,
        turn_password=relay.password,
        turn_ssl=relay.tls or False,
        turn_transport=relay.protocol,
    )
