"""A file of ids beside rows, in their order, for formats that have no place for them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.arrays import check_file
from bidnn.data.formats.kinds import is_table
from bidnn.data.formats.numbered import is_pattern, matching
from bidnn.data.ids import as_ids
from bidnn.data.mapping import MappedFile
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import readable

if TYPE_CHECKING:
    from bidnn.data.formats.tables.beside import TableColumns

WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")


def with_ids(store: PairStore, file: str | None, column: str | None = None) -> PairStore:
    """The rows with the ids of a file; without one, as they are.

    Args:
        store: the rows.
        file: a table (see `open_table`); `.npy`: an array; else UTF-8 text, an id a line, of which
            int64 is made where each is a whole number.
        column: of a table; None: `id`, or the only one.

    Raises:
        UserError: if two are alike, or there is not one for each row.
        OSError: if it cannot be read.
    """
    if file is None:
        return store
    return check_count(store, read_ids(file, column), file)


def check_count(store: PairStore, ids: NDArray[Any], file: str) -> PairStore:
    """The rows with their ids, and what a table of them has besides.

    Raises:
        UserError: if there is not one for each.
    """
    if len(ids) != len(store):
        raise UserError(
            f"{file}: {len(ids)} ids for the {len(store)} rows of {store.name}; one for each, in "
            "their order"
        )
    return replace(store, ids=ids, columns=_columns(file) or store.columns)


def read_ids(file: str, column: str | None = None) -> NDArray[Any]:
    """The ids in a file, or in those of a pattern, see `with_ids`."""
    path = Path(file)
    if is_pattern(file):
        parts = [read_ids(str(part), column) for part in matching(file, "data.ids")]
        return joined_ids(parts, file)
    if is_table(path):
        return _of_table(file, column)
    if column is not None:
        raise UserError(f"data.id={column}: names a column of a table, and data.ids={file} is none")
    check_file(path)
    if path.suffix.lower() == ".npy":
        with readable(path, "npy file"), path.open("rb") as opened:
            return as_ids(np.lib.format.read_array(opened, allow_pickle=False), file)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text ({error.reason}); an id a line") from error
    lines = [line.removesuffix("\r") for line in lines]
    if lines[-1] == "":
        lines.pop()
    if "" in lines:
        raise UserError(f"{file}, line {lines.index('') + 1}: empty; an id a line")
    whole = bool(lines) and all(WHOLE.fullmatch(line) for line in lines)
    return as_ids(np.array(lines, np.int64 if whole else np.str_), file)


def joined_ids(parts: Sequence[NDArray[Any]], file: str) -> NDArray[Any]:
    """The ids of several files as those of one; texts, where some are texts.

    Raises:
        UserError: if two are alike.
    """
    texts = any(part.dtype.kind == "U" for part in parts)
    return as_ids(np.concatenate([part.astype(np.str_) if texts else part for part in parts]), file)


def _columns(file: str) -> "TableColumns | None":
    """What goes with the rows of a table of ids, or of the tables of a pattern."""
    if not all(map(is_table, matching(file, "data.ids") if is_pattern(file) else [Path(file)])):
        return None
    # so late: pyarrow takes a tenth of a second
    from bidnn.data.formats.tables.beside import TableColumns
    from bidnn.data.formats.tables.files import open_table

    table = open_table(file)
    return TableColumns((table,), None, tuple(MappedFile.of(path) for path in table.files))


def _of_table(file: str, column: str | None) -> NDArray[Any]:
    # so late: pyarrow takes a tenth of a second
    from bidnn.data.formats.tables.files import open_table
    from bidnn.data.formats.tables.rows import read_names

    table = open_table(file)
    if column is None:
        column = table.schema.names[0] if len(table.schema.names) == 1 else "id"
    table.check_column(column, "data.id")
    ids = read_names(table, column, None).ids
    assert ids is not None
    return ids


def id_lines(ids: NDArray[Any], name: str) -> bytes:
    """Ids as such a text.

    Raises:
        UserError: if one is empty or holds a line break.
    """
    for row, value in enumerate(ids.tolist()):
        if value == "" or (isinstance(value, str) and len(value.splitlines()) != 1):
            raise UserError(
                f"{name}: the id of row {row}, {value!r}, is no line of text; write npz instead"
            )
    return "".join(f"{value}\n" for value in ids.tolist()).encode()
