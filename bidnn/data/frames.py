"""Rows as Python's libraries hold them: frames, tables, tensors, lists; and back, with ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bidnn.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

ID = "id"
"""The column of a frame or table that names its rows; a pandas index does, too."""
CONTAINERS = ("default", "pandas", "polars", "pyarrow")


@dataclass(frozen=True, slots=True)
class Rows:
    """One modality of some rows, as it was given.

    Attributes:
        values: (rows, size) array, masked array or sparse matrix; a missing row is NaN.
        ids: (rows,) what the rows are called, unchecked; None if they have no names.
        columns: names of the values' columns; None if they have none.
        container: `pandas`, `polars` or `pyarrow`; None for arrays.
        index: of a pandas frame.
    """

    values: Any
    ids: NDArray[Any] | None = None
    columns: tuple[str, ...] | None = None
    container: str | None = None
    index: Any = None


def as_rows(values: Any, name: str) -> Rows:  # noqa: ANN401 — of any of these kinds
    """Takes rows of one modality.

    Args:
        values: a NumPy array, a SciPy sparse matrix, a tensor of torch on any device, lists; a
            pandas or polars frame or an Arrow table of a column a feature, or with one column of
            vectors; or such a column.
        name: of the modality, for messages.

    Raises:
        UserError: if a frame has a column that is neither, naming it.
    """
    package = type(values).__module__.partition(".")[0]
    if package == "torch":
        dense = values.detach().to_dense()
        return Rows((dense.float() if dense.is_floating_point() else dense).cpu().numpy())
    if package not in CONTAINERS:
        return Rows(as_matrix(values))
    index = None
    if package == "pandas":
        frame = values.to_frame("vectors") if values.ndim == 1 else values
        index = frame.index
    table = _as_table(values, package)
    ids = None
    if ID in table.schema.names and table.num_columns > 1:
        ids = table.column(ID).to_numpy()
        table = table.drop_columns([ID])
    elif index is not None and not _is_counted(index):
        ids = np.asarray(index)
    matrix = _as_matrix(table, name)
    columns = tuple(table.schema.names) if table.num_columns == matrix.shape[1] else None
    return Rows(matrix, ids, columns, package, index)


def as_matrix(values: Any) -> Any:  # noqa: ANN401 — an array or a sparse matrix
    """An array, a sparse matrix or lists as what `store_arrays` takes.

    Raises:
        UserError: if it is of complex numbers.
        TypeError, ValueError: if it is of objects of which some are no numbers.
    """
    if getattr(getattr(values, "dtype", None), "kind", "") == "c":
        raise UserError(
            f"{values.dtype} is not a numeric type here. Complex data not supported; give real and "
            "imaginary parts as columns"
        )
    if sparse.issparse(values):
        real = values.dtype.kind in "biuf"  # what is not is refused by `store_arrays`
        return sparse.csr_array(values, dtype=np.float32 if real else None)
    if np.ma.isMaskedArray(values):
        return values
    plain = np.asarray(_none_as_nan(values) if isinstance(values, list | tuple) else values)
    return plain.astype(np.float32) if plain.dtype.kind == "O" and plain.ndim == 2 else plain


def _none_as_nan(rows: Sequence[Any]) -> Sequence[Any]:
    """Lists of numbers, of which None is a missing row, as long as the others and of NaN."""
    size = next((len(row) for row in rows if isinstance(row, list | tuple | np.ndarray)), None)
    if size is None:
        return rows
    return [[np.nan] * size if row is None else row for row in rows]


def same_ids(first: Rows | None, second: Rows | None) -> NDArray[Any] | None:
    """The ids of both modalities of the same rows, unchecked; None if neither has any.

    Raises:
        UserError: naming the first row in which they differ, or how many they share if they are not
            as many, and the way out.
    """
    given = [rows for rows in (first, second) if rows is not None]
    known = [rows.ids for rows in given if rows.ids is not None]
    if len(known) < 2:
        return known[0] if known else None
    one, other = (ids.tolist() for ids in known)
    if len(one) == len(other):
        for row, pair in enumerate(zip(one, other, strict=True)):
            if pair[0] != pair[1]:
                raise UserError(
                    f"first and second: row {row}, counted from 0, is {pair[0]!r} in one and "
                    f"{pair[1]!r} in the other; {_one_order(one, other)}"
                )
    elif not set(one).isdisjoint(other):
        raise UserError(
            f"first and second: {len(one)} rows and {len(other)}, of which "
            f"{len(set(one).intersection(other))} have ids that are in both; "
            f"{_one_order(one, other)}"
        )
    return known[0]


def _one_order(first: list[Any], second: list[Any]) -> str:
    """How pandas brings rows of these ids into one order, and loses none."""
    if set(second) <= set(first) or set(first).isdisjoint(second):
        return (
            "bring both into one order, in pandas by second.reindex(first.index), which leaves "
            "rows of NaN where second is missing"
        )
    return (
        "bring both into one order with all ids, in pandas by both = first.index.union("
        "second.index), first.reindex(both) and second.reindex(both), which leave rows of NaN "
        "where one is missing"
    )


def check_columns(rows: Rows, names: Sequence[str] | None, name: str) -> None:
    """Refuses a frame whose columns have other names, or another order, than in training.

    Args:
        rows: of one modality.
        names: in training; None if they had none.
        name: of the modality.

    Raises:
        UserError: naming the first that differs.
    """
    if rows.columns is None or names is None or tuple(names) == rows.columns:
        return
    pairs = zip_longest(rows.columns, names)
    number, pair = next((n, pair) for n, pair in enumerate(pairs) if pair[0] != pair[1])
    found, wanted = (f"named {part}" if part is not None else "not there" for part in pair)
    raise UserError(
        f"{name}: column {number}, counted from 0, is {found}, and was {wanted} in training; give "
        "the same columns in the same order"
    )


def contain(
    values: NDArray[np.float32],
    given: Sequence[Rows | None],
    columns: Sequence[str],
    vectors: str,
    container: str = "default",
) -> Any:  # noqa: ANN401 — a frame, a table or the array
    """Puts rows that were made of given ones into what these came in, with their ids.

    Args:
        values: (rows, size).
        given: the rows that they were made of.
        columns: names of the values' columns, in a frame.
        vectors: name of the column of vectors, in an Arrow table.
        container: of CONTAINERS; `default` is that of the first rows that have one.

    Raises:
        ImportError: if the library of that container is not installed.
    """
    framed = [rows for rows in given if rows is not None and rows.container is not None]
    kind = container if container != "default" else next((r.container for r in framed), None)
    ids = next((rows.ids for rows in framed if rows.ids is not None), None)
    if kind == "pandas":
        import pandas as pd

        index = next((rows.index for rows in framed if rows.index is not None), ids)
        return pd.DataFrame(values, columns=list(columns), index=index)
    if kind == "polars":
        import polars as pl

        frame = pl.DataFrame(values, schema=list(columns), orient="row")
        return frame if ids is None else frame.insert_column(0, pl.Series(ID, ids.tolist()))
    if kind == "pyarrow":
        import pyarrow as pa

        flat = pa.array(np.ascontiguousarray(values).ravel())
        parts = {} if ids is None else {ID: pa.array(ids.tolist())}
        parts[vectors] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        return pa.table(parts)
    return values


def _as_table(values: Any, package: str) -> "pa.Table":  # noqa: ANN401 — of one of these libraries
    import pyarrow as pa

    if package == "pandas":
        frame = values.to_frame("vectors") if values.ndim == 1 else values
        frame = frame.rename(columns=str)
        return pa.Table.from_pandas(frame, preserve_index=False)
    if package == "polars":
        return (values if hasattr(values, "columns") else values.to_frame()).to_arrow()
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return pa.table({"vectors": values})
    return pa.Table.from_batches([values]) if isinstance(values, pa.RecordBatch) else values


def _as_matrix(table: "pa.Table", name: str) -> NDArray[Any]:
    """(rows, size), NaN where a vector or a number is null.

    Raises:
        UserError: naming a column that is neither a number nor the only one of vectors.
    """
    import pyarrow as pa

    from bidnn.data.formats.tables.columns import is_list, vectors

    kinds = {field.name: getattr(field.type, "storage_type", field.type) for field in table.schema}
    if len(kinds) == 1 and is_list(*kinds.values()):
        (column,) = kinds
        whole = table.column(column).combine_chunks()
        found, there = vectors(whole, None, f"{name}, column {column}", _row)
        values = np.full((len(there), found.shape[1]), np.nan, np.float32)
        values[there] = found
        return values
    number = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean)
    odd = [c for c, kind in kinds.items() if not any(test(kind) for test in number)]
    if odd or not kinds:
        what = f"column {odd[0]} of type {kinds[odd[0]]}" if odd else "no column"
        raise UserError(
            f"{name}: {what}; a frame has numbers in all of its columns, or one column of vectors, "
            f"and perhaps {ID}: leave the others out"
        )
    values = np.empty((table.num_rows, len(kinds)), np.float32)
    with np.errstate(over="ignore"):  # what is infinite then is refused by name
        for place, column in enumerate(table.columns):
            values[:, place] = column.to_numpy()
    return values


def _is_counted(index: Any) -> bool:  # noqa: ANN401 — of pandas
    """Whether an index is 0, 1, 2, …, which pandas makes where none is given."""
    return type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1


def _row(row: int) -> str:
    return f"row {row}, counted from 0"
