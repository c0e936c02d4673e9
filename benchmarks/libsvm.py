"""How fast libsvm text is read and written, beside scikit-learn in the same run.

python benchmarks/libsvm.py --megabytes 100
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix, random_array
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from bidnn.data.libsvm import IndexBase, iter_libsvm, read_libsvm, write_libsvm

MOD1SIZE, MOD2SIZE = 100, 4096
COLUMNS = MOD1SIZE + MOD2SIZE
BYTES_PER_VALUE = 15
DENSITY = 0.02
ROUNDS = 3


def main() -> None:
    """Prints a table: the best of several rounds, ours and scikit-learn's in turn."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--megabytes", type=int, default=100, help="text per file, about")
    megabytes = arguments.parse_args().megabytes
    print(f"{os.cpu_count()} cores, {MOD1SIZE} + {MOD2SIZE} columns, best of {ROUNDS} rounds")
    print(f"{'':22}{'MB':>6}{'bidnn':>11}{'scikit-learn':>14}{'ratio of times':>16}")
    draw = np.random.default_rng(0)
    rows = max(1, megabytes * 10**6 // BYTES_PER_VALUE // COLUMNS)
    dense = round_to_six_digits(draw.standard_normal((rows, COLUMNS)))
    sparse = random_array(
        (int(rows / DENSITY), COLUMNS), density=DENSITY, format="csr", rng=draw, dtype=np.float64
    )
    sparse.data = round_to_six_digits(sparse.data)
    with tempfile.TemporaryDirectory() as folder:
        compare("dense", dense, Path(folder))
        compare("sparse (2 %)", csr_array(sparse), Path(folder))


def round_to_six_digits(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Values of which a person would have written six digits."""
    unit = 10.0 ** (np.floor(np.log10(np.abs(values))) - 5)
    return (np.rint(values / unit) * unit).astype(np.float32)


def compare(name: str, matrix: NDArray[np.float32] | csr_array, folder: Path) -> None:
    """Writes and reads one matrix in every way."""
    ours, theirs = folder / "ours.txt", folder / "theirs.txt"
    targets = np.zeros(matrix.shape[0], dtype=np.int64)
    labels = targets.astype(str)
    for_dump = matrix if isinstance(matrix, np.ndarray) else csr_matrix(matrix)

    def write() -> None:
        with ours.open("wb") as file:
            write_libsvm(file, matrix, labels)

    def dump() -> None:
        with theirs.open("wb") as file:
            dump_svmlight_file(for_dump, targets, file, zero_based=False)

    def load() -> None:
        load_svmlight_file(str(ours), n_features=COLUMNS, dtype=np.float32, zero_based=False)

    def read() -> None:
        read_libsvm(ours, MOD1SIZE, MOD2SIZE)

    def iterate() -> None:
        for _ in iter_libsvm(ours, MOD1SIZE, MOD2SIZE, index_base=IndexBase.one):
            pass

    seconds = time_in_turn(write, dump)
    report(f"write, {name}", ours, seconds[0], theirs, seconds[1])
    seconds = time_in_turn(read, iterate, load)
    report(f"read, {name}", ours, seconds[0], ours, seconds[2])
    report(f"in blocks, {name}", ours, seconds[1], ours, seconds[2])


def time_in_turn(*tasks: Callable[[], None]) -> list[float]:
    """The least seconds of each task; taking turns spreads what else the machine does."""
    seconds = [float("inf")] * len(tasks)
    for _ in range(ROUNDS):
        for number, task in enumerate(tasks):
            start = time.perf_counter()
            task()
            seconds[number] = min(seconds[number], time.perf_counter() - start)
    return seconds


def report(name: str, ours: Path, our_seconds: float, theirs: Path, their_seconds: float) -> None:
    """Prints one line; each speed is in megabytes of the file that was written or read."""
    size, their_size = (path.stat().st_size / 1e6 for path in (ours, theirs))
    our_speed, their_speed = size / our_seconds, their_size / their_seconds
    ratio = their_seconds / our_seconds
    print(f"{name:22}{size:6.0f}{our_speed:6.0f} MB/s{their_speed:9.0f} MB/s{ratio:16.1f}")


if __name__ == "__main__":
    main()
