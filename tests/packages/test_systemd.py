"""The unit for systemd: valid, exposed little, and with a sandbox in which everything works that the bot does.

The last is shown by a systemd that is booted in namespaces of its own, which needs root.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "aircheck.service"
MOST_EXPOSED = 1.5
TARGET = """[Unit]
DefaultDependencies=no
Wants=aircheck.service
"""
HERE = """[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
Wants=
After=
[Service]
Type=oneshot
Restart=no
User=nobody
Group=nogroup
ProtectHome=tmpfs
BindReadOnlyPaths={python}
WorkingDirectory={root}
Environment=PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
StandardOutput=file:{said}
StandardError=file:{said}
ExecStart=
ExecStart={command}
"""
"""Changes to the unit: a Python that may lie in a home, another account, and another command. The sandbox stays."""
WORK = {
    "calls": "pytest -q -p no:cacheprovider tests/calls/media/test_rtc.py",
    "limits of ffmpeg": "pytest -q -p no:cacheprovider tests/audio/test_child.py tests/audio/test_ffmpeg.py"
    " -k 'test_child or earned or limit or refused or bound or described'",
    "metrics": "pytest -q -p no:cacheprovider tests/monitoring/test_endpoint.py -k what_is_exported",
    "a whole demo": "bot demo --once --directory /var/lib/aircheck/demo",
}

analyzes = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@analyzes
def test_the_unit_is_valid(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing in it, but that no Aircheck is installed where it says."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/aircheck/.venv/bin/aircheck", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)  # noqa: S607
    assert (done.returncode, done.stderr) == (0, "")


@analyzes
def test_the_unit_exposes_little() -> None:
    """`systemd-analyze security` counts an exposure of 1.5 of 10 at most."""
    line = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for aircheck.service: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.packages
@pytest.mark.parametrize("work", WORK)
def test_everything_works_in_the_sandbox_of_the_unit(work: str, tmp_path: Path) -> None:
    """Calls over UDP with DTLS, ffmpeg under its limits, metrics of the process, and a homeserver, a bot with its
    database and an episode."""
    if os.geteuid() or not Path("/lib/systemd/systemd").exists() or shutil.which("unshare") is None:
        pytest.skip("no systemd can be booted here")
    units, said = tmp_path / "units", Path("/tmp") / f"aircheck-{os.getpid()}-said"
    (units / "aircheck.service.d").mkdir(parents=True)
    shutil.copy(UNIT, units)
    (units / "test.target").write_text(TARGET)
    python = Path(sys.executable).resolve().parents[1]
    command = f"{sys.executable} -m {WORK[work]}"
    (units / "aircheck.service.d" / "here.conf").write_text(
        HERE.format(python=python, root=ROOT, said=said, command=command)
    )
    line = ["timeout", "--signal=INT", "300", str(Path(__file__).parent / "boot.sh"), str(units)]
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (said.read_text()[-3000:] if said.exists() else "") + done.stderr[-1000:]
    finally:
        said.unlink(missing_ok=True)
