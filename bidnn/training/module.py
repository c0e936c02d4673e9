"""The LightningModule: a model, its loss and its optimiser."""

import logging
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from lightning import LightningModule
from lightning.pytorch.trainer import Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from bidnn.data.datamodule import PairDataModule
from bidnn.data.loaders import Chunk, ChunkLoader, Numbered
from bidnn.losses import Loss
from bidnn.model.description import check_weights, describe_model
from bidnn.model.fitting import fit_embedding, solve_translations, weigh_translations
from bidnn.model.model import Model
from bidnn.training.advice import SETTINGS, Words
from bidnn.training.callbacks.checkpoints import take_best
from bidnn.training.diverging import DivergedError, LossWatch, watched_weights
from bidnn.training.history import History
from bidnn.training.loggers import STEP_LOSS, count_rows, event_files, logged_by_others
from bidnn.training.optimizers import OptimizerConfig, Schedule, schedule_rate
from bidnn.training.resuming import check_steps, go_on
from bidnn.training.speed import SpeedConfig
from bidnn.training.steps import Stepper, together
from bidnn.training.sums import Sums, Terms

log = logging.getLogger(__name__)

LOOK_STEPS = 64
"""From one look at the weights at an epoch's end to the next; each checkpoint looks, too."""


@runtime_checkable
class AtTheEnd(Protocol):
    """A callback that uses the trained model, where it was trained, after the last checkpoint."""

    def on_result(self, trainer: Trainer, module: "TrainingModule") -> None:
        """Called once, also if there was nothing to train."""


