"""What rows of tables are called, and which rows of two tables belong together."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bidnn.data.formats.tables.columns import check_ids, ids, labels
from bidnn.data.formats.tables.files import TableFiles
from bidnn.data.ids import as_ids
from bidnn.errors import UserError
from bidnn.memory import check_memory


@dataclass(frozen=True, slots=True)
class Names:
    """The ids and the labels of a table's rows, each None where there is no such column."""

    ids: NDArray[Any] | None
    labels: NDArray[np.str_] | None


@dataclass(frozen=True, slots=True)
class Joined:
    """The rows of one table or two.

    Attributes:
        names: ids and labels of all rows.
        places: for each table, the row that each of its rows is a part of; None: its own number.
        counts: ids in both tables, in the first only, in the second only; None of one table.
    """

    names: Names
    places: list[NDArray[np.int64] | None]
    counts: tuple[int, int, int] | None = None

    @property
    def rows(self) -> int | None:
        """How many rows there are, where ids tell."""
        return None if self.names.ids is None else len(self.names.ids)


def read_names(table: TableFiles, id_column: str | None, label_column: str | None) -> Names:
    """Reads ids and labels, which are kept in memory.

    Raises:
        UserError: if ids are not unique, null, or texts in one file and whole numbers in another;
            or labels are no texts or numbers.
    """
    wanted = [column for column in (id_column, label_column) if column is not None]
    if not wanted:
        return Names(None, None)
    if id_column is not None and not pa.types.is_null(table.schema.field(id_column).type):
        check_ids(table.schema.field(id_column).type, f"{table.name}, column {id_column}")
    found: dict[str, list[NDArray[Any]]] = {"id": [], "label": []}
    files: list[Path] = []
    rows = 0
    for file, batch in table.batches_by_file(list(dict.fromkeys(wanted))):
        if id_column is not None:
            where = f"{table.name}, column {id_column}"
            if len(batch):  # of a file without rows, the type may be null
                check_ids(batch.column(id_column).type, f"{file}, column {id_column}")
            found["id"].append(ids(batch.column(id_column), where, rows))
            files.append(file)
        if label_column is not None:
            where = f"{table.name}, column {label_column}"
            found["label"].append(labels(batch.column(label_column), where))
        rows += len(batch)
    check_one_kind(zip(files, found["id"], strict=True))
    for name, parts in found.items():
        widest = max((part.dtype.itemsize for part in parts), default=0)
        check_memory(
            2 * rows * widest,
            f"{table.name}, its {name}s, of which the longest has {widest // 4} characters; "
            f"data.{name}=null does without",
        )
    return Names(
        None if id_column is None else as_ids(_joined(found["id"]), table.name),
        None if label_column is None else _joined(found["label"]),
    )


def check_one_kind(known: Iterable[tuple[Path | str, NDArray[Any]]]) -> None:
    """Refuses ids that are texts in one place and whole numbers in another.

    Args:
        known: names of places, and (rows,) the ids that are there.

    Raises:
        UserError: naming the first place of each kind.
    """
    places: dict[str, Path | str] = {}
    for place, values in known:
        if len(values):
            places.setdefault("texts" if values.dtype.kind == "U" else "whole numbers", place)
    if len(places) > 1:
        told = " and ".join(f"{kind} in {place}" for kind, place in places.items())
        raise UserError(f"ids are {told}; make them alike")


def check_id_column(tables: Sequence[TableFiles], column: str) -> None:
    """Refuses tables of which one does not have the ids, under the name that the others have.

    Raises:
        UserError: naming the table, and the nearest of its columns or what to rename.
    """
    having = [table.name for table in tables if column in table.schema.names]
    for table in tables:
        if having and column not in table.schema.names:
            columns = ", ".join(table.schema.names)
            raise UserError(
                f"data.id={column}: {table.name} has no column {column}, by which its rows are "
                f"joined to those of {having[0]}; both tables need the ids under one name: rename "
                f"one of its columns {columns} to {column}"
            )
        table.check_column(column, "data.id")


