"""Features beyond memory: training and embedding from mapped files, beside arrays in memory.

The files are dropped from the page cache before each run from them. Memory is the peak of what the
process itself holds (RssAnon), read from /proc while it runs.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rows import Row
from scipy.sparse import csr_array, hstack, random_array

from bidnn.architecture import NetworkConfig
from bidnn.data.formats.libsvm.text import write_libsvm
from bidnn.model.model import Model
from bidnn.model.saved import save_bundle

ROOT = Path(__file__).resolve().parents[1]
SIZES = (100, 4096)
ROWS = 360_000
EPOCHS = (1, 3)


def train(rows: int = ROWS) -> list[Row]:
    """A step from mapped files beside a step from memory, and the peak of memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mapped = _features(folder, rows)
        run = f"hydra.run.dir={folder / 'run'}"
        times, peak = [], 0.0
        for epochs in EPOCHS:
            _drop_from_cache(folder)
            settings = ["data=npy", *mapped, f"trainer.max_epochs={epochs}", run]
            seconds, peak = measure("train", settings)
            times.append(seconds)
        first, second = (np.load(folder / f"{part}.npy", mmap_mode="r") for part in PARTS)
        np.savez(folder / "both.npz", first=first, second=second)
        in_memory = []
        for epochs in EPOCHS:
            settings = ["data=npz", f"data.path={folder / 'both.npz'}"]
            seconds, _ = measure("train", [*settings, f"trainer.max_epochs={epochs}", run])
            in_memory.append(seconds)
    steps = (EPOCHS[1] - EPOCHS[0]) * (rows // 128)
    ours, other = ((long - short) * 1000 / steps for short, long in (times, in_memory))
    size = rows * sum(SIZES) * 4 / 1e9
    return [
        Row(
            name=f"step, {size:.1f} GB mapped",
            ours=ours,
            other=other,
            unit="ms",
            against="the same in memory",
            aim="≤ 1.18",
        ),
        Row(
            name="memory while training",
            ours=peak,
            other=size,
            unit="GB",
            against="size of the features",
            aim="≤ 2 GB",
        ),
    ]


def embed(rows: int = ROWS // 4) -> list[Row]:
    """Rows a second of scripts/embed.py to npy beside the encoder alone, at the paper's size."""
    model = Model(*SIZES, NetworkConfig(hdn=2048, rep=2048))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_bundle(folder / "model.pt", model)
        speeds = []
        for count in (rows // 10, rows):
            mapped = _features(folder, count)
            _drop_from_cache(folder)
            settings = ["data=npy", *mapped, f"checkpoint={folder / 'model.pt'}"]
            settings += [f"output.path={folder / 'out.npy'}", f"hydra.run.dir={folder / 'run'}"]
            seconds, peak = measure("embed", settings)
            speeds.append(seconds)
    ours = (rows - rows // 10) / (speeds[1] - speeds[0])
    other = _encoder(model)
    return [
        Row(
            name="embedding, npy to npy",
            ours=ours,
            other=other,
            unit="rows/s",
            against="the encoder alone",
            aim="≥ 0.8",
        ),
        Row(
            name="memory while embedding",
            ours=peak,
            other=rows * sum(SIZES) * 4 / 1e9,
            unit="GB",
            against="size of the features",
            aim="≤ 2 GB",
        ),
    ]


def narrow(rows: int = 400_000) -> list[Row]:
    """Memory of embedding many rows of few columns, of which a wide network makes much."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_bundle(folder / "model.pt", Model(2, 2, NetworkConfig(hdn=2048, rep=2048)))
        settings = ["data=npy", *_features(folder, rows, (2, 2)), f"checkpoint={folder}/model.pt"]
        settings += [f"output.path={folder / 'out.npy'}", f"hydra.run.dir={folder / 'run'}"]
        _, wide = measure("embed", settings)
        mapped = _features(folder, 25 * rows, (4, 4))
        settings = ["data=npy", *mapped, "model.rep=8", "trainer.max_steps=1000"]
        settings += [f"output.path={folder / 'out.npy'}", f"hydra.run.dir={folder / 'run'}"]
        _, many = measure("train", settings)
    return [
        Row(
            name=f"memory, {count:,} rows of {size} + {size}",
            ours=ours,
            other=aim,
            unit="GB",
            against="1 GB and 20 bytes a row",
            aim="≤ 1.1",
        )
        for count, size, ours, aim in (
            (rows, 2, wide, 1 + 20e-9 * rows),
            (25 * rows, 4, many, 1 + 20e-9 * 25 * rows),
        )
    ]


def sparse(rows: int = 50_000, columns: int = 100_000) -> list[Row]:
    """Memory of a training on libsvm text with many, mostly empty columns."""
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "rows.txt"
        with path.open("wb") as file:
            for _ in range(0, rows, 1000):
                words = random_array((1000, columns), density=5e-4, format="csr", rng=generator)
                image = csr_array(generator.standard_normal((1000, 32)))
                write_libsvm(file, csr_array(hstack([words, image])), ["0"] * 1000)
        settings = ["data=libsvm", f"data.path={path}", f"data.mod1size={columns}"]
        settings += ["data.mod2size=32", "model.hdn=32", "model.rep=16", "trainer.max_epochs=1"]
        _, peak = measure("train", [*settings, f"hydra.run.dir={folder / 'run'}"])
    return [
        Row(
            name=f"memory, {columns:,} sparse columns",
            ours=peak,
            other=rows * (columns + 32) * 4 / 1e9,
            unit="GB",
            against="size of the dense features",
        )
    ]


def many(rows: int = 100_000_000) -> list[Row]:
    """The start of a training on very many rows, of files that take no room on the disk."""
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{part}.npy" for part in PARTS]
        for path in paths:
            np.lib.format.open_memmap(path, "w+", np.float32, (rows, 4))
        settings = ["data=npy", *(f"data.{p.stem}={p}" for p in paths), "model.rep=8"]
        settings += ["trainer.max_steps=1", "output.path=null", "report=false"]
        settings += [f"hydra.run.dir={name}/run"]
        seconds, peak = measure("train", settings)
    return [
        Row(
            name=f"start on {rows:,} rows",
            ours=seconds,
            other=60e-8 * rows,
            unit="s",
            against="60 s for 10⁸ rows",
            aim="≤ 1",
        ),
        Row(
            name=f"memory with {rows:,} rows",
            ours=peak,
            other=1 + 20e-9 * rows,
            unit="GB",
            against="1 GB and 20 bytes a row",
            aim="≤ 1",
        ),
    ]


PARTS = ("first", "second")


def _features(folder: Path, rows: int, sizes: tuple[int, int] = SIZES) -> list[str]:
    """Writes a pair of npy files, a block at a time; returns the settings that name them."""
    generator = np.random.default_rng(0)
    mixing = [generator.standard_normal((8, size)).astype(np.float32) for size in sizes]
    paths = [folder / f"{part}.npy" for part in PARTS]
    arrays = [
        np.lib.format.open_memmap(path, "w+", np.float32, (rows, size))
        for path, size in zip(paths, sizes, strict=True)
    ]
    for start in range(0, rows, 4096):
        hidden = generator.standard_normal((min(4096, rows - start), 8)).astype(np.float32)
        for array, weights in zip(arrays, mixing, strict=True):
            array[start : start + 4096] = np.tanh(hidden @ weights / 4)
    for array in arrays:
        array.flush()
    return [f"data.{part}={path}" for part, path in zip(PARTS, paths, strict=True)]


def _drop_from_cache(folder: Path) -> None:
    for path in folder.glob("*.np?"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(program: str, settings: list[str], log: Path | None = None) -> tuple[float, float]:
    """Seconds of a run, and the most memory of its own that it held, in GB.

    `log` gets what it says.
    """
    command = [sys.executable, str(ROOT / "scripts" / f"{program}.py"), *settings]
    started, peak = time.perf_counter(), 0
    with Path(log or os.devnull).open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        lines = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
        peak = max([peak, *(int(line.split()[1]) for line in lines)])
        time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with status {process.returncode}")
    return time.perf_counter() - started, peak * 1024 / 1e9


def _encoder(model: Model) -> float:
    """Rows a second of the encoder, on blocks that are in memory already."""
    rows = 2000
    first, second = (torch.rand(rows, size) - 0.5 for size in SIZES)
    present = torch.ones(rows, 2, dtype=torch.bool)
    model.eval()
    best = 0.0
    for _ in range(10):
        started = time.perf_counter()
        with torch.no_grad():
            model.embed(first, second, present)
        best = max(best, rows / (time.perf_counter() - started))
    return best
