"""PairStore: the rows of two modalities, either of which may be missing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bidnn.data.formats.libsvm.grammar import IndexBase
from bidnn.data.mapping import Features, MappedFile, is_mapped, let_go
from bidnn.data.shards import Shards
from bidnn.errors import UserError, counted

if TYPE_CHECKING:
    from bidnn.data.formats.tables.beside import TableColumns

BLOCK_BYTES = 32 * 2**20


class Modality(Enum):
    """Which modality a row can lose."""

    first = "first"
    second = "second"
    either = "either"


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows were read, for a model to have later ones read alike.

    Attributes:
        index_base: where the indices of a libsvm file start; None of other rows.
        ignore_zeroes: rows of zeros are data, in libsvm files and matrices of both modalities.
    """

    index_base: IndexBase | None = None
    ignore_zeroes: bool = False


@dataclass(frozen=True, slots=True)
class PairStore:
    """Two feature matrices of the same rows, and which of their rows are there.

    Attributes:
        first: (rows, mod1size), dense (in memory or memory-mapped, in one file or in several, see
            Shards) or sparse.
        second: (rows, mod2size), likewise.
        present: (rows, 2) bool; what is not present is never read as data.
        labels: (rows,) str, or None.
        name: where the rows come from, for messages.
        reading: how they were read.
        files: those that are mapped.
        ids: (rows,) str or int64, no two alike (see `as_ids`), or None.
        columns: what the tables have besides that the rows are of, or None.
    """

    first: Features
    second: Features
    present: NDArray[np.bool_]
    labels: NDArray[np.str_] | None = None
    name: str = "arrays"
    reading: Reading = Reading()
    files: tuple[MappedFile, ...] = ()
    ids: NDArray[Any] | None = None
    columns: "TableColumns | None" = None

    def __post_init__(self) -> None:
        """Refuses matrices that do not describe the same rows.

        Raises:
            ValueError: naming the shapes.
        """
        shapes = f"first {self.first.shape}, second {self.second.shape}"
        if len(self.first.shape) != 2 or len(self.second.shape) != 2:
            raise UserError(f"{self.name}: modalities must be matrices, not {shapes}")
        if self.first.shape[0] != self.second.shape[0]:
            raise UserError(f"{self.name}: both modalities need the same rows, not {shapes}")
        if not self.first.shape[1] or not self.second.shape[1]:
            raise UserError(f"{self.name}: a modality without columns: {shapes}")
        if self.present.shape != (len(self), 2):
            raise UserError(f"{self.name}: present is {self.present.shape}, not ({len(self)}, 2)")
        if self.labels is not None and len(self.labels) != len(self):
            raise UserError(f"{self.name}: {len(self.labels)} labels for {len(self)} rows")
        if self.ids is not None and self.ids.shape != (len(self),):
            raise UserError(f"{self.name}: ids of shape {self.ids.shape} for {len(self)} rows")

    def __len__(self) -> int:
        """The number of rows, whole or not."""
        return int(self.first.shape[0])

    @property
    def mod1size(self) -> int:
        """Columns of the first modality."""
        return int(self.first.shape[1])

    @property
    def mod2size(self) -> int:
        """Columns of the second modality."""
        return int(self.second.shape[1])

    @property
    def mapped(self) -> bool:
        """Whether a modality is read from a file whenever it is looked at."""
        return is_mapped(self.first) or is_mapped(self.second)

    @property
    def is_complete(self) -> NDArray[np.bool_]:
        """(rows,) whether both modalities are there."""
        return self.present[:, 0] & self.present[:, 1]  # far faster than `all` along two columns

    @property
    def complete(self) -> NDArray[np.int64]:
        """The numbers of the rows with both modalities, ascending."""
        return np.flatnonzero(self.is_complete)

    def take(
        self,
        rows: NDArray[np.int64] | slice,
        empty: Callable[[tuple[int, int]], NDArray[np.float32]] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Copies rows out as dense float32, zeros where a modality is missing.

        Args:
            rows: their numbers.
            empty: makes an array of a shape, in whichever memory the rows are wanted; None: any.

        Returns:
            (rows, mod1size) and (rows, mod2size).
        """
        present = self.present[rows]
        whole = bool(present.all())  # at once: far faster than by modality
        return (
            _dense(self.first, rows, present[:, 0], empty, whole=whole),
            _dense(self.second, rows, present[:, 1], empty, whole=whole),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of both modalities, as they are stored."""
        whole: tuple[Any, Any] = (self.first, self.second)
        return sum(int((p.data if sparse.issparse(p) else p).nbytes) for p in whole)

    def load(self, rows: NDArray[np.int64]) -> "PairStore":
        """Those rows as a store of their own, in memory."""
        first, second = (
            np.take(np.asarray(part), rows, axis=0) if isinstance(part, np.ndarray) else part[rows]
            for part in (self.first, self.second)
        )
        let_go(self.first)
        let_go(self.second)
        return PairStore(first, second, self.present[rows], name=self.name)

    def blocks(
        self, share: tuple[int, int] = (0, 1), width: int = 0, at_once: int = 1
    ) -> Iterator[slice]:
        """Cuts the rows into consecutive slices of some 32 MiB of dense features.

        Args:
            share: which of how many equal parts of the rows.
            width: the most values that are made of a row at once, if they are more than it has.
            at_once: how many times as large the slices are.

        Raises:
            UserError: as `check_files`, which is asked before each.
        """
        whole = self.part(share)
        for block in self.cut(whole.stop - whole.start, width, at_once):
            yield slice(whole.start + block.start, whole.start + block.stop)

    def cut(self, count: int, width: int = 0, at_once: int = 1) -> Iterator[slice]:
        """Cuts so many of the rows likewise, whichever they are; see `blocks`."""
        size = self.rows_in(at_once * BLOCK_BYTES, width)
        for start in range(0, count, size):
            self.check_files()
            yield slice(start, min(start + size, count))

    def check_files(self) -> None:
        """Refuses to go on if a mapped file was cut or rewritten.

        Raises:
            UserError: naming it.
        """
        for file in self.files:
            file.check()

    def rows_in(self, size: int, width: int = 0) -> int:
        """How many rows, dense, of `width` values at least, are in so many bytes; at least one."""
        return max(1, size // (4 * max(self.mod1size + self.mod2size, width)))

    def part(self, share: tuple[int, int]) -> slice:
        """The rows of one of several equal parts, in their order."""
        number, parts = share
        return slice(len(self) * number // parts, len(self) * (number + 1) // parts)

    def drop(self, rate: float, seed: int, modality: Modality = Modality.either) -> "PairStore":
        """Hides modalities, to measure what their absence costs.

        The missing rate is the share of the complete rows that lose one modality; no row loses
        both. Which rows, and which modality under `either` (a fair coin), is fixed by the seed.

        Args:
            rate: in [0, 1].
            seed: not negative.
            modality: the one that is lost.

        Raises:
            ValueError: if the rate is not a share.
        """
        if not 0.0 <= rate <= 1.0:
            raise UserError(f"data.missing_rate={rate}: a share of rows, in [0, 1]")
        if not rate:
            return self
        generator = np.random.default_rng([seed, 0x6D697373])
        complete = self.complete
        losing = generator.permutation(complete)[: round(rate * len(complete))]
        coins = generator.integers(0, 2, len(losing))
        lost = {Modality.first: 0 * coins, Modality.second: 0 * coins + 1}.get(modality, coins)
        present = self.present.copy()
        present[losing, lost] = False
        return replace(self, present=present)

    def describe(self) -> str:
        """One line: how many rows there are, and what they miss."""
        first, second = self.present[:, 0], self.present[:, 1]
        counts = {
            "complete": first & second,
            "without second": first & ~second,
            "without first": ~first & second,
            "empty": ~first & ~second,
        }
        parts = [f"{int(mask.sum())} {name}" for name, mask in counts.items() if mask.any()]
        sizes = f"{self.mod1size} + {self.mod2size}"
        return f"{self.name}: {counted(len(self), 'row')} of {sizes}" + (
            f" ({', '.join(parts)})" if parts else ""
        )


def find_present(
    features: Features,
    mask: NDArray[Any] | None,
    *,
    ignore_zeroes: bool,
    name: str,
    ids: NDArray[Any] | None = None,
) -> NDArray[np.bool_]:
    """Tells which rows of a modality are there.

    A row is missing if the mask says so, if all of it is NaN, or, unless `ignore_zeroes`, if all
    of it is zero.

    Args:
        features: (rows, size).
        mask: (rows,) true where present, or None.
        ignore_zeroes: zero rows are data.
        name: the modality and where it comes from, for messages.
        ids: (rows,) likewise, or None.

    Returns:
        (rows,) bool.

    Raises:
        ValueError: if the values are no numbers, the mask has another length, or a row that counts
            as present holds an infinity (as float32), or NaN in a part of its columns.
    """
    if features.dtype.kind not in "biuf":
        raise UserError(f"{name}: {features.dtype} is not a numeric type")
    rows = int(features.shape[0])
    present = np.ones(rows, dtype=bool)
    if mask is not None:
        if mask.shape != (rows,):
            raise UserError(f"{name}: the mask has shape {mask.shape}, not ({rows},)")
        present = as_flags(mask, name)
    block = max(1, BLOCK_BYTES // (4 * max(1, int(features.shape[1]))))
    edges = features.starts.tolist() if isinstance(features, Shards) else [0, rows]
    slices = (
        slice(start, min(start + block, high))
        for low, high in pairwise(edges)
        for start in range(low, high, block)
    )
    for rows_of_block in slices:
        part, there = features[rows_of_block], present[rows_of_block]
        nan, finite, nonzero = look_at(part)
        let_go(features, rows_of_block)
        there &= ~nan
        if not ignore_zeroes:
            there &= nonzero
        if not finite[there].all():
            row = rows_of_block.start + int(np.argmax(there & ~finite))
            where = features.where(row) if isinstance(features, Shards) else f"{name}, row {row}"
            known = f", id {ids[row].item()!r}" if ids is not None and row < len(ids) else ""
            raise UserError(
                f"{where} counted from 0{known}: infinite, or NaN in a part of its columns; "
                "a missing modality is NaN in all of them, or masked"
            )
    return present


def as_flags(mask: NDArray[Any], name: str) -> NDArray[np.bool_]:
    """A mask as bool, of booleans or of ones and zeros; a masked entry tells of no row.

    Raises:
        UserError: if it is of anything else, such as text, of which every word would be true.
    """
    flags: NDArray[Any] = np.ma.filled(mask, False)
    if flags.dtype.kind not in "biuf" or not np.isin(flags, (0, 1)).all():
        raise UserError(
            f"{name}: a mask of type {flags.dtype} that is not of true and false, or 1 and 0"
        )
    return flags.astype(bool)


def look_at(
    part: Any,  # noqa: ANN401 — an array or a sparse matrix
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """By row: all NaN, all finite (as float32), anything but zeros."""
    with np.errstate(over="ignore"):
        part = part.astype(np.float32, copy=False)
    if not sparse.issparse(part):
        # One pass for most rows: a finite sum that is not zero says all there is to say.
        with np.errstate(over="ignore", invalid="ignore"):
            sums = part.sum(axis=1)
        nan, finite, nonzero = np.zeros(len(part), bool), np.isfinite(sums), sums != 0
        level = np.flatnonzero(finite & ~nonzero)
        if len(level):
            nonzero[level] = part[level].any(axis=1)
        odd = np.flatnonzero(~finite)
        if len(odd):
            rows = part[odd]
            nan[odd], finite[odd] = np.isnan(rows).all(axis=1), np.isfinite(rows).all(axis=1)
        return nan, finite, nonzero
    rows = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
    infinite = np.bincount(rows, ~np.isfinite(part.data), minlength=part.shape[0]) > 0
    nonzero = np.bincount(rows, part.data != 0, minlength=part.shape[0]) > 0
    return np.zeros_like(infinite), ~infinite, nonzero


def _dense(
    features: Features,
    rows: NDArray[np.int64] | slice,
    present: NDArray[np.bool_],
    empty: Callable[[tuple[int, int]], NDArray[np.float32]] | None,
    *,
    whole: bool,
) -> NDArray[np.float32]:
    shape = (len(present), int(features.shape[1]))
    copied = np.empty(shape, dtype=np.float32) if empty is None else empty(shape)
    if isinstance(features, Shards):
        features.copy_to(copied, rows)
    else:
        part: Any = features[rows]
        copied[...] = part.toarray() if sparse.issparse(part) else part
    let_go(features, rows)
    if not whole and not present.all():
        copied[~present] = 0.0
    return copied
