"""What an index is made of: an embedding in memory, or in a file of whatever format."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from bidnn.data.formats.arrays import open_npz
from bidnn.data.formats.kinds import is_table
from bidnn.data.formats.tables.columns import check_vectors, vectors
from bidnn.data.formats.tables.files import TableFiles, open_table
from bidnn.data.frames import ID, as_rows
from bidnn.data.ids import as_ids
from bidnn.data.store import as_flags
from bidnn.data.vectors import read_vectors
from bidnn.errors import UserError
from bidnn.model.about import check_alike, read_about

COLUMN = "embedding"
MARKS = ("present_first", "present_second")
"""Columns that say which modalities a row has."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Vectors, a block at a time, and what is known of their rows.

    Attributes:
        name: where they come from, for messages.
        rows: how many there are; none, where `bidnn embed` found nothing new.
        size: values of each; 0 if there are no rows to tell it.
        blocks: (rows of a block, size) float32, in order; can be read once.
        table: as many rows; `id` is its first column.
        counted: whether the ids are 0, 1, 2, …, because there are none.
        about: of a parquet file of ours, what it says of its model.
    """

    name: str
    rows: int
    size: int
    blocks: Iterable[NDArray[np.float32]]
    table: pa.Table
    counted: bool
    about: dict[str, str] = field(default_factory=dict)


def open_embedding(
    embedding: Any,  # noqa: ANN401 — of many kinds, see its docstring
    ids: ArrayLike | None = None,
    present: ArrayLike | None = None,
) -> Embedding:
    """Opens an embedding.

    Args:
        embedding: (rows, size) array, a frame or table as `BiDNN.transform` gives it; or the name
            of a file: parquet or Arrow with a column `embedding`, whose other columns are kept,
            npz, npy or libsvm.
        ids: (rows,) texts or whole numbers; None: those of the embedding.
        present: (rows, 2) bool, which modalities each row has; None: what a file says of it.

    Raises:
        UserError: if it is no such thing, or ids are not unique.
        OSError: if the file cannot be read.
    """
    found = _opened(embedding, ids)
    if present is None:
        return found
    flags = np.asarray(present)
    if flags.shape != (found.rows, 2):
        raise UserError(f"present has shape {flags.shape}, not ({found.rows}, 2)")
    flags = as_flags(flags, "present")
    told = [name for name in MARKS if name in found.table.schema.names]
    table = found.table.drop_columns(told)
    for name, column in zip(MARKS, flags.T, strict=True):
        table = table.append_column(name, pa.array(column))
    return replace(found, table=table)


def _opened(embedding: Any, ids: ArrayLike | None) -> Embedding:  # noqa: ANN401 — see `open_embedding`
    if not isinstance(embedding, str | Path):
        given = as_rows(embedding, COLUMN)
        if given.values.ndim != 2 or given.values.dtype.kind not in "biuf":
            raise UserError(
                f"embedding of shape {given.values.shape}; a matrix of numbers is needed"
            )
        known = ids if ids is not None else given.ids
        return _in_memory("embedding", np.asarray(given.values, np.float32), known, {})
    path = Path(embedding)
    if is_table(path):
        return _of_table(open_table(str(path)), ids)
    try:
        found = read_vectors(path)
    except UserError:
        if (none := _none_in(path)) is None:
            raise
        return _in_memory(str(path), none, None, {})
    columns: dict[str, Any] = {} if found.labels is None else {"label": found.labels}
    if found.present is not None:
        columns |= dict(zip(MARKS, found.present.T, strict=True))
    return _in_memory(str(path), found.values, ids if ids is not None else found.ids, columns)


def _in_memory(
    name: str, values: NDArray[np.float32], ids: ArrayLike | None, columns: dict[str, Any]
) -> Embedding:
    table = _named(name, pa.table({key: list(part) for key, part in columns.items()}), ids, values)
    return Embedding(name, len(values), values.shape[1], [values], table, ids is None)


def _none_in(path: Path) -> NDArray[np.float32] | None:
    """No vectors, if it is a file of such, as `bidnn embed` writes it where nothing is new."""
    if path.suffix.lower() != ".npz":
        return None
    found = open_npz(path, (COLUMN, "label", "present", "id")).get(COLUMN)
    empty = found is not None and found.ndim == 2 and not len(found)
    return np.asarray(found, np.float32) if empty else None


def _of_table(table: TableFiles, ids: ArrayLike | None) -> Embedding:
    table.check_column(COLUMN, "embedding")
    kind = table.schema.field(COLUMN).type
    name = f"{table.name}, column {COLUMN}"
    check_vectors(kind, name)
    others = [column for column in table.schema.names if column != COLUMN]
    if others:
        batches = list(table.batches(others))
        schema = batches[0].schema if batches else pa.schema(map(table.schema.field, others))
        known = pa.Table.from_batches(batches, schema).replace_schema_metadata(None)
    else:
        known = pa.table({})
    rows, size = 0, int(getattr(kind, "list_size", 0))
    for batch in table.batches([COLUMN]):
        if not size and len(batch):
            size = vectors(batch.column(0).slice(0, 1), None, name, str)[0].shape[1]
        rows += len(batch)
    counted = ids is None and ID not in others
    if ids is None and not counted:
        column = known.column(ID)
        if column.null_count:
            raise UserError(f"{table.name}: an id is null; each row has one")
        ids = column.to_numpy()
    own = known.drop_columns([ID]) if ID in others else known
    metadata = {
        key.decode(): value.decode()
        for key, value in (table.schema.metadata or {}).items()
        if key.startswith(b"bidnn.")
    }
    for file in table.files[1:]:
        check_alike(f"{file}", read_about(file), metadata, others=f"those of {table.files[0]}")
    blocks = _blocks(table, size)
    return Embedding(
        table.name, rows, size, blocks, _named(table.name, own, ids, rows), counted, metadata
    )


def _blocks(table: TableFiles, size: int) -> Iterator[NDArray[np.float32]]:
    rows = 0
    for batch in table.batches([COLUMN]):
        where = partial(_row, rows)
        values, there = vectors(batch.column(0), size, f"{table.name}, column {COLUMN}", where)
        if not there.all():
            raise UserError(
                f"{table.name}, {where(int(np.argmin(there)))}: no vector; leave such rows out"
            )
        yield values
        rows += len(values)


def _row(first: int, row: int) -> str:
    return f"row {first + row}, counted from 0"


def _named(name: str, table: pa.Table, ids: ArrayLike | None, rows: Any) -> pa.Table:  # noqa: ANN401 — of many kinds, see its docstring
    count = rows if isinstance(rows, int) else len(rows)
    known = np.arange(count) if ids is None else as_ids(ids, f"{name}, id")
    if len(known) != count:
        raise UserError(f"{name}: {len(known)} ids for {count} vectors; one for each is needed")
    columns = {ID: pa.array(known)}
    columns |= {column: table.column(column) for column in table.schema.names}
    return pa.table(columns)
