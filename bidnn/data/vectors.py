"""Reads files of finished vectors, whoever wrote them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.arrays import check_file, label_texts, open_npz
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
    """Reads an npz file of `embedding` (or another array), `label`, `present`, `id`; npy; libsvm.

    Args:
        path: .npz and .npy say so, anything else is libsvm, plain or .gz.
        array: the name of the vectors in an npz file.

    Raises:
        ValueError: if it is no such file, the vectors are no matrix of finite numbers, or there is
            not one label for each.
        OSError: if it cannot be read.
    """
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
