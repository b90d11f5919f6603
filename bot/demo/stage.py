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
SESSION_GAP_S = 8
"""The silence after which a session of voice messages is over: short, so that nobody waits for it long."""
ROOM_NAME = "The Kitchen Table"


@dataclass(frozen=True, slots=True)
class Stage:
    """The set-up: Mira moderates an encrypted room on her phone and broadcasts from her browser, with one account.
    Jonas is in it too."""

    homeserver: Homeserver
    phone: Person
    browser: Person
    jonas: Person
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
        jonas_id = await homeserver.register("jonas", password)
        devices = []
        for user, name in ((mira, "Phone"), (mira, "Element Web"), (jonas_id, "Phone")):
            keys = directory / user[1:].partition(":")[0] / name.lower().replace(" ", "-")
            person = await Person.log_in(homeserver.address, user, password, keys, device_name=name)
            devices.append(await opened.enter_async_context(person))
        phone, browser, jonas = devices
        await phone.set_profile(name="Mira")
        await jonas.set_profile(name="Jonas")
        room_id = await phone.create_room(ROOM_NAME, encrypted=True, invite=[jonas_id])
        await jonas.join(room_id)
        yield Stage(homeserver, phone, browser, jonas, room_id, password, bot_id, bot_password)


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
            "recording": {"session_gap_s": SESSION_GAP_S},
            "log": {"level": "warning"},
        }
    )
