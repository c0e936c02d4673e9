"""Data sets that are matrices: mapped where they lie in one piece, else read block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.hdf5.files import read
from bidnn.errors import UserError
from bidnn.memory import check_memory

BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix in an open file.

    Attributes:
        data: the h5py data set.
        columns_first: MATLAB's way: the file has it by columns.
    """

    data: Any
    columns_first: bool = False

    def __post_init__(self) -> None:
        """Refuses what is no matrix of numbers.

        Raises:
            UserError: naming it, and its shape or type.
        """
        shape, kind = self.data.shape, self.data.dtype
        if shape is None or len(shape) != 2:
            raise UserError(f"{self.name} has shape {shape}; a matrix is needed")
        if kind.kind not in "biuf":
            raise UserError(f"{self.name}: {kind} is not a numeric type")

    @property
    def name(self) -> str:
        """The file and the data set."""
        return f"{self.data.file.filename}, {self.data.name.lstrip('/')}"

    @property
    def file(self) -> Path:
        """The file that it is in, which an external link may lead to."""
        return Path(self.data.file.filename)

    @property
    def files(self) -> list[Path]:
        """All files that its values are in, where it is put together of others."""
        names = [name for name, _, _ in self.data.external or ()]
        if self.data.is_virtual:
            names += [part.file_name for part in self.data.virtual_sources()]
        places = [place for name in names for place in (Path(name), self.file.parent / name)]
        return [self.file, *(place for place in places if place.is_file())]

    @property
    def shape(self) -> tuple[int, int]:
        """Its rows and columns."""
        rows, columns = self.data.shape[::-1] if self.columns_first else self.data.shape
        return int(rows), int(columns)

    @property
    def offset(self) -> int | None:
        """Where it lies in the file; None if it is in pieces, compressed, elsewhere or by columns.

        HDF5 counts from the beginning of the file, whatever precedes its own part of it.
        """
        if self.columns_first or self.data.is_virtual or self.data.external is not None:
            return None
        found: int | None = self.data.id.get_offset()
        return found

    def mapped(self) -> NDArray[Any]:
        """All rows, mapped."""
        return np.memmap(self.file, self.data.dtype, "r", self.offset or 0, self.shape)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """All rows, some 16 MiB at a time, of whole chunks, each of which is unpacked once.

        Raises:
            UserError: if one row of chunks does not fit into memory.
        """
        rows, columns = self.shape
        chunks = self.data.chunks
        chunk = 1 if chunks is None else chunks[1 if self.columns_first else 0]
        row = max(1, columns * max(4, self.data.dtype.itemsize))
        step = -(-max(1, BLOCK_BYTES // row) // chunk) * chunk
        check_memory(
            2 * row * min(step, rows),
            f"{self.name}, of which each chunk has values of {chunk} rows; `h5repack -l CHUNK=…` "
            "makes chunks of fewer",
        )
        for start in range(0, rows, step):
            part = slice(start, start + step)
            values = read(self.data, (slice(None), part) if self.columns_first else part)
            with np.errstate(over="ignore"):  # which is refused by name
                yield np.ascontiguousarray(values.T if self.columns_first else values, np.float32)
