"""Versity's gateway to S3 over a folder, in a process of its own. It checks signatures and checksums, as moto does not;
`make test-s3` builds it where Go is installed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.buckets.servers import KEYS, REGION
from tests.calls_clients.sfu import LAUNCH
from tests.ports import free_port

BINARY = Path(__file__).parents[2] / "build" / "versitygw"
MISSING = "versitygw is not built: install Go (https://go.dev/doc/install) and run `make test-s3` again"
DOMAIN = "s3.test"
"""The domain below which each bucket has a host name."""
START_S = 30.0
POLL_S = 0.05


def is_built() -> bool:
    return BINARY.exists()


@contextmanager
def gateway(directory: Path) -> Iterator[str]:
    """Run the gateway; give its address. Everything of it lies in `directory`."""
    for name in ("buckets", "meta"):
        (directory / name).mkdir(parents=True)
    port, log = free_port(), directory / "gateway.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(BINARY), *_options(port), "posix", "--sidecar", str(directory / "meta"),
             str(directory / "buckets")],
            env={
                **os.environ,
                "ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"],
                "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"],
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )  # fmt: skip
    try:
        for _ in range(int(START_S / POLL_S)):
            if _answers(port):
                break
            assert _runs_on(child), f"the gateway ended:\n{log.read_text()}"
        else:
            raise AssertionError(f"the gateway did not answer:\n{log.read_text()}")
        yield f"http://127.0.0.1:{port}"
    finally:
        child.kill()
        child.wait()


def _options(port: int) -> list[str]:
    return [
        "--port",
        f"127.0.0.1:{port}",
        "--region",
        REGION,
        "--virtual-domain",
        DOMAIN,
        "--health",
        "/health",
        "--quiet",
    ]


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=START_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _runs_on(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return True
    return False
