"""The rows of a libsvm file, whole in memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import sparse

from bidnn.data.formats.libsvm.cache import DENSE_SHARE
from bidnn.data.formats.libsvm.text import IndexBase, read_libsvm
from bidnn.data.mapping import Features
from bidnn.data.store import PairStore, Reading, find_present


def open_libsvm(
    path: Path, mod1size: int, mod2size: int, index_base: IndexBase, *, ignore_zeroes: bool
) -> PairStore:
    """Reads a libsvm file into a store; each modality dense unless most of it is zero.

    Raises:
        LibsvmError, OSError: naming file, line and the way out.
    """
    rows = read_libsvm(path, mod1size, mod2size, index_base=index_base)
    parts = rows.matrix[:, :mod1size], rows.matrix[:, mod1size:]
    store = split_store(parts, rows.labels, ignore_zeroes=ignore_zeroes, name=str(path))
    return replace(store, reading=Reading(rows.index_base, ignore_zeroes))


def split_store(
    parts: tuple[sparse.csr_array, sparse.csr_array],
    labels: np.ndarray[tuple[int], np.dtype[np.str_]] | None,
    *,
    ignore_zeroes: bool,
    name: str,
) -> PairStore:
    """Makes a store of two sparse matrices in which a row of zeros is a missing modality."""
    present = [
        find_present(part, None, ignore_zeroes=ignore_zeroes, name=f"{name}, {modality}")
        for part, modality in zip(parts, ("first", "second"), strict=True)
    ]
    first, second = (_dense_if_full(part) for part in parts)
    return PairStore(first, second, np.stack(present, axis=1), labels, name)


def _dense_if_full(part: sparse.csr_array) -> Features:
    size = part.shape[0] * part.shape[1]
    return part.toarray() if part.nnz >= DENSE_SHARE * size else part
