"""Which rows an earlier output lacks, or has as they no longer are."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bidnn.data.fingerprints import fingerprints
from bidnn.data.formats.arrays import open_npz
from bidnn.data.ids import as_ids
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.model.about import check_alike, read_about

log = logging.getLogger(__name__)

KEY = "only_new"


@dataclass(frozen=True, slots=True)
class Earlier:
    """The rows of an earlier output; an id may be there twice, and the last one counts.

    Attributes:
        name: as it was given.
        ids: (rows,) str or int64.
        fingerprints: (rows,) int64, or None if they are not asked for.
    """

    name: str
    ids: NDArray[Any]
    fingerprints: NDArray[np.int64] | None

    @classmethod
    def read(cls, path: str, says: Mapping[str, str], *, changed: bool) -> Self:
        """Reads an earlier output.

        Args:
            path: .npz; or parquet, also a folder or a pattern of such, in the order of their
                numbers.
            says: what parquet files should say of their model.
            changed: read fingerprints, too.

        Raises:
            UserError: if it is of another model, or has no ids or fingerprints.
            OSError: if it cannot be read.
        """
        wanted = ["id", "fingerprint"] if changed else ["id"]
        if Path(path).suffix.lower() == ".npz":
            found = open_npz(Path(path), wanted)
            lacks = [name for name in wanted if name not in found]
            columns = {} if lacks else {"id": as_ids(found["id"], path), **found}
        else:
            columns, lacks = _of_tables(path, wanted, says)
        if lacks:
            hint = {
                "id": "ids are what tells which rows it has; embed all rows anew, with ids",
                "fingerprint": "output.fingerprint=true writes them; leave changed=true out",
            }[lacks[0]]
            raise UserError(f"{KEY}={path}: has no {lacks[0]}; {hint}")
        return cls(path, columns["id"], columns.get("fingerprint"))

    def rows_to_do(self, store: PairStore) -> NDArray[np.int64]:
        """The rows that it lacks; and, if it was read with fingerprints, those that changed.

        Returns:
            Their numbers, ascending.

        Raises:
            UserError: if the rows have no ids, or of another kind.
        """
        if store.ids is None:
            raise UserError(
                f"{KEY}={self.name}: the rows of {store.name} have no ids to compare; "
                "data.id=COLUMN or data.ids=FILE gives them"
            )
        kinds = ["text" if ids.dtype.kind == "U" else "number" for ids in (store.ids, self.ids)]
        if kinds[0] != kinds[1] and len(store) and len(self.ids):
            raise UserError(
                f"{KEY}={self.name}: each id is a {kinds[1]} there, and a {kinds[0]} in "
                f"{store.name}; make them alike"
            )
        there = self._rows_of(store.ids)
        new = there < 0
        told, other = f"{int(new.sum())} of {len(store)} rows are not in {self.name}", new
        if self.fingerprints is not None:
            known = np.flatnonzero(~new)
            differ = fingerprints(store, known) != self.fingerprints[there[known]]
            other = new.copy()
            other[known[differ]] = True
            told += f", {int(differ.sum())} have changed"
        log.info("%s; the others are left out", told)
        return np.flatnonzero(other)

    def _rows_of(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """For each id the last row that has it, -1 if none has."""
        import pyarrow as pa  # so late: see `_of_tables`
        from pyarrow import compute

        if not len(ids) or not len(self.ids):
            return np.full(len(ids), -1)
        backwards = pa.array(self.ids[::-1])
        found = compute.index_in(pa.array(np.asarray(ids)), value_set=backwards)
        places: NDArray[np.int64] = found.fill_null(len(self.ids)).to_numpy().astype(np.int64)
        return len(self.ids) - 1 - places


def files_of_earlier(path: str | None) -> list[str]:
    """The files of an earlier output, which are read.

    Raises:
        UserError: if there is none.
    """
    if path is None or Path(path).suffix.lower() == ".npz":
        return [] if path is None else [path]
    from bidnn.data.formats.tables.files import find_files  # so late: it imports pyarrow

    return [str(file) for file in find_files(path, KEY)]


def _of_tables(
    path: str, wanted: list[str], says: Mapping[str, str]
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Columns of the files of a table, and those that one of them lacks."""
    import pyarrow as pa  # so late: it takes a tenth of a second

    from bidnn.data.formats.tables.columns import check_ids, ids
    from bidnn.data.formats.tables.files import open_table
    from bidnn.data.formats.tables.rows import check_one_kind

    table = open_table(path)
    for file in table.files:
        check_alike(f"{KEY}={path}: {file}", read_about(file), says)
    lacks = [name for name in wanted if name not in table.schema.names]
    if lacks:
        return {}, lacks
    if not pa.types.is_null(table.schema.field("id").type):
        check_ids(table.schema.field("id").type, f"{path}, column id")
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
    files: list[Path] = []
    rows = 0
    for file, batch in table.batches_by_file(wanted):
        if len(batch):  # of a file without rows, the type may be null
            check_ids(batch.column("id").type, f"{file}, column id")
        files.append(file)
        known = ids(batch.column("id"), path, rows)
        parts["id"].append(known if known.dtype.kind == "U" else known.astype(np.int64))
        if "fingerprint" in wanted:
            values = batch.column("fingerprint").to_numpy(zero_copy_only=False)
            parts["fingerprint"].append(values.astype(np.int64))
        rows += len(batch)
    check_one_kind(zip(files, parts["id"], strict=True))
    empty = {"id": np.zeros(0, np.str_), "fingerprint": np.zeros(0, np.int64)}
    joined = {n: np.concatenate(found) if found else empty[n] for n, found in parts.items()}
    return joined, []
