"""Reads files of finished vectors, whoever wrote them."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.arrays import check_file, label_texts, open_npz
from bidnn.data.formats.kinds import is_table
from bidnn.data.formats.libsvm.text import MAX_COLUMNS, read_libsvm
from bidnn.data.ids import as_ids
from bidnn.data.store import as_flags
from bidnn.errors import UserError
from bidnn.files import readable
from bidnn.memory import check_memory


@dataclass(frozen=True, slots=True)
class Vectors:
    """Finished vectors, and what is known of their rows.

    Attributes:
        values: (rows, size) float32, finite; at least one row.
        labels: (rows,) str, or None.
        present: (rows, 2) bool, or None.
        ids: (rows,) str or int64, or None.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.str_] | None = None
    present: NDArray[np.bool_] | None = None
    ids: NDArray[Any] | None = None


def read_vectors(path: Path, array: str = "embedding") -> Vectors:
    """Reads a file of `embedding` (or another array), `label`, `id` and what is present.

    Args:
        path: .npz and .npy say so; parquet or Arrow by its first bytes, or a folder or pattern of
            such; anything else is libsvm, plain or .gz.
        array: the name of the vectors in an npz file or a table.

    Raises:
        ValueError: if it is no such file, the vectors are no matrix of finite numbers, or there is
            not one label for each.
        OSError: if it cannot be read.
    """
    if is_table(path):
        return _read_table(path, array)
    check_file(path)
    kind = path.suffix.lower()
    labels = present = ids = None
    if kind == ".npz":
        arrays = open_npz(path, (array, "label", "present", "id"))
        if array not in arrays:
            raise UserError(f"{path}: no array {array} in it; --array names the vectors")
        values, labels, present = arrays[array], arrays.get("label"), arrays.get("present")
        ids = arrays.get("id")
    elif kind == ".npy":
        with readable(path, "npy file"), path.open("rb") as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    else:
        values, labels = _read_text(path)
    return Vectors(
        _as_vectors(values, path),
        None if labels is None else _as_labels(labels, len(values), path),
        None if present is None else _as_present(present, len(values), path),
        None if ids is None else _as_ids(ids, len(values), path),
    )


def _read_table(path: Path, array: str) -> Vectors:
    # so late: pyarrow takes a tenth of a second, which other formats do without
    from bidnn.data.formats.tables.columns import check_vectors, vectors
    from bidnn.data.formats.tables.files import open_table
    from bidnn.data.formats.tables.rows import read_names

    table = open_table(str(path))
    table.check_column(array, "--array")
    check_vectors(table.schema.field(array).type, f"{table.files[0]}, column {array}")
    there = [name if name in table.schema.names else None for name in ("id", "label")]
    names = read_names(table, *there)
    marks = [name for name in ("present_first", "present_second") if name in table.schema.names]
    parts: list[NDArray[np.float32]] = []
    flags: list[NDArray[np.bool_]] = []
    rows, size = 0, None
    for file, batch in table.batches_by_file([array, *marks]):
        where = partial(_row, rows)
        check_vectors(batch.column(array).type, f"{file}, column {array}")
        values, known = vectors(batch.column(array), size, f"{path}, column {array}", where)
        if not known.all():
            raise UserError(
                f"{path}, row {rows + int(np.argmin(known))} counted from 0: no vector in column "
                f"{array}; leave such rows out"
            )
        size, rows = values.shape[1], rows + len(values)
        parts.append(values)
        if len(marks) == 2:
            pair = [batch.column(name).to_numpy(zero_copy_only=False) for name in marks]
            flags.append(as_flags(np.stack(pair, axis=1), f"{path}, present"))
    whole = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    present = np.concatenate(flags) if flags else None
    return Vectors(_as_vectors(whole, path), names.labels, present, names.ids)


def _row(first: int, row: int) -> str:
    return f"row {first + row} counted from 0"


def _read_text(path: Path) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Rows of libsvm text, which does not say how many columns there are.

    Where no index is 0, they are taken to start at 1; if that is wrong, a column of zeros is lost.
    """
    rows = read_libsvm(path, MAX_COLUMNS - 1, 1)
    used = int(rows.matrix.indices.max(initial=0)) + 1
    check_memory(
        4 * len(rows.labels) * used,
        f"{path}, {len(rows.labels)} vectors of {used} columns, by the highest index in it; "
        "correct the index",
    )
    return rows.matrix[:, :used].toarray(), rows.labels


def _as_vectors(values: NDArray[Any], path: Path) -> NDArray[np.float32]:
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise UserError(
            f"{path}: vectors of shape {values.shape} and type {values.dtype}; a matrix of numbers "
            "is needed"
        )
    if not values.size:
        raise UserError(f"{path}: {values.shape[0]} vectors of {values.shape[1]} columns; none")
    with np.errstate(over="ignore"):
        vectors = values.astype(np.float32, copy=False)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row, count = int(np.argmin(finite)), int((~finite).sum())
        raise UserError(
            f"{path}, row {row} counted from 0: NaN, or infinite in float32 ({count} rows are); "
            "leave such rows out"
        )
    return vectors


def _as_labels(labels: NDArray[Any], rows: int, path: Path) -> NDArray[np.str_]:
    if labels.shape != (rows,):
        raise UserError(f"{path}: label has shape {labels.shape}, not ({rows},), one for each row")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        row = int(np.argmax(np.isnan(labels)))
        raise UserError(f"{path}, row {row} counted from 0: its label is NaN")
    return label_texts(labels, str(path))


def _as_ids(ids: NDArray[Any], rows: int, path: Path) -> NDArray[Any]:
    if ids.shape != (rows,):
        raise UserError(f"{path}: id has shape {ids.shape}, not ({rows},), one for each row")
    return as_ids(ids, str(path))


def _as_present(present: NDArray[Any], rows: int, path: Path) -> NDArray[np.bool_]:
    if present.shape != (rows, 2):
        raise UserError(f"{path}: present has shape {present.shape}, not ({rows}, 2)")
    return as_flags(present, f"{path}, present")
