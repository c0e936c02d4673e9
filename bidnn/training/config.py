"""The settings of one training: what conf/train.yaml composes, and `fit` takes."""

from dataclasses import dataclass, field
from typing import Any

from bidnn.architecture import Activation, NetworkConfig
from bidnn.errors import UserError
from bidnn.losses import Loss, LossConfig
from bidnn.model.finishing import EmbeddingConfig, MissingStrategy
from bidnn.model.outputs import OutputConfig
from bidnn.model.scaling import ScalingConfig
from bidnn.training.speed import SpeedConfig

MISSING: Any = "???"  # omegaconf's: whoever composes must give it


@dataclass(slots=True, kw_only=True)
class TrainerConfig:
    """Settings of `lightning.Trainer` under its own names; null is Lightning's default.

    Counts are of optimiser steps and of batches of `data.batch_size` rows.

    Attributes:
        accelerator: `cpu`, `gpu`, `mps` or `auto`.
        strategy: how several processes train: `auto`, `ddp`, or a `_target_` of Lightning's.
        devices: processes on this machine, or a list of device numbers.
        num_nodes: machines.
        precision: of the arithmetic, such as `bf16-mixed` or `64-true`; `speed.bf16` keeps
            the weights fp32 and is faster.
        logger: refused; the group `logger` has the loggers.
        callbacks: refused; the group `callbacks` has the callbacks.
        fast_dev_run: true or a number: that many batches of training and validation, nothing kept.
        max_epochs: passes over the training rows; -1: no end of this kind; 0 only predicts.
        min_epochs: no early stop before.
        max_steps: optimiser steps; -1: no end of this kind.
        min_steps: no early stop before.
        max_time: `DD:HH:MM:SS` after which the training ends.
        limit_train_batches: batches of an epoch, or a share of them.
        limit_val_batches: likewise of a validation.
        limit_test_batches: of no meaning in a training.
        limit_predict_batches: of no meaning in a training.
        overfit_batches: trains on the same few batches in every epoch, to see that it can.
        val_check_interval: validates after so many batches, or a share of the epoch.
        check_val_every_n_epoch: validates every so many epochs; null: `val_check_interval`
            counts batches across epochs.
        num_sanity_val_steps: validation batches before the training.
        log_every_n_steps: callbacks that log by steps do so at this interval; setting it logs the
            loss of single steps, too.
        enable_checkpointing: false: no checkpoints, so that nothing can be resumed.
        enable_progress_bar: Lightning's own bar, in place of ours.
        enable_model_summary: Lightning's table of layers.
        accumulate_grad_batches: batches whose gradients make one optimiser step.
        gradient_clip_val: gradients are cut to this size.
        gradient_clip_algorithm: `norm` or `value`.
        deterministic: torch's deterministic algorithms only.
        benchmark: cuDNN's search for the fastest algorithm.
        inference_mode: of no meaning in a training.
        use_distributed_sampler: refused if true: rows are shared out among processes already.
        profiler: `simple`, `advanced` or `pytorch`; its report is `fit-NAME.txt` in the run's
            folder, and in the log where there is none.
        detect_anomaly: torch's anomaly detection.
        barebones: refused.
        plugins: Lightning's, each a `_target_`.
        sync_batchnorm: of no effect: there is no batch normalisation.
        reload_dataloaders_every_n_epochs: makes the loaders anew.
        default_root_dir: where stock callbacks put files; the run's folder.
        enable_autolog_hparams: false: TensorBoard gets no hyper-parameters, which are the settings.
        model_registry: refused.
    """

    accelerator: str | None = "auto"
    strategy: Any = None
    devices: Any = 1
    num_nodes: int | None = None
    precision: Any = None
    logger: Any = None
    callbacks: Any = None
    fast_dev_run: int | bool | None = None
    max_epochs: int | None = 200
    min_epochs: int | None = None
    max_steps: int | None = -1
    min_steps: int | None = None
    max_time: Any = None
    limit_train_batches: int | float | None = None
    limit_val_batches: int | float | None = None
    limit_test_batches: int | float | None = None
    limit_predict_batches: int | float | None = None
    overfit_batches: int | float | None = None
    val_check_interval: Any = None
    check_val_every_n_epoch: int | None = 1
    num_sanity_val_steps: int | None = 0
    log_every_n_steps: int | None = None
    enable_checkpointing: bool | None = None
    enable_progress_bar: bool | None = False
    enable_model_summary: bool | None = False
    accumulate_grad_batches: int | None = None
    gradient_clip_val: int | float | None = None
    gradient_clip_algorithm: str | None = None
    deterministic: bool | str | None = None
    benchmark: bool | None = None
    inference_mode: bool | None = None
    use_distributed_sampler: bool | None = None
    profiler: Any = None
    detect_anomaly: bool | None = None
    barebones: bool | None = None
    plugins: Any = None
    sync_batchnorm: bool | None = None
    reload_dataloaders_every_n_epochs: int | None = None
    default_root_dir: str | None = None
    enable_autolog_hparams: bool | None = None
    model_registry: str | None = None

    def __post_init__(self) -> None:
        """Refuses what would not do what Lightning says of it.

        Raises:
            UserError: naming the key and what to set instead.
        """
        for key, instead in _REFUSED.items():
            if getattr(self, key):
                raise UserError(f"trainer.{key}={getattr(self, key)}: {instead}")

    @property
    def trains(self) -> bool:
        """Whether a step will be made."""
        return self.max_epochs != 0 and self.max_steps != 0 and self.limit_train_batches != 0


