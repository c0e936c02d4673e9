"""What shuffling by blocks costs: rows sorted by class, where it is hardest.

Blocks of 8 rows and pools of 256 of the 1797 digits: 7 pools an epoch of 32 blocks each, where a
6 GB file has 23 of 256.
"""

import statistics

import numpy as np
from rows import Row

from bidnn.architecture import NetworkConfig
from bidnn.data import order
from bidnn.data.formats.digits import load_halves
from bidnn.data.order import Shuffle
from bidnn.data.sources import ArraySource
from bidnn.data.store import PairStore
from bidnn.evaluation.retrieval import mean_average_precision
from bidnn.losses import LossConfig
from bidnn.model.inference import embed
from bidnn.training.config import TrainConfig, TrainerConfig
from bidnn.training.fit import fit, quiet_lightning
from bidnn.training.optimizers import SgdConfig

SEEDS = 3
BLOCK, POOL = 8, 256


def sorted_rows() -> list[Row]:
    """Mean average precision and loss with both ways of shuffling, over some seeds."""
    quiet_lightning()
    digits = load_halves()
    assert digits.labels is not None
    by_class = np.argsort(digits.labels, kind="stable")
    store = PairStore(*digits.take(by_class), digits.present[by_class], digits.labels[by_class])
    row = store.nbytes // len(store)
    before = order.BLOCK_BYTES, order.POOL_BYTES
    order.BLOCK_BYTES, order.POOL_BYTES = BLOCK * row, POOL * row
    figures = {
        shuffle: [_quality(store, shuffle, seed) for seed in range(SEEDS)]
        for shuffle in (Shuffle.blocks, Shuffle.rows)
    }
    order.BLOCK_BYTES, order.POOL_BYTES = before
    names = ("mAP, digits sorted by class", "loss, digits sorted by class")
    return [
        Row(
            name=f"{name}, blocks",
            ours=statistics.mean(figure[number] for figure in figures[Shuffle.blocks]),
            other=statistics.mean(figure[number] for figure in figures[Shuffle.rows]),
            unit="",
            against="rows shuffled one by one",
            aim="1.00",
        )
        for number, name in enumerate(names)
    ]


def _quality(store: PairStore, shuffle: Shuffle, seed: int) -> tuple[float, float]:
    config = TrainConfig(
        seed=seed,
        data=ArraySource(batch_size=64, shuffle=shuffle, val_fraction=0.0),
        model=NetworkConfig(hdn=256, rep=128),
        loss=LossConfig(),
        optimizer=SgdConfig(),
        trainer=TrainerConfig(max_epochs=100, accelerator="cpu"),
    )
    fitted = fit(config, store)
    assert store.labels is not None
    found = mean_average_precision(embed(fitted.model, store), store.labels)
    return found, fitted.metrics["train/loss"]
