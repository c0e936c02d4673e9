"""Similarities of all rows to all rows, block by block, that depend on nothing but the two rows.

A matrix product in float32 gives equal rows unequal results: the order of its sums differs between
block sizes, threads, and even columns of one block, and a tie falls apart by rounding. Therefore

- unit vectors are rounded to multiples of 2⁻²⁴, which float32 holds exactly, and multiplied in
  float64: products are multiples of 2⁻⁴⁸ and no partial sum exceeds 1, so nothing is ever rounded
  and equal rows have equal similarities whatever the blocks;
- similarities are then rounded to multiples of 2⁻²² (2.4e-7), the noise that float32 vectors leave
  in a cosine: a smaller difference is no order.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidnn.errors import UserError

Similarity = Literal["cosine", "dot"]

GRID = 2.0**24
STEPS = np.float64(2.0**22)
LEAST = -(2**29)
BLOCK_BYTES = 2**28
TILE_ELEMENTS = 2**18
MAX_BLOCK_ROWS = 512


def similarities(
    queries: ArrayLike,
    documents: ArrayLike,
    *,
    exclude_self: bool = False,
    block_rows: int | None = None,
    similarity: Similarity = "cosine",
) -> Iterator[tuple[slice, NDArray[np.int32]]]:
    """Compares blocks of queries with all documents.

    Args:
        queries: (queries, columns) numbers; a zero vector has similarity 0 with everything.
        documents: (documents, columns) numbers.
        exclude_self: queries and documents are the same rows; a row's similarity to itself is set
            to `LEAST`, below all others.
        block_rows: queries of a block; None for as many as 256 MB of similarities hold.
        similarity: the cosine; or the dot product, in units of the query's length times that of
            the longest document, which keeps the order of the documents.

    Yields:
        The queries of the block, and (queries, documents) similarities in steps of 2⁻²², within
        ±2²². The array is the caller's to change.

    Raises:
        ValueError: if shapes do not go together, or a number is not finite.
    """
    left, right = _matrix(queries, "queries"), _matrix(documents, "documents")
    if left.shape[1] != right.shape[1]:
        raise UserError(
            f"queries have {left.shape[1]} columns and documents {right.shape[1]}; "
            "only vectors of one space can be compared"
        )
    if exclude_self and len(left) != len(right):
        raise UserError(
            f"exclude_self: {len(left)} queries and {len(right)} documents are not the same rows"
        )
    if block_rows is not None and block_rows < 1:
        raise UserError(f"block_rows={block_rows}: must be at least 1")
    if similarity not in ("cosine", "dot"):
        raise UserError(f"similarity={similarity!r}: must be 'cosine' or 'dot'")
    rows = block_rows or min(MAX_BLOCK_ROWS, max(1, BLOCK_BYTES // (4 * max(1, len(right)))))
    left_grid = _on_grid(left, "queries", by_longest=False)
    if documents is queries and similarity == "cosine":
        right_grid = left_grid
    else:
        right_grid = _on_grid(right, "documents", by_longest=similarity == "dot")
    return _blocks(left_grid, right_grid, rows, exclude_self=exclude_self)


def _blocks(
    queries: NDArray[np.float32],
    documents: NDArray[np.float32],
    block_rows: int,
    *,
    exclude_self: bool,
) -> Iterator[tuple[slice, NDArray[np.int32]]]:
    tile = max(1, TILE_ELEMENTS // max(block_rows, documents.shape[1], 1))
    for start in range(0, len(queries), block_rows):
        rows = slice(start, min(start + block_rows, len(queries)))
        block = queries[rows] * STEPS
        steps = np.empty((len(block), len(documents)), np.int32)
        for column in range(0, len(documents), tile):
            product = block @ documents[column : column + tile].T.astype(np.float64)
            steps[:, column : column + tile] = np.rint(product, out=product)
        if exclude_self:
            steps[np.arange(len(block)), np.arange(rows.start, rows.stop)] = LEAST
        yield rows, steps


def _matrix(vectors: ArrayLike, name: str) -> NDArray[Any]:
    matrix = np.asarray(vectors)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiub":
        raise UserError(
            f"{name}: an array of numbers (rows, columns) is needed, "
            f"not of shape {matrix.shape} and type {matrix.dtype}"
        )
    return matrix


def _on_grid(matrix: NDArray[Any], name: str, *, by_longest: bool) -> NDArray[np.float32]:
    """Rows divided by their lengths, or by that of the longest, on the grid; block by block."""
    step = max(1, TILE_ELEMENTS // max(1, matrix.shape[1]))
    blocks = [slice(start, start + step) for start in range(0, len(matrix), step)]
    lengths = np.concatenate([np.zeros(0), *(_lengths(matrix[block]) for block in blocks)])
    if not np.isfinite(lengths).all():
        row = int(np.argmin(np.isfinite(lengths)))
        raise UserError(f"{name}, row {row}: holds a number that is not finite")
    if by_longest and len(lengths):
        lengths[:] = lengths.max()
    lengths[lengths == 0] = 1.0
    grid = np.empty(matrix.shape, np.float32)
    for block in blocks:
        unit = matrix[block].astype(np.float64) / lengths[block, None]
        grid[block] = np.rint(unit * GRID) / GRID
    return grid


def _lengths(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Euclidean lengths, without overflow or underflow of the squares."""
    values = np.abs(rows.astype(np.float64))
    peaks = values.max(axis=1, initial=0.0)
    with np.errstate(invalid="ignore"):  # of infinite numbers, which the caller refuses
        values /= np.where(peaks == 0, 1.0, peaks)[:, None]
    lengths: NDArray[np.float64] = peaks * np.sqrt(np.square(values, out=values).sum(axis=1))
    return lengths
