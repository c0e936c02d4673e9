"""The vectors of tables written as matrices, a batch at a time."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bidnn.data.ahead import ahead
from bidnn.data.formats.tables.columns import Where, vectors
from bidnn.data.formats.tables.files import TableFiles
from bidnn.data.formats.tables.rows import Joined, Names, join, read_names
from bidnn.data.mapping import MappedFile
from bidnn.data.store import look_at
from bidnn.errors import UserError

PARTS = ("first", "second")


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of columns; None: there is none."""

    first: str | None
    second: str | None
    label: str | None
    id: str | None


def fill(folder: Path, tables: Sequence[TableFiles], columns: Columns) -> dict[str, Any]:
    """Writes all arrays into a folder; returns what there is."""
    sources = [MappedFile.of(file) for table in tables for file in table.files]
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
    for part, size in meta["sizes"].items():
        with (folder / f"{part}.matrix").open("ab") as file:  # rows without it are a hole
            file.truncate(4 * (size or 0) * (rows or 0))
    for name, values in (("id", joined.names.ids), ("label", joined.names.labels)):
        if values is not None:
            np.save(folder / f"{name}.npy", values)
    for source in sources:
        source.check()
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
    with ExitStack() as stack:
        opened = {
            part: stack.enter_context((folder / f"{part}.matrix").open("wb")) for part in parts
        }
        for batch in ahead(table.batches(list(dict.fromkeys(parts.values())))):
            here = np.arange(rows, rows + len(batch))
            here = here if places is None else places[here]
            where = _naming(joined.names, here, rows)
            for part, column in parts.items():
                name = f"{table.name}, column {column}"
                values, there = vectors(batch.column(column), size[part], name, where)
                size[part] = values.shape[1] or size[part]
                known[part].append(_check(values, there, name, where))
                if len(values):
                    _put(opened[part], values, there, here)
            rows += len(batch)
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


def _check(
    values: NDArray[np.float32], there: NDArray[np.bool_], name: str, where: Where
) -> NDArray[np.bool_]:
    """Which rows are there, and which of these are not all zero: (rows, 2).

    Raises:
        UserError: if a vector holds an infinity, or NaN in a part of it.
    """
    nan, finite, nonzero = look_at(values)
    bad = np.flatnonzero(~(finite | nan))
    if len(bad):
        row = int(np.flatnonzero(there)[bad[0]])
        raise UserError(
            f"{name}, {where(row)}: infinite as float32, or NaN in a part of its vector; a missing "
            "modality is null, or NaN in all of it"
        )
    flags = np.zeros((len(there), 2), bool)
    flags[there] = np.stack([~nan, ~nan & nonzero], axis=1)
    return flags


def _put(
    file: BinaryIO,
    values: NDArray[np.float32],
    there: NDArray[np.bool_],
    places: NDArray[np.int64],
) -> None:
    """Writes vectors at their rows."""
    size = values.shape[1]
    if len(there) > len(values) and (np.diff(places) == 1).all():
        whole = np.zeros((len(there), size), np.float32)
        whole[there] = values
        values, there = whole, np.ones_like(there)
    places = places[there]
    if not (np.diff(places) > 0).all():
        order = np.argsort(places)
        values, places = values[order], places[order]
    starts = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    for start, stop in zip(starts, [*starts[1:], len(places)], strict=True):
        file.seek(4 * size * int(places[start]))
        file.write(np.ascontiguousarray(values[start:stop]).data)
