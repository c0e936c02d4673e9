"""HDF5 files as rows."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bidnn.data.ahead import ahead
from bidnn.data.formats.arrays import label_texts, store_arrays
from bidnn.data.formats.converted import (
    PARTS,
    Columns,
    check_rows,
    open_converted,
    write_end,
)
from bidnn.data.formats.hdf5.files import check_there, data_sets, opened, read
from bidnn.data.formats.hdf5.groups import fill_of_groups, is_of_groups
from bidnn.data.formats.hdf5.matrices import Matrix
from bidnn.data.formats.matrix_file import MatrixFile
from bidnn.data.ids import as_ids
from bidnn.data.mapping import MappedFile
from bidnn.data.store import PairStore
from bidnn.errors import UserError


def read_hdf5(
    path: Path,
    columns: Columns,
    *,
    ignore_zeroes: bool = True,
    cache: bool = True,
    sizes: tuple[int, int] | None = None,
) -> PairStore:
    """The rows of two matrices, or of a group for each row.

    Args:
        path: the file.
        columns: the data sets of vectors, labels and ids. With neither `first` nor `second`, those
            of these names that are there; `label` and `id` are taken if there are such.
        ignore_zeroes: a row of zeros is data.
        cache: keep what had to be converted in a folder beside the file.
        sizes: of a trained model, for a modality that is not there.

    Raises:
        UserError: naming file, data set and row or id of what cannot be read.
        OSError: if a file cannot be read, or there is no room for the arrays.
    """
    asked = columns
    if columns.first is None and columns.second is None:
        asked = replace(columns, first="first", second="second")
    names = [name for name in (asked.first, asked.second) if name is not None]
    wanted = ["hdf5", asked.first, asked.second, asked.label, asked.id]
    with opened(path) as file:
        at_top = [name for name in names if isinstance(file.get(name), h5py.Dataset)]
        if at_top:
            if columns != asked:
                there = {part: part if part in at_top else None for part in PARTS}
                asked = replace(asked, **there)
            return _read_matrices(
                path, file, asked, ignore_zeroes=ignore_zeroes, cache=cache, sizes=sizes
            )
        if not is_of_groups(file, asked):
            found = ", ".join(data_sets(file)) or "none"
            raise UserError(
                f"{path}: no data set {' or '.join(names)}, neither at its top nor in a group for "
                f"each row; data.first=… and data.second=… name them; there are {found}"
            )
        if columns.id not in (None, "id"):
            raise UserError(f"data.id={columns.id}: ids of {path} are the names of its groups")
        return open_converted(
            [path],
            wanted,
            lambda folder: fill_of_groups(folder, file, asked),
            beside=path,
            name=str(path),
            ignore_zeroes=ignore_zeroes,
            cache=cache,
            sizes=sizes,
        )


def _read_matrices(
    path: Path,
    file: h5py.File,
    columns: Columns,
    *,
    ignore_zeroes: bool,
    cache: bool,
    sizes: tuple[int, int] | None,
) -> PairStore:
    matrices = {}
    for part in PARTS:
        name = getattr(columns, part)
        if name is not None:
            matrices[part] = Matrix(_data_set(file, name, f"data.{part}"))
    labels, ids = (_names(file, columns, key) for key in ("label", "id"))
    if all(matrix.offset is not None for matrix in matrices.values()):
        store = store_arrays(
            *(matrices[part].mapped() if part in matrices else None for part in PARTS),
            labels=labels,
            ids=ids,
            ignore_zeroes=ignore_zeroes,
            name=str(path),
            sizes=sizes,
        )
        files = {matrix.file for matrix in matrices.values()}
        return replace(store, files=tuple(map(MappedFile.of, sorted(files))))
    return convert_matrices(
        path,
        matrices,
        labels,
        ids,
        ["hdf5", columns.first, columns.second, columns.label, columns.id],
        ignore_zeroes=ignore_zeroes,
        cache=cache,
        sizes=sizes,
    )


def _data_set(file: h5py.File, name: str, key: str) -> h5py.Dataset:
    """A data set.

    Raises:
        UserError: if there is none of that name.
    """
    check_there(file, name, key)
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise UserError(f"{key}={name}: a group in {file.filename}, not a data set")
    return found


def _names(file: h5py.File, columns: Columns, part: str) -> NDArray[Any] | None:
    """Labels or ids, None if there are none; what has the usual name need not be there.

    Raises:
        UserError: if they are no vector.
    """
    name = getattr(columns, part)
    if name is None or (name == part and name not in file):
        return None
    found = _data_set(file, name, f"data.{part}")
    if found.shape is None or len(found.shape) != 1:
        raise UserError(
            f"{file.filename}, {name} has shape {found.shape}; one {part} for each row is needed"
        )
    return np.asarray(read(found))


def convert_matrices(
    path: Path,
    matrices: dict[str, Matrix],
    labels: NDArray[Any] | None,
    ids: NDArray[Any] | None,
    wanted: list[Any],
    *,
    ignore_zeroes: bool,
    cache: bool,
    sizes: tuple[int, int] | None,
) -> PairStore:
    """Rows of matrices in an open file, converted once.

    Args:
        path: the file.
        matrices: by modality.
        labels: (rows,), or None.
        ids: likewise.
        wanted: what is read of the file, and how.
        ignore_zeroes: a row of zeros is data.
        cache: keep the arrays.
        sizes: of a trained model, for a modality that is not there.

    Raises:
        UserError: if they have not the same rows, or as `check_rows`.
        OSError: as `open_converted`.
    """
    rows = {part: matrix.shape[0] for part, matrix in matrices.items()}
    counts = {*rows.values(), *(len(known) for known in (labels, ids) if known is not None)}
    if len(counts) > 1:
        found = [f"{part} has {count} rows" for part, count in rows.items()]
        for name, known in (("labels", labels), ("ids", ids)):
            found += [] if known is None else [f"there are {len(known)} {name}"]
        raise UserError(f"{path}: {', '.join(found)}; each row has one of each")
    texts = None if labels is None else label_texts(labels, str(path))
    names = None if ids is None else as_ids(ids, str(path))

    def fill(folder: Path) -> dict[str, Any]:
        for part, matrix in matrices.items():
            _fill_matrix(folder, part, matrix)
        columns: dict[str, int | None] = {p: matrix.shape[1] for p, matrix in matrices.items()}
        (count,) = set(rows.values())
        write_end(folder, columns, count, names, texts)
        return {"sizes": columns, "rows": count, "counts": None}

    return open_converted(
        sorted({path, *(file for matrix in matrices.values() for file in matrix.files)}),
        wanted,
        fill,
        beside=path,
        name=str(path),
        ignore_zeroes=ignore_zeroes,
        cache=cache,
        sizes=sizes,
    )


def _fill_matrix(folder: Path, part: str, matrix: Matrix) -> None:
    """Writes a matrix, and which of its rows are there."""
    flags, rows = [np.zeros((0, 2), bool)], 0
    with MatrixFile(folder / f"{part}.matrix", matrix.files) as file:
        for values in ahead(matrix.blocks()):
            there = np.ones(len(values), bool)
            flags.append(check_rows(values, there, matrix.name, partial(_row, rows)))
            file.put(values, there, np.arange(rows, rows + len(values)))
            rows += len(values)
    np.concatenate(flags).tofile(folder / f"{part}.present")


def _row(first: int, row: int) -> str:
    return f"row {first + row} counted from 0"
