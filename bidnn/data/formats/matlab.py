"""MATLAB files; of version 7.3, which is HDF5, by `hdf5/matlab.py`."""

import pickle
import subprocess
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from bidnn.data.formats.arrays import check_file, store_arrays
from bidnn.data.formats.hdf5.files import check_readable
from bidnn.data.formats.kinds import check_kind, is_hdf5
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import readable

# SciPy's reader can crash over a damaged file, and not each time it reads the same one; so it works
# in a process of its own, and says there what it found or what it raised.
_READER = """
import pickle, sys
from scipy.io import loadmat
path, *names = sys.argv[1:]
try:
    found = loadmat(path, variable_names=names, spmatrix=False)
except NotImplementedError:
    found = ValueError("version 7.3 without HDF5 in it; save it with `save -v7`")
except Exception as error:
    found = ValueError(str(error) or type(error).__name__)
pickle.dump(found, sys.stdout.buffer, protocol=5)
"""


def read_mat(
    path: Path,
    names: tuple[str | None, str | None] = (None, None),
    *,
    label: str | None = None,
    ids: str | None = None,
    ignore_zeroes: bool,
    cache: bool = True,
    sizes: tuple[int, int] | None = None,
) -> PairStore:
    """Reads two matrices of the same rows, or one.

    Args:
        path: the file, of any version.
        names: of the matrices (rows, mod1size) and (rows, mod2size), dense or sparse; None: all
            rows miss that modality; both None: those of `first` and `second` that are there.
        label: of a vector of one label a row, or None.
        ids: of a vector of one id a row, or None.
        ignore_zeroes: a row of zeros is data.
        cache: of version 7.3, keep the matrices as arrays in a folder beside the file.
        sizes: of a trained model, for a modality that is not there.

    Raises:
        ValueError: if it is no such file, or something in it is missing or of a wrong shape.
        OSError: if it cannot be read.
    """
    check_kind(path, "mat")
    check_file(path)
    if is_hdf5(path):
        # so late: h5py is an extra
        check_readable(path, "mat")
        from bidnn.data.formats.hdf5.matlab import read_mat73

        return read_mat73(
            path,
            names,
            label=label,
            ids=ids,
            ignore_zeroes=ignore_zeroes,
            cache=cache,
            sizes=sizes,
        )
    asked: tuple[str | None, ...] = names if any(names) else ("first", "second")
    with readable(path, ".mat file"):
        found = _load(path, [name for name in (*asked, label, ids) if name is not None])
    asked = asked_names(path, names, found, label, ids)
    parts = [None if name is None else found[name] for name in asked]
    first, second = (csr_array(part) if issparse(part) else part for part in parts)
    return store_arrays(
        first,
        second,
        labels=None if label is None else as_vector(found[label], f"{path}, {label}"),
        ids=None if ids is None else as_vector(found[ids], f"{path}, {ids}"),
        ignore_zeroes=ignore_zeroes,
        name=str(path),
        sizes=sizes,
    )


def asked_names(
    path: Path,
    names: tuple[str | None, str | None],
    found: Container[str],
    label: str | None,
    ids: str | None,
) -> tuple[str | None, ...]:
    """The names of both matrices, None of one that all rows miss.

    Raises:
        UserError: if one is not in the file.
    """
    asked: tuple[str | None, ...] = names if any(names) else ("first", "second")
    if not any(names) and any(name in found for name in asked):
        asked = tuple(name if name in found else None for name in asked)
    for name in (*asked, label, ids):
        if name is not None and name not in found:
            raise UserError(
                f"{path}: no variable {name}; data.first, data.second, data.label and data.id name "
                "them"
            )
    return asked


def as_vector(found: Any, name: str) -> NDArray[Any]:  # noqa: ANN401 — whatever SciPy makes of it
    """A vector, whichever way it lies.

    Raises:
        UserError: if a cell is no single text or number.
    """
    labels = found.toarray() if issparse(found) else np.asarray(found)
    labels = labels.ravel() if labels.size == max(labels.shape, default=0) else labels
    if labels.dtype != object:
        return labels
    cells = [np.ravel(cell) for cell in labels.ravel()]
    for row, cell in enumerate(cells):
        if cell.size > 1 or cell.dtype.kind not in "biufU":
            raise UserError(
                f"{name}: the cell of row {row}, counted from 0, is of type {cell.dtype} and has "
                f"{cell.size} values; each must be one text or number"
            )
    return np.array([str(cell[0]) if cell.size else "" for cell in cells]).reshape(labels.shape)


def _load(path: Path, names: list[str]) -> dict[str, Any]:
    """What `scipy.io.loadmat` finds.

    Raises:
        ValueError: with its reason, or the signal that ended it.
    """
    # -P: without it Python would import from the current folder, whatever lies there.
    command = [sys.executable, "-P", "-c", _READER, str(path.absolute()), *names]
    ended = subprocess.run(command, capture_output=True, check=False)
    if ended.returncode:
        how = f"signal {-ended.returncode}" if ended.returncode < 0 else f"{ended.returncode}"
        said = ended.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"SciPy's reader ended with {how}{': ' + said[-1] if said else ''}")
    found = pickle.loads(ended.stdout)  # of our own process, not of the file
    if isinstance(found, ValueError):
        raise found
    return dict(found)
