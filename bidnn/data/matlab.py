"""MATLAB files of versions 5 to 7."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.sparse import csr_array, issparse

from bidnn.data.arrays import check_file, store_arrays
from bidnn.data.store import PairStore
from bidnn.files import readable


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
    with readable(path, ".mat file"):
        # SciPy's reader can crash over a damaged file; better another process than this one.
        program = "import sys; from scipy.io import loadmat; loadmat(sys.argv[1])"
        tried = subprocess.run(
            [sys.executable, "-c", program, path], capture_output=True, check=False
        )
        if tried.returncode < 0:
            raise ValueError(f"SciPy's reader crashes over it, by signal {-tried.returncode}")
        try:
            found: dict[str, Any] = loadmat(path, variable_names=wanted, spmatrix=False)
        except NotImplementedError as error:
            raise ValueError("version 7.3, HDF5; save it with `save -v7`") from error
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
