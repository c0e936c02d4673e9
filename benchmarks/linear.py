"""How the cost grows with the rows, and with those that miss a modality: over three decades."""

import time

import numpy as np
from rows import Row

from bidnn.architecture import NetworkConfig
from bidnn.data.formats.arrays import store_arrays
from bidnn.data.store import Modality, PairStore
from bidnn.model.inference import infer
from bidnn.model.model import Model
from bidnn.model.scaling import ScalingConfig, ScalingKind, fit_scaling

DECADES = (1_000, 10_000, 100_000, 1_000_000)
SIZES = (32, 32)


def grow() -> list[Row]:
    """Microseconds a row to open, scale and embed, at each size, beside those at the smallest."""
    found: list[Row] = []
    for kind, rate in (("rows", 0.0), ("rows that miss one", 1.0)):
        base = 0.0
        for rows in DECADES:
            per_row = 1e6 * _seconds(rows, rate) / rows
            base = base or per_row
            found.append(
                Row(
                    name=f"{rows:,} {kind}",
                    ours=per_row,
                    other=base,
                    unit="µs/row",
                    against=f"{DECADES[0]:,} {kind}",
                    aim="≤ 1",
                )
            )
    return found


def _seconds(rows: int, rate: float) -> float:
    """The least of three: find what is missing, fit a scaling, embed."""
    generator = np.random.default_rng(0)
    parts = [generator.standard_normal((rows, size), dtype=np.float32) for size in SIZES]
    model = Model(*SIZES, NetworkConfig(hdn=64, rep=32), ScalingConfig(kind=ScalingKind.standard))
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        store: PairStore = store_arrays(*parts).drop(rate, 0, Modality.either)
        fit_scaling((model.first_scaler, model.second_scaler), store, np.arange(rows))
        for _block in infer(model, store):
            pass
        best = min(best, time.perf_counter() - started)
    return best
