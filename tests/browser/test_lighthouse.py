"""Lighthouse, as on a middling phone: performance, accessibility and best practices of pages of each kind."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.browser.chromium import CHROMIUM, FOLDER
from tests.browser.conftest import Shown

pytestmark = pytest.mark.browser

LIGHTHOUSE = FOLDER / "node_modules" / "lighthouse" / "cli" / "index.js"
CATEGORIES = ("performance", "accessibility", "best-practices")
WANTED = 95
TIMES = 5
WITHIN_S = 180.0


async def scores(address: str, directory: Path) -> dict[str, float]:
    """Return the points of 100 in each category."""
    assert CHROMIUM is not None, "Chromium is not installed"
    report = directory / "report.json"
    process = await asyncio.create_subprocess_exec(
        "node",
        str(LIGHTHOUSE),
        address,
        "--quiet",
        "--output=json",
        f"--output-path={report}",
        f"--only-categories={','.join(CATEGORIES)}",
        "--chrome-flags=--headless=new --no-sandbox",
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(directory), "CHROME_PATH": CHROMIUM},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, out.decode()[-2000:]
    told = json.loads(await asyncio.to_thread(report.read_text))
    assert not told.get("runtimeError"), told["runtimeError"]
    return {name: 100 * told["categories"][name]["score"] for name in CATEGORIES}


@pytest.mark.parametrize("page", ["room", "broadcast", "studio"])
async def test_lighthouse_gives_good_marks(shown: Shown, tmp_path: Path, page: str) -> None:
    """At least 95 of 100 in each category. Whatever else the machine does only lowers a mark, so the best of five tries
    counts."""
    address = shown.address(shown.gallery.addresses()[page])
    runs = [await scores(address, tmp_path)]
    while len(runs) < TIMES and any(max(run[name] for run in runs) < WANTED for name in CATEGORIES):
        runs.append(await scores(address, tmp_path))
    assert {name: marks for name in CATEGORIES if (marks := max(run[name] for run in runs)) < WANTED} == {}, runs