_REFUSED = {
    "logger": "loggers are in a group of their own; set logger=tensorboard, csv or none",
    "callbacks": "callbacks are in a group of their own; add +callbacks.NAME._target_=CLASS",
    "use_distributed_sampler": "rows are shared out among processes without one; leave it false",
    "barebones": "outputs and checkpoints are what a run is for; set logger=none "
    "trainer.enable_checkpointing=false callbacks.report=null",
    "model_registry": "a service that nothing is sent to; save the model's file there yourself",
}


@dataclass(slots=True, kw_only=True)
class TrainConfig:
    """Trains on rows that have both modalities and writes an embedding of every row.

    Attributes:
        seed: of weights, split, shuffling, dropout and dropped modalities; not negative.
        missing: how rows that miss a modality are embedded, `translate` or `duplicate`; stands for
            `embedding.missing`.
        activation: after every layer of the network; stands for `model.activation`.
        resume: go on from the last checkpoint in this run's folder: true, or auto: if there is
            one, else from the start, for machines that begin a killed job again.
        checkpoint: a trained model to start from; a run's folder, a checkpoint, a saved model, or
            a model file of the original (.npz).
        doctor: say before the first epoch what is wrong with the rows, as far as a look of a second
            at most can tell; `bidnn doctor` looks closer.
        objective: the metric that a sweep gets from the run, by the name it is logged under.
        report: writes report.html into the run's folder in the end; of a sweep, only into the
            sweep's.
        run_dir: the run's folder; null keeps nothing.
        data: where rows come from, and which of them train.
        model: the network.
        loss: what is minimised.
        optimizer: by what.
        speed: how the arithmetic is done.
        scaling: of the features.
        embedding: how a row's vector is made of its two halves.
        output: what is written, and the command that is run after it.
        callbacks: Lightning callbacks by name, each with its `_target_`; null takes one out.
        logger: Lightning loggers by name, likewise.
        trainer: settings of Lightning's Trainer.
    """

    seed: int = 0
    missing: MissingStrategy = MissingStrategy.translate
    activation: Activation = Activation.tanh
    resume: bool | str = False
    checkpoint: str | None = None
    doctor: bool = True
    objective: str = "train/loss"
    report: bool = True
    run_dir: str | None = None
    data: Any = MISSING
    model: NetworkConfig = MISSING
    loss: Any = MISSING
    optimizer: Any = MISSING
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        """Refuses what no single part can see to be wrong.

        Raises:
            UserError: naming the keys.
        """
        if isinstance(self.loss, LossConfig):
            check_paths(self.loss, self.model)
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed={self.seed}: must be in [0, 2^32)")
        check_folder(self.run_dir, self.output)
        if self.resume not in (True, False, "auto"):
            raise UserError(f"resume={self.resume}: must be true, false or auto")


def check_folder(folder: str | None, output: OutputConfig) -> None:
    """Refuses a run's folder whose name would be read as the epoch, which moves outputs elsewhere.

    Raises:
        UserError: naming it.
    """
    if folder is not None and "%e" in folder and (output.path or "").startswith(folder):
        raise UserError(
            f"hydra.run.dir={folder}: %e in it would be the epoch in output.path; choose another "
            "name, or an output.path elsewhere"
        )


def check_paths(loss: Loss, model: NetworkConfig) -> None:
    """A loss that trains self paths or a head needs a network that has them, and the reverse.

    Raises:
        UserError: naming the keys, or what an own loss does not say of itself.
    """
    for name in ("self_paths", "incomplete_rows"):
        if not hasattr(loss, name):
            raise UserError(
                f"loss: {type(loss).__name__} does not say {name}; `{name} = False` in the class "
                "is what a loss says that knows nothing of it"
            )
    if loss.self_paths != model.self_paths:
        trains = "trains" if loss.self_paths else "does not train"
        raise UserError(
            f"the loss {trains} self paths, and model.self_paths={str(model.self_paths).lower()}; "
            "set both or neither: loss.self_weight=0.5 model.self_paths=true"
        )
    trained = bool(getattr(loss, "diffusion", 0.0))
    if trained != model.diffusion:
        trains = "trains" if trained else "does not train"
        raise UserError(
            f"the loss {trains} a diffusion head, and model.diffusion="
            f"{str(model.diffusion).lower()}; set both or neither: loss.diffusion=1 "
            "model.diffusion=true"
        )


def made(node: Any) -> Any:  # noqa: ANN401 — whatever the node describes
    """The object that a node with `_target_` describes; anything else as it is."""
    if not (isinstance(node, dict) and "_target_" in node):
        return node
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
