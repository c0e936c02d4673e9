"""Rows read beside what else reads them: scikit-learn, pandas, pyarrow, NumPy.

Each ends with both modalities as float32 matrices; ours has looked for missing values, too, and
where a file is not read as it lies, has written what it read to the disk.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rows import Row, in_turn
from sklearn.datasets import load_svmlight_file

from bidnn.data.formats.libsvm.text import write_libsvm
from bidnn.data.matrix_sources import NpySource
from bidnn.data.source import Source
from bidnn.data.sources import LibsvmSource, TableSource

SIZES = (32, 128)
ROWS = 40_000


def reading() -> list[Row]:
    """A row for each file and each reader of it that is installed."""
    draw = np.random.default_rng(0)
    parts = [draw.standard_normal((ROWS, size)).astype(np.float32) for size in SIZES]
    with tempfile.TemporaryDirectory() as name:
        return _libsvm(Path(name), parts) + _npy(Path(name), parts) + _parquet(Path(name), parts)


def _beside(name: str, source: Source, others: dict[str, Callable[[], None]]) -> list[Row]:
    """Million values a second of a source, and of others that read the same file."""

    def ours() -> None:
        source.open(None).take(slice(None))

    seconds = in_turn(ours, *others.values())
    rates = [ROWS * sum(SIZES) / 1e6 / spent for spent in seconds]
    return [
        Row(name=name, ours=rates[0], other=rate, unit="M/s", against=against)
        for against, rate in zip(others, rates[1:], strict=True)
    ]


def _libsvm(folder: Path, parts: list[NDArray[np.float32]]) -> list[Row]:
    path = folder / "rows.txt"
    with path.open("wb") as file:
        write_libsvm(file, np.hstack(parts), np.zeros(ROWS, np.int64).astype(str))

    def sklearn() -> None:
        load_svmlight_file(str(path), n_features=sum(SIZES), dtype=np.float32)[0].toarray()

    source = LibsvmSource(path=str(path), mod1size=SIZES[0], mod2size=SIZES[1], cache=False)
    return _beside("libsvm values read", source, {"scikit-learn": sklearn})


def _npy(folder: Path, parts: list[NDArray[np.float32]]) -> list[Row]:
    paths = [folder / "first.npy", folder / "second.npy"]
    for path, part in zip(paths, parts, strict=True):
        np.save(path, part)

    def numpy() -> None:
        for path in paths:
            np.load(path)

    source = NpySource(first=str(paths[0]), second=str(paths[1]))
    return _beside("npy values read", source, {"NumPy": numpy})


def _parquet(folder: Path, parts: list[NDArray[np.float32]]) -> list[Row]:
    if importlib.util.find_spec("pyarrow") is None:
        print("pyarrow: not installed, left out; pip install pyarrow", flush=True)
        return []
    import pyarrow as pa
    from pyarrow import parquet

    path = folder / "rows.parquet"
    columns = [pa.FixedSizeListArray.from_arrays(pa.array(p.ravel()), p.shape[1]) for p in parts]
    parquet.write_table(pa.table({"first": columns[0], "second": columns[1]}), path)

    def arrow() -> None:
        table = parquet.read_table(path)
        for name, size in zip(("first", "second"), SIZES, strict=True):
            table[name].combine_chunks().flatten().to_numpy().reshape(-1, size)

    others: dict[str, Callable[[], None]] = {"pyarrow": arrow}
    if importlib.util.find_spec("pandas") is None:
        print("pandas: not installed, left out; pip install pandas", flush=True)
    else:
        import pandas as pd

        def pandas() -> None:
            frame = pd.read_parquet(path)
            for name in ("first", "second"):
                np.stack(frame[name].to_list())

        others["pandas"] = pandas
    source = TableSource(
        path=str(path), first="first", second="second", label=None, id=None, cache=False
    )
    return _beside("parquet values read", source, others)
