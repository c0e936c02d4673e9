"""An index above 10⁶ rows: what building it costs, its recall, and what a query takes.

Rows lie about centres, each cluster spread in `--within` directions of its own; the fewer of them,
the more a row's neighbours differ in similarity. They are written a part at a time, and `bidnn
index` and `bidnn search` run on the file as anybody would run them; memory is the process's own.
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from large import measure
from pyarrow import parquet

from bidnn.search.index import Index
from bidnn.search.nearest import nearest

PART = 100_000
QUERIES = 200


def main() -> None:
    """Prints a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--clusters", type=int, default=500)
    parser.add_argument("--within", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=None, help="None: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        file = Path(name) / "embedding.parquet"
        fresh = _write(file, given.rows, given.size, (given.clusters, given.within))
        _say("parquet file", file.stat().st_size / 1e9, "GB")
        log = Path(name) / "log"
        seconds, peak = measure("index", [f"file={file}"], log)
        _say("build", seconds, "s")
        _say("memory while building", peak, "GB")
        folder = Path(f"{file}.index")
        for path in sorted(folder.iterdir()):
            _say(path.name, path.stat().st_size / 1e9, "GB")
        found = re.search(r"recall@10[^:]*: ([\d.]+)", log.read_text())
        _say("recall@10, as printed", float(found[1]) if found else 1.0, "")
        _queries(folder, fresh)
        for _ in range(2):
            seconds, peak = measure("search", [f"file={file}", "id=video7"])
        _say("bidnn search id=video7", seconds, "s")
        _say("memory while searching", peak, "GB")


def _write(file: Path, rows: int, size: int, shape: tuple[int, int]) -> np.ndarray:
    """Writes an embedding; returns rows that are not in it."""
    generator = np.random.default_rng(0)
    clusters, within = shape
    centres = generator.standard_normal((clusters, size), np.float32)
    spread = generator.standard_normal((clusters, within, size), np.float32) / within**0.5

    def made(count: int) -> np.ndarray:
        of = np.sort(generator.integers(0, clusters, count))
        values = np.empty((count, size), np.float32)
        for cluster in np.unique(of):
            where = np.flatnonzero(of == cluster)
            hidden = generator.standard_normal((len(where), within), np.float32)
            values[where] = centres[cluster] + hidden @ spread[cluster]
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        return generator.permutation(values)

    kind = pa.list_(pa.float32(), size)
    schema = pa.schema({"id": pa.string(), "embedding": kind})
    with parquet.ParquetWriter(file, schema, compression="none") as writer:
        for start in range(0, rows, PART):
            count = min(PART, rows - start)
            names = [f"video{number}" for number in range(start, start + count)]
            vectors = pa.FixedSizeListArray.from_arrays(made(count).ravel(), type=kind)
            writer.write_table(pa.table([pa.array(names), vectors], schema=schema))
    return made(QUERIES)


def _queries(folder: Path, fresh: np.ndarray) -> None:
    """Rows that are not in the index, one by one; and all at once, exactly."""
    index = Index.open(folder)
    index.search(fresh[:1])
    times, hits = [], []
    for query in fresh:
        started = time.perf_counter()
        hits.append(index.search(query).places[0])
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    _, exact = nearest(fresh, index.vectors, 10)
    seconds = time.perf_counter() - started
    recall = np.mean([np.isin(*pair).mean() for pair in zip(exact, hits, strict=True)])
    _say("recall@10 of new rows", float(recall), "")
    _say("a query, median", 1000 * float(np.median(times)), "ms")
    _say("a query, the slowest of 200", 1000 * max(times), "ms")
    started = time.perf_counter()
    nearest(fresh[:1], index.vectors, 10)
    _say("a query, exact", 1000 * (time.perf_counter() - started), "ms")
    _say("200 queries at once, exact", seconds, "s")


def _say(what: str, value: float, unit: str) -> None:
    print(f"{what:32} {value:10.3f} {unit}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
