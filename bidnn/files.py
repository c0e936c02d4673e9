"""Files and folders that appear under their name whole, or not at all."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bidnn.errors import UserError

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
    handle, name = tempfile.mkstemp(".part", _begin(path), path.parent)
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
def whole_folder(path: Path) -> Iterator[Path]:
    """Makes a temporary folder beside `path` that takes its name when the block ends well.

    As `whole_file`; but if another process makes the same folder meanwhile, that one stays.

    Args:
        path: the final name; the files in it are made by the block.

    Raises:
        OSError: if the folder cannot be written, or the disk is full.
    """
    temporary = Path(tempfile.mkdtemp(".part", _begin(path), path.parent))
    try:
        yield temporary
        for written in temporary.iterdir():
            with written.open("rb") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o777 & ~_umask())
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
        raise UserError(f"{path}: no readable {kind} ({reason})") from error


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


def _begin(path: Path) -> str:
    """Makes the parent and removes what killed processes left in it; how a new name begins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = f".{path.name}.{_HOST}-"
    for left in path.parent.iterdir():
        if left.name.startswith(mine) and left.suffix == ".part":
            owner = left.name.removeprefix(mine).split(".")[0]
            if not owner.isdigit() or _runs(int(owner)):
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
    return f"{mine}{os.getpid()}."


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
