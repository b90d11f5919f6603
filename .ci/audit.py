"""Compares the lock files with known vulnerabilities, by pip-audit in an environment of its own.

Exit code 1 when a locked package has a known vulnerability that is not accepted below. A database that can't be
reached fails nothing and is never taken for a good result: how many packages were not compared is said.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
PATIENCE_S = 120
ACCEPTED = {
    "pillow": "held back by simplematrixbotlib; it opens no stranger's file (docs/dependencies.md)",
}


def verdict(answer: str | None) -> tuple[list[str], int]:
    """What pip-audit's JSON comes to, in lines, and the exit code. None: there was no answer."""
    packages = _packages(answer)
    if not packages:
        return ["audit: NOT COMPARED with known vulnerabilities: no database could be asked"], 0
    lines, code, compared = [], 0, 0
    for package in packages:
        if not isinstance(package.get("vulns"), list):
            continue  # it was skipped
        compared += 1
        name, version = package.get("name"), package.get("version")
        for found in package["vulns"]:
            fixed = ", ".join(found.get("fix_versions") or ()) or "no version"
            line = f"audit: {name} {version}: {found.get('id')}, fixed in {fixed}"
            accepted = ACCEPTED.get(str(name).lower())
            lines.append(f"{line}; accepted: {accepted}" if accepted else line)
            code |= accepted is None
    left = len(packages) - compared
    if left:
        lines.append(f"audit: NOT COMPARED with known vulnerabilities: {left} of {len(packages)} packages")
    lines.append(f"audit: {compared} packages compared, {'vulnerabilities found' if code else 'nothing new found'}")
    return (lines if compared else lines[:-1]), int(code)


def _packages(answer: str | None) -> list[dict[str, Any]]:
    try:
        found = json.loads(answer or "")["dependencies"]
        return [one for one in found if isinstance(one, dict)]
    except (ValueError, KeyError, TypeError):
        return []


def ask() -> str | None:
    """pip-audit's answer; None when it can't be had. What pip and pip-audit say names addresses: it is not shown."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        locks = [part for lock in LOCKS for part in ("-r", str(ROOT / lock))]
        try:
            venv.create(folder, with_pip=True)
            _quietly([str(python), "-m", "pip", "install", "--quiet", "pip-audit"], check=True)
            command = [str(python), "-m", "pip_audit", *locks, "--disable-pip", "--require-hashes"]
            return _quietly([*command, "--progress-spinner", "off", "--format", "json"], check=False)
        except (OSError, subprocess.SubprocessError):
            return None


def _quietly(command: list[str], *, check: bool) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=PATIENCE_S, check=check
    )
    return done.stdout


if __name__ == "__main__":
    said, exit_code = verdict(ask())
    sys.stdout.write("\n".join([*said, ""]))
    sys.exit(exit_code)
