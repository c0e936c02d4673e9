"""A small table at the end of a training: what the embedding is worth, where there are labels."""

import logging

import numpy as np
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table

from bidnn.data.datamodule import PairDataModule
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.evaluation.labels import labelled
from bidnn.evaluation.retrieval import mean_average_precision
from bidnn.model.finishing import MissingStrategy
from bidnn.model.inference import embed
from bidnn.model.model import Model
from bidnn.training.module import TrainingModule

log = logging.getLogger(__name__)


class Report(Callback):
    """Mean average precision of raw vectors, and of embeddings by each strategy.

    Every row is a query against all others, by cosine; rows with the same label are relevant, and
    rows without one are left out.
    """

    def __init__(self, max_rows: int = 20000) -> None:
        """Computes nothing yet.

        Args:
            max_rows: no report on more rows than this, because it compares all pairs.

        Raises:
            ValueError: if that is no whole number.
        """
        if not isinstance(max_rows, int):
            raise UserError(f"callbacks.report.max_rows={max_rows}: must be a whole number")
        self.max_rows = max_rows
        self.metrics: dict[str, float] = {}

    def on_result(self, trainer: Trainer, module: TrainingModule) -> None:
        """Computes, prints and keeps the metrics."""
        data = PairDataModule.of(trainer)
        if data.store.labels is None or len(data.store) > self.max_rows:
            return
        labels = data.store.labels
        known = labels[labelled(labels)]
        without = len(labels) - len(known)
        if without:
            log.info("mAP by label leaves out %d of %d rows, without one", without, len(labels))
        if not len(known):
            return
        if len(np.unique(known)) < 2:
            log.info(
                "no table of mAP by label: every row has the label %s, and there is nothing to "
                "tell apart",
                known[0],
            )
            return
        if trainer.is_global_zero:
            rows = report(module.ready_model(), data.store)
            self.metrics = {f"map/{key}": value for key, _, value in rows}
            Console().print(_table(data.store, rows))
            shown = ", ".join(f"{key} {value:.3f}" for key, _, value in rows)
            log.info("mAP by label: %s", shown)


def report(model: Model, store: PairStore) -> list[tuple[str, str, float]]:
    """Key, description and mAP of each way to make one vector of a row.

    Args:
        model: trained.
        store: labelled rows.
    """
    assert store.labels is not None
    raw = np.concatenate(store.take(slice(None)), axis=1)
    ways = [("raw", "raw vectors, zeros where a modality is missing", raw)]
    if store.present.all() or len(model.strategies) == 1:
        ways.append(("embedding", "embedding", embed(model, store)))
    else:
        ways += [
            (strategy.value, _STRATEGIES[strategy], embed(model.with_missing(strategy), store))
            for strategy in model.strategies
        ]
    return [
        (key, description, mean_average_precision(vectors, store.labels))
        for key, description, vectors in ways
    ]


_STRATEGIES = {
    MissingStrategy.duplicate: "embedding, what is there duplicated (as published)",
    MissingStrategy.translate: "embedding, what is missing translated",
}


def _table(store: PairStore, rows: list[tuple[str, str, float]]) -> Table:
    table = Table(title=f"Rows with the same label found by cosine: {store.describe()}")
    table.add_column("one vector per row")
    table.add_column("mAP", justify="right")
    for _, description, value in rows:
        table.add_row(description, f"{value:.3f}")
    return table
