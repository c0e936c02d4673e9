"""Where rows come from, one class for each file of `conf/data`.

A new format is a file in `formats/`, an entry in SOURCES, one in FORMATS (`formats/written.py`) if
it is written too, and a yaml.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bidnn.data.formats.converted import Columns
from bidnn.data.formats.digits import load_halves
from bidnn.data.formats.kinds import check_kind
from bidnn.data.formats.libsvm.cache import open_cache
from bidnn.data.formats.libsvm.rows import open_libsvm
from bidnn.data.formats.libsvm.text import IndexBase
from bidnn.data.formats.sidecar import with_ids
from bidnn.data.matrix_sources import (
    EmbeddingsSource,
    Hdf5Source,
    MatSource,
    NpySource,
    NpzSource,
)
from bidnn.data.source import Source, required_path
from bidnn.data.store import PairStore, Reading
from bidnn.errors import UserError

__all__ = [
    "SOURCES",
    "AnySource",
    "ArraySource",
    "DigitsSource",
    "EmbeddingsSource",
    "Hdf5Source",
    "LibsvmSource",
    "MatSource",
    "NpySource",
    "NpzSource",
    "Source",
    "TableSource",
    "read_alike",
]
CACHE_FROM = 2**20


@dataclass(slots=True, kw_only=True)
class DigitsSource(Source):
    """scikit-learn's digits, upper and lower half."""

    def open(self, sizes: tuple[int, int] | None) -> PairStore:
        """The rows; `sizes` are not needed."""
        del sizes
        return load_halves()


@dataclass(slots=True, kw_only=True)
class ArraySource(Source):
    """Rows that Python gives, to `bidnn.BiDNN` or to `fit`."""

    def open(self, sizes: tuple[int, int] | None) -> PairStore:
        """There is nothing to open."""
        del sizes
        raise UserError("data=arrays is for Python, which gives the rows; choose a file format")


@dataclass(slots=True, kw_only=True)
class LibsvmSource(Source):
    """A libsvm file, plain or .gz: both modalities side by side in each row.

    Attributes:
        path: the file.
        mod1size: columns of the first modality; scripts/embed.py takes the model's.
        mod2size: columns of the second modality, likewise.
        index_base: whether indices start at `one` or `zero`; `auto` finds out (an index 0 means
            zero, an index mod1size + mod2size means one, neither means one).
        ignore_zeroes: a row of zeros is data, not a missing modality.
        val_path: a file to validate on.
        ids: the rows' ids, in their order: a table, .npy, or text with one a line.
        id: the column of a table of ids; null: `id`, or its only one.
        cache: a file of 1 MiB and more is parsed once, into arrays in the folder `FILE.cache`
            beside it, which later runs map; without it, it is read into memory.
    """

    path: str | None = None
    mod1size: int | None = None
    mod2size: int | None = None
    index_base: IndexBase = IndexBase.auto
    ignore_zeroes: bool = False
    val_path: str | None = None
    ids: str | None = None
    id: str | None = None
    cache: bool = True

    def open(self, sizes: tuple[int, int] | None) -> PairStore:
        """Reads the file.

        Args:
            sizes: of a trained model, for what is not declared.

        Raises:
            ValueError, OSError: naming what is wrong with the file or the keys.
        """
        store = self._read(required_path(self.path, "data.path"), sizes)
        return with_ids(store, self.ids, self.id)

    def open_validation(self, sizes: tuple[int, int] | None) -> PairStore | None:
        """Reads the validation file, if there is one."""
        return None if self.val_path is None else self._read(Path(self.val_path), sizes)

    def _read(self, path: Path, sizes: tuple[int, int] | None) -> PairStore:
        declared = (self.mod1size, self.mod2size)
        first_size, second_size = (
            own if own is not None else other
            for own, other in zip(declared, sizes or (None, None), strict=True)
        )
        check_kind(path, "libsvm")
        if first_size is None or second_size is None:
            raise UserError(f"{path}: a libsvm file needs data.mod1size=… and data.mod2size=…")
        store = None
        if self.cache and path.is_file() and path.stat().st_size >= CACHE_FROM:
            store = open_cache(path, (first_size, second_size), self.index_base)
        if store is not None:
            if not self.ignore_zeroes:
                return store
            reading = replace(store.reading, ignore_zeroes=True)
            return replace(store, present=np.ones_like(store.present), reading=reading)
        return open_libsvm(
            path, first_size, second_size, self.index_base, ignore_zeroes=self.ignore_zeroes
        )


@dataclass(slots=True, kw_only=True)
class TableSource(Source):
    """Parquet or Arrow tables with columns of vectors; null, or a row of NaN, is missing.

    Attributes:
        path: a file, a folder of such files, a pattern with `*`, or what Hugging Face's
            `save_to_disk` made.
        second_path: likewise, of a table that has the second modality; rows are joined by id, and
            what has no partner is missing a modality.
        first: the column of the first modality; with neither name, those of `first` and `second`
            that are there; with one, rows that all miss the other.
        second: the column of the second modality.
        label: the column of the labels, if it is there.
        id: the column of the ids, texts or whole numbers, if it is there.
        ignore_zeroes: a row of zeros is data, not a missing modality.
        val_path: a table to validate on, with the same columns.
        val_second_path: the second table to validate on.
        cache: vectors that cannot be mapped as they are, as in uncompressed Arrow, are read once,
            into arrays in the folder `FILE.cache` beside it, which later runs map; without it,
            into temporary ones, each time.
    """

    path: str | None = None
    second_path: str | None = None
    first: str | None = None
    second: str | None = None
    label: str | None = "label"
    id: str | None = "id"
    ignore_zeroes: bool = True
    val_path: str | None = None
    val_second_path: str | None = None
    cache: bool = True

    def open(self, sizes: tuple[int, int] | None) -> PairStore:
        """Maps the arrays; `sizes` are those of a modality that is not in the table."""
        required_path(self.path, "data.path")
        return self._read(self.path or "", self.second_path, sizes)

    def open_validation(self, sizes: tuple[int, int] | None) -> PairStore | None:
        """Maps those to validate on, if there are any."""
        if self.val_path is None and self.val_second_path is None:
            return None
        required_path(self.val_path, "data.val_path")
        return self._read(self.val_path or "", self.val_second_path, sizes)

    def _read(self, path: str, second: str | None, sizes: tuple[int, int] | None) -> PairStore:
        # so late: pyarrow takes a tenth of a second, which other sources do without
        from bidnn.data.formats.tables.store import read_table

        return read_table(
            path,
            second,
            Columns(self.first, self.second, self.label, self.id),
            ignore_zeroes=self.ignore_zeroes,
            cache=self.cache,
            sizes=sizes,
        )


AnySource = (
    DigitsSource
    | LibsvmSource
    | NpzSource
    | NpySource
    | EmbeddingsSource
    | MatSource
    | Hdf5Source
    | TableSource
)
SOURCES: dict[str, type[Source]] = {
    "digits": DigitsSource,
    "arrays": ArraySource,
    "libsvm": LibsvmSource,
    "npz": NpzSource,
    "npy": NpySource,
    "embeddings": EmbeddingsSource,
    "mat": MatSource,
    "hdf5": Hdf5Source,
    "table": TableSource,
}


def read_alike(source: AnySource, reading: Reading) -> AnySource:
    """The source, its indices starting where earlier rows had them, unless it says where."""
    base = reading.index_base or IndexBase.auto
    if isinstance(source, LibsvmSource) and source.index_base is IndexBase.auto:
        return replace(source, index_base=base)
    return source
