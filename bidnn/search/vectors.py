"""Vectors of unit length, block by block."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bidnn.errors import UserError


def fill(
    vectors: NDArray[np.float32],
    blocks: Iterable[NDArray[np.float32]],
    places: NDArray[np.int64] | range,
) -> None:
    """Writes blocks of vectors into their places, each of unit length.

    Args:
        vectors: of an index, perhaps mapped.
        blocks: in the order of `places`.
        places: (rows of all blocks,) numbers of rows; a range takes no memory.

    Raises:
        UserError: if a value is not finite, naming the first row of its block.
    """
    start = 0
    for block in blocks:
        own = places[start : start + len(block)]
        where = slice(own.start, own.stop) if isinstance(own, range) else own
        vectors[where] = unit(block, f"row {start} and on")
        start += len(block)


def unit(values: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Vectors of unit length; those of zeros stay.

    Raises:
        UserError: if a value is not finite.
    """
    if not np.isfinite(values).all():
        raise UserError(f"{name}: NaN, or infinite in float32; leave such rows out")
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    found: NDArray[np.float32] = values / np.maximum(lengths, np.finfo(np.float32).tiny)
    return found
