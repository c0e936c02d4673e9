"""A wheel holds all that the programs need, away from the repository."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from bidnn.programs.config import CONF
from bidnn.training import record
from tests.programs.running import ROOT, TINY

pytestmark = pytest.mark.slow
SOURCES = ("bidnn", "conf", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel of a copy of the sources, unpacked; built from what is installed, offline."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "sources").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "sources" / name)
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    command = [sys.executable, "-m", "pip", "wheel", *options, "-w", str(folder)]
    subprocess.run([*command, str(folder / "sources")], check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_every_setting_and_every_module_travels_in_the_wheel(unpacked):
    def files(folder, kind):
        return {path.relative_to(folder) for path in folder.rglob(f"*.{kind}")}

    assert files(unpacked / "bidnn" / "conf", "yaml") == files(CONF, "yaml")
    assert files(unpacked / "bidnn", "py") == files(ROOT / "bidnn", "py")
    assert (unpacked / "bidnn" / "py.typed").exists()
    for kind in ("html", "css", "js"):
        assert files(unpacked / "bidnn" / "report", kind) == files(ROOT / "bidnn" / "report", kind)


def test_the_repository_around_an_installed_program_is_not_recorded_as_its_own(monkeypatch):
    if not (ROOT / ".git").exists():
        pytest.skip("the sources are in no repository")
    assert len(record._git()["commit"]) == 40
    monkeypatch.setattr(record, "ROOT", ROOT / "bidnn")
    assert record._git() is None


def test_the_wheel_trains_away_from_the_repository(unpacked, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}

    def bidnn(*arguments):
        command = [sys.executable, "-m", "bidnn", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )

    where = "import bidnn.programs.config as c; print(c.CONF)"
    command = [sys.executable, "-c", where]
    found = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
    assert found.strip() == str(unpacked / "bidnn" / "conf")
    assert "experiment " in bidnn("train", "--help").stdout
    bidnn("train", "experiment=digits", *TINY, "callbacks.report=null", "report=true")
    (folder,) = (tmp_path / "runs").glob("*/*")
    assert "<title>" in (folder / "report.html").read_text()
    bidnn("embed", f"checkpoint={folder}", "data=digits", "output.path=z.npz")
    assert '"map"' in bidnn("evaluate", "z.npz").stdout.splitlines()[-1]
