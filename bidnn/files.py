"""Files that appear under their name whole, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path` that takes its name when the block ends well.

    The file is flushed to the disk before it is renamed; if the block raises, it is removed and
    whatever stood under the name stays.

    Args:
        path: the final name; its folder is made if need be.

    Raises:
        OSError: if the folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
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


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
