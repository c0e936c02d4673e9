"""Says at the end what the translations are worth, and when a training has learned nothing."""

import logging
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from bidnn.data.datamodule import PairDataModule
from bidnn.data.store import PairStore
from bidnn.evaluation.agreement import NEIGHBOURS, agreement_of_vectors, sample
from bidnn.model.fitting import fit_embedding, weigh_translations
from bidnn.model.inference import embed
from bidnn.model.model import Model
from bidnn.training.history import SELDOM, due
from bidnn.training.module import TrainingModule

log = logging.getLogger(__name__)

ROWS = 4096
BYTES = 64 * 2**20
"""Of the rows that are looked at: of very wide ones there are fewer."""
DIRECTIONS = ("first_to_second", "second_to_first")
STEPS_TO_JUDGE, LEAST_FALL = 20, 0.01
MEANWHILE, FITTED_ON = 500, 2000
"""Rows that agreement is measured on during the training, and that its embedding is fitted to."""


class Explained(Callback):
    """Variance explained by translation, on held-out rows where there are any.

    1 is a translation without error, 0 is as good as the mean, below 0 is worse. And, without
    labels, the agreement: how many of a row's ten nearest rows, by the embedding of one modality,
    are among its ten nearest in the modality that the embedding was not shown.
    """

    def __init__(self, *, meanwhile: bool = False) -> None:
        """Measures nothing yet.

        Args:
            meanwhile: also notes the agreement of 500 rows in the history, see `history.due`.
        """
        self.metrics: dict[str, float] = {}
        self._meanwhile = meanwhile
        self._first_loss: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """The loss that others are compared with."""
        return {"first_loss": self._first_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from there."""
        self._first_loss = state_dict["first_loss"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the loss of the first epoch but one, to see later whether it fell."""
        if self._first_loss is None and "train/loss" in trainer.callback_metrics:
            self._first_loss = float(trainer.callback_metrics["train/loss"])
        if self._meanwhile and trainer.is_global_zero and due(trainer.current_epoch + 1):
            assert isinstance(pl_module, TrainingModule)
            found = agreement_meanwhile(pl_module, PairDataModule.of(trainer))
            if found is not None:
                pl_module.history.note(trainer.current_epoch + 1, {SELDOM: found})

    def on_result(self, trainer: Trainer, module: TrainingModule) -> None:
        """Measures, logs and warns."""
        data = PairDataModule.of(trainer)
        if not trainer.is_global_zero or not data.batches or not trainer.global_step:
            return
        store, rows, held = looked_at(data)
        if len(rows) < 2:
            log.warning("one row to train on: a translation of one row says nothing of another")
            return
        model = module.ready_model()
        found = explained_variance(model, store, rows)
        self.metrics = {f"explained/{name}": value for name, value in found.items()}
        near = found_again(model, store, rows)
        if near is not None:
            self.metrics["agreement"] = near[0]
        where = f"{len(_few(store, rows))} held-out rows" if held else "the training rows"
        log.info(
            "variance explained by translation, on %s: first → second %.3f, second → first %.3f%s",
            where,
            *found.values(),
            "" if held else f"; {module.words('data.val_fraction', '0.1')} would hold some out",
        )
        if near is not None:
            log.info(
                "agreement: %.3f of the ten nearest, by one modality, are near in the other; %.3f "
                "by chance",
                *near,
            )
        self._warn(trainer, module, found, where, held=held)

    def _warn(
        self,
        trainer: Trainer,
        module: TrainingModule,
        found: dict[str, float],
        where: str,
        *,
        held: bool,
    ) -> None:
        bad = [name.replace("_to_", " → ") for name, value in found.items() if not value > 0.0]
        if not bad:
            return
        loss = float(trainer.callback_metrics.get("train/loss", float("nan")))
        rate = module.words("optimizer.lr", None)
        start = self._first_loss
        still = start is not None and trainer.current_epoch > 1 and loss > start * (1 - LEAST_FALL)
        if still and trainer.global_step >= STEPS_TO_JUDGE:
            why = f"the loss hardly fell, from {start:.4g} to {loss:.4g}: a larger {rate} may help"
        else:
            why = (
                "either the rows of the modalities do not belong together (shuffled pairs), or one "
                "says nothing of the other"
            )
            if module.model.stacked is None:
                why += ", or the network has learned its rows by heart"
                if held:
                    stacked = module.words("embedding.stacked", "true")
                    why += f": {stacked} takes less of it then"
        be = "is" if len(bad) == 1 else "are"
        log.warning(
            "translation %s %s no better than the mean, on %s; %s",
            *(" and ".join(bad), be, where, why),
        )


def looked_at(data: PairDataModule) -> tuple[PairStore, NDArray[np.int64], bool]:
    """Where to look how good translations are: rows of a store, and whether they are held out."""
    if len(data.val_rows) >= 2:
        return data.val_store, data.val_rows, True
    return data.store, data.complete_rows, False


def found_again(
    model: Model, store: PairStore, rows: NDArray[np.int64]
) -> tuple[float, float] | None:
    """How well one modality's embedding knows a row's neighbours in the other modality.

    Args:
        model: trained.
        store: where the rows are.
        rows: numbers of complete rows; 2000 of them, or 64 MiB, spread evenly, are looked at.

    Returns:
        The mean share of the ten nearest rows by cosine that are also nearest in the modality that
        was hidden, over both ways; and what chance would give. None for twenty rows or fewer.
    """
    rows = sample(_few(store, rows))
    if len(rows) <= 2 * NEIGHBOURS:
        return None
    parts = store.take(rows)
    shares = []
    for hidden in (0, 1):
        present = np.ones((len(rows), 2), dtype=bool)
        present[:, hidden] = False
        vectors = embed(model, PairStore(*parts, present))
        shares.append(agreement_of_vectors(vectors, parts[hidden]))
    return sum(shares) / 2, NEIGHBOURS / (len(rows) - 1)


def agreement_meanwhile(module: TrainingModule, data: PairDataModule) -> float | None:
    """The agreement of few rows; the training goes on as if it had not been measured.

    The statistics of the embedding, where steps change them, are for this fitted to 2000 rows,
    which takes little time.
    """
    held = len(data.val_rows) >= 2
    store, rows = (data.val_store, data.val_rows) if held else (data.store, data.complete_rows)
    rows, model = rows[:: -(-len(rows) // MEANWHILE)], module.model
    if not model.finish.config.by_network:
        near = found_again(module.ready_model(), store, rows)
        return None if near is None else near[0]
    parts = [part for part in (model.finish, model.stacked) if part is not None]
    before = [{k: v.clone() for k, v in part.state_dict().items()} for part in parts]
    if held:
        weigh_translations(model, store, rows)
    fitted, taught = data.complete_rows, data.taught
    if taught is not None:
        few = taught.rows[:: -(-len(taught.rows) // FITTED_ON)]
        taught = taught._replace(rows=few)
    fit_embedding(model, data.store, fitted[:: -(-len(fitted) // FITTED_ON)], taught)
    near = found_again(model, store, rows)
    for part, state in zip(parts, before, strict=True):
        part.load_state_dict(state)
    return None if near is None else near[0]


def explained_variance(model: Model, store: PairStore, rows: NDArray[np.int64]) -> dict[str, float]:
    """Share of the variance of each modality that its translation explains.

    Args:
        model: trained.
        store: where the rows are.
        rows: numbers of complete rows, at least 2; 4096 of them, or 64 MiB, spread evenly, are
            looked at.

    Returns:
        By direction, 1 − squared error / squared distance from the mean of the rows, summed over
        all columns, in the units that the network sees.
    """
    rows = _few(store, rows)
    training = model.training
    model.eval()
    with torch.no_grad():
        first, second = model.scale(*(model.on_device(part) for part in store.take(rows)))
        guesses = model.translate(first=first), model.translate(second=second)
    model.train(training)
    shares = {}
    for name, guess, truth in zip(DIRECTIONS, guesses, (second, first), strict=True):
        error = (guess - truth).square().sum()
        variance = (truth - truth.mean(dim=0)).square().sum()
        shares[name] = float(1 - error / variance) if float(variance) > 0 else float("nan")
    return shares


def _few(store: PairStore, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """As many of the rows as are looked at, spread evenly."""
    most = min(ROWS, max(4 * NEIGHBOURS, store.rows_in(BYTES)))
    return rows[:: -(-len(rows) // most)]
