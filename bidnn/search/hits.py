"""What a search found, and how it is written: parquet, JSON lines or a TREC run."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from bidnn.errors import UserError
from bidnn.evaluation.trec import write_run
from bidnn.files import whole_file


@dataclass(frozen=True, slots=True)
class Hits:
    """The nearest rows of some queries, the nearest first.

    Attributes:
        rows: of the index.
        places: (queries, k) numbers of rows; −1 where there are no more.
        similarities: (queries, k) cosines.
        queries: (queries,) what they are called; None: 0, 1, 2, ….
    """

    rows: pa.Table
    places: NDArray[np.int64]
    similarities: NDArray[np.float32]
    queries: NDArray[Any] | None = None

    def __len__(self) -> int:
        """How many queries there were."""
        return len(self.places)

    @property
    def ids(self) -> list[list[Any]]:
        """What was found for each query."""
        found = self.rows.column("id").take(pa.array(self.places.clip(min=0).ravel())).to_pylist()
        rows = np.array_split(np.arange(len(found)), max(1, len(self.places)))
        return [
            [found[n] for n, place in zip(row, own, strict=True) if place >= 0]
            for row, own in zip(rows, self.places, strict=False)
        ]

    def table(self) -> pa.Table:
        """One row a hit: `query`, `rank` from 1, `id`, `similarity`, and what else is known."""
        there = self.places >= 0
        number, rank = np.nonzero(there)
        names = np.arange(len(self)) if self.queries is None else self.queries
        found = self.rows.take(pa.array(self.places[there]))
        columns = {"query": pa.array(names[number]), "rank": pa.array(rank + 1)}
        columns |= {"id": found.column("id"), "similarity": pa.array(self.similarities[there])}
        columns |= {name: found.column(name) for name in found.schema.names if name not in columns}
        return pa.table(columns)

    def write(self, path: Path | str) -> None:
        """Writes the table, whole or not at all.

        Args:
            path: .parquet, .jsonl, or .trec or .run for a TREC run.

        Raises:
            UserError: if it ends in something else.
            OSError: if it cannot be written.
        """
        path = Path(path)
        writer_of(path)(self, path)


def writer_of(path: Path) -> Callable[[Hits, Path], None]:
    """How hits are written under that name.

    Raises:
        UserError: if its suffix says no format.
    """
    writers = {
        ".parquet": _write_parquet,
        ".jsonl": _write_lines,
        ".trec": _write_trec,
        ".run": _write_trec,
    }
    if path.suffix.lower() not in writers:
        raise UserError(f"{path}: hits are written as {', '.join(writers)}; name it so")
    return writers[path.suffix.lower()]


def _write_parquet(hits: Hits, path: Path) -> None:
    with whole_file(path) as file:
        parquet.write_table(hits.table(), file)


def _write_lines(hits: Hits, path: Path) -> None:
    with whole_file(path) as file:
        for row in hits.table().to_pylist():
            file.write(f"{json.dumps(row, ensure_ascii=False, default=str)}\n".encode())


def _write_trec(hits: Hits, path: Path) -> None:
    names = range(len(hits)) if hits.queries is None else hits.queries.tolist()
    run = {
        str(name): {str(i): float(s) for i, s in zip(ids, similarities, strict=False)}
        for name, ids, similarities in zip(names, hits.ids, hits.similarities, strict=True)
    }
    write_run(path, run)
