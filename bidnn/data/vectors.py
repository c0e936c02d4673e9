"""Reads files of finished vectors, whoever wrote them."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.arrays import check_file, open_npz
from bidnn.data.formats.libsvm.text import read_libsvm
from bidnn.errors import UserError
from bidnn.files import readable

INDEX = re.compile(rb"[ \t](\d+):")


@dataclass(frozen=True, slots=True)
class Vectors:
    """Finished vectors, and what is known of their rows.

    Attributes:
        values: (rows, size) float32.
        labels: (rows,) str, or None.
        present: (rows, 2) bool, or None.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.str_] | None = None
    present: NDArray[np.bool_] | None = None


def read_vectors(path: Path, array: str = "embedding") -> Vectors:
    """Reads an npz file with `embedding` (or another array), `label` and `present`, npy, or libsvm.

    Args:
        path: .npz and .npy say so, anything else is libsvm.
        array: the name of the vectors in an npz file.

    Raises:
        ValueError: if it is no such file, or the vectors are no matrix.
        OSError: if it cannot be read.
    """
    check_file(path)
    if path.suffix == ".npz":
        arrays = open_npz(path, (array, "label", "present"))
        if array not in arrays:
            raise UserError(f"{path}: no array {array} in it; --array names the vectors")
        labels, present = arrays.get("label"), arrays.get("present")
        found = Vectors(
            arrays[array].astype(np.float32),
            None if labels is None else labels.astype(np.str_),
            None if present is None else present.astype(bool),
        )
    elif path.suffix == ".npy":
        with readable(path, "npy file"):
            found = Vectors(np.load(path, allow_pickle=False).astype(np.float32))
    else:
        size = max((int(index) for index in INDEX.findall(path.read_bytes())), default=0)
        rows = read_libsvm(path, size, 1)
        # One column more than a file with indices from 1 has: zeros, which change no comparison.
        found = Vectors(rows.matrix.toarray(), rows.labels)
    if found.values.ndim != 2:
        raise UserError(f"{path}: vectors of shape {found.values.shape}; a matrix is needed")
    return found
