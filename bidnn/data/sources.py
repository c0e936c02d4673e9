"""Where rows come from, one class for each file of `conf/data`.

A new format is a file in `formats/`, an entry in SOURCES, one in FORMATS (`formats/written.py`) if
it is written too, and a yaml.
"""

from dataclasses import dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import TypeVar

import numpy as np

from bidnn.data.formats.arrays import read_npz
from bidnn.data.formats.converted import Columns
from bidnn.data.formats.digits import load_halves
from bidnn.data.formats.embeddings import read_embeddings
from bidnn.data.formats.hdf5.files import check_readable
from bidnn.data.formats.kinds import check_kind
from bidnn.data.formats.libsvm.cache import open_cache
from bidnn.data.formats.libsvm.rows import open_libsvm
from bidnn.data.formats.libsvm.text import IndexBase
from bidnn.data.formats.matlab import read_mat
from bidnn.data.formats.npy import read_npy
from bidnn.data.formats.sidecar import with_ids
from bidnn.data.order import Shuffle
from bidnn.data.store import Modality, PairStore, Reading
from bidnn.errors import UserError

CACHE_FROM = 2**20
Choice = TypeVar("Choice", bound=Enum)


@dataclass(slots=True, kw_only=True)
class Source:
    """What all sources have in common; an own one is derived from it and has `open(sizes)`.

    Attributes:
        batch_size: rows of a batch, over all processes.
        val_fraction: share of the complete rows that is held out to validate on, in [0, 1); null: a
            twentieth of them, at most 1000, so that every training can say what it is worth.
        missing_rate: share of the complete rows that lose a modality before anything else
            happens, to measure what its absence costs; in [0, 1].
        missing_modality: the one they lose; `either`: a fair coin for each row.
        shuffle: `rows`, `blocks` for files that do not fit into memory, or `auto`; see Shuffle.
    """

    batch_size: int = 128
    shuffle: Shuffle = Shuffle.auto
    val_fraction: float | None = None
    missing_rate: float = 0.0
    missing_modality: Modality = Modality.either

    def __post_init__(self) -> None:
        """Refuses what is out of its range; choices may be given by their names.

        Raises:
            ValueError: naming the key.
        """
        self.shuffle = _choice(Shuffle, self.shuffle, "data.shuffle")
        self.missing_modality = _choice(Modality, self.missing_modality, "data.missing_modality")
        if self.batch_size < 1:
            raise UserError(f"data.batch_size={self.batch_size}: must be at least 1")
        if self.val_fraction is not None and not 0.0 <= self.val_fraction < 1.0:
            raise UserError(f"data.val_fraction={self.val_fraction}: must be in [0, 1)")
        if not 0.0 <= self.missing_rate <= 1.0:
            raise UserError(f"data.missing_rate={self.missing_rate}: a share of rows, in [0, 1]")

    def open_validation(self, sizes: tuple[int, int] | None) -> PairStore | None:
        """Rows to validate on, if a source has such; others hold `val_fraction` of the rows out."""
        del sizes
        return None

    @property
    def validation_keys(self) -> list[str]:
        """The keys given that say what to validate on; all such keys begin with `val_`."""
        own = (field.name for field in fields(self) if field.name.startswith("val_"))
        return [f"data.{name}" for name in own if getattr(self, name)]


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
class NpzSource(Source):
    """An npz file: `first`, `second` or both; and `label`, `id`, `present_first`, `present_second`.

    Attributes:
        path: the file.
        ignore_zeroes: a row of zeros is data, not a missing modality.
        val_path: a file to validate on.
    """

    path: str | None = None
    ignore_zeroes: bool = True
    val_path: str | None = None

    def open(self, sizes: tuple[int, int] | None) -> PairStore:
        """Reads the file; `sizes` are those of a modality that is not in it."""
        path = required_path(self.path, "data.path")
        return read_npz(path, ignore_zeroes=self.ignore_zeroes, sizes=sizes)

    def open_validation(self, sizes: tuple[int, int] | None) -> PairStore | None:
        """Reads the validation file, if there is one."""
        del sizes
        if self.val_path is None:
            return None
        return read_npz(Path(self.val_path), ignore_zeroes=self.ignore_zeroes)


@dataclass(slots=True, kw_only=True)
class NpySource(Source):
    """A pair of npy files, memory-mapped, or of numbered shards; a row of NaN is missing.

    Attributes:
        first: the file of the first modality; or of its shards a pattern with `*`, in the order of
            their numbers; of the two, one can be left out to embed rows that all miss it.
        second: the file of the second modality; or a pattern of shards of the same rows.
        label: the file of the labels, or a pattern, or None.
        ids: the rows' ids, in their order: a table, .npy, or text with one a line; or a pattern.
        id: the column of a table of ids; null: `id`, or its only one.
        ignore_zeroes: a row of zeros is data, not a missing modality.
        val_first: with `val_second`, a pair to validate on.
        val_second: see `val_first`.
    """

    first: str | None = None
    second: str | None = None
    label: str | None = None
    ids: str | None = None
    id: str | None = None
    ignore_zeroes: bool = True
    val_first: str | None = None
    val_second: str | None = None

    def open(self, sizes: tuple[int, int] | None) -> PairStore:
        """Maps the files; `sizes` are those of a modality that has none."""
        if self.first is None and self.second is None:
            required_path(None, "data.first")
        return read_npy(
            self.first,
            self.second,
            label=self.label,
            ids=self.ids,
            id_column=self.id,
            ignore_zeroes=self.ignore_zeroes,
            sizes=sizes,
        )

    def open_validation(self, sizes: tuple[int, int] | None) -> PairStore | None:
        """Maps the validation files, if there are any."""
        del sizes
        if self.val_first is None and self.val_second is None:
            return None
        first = required_path(self.val_first, "data.val_first")
        second = required_path(self.val_second, "data.val_second")
        return read_npy(first, second, ignore_zeroes=self.ignore_zeroes)


