"""The wheel in an empty environment, without a checkout."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


@pytest.mark.packages
def test_the_demo_runs_from_the_wheel_alone(tmp_path: Path) -> None:
    """`pip install "matrix-aircheck[demo]"` in an empty environment brings all that `aircheck demo --once` needs."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path / "dist"), versions=["standard"])
    venv.create(tmp_path / "venv", with_pip=True)
    program = tmp_path / "venv" / "bin"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    line = [str(program / "python"), "-m", "pip", "install", "--quiet", f"{wheel}[demo]"]
    subprocess.run(line, cwd=tmp_path, env=clean, check=True)
    found = [str(program / "python"), "-c", "import bot; print(bot.__file__)"]
    said = subprocess.run(found, cwd=tmp_path, env=clean, check=True, capture_output=True, text=True).stdout
    assert str(tmp_path) in said
    assert str(Path(sys.prefix)) not in said
    demo = [str(program / "aircheck"), "demo", "--once", "--directory", str(tmp_path / "demo")]
    done = subprocess.run(demo, cwd=tmp_path, env=clean, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "checked: the episode" in done.stdout
