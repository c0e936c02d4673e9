"""Tables as rows: read once by pyarrow, into arrays on disk that later runs map.

The arrays are in a folder beside the first file, `FILE.cache/KEY`. The key is made of the names,
sizes and times of all files, and of the columns.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bidnn.data.formats.arrays import fill_absent
from bidnn.data.formats.mapped import map_array, open_mapped
from bidnn.data.formats.tables.columns import check_vectors
from bidnn.data.formats.tables.files import TableFiles, open_table
from bidnn.data.formats.tables.filling import PARTS, Columns, fill
from bidnn.data.mapping import MappedFile
from bidnn.data.store import PairStore
from bidnn.errors import UserError

log = logging.getLogger(__name__)

FORMAT = 1


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
    folder, origin = _cache_folder(tables, columns)
    name = " + ".join(table.name for table in tables)
    meta = None
    if cache:
        try:
            meta = open_mapped(folder, origin, lambda empty: fill(empty, tables, columns))
        except OSError as error:
            reason = error.strerror or str(error)
            log.info("%s: no cache can be made beside it (%s); it is read anew", name, reason)
    if meta is not None:
        mapped = tuple(MappedFile.of(folder / file) for file in meta["files"])
        return _store(folder, meta, name, sizes, mapped, ignore_zeroes=ignore_zeroes)
    with TemporaryDirectory(prefix="bidnn-") as temporary:  # what is mapped stays, without a name
        meta = fill(Path(temporary), tables, columns)
        return _store(Path(temporary), meta, name, sizes, (), ignore_zeroes=ignore_zeroes)


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
            lists = [c.name for c in one.schema if str(c.type).startswith(("list", "fixed", "lar"))]
            raise UserError(
                f"{one.name} has no column first or second; data.first=… and data.second=… name "
                f"those of vectors, such as {', '.join(lists) or '(it has none)'}"
            )
    for column, where, option in ((first, one, "first"), (second, tables[-1], "second")):
        if column is not None:
            where.check_column(column, f"data.{option}")
            check_vectors(where.schema.field(column).type, f"{where.name}, column {column}")
    everywhere = [name for table in tables for name in table.schema.names]
    if label == "label" and label not in everywhere:
        label = None
    if label is not None and label not in everywhere:
        one.check_column(label, "data.label")
    if key == "id" and "id" not in one.schema.names and len(tables) == 1:
        key = None
    if len(tables) == 2 and key is None:
        raise UserError("data.second_path: two tables are joined by id, and data.id names none")
    for table in tables if key is not None else []:
        table.check_column(key or "", "data.id")
    return Columns(first, second, label, key)


def _cache_folder(tables: Sequence[TableFiles], columns: Columns) -> tuple[Path, str]:
    """Where the arrays are, and how the names begin of all that is made of the same files."""
    states = []
    for file in (file for table in tables for file in table.files):
        found = file.stat()
        states.append([str(file.absolute()), found.st_size, found.st_mtime_ns])
    origin = f"{_digest([FORMAT, states])}-"
    given = Path(tables[0].name)
    beside = given if given.exists() else tables[0].files[0]
    read = [columns.first, columns.second, columns.label, columns.id]
    return beside.with_name(f"{beside.name}.cache") / f"{origin}{_digest(read)}", origin


def _digest(content: Any) -> str:  # noqa: ANN401 — plain data
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


def _store(
    folder: Path,
    meta: dict[str, Any],
    name: str,
    sizes: tuple[int, int] | None,
    files: tuple[MappedFile, ...],
    *,
    ignore_zeroes: bool,
) -> PairStore:
    if meta["counts"] is not None:
        told = "%s: %d ids in both, %d in the first only, %d in the second only"
        log.info(told, name, *meta["counts"])
    rows, present = meta["rows"], np.zeros((meta["rows"], 2), bool)
    given: list[Any] = []
    for number, part in enumerate(PARTS):
        size = meta["sizes"].get(part)
        if not size:
            given.append(None)
            continue
        given.append(map_array(folder / f"{part}.matrix", np.float32, (rows, size)))
        flags = np.fromfile(folder / f"{part}.present", np.bool_).reshape(rows, 2)
        present[:, number] = flags[:, 0 if ignore_zeroes else 1]
    first, second = fill_absent(given, sizes, name)
    lists = {}
    for key in ("label", "id"):
        with suppress(FileNotFoundError):
            lists[key] = np.load(folder / f"{key}.npy", mmap_mode="r")
    return PairStore(
        first, second, present, lists.get("label"), name, files=files, ids=lists.get("id")
    )
