"""Matrices that are written once, to be mapped afterwards."""

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bidnn.memory import available_memory

BLOCK_BYTES = 16 * 2**20
ALIGNED = 4096
"""What places in memory and in a file must be multiples of to be written past the page cache."""
LARGE = 0.1
"""Share of the free memory from which on Linux no longer holds back what is written, but writes it
(`vm.dirty_background_ratio`), so that a copy of it in memory saves no waiting for the disk."""


class MatrixFile:
    """A matrix of float32 in a file, of which rows are given bit by bit.

    Much of it is written past the page cache (O_DIRECT), where the file system can: a copy into
    fresh memory costs processor time, in a virtual machine as much as reading the source does, and
    the disk is waited for all the same. What is little stays in memory, for who reads it next.
    """

    def __init__(self, path: Path, source: Iterable[Path]) -> None:
        """Makes the file.

        Args:
            path: its name.
            source: the files that the rows come from; by their size it is much or little.
        """
        self._file = path.open("wb")
        self._end = 0  # where the last rows ended; of these, the last `_held` bytes are in `_block`
        self._held = 0
        self._block: NDArray[np.uint8] | None = None
        if _is_large(source) and self._switch(direct=True):
            room = np.empty(BLOCK_BYTES + ALIGNED, np.uint8)
            self._block = room[-room.ctypes.data % ALIGNED :][:BLOCK_BYTES]

    def put(
        self, values: NDArray[np.float32], there: NDArray[np.bool_], places: NDArray[np.int64]
    ) -> None:
        """Writes vectors at their rows; those that are not there, among others, are zeros.

        Args:
            values: (those that are there, size).
            there: (rows,) whether it is.
            places: (rows,) their numbers.

        Raises:
            OSError: if there is no room.
        """
        if not len(values):
            return
        size = values.shape[1]
        if len(there) > len(values) and (np.diff(places) == 1).all():
            whole = np.zeros((len(there), size), np.float32)
            whole[there] = values
            values, there = whole, np.ones_like(there)
        places = places[there]
        if not (np.diff(places) > 0).all():
            order = np.argsort(places)
            values, places = values[order], places[order]
        starts = np.flatnonzero(np.diff(places, prepend=-2) != 1)
        for start, stop in zip(starts, [*starts[1:], len(places)], strict=True):
            self._write(4 * size * int(places[start]), np.ascontiguousarray(values[start:stop]))

    def __enter__(self) -> "MatrixFile":
        """The file."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Writes what is left, unless there was an error."""
        with self._file:
            if kind is None and self._block is not None:
                self._end_direct(0)

    def _write(self, place: int, values: NDArray[np.float32]) -> None:
        if self._block is not None and place != self._end:
            self._end_direct(0)
        content = values.reshape(-1).view(np.uint8)
        while self._block is not None and len(content):
            part = content[: len(self._block) - self._held]
            self._block[self._held :][: len(part)] = part
            self._held += len(part)
            self._end = place = place + len(part)
            content = content[len(part) :]
            if self._held == len(self._block):
                self._write_block(self._block)
        if len(content):
            self._file.seek(place)
            self._file.write(content.data)

    def _write_block(self, block: NDArray[np.uint8]) -> None:
        """Writes a full block past the page cache; where that is refused, as anything is."""
        try:
            written = os.pwrite(self._file.fileno(), block.data, self._end - self._held)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            written = 0
        if written == len(block):
            self._held = 0
        else:
            self._end_direct(written)

    def _end_direct(self, written: int) -> None:
        """Writes what is left of the block, and all that follows, as anything is written."""
        assert self._block is not None
        self._switch(direct=False)
        self._file.seek(self._end - self._held + written)
        self._file.write(self._block[written : self._held].data)
        self._block = None

    def _switch(self, *, direct: bool) -> bool:
        """Whether the file is written past the page cache, or as anything is, from now on."""
        flag = getattr(os, "O_DIRECT", 0)
        known = fcntl.fcntl(self._file, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._file, fcntl.F_SETFL, known | flag if direct else known & ~flag)
        except OSError:
            return False
        return bool(flag)


def _is_large(source: Iterable[Path]) -> bool:
    there = available_memory()
    return there is not None and sum(file.stat().st_size for file in source) > LARGE * there
