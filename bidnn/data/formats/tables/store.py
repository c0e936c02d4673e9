"""Tables as rows: Arrow files mapped as they are, others read once into arrays that are mapped."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bidnn.data.formats.arrays import store_arrays
from bidnn.data.formats.converted import PARTS, Columns, open_converted
from bidnn.data.formats.tables.beside import TableColumns
from bidnn.data.formats.tables.columns import check_vectors, is_vectors
from bidnn.data.formats.tables.files import TableFiles, open_table
from bidnn.data.formats.tables.filling import fill
from bidnn.data.formats.tables.mapped import map_columns
from bidnn.data.formats.tables.rows import check_id_column, read_names
from bidnn.data.mapping import MappedFile
from bidnn.data.store import PairStore
from bidnn.errors import UserError


def read_table(
    path: str,
    second_path: str | None,
    columns: Columns,
    *,
    ignore_zeroes: bool = True,
    cache: bool = True,
    sizes: tuple[int, int] | None = None,
) -> PairStore:
    """The rows of a table, or of two that are joined by id.

    Args:
        path: see `open_table`.
        second_path: the table of the second modality, if it has its own.
        columns: of vectors, labels and ids. With neither `first` nor `second`, the columns of these
            names that are there; `label` and `id` are taken where there are such columns.
        ignore_zeroes: a row of zeros is data.
        cache: keep the arrays in a folder beside the file; else in a temporary one.
        sizes: of a trained model, for a modality that is not there.

    Raises:
        UserError: naming file, column and row of what cannot be read.
        OSError: if a file cannot be read, or there is no room for the arrays.
    """
    tables = [open_table(name) for name in (path, second_path) if name is not None]
    columns = _resolve(tables, columns)
    files = [file for table in tables for file in table.files]
    as_they_are = tuple(map(MappedFile.of, files))
    columns_beside = TableColumns(tuple(tables), columns.id, as_they_are)
    if len(tables) == 1:
        store = _mapped(tables[0], columns, ignore_zeroes=ignore_zeroes, sizes=sizes)
        if store is not None:
            return replace(store, columns=columns_beside, files=as_they_are)
    given = Path(path)
    store = open_converted(
        files,
        [columns.first, columns.second, columns.label, columns.id],
        lambda folder: fill(folder, tables, columns),
        beside=given if given.exists() else tables[0].files[0],
        name=" + ".join(table.name for table in tables),
        ignore_zeroes=ignore_zeroes,
        cache=cache,
        sizes=sizes,
    )
    return replace(store, columns=columns_beside)


def _mapped(
    table: TableFiles, columns: Columns, *, ignore_zeroes: bool, sizes: tuple[int, int] | None
) -> PairStore | None:
    """The rows of a table whose vectors need not be converted; None if they do."""
    names = {part: getattr(columns, part) for part in PARTS}
    found = map_columns(table, [name for name in names.values() if name is not None])
    if found is None:
        return None
    parts = {part: found[name] for part, name in names.items() if name is not None}
    known = read_names(table, columns.id, columns.label)
    return store_arrays(
        *(parts[part].matrix if part in parts else None for part in PARTS),
        labels=known.labels,
        present_first=parts["first"].present if "first" in parts else None,
        present_second=parts["second"].present if "second" in parts else None,
        ids=known.ids,
        ignore_zeroes=ignore_zeroes,
        name=table.name,
        sizes=sizes,
    )


def _resolve(tables: Sequence[TableFiles], columns: Columns) -> Columns:
    """The columns that are read.

    Raises:
        UserError: if one is not there, or is of another type.
    """
    names, one = columns, tables[0]
    first, second, label, key = names.first, names.second, names.label, names.id
    if len(tables) == 2:
        first, second = first or "first", second or "second"
    elif first is None and second is None:
        first, second = (part if part in one.schema.names else None for part in PARTS)
        if first is None and second is None:
            lists = ", ".join(column.name for column in one.schema if is_vectors(column.type))
            hint = f"such as {lists}" if lists else "of which it has none"
            raise UserError(
                f"{one.name} has no column first or second; data.first=… and data.second=… name "
                f"those of vectors, {hint}"
            )
    for column, where, option in ((first, one, "first"), (second, tables[-1], "second")):
        if column is not None:
            where.check_column(column, f"data.{option}")
            kind = where.schema.field(column).type
            check_vectors(kind, f"{where.files[0]}, column {column}")
    everywhere = [name for table in tables for name in table.schema.names]
    if label == "label" and label not in everywhere:
        label = None
    if label is not None and label not in everywhere:
        one.check_column(label, "data.label")
    if key == "id" and "id" not in one.schema.names and len(tables) == 1:
        key = None
    if len(tables) == 2 and key is None:
        raise UserError("data.second_path: two tables are joined by id, and data.id names none")
    if key is not None:
        check_id_column(tables, key)
    return Columns(first, second, label, key)
