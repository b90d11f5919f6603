"""The memory of a bot at rest."""

import json
import subprocess
import sys

import pytest

DEAR = {"alembic", "asyncpg", "feedgen", "lxml", "mutagen", "numpy", "obstore", "prometheus_client", "pygments", "soxr"}
"""Libraries of some megabytes each that a bot without anything to record, publish, upgrade or measure does not need."""
UNUSED = {"aiohttp_socks", "h2", "h11", "hpack", "pycparser", "python_socks"}
"""Libraries that ours import for uses which are not ours."""
ORM = "sqlalchemy.orm"


def printed(program: str) -> str:
    """Run a program in a process of its own; return what it prints."""
    made = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return made.stdout


def test_what_is_not_needed_is_not_imported() -> None:
    """The program imports libraries for sound, feeds, upgrades, PostgreSQL, S3 and metrics only where they are used,
    and not what nio and SQLAlchemy have for others."""
    imported = json.loads(printed("import json, sys, bot.app; print(json.dumps(list(sys.modules)))"))
    libraries = {name.partition(".")[0] for name in imported}
    assert DEAR.isdisjoint(libraries)
    assert UNUSED.isdisjoint(libraries)
    assert ORM not in imported


def test_what_was_left_out_is_there_for_others() -> None:
    """Parts that SQLAlchemy and nio are imported without are imported when somebody asks for them."""
    asked = (
        "import bot.app, sqlalchemy.ext.asyncio as package, h11, aiohttp_socks; "
        "from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session; "
        "print(package.AsyncSession.__mro__[0] is AsyncSession, hasattr(package, 'Nothing'), h11.Request, "
        "aiohttp_socks.ProxyConnector)"
    )
    ours, unknown, *real = printed(asked).split(maxsplit=2)
    assert (ours, unknown) == ("True", "False")
    assert "h11._events.Request" in real[0]
    assert "aiohttp_socks.connector.ProxyConnector" in real[0]


@pytest.mark.parametrize(("left_out", "level"), [("h11", 0), ("session", 1)])
def test_what_a_later_version_needs_is_imported(left_out: str, level: int) -> None:
    """A version of nio or SQLAlchemy that can't be imported without a part is imported with all of them."""
    program = (
        "import builtins, sys\n"
        "real, refused = builtins.__import__, []\n"
        "def strict(name, globals=None, locals=None, fromlist=(), level=0):\n"
        f"    whole = 'sqlalchemy.ext.asyncio.' * {level} + '{left_out}'\n"
        f"    if (name, level) == ('{left_out}', {level}) and whole in sys.modules and not refused:\n"
        "        if not hasattr(sys.modules[whole], '__file__'):\n"
        "            refused.append(name); raise ImportError(name)\n"
        "    return real(name, globals, locals, fromlist, level)\n"
        "builtins.__import__ = strict\n"
        "import bot.app, h11, nio\n"
        "from sqlalchemy.ext.asyncio import AsyncSession\n"
        "from storage.asyncsql import create_async_engine\n"
        "import sqlalchemy.ext.asyncio as package\n"
        "print(refused, h11.Request, nio.AsyncClient, package.create_async_engine is create_async_engine)"
    )
    said = printed(program)
    assert f"['{left_out}']" in said
    assert "h11._events.Request" in said
    assert said.endswith(" True\n")


def test_what_stays_is_not_searched_for_garbage() -> None:
    """While modules are imported no garbage is collected; afterwards their objects are not looked through."""
    program = (
        "import gc; from bot import memory\n"
        "with memory.loading(): print(gc.isenabled())\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 0); memory.keep_what_is_there()\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 0)"
    )
    assert printed(program).split("\n")[:3] == ["False", "True True", "True True"]
