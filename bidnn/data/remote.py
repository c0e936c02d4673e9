"""Files that are elsewhere, at whatever fsspec opens, are brought here once.

They are in a folder of their own for each path, `~/.cache/bidnn/KEY` (or beneath XDG_CACHE_HOME),
which may be deleted at any time. Each is fetched anew when it has changed there.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from glob import has_magic
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from bidnn.errors import UserError
from bidnn.files import check_room, whole_file

log = logging.getLogger(__name__)

Source = TypeVar("Source")
VERSIONS = ".versions"
PASSING = ("name", "url", "time", "atime")
"""What fsspec says of a file that changes while the file does not, such as when it was read."""


def with_local_files(source: Source, *, validation: bool = False) -> Source:
    """A source whose files are here; those that its settings name by `://` are brought.

    Args:
        source: a dataclass of settings; any other is returned as it is.
        validation: of the files to validate on, `val_…`, instead of the others.

    Raises:
        UserError, OSError: as `local_path`.
    """
    if not is_dataclass(source) or isinstance(source, type):
        return source
    found = {}
    for field in fields(source):
        value = getattr(source, field.name)
        wanted = field.name.startswith("val_") == validation
        if wanted and isinstance(value, str) and "://" in value:
            found[field.name] = local_path(value)
    return replace(source, **found) if found else source


def local_path(url: str) -> str:
    """Where a file, a folder or the files of a pattern are, after they are brought here.

    Args:
        url: `s3://…`, `https://…`, `hf://…` or the like; `file://` names what is here already. A
            folder of a web server ends in `/`.

    Returns:
        A path, or a pattern.

    Raises:
        UserError: if there is none, it cannot be reached, or it needs a package.
        OSError: if there is no room for it.
    """
    import fsspec
    from filelock import FileLock
    from fsspec.implementations.local import LocalFileSystem

    with _named(url):
        system, path = fsspec.core.url_to_fs(url)
        if isinstance(system, LocalFileSystem):
            return str(path)
        system.invalidate_cache()
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bidnn"
    folder = root / hashlib.sha256(url.encode()).hexdigest()[:24]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # other processes of the same run wait, and find it here
        with _named(url):
            there = _look(system, path)
        stale = {name: info for name, info in there.files.items() if _changed(folder, name, info)}
        if stale:
            check_room(folder / ".", sum(i.get("size") or 0 for i in stale.values()), url)
        for number, (name, info) in enumerate(stale.items(), start=1):
            with _named(url):
                _bring(system, info, folder / name, f"{number}/{len(stale)} {Path(name).name}")
            _version_file(folder, name).parent.mkdir(parents=True, exist_ok=True)
            _version_file(folder, name).write_text(_version(info))
        _remove_others(folder, there.files)
    done = "brought to" if stale else "unchanged since it was brought to"
    log.info("%s: %s %s", url, done, folder / there.name)
    return str(folder / there.name)


def files_at(url: str) -> dict[str, tuple[str, str]]:
    """What a folder or a pattern elsewhere names; nothing is brought.

    Returns:
        For each file its name beneath what all have in common, its address, and what tells of a
        change.

    Raises:
        UserError: if there is none, it cannot be reached, or it needs a package.
    """
    import fsspec

    with _named(url):
        system, path = fsspec.core.url_to_fs(url)
        system.invalidate_cache()
        there = _look(system, path)
        return {
            name: (system.unstrip_protocol(info["name"]), _version(info))
            for name, info in there.files.items()
        }


@dataclass(frozen=True, slots=True)
class _There:
    """What a path names.

    Attributes:
        name: of the file, the folder or the pattern, beneath a folder of ours.
        files: what fsspec knows of each file, by its name beneath the folder.
    """

    name: str
    files: dict[str, dict[str, Any]]


def _look(system: Any, path: str) -> _There:  # noqa: ANN401 — fsspec.AbstractFileSystem
    if has_magic(path) and not system.exists(path):
        parts = path.split("/")
        magic = next(number for number, part in enumerate(parts) if has_magic(part))
        found = system.glob(path, detail=True)
        base, name = "/".join(parts[:magic]), "/".join(parts[magic:])
    elif path.endswith("/") or system.info(path)["type"] == "directory":
        path = path.rstrip("/")
        found = system.find(path, detail=True)
        base, _, name = path.rpartition("/")
    else:
        info = system.info(path)
        name = path.rpartition("/")[2]
        return _There(name, {name: info})
    files = {}
    for full, info in sorted(found.items()):
        if info["type"] == "file":
            inside = _beneath(full, base)
            files[inside] = info if info.get("size") is not None else system.info(full)
    if not files:
        raise FileNotFoundError(path)
    return _There(name, files)


def _beneath(full: str, base: str) -> str:
    """The name of a file beneath a folder.

    Raises:
        UserError: if it leads out of it.
    """
    name = full.strip("/").removeprefix(base.strip("/")).lstrip("/")
    if ".." in PurePosixPath(name).parts:
        raise UserError(f"{full}: a name with .. in it, which is not brought here")
    return name


def _bring(system: Any, info: dict[str, Any], path: Path, title: str) -> None:  # noqa: ANN401 — fsspec's
    from fsspec.callbacks import TqdmCallback

    look = {"desc": title, "unit": "B", "unit_scale": True, "leave": False, "disable": None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file, TqdmCallback(tqdm_kwargs=look) as bar:
        system.get_file(info["name"], file.name, callback=bar)
        came, size = Path(file.name).stat().st_size, info.get("size")
        if size is not None and came < size:
            raise OSError(f"{came} of {size} bytes of {path.name} came; try again")


def _version(info: dict[str, Any]) -> str:
    """What tells of a change: size, times and checksums, whichever a system knows."""
    known = {key: str(value) for key, value in info.items() if key not in PASSING}
    return json.dumps(known, sort_keys=True)


def _version_file(folder: Path, name: str) -> Path:
    return folder / VERSIONS / name


def _changed(folder: Path, name: str, info: dict[str, Any]) -> bool:
    try:
        known = _version_file(folder, name).read_text()
    except OSError:
        return True
    return known != _version(info) or not (folder / name).is_file()


def _remove_others(folder: Path, files: dict[str, Any]) -> None:
    """Removes what was brought earlier and is no longer there, which a pattern would find."""
    versions = folder / VERSIONS
    for version in [path for path in versions.rglob("*") if path.is_file()]:
        name = version.relative_to(versions)
        if name.as_posix() not in files:
            (folder / name).unlink(missing_ok=True)
            version.unlink()


@contextmanager
def _named(url: str) -> Iterator[None]:
    """Turns whatever a system raises into one error that names the path.

    Raises:
        UserError: for all but what the disk here is to blame for.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{url}: no such file, or it cannot be reached") from error
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{url}: cannot be read ({reason})") from error
