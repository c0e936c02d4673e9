"""Columns of tables that go to an output as they are, beside its vectors: titles, addresses, dates.

They are read as the output is written, each part for the rows of a block; of one table none is
whole in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from bidnn.data.formats.tables.columns import ids, is_text
from bidnn.data.formats.tables.files import TableFiles
from bidnn.data.mapping import MappedFile
from bidnn.errors import UserError
from bidnn.memory import check_memory

KEY = "output.columns"


@dataclass(frozen=True, slots=True)
class TableColumns:
    """What the tables of a store have besides, by name.

    Attributes:
        tables: one, or two whose rows are joined by id.
        id: the column that joins them.
        files: those of the tables, as they were when the vectors were read.
    """

    tables: tuple[TableFiles, ...]
    id: str | None
    files: tuple[MappedFile, ...]

    def fields(self, names: Sequence[str]) -> list[pa.Field]:
        """The columns of these names, of the first table that has each.

        Raises:
            UserError: naming the nearest to one that is not there.
        """
        schemas = [table.schema for table in self.tables]
        there = [name for schema in schemas for name in schema.names]
        found = []
        for name in names:
            if name not in there:
                near = get_close_matches(name, there, n=1, cutoff=0.5)
                known = ", ".join(dict.fromkeys(there))
                hint = f"did you mean {near[0]}?" if near else f"there are {known}"
                where = " and ".join(table.name for table in self.tables)
                raise UserError(f"{KEY}: {where}: no column {name}; {hint}")
            for table in self.tables:
                if name in table.schema.names:
                    table.check_column(name, KEY)
            schema = next(schema for schema in schemas if name in schema.names)
            found.append(schema.field(name).with_nullable(True).remove_metadata())
        return found

    def read(
        self, names: Sequence[str], known: NDArray[Any] | None, rows: NDArray[np.int64] | None
    ) -> "Beside":
        """Begins to read columns.

        Args:
            names: of columns that are there.
            known: (all rows,) ids of the store.
            rows: the rows of the store that are written, ascending; None: all.

        Raises:
            UserError: if a file was changed since the vectors were read, or types do not fit.
        """
        for file in self.files:
            file.check()
        fields = self.fields(names)
        if len(self.tables) == 1:
            return InOrder(self.tables[0], fields, rows)
        assert known is not None
        return Joined(self, fields, known if rows is None else known[rows])


class InOrder:
    """Columns of one table, in the order of its rows."""

    def __init__(
        self, table: TableFiles, fields: list[pa.Field], rows: NDArray[np.int64] | None
    ) -> None:
        """Reads nothing yet; see `TableColumns.read`."""
        self.table, self.fields, self.rows = table, fields, rows
        self._batches = table.batches([field.name for field in fields])
        self._batch: pa.RecordBatch = pa.record_batch([])
        self._start = 0

    def take(self, part: slice) -> list[pa.ChunkedArray]:
        """The columns of the next rows; see Beside."""
        wanted = np.arange(part.start, part.stop) if self.rows is None else self.rows[part]
        found: list[list[pa.Array]] = [[] for _ in self.fields]
        while len(wanted):
            here = wanted[: np.searchsorted(wanted, self._start + len(self._batch))] - self._start
            if not len(here):
                self._next()
                continue
            whole = len(here) == here[-1] - here[0] + 1
            for field, pieces in zip(self.fields, found, strict=True):
                column = self._batch.column(field.name)
                piece = column.slice(here[0], len(here)) if whole else column.take(pa.array(here))
                pieces.append(_as(piece, field, self.table.name))
            wanted = wanted[len(here) :]
        parts = zip(self.fields, found, strict=True)
        return [pa.chunked_array(pieces, field.type) for field, pieces in parts]

    def _next(self) -> None:
        self._start += len(self._batch)
        batch = next(self._batches, None)
        if batch is None:
            raise UserError(
                f"{self.table.name}: has fewer rows than when its vectors were read; start again"
            )
        self._batch = batch


class Joined:
    """Columns of two tables, read whole: where the first has no value, the second's is taken."""

    def __init__(self, columns: TableColumns, fields: list[pa.Field], known: NDArray[Any]) -> None:
        """Reads them; `known` are the ids of the rows that are written."""
        self.fields = fields
        self._parts: list[tuple[dict[str, pa.ChunkedArray], NDArray[np.int64]]] = []
        for table in columns.tables:
            own = [field for field in fields if field.name in table.schema.names]
            if own:
                self._parts.append(_read_whole(table, own, columns.id or "", known))

    def take(self, part: slice) -> list[pa.ChunkedArray]:
        """The columns of the next rows; see Beside."""
        found = []
        for field in self.fields:
            pieces = []
            for table, places in self._parts:
                if field.name in table:
                    here = places[part]
                    pieces.append(table[field.name].take(pa.array(here, mask=here < 0)))
            found.append(pieces[0] if len(pieces) == 1 else compute.coalesce(*pieces))
        return found


