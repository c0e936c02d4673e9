"""Files and folders that appear under their name whole, or not at all."""

import errno
import fcntl
import json
import math
import os
import platform
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, EFBIG, ENOSPC, EPIPE
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from bidnn.errors import UserError

LOCK = ".lock"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path` that takes its name when the block ends well.

    The file is flushed to the disk before it is renamed; if the block raises, it is removed and
    whatever stood under the name stays. What a process that was killed left behind is removed by
    the next one that writes the same file. A link is followed; a device or a pipe is written to.

    Args:
        path: the final name; its folder is made if need be.

    Raises:
        OSError: if the folder cannot be written, or the disk is full.
    """
    if is_stream(path):
        with _named(path), path.open("wb") as file:
            yield file
        return
    path = Path(os.path.realpath(path))
    with _named(path), _part_of(path, partial(Path.touch, exist_ok=False)) as part:
        with part.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Makes a temporary folder beside `path` that takes its name when the block ends well.

    As `whole_file`; but if another process makes the same folder meanwhile, that one stays.

    Args:
        path: the final name; the files in it are made by the block.

    Raises:
        OSError: if the folder cannot be written, or the disk is full.
    """
    with _part_of(path, Path.mkdir) as part:
        yield part
        for written in part.iterdir():
            with written.open("rb") as file:
                os.fsync(file.fileno())
        try:
            part.rename(path)
        except OSError:
            if not path.is_dir():
                raise


def new_folder(path: Path) -> Path:
    """Makes a folder that nobody else has: `path`, or with -2, -3 … after it where that exists.

    Raises:
        OSError: if it cannot be made.
    """
    number, vanished = 1, 0
    while True:
        folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if not folder.parent.is_dir():
                raise
            number += 1
        except FileNotFoundError:  # a run that was refused removed an empty folder above
            vanished += 1
            if vanished == 10:
                raise
        else:
            return folder


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds a folder for one run, by a locked file `.lock` in it that says who holds it.

    The system drops the lock with the process, however that ends. Where the file system knows no
    locks, nobody is held up.

    Args:
        folder: of the run; made if need be.

    Raises:
        UserError: if another run holds it, naming that.
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 1000, 0).decode(errors="replace").strip()
            os.close(handle)
            raise UserError(
                f"{folder}: another run is at work in this folder ({holder or 'just begun'}); wait "
                "for its end, or name another folder"
            ) from None
        except OSError:
            break
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(handle)):
                break
        os.close(handle)  # of a run that ended just now
    try:
        os.ftruncate(handle, 0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.pwrite(handle, f"process {os.getpid()} on {platform.node()}, {since}\n".encode(), 0)
        yield
    finally:
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(handle)):
                path.unlink()
        os.close(handle)


def is_stream(path: Path) -> bool:
    """Whether there is a device or a pipe under that name, which is written to, not replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Removes temporary files and folders that killed processes left: those that nobody locks.

    Where the file system knows no locks, they stay.

    Args:
        folder: where to look.
        name: the final name that they were to get; any, by default.
    """
    final = ".+" if name is None else re.escape(name)
    for left in folder.iterdir():
        if re.fullmatch(rf"\.{final}\.[0-9a-f]{{8}}\.part", left.name):
            with suppress(OSError):
                handle = _open(left)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(left)
                finally:
                    os.close(handle)


@contextmanager
def readable(path: Path, kind: str, hint: str = "") -> Iterator[None]:
    """Turns whatever a library raises over a damaged file into one error that names the file.

    Args:
        path: the file.
        kind: what it should be, for the message.
        hint: the way out, likewise.

    Raises:
        ValueError: for all that its content is to blame for.
        OSError: as it comes, if the file system is.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if reason.startswith("This file contains pickled"):  # NumPy, of whatever it does not know
            reason = "its first bytes are those of no such file"
        way_out = f"; {hint}" if hint else ""
        raise UserError(f"{path}: no readable {kind} ({reason}){way_out}") from error


def as_json(content: Any, indent: int | None = None) -> str:  # noqa: ANN401 — plain data
    """JSON as others read it: what is not finite is null, keys of dictionaries in their order."""

    def plain(value: Any) -> Any:  # noqa: ANN401 — likewise
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [plain(part) for part in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(content), indent=indent, allow_nan=False)


def check_not_read(written: Path, read: Iterable[str | Path], key: str) -> None:
    """Refuses an output that would replace what is read; links are followed.

    Args:
        written: the output.
        read: files that are read.
        key: the setting that names the output, for the message.

    Raises:
        UserError: naming both.
    """
    for name in read:
        if written.is_file() and Path(name).is_file() and written.samefile(name):
            raise UserError(f"{key}={written}: is what is read ({name}); choose another name")


def check_writable(path: Path) -> None:
    """Finds out, before hours of work, whether `whole_file` can write a file where it is wanted.

    Raises:
        OSError: naming the folder, or the name that is too long.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a file to write")
    if is_stream(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(f"{path}: this device or pipe cannot be written")
        return
    path = Path(os.path.realpath(path))
    try:
        with _part_of(path, partial(Path.touch, exist_ok=False)) as part:
            part.write_bytes(b"bidnn")
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENAMETOOLONG:
            raise OSError(
                f"{path}: the name is too long, with that of the temporary file beside it, which "
                "has 15 characters more; choose a shorter one"
            ) from error
        raise OSError(f"{path}: its folder {path.parent} cannot be written ({reason})") from error


def check_room(path: Path, size: int, what: str) -> None:
    """Finds out beforehand whether a file will fit.

    Args:
        path: where it will be written; its folder exists.
        size: bytes that will be needed, about.
        what: the setting that names it, for the message.

    Raises:
        OSError: naming what is needed and what is free.
    """
    if is_stream(path):
        return
    path = Path(os.path.realpath(path))
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise OSError(
            f"{what}: {size / 1e6:.3g} MB are needed in {path.parent}, and {free / 1e6:.3g} MB are "
            "free; choose another folder, or make room"
        )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Adds the file's name to what the system says of writing to it."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in (ENOSPC, EDQUOT, EFBIG, EPIPE):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def _part_of(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Makes a temporary file or folder beside `path`, locked, and removes it unless it is renamed.

    The system drops the lock with the process, however that ends: what is not locked is left over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    handle = None
    while handle is None:
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        make(part)
        handle = _lock(part)
    try:
        yield part
    finally:
        os.close(handle)
        _remove(part)


def _lock(part: Path) -> int | None:
    """Locks it until the descriptor is closed; None if another process just took it for left over.

    Where the file system knows no locks it does without: nothing is taken for left over there.
    """
    try:
        handle = _open(part)
    except FileNotFoundError:
        return None
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    if part.exists():
        return handle
    os.close(handle)
    return None


def _open(part: Path) -> int:
    return os.open(part, os.O_RDONLY if part.is_dir() else os.O_RDWR)  # NFS locks the writable


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)
