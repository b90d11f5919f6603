"""SQLAlchemy's asynchronous engine, without the ORM that its package imports beside it: that takes 6 MB and a
twentieth of a start, and the tables here need none of it."""

import importlib
import sys
from types import ModuleType

_PACKAGE = "sqlalchemy.ext.asyncio"
_OF_ORM = (f"{_PACKAGE}.session", f"{_PACKAGE}.scoping")


class _Unread(ModuleType):
    """A module that is not imported yet: each of its names stands for itself."""

    def __getattr__(self, name: str) -> "_Name":
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(self.__name__, name)


class _Name:
    """A name in a module that is not imported yet."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def read(self) -> object:
        """Import the module and return what the name stands for."""
        return getattr(importlib.import_module(self.module), self.name)


def _without_orm() -> None:
    """Import the package; who asks it for a name of the ORM's modules later has them imported then. A later version
    that can't be imported so is imported whole."""
    sys.modules.update((name, _Unread(name)) for name in _OF_ORM)
    try:
        package = importlib.import_module(_PACKAGE)
    except (ImportError, AttributeError, TypeError):
        for name in [name for name in sys.modules if name.startswith(_PACKAGE)]:
            del sys.modules[name]
        return
    finally:
        for name in _OF_ORM:
            sys.modules.pop(name, None)
    unread = {name: value for name, value in vars(package).items() if isinstance(value, _Name)}
    for name in unread:
        delattr(package, name)
    for name in _OF_ORM:
        vars(package).pop(name.rpartition(".")[2], None)

    def read(name: str) -> object:
        if name not in unread:
            raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
        return unread[name].read()

    vars(package)["__getattr__"] = read


if _PACKAGE not in sys.modules:
    _without_orm()

from sqlalchemy.ext.asyncio import AsyncConnection as AsyncConnection  # noqa: E402  after what makes it small
from sqlalchemy.ext.asyncio import AsyncEngine as AsyncEngine  # noqa: E402
from sqlalchemy.ext.asyncio import create_async_engine as create_async_engine  # noqa: E402

__all__ = ["AsyncConnection", "AsyncEngine", "create_async_engine"]