Beside = InOrder | Joined
"""Has `fields`, and `take(part)`: their values for consecutive parts of the rows, from the first
row on."""


def as_array(field: pa.Field, values: pa.ChunkedArray) -> NDArray[Any]:
    """A whole column as NumPy has it: texts, numbers, or true and false.

    Raises:
        UserError: if it is of another type, or a value is null that cannot be NaN.
    """
    check_plain(field)
    if values.null_count and not pa.types.is_floating(_plain(field.type)):
        row = int(np.argmin(values.is_valid().to_numpy()))
        raise UserError(
            f"{KEY}: {field.name} of row {row}, counted from 0, is null, for which an npz file has "
            "no place; name output.path .parquet"
        )
    values = values.cast(_plain(field.type))
    if not is_text(values.type):
        numbers: NDArray[Any] = values.to_numpy()
        return numbers
    texts = values.to_pylist()
    longest = max(map(len, texts), default=0)
    check_memory(
        4 * longest * len(texts),
        f"{KEY}: {field.name}, of which the longest has {longest} characters; .parquet does "
        "without",
    )
    return np.array(texts, np.str_)


def check_plain(field: pa.Field) -> None:
    """Refuses a column that is none of texts, numbers, or true and false.

    Raises:
        UserError: naming its type.
    """
    kind = _plain(field.type)
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    if not (is_text(kind) or any(test(kind) for test in tests)):
        raise UserError(
            f"{KEY}: {field.name} is of type {field.type}, for which an npz file has no place; "
            "name output.path .parquet"
        )


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _read_whole(
    table: TableFiles, fields: list[pa.Field], key: str, known: NDArray[Any]
) -> tuple[dict[str, pa.ChunkedArray], NDArray[np.int64]]:
    """Columns of a table, and for each id the row that has it, -1 if none has."""
    own: list[NDArray[Any]] = [np.zeros(0, known.dtype)]
    pieces: dict[str, list[pa.Array]] = {field.name: [] for field in fields}
    rows = 0
    for batch in _batches(table, [key, *pieces]):
        own.append(ids(batch.column(key), table.name, rows))
        for field in fields:
            pieces[field.name].append(_as(batch.column(field.name), field, table.name))
        rows += len(batch)
    columns = {field.name: pa.chunked_array(pieces[field.name], field.type) for field in fields}
    at = {value: row for row, value in enumerate(np.concatenate(own).tolist())}
    return columns, np.array([at.get(value, -1) for value in known.tolist()], np.int64)


def _batches(table: TableFiles, names: list[str]) -> Iterator[pa.RecordBatch]:
    return table.batches(list(dict.fromkeys(names)))


def _as(column: pa.Array, field: pa.Field, name: str) -> pa.Array:
    """A column of the type that it has in the first file.

    Raises:
        UserError: if it cannot be made so.
    """
    if column.type == field.type:
        return column
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(
            f"{KEY}: {name}: {field.name} is of type {field.type} in one file and {column.type} in "
            "another; make them alike"
        ) from error
