"""The distribution: its files, and its version."""

import re
import subprocess
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
NAME = "matrix-aircheck"


def built(kind: type[WheelBuilder] | type[SdistBuilder], tree: Path, to: Path) -> Path:
    (made,) = kind(str(tree)).build(directory=str(to), versions=["standard"])
    return Path(made)


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as files:
        return {name: files.read(name) for name in files.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(WheelBuilder, ROOT, tmp_path_factory.mktemp("dist"))


def test_the_wheel_holds_every_file_of_the_program(wheel: Path) -> None:
    """Templates, static files, fonts, speech, translations, migrations and markers of types are in it, as in the
    tree, and nothing else."""
    if not (ROOT / ".git").exists():
        pytest.skip("the tree is no checkout, which knows its own files")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "bot", "storage"],  # noqa: S607
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    ours = {name: data for name, data in content(wheel).items() if ".dist-info/" not in name}
    assert ours == {name: (ROOT / name).read_bytes() for name in listed if (ROOT / name).exists()}
    for ending in (".html", ".css", ".js", ".woff2", ".ttf", ".po", "v0001_first_tables.py", "py.typed"):
        assert any(name.endswith(ending) for name in ours), ending


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    """The wheel installs the command `aircheck`, carries the licences, and names every extra of `pyproject.toml`."""
    files = {
        name.split(".dist-info/")[1]: data.decode() for name, data in content(wheel).items() if "dist-info" in name
    }
    assert "aircheck = bot.shell.cli:main" in files["entry_points.txt"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"^Provides-Extra: (.+)$", files["METADATA"], re.MULTILINE)) == set(
        project["optional-dependencies"]
    )
    assert {"licenses/LICENSE", "licenses/bot/web/static/hls.light.min.LICENSE.txt"} <= set(files)


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """The source distribution, unpacked and built, gives the same files."""
    with tarfile.open(built(SdistBuilder, ROOT, tmp_path)) as source:
        source.extraction_filter = getattr(tarfile, "data_filter", None)  # early versions of 3.11 have none
        source.extractall(tmp_path)  # noqa: S202  our own archive
    (tree,) = (path for path in tmp_path.iterdir() if path.is_dir())
    again = built(WheelBuilder, tree, tmp_path / "again")
    assert again.name == wheel.name
    assert content(again) == content(wheel)


def test_the_version_stands_in_one_place() -> None:
    """`pyproject.toml` has it; the program reads it from its installation."""
    written = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version(NAME) == written
    named = re.compile(rf'(?i)\b_*version_*\b["\s:=]+["\']?{re.escape(written)}\b')
    sources = [*(ROOT / "bot").rglob("*.py"), *(ROOT / "storage").rglob("*.py"), ROOT / "Dockerfile", ROOT / "Makefile"]
    assert [path for path in sources if named.search(path.read_text())] == []
