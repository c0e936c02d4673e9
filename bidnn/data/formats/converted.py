"""Rows of files that cannot be mapped: read once, into arrays on disk that later runs map.

The arrays are in a folder beside the first file, `FILE.cache/KEY`. The key is made of the names,
sizes and times of all files, and of what is read of them.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.arrays import fill_absent
from bidnn.data.formats.mapped import map_array, open_mapped
from bidnn.data.mapping import MappedFile
from bidnn.data.store import PairStore, look_at
from bidnn.errors import UserError

log = logging.getLogger(__name__)

FORMAT = 1
PARTS = ("first", "second")
Where = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of columns, or of data sets; None: there is none."""

    first: str | None
    second: str | None
    label: str | None
    id: str | None


def open_converted(
    files: Sequence[Path],
    read: list[Any],
    fill: Callable[[Path], dict[str, Any]],
    *,
    beside: Path,
    name: str,
    ignore_zeroes: bool,
    cache: bool,
    sizes: tuple[int, int] | None,
) -> PairStore:
    """The rows of files, from arrays that are made if there are none.

    Args:
        files: what is read.
        read: what of it, and how; plain data.
        fill: writes the arrays into a folder (`MatrixFile`, `write_end`), and says what there is:
            `rows`, `sizes` by modality, and `counts` of ids in both tables, the first and the
            second only, or None.
        beside: the file beside which they are kept.
        name: for messages.
        ignore_zeroes: a row of zeros is data.
        cache: keep the arrays; else they are temporary.
        sizes: of a trained model, for a modality that is not there.

    Raises:
        UserError: if a file is changed meanwhile, or as `fill` does.
        OSError: if a file cannot be read, or there is no room for the arrays.
    """

    def whole(folder: Path) -> dict[str, Any]:
        before = [MappedFile.of(file) for file in files]
        meta = fill(folder)
        for file in before:
            file.check()
        return meta

    states = []
    for file in files:
        found = file.stat()
        states.append([str(file.absolute()), found.st_size, found.st_mtime_ns])
    origin = f"{_digest([FORMAT, states])}-"
    folder = beside.with_name(f"{beside.name}.cache") / f"{origin}{_digest(read)}"
    meta = None
    if cache:
        try:
            meta = open_mapped(folder, origin, whole)
        except OSError as error:
            reason = error.strerror or str(error)
            log.info("%s: no cache can be made beside it (%s); it is read anew", name, reason)
    if meta is not None:
        mapped = tuple(MappedFile.of(folder / file) for file in meta["files"])
        return _store(folder, meta, name, sizes, mapped, ignore_zeroes=ignore_zeroes)
    with TemporaryDirectory(prefix="bidnn-") as temporary:  # what is mapped stays, without a name
        try:
            meta = whole(Path(temporary))
        except OSError as error:
            if error.errno not in (ENOSPC, EDQUOT):
                raise
            raise OSError(
                f"{name}: no room in {Path(temporary).parent} for its arrays "
                f"({error.strerror}); make room, or let TMPDIR name another folder"
            ) from error
        return _store(Path(temporary), meta, name, sizes, (), ignore_zeroes=ignore_zeroes)


def check_rows(
    values: NDArray[np.float32], there: NDArray[np.bool_], name: str, where: Where
) -> NDArray[np.bool_]:
    """Which rows are there, and which of these are not all zero: (rows, 2).

    Args:
        values: (those that are there, size).
        there: (rows,) whether it is.
        name: the column, for messages.
        where: names a row.

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


def write_end(
    folder: Path,
    sizes: dict[str, int | None],
    rows: int,
    ids: NDArray[Any] | None,
    labels: NDArray[np.str_] | None,
) -> None:
    """Writes what is not vectors; rows that a modality does not have are a hole in its file."""
    for part, size in sizes.items():
        with (folder / f"{part}.matrix").open("ab") as file:
            file.truncate(4 * (size or 0) * rows)
    for name, values in (("id", ids), ("label", labels)):
        if values is not None:
            np.save(folder / f"{name}.npy", values)


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
    first, second = fill_absent(given, sizes, name, meta["sizes"])
    lists = {}
    for key in ("label", "id"):
        with suppress(FileNotFoundError):
            lists[key] = np.load(folder / f"{key}.npy", mmap_mode="r")
    return PairStore(
        first, second, present, lists.get("label"), name, files=files, ids=lists.get("id")
    )
