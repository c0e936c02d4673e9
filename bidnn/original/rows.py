"""The rows of the original's way: a libsvm file, or a matrix of both modalities side by side."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from bidnn.data.formats.arrays import label_texts, store_arrays
from bidnn.data.formats.libsvm.grammar import IndexBase
from bidnn.data.formats.libsvm.rows import open_libsvm, split_store
from bidnn.data.frames import as_rows
from bidnn.data.ids import as_ids
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.original.config import Config


def read_rows(
    config: Config,
    X: Any,  # noqa: ANN401, N803 — scikit-learn's name, see `as_rows`
    labels: ArrayLike | None,
    base: IndexBase | None = None,
    ids: ArrayLike | None = None,
) -> PairStore:
    """Takes the rows of a matrix, or reads those of `fname_in`.

    Args:
        config: for the modalities' sizes, the file, and whether zeros are data.
        X: see `BiDNN.load_dataset`.
        labels: likewise.
        base: where the indices of a model's training file started; None: the file says.
        ids: as `labels`.

    Raises:
        UserError: if sizes are not set, or X has others.
        OSError: if the file cannot be read.
    """
    if config.mod1size is None or config.mod2size is None:
        raise UserError("mod1size and mod2size are not set; Config(mod1size=…, mod2size=…)")
    sizes = (config.mod1size, config.mod2size)
    zeroes = config.ignore_zeroes
    if X is None:
        if config.fname_in is None:
            raise UserError("no rows: give load_dataset a matrix, or set fname_in")
        path = Path(config.fname_in)
        store = open_libsvm(path, *sizes, base or IndexBase.auto, ignore_zeroes=zeroes)
        return store if ids is None else replace(store, ids=as_ids(ids, "ids"))
    given = as_rows(X, "X")
    rows = given.values
    if rows.ndim != 2:
        raise UserError(f"X has shape {rows.shape}; a matrix is needed")
    if rows.shape[1] != sum(sizes):
        raise UserError(f"X has {rows.shape[1]} columns, not {sizes[0]} + {sizes[1]}")
    text = None if labels is None else label_texts(_none_as_nan(labels), "labels")
    if ids is None:
        ids = given.ids
    known = None if ids is None else as_ids(ids, "ids of X")
    if sparse.issparse(rows):
        parts = rows[:, : sizes[0]], rows[:, sizes[0] :]
        store = split_store(parts, text, ignore_zeroes=zeroes, name="X")
    else:
        first, second = np.hsplit(rows, [sizes[0]])
        store = store_arrays(first, second, labels=text, ignore_zeroes=zeroes, name="X")
    return replace(store, ids=known)


def _none_as_nan(labels: ArrayLike) -> ArrayLike:
    """Labels of which None is NaN, whose text says in a file, too, that a row has none."""
    if np.ma.isMaskedArray(labels) or (plain := np.asarray(labels)).dtype.kind != "O":
        return labels
    filled = plain.copy()
    filled[[value is None for value in plain]] = np.nan
    return filled
