"""People on the real homeserver and decoding by the real ffmpeg, for tests of several folders."""

import itertools
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import imageio_ffmpeg
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from numpy.typing import NDArray

from bot.demo.people import Person
from bot.demo.synapse import Homeserver
from tests.ports import free_port

DATA = Path(__file__).parent / "data"
PASSWORD = "correct horse"

_numbers = itertools.count(1)


class People:
    """The people of a test on one homeserver, with names of their own; closed at the end."""

    def __init__(self, homeserver: Homeserver, directory: Path) -> None:
        self.homeserver = homeserver
        self._directory = directory
        self._people: list[Person] = []

    async def __call__(self, name: str = "alice", *, account: str | None = None) -> Person:
        """Log a new account in with one device, or another device of `account` (a user id)."""
        number = next(_numbers)
        if account is None:
            account = await self.homeserver.register(f"{name}{number}-{os.getpid()}", PASSWORD)
        directory = self._directory / f"{name}{number}"
        person = await Person.log_in(self.homeserver.address, account, PASSWORD, directory, device_name=name)
        self._people.append(person)
        return person

    async def close(self) -> None:
        for person in self._people:
            await person.close()


def decode(data: bytes) -> NDArray[np.float32]:
    """Decode a file to mono floats at 48 kHz with the ffmpeg of the wheel."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        "-",
        "-f",
        "f32le",
        "-ac",
        "1",
        "-ar",
        "48000",
        "-",
    ]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)


class FederatedHomeserver(Homeserver):
    """Synapse that also speaks with other homeservers on loopback, by TLS with a certificate that nobody signed."""

    @classmethod
    async def start_federated(cls, directory: Path) -> Self:
        """Start one whose server name leads to its own port on loopback."""
        homeserver = cls(directory, free_port(), f"localhost:{free_port()}")
        homeserver._configure()
        _write_certificate(homeserver.directory)
        await homeserver._launch()
        return homeserver

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        del settings["federation_domain_whitelist"]
        federation = {
            "port": int(self.server_name.rpartition(":")[2]),
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "tls": True,
            "resources": [{"names": ["federation"], "compress": False}],
        }
        return {
            **settings,
            "listeners": [*settings["listeners"], federation],
            "tls_certificate_path": str(self.directory / "tls.crt"),
            "tls_private_key_path": str(self.directory / "tls.key"),
            "federation_verify_certificates": False,
            "ip_range_blacklist": [],
            "federation_ip_range_blacklist": [],
        }


class RtcHomeserver(FederatedHomeserver):
    """Synapse with everything of MatrixRTC; its transport is the token service at `rtc_port`, if a test runs one."""

    def __init__(self, directory: Path, port: int, server_name: str) -> None:
        super().__init__(directory, port, server_name)
        self.rtc_port = free_port()

    @property
    def service_url(self) -> str:
        """Address of the token service, as the homeserver names it."""
        return f"http://127.0.0.1:{self.rtc_port}"

    @property
    def federation_address(self) -> str:
        """Base address of its federation API, without a slash at its end."""
        return f"https://{self.server_name}"

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        transport = {"type": "livekit", "livekit_service_url": self.service_url}
        return {
            **settings,
            "experimental_features": {"msc4143_enabled": True, "msc4354_enabled": True},
            "matrix_rtc": {"transports": [transport]},
            "extra_well_known_client_content": {"org.matrix.msc4143.rtc_foci": [transport]},
        }


def _write_certificate(directory: Path) -> None:
    """Write a certificate for localhost that it signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    unencrypted = serialization.NoEncryption()
    (directory / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
    )
