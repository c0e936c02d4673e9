"""Which rows have a label: those that have none are left out of what labels measure."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

NO_LABEL = ("", "nan", "<NA>")
"""Texts of a label that is not there: null in a table, NaN, and pandas' own."""


def labelled(labels: ArrayLike) -> NDArray[np.bool_]:
    """Tells which rows have a label: neither NaN nor None, nor one of the texts `NO_LABEL`.

    Args:
        labels: (rows,) texts or numbers.

    Returns:
        (rows,) bool.
    """
    plain = np.asarray(labels)
    missing: NDArray[np.bool_] = np.zeros(plain.shape, dtype=bool)
    if plain.dtype.kind == "f":
        missing = np.isnan(plain)
    elif plain.dtype.kind == "O":
        missing.ravel()[:] = [value is None or str(value) in NO_LABEL for value in plain.flat]
    elif plain.dtype.kind == "U":
        missing = np.isin(plain, NO_LABEL)
    return ~missing


def labelled_rows(vectors: ArrayLike, labels: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """The rows that have a label, and their labels; all of them if the two do not fit."""
    rows, names = np.asarray(vectors), np.asarray(labels)
    if names.shape != rows.shape[:1] or (known := labelled(names)).all():
        return rows, names
    return rows[known], names[known]
