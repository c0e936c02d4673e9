"""An index of an embedding: its vectors of unit length, mapped, and what is known of their rows."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from pyarrow import parquet

from bidnn.data.frames import as_rows
from bidnn.data.ids import as_ids
from bidnn.errors import UserError, counted
from bidnn.files import as_json, held, readable, whole_file
from bidnn.search.adding import check_fits, joined
from bidnn.search.embeddings import MARKS, Embedding, open_embedding
from bidnn.search.hits import Hits
from bidnn.search.kept import (
    FORMAT,
    META,
    files_of,
    is_index,
    mapped,
    next_number,
    remove_others,
)
from bidnn.search.lists import Lists, build_lists, open_lists
from bidnn.search.nearest import nearest
from bidnn.search.vectors import fill, unit

log = logging.getLogger(__name__)

EXACT_TO = 1_000_000
"""Rows up to which all of them are compared with a query."""
SAMPLE = 1000
"""Rows that recall and presence are measured on."""
HAVING = {"first": (0,), "second": (1,), "both": (0, 1)}
"""Which marks a row must have."""


@dataclass(frozen=True, slots=True)
class Index:
    """Rows that can be searched.

    Attributes:
        vectors: (rows, size) float32 of unit length, zero where a row has none; mapped from a
            folder, or in memory.
        rows: a table of as many rows: `id`, and whatever else is known of them, such as `label`,
            `present_first`, `present_second`.
        lists: finds candidates without looking at all rows; None: all are looked at.
        about: what the embedding says of the model that it is of.
        recall: share of the exact ten nearest that are found, on a sample; 1 without lists.
        model: what embeds new rows, by `transform(first=…, second=…)`, such as `bidnn.load` gives;
            `build` and `open` have that embed as the rows were.
    """

    vectors: NDArray[np.float32]
    rows: pa.Table
    lists: Lists | None = None
    about: dict[str, str] = field(default_factory=dict)
    recall: float = 1.0
    model: Any = None

    @classmethod
    def build(
        cls,
        embedding: Any,  # noqa: ANN401 — see `open_embedding`
        *,
        ids: ArrayLike | None = None,
        present: ArrayLike | None = None,
        folder: Path | str | None = None,
        exact_to: int = EXACT_TO,
        anew: bool = False,
        model: Any = None,  # noqa: ANN401 — see the class
    ) -> Self:
        """Makes an index.

        Args:
            embedding: (rows, size) array, a frame as `BiDNN.transform` gives it, or a file as
                `bidnn embed` writes it.
            ids: (rows,) texts or whole numbers, no two alike; None: those of the embedding, or
                0, 1, 2, ….
            present: (rows, 2) bool, which modalities each row has, for `having`; None: what the
                embedding says of it, if it is a file.
            folder: where it is kept; None: in memory.
            exact_to: rows up to which all are compared with a query; above, faiss's inverted lists
                of product-quantised vectors find candidates, which are then compared exactly.
            anew: an index that is in the folder already is replaced, whole or not at all, and is
                not refused.
            model: embeds new rows, as those of the embedding were.

        Raises:
            UserError: if the vectors are not finite, ids are not unique, they are of another model,
                or faiss is needed and not installed.
            OSError: if a file cannot be read, or the folder not be written.
        """
        source = open_embedding(embedding, ids, present)
        if not source.rows or not source.size:
            raise UserError(
                f"{source.name}: {source.rows} vectors of {source.size} values; nothing to search"
            )
        model = _as_told(model, source.about, source.name)
        shape = (source.rows, source.size)
        if folder is None:
            return replace(cls._of(np.empty(shape, np.float32), source, exact_to), model=model)
        target = Path(folder)
        there = is_index(target)
        if there and not anew:
            raise UserError(
                f"{target}: an index is there already; anew=True replaces it, or add to it"
            )
        target.mkdir(parents=True, exist_ok=True)
        with held(target):
            number = next_number(target) if there else 0
            found = cls._of(mapped(target, number, shape), source, exact_to)
            found._write(target, number)
        return cls.open(target, model=model)

    @classmethod
    def open(cls, folder: Path | str, *, model: Any = None) -> Self:  # noqa: ANN401 — see the class and `as_rows`
        """Maps an index that `build` or `add` left in a folder.

        Args:
            folder: the folder.
            model: embeds new rows, as those of the index were.

        Raises:
            UserError: if it is no index, or damaged, or of another model.
            OSError: if it cannot be read.
        """
        folder = Path(folder)
        if not is_index(folder):
            raise UserError(f"{folder}: no index; make one with bidnn index FILE")
        with readable(folder, "index"):
            meta = json.loads((folder / META).read_text())
            if meta["format"] != FORMAT:
                raise UserError(f"of format {meta['format']}, and this version reads {FORMAT}")
            files = files_of(folder, meta["number"])
            vectors = np.load(files["vectors"], mmap_mode="r", allow_pickle=False)
            rows = parquet.read_table(files["rows"])
            lists = open_lists(files["lists"]) if meta["lists"] else None
        if vectors.shape[0] != rows.num_rows or (lists is not None and len(lists) != len(vectors)):
            raise UserError(f"{folder}: vectors and rows are not as many; make the index anew")
        model = _as_told(model, meta["about"], str(folder))
        return cls(vectors, rows, lists, meta["about"], meta["recall"], model)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.vectors)

    @property
    def ids(self) -> NDArray[Any]:
        """(rows,) what the rows are called."""
        found: NDArray[Any] = self.rows.column("id").to_numpy()
        return found if found.dtype.kind in "iu" else found.astype(np.str_)

    def add(
        self,
        embedding: Any,  # noqa: ANN401 — as for `build`
        *,
        ids: ArrayLike | None = None,
        present: ArrayLike | None = None,
        replace: bool = False,
        folder: Path | str | None = None,
    ) -> Self:
        """Adds rows; the lists are not built again.

        Args:
            embedding: as for `build`, of the same model; without rows, it changes nothing.
            ids: likewise.
            present: likewise.
            replace: a row whose id is there already takes that one's place, and is not refused.
            folder: the index's own, which is replaced by the larger one, whole; None: in memory.

        Returns:
            The larger index.

        Raises:
            UserError: if an id is there already, or the vectors have another size, or are of
                another model by what a parquet file says of it.
            OSError: as `build`.
        """
        source = open_embedding(embedding, ids, present)
        if not source.rows:
            log.info("%s: 0 rows added", source.name)
            return self
        check_fits(source, self.vectors.shape[1], self.about)
        table, places = joined(self.rows, source, replace=replace)
        new = len(table) - len(self)
        log.info("%s: %s added, %d replaced", source.name, counted(new, "row"), source.rows - new)
        shape = (len(table), source.size)
        if folder is None:
            return self._grown(np.empty(shape, np.float32), table, source.blocks, places)
        target = Path(folder)
        with held(target):
            number = next_number(target)
            larger = self._grown(mapped(target, number, shape), table, source.blocks, places)
            larger._write(target, number)
        return type(self).open(target, model=self.model)

    def search(
        self,
        vectors: Any = None,  # noqa: ANN401 — an array or a frame
        k: int = 10,
        *,
        first: Any = None,  # noqa: ANN401 — as `transform` takes it
        second: Any = None,  # noqa: ANN401 — see the class and `as_rows`
        having: str | None = None,
        without_self: bool = False,
    ) -> Hits:
        """Finds the nearest rows by cosine.

        Args:
            vectors: (queries, size), of the same model; one of zeros, as of a row with neither
                modality, finds nothing, and is refused if it is the only one; or
            first: (queries, mod1size), and
            second: (queries, mod2size), either of which may be left out, for the model.
            k: how many for each, at least 1; no more than there are rows are given.
            having: finds only rows that have a modality: `first`, `second` or `both`; None: any.
            without_self: the queries are the index's own rows, in their order.

        Raises:
            UserError: if they have another size, or are not finite, or are one vector of zeros, or
                there is no model.
        """
        if vectors is None:
            if self.model is None:
                raise UserError("rows are embedded by a model; Index.open(FOLDER, model=load(RUN))")
            vectors = self.model.transform(first=first, second=second)
        given = as_rows(vectors, "queries")
        queries = unit(np.atleast_2d(np.asarray(given.values, np.float32)), "queries")
        if queries.shape[1] != self.vectors.shape[1]:
            raise UserError(
                f"queries of {queries.shape[1]} values, and the index has {self.vectors.shape[1]}; "
                "they must be of one model"
            )
        own = np.arange(len(queries)) if without_self else None
        return replace(self._found(queries, k, own, having), queries=given.ids)

    def like(self, ids: ArrayLike, k: int = 10, *, having: str | None = None) -> Hits:
        """Finds the nearest other rows of some rows of the index.

        Args:
            ids: what they are called.
            k: how many for each.
            having: as for `search`.

        Raises:
            UserError: naming an id that is not there, or if the only row has no vector.
        """
        wanted = as_ids(np.atleast_1d(np.asarray(ids)), "id")
        places = {value: place for place, value in enumerate(self.ids.tolist())}
        kind = type(next(iter(places), ""))
        numbers = []
        for value in wanted.tolist():
            place = places.get(value if isinstance(value, kind) else _as(kind, value))
            if place is None:
                raise UserError(f"id={value}: no row of the index is called so")
            numbers.append(place)
        own = np.array(numbers, np.int64)
        hits = self._found(np.array(self.vectors[own]), k, own, having)
        return replace(hits, queries=self.ids[own])

    def measured(self, k: int = 10) -> Self:
        """The same index, its recall measured on a sample of its rows, each among the others."""
        if self.lists is None:
            return self
        own = spread(len(self))
        queries = np.array(self.vectors[own])
        everywhere = replace(self, lists=None)
        exact, found = (index._hits(queries, k, own).places for index in (everywhere, self))
        shares = [np.isin(*pair).mean() for pair in zip(exact, found, strict=True)]
        return replace(self, recall=float(np.mean(shares)))

    def _with(self, having: str | None) -> NDArray[np.bool_] | None:
        """(rows,) which rows have a modality; None: it does not matter."""
        if having is None:
            return None
        if having not in HAVING:
            raise UserError(f"having={having}: choose one of {', '.join(HAVING)}")
        if not set(MARKS) <= set(self.rows.schema.names):
            raise UserError(
                f"having={having}: the embedding does not say which modalities its rows have; make "
                "it by bidnn embed, as .parquet or .npz, or say so by Index.build(…, present=…)"
            )
        found = [self.rows.column(MARKS[number]).to_numpy() for number in HAVING[having]]
        there: NDArray[np.bool_] = np.all(np.stack(found).astype(bool), axis=0)
        return there

    def _found(
        self,
        queries: NDArray[np.float32],
        k: int,
        own: NDArray[np.int64] | None,
        having: str | None,
    ) -> Hits:
        """As `_hits`, but nothing for queries of zeros, to which all rows are alike."""
        none: NDArray[np.bool_] = ~np.any(queries, axis=1)
        if len(queries) == 1 and none.all():
            raise UserError(
                "the query's vector is zeros, as of a row with neither modality, and no row is "
                "near it; search for a row that has a modality"
            )
        hits = self._hits(queries, k, own, self._with(having))
        if not none.any():
            return hits
        log.warning(
            "of %d queries %d find nothing: vectors of zeros, as of rows with neither modality",
            len(queries),
            int(none.sum()),
        )
        places = np.where(none[:, None], -1, hits.places)
        similarities = np.where(none[:, None], np.float32(-1), hits.similarities)
        return replace(hits, places=places, similarities=similarities)

    def _hits(
        self,
        queries: NDArray[np.float32],
        k: int,
        own: NDArray[np.int64] | None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Hits:
        """As `search`; `own` are the places of the queries themselves, which are left out."""
        if k < 1:
            raise UserError(f"k={k}: must be at least 1")
        wanted = min(k + (own is not None), len(self))
        similarities, places = self._nearest(queries, wanted, allowed)
        if own is not None:
            places = np.where(places == own[:, None], -1, places)
            order = np.argsort(places < 0, axis=1, kind="stable")[:, :k]
            places = np.take_along_axis(places, order, axis=1)
            similarities = np.take_along_axis(similarities, order, axis=1)
            if wanted <= k:  # there are fewer others than asked for: the last place is the own one
                places, similarities = places[:, : wanted - 1], similarities[:, : wanted - 1]
        return Hits(self.rows, places, similarities)

    def _nearest(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if self.lists is None:
            return nearest(queries, self.vectors, k, allowed)
        return self.lists.nearest(queries, self.vectors, k, allowed)

    def _grown(
        self,
        vectors: NDArray[np.float32],
        table: pa.Table,
        blocks: Iterable[NDArray[np.float32]],
        places: NDArray[np.int64] | range,
    ) -> Self:
        step = max(1, 2**22 // max(1, vectors.shape[1]))
        for start in range(0, len(self), step):
            vectors[start : min(start + step, len(self))] = self.vectors[start : start + step]
        fill(vectors, blocks, places)
        lists = None if self.lists is None else self.lists.grown(vectors, places)
        return replace(self, vectors=vectors, rows=table, lists=lists).measured()

    @classmethod
    def _of(cls, vectors: NDArray[np.float32], source: Embedding, exact_to: int) -> Self:
        fill(vectors, source.blocks, range(len(vectors)))
        lists = build_lists(vectors) if len(vectors) > exact_to else None
        return cls(vectors, source.table, lists, source.about).measured()

    def _write(self, folder: Path, number: int) -> None:
        """Writes what is beside the vectors; the index is that of the last file written."""
        files = files_of(folder, number)
        assert isinstance(self.vectors, np.memmap)
        self.vectors.flush()
        parquet.write_table(self.rows, files["rows"])
        if self.lists is not None:
            self.lists.write(files["lists"])
        meta = {"format": FORMAT, "number": number, "lists": self.lists is not None}
        with whole_file(folder / META) as file:
            content = {**meta, "recall": self.recall, "about": self.about}
            file.write(f"{as_json(content, indent=2)}\n".encode())
        remove_others(folder, number)


def spread(rows: int) -> NDArray[np.int64]:
    """Numbers of at most SAMPLE rows, spread evenly."""
    return np.linspace(0, rows - 1, min(SAMPLE, rows)).astype(np.int64)


def _as_told(model: Any, about: dict[str, str], name: str) -> Any:  # noqa: ANN401 — see `Index`
    """The model, which embeds as the rows of an index were; one of another class as it is."""
    return model.as_told(about, name) if hasattr(model, "as_told") else model


def _as(kind: type, value: Any) -> Any:  # noqa: ANN401 — an id
    """An id as the index's are, from a command line, which knows no types."""
    try:
        return kind(value)
    except ValueError:
        return value
