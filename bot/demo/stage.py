"""The set-up of the demo: a homeserver, a room with a moderator, an account for the bot."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.demo.people import Person
from bot.demo.synapse import Homeserver, free_port
from bot.settings import Settings, validate

MIB = 1024 * 1024
ROOM_NAME = "The Kitchen Table"


@dataclass(frozen=True, slots=True)
class Stage:
    """The set-up: Mira moderates an encrypted room on her phone and broadcasts from her browser, with one account."""

    homeserver: Homeserver
    phone: Person
    browser: Person
    room_id: str
    password: str  # Mira's
    bot_id: str
    bot_password: str


@asynccontextmanager
async def set_stage(directory: Path) -> AsyncIterator[Stage]:
    """Set everything up in this folder, and stop it with the block. Raises StartError."""
    async with AsyncExitStack() as opened:
        homeserver = await Homeserver.start(directory / "homeserver")
        opened.push_async_callback(homeserver.stop)
        password, bot_password = secrets.token_urlsafe(9), secrets.token_urlsafe(18)
        bot_id = await homeserver.register("aircheck", bot_password)
        mira = await homeserver.register("mira", password)
        devices = []
        for name in ("Phone", "Element Web"):
            keys = directory / "mira" / name.lower().replace(" ", "-")
            person = await Person.log_in(homeserver.address, mira, password, keys, device_name=name)
            devices.append(await opened.enter_async_context(person))
        phone, browser = devices
        await phone.set_profile(name="Mira")
        room_id = await phone.create_room(ROOM_NAME, encrypted=True)
        yield Stage(homeserver, phone, browser, room_id, password, bot_id, bot_password)


def settings_for(stage: Stage, directory: Path, port: int) -> Settings:
    """Build the bot's settings; port 0 takes a free one."""
    return validate(
        {
            "matrix": {
                "homeserver": stage.homeserver.address,
                "user_id": stage.bot_id,
                "password": stage.bot_password,
            },
            "storage": {"directory": str(directory / "aircheck"), "min_free_bytes": 64 * MIB},
            "web": {"port": port or free_port()},
            "log": {"level": "warning"},
        }
    )