@dataclass(slots=True, kw_only=True)
class EmbeddingsSource(Source):
    """A folder as clip-retrieval writes it: numbered shards `img_emb/*.npy`, `text_emb/*.npy`.

    Attributes:
        path: the folder; images are the first modality, texts the second.
        id: the column of the tables `metadata/*.parquet` that has the ids, if it is there; null:
            rows have none.
        ignore_zeroes: a row of zeros is data, not a missing modality.
        val_path: a folder to validate on.
    """

    path: str | None = None
    id: str | None = "image_path"
    ignore_zeroes: bool = True
    val_path: str | None = None

    def open(self, sizes: tuple[int, int] | None) -> PairStore:
        """Maps the shards; `sizes` are those of a modality that is not there."""
        return self._read(required_path(self.path, "data.path"), sizes)

    def open_validation(self, sizes: tuple[int, int] | None) -> PairStore | None:
        """Maps those to validate on, if there are any."""
        return None if self.val_path is None else self._read(Path(self.val_path), sizes)

    def _read(self, folder: Path, sizes: tuple[int, int] | None) -> PairStore:
        return read_embeddings(folder, self.id, ignore_zeroes=self.ignore_zeroes, sizes=sizes)


@dataclass(slots=True, kw_only=True)
class MatSource(Source):
    """A MATLAB file: two matrices of the same rows; a row of NaN is missing.

    Attributes:
        path: the file.
        first: the name of the first modality's matrix in it; with neither name, those of `first`
            and `second` that are there; with one, rows that all miss the other.
        second: the name of the second modality's.
        label: the name of the labels, or None.
        id: the name of the ids, or None.
        ignore_zeroes: a row of zeros is data, not a missing modality.
        cache: of version 7.3, matrices are read once, into arrays in the folder `FILE.cache` beside
            it, which later runs map; without it, into temporary ones, each time.
    """

    path: str | None = None
    first: str | None = None
    second: str | None = None
    label: str | None = None
    id: str | None = None
    ignore_zeroes: bool = True
    cache: bool = True

    def open(self, sizes: tuple[int, int] | None) -> PairStore:
        """Reads the file; `sizes` are those of a modality that is not in it."""
        return read_mat(
            required_path(self.path, "data.path"),
            (self.first, self.second),
            label=self.label,
            ids=self.id,
            ignore_zeroes=self.ignore_zeroes,
            cache=self.cache,
            sizes=sizes,
        )


@dataclass(slots=True, kw_only=True)
class Hdf5Source(Source):
    """An HDF5 file: two data sets of the same rows, or a group a row; a row of NaN is missing.

    Attributes:
        path: the file. Where it has a group for each row, which has a data set of each modality
            that is not missing, the names of the groups are the ids.
        first: the name of the first modality's data set; with neither name, those of `first` and
            `second` that are there; with one, rows that all miss the other.
        second: the name of the second modality's.
        label: the name of the labels, if it is there; of a group also an attribute.
        id: the name of the ids, if it is there.
        ignore_zeroes: a row of zeros is data, not a missing modality.
        val_path: a file to validate on, with the same data sets.
        cache: what is in chunks or in groups is read once, into arrays in the folder `FILE.cache`
            beside it, which later runs map; without it, into temporary ones, each time.
    """

    path: str | None = None
    first: str | None = None
    second: str | None = None
    label: str | None = "label"
    id: str | None = "id"
    ignore_zeroes: bool = True
    val_path: str | None = None
    cache: bool = True

    def open(self, sizes: tuple[int, int] | None) -> PairStore:
        """Maps the rows; `sizes` are those of a modality that is not in the file."""
        return self._read(required_path(self.path, "data.path"), sizes)

    def open_validation(self, sizes: tuple[int, int] | None) -> PairStore | None:
        """Maps those to validate on, if there are any."""
        return None if self.val_path is None else self._read(Path(self.val_path), sizes)

    def _read(self, path: Path, sizes: tuple[int, int] | None) -> PairStore:
        # so late: h5py is an extra
        check_readable(path, "hdf5")
        from bidnn.data.formats.hdf5.store import read_hdf5

        return read_hdf5(
            path,
            Columns(self.first, self.second, self.label, self.id),
            ignore_zeroes=self.ignore_zeroes,
            cache=self.cache,
            sizes=sizes,
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
        cache: vectors are read once, into arrays in the folder `FILE.cache` beside it, which later
            runs map; without it, into temporary ones, each time.
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


def _choice(kind: type[Choice], value: Choice | str, key: str) -> Choice:
    """A choice that may be given by its name, as settings of an own source give it."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise UserError(f"{key}={value}: choose one of {known}") from None


def required_path(value: str | None, key: str) -> Path:
    """The path, or an error that names the key.

    Raises:
        ValueError: if it is not given.
    """
    if value is None:
        raise UserError(f"{key} is not given; {key}=FILE says where the features are")
    return Path(value)
