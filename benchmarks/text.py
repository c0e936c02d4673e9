"""libsvm text read and written beside scikit-learn, and read again from its cache."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rows import Row, in_turn
from scipy.sparse import csr_array, csr_matrix, random_array
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from bidnn.data.formats.libsvm.text import read_libsvm, write_libsvm
from bidnn.data.sources import LibsvmSource

SIZES = (100, 4096)
COLUMNS = sum(SIZES)
MEGABYTES = 100
BYTES_PER_VALUE = 15
DENSITY = 0.02


def libsvm() -> list[Row]:
    """Six rows: written, read, and read from the cache, dense and sparse."""
    draw = np.random.default_rng(0)
    rows = MEGABYTES * 10**6 // BYTES_PER_VALUE // COLUMNS
    dense = _six_digits(draw.standard_normal((rows, COLUMNS)))
    sparse = random_array(
        (int(rows / DENSITY), COLUMNS), density=DENSITY, format="csr", rng=draw, dtype=np.float64
    )
    sparse.data = _six_digits(sparse.data)
    with tempfile.TemporaryDirectory() as folder:
        found = _compare("dense", dense, Path(folder))
        return found + _compare("sparse", csr_array(sparse), Path(folder))


def _six_digits(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Values of which a person would have written six digits."""
    unit = 10.0 ** (np.floor(np.log10(np.abs(values))) - 5)
    return (np.rint(values / unit) * unit).astype(np.float32)


def _compare(name: str, matrix: NDArray[np.float32] | csr_array, folder: Path) -> list[Row]:
    ours, theirs = folder / f"{name}.txt", folder / "theirs.txt"
    targets = np.zeros(matrix.shape[0], dtype=np.int64)
    labels = targets.astype(str)
    for_dump = matrix if isinstance(matrix, np.ndarray) else csr_matrix(matrix)
    source = LibsvmSource(path=str(ours), mod1size=SIZES[0], mod2size=SIZES[1])

    def write() -> None:
        with ours.open("wb") as file:
            write_libsvm(file, matrix, labels)

    def dump() -> None:
        with theirs.open("wb") as file:
            dump_svmlight_file(for_dump, targets, file, zero_based=False)

    def load() -> None:
        load_svmlight_file(str(ours), n_features=COLUMNS, dtype=np.float32, zero_based=False)

    def read() -> None:
        read_libsvm(ours, *SIZES)

    def cached() -> None:
        source.open(None)

    written = in_turn(write, dump)
    source.open(None)
    found = in_turn(read, cached, load)
    values = (matrix.size if isinstance(matrix, np.ndarray) else matrix.nnz) / 1e6
    against = {"unit": "M/s", "against": "scikit-learn", "other": values / found[2]}
    return [
        Row(
            name=f"libsvm values written, {name}",
            ours=values / written[0],
            other=values / written[1],
            unit="M/s",
            against="scikit-learn",
            aim="≥ 3",
        ),
        Row(name=f"libsvm values read, {name}", ours=values / found[0], aim="≥ 3", **against),
        Row(name=f"  again, from the cache, {name}", ours=values / found[1], **against),
    ]
