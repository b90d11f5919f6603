"""Network namespaces on one bridge: each process of a test in a network of its own, to which single ways can be cut.

The servers listen at addresses of the bridge, one for each, so that a way is from one namespace to one server. Packets
vanish, as behind a firewall that drops them: nobody is told.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

NOWHERE = "02:00:00:00:de:ad"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)  # noqa: S607


def why_not() -> str | None:
    """Return why no namespaces can be made here; None where they can."""
    if shutil.which("ip") is None:
        return "there is no program ip"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"air-{secrets.token_hex(3)}"
    try:
        ip("netns", "add", name)
        try:
            ip("link", "add", f"{name}-v", "type", "veth", "peer", "name", "eth0", "netns", name)
        finally:
            ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        return f"network namespaces can't be made: {error.stderr.decode(errors='replace').strip()}"
    return None


@dataclass(frozen=True, slots=True)
class Machine:
    """A namespace with one interface to the bridge."""

    name: str
    address: str

    @property
    def inside(self) -> tuple[str, ...]:
        """The words that run a command in it."""
        return ("ip", "netns", "exec", self.name)

    def cut(self, server: str, *, to: bool = True, back: bool = True) -> None:
        """Let what is sent to a server's address vanish, what it sends back, or both."""
        if to:
            lost = ("lladdr", NOWHERE, "nud", "permanent", "dev", "eth0")
            ip("-n", self.name, "neigh", "replace", server, *lost)
        if back:
            ip("rule", "add", "from", server, "to", self.address, "blackhole")

    def mend(self, server: str, *, to: bool = True, back: bool = True) -> None:
        if to:
            ip("-n", self.name, "neigh", "del", server, "dev", "eth0")
        if back:
            ip("rule", "del", "from", server, "to", self.address, "blackhole")

    def pull(self) -> None:
        """Pull the plug: nothing goes in or out."""
        ip("link", "set", self.name, "down")

    def plug(self) -> None:
        ip("link", "set", self.name, "up")


class Net:
    """A bridge with addresses of servers, and machines."""

    def __init__(self) -> None:
        self.name = f"air{secrets.token_hex(3)}"
        self.prefix = f"10.97.{secrets.randbelow(256)}"  # tests may run beside each other
        self.machines: list[Machine] = []
        self._servers = 0

    def server(self) -> str:
        """Return a new address of the bridge."""
        self._servers += 1
        address = f"{self.prefix}.{self._servers}"
        ip("addr", "add", f"{address}/24", "dev", self.name)
        return address

    def machine(self) -> Machine:
        """Add a namespace."""
        number = len(self.machines)
        machine = Machine(f"{self.name}-{number}", f"{self.prefix}.{100 + number}")
        ip("netns", "add", machine.name)
        self.machines.append(machine)
        ip("link", "add", machine.name, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
        ip("link", "set", machine.name, "master", self.name, "up")
        ip("-n", machine.name, "addr", "add", f"{machine.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", machine.name, "link", "set", device, "up")
        return machine


@contextmanager
def net() -> Iterator[Net]:
    """Provide a bridge, which goes at the end with its machines and all cuts."""
    made = Net()
    ip("link", "add", made.name, "type", "bridge")
    try:
        ip(
            "addr", "add", f"{made.prefix}.250/24", "dev", made.name
        )  # the first one: what the test itself asks comes from here
        ip("link", "set", made.name, "up")
        yield made
    finally:
        for machine in made.machines:
            ip("link", "del", machine.name)
            ip("netns", "del", machine.name)
            while True:
                try:
                    ip("rule", "del", "to", machine.address)
                except subprocess.CalledProcessError:  # there is none left
                    break
        ip("link", "del", made.name)
