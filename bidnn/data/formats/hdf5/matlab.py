"""MATLAB files of version 7.3: HDF5 in which matrices lie by columns, and texts by their codes."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from bidnn.data.formats.arrays import store_arrays
from bidnn.data.formats.converted import PARTS
from bidnn.data.formats.hdf5.files import opened, read
from bidnn.data.formats.hdf5.matrices import Matrix
from bidnn.data.formats.hdf5.store import convert_matrices
from bidnn.data.formats.matlab import as_vector, asked_names
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.memory import check_memory


def read_mat73(
    path: Path,
    names: tuple[str | None, str | None],
    *,
    label: str | None,
    ids: str | None,
    ignore_zeroes: bool,
    cache: bool,
    sizes: tuple[int, int] | None,
) -> PairStore:
    """As `read_mat`; dense matrices are turned once, into arrays that later runs map.

    Raises:
        UserError: if something in it is missing, of a wrong shape, or of a class that is not read.
        OSError: if it cannot be read.
    """
    with opened(path) as file:
        asked = asked_names(path, names, file, label, ids)
        given = {part: file[name] for part, name in zip(PARTS, asked, strict=True) if name}
        labels, names_of_rows = (
            None if name is None else as_vector(_values(file[name]), f"{path}, {name}")
            for name in (label, ids)
        )
        if any(map(_is_sparse, given.values())):
            return store_arrays(
                *(_in_memory(given[part]) if part in given else None for part in PARTS),
                labels=labels,
                ids=names_of_rows,
                ignore_zeroes=ignore_zeroes,
                name=str(path),
                sizes=sizes,
            )
        matrices = {part: _matrix(data) for part, data in given.items()}
        return convert_matrices(
            path,
            matrices,
            labels,
            names_of_rows,
            ["mat", *asked, label, ids],
            ignore_zeroes=ignore_zeroes,
            cache=cache,
            sizes=sizes,
        )


def _class(data: Any) -> str:  # noqa: ANN401 — a data set or a group
    found = data.attrs.get("MATLAB_class", b"")
    return found.decode() if isinstance(found, bytes) else str(found)


def _is_sparse(data: Any) -> bool:  # noqa: ANN401 — likewise
    return "MATLAB_sparse" in data.attrs


def _matrix(data: Any) -> Matrix:  # noqa: ANN401 — likewise
    if not isinstance(data, h5py.Dataset) or _class(data) in ("cell", "char"):
        raise UserError(
            f"{data.file.filename}, {data.name.lstrip('/')}: of class {_class(data) or 'unknown'}; "
            "a matrix of numbers is needed"
        )
    return Matrix(data, columns_first=True)


def _in_memory(data: Any) -> Any:  # noqa: ANN401 — an array or a sparse matrix
    if not _is_sparse(data):
        matrix = _matrix(data)
        check_memory(
            8 * matrix.shape[0] * matrix.shape[1],
            f"{matrix.name}, which is read into memory beside a sparse matrix; save both as full",
        )
        return np.concatenate([np.zeros((0, matrix.shape[1]), np.float32), *matrix.blocks()])
    starts = read(data["jc"])
    values, rows = (read(data[name]) if name in data else [] for name in ("data", "ir"))
    shape = (int(data.attrs["MATLAB_sparse"]), len(starts) - 1)
    return csr_array(csc_array((np.asarray(values, np.float32), rows, starts), shape=shape))


def _values(data: Any) -> Any:  # noqa: ANN401 — an array or a sparse matrix
    """What a variable of labels or ids holds: numbers, texts, or an array of cells."""
    if _is_sparse(data):
        return _in_memory(data)
    kind = _class(data)
    if not isinstance(data, h5py.Dataset) or kind in ("struct", "string", "table"):
        raise UserError(
            f"{data.file.filename}, {data.name.lstrip('/')}: of class {kind or 'unknown'}; a "
            "vector of numbers, or a cell array of texts (cellstr) is needed"
        )
    if "MATLAB_empty" in data.attrs:
        return np.zeros(0)
    if kind == "char":
        return np.array(_texts(data))
    if kind != "cell":
        return read(data).T
    cells = read(data).T
    found = np.empty(cells.shape, object)
    for place, reference in np.ndenumerate(cells):
        found[place] = _cell(data.file[reference])
    return found


def _cell(data: Any) -> NDArray[Any]:  # noqa: ANN401 — a data set or a group
    if not isinstance(data, h5py.Dataset):
        return np.array([None], object)
    if "MATLAB_empty" in data.attrs:
        return np.zeros(0)
    if _class(data) == "char":
        return np.array(_texts(data))
    return np.asarray(read(data))


def _texts(data: h5py.Dataset) -> list[str]:
    """The rows of a matrix of characters, whose codes are UTF-16."""
    codes = np.ascontiguousarray(np.atleast_2d(read(data).T), "<u2")
    return [row.tobytes().decode("utf-16-le", "replace") for row in codes]
