"""Disks of a few megabytes, and what fills them."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mounts 3 MB at a folder.

    Raises:
        PermissionError: if nothing can be mounted here.
    """
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        raise PermissionError("a small disk cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def fill(folder: Path, spare: int) -> Iterator[None]:
    """Leaves only so many bytes of the disk that the folder is on, as long as the block lasts."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 0
        try:
            while True:
                size += file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, size - spare))
    try:
        yield
    finally:
        filler.unlink()