class TrainingModule(LightningModule):
    """Trains a model, by one of two loops that give the same bytes.

    With automatic optimisation Lightning's loop takes one batch a step. Without it, a step of the
    loop takes a chunk of many batches and makes an optimiser step for each, so that Lightning's
    own cost is paid once a chunk. `stepping.why_one_by_one` says which. In both,
    `trainer.global_step` counts optimiser steps.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        optimizer: OptimizerConfig,
        speed: SpeedConfig | None = None,
        words: Words = SETTINGS,
    ) -> None:
        """Takes the model as it is: fresh, or trained before.

        Args:
            model: its scaling already fitted.
            loss: what is minimised.
            optimizer: by what.
            speed: how the arithmetic is done; None for plain fp32.
            words: how the caller writes a setting, for advice.
        """
        super().__init__()
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.speed = speed or SpeedConfig()
        self.words = words
        self.stepper = Stepper(self, model, loss, optimizer, self.speed, words)
        self.save_hyperparameters(describe_model(model), logger=False)
        # Each process fits these itself, to the same rows; landmarks are tens of megabytes, which
        # DistributedDataParallel would send with every batch. The name is torch's.
        fitted = [name for name in self.state_dict() if _fitted(name)]
        self._ddp_params_and_buffers_to_ignore = fitted
        # A model that is only used keeps the statistics of its embedding that it came with.
        self._fitted_to = self._weights_version()
        # Statistics that no step changes: of the embedding, and what translations are stacked of.
        self._kept: dict[str, Tensor] | None = None
        self._regressions: dict[str, Tensor] | None = None
        self._sums = {"train": Sums(), "val": Sums()}
        self._watch = LossWatch()
        self._looked = 0  # the step after which weights were last looked at
        self._taken = 0  # batches of the last epoch that was begun
        self.record: dict[str, Any] = {}  # what the checkpoints say of the run
        self.stopping: dict[str, Any] = {}  # the settings that a callback's stop holds for
        self.history = History()
        self._resumed: dict[str, Tensor] = {}
        self._finished = False

    def setup(self, stage: str) -> None:
        """A training that begins, of these rows or others, keeps no statistics of one before."""
        if stage == "fit":
            self._kept = self._regressions = None
            self._looked = 0

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser of the configuration, over all parameters, and its schedule by steps."""
        optimizer = self.optimizer.build(self.model.parameters())
        if self.optimizer.schedule is Schedule.constant:
            return optimizer
        schedule = schedule_rate(optimizer, self.optimizer.schedule, self.steps())
        assert schedule is not None
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def steps(self) -> int:
        """Optimiser steps of the whole training; 0 if it has no end."""
        if self.automatic_optimization:
            steps = self.trainer.estimated_stepping_batches
            return 0 if steps == float("inf") else int(steps)
        steps = max(self.trainer.max_steps, 0)
        if self.trainer.max_epochs is not None and self.trainer.max_epochs > 0:
            by_epochs = self.trainer.max_epochs * self._data().batches
            steps = min(steps, by_epochs) if steps else by_epochs
        return steps

    def on_fit_start(self) -> None:
        """Takes up the metrics of a run that is resumed, which Lightning forgets, and the threads.

        Lightning sets their number when it has started the other processes.
        """
        self.speed.set_threads(self.stepper.operations(self._data().batch_size))
        self.trainer.callback_metrics.update(self._resumed)

    def on_train_start(self) -> None:
        """Decides on the arithmetic, now that the device is known; fits what no step changes.

        Raises:
            UserError: as `fit_embedding` does.
        """
        self.stepper.begin(self.steps())
        self._solve_translations()
        self._fitted_to = (-1, -1)  # to no weights: a second training may end at the same version
        if not self.model.finish.config.by_network and self._kept is None:
            self._fit_embedding()
            found = self.model.finish.state_dict()
            self._kept = {name: values.clone() for name, values in found.items()}

    def training_step(self, batch: Chunk | Numbered, _: int) -> Terms | None:
        """One optimiser step, or one for each batch of the chunk.

        Raises:
            DivergedError: if a loss is not finite.
        """
        if self.automatic_optimization:
            terms = self.stepper.one(batch.gathered(), batch.start)
            self._add(list(terms), together(terms)[None], batch)
            loss = terms["loss"].detach()
            self.log(STEP_LOSS, loss, on_step=True, on_epoch=False, prog_bar=True)
            return terms
        self._add(*self.stepper.many(batch, batch.start), batch)
        if self.trainer.is_last_batch:
            loader = self.trainer.train_dataloader
            assert isinstance(loader, ChunkLoader)
            loader.draw_ahead()
        return None

    def _add(self, names: list[str], terms: Tensor, batch: Chunk | Numbered) -> None:
        """Adds steps to the epoch's sums; looks at those before, which a GPU may be done with.

        Raises:
            DivergedError: if a loss is not finite.
        """
        self._taken = batch.start + len(terms)
        losses = self._sums["train"].add(names, terms, batch.batch)
        self._check(self._watch.add(losses, batch.start, at_once=self.device.type == "cpu"))

    def on_validation_start(self) -> None:
        """Looks at the last losses, so that nothing is validated by weights that are lost.

        Raises:
            DivergedError: if a loss is not finite.
        """
        self._check_losses()

    def validation_step(self, batch: Chunk, _: int) -> None:
        """The loss of held-out complete rows, without dropout."""
        first, second = self.model.scale(batch.first, batch.second)
        terms = self.loss(self.model.network(first, second), first, second, None)
        self._sums["val"].add(list(terms), together(terms)[None], len(first))

    def on_validation_epoch_end(self) -> None:
        """Logs the validation's losses; not those of Lightning's trial before the training."""
        means = self._means("val")
        if not self.trainer.sanity_checking:
            self.log_metrics(means)

    def on_validation_model_zero_grad(self) -> None:
        """Lets gradients go, of the weights that there are, without looking for them first."""
        for weight in self.stepper.weights:
            weight.grad = None

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's training losses, and the learning rate.

        Raises:
            DivergedError: if a loss is not finite, or a weight, at which short epochs do not look
                each time.
        """
        due = self.trainer.global_step - self._looked >= LOOK_STEPS
        look = self._watch_weights() if due else self._check_losses
        means = self._means("train")  # a GPU is waited for once, here
        look()
        rate = torch.tensor(self.stepper.optimizer.param_groups[0]["lr"])
        self.log_metrics({**means, "learning_rate": rate})

    def log_metrics(self, metrics: dict[str, Tensor]) -> None:
        """Sends metrics to the loggers, and to the callbacks that watch one of them.

        What `self.log` would do at an epoch's end, without its millisecond a call, which is a whole
        step of a tiny network.

        Args:
            metrics: scalars by name.
        """
        self.trainer.callback_metrics.update(metrics)
        self.trainer.logged_metrics.update(metrics)
        numbers = {name: float(value) for name, value in metrics.items()}
        known = numbers | logged_by_others(self.trainer)
        self.history.note(self.current_epoch + (not self._finished), known)
        for logger in self.loggers:
            epoch = {"epoch": float(self.current_epoch)}
            logger.log_metrics({**numbers, **epoch}, step=self.trainer.global_step)

    def on_train_end(self) -> None:
        """Comes after all callbacks, the last checkpoint too, before Lightning tears down.

        Raises:
            DivergedError: if a weight is not finite.
        """
        self._finish()

    def on_fit_end(self) -> None:
        """If there was nothing to train, the model is used all the same."""
        if not self._finished:
            self.to(self.trainer.strategy.root_device)
            self._finish()

    def _finish(self) -> None:
        self._finished = True
        if self.trainer.global_step:
            self._watch_weights()()
            take_best(self.trainer, self)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]  # set by Trainer
            if isinstance(callback, AtTheEnd):
                callback.on_result(self.trainer, self)

    def ready_model(self) -> Model:
        """The model with the statistics of its embedding fitted to the weights of this moment."""
        version = self._weights_version()
        if self._regressions is not None and self._fitted_to != version:
            assert self.model.stacked is not None
            self.model.stacked.load_state_dict(self._regressions)
            data = self._data()
            weigh_translations(self.model, data.val_store, data.val_rows)
        if self._kept is not None:  # whatever averaged or loaded the buffers since
            self.model.finish.load_state_dict(self._kept)
        elif self._fitted_to != version:
            self._fit_embedding()
        self._fitted_to = version
        return self.model

    def _solve_translations(self) -> None:
        if self.model.stacked is None:
            return
        data = self._data()
        solve_translations(self.model, data.store, data.complete_rows)
        self._regressions = {k: v.clone() for k, v in self.model.stacked.state_dict().items()}
        if self.model.stacked.rows and not len(data.val_rows):
            log.warning(
                "%s weighs translations of the network and of a regression by rows that are held "
                "out, and there are none: translations are the network's; %s holds some out",
                *(self.words("embedding.stacked", "true"), self.words("data.val_fraction", "0.05")),
            )

    def _fit_embedding(self) -> None:
        data = self._data()
        fit_embedding(self.model, data.store, data.complete_rows, data.taught)

    def _weights_version(self) -> tuple[int, int]:
        """Another one whenever the weights may have changed, by a step or by a callback."""
        steps = self.trainer.global_step if self._trainer is not None else 0
        return steps, sum(parameter._version for parameter in self.model.network.parameters())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the statistics of the embedding, so that a checkpoint embeds as the training would.

        They are fitted to the weights in the checkpoint, which are averages where a callback
        averages weights.

        Raises:
            DivergedError: if a weight is not finite; the last checkpoint stays then.
        """
        self._watch_weights()()
        live = self.state_dict()
        kept = checkpoint["state_dict"]
        averaged = "current_model_state" in checkpoint  # as Lightning's WeightAveraging marks it
        if averaged:
            own = {name: value.clone() for name, value in live.items()}
            self.load_state_dict(kept)
        self.ready_model()
        finish = {name: v.clone() for name, v in self.state_dict().items() if _fitted(name)}
        if averaged:
            self.load_state_dict(own)
        checkpoint["state_dict"] = {**kept, **finish}
        by_chunks = not self.automatic_optimization
        batches = self._data().batches if by_chunks else self.trainer.num_training_batches
        checkpoint["taken"] = self._taken, batches
        checkpoint["losses"] = None
        if self._taken < batches:  # otherwise they were logged
            checkpoint["losses"] = self._sums["train"].state(self._all_gather)
        found = self.trainer.callback_metrics.items()
        checkpoint["metrics"] = {name: value.detach().cpu().clone() for name, value in found}
        checkpoint["run"] = self.record
        checkpoint["stopped"] = self.stopping if self.trainer.should_stop else None
        checkpoint["rows"] = count_rows(self.loggers)
        checkpoint["history"] = self.history.state()
        checkpoint["events"] = event_files(self.loggers) if self.global_rank == 0 else []
        checkpoint["one_by_one"] = self.automatic_optimization
        checkpoint["compiled"] = self.stepper.compiles
        checkpoint["batches_per_chunk"] = self._data().batches_per_chunk

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes over the losses of the epoch that was begun, the metrics, and a stop.

        Raises:
            UserError: if the weights are not this model's, or steps were counted in another way.
        """
        share = (self.global_rank, self.trainer.world_size)
        self._sums["train"] = Sums(checkpoint["losses"], share)
        self._resumed = dict(checkpoint["metrics"])
        self.history.restore(checkpoint["history"])
        if checkpoint["stopped"] is not None and checkpoint["stopped"] == self.stopping:
            self.trainer.should_stop = True
        data, chunk = self._data(), self._data().batches_per_chunk
        self._taken, _ = checkpoint.get("taken", (0, 0))
        if not self.trainer.should_stop:
            data.begun = go_on(checkpoint, 1 if data.one_by_one else chunk, self.trainer.max_steps)
        state = checkpoint["state_dict"]
        check_weights("the checkpoint to resume", self.state_dict(), state)
        if checkpoint["global_step"] and not self.model.finish.config.by_network:
            own = "model.finish."
            self._kept = {k.removeprefix(own): v for k, v in state.items() if k.startswith(own)}
        if self.speed.compile is None:  # those of earlier versions do not say it
            self.stepper.compiles = checkpoint.get("compiled")
        check_steps(checkpoint, self.automatic_optimization, chunk)

    def _all_gather(self, values: Tensor) -> Tensor:
        """The tensors of all processes, (processes, …)."""
        if self.trainer.world_size == 1:
            return values[None]
        gathered = self.trainer.strategy.all_gather(values.to(self.device))
        assert isinstance(gathered, Tensor)
        return gathered

    def _watch_weights(self) -> Callable[[], None]:
        """Begins to look at losses and weights; called, it raises DivergedError if one is lost."""
        self._looked = self.trainer.global_step
        weight = watched_weights(self.model.get_submodule("network"), self._looked)

        def look() -> None:
            self._check_losses()
            self._check(weight())

        return look

    def _check_losses(self) -> None:
        self._check(self._watch.look())

    def _check(self, lost: str | None) -> None:
        if lost is not None:
            rate = self.stepper.optimizer.param_groups[0]["lr"]
            raise DivergedError.of(lost, self.current_epoch, rate, self.model, self.words)

    def _data(self) -> PairDataModule:
        return PairDataModule.of(self.trainer)

    def _means(self, stage: str) -> dict[str, Tensor]:
        """Means over all rows of an epoch, and over all processes."""
        sums = self._sums[stage]
        names = sums.names
        reduced = self.trainer.strategy.reduce(sums.take(self.device), reduce_op="sum")
        assert isinstance(reduced, Tensor)
        means = (reduced[:-1] / reduced[-1]).cpu()
        return {f"{stage}/{name}": mean for name, mean in zip(names, means, strict=True)}


def _fitted(name: str) -> bool:
    """Whether a tensor of the module is a statistic that is fitted, not trained."""
    return name.startswith(("model.finish.", "model.stacked."))
