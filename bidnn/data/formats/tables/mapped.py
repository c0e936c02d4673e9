"""Vectors of Arrow files that lie there as matrices: mapped as they are, not copied."""

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bidnn.data.formats.tables.columns import is_vectors
from bidnn.data.formats.tables.files import TableFiles, arrow_reader, is_parquet, record_batches
from bidnn.data.shards import Shards


@dataclass(slots=True)
class MappedColumn:
    """A column of vectors.

    Attributes:
        parts: (rows of a record batch, size) each, of one type.
        names: of each, for messages.
        there: (rows of a record batch,) each, whether there is a vector.
    """

    parts: list[NDArray[Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    there: list[NDArray[np.bool_]] = field(default_factory=list)

    @property
    def matrix(self) -> NDArray[Any] | Shards:
        """(rows, size)."""
        return self.parts[0] if len(self.parts) == 1 else Shards(self.parts, self.names)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(rows,) whether there is a vector."""
        return np.concatenate(self.there)


def map_columns(table: TableFiles, columns: Sequence[str]) -> dict[str, MappedColumn] | None:
    """Maps columns of vectors.

    Args:
        table: of Arrow files or streams.
        columns: of vectors.

    Returns:
        Each column; None where one has to be copied after all: of parquet, compressed, of vectors
        that are null and take no room, or of two lengths or types, or with a null inside; or is
        of another type in a file, such as null.

    Raises:
        OSError: if a file cannot be read.
    """
    found = {name: MappedColumn() for name in columns}
    if any(map(is_parquet, table.files)):
        return None
    for path in table.files:
        try:
            whole = np.memmap(path, np.uint8, "r")
        except OSError as error:
            if error.errno == errno.EMFILE:  # a file each is open, as long as it is mapped
                return None
            raise
        for number, name, batch in _batches(path, columns, whole):
            if batch is None:
                return None
            known = found[name]
            known.parts.append(batch[0])
            known.there.append(batch[1])
            known.names.append(f"{path}, record batch {number}")
    alike = all(
        len({(part.dtype, part.shape[1]) for part in column.parts}) == 1
        for column in found.values()
    )
    return found if alike else None


_Lying = tuple[NDArray[Any], NDArray[np.bool_]]


def _batches(
    path: Path, columns: Sequence[str], whole: NDArray[np.uint8]
) -> Iterator[tuple[int, str, _Lying | None]]:
    """Each column of each record batch, as it lies in the file; None: it does not."""
    with arrow_reader(path) as (reader, start):
        for number, batch in enumerate(record_batches(reader)):
            for name in columns:
                if len(batch):
                    yield number, name, _lying(batch.column(name), whole, start)


def _lying(column: pa.Array, whole: NDArray[np.uint8], start: int) -> _Lying | None:
    """The matrix that a part of a column is in the file, and which rows are there.

    Args:
        column: lists of numbers, if it can be mapped.
        whole: the file.
        start: the address at which pyarrow has it.
    """
    if not is_vectors(column.type):
        return None
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    rows, values = len(column), column.values
    there = column.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        first = column.offset * size
    else:
        offsets = column.offsets.to_numpy()
        first, size = int(offsets[0]), int(offsets[1] - offsets[0])
        if not there.all() or (np.diff(offsets) != size).any():
            return None
    if values.slice(first, rows * size).null_count:
        known = values.slice(first, rows * size).is_valid().to_numpy(zero_copy_only=False)
        if (known.reshape(rows, size) != there[:, None]).any():
            return None
    kind = np.dtype(values.type.to_pandas_dtype())
    begin = values.buffers()[1].address - start + (values.offset + first) * kind.itemsize
    end = begin + rows * size * kind.itemsize
    if size == 0 or begin < 0 or end > len(whole):  # it was decompressed into memory
        return None
    return whole[begin:end].view(kind).reshape(rows, size), there
