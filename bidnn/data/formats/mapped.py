"""Arrays that a file was turned into once, in a folder, and that every later run maps.

`meta.json` in the folder says what is in it, and how its files were when it was made. The folder
may be deleted at any time.
"""

import json
import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bidnn.files import remove_leftovers, whole_folder

log = logging.getLogger(__name__)

META = "meta.json"


def open_mapped(
    folder: Path, origin: str, fill: Callable[[Path], dict[str, Any]]
) -> dict[str, Any] | None:
    """What is known of the arrays in a folder, which is filled if it is not there, or damaged.

    Args:
        folder: where they are; what is beside it was made of the same source.
        origin: how the names of folders begin that were made of what the source is now; others
            are removed, and who has one mapped keeps it until he is done.
        fill: writes the arrays into a folder, and says what is to be known.

    Returns:
        What `fill` said; None if the folder is gone again.

    Raises:
        OSError: if it cannot be written; nothing is left behind then, nor if `fill` raises.
    """
    meta = read_meta(folder)
    if meta is not None:
        return meta
    if folder.is_dir():
        log.warning("%s: damaged, or changed since it was made; it is made anew", folder)
        shutil.rmtree(folder)
    try:
        with whole_folder(folder) as temporary:
            write_meta(temporary, fill(temporary))
    except BaseException:
        with suppress(OSError):  # there is another in it
            folder.parent.rmdir()
        raise
    remove_leftovers(folder.parent)
    for other in folder.parent.iterdir():
        if not other.name.startswith((origin, ".")):
            shutil.rmtree(other, ignore_errors=True)
    return read_meta(folder)


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Says what is in a folder, when all of it is written."""
    files = {file.name: _state(file) for file in folder.iterdir()}
    (folder / META).write_text(json.dumps(meta | {"files": files}) + "\n")


def read_meta(folder: Path) -> dict[str, Any] | None:
    """What is in a folder; None if there is none, or a file is gone or was changed."""
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text())
        whole = all(_state(folder / file) == state for file, state in meta["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return meta if whole else None


def append(path: Path, values: NDArray[Any]) -> None:
    """Adds values to a file, as they lie in memory."""
    with path.open("ab") as file:
        file.write(np.ascontiguousarray(values).data)


def map_array(path: Path, kind: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Values in a file, of a dtype; an empty one cannot be mapped."""
    if not all(shape):
        return np.zeros(shape, kind)
    return np.memmap(path, kind, "r", shape=shape)


def _state(file: Path) -> list[int]:
    """What tells of a change: size, and time of the last change."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]
