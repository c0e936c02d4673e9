"""Files with a group for each row, whose name is its id."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.arrays import label_texts
from bidnn.data.formats.converted import PARTS, Columns, check_rows, put_rows, write_end
from bidnn.data.formats.hdf5.files import read
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
            part: stack.enter_context((folder / f"{part}.matrix").open("wb")) for part in names
        }
        for block in _blocks(file):
            here = np.arange(len(keys), len(keys) + len(block))
            keys += [key for key, _ in block]
            labels += [_label(row, columns.label) for _, row in block]
            for part, name in names.items():
                vectors = [_vector(row, name) for _, row in block]
                there = np.array([vector is not None for vector in vectors])
                known = [vector for vector in vectors if vector is not None]
                sizes[part] = _size(block, vectors, name, sizes[part])
                values = np.array(known, np.float32).reshape(len(known), sizes[part] or 0)
                where = _naming(keys, int(here[0]))
                what = f"{file.filename}, {name}"
                flags[part].append(check_rows(values, there, what, where))
                if len(values):
                    put_rows(files[part], values, there, here)
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


def _blocks(file: h5py.File) -> Iterator[list[tuple[str, h5py.Group]]]:
    block: list[tuple[str, h5py.Group]] = []
    size = 0
    for key, row in _rows(file):
        block.append((key, row))
        size += sum(int(item.nbytes) for item in row.values() if isinstance(item, h5py.Dataset))
        if len(block) == ROWS or size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _vector(row: h5py.Group, name: str) -> NDArray[np.float32] | None:
    """The vector of a row, None if it misses it.

    Raises:
        UserError: if it is none.
    """
    data = row.get(name)
    if data is None:
        return None
    what = f"{row.file.filename}, id {row.name.lstrip('/')!r}, {name}"
    if not isinstance(data, h5py.Dataset):
        raise UserError(f"{what}: a group, not a data set")
    if data.shape is None or len(data.shape) not in (1, 2) or 1 not in (1, *data.shape)[-2:]:
        raise UserError(f"{what} has shape {data.shape}; a vector is needed")
    if data.dtype.kind not in "biuf":
        raise UserError(f"{what}: {data.dtype} is not a numeric type")
    with np.errstate(over="ignore"):  # which is refused by name
        return np.asarray(read(data), np.float32).ravel()


def _size(
    block: list[tuple[str, h5py.Group]],
    vectors: list[NDArray[np.float32] | None],
    name: str,
    size: int | None,
) -> int | None:
    """The length of all vectors.

    Raises:
        UserError: if there are two.
    """
    for (key, row), vector in zip(block, vectors, strict=True):
        if vector is None:
            continue
        size = len(vector) if size is None else size
        if len(vector) != size:
            raise UserError(
                f"{row.file.filename}, id {key!r}, {name}: {len(vector)} values, and the rows "
                f"before it have {size}"
            )
    return size


def _label(row: h5py.Group, name: str | None) -> Any:  # noqa: ANN401 — text or number
    """A data set or an attribute of a row; None if it has none.

    Raises:
        UserError: if it is several values.
    """
    if name is None:
        return None
    item = row.get(name)
    value = read(item) if isinstance(item, h5py.Dataset) else row.attrs.get(name)
    if np.ndim(value):
        key = row.name.lstrip("/")
        raise UserError(
            f"{row.file.filename}, id {key!r}, {name}: shape {np.shape(value)}; a label is one "
            "text or number"
        )
    return value


def _naming(keys: list[str], first: int) -> Any:  # noqa: ANN401 — Where
    return lambda row: f"id {keys[first + row]!r}"
