"""Files that appear under their name whole, or not at all."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_HOST = socket.gethostname().replace(".", "-")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path` that takes its name when the block ends well.

    The file is flushed to the disk before it is renamed; if the block raises, it is removed and
    whatever stood under the name stays. What a process that was killed left behind is removed by
    the next one that writes the same file.

    Args:
        path: the final name; its folder is made if need be.

    Raises:
        OSError: if the folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = f".{path.name}.{_HOST}-"
    for left in path.parent.iterdir():
        if left.name.startswith(mine) and left.suffix == ".part":
            owner = left.name.removeprefix(mine).split(".")[0]
            if owner.isdigit() and not _runs(int(owner)):
                left.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(".part", f"{mine}{os.getpid()}.", path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Turns whatever a library raises over a damaged file into one error that names the file.

    Args:
        path: the file.
        kind: what it should be, for the message.

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
        raise ValueError(f"{path}: no readable {kind} ({reason})") from error


def check_writable(path: Path) -> None:
    """Finds out, before hours of work, whether a file can be written where it is wanted.

    Raises:
        OSError: naming the folder.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            probe.write(b"bidnn")
            probe.flush()
    except OSError as error:
        reason = error.strerror or str(error)
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
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise OSError(
            f"{what}: {size / 1e6:.3g} MB are needed in {path.parent}, and {free / 1e6:.3g} MB are "
            "free; choose another folder, or make room"
        )


def _runs(process: int) -> bool:
    """Whether there is such a process on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
