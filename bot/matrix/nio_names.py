"""The names of nio that are used. It is imported without what it needs for other uses: its client without a loop, over
HTTP/2 too, its proxies, and the parser of C with which pycryptodome would declare its functions. That takes 4 MB, and
a twentieth of a start."""

import importlib
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


def _without_unused() -> None:
    """Import nio so. A later version that can't be imported so is imported whole."""
    known = {name for name in (*_UNUSED, _REFUSED) if name in sys.modules}
    sys.modules.update((name, _Nothing(name)) for name in _UNUSED if name not in known)
    if _REFUSED not in known:
        sys.modules[_REFUSED] = None  # type: ignore[assignment]  # the import of a module that is None is refused
    try:
        for name in ("nio", "nio.store.database", "nio.store.models"):
            importlib.import_module(name)
    except (ImportError, AttributeError, TypeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "nio"]:
            del sys.modules[name]
    finally:
        for name in (*_UNUSED, _REFUSED):
            if name not in known:
                sys.modules.pop(name, None)


if "nio" not in sys.modules:
    _without_unused()

from nio import AsyncClient, AsyncClientConfig  # noqa: E402  after what makes it small
from nio.crypto.olm_machine import Olm  # noqa: E402
from nio.crypto.sessions import InboundGroupSession  # noqa: E402
from nio.events import ForwardedRoomKeyEvent, RoomKeyEvent, ToDeviceEvent  # noqa: E402
from nio.responses import KeysClaimResponse, KeysQueryResponse  # noqa: E402
from nio.store import SqliteStore  # noqa: E402
from nio.store.database import SqliteDatabase, use_database  # noqa: E402
from nio.store.models import ForwardedChains  # noqa: E402

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