def join(first: TableFiles, second: TableFiles, names: tuple[Names, Names]) -> Joined:
    """Puts rows of the same id together: first those of the first table, then the others.

    Raises:
        UserError: if one's ids are texts and the other's numbers.
    """
    one, other = (known.ids for known in names)
    assert one is not None
    assert other is not None
    check_one_kind([(first.name, one), (second.name, other)])
    rows = {value: row for row, value in enumerate(one.tolist())}
    known = [rows.get(value, -1) for value in other.tolist()]
    places = np.array(known, np.int64)
    new = np.flatnonzero(places < 0)
    both = len(other) - len(new)
    places[new] = len(one) + np.arange(len(new))
    whole = np.concatenate([one, other[new]]) if len(new) else one
    texts = _joined_labels(names, places, len(whole))
    counts = (both, len(one) - both, len(new))
    return Joined(Names(whole, texts), [None, places], counts)


@dataclass(frozen=True, slots=True)
class JoinedFile:
    """Rows of two joined tables that come from one file, by its ids.

    Attributes:
        file: of the first table; or of the second, with those ids that the first does not have.
        partners: files of the second table that have some of these ids.
        rows: the first of its rows among all that are joined, and the one after its last.
        ids: a digest of their ids.
    """

    file: Path
    partners: tuple[Path, ...]
    rows: tuple[int, int]
    ids: str


def joined_files(
    first: TableFiles, second: TableFiles, id_column: str
) -> tuple[list[JoinedFile], list[JoinedFile]]:
    """What each file of two joined tables gives, in the order of `join`: each id once.

    Args:
        first: the first table.
        second: the second.
        id_column: of both.

    Returns:
        The files of the first table, and those of the second that have ids of their own.

    Raises:
        UserError: as `read_names`, or if a table has no such column.
    """
    check_id_column((first, second), id_column)
    own, others = (_ids_by_file(table, id_column) for table in (first, second))
    owner = {value: number for number, values in enumerate(own) for value in values}
    partners: list[dict[Path, None]] = [{} for _ in own]
    for file, values in zip(second.files, others, strict=True):
        for value in values:
            if value in owner:
                partners[owner[value]][file] = None
    made: tuple[list[JoinedFile], list[JoinedFile]] = ([], [])
    end = 0
    for file, values, with_it in zip(first.files, own, partners, strict=True):
        begin, end = end, end + len(values)
        made[0].append(JoinedFile(file, tuple(with_it), (begin, end), digest(values)))
    for file, values in zip(second.files, others, strict=True):
        alone = [value for value in values if value not in owner]
        begin, end = end, end + len(alone)
        if alone:
            made[1].append(JoinedFile(file, (), (begin, end), digest(alone)))
    return made


def digest(ids: list[Any]) -> str:
    """Tells ids from others, or from the same in another order."""
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:32]


def _ids_by_file(table: TableFiles, id_column: str) -> list[list[Any]]:
    parts = [replace(table, name=str(file), files=(file,)) for file in table.files]
    found = [read_names(part, id_column, None).ids for part in parts]
    known = [np.zeros(0, np.str_) if values is None else values for values in found]
    check_one_kind(zip(table.files, known, strict=True))
    return [values.tolist() for values in known]


def _joined_labels(
    names: tuple[Names, Names], places: NDArray[np.int64], rows: int
) -> NDArray[np.str_] | None:
    """The first table's labels, and the second's where the first has none."""
    one, other = (known.labels for known in names)
    kinds = [part.dtype for part in (one, other) if part is not None]
    if not kinds:
        return None
    whole = np.zeros(rows, np.result_type(*kinds))
    if other is not None:
        whole[places] = other
    if one is not None:
        head = whole[: len(one)]
        head[one != ""] = one[one != ""]
    return whole


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, np.str_)
