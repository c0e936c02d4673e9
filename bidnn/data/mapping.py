"""Files that rows are read from whenever they are looked at: how they were, and their pages."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bidnn.data.shards import Shards
from bidnn.errors import UserError

Features: TypeAlias = "NDArray[Any] | sparse.csr_array | Shards"
LET_GO_FROM = 2**28
"""Bytes of mapped files from which on their pages are let go once they are read."""


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A file that rows are read from whenever they are looked at, as it was when it was mapped.

    Attributes:
        path: its name.
        state: device and number, size, time of the last change.
    """

    path: Path
    state: tuple[int, int, int, int]

    @classmethod
    def of(cls, path: Path) -> "MappedFile":
        """The file as it is now."""
        return cls(path, cls._look(path))

    def check(self) -> None:
        """Refuses to go on with a file that was changed in its place.

        One that was replaced by another, or removed, is still mapped as it was.

        Raises:
            UserError: naming it.
        """
        try:
            now = self._look(self.path)
        except OSError:
            return
        if now[:2] == self.state[:2] and now[2:] != self.state[2:]:
            raise UserError(
                f"{self.path}: was changed after it was opened (size or time of change), so that "
                "its rows are no longer those it was begun with; start again"
            )

    @staticmethod
    def _look(path: Path) -> tuple[int, int, int, int]:
        found = path.stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def is_mapped(features: Features) -> bool:
    """Whether these values, or some of them, are in a file, not in memory."""
    if isinstance(features, Shards):
        return any(map(is_mapped, features.parts))
    array: Any = features.data if sparse.issparse(features) else features
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


def let_go(features: Features, rows: NDArray[np.int64] | slice | None = None) -> None:
    """Takes the pages of large mapped files out of this process; the system's cache keeps them.

    Otherwise all that was read of them counts as memory of the process. Of files that are mapped to
    be read only, so that nothing can be lost.

    Args:
        features: what is mapped.
        rows: a slice lets go no others, which another thread may be reading.
    """
    for part, inside, size in _arrays(features, rows):
        only_read, base = False, part
        while isinstance(base, np.ndarray):
            only_read |= isinstance(base, np.memmap) and base.mode == "r"
            base = base.base
        large = isinstance(base, mmap.mmap) and max(len(base), size) >= LET_GO_FROM
        if only_read and large and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED, *_pages(part, inside, base))


def _arrays(features: Any, rows: Any) -> Iterator[tuple[Any, slice | None, int]]:  # noqa: ANN401 — an array, a sparse matrix or shards
    """The arrays that features are in, the consecutive rows of each, and bytes of all of them."""
    if sparse.issparse(features):
        yield from ((part, None, 0) for part in (features.data, features.indices, features.indptr))
    elif isinstance(features, Shards):
        inside = rows if isinstance(rows, slice) else slice(None)
        for number, part_rows in features.cut(inside):
            yield features.parts[number], part_rows, features.nbytes
    else:
        yield features, rows if isinstance(rows, slice) else None, 0


def _pages(part: NDArray[Any], rows: slice | None, base: mmap.mmap) -> tuple[int, int]:
    """Where in a mapped file some rows of an array are: the first byte, of a page, and how many."""
    if rows is None:
        return 0, len(base)
    low, high = np.lib.array_utils.byte_bounds(np.asarray(part)[rows])
    origin = np.frombuffer(base, dtype=np.uint8).ctypes.data
    start = (low - origin) // mmap.PAGESIZE * mmap.PAGESIZE
    return start, high - origin - start
