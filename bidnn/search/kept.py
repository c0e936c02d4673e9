"""An index in a folder: its files, and whether the embedding beside it is newer."""

import json
import shlex
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bidnn.errors import UserError
from bidnn.files import check_room, readable

FORMAT = 1
META = "index.json"
SUFFIXES = {"vectors": "npy", "rows": "parquet", "lists": "faiss"}


def is_index(folder: Path) -> bool:
    """Whether there is an index in it."""
    return (folder / META).is_file()


def folder_of(file: Path, folder: Path) -> Path:
    """Where the index of an embedding is; that may have been named in the embedding's place."""
    return file if is_index(file) else folder


def is_older(folder: Path, file: Path) -> bool:
    """Whether an index was last written before the embedding that it is of."""
    if folder == file or not file.exists():
        return False
    return file.stat().st_mtime > (folder / META).stat().st_mtime


def check_current(folder: Path, file: Path) -> None:
    """Refuses an index of an embedding that has been written since.

    Raises:
        UserError: naming both, and how it is made anew.
    """
    if is_older(folder, file):
        usual = str(folder) == f"{file}.index"
        words = [str(file), *([] if usual else [f"folder={folder}"])]
        raise UserError(
            f"{file} was written after its index, {folder}; make that anew with bidnn index "
            f"{shlex.join(words)}"
        )


def next_number(folder: Path) -> int:
    """The number of what is written next into the folder of an index.

    Raises:
        UserError: if its description is damaged.
    """
    with readable(folder, "index"):
        return int(json.loads((folder / META).read_text())["number"]) + 1


def files_of(folder: Path, number: int) -> dict[str, Path]:
    """The files beside META, by kind.

    Args:
        folder: of the index.
        number: how often it was written before, since no file is written over.
    """
    return {kind: folder / f"{kind}-{number}.{suffix}" for kind, suffix in SUFFIXES.items()}


def remove_others(folder: Path, number: int) -> None:
    """Removes files of the index before, and of one that was cut off."""
    for path in folder.iterdir():
        ours = path.name.startswith(tuple(f"{kind}-" for kind in SUFFIXES))
        if ours and path not in files_of(folder, number).values():
            path.unlink()


def mapped(folder: Path, number: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Room for vectors.

    Raises:
        OSError: if there is none on the disk.
    """
    path = files_of(folder, number)["vectors"]
    check_room(path, 4 * shape[0] * shape[1], f"an index in {folder}")
    return np.lib.format.open_memmap(path, "w+", np.float32, shape)
