"""`mxc` addresses, parsed by the specification's grammar before any path is built from them. Pure."""

import re

from bot.errors import GiveUp

MAX_LENGTH = 512
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
# Client-Server API, content repository; appendices, server name. A name of dots alone would climb out of its folder.
SERVER_NAME = rf"(?:\[[0-9A-Fa-f:.]{{2,45}}\]|{LABEL}(?:\.{LABEL})*)(?::[0-9]{{1,5}})?"
MXC = re.compile(rf"mxc://({SERVER_NAME})/([A-Za-z0-9_-]{{1,255}})", re.ASCII)


def parse_mxc(text: str) -> tuple[str, str]:
    """Split an mxc address into server name and media id. Raises GiveUp (bad_address) for anything else."""
    match = MXC.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise GiveUp("the media's address is not a valid mxc address", reason="bad_address")
    return match[1], match[2]
