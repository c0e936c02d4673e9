"""The vectors of tables written as matrices, a batch at a time."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.ahead import ahead
from bidnn.data.formats.converted import Columns, Where, check_rows, write_end
from bidnn.data.formats.matrix_file import MatrixFile
from bidnn.data.formats.tables.columns import check_vectors, vectors
from bidnn.data.formats.tables.files import TableFiles
from bidnn.data.formats.tables.rows import Joined, Names, join, read_names
from bidnn.errors import UserError


def fill(folder: Path, tables: Sequence[TableFiles], columns: Columns) -> dict[str, Any]:
    """Writes all arrays into a folder; returns what there is."""
    joined = _names(tables, columns)
    read = [{"first": columns.first, "second": columns.second}]
    if len(tables) == 2:
        read = [{"first": columns.first}, {"second": columns.second}]
    meta: dict[str, Any] = {"sizes": {}, "counts": joined.counts}
    rows = joined.rows
    for table, wanted, places in zip(tables, read, joined.places, strict=True):
        parts = {part: column for part, column in wanted.items() if column is not None}
        found, sizes = _read_vectors(folder, table, parts, joined, places)
        rows = found if rows is None else rows
        meta["sizes"] |= sizes
    meta["rows"] = rows
    if not any(meta["sizes"].values()):
        raise UserError(f"{' + '.join(table.name for table in tables)}: not one vector in it")
    write_end(folder, meta["sizes"], rows or 0, joined.names.ids, joined.names.labels)
    return meta


def _names(tables: Sequence[TableFiles], columns: Columns) -> Joined:
    known = []
    for table in tables:
        label = columns.label if columns.label in table.schema.names else None
        known.append(read_names(table, columns.id, label))
    if len(tables) == 2:
        return join(tables[0], tables[1], (known[0], known[1]))
    return Joined(known[0], [None])


def _read_vectors(
    folder: Path,
    table: TableFiles,
    parts: dict[str, str],
    joined: Joined,
    places: NDArray[np.int64] | None,
) -> tuple[int, dict[str, int | None]]:
    """Writes the vectors of a table; returns its rows, and the size of each modality."""
    rows, size = 0, dict.fromkeys(parts)
    known: dict[str, list[NDArray[np.bool_]]] = {part: [] for part in parts}

    def checked() -> Iterator[tuple[NDArray[np.int64], dict[str, tuple[Any, Any]]]]:
        nonlocal rows
        for path, batch in ahead(table.batches_by_file(list(dict.fromkeys(parts.values())))):
            here = np.arange(rows, rows + len(batch))
            here = here if places is None else places[here]
            where = _naming(joined.names, here, rows)
            found = {}
            for part, column in parts.items():
                check_vectors(batch.column(column).type, f"{path}, column {column}")
                name = f"{table.name}, column {column}"
                values, there = vectors(batch.column(column), size[part], name, where)
                size[part] = values.shape[1] or size[part]
                known[part].append(check_rows(values, there, name, where))
                found[part] = values, there
            rows += len(batch)
            yield here, found

    with ExitStack() as stack:
        files = {
            part: stack.enter_context(MatrixFile(folder / f"{part}.matrix", table.files))
            for part in parts
        }
        for here, found in ahead(checked()):  # read, looked at and written at the same time
            for part, (values, there) in found.items():
                files[part].put(values, there, here)
    total = joined.rows if joined.rows is not None else rows
    for part, looked in known.items():
        flags = np.zeros((total, 2), bool)
        flags[slice(rows) if places is None else places] = np.concatenate([flags[:0], *looked])
        flags.tofile(folder / f"{part}.present")
    return rows, size


def _naming(names: Names, here: NDArray[np.int64], first_row: int) -> Where:
    def where(row: int) -> str:
        if names.ids is None:
            return f"row {first_row + row} counted from 0"
        return f"id {names.ids[here[row]].item()!r}"

    return where
