"""MATLAB files of versions 5 to 7."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from scipy.sparse import csr_array, issparse

from bidnn.data.arrays import check_file, store_arrays
from bidnn.data.store import PairStore


def read_mat(
    path: Path, names: tuple[str, str], *, label: str | None = None, ignore_zeroes: bool
) -> PairStore:
    """Reads two matrices of the same rows.

    Args:
        path: the file, as `save -v7` or older writes it.
        names: of the matrices (rows, mod1size) and (rows, mod2size), dense or sparse.
        label: of a vector of one label a row, or None.
        ignore_zeroes: a row of zeros is data.

    Raises:
        ValueError: if it is no such file, or something in it is missing or of a wrong shape.
        OSError: if it cannot be read.
    """
    check_file(path)
    wanted = [*names, *([] if label is None else [label])]
    try:
        found: dict[str, Any] = loadmat(path, variable_names=wanted, spmatrix=False)
    except NotImplementedError as error:
        raise ValueError(
            f"{path}: version 7.3 (HDF5), which is not read; save it with `save -v7`"
        ) from error
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        MatReadError,
        zlib.error,
    ) as error:
        if getattr(error, "errno", None):  # of the file system, not of the content
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: no readable .mat file ({reason})") from error
    for name in wanted:
        if name not in found:
            raise ValueError(
                f"{path}: no variable {name}; data.first, data.second and data.label name them"
            )
    first, second = (csr_array(v) if issparse(v) else v for v in (found[n] for n in names))
    labels = None if label is None else np.asarray(found[label])
    if labels is not None:
        labels = labels.ravel() if labels.size == max(labels.shape, default=0) else labels
        if labels.dtype == object:  # a cell array of strings
            labels = np.array([str(np.ravel(cell)[0]) if np.size(cell) else "" for cell in labels])
    return store_arrays(first, second, labels=labels, ignore_zeroes=ignore_zeroes, name=str(path))
