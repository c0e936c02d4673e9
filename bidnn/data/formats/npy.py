"""npy files, one of each modality or numbered shards of them, which are memory-mapped."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.arrays import check_file, store_arrays
from bidnn.data.formats.kinds import check_kind
from bidnn.data.formats.numbered import Numbered, check_alike, find_numbered, is_pattern
from bidnn.data.formats.sidecar import check_count, joined_ids, read_ids
from bidnn.data.mapping import MappedFile
from bidnn.data.shards import Shards
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import readable


@dataclass(frozen=True, slots=True)
class _Mapped:
    """The arrays of a file or of a pattern's, in order, and the shards if it is one."""

    arrays: list[NDArray[Any]]
    files: Sequence[Path]
    shards: Numbered | None

    @property
    def rows(self) -> list[int]:
        return [len(array) for array in self.arrays]


def read_npy(
    first: str | Path | None,
    second: str | Path | None,
    *,
    label: str | Path | None = None,
    ids: str | None = None,
    id_column: str | None = None,
    ignore_zeroes: bool,
    sizes: tuple[int, int] | None = None,
) -> PairStore:
    """Memory-maps npy files of both modalities; a row of NaN is missing.

    Args:
        first: (rows, mod1size), or a pattern of shards of it; None: all rows miss it.
        second: (rows, mod2size); likewise.
        label: (rows,), or a pattern; None: there are none.
        ids: a file of ids, see `read_ids`, or a pattern of such.
        id_column: of a table of ids.
        ignore_zeroes: a row of zeros is data.
        sizes: of a trained model, for a modality that has no file.

    Raises:
        ValueError: if a file is no npy file, the shapes do not fit, or a shard has no partner.
        OSError: if one cannot be read.
    """
    named = {"first": first, "second": second, "label": label}
    given = {key: _map(str(path), f"data.{key}") for key, path in named.items() if path is not None}
    whole = [(part.shards, part.rows) for part in given.values() if part.shards is not None]
    for shards, rows in whole[1:]:
        check_alike(*whole[0], shards, rows)
    features = {key: given[key] for key in ("first", "second") if key in given}
    store = store_arrays(
        *(_one_below_the_other(features.get(key)) for key in ("first", "second")),
        labels=np.concatenate(given["label"].arrays) if "label" in given else None,
        ignore_zeroes=ignore_zeroes,
        name=" + ".join(str(named[key]) for key in features),
        sizes=sizes,
    )
    files = (path for part in features.values() for path in part.files)
    store = replace(store, files=tuple(MappedFile.of(path) for path in files))
    if ids is None:
        return store
    if not is_pattern(ids) or not whole:
        return check_count(store, read_ids(ids, id_column), ids)
    names = find_numbered(ids, "data.ids")
    parts = [read_ids(file, id_column) for file in names.files]
    check_alike(*whole[0], names, list(map(len, parts)))
    return check_count(store, joined_ids(parts, ids), ids)


def _map(path: str, key: str) -> _Mapped:
    shards = find_numbered(path, key) if is_pattern(path) else None
    files = [Path(file) for file in ((path,) if shards is None else shards.files)]
    arrays = [_map_npy(file) for file in files]
    for file, array in zip(files, arrays, strict=True):
        if array.ndim != arrays[0].ndim or array.shape[1:] != arrays[0].shape[1:]:
            raise UserError(
                f"{file} has shape {array.shape}, {files[0]} {arrays[0].shape}; shards of one "
                "modality have the same columns"
            )
        if array.dtype.kind not in "biuf" and key != "data.label":
            raise UserError(f"{file}: {array.dtype} is not a numeric type")
    alone = len(files) == 1 and shards is not None and shards.numbers is None
    return _Mapped(arrays, files, None if alone else shards)


def _one_below_the_other(part: _Mapped | None) -> Any:  # noqa: ANN401 — an array, Shards or None
    if part is None:
        return None
    several = len(part.arrays) > 1 and part.arrays[0].ndim == 2
    return Shards(part.arrays, list(map(str, part.files))) if several else part.arrays[0]


def _map_npy(path: Path) -> NDArray[Any]:
    check_kind(path, "npy")
    if path.is_dir():
        raise UserError(f"{path}: a folder; '{path}/*.npy' names the shards in it")
    check_file(path)
    try:
        with readable(path, "npy file"):
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, UserError) as error:
        if errno.EMFILE not in (getattr(e, "errno", None) for e in (error, error.__cause__)):
            raise
        raise UserError(
            f"{path}: more files than this process may have open; allow more (`ulimit -n 65536`), "
            "or put shards together"
        ) from error
    return array
