"""Sources of matrices: NumPy's, MATLAB's and HDF5 files."""

from dataclasses import dataclass
from pathlib import Path

from bidnn.data.formats.arrays import read_npz
from bidnn.data.formats.converted import Columns
from bidnn.data.formats.embeddings import read_embeddings
from bidnn.data.formats.hdf5.files import check_readable
from bidnn.data.formats.matlab import read_mat
from bidnn.data.formats.npy import read_npy
from bidnn.data.source import Source, required_path
from bidnn.data.store import PairStore


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
