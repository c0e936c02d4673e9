"""`make release-check`: what would be released, built, looked into, installed and used elsewhere.

The wheel and the sdist are built from the files that git knows, each is installed into a clean
environment of every Python from 3.11 on that this machine has, and used from an empty folder, as
somebody who has no copy of the repository uses it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = PROJECT["version"]
BESIDE = {
    *("CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "README.md"),
    *("constraints.txt", "pyproject.toml", "setup.py"),
}
"""What the sdist has besides bidnn/ and conf/."""
MADE = {"PKG-INFO", "setup.cfg"}
SMALL = (
    *("data.missing_rate=0.5", "model.hdn=32", "model.rep=16", "trainer.max_epochs=3"),
    *("callbacks.progress=null", "hydra.run.dir=model", "output.path=embedding.parquet"),
)


def main() -> None:
    """Builds, looks, installs and uses; the exit status is 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", nargs="*", help="only these, as 3.12; all unless given")
    wanted = parser.parse_args().python
    pythons = {name: path for name, path in found_pythons() if not wanted or name in wanted}
    claimed = set(re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"])))
    if not wanted and claimed != set(pythons):
        sys.exit(f"pyproject.toml names Python {sorted(claimed)}, here are {sorted(pythons)}")
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        folder = Path(name)
        sources, tracked = export(folder / "sources")
        wheel, sdist = build(sources, folder)
        check_sdist(sdist, tracked)
        check_wheel(wheel, tracked)
        for python, path in pythons.items():
            for package in (wheel, sdist):
                began = time.perf_counter()
                kind = "wheel" if package is wheel else "sdist"
                place = folder / f"{python}-{kind}"
                use(install(path, package, place / "environment"), place / "elsewhere")
                shutil.rmtree(place)
                say(f"Python {python}, {kind}: {time.perf_counter() - began:.0f} s")


def found_pythons() -> Iterator[tuple[str, str]]:
    """Version and path of each interpreter from 3.11 on that runs, the first found of a version."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    tried = [sys.executable, *(str(path) for path in sorted(kept.glob("3.*/bin/python")))]
    tried += [path for minor in range(11, 30) if (path := shutil.which(f"python3.{minor}"))]
    seen: set[str] = set()
    for path in tried:
        ask = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        asked = subprocess.run(ask, capture_output=True, text=True, check=False)
        name = asked.stdout.strip()
        if asked.returncode or name in seen or tuple(map(int, name.split("."))) < (3, 11):
            continue
        seen.add(name)
        yield name, path


def export(folder: Path) -> tuple[Path, set[str]]:
    """A copy of the files that git knows, and their names."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    tracked = {name for name in listed.split("\0") if name}
    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder, tracked


def build(sources: Path, folder: Path) -> tuple[Path, Path]:
    """The wheel, made of the sdist, and the sdist; their metadata are those an index takes."""
    tools = environment(sys.executable, folder / "tools")
    pip(tools, "build", "twine")
    run(tools, "build", "--outdir", folder / "dist", sources)
    (wheel,), (sdist,) = ((folder / "dist").glob(kind) for kind in ("*.whl", "*.tar.gz"))
    run(tools, "twine", "check", "--strict", wheel, sdist)
    assert wheel.name == f"bidnn-{VERSION}-py3-none-any.whl", wheel.name
    assert sdist.name == f"bidnn-{VERSION}.tar.gz", sdist.name
    return wheel, sdist


def check_sdist(sdist: Path, tracked: set[str]) -> None:
    """The package, its settings and what belongs beside them, and nothing else."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    made = {name for name in names if name in MADE or name.startswith("bidnn.egg-info/")}
    meant = {name for name in tracked if name.startswith(("bidnn/", "conf/"))} | BESIDE
    same("the sdist", names - made, meant)
    say(f"{sdist.name}: {len(names)} files, {sdist.stat().st_size / 1000:.0f} kB")


def check_wheel(wheel: Path, tracked: set[str]) -> None:
    """The package with its settings, whose description is the README."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith("bidnn-")}
        metadata = archive.read(f"bidnn-{VERSION}.dist-info/METADATA").decode()
    meant = {name for name in tracked if name.startswith("bidnn/")}
    meant |= {f"bidnn/{name}" for name in tracked if name.startswith("conf/")}
    same("the wheel", names, meant)
    assert f"\nVersion: {VERSION}\n" in metadata
    assert (ROOT / "README.md").read_text().strip() in metadata
    say(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1000:.0f} kB")


def same(what: str, found: set[str], meant: set[str]) -> None:
    """Ends the check unless two sets of files are the same."""
    if found != meant:
        more, less = sorted(found - meant), sorted(meant - found)
        sys.exit(f"{what} has what it should not: {more}; and lacks: {less}")


def environment(python: str, folder: Path) -> Path:
    """The interpreter of a new virtual environment."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


def install(path: str, package: Path, folder: Path) -> Path:
    """The interpreter of a new environment that has the package, in the versions of constraints."""
    python = environment(path, folder)
    pip(python, str(package))
    return python


def pip(python: Path, *packages: str) -> None:
    """Installs by constraints.txt, also what a build in isolation needs."""
    pinned = {"PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    options = ("--quiet", "--disable-pip-version-check")
    command: list[str | Path] = [python, "-m", "pip", "install", *options, *packages]
    subprocess.run(command, check=True, env={**os.environ, **pinned}, stderr=subprocess.DEVNULL)


def run(python: Path, *words: str | Path, cwd: Path | None = None) -> str:
    """What an environment's `bidnn`, its `python -c` or a module prints; ends if it fails."""
    command: list[str | Path] = [python, *words] if words[0] == "-c" else [python, "-m", *words]
    if words[0] == "bidnn":
        command = [python.parent / "bidnn", *words[1:]]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    asked = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    if asked.returncode:
        sys.exit(f"{' '.join(map(str, command))}: status {asked.returncode}\n{asked.stderr}")
    return str(asked.stdout)


def use(python: Path, folder: Path) -> None:
    """Trains, embeds, finds and evaluates, by the command and from Python, in an empty folder."""
    folder.mkdir(parents=True)
    assert run(python, "bidnn", "--version", cwd=folder) == f"bidnn {VERSION}\n"
    asked = "import bidnn; from bidnn import BiDNN; print(bidnn.__version__, bidnn.__file__)"
    version, _, where = run(python, "-c", asked, cwd=folder).strip().partition(" ")
    assert version == VERSION
    assert Path(where).is_relative_to(python.parents[1]), where
    assert "model.hdn" in run(python, "bidnn", "train", "--help", cwd=folder)
    run(python, "bidnn", "train", *SMALL, cwd=folder)
    assert "<title>" in (folder / "model" / "report.html").read_text()
    again = ("checkpoint=model", "data=digits", "output.path=z.parquet")
    run(python, "bidnn", "embed", *again, cwd=folder)
    assert '"map"' in run(python, "bidnn", "evaluate", "z.parquet", cwd=folder)
    run(python, "bidnn", "index", "z.parquet", cwd=folder)
    hits = ("z.parquet", "checkpoint=model", "data=digits", "k=1", "output.path=hits.run")
    run(python, "bidnn", "search", *hits, cwd=folder)
    found = [line.split() for line in (folder / "hits.run").read_text().splitlines()]
    assert len(found) == 1797
    assert sum(query == hit for query, _, hit, *_ in found) > 1700, "rows do not find themselves"
    asked = "import bidnn; print(bidnn.load('model').translate(first=[[0.5] * 32]).shape)"
    assert run(python, "-c", asked, cwd=folder) == "(1, 32)\n"


def say(line: str) -> None:
    """A line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
