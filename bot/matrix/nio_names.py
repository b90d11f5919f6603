"""The names of nio that are used. It is imported without what it needs for other uses: its client without a loop, over
HTTP/2 too, its proxies, and the parser of C with which pycryptodome would declare its functions. That takes 4 MB, and
a twentieth of a start."""

import sys
from types import ModuleType

_UNUSED = ("h2", "h2.connection", "h2.events", "h11", "aiohttp_socks")
_REFUSED = "cffi"  # without it, pycryptodome takes ctypes


class _Nothing(ModuleType):
    """A module in place of one that is not used. Its names are types without instances."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


_known = {name: sys.modules[name] for name in (*_UNUSED, _REFUSED) if name in sys.modules}
sys.modules.update((name, _Nothing(name)) for name in _UNUSED if name not in _known)
if _REFUSED not in _known:
    sys.modules[_REFUSED] = None  # type: ignore[assignment]  # the import of a module that is None is refused
try:
    from nio import AsyncClient, AsyncClientConfig
    from nio.crypto.olm_machine import Olm
    from nio.crypto.sessions import InboundGroupSession
    from nio.events import ForwardedRoomKeyEvent, RoomKeyEvent, ToDeviceEvent
    from nio.responses import KeysClaimResponse, KeysQueryResponse
    from nio.store import SqliteStore
    from nio.store.database import SqliteDatabase, use_database
    from nio.store.models import ForwardedChains
finally:
    for _name in (*_UNUSED, _REFUSED):
        if _name not in _known:
            del sys.modules[_name]

__all__ = [
    "AsyncClient",
    "AsyncClientConfig",
    "ForwardedChains",
    "ForwardedRoomKeyEvent",
    "InboundGroupSession",
    "KeysClaimResponse",
    "KeysQueryResponse",
    "Olm",
    "RoomKeyEvent",
    "SqliteDatabase",
    "SqliteStore",
    "ToDeviceEvent",
    "use_database",
]
