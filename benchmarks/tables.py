"""Parquet converted beside pyarrow's reading alone, and written beside npy; HDF5 beside np.memmap.

Reading and converting take turns in fresh processes, each after the files were dropped from the
page cache; pyarrow reads the same columns with the same options and does nothing with them. Each
process takes its own time, without the start of Python, and a first round does not count: where
memory that was never used before has to be fetched from a host, that is several times the work.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
from large import PARTS, ROOT, measure
from pyarrow import parquet
from rows import ROUNDS, Row, in_turn

from bidnn.architecture import NetworkConfig
from bidnn.data.sources import Hdf5Source
from bidnn.model.model import Model
from bidnn.model.saved import save_bundle

SIZES = (100, 512)
ROWS = 1_000_000
ALONE = """
import sys, time
from bidnn.data.formats.tables.files import open_table
start = time.perf_counter()
for batch in open_table(sys.argv[1]).batches(["first", "second"]):
    pass
print(time.perf_counter() - start)
"""
CONVERTED = """
import sys, time
import bidnn.data.formats.tables.store
from bidnn.data.sources import TableSource
start = time.perf_counter()
TableSource(path=sys.argv[1], cache=False).open(None)
print(time.perf_counter() - start)
"""


def tables(rows: int = ROWS) -> list[Row]:
    """Four rows: read, and the memory of training; written, and the memory of embedding."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "rows.parquet"
        _write(path, rows)
        alone, converted = _in_turn(path, ALONE, CONVERTED)
        source = ["data=table", f"data.path={path}", f"hydra.run.dir={folder / 'run'}"]
        settings = [*source, "trainer.max_epochs=1", "output.path=null"]
        _, training = measure("train", settings)
        save_bundle(folder / "model.pt", Model(*SIZES, NetworkConfig(hdn=256, rep=128)))
        settings = [
            *source[:2],
            f"hydra.run.dir={folder / 'embed'}",
            f"checkpoint={folder / 'model.pt'}",
        ]
        seconds, peaks = {}, {}
        for suffix in ("npy", "parquet"):
            output = folder / f"out.{suffix}"
            times = []
            for _ in range(ROUNDS):
                output.unlink(missing_ok=True)
                spent, peaks[suffix] = measure("embed", [*settings, f"output.path={output}"])
                times.append(spent)
            seconds[suffix] = min(times)
    size = rows * sum(SIZES) * 4 / 1e9
    memory = {"unit": "GB", "other": size, "against": "size of the features", "aim": "≤ 2 GB"}
    return [
        Row(
            name=f"parquet converted, {size:.1f} GB",
            ours=size / converted,
            other=size / alone,
            unit="GB/s",
            against="pyarrow's reading alone",
            aim="≥ 0.8",
        ),
        Row(name="memory while training on it", ours=training, **memory),
        Row(
            name="embedding, to parquet",
            ours=rows / seconds["parquet"],
            other=rows / seconds["npy"],
            unit="rows/s",
            against="the same to npy",
            aim="≥ 0.7",
        ),
        Row(name="memory while embedding it", ours=peaks["parquet"], **memory),
    ]


def hdf5(rows: int = ROWS) -> list[Row]:
    """Two rows: HDF5 that lies in one piece, read whole and by random rows, beside np.memmap.

    The file is in the page cache. Pages of large files are let go once they are read, so that both
    sides map theirs anew each time, as in a first pass.
    """
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rows.h5"
        draw = np.random.default_rng(0)
        with h5py.File(path, "w") as file:
            for part, size in zip(PARTS, SIZES, strict=True):
                data = file.create_dataset(part, (rows, size), np.float32)
                for start in range(0, rows, 2**16):
                    stop = min(start + 2**16, rows)
                    data[start:stop] = draw.standard_normal((stop - start, size), np.float32)
            places = [file[part].id.get_offset() for part in PARTS]
        store = Hdf5Source(path=str(path)).open(None)
        blocks = list(store.blocks())
        some = [np.sort(draw.integers(0, rows, 4096)) for _ in range(20)]

        def ours(parts: list[Any]) -> None:
            for part in parts:
                store.take(part)

        def plain(parts: list[Any], *, anew: bool) -> None:
            for number, part in enumerate(parts):
                if anew or not number:
                    given = zip(places, SIZES, strict=True)
                    mapped = [
                        np.memmap(path, np.float32, "r", o, (rows, size)) for o, size in given
                    ]
                for matrix in mapped:
                    np.array(matrix[part])

        whole = in_turn(lambda: ours(blocks), lambda: plain(blocks, anew=False))
        single = in_turn(lambda: ours(some), lambda: plain(some, anew=True))
    size = sum(SIZES) * 4 / 1e9
    return [
        Row(
            name=f"HDF5, mapped, {what}",
            ours=count * size / seconds[0],
            other=count * size / seconds[1],
            unit="GB/s",
            against="np.memmap of the same bytes",
            aim="≥ 0.9",
        )
        for what, count, seconds in (
            ("read whole", rows, whole),
            ("4096 random rows", 20 * 4096, single),
        )
    ]


def _write(path: Path, rows: int) -> None:
    """Vectors as pandas and pyarrow write them, in row groups of 2¹⁶."""
    draw = np.random.default_rng(0)
    types = [pa.list_(pa.float32(), size) for size in SIZES]
    schema = pa.schema([("id", pa.int64()), ("first", types[0]), ("second", types[1])])
    with parquet.ParquetWriter(path, schema) as file:
        for start in range(0, rows, 2**16):
            count = min(2**16, rows - start)
            hidden = draw.standard_normal((count, 8)).astype(np.float32)
            columns = [pa.array(np.arange(start, start + count))]
            for size, kind in zip(SIZES, types, strict=True):
                mixing = draw.standard_normal((8, size)).astype(np.float32)
                values = np.tanh(hidden @ mixing / 4).ravel()
                columns.append(pa.FixedSizeListArray.from_arrays(pa.array(values), type=kind))
            file.write_table(pa.table(columns, schema=schema))


def _in_turn(path: Path, *codes: str) -> list[float]:
    """The least seconds that each code prints, in processes of their own."""
    seconds = [float("inf")] * len(codes)
    for counts in (False, *[True] * ROUNDS):
        for number, code in enumerate(codes):
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            command = [sys.executable, "-c", code, str(path)]
            said = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout
            if counts:
                seconds[number] = min(seconds[number], float(said))
    return seconds
