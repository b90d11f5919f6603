"""Moto's server of S3, in a thread, which checks no signatures, and buckets in it or in another server."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import ThreadedMotoServer

from storage.blobs import held

KEYS = {"AWS_ACCESS_KEY_ID": "AKIATESTS", "AWS_SECRET_ACCESS_KEY": "tests-secret-key"}
REGION = "eu-test-1"
_NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_IN_REGION = (
    b'<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<LocationConstraint>" + REGION.encode() + b"</LocationConstraint></CreateBucketConfiguration>"
)


@dataclass(frozen=True)
class TestBucket:
    """A bucket of a server, seen from outside of the product."""

    __test__ = False

    endpoint: str
    name: str

    def url(self, endpoint: str | None = None, prefix: str = "some/media") -> str:
        """Return the setting that names it, perhaps by a proxy."""
        return f"s3://{self.name}/{prefix}?endpoint={quote(endpoint or self.endpoint, safe=':/')}&region={REGION}"

    def request(self, method: str, path: str = "", body: bytes = b"") -> tuple[int, bytes]:
        connection = HTTPConnection(urlsplit(self.endpoint).netloc, timeout=20)
        try:
            signed = AWSRequest(method, f"{self.endpoint}/{self.name}{quote(path, safe='/?=&~')}", data=body)
            keys = Credentials(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"])
            S3SigV4Auth(keys, "s3", REGION).add_auth(signed)
            connection.request(method, signed.url.removeprefix(self.endpoint), body, dict(signed.headers.items()))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def names(self) -> dict[str, int]:
        """Return the sizes of all objects but the one that tells whose they are."""
        _, listing = self.request("GET", "?list-type=2")
        found = ElementTree.fromstring(listing).iter(f"{_NS}Contents")  # noqa: S314  of our own server
        sizes = {entry.findtext(f"{_NS}Key", ""): int(entry.findtext(f"{_NS}Size", "0")) for entry in found}
        return {name: size for name, size in sizes.items() if name.rpartition("/")[2] != held.OBJECT}

    def blobs(self) -> set[str]:
        """Return the last parts of all names."""
        return {name.rpartition("/")[2] for name in self.names()}

    def uploads(self) -> int:
        """Count the uploads in parts that are neither complete nor aborted."""
        _, listing = self.request("GET", "?uploads")
        return len([*ElementTree.fromstring(listing).iter(f"{_NS}Upload")])  # noqa: S314  of our own server


@contextmanager
def moto() -> Iterator[str]:
    """Run moto's server; give its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def new_bucket(endpoint: str, patch: pytest.MonkeyPatch) -> TestBucket:
    """Make a bucket, and set the keys of it in the environment."""
    for name in ("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        patch.delenv(name, raising=False)
    for name, value in KEYS.items():
        patch.setenv(name, value)
    bucket = TestBucket(endpoint, f"media-{secrets.token_hex(6)}")
    status, answer = bucket.request("PUT", body=_IN_REGION)
    assert status == 200, answer
    return bucket
