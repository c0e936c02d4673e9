"""Files with a group for each row, whose name is its id."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.arrays import label_texts
from bidnn.data.formats.converted import PARTS, Columns, check_rows, write_end
from bidnn.data.formats.matrix_file import MatrixFile
from bidnn.data.ids import as_ids
from bidnn.errors import UserError

BLOCK_BYTES = 16 * 2**20
ROWS = 2**14


def is_of_groups(file: h5py.File, columns: Columns) -> bool:
    """Whether a group in it has a data set of one of the modalities."""
    names = [name for name in (columns.first, columns.second) if name is not None]
    return any(isinstance(row.get(name), h5py.Dataset) for _, row in _rows(file) for name in names)


def fill_of_groups(folder: Path, file: h5py.File, columns: Columns) -> dict[str, Any]:
    """Writes the vectors of all groups as matrices; returns what there is.

    Raises:
        UserError: naming file, id and data set of what is no vector, or of another length.
    """
    names = {part: getattr(columns, part) for part in PARTS if getattr(columns, part) is not None}
    sizes: dict[str, int | None] = dict.fromkeys(names)
    flags: dict[str, list[NDArray[np.bool_]]] = {part: [np.zeros((0, 2), bool)] for part in names}
    keys: list[str] = []
    labels: list[Any] = []
    with ExitStack() as stack:
        files = {
            part: stack.enter_context(MatrixFile(folder / f"{part}.matrix", [Path(file.filename)]))
            for part in names
        }
        for block in _blocks(file, names, columns.label):
            here = np.arange(len(keys), len(keys) + len(block))
            keys += [row.key for row in block]
            labels += [row.label for row in block]
            for part, name in names.items():
                there = np.array([part in row.vectors for row in block])
                known = [row.vectors[part] for row in block if part in row.vectors]
                sizes[part] = _size(block, part, f"{file.filename}, id {{}}, {name}", sizes[part])
                values = np.array(known, np.float32).reshape(len(known), sizes[part] or 0)
                where = _naming(keys, int(here[0]))
                what = f"{file.filename}, {name}"
                flags[part].append(check_rows(values, there, what, where))
                files[part].put(values, there, here)
    for part, found in flags.items():
        np.concatenate(found).tofile(folder / f"{part}.present")
    texts = None
    if any(label is not None for label in labels):
        plain = np.empty(len(labels), object)
        plain[:] = ["" if label is None else label for label in labels]
        texts = label_texts(plain, file.filename)
    elif columns.label not in (None, "label"):
        raise UserError(f"data.label={columns.label}: no group of {file.filename} has it")
    ids = None if columns.id is None else as_ids(np.array(keys, np.str_), file.filename)
    write_end(folder, sizes, len(keys), ids, texts)
    return {"sizes": sizes, "rows": len(keys), "counts": None}


def _rows(file: h5py.File) -> Iterator[tuple[str, h5py.Group]]:
    """The groups at the top of a file, in its order; MATLAB's own ones are none."""
    for key in file:
        row = file[key]
        if isinstance(row, h5py.Group) and not key.startswith("#"):
            yield key, row


@dataclass(slots=True)
class _Row:
    """A row: its id, the vectors that it has, and its label or None."""

    key: str
    vectors: dict[str, NDArray[np.float32]]
    label: Any


def _blocks(file: h5py.File, names: dict[str, str], label: str | None) -> Iterator[list[_Row]]:
    """All rows, some 16 MiB at a time.

    Raises:
        UserError: naming file, id and data set of what is none of theirs, or damaged.
    """
    block: list[_Row] = []
    size = 0
    for key, row in _rows(file):
        made = _Row(key, {}, None)
        name = label or ""
        try:
            made.label = None if label is None else _label(row, label)
            for part, name in names.items():
                vector = _vector(row, name)
                if vector is not None:
                    made.vectors[part] = vector
                    size += vector.nbytes
        except (ValueError, OSError, RuntimeError, KeyError, TypeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"{file.filename}, id {key!r}, {name}: {reason}") from error
        block.append(made)
        if len(block) == ROWS or size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _vector(row: h5py.Group, name: str) -> NDArray[np.float32] | None:
    """The vector of a row, None if it misses it.

    Raises:
        ValueError: if it is none.
    """
    data = row.get(name)
    if data is None:
        return None
    if not isinstance(data, h5py.Dataset):
        raise ValueError("a group, not a data set")
    shape, kind = data.shape, data.dtype
    if shape is None or len(shape) not in (1, 2) or (len(shape) == 2 and 1 not in shape):
        raise ValueError(f"shape {shape}; a vector is needed")
    if kind.kind not in "biuf":
        raise ValueError(f"{kind} is not a numeric type")
    with np.errstate(over="ignore"):  # which is refused by name
        return np.asarray(data[()], np.float32).ravel()


def _size(block: list[_Row], part: str, name: str, size: int | None) -> int | None:
    """The length of all vectors of a modality.

    Raises:
        UserError: if there are two.
    """
    for row in block:
        vector = row.vectors.get(part)
        if vector is None:
            continue
        size = len(vector) if size is None else size
        if len(vector) != size:
            raise UserError(
                f"{name.format(repr(row.key))}: {len(vector)} values, and the rows before it have "
                f"{size}"
            )
    return size


def _label(row: h5py.Group, name: str) -> Any:  # noqa: ANN401 — text or number
    """A data set or an attribute of a row; None if it has none.

    Raises:
        ValueError: if it is several values.
    """
    item = row.get(name)
    value = item[()] if isinstance(item, h5py.Dataset) else row.attrs.get(name)
    if np.ndim(value):
        raise ValueError(f"shape {np.shape(value)}; a label is one text or number")
    return value


def _naming(keys: list[str], first: int) -> Any:  # noqa: ANN401 — Where
    return lambda row: f"id {keys[first + row]!r}"
