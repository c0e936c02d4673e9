"""What every format is given to write: rows in blocks, and what is known of them beforehand."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bidnn.data.formats.tables.beside import Beside

Block: TypeAlias = tuple[slice, NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a left and a right half.

    Attributes:
        widths: columns of the left and of the right half.
        present: (rows, 2) bool, which modalities a row had.
        labels: (rows,) str, or None.
        joined: the halves are one vector, an embedding; otherwise they are the two modalities.
        features: what is not present is missing, and is marked as the format's reader expects it;
            otherwise every value is data.
        ids: (rows,) str or int64, or None.
        about: what a format that has room for it says of the whole file.
        beside: columns of a table that are written as they are, or None.
        fingerprints: (rows,) int64 of what was read of each row, or None.
    """

    widths: tuple[int, int]
    present: NDArray[np.bool_]
    labels: NDArray[np.str_] | None
    joined: bool = False
    features: bool = False
    ids: NDArray[Any] | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    beside: "Beside | None" = None
    fingerprints: NDArray[np.int64] | None = None


class Writer(Protocol):
    """Writes rows as one format, each file whole or not at all."""

    def __call__(
        self, path: Path, table: Table, blocks: Iterable[Block], *, zero_based: bool
    ) -> dict[str, Path]:
        """Writes all blocks.

        Args:
            path: the file, or what the names of several are made of.
            table: what is written.
            blocks: which rows, and their halves (rows, width); consecutive, from the first row on.
            zero_based: indices start at 0, in a format that has such.

        Returns:
            The files, by the keys of the data source that reads them.

        Raises:
            OSError: if one cannot be written; nothing is left behind then.
        """
        ...


def join(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Both halves side by side, (rows, sum of widths)."""
    return np.concatenate([left, right], axis=1)
