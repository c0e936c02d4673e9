"""What the look at the rows before a training costs, and the whole of `bidnn doctor`.

Each line: rows and columns, seconds of the short look and of the full one; the least of some.
"""

import argparse
import time

import numpy as np

from bidnn.architecture import Activation
from bidnn.data.formats.digits import load_halves
from bidnn.data.store import PairStore
from bidnn.doctor import FULL, SHORT, Effort, Plan, examine
from bidnn.losses import LossConfig
from bidnn.model.scaling import ScalingConfig


def made(rows: int, first: int, second: int) -> PairStore:
    """Two modalities with twenty hidden figures in common."""
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(rows, 20))
    parts = [
        np.tanh(hidden @ generator.normal(size=(20, size)) / 5).astype(np.float32)
        for size in (first, second)
    ]
    return PairStore(*parts, np.ones((rows, 2), dtype=bool), name="made")


def least(store: PairStore, effort: Effort, times: int) -> float:
    """Seconds."""
    plan = Plan(output=Activation.tanh, scaling=ScalingConfig(), loss=LossConfig())
    found = []
    for _ in range(times):
        started = time.perf_counter()
        examine(store, plan, effort=effort)
        found.append(time.perf_counter() - started)
    return min(found)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    stores = {"digits": load_halves(), "899 rows of 100 + 4096": made(899, 100, 4096)}
    stores["200000 rows of 100 + 512"] = made(200_000, 100, 512)
    for name, store in stores.items():
        print(f"{name:28} {least(store, SHORT, times):6.2f} {least(store, FULL, times):6.2f}")


if __name__ == "__main__":
    main()
