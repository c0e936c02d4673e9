"""scripts/train.py: trains as configured and writes what was asked for."""

import json
import logging
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import OmegaConf

from bidnn.data.datamodule import PairDataModule
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import whole_file
from bidnn.model.inference import check_sizes
from bidnn.model.model import Model
from bidnn.model.outputs import output_path
from bidnn.model.saved import Trained, check_settings, load_bundle
from bidnn.programs.config import TrainConfig
from bidnn.programs.entry import sweeping
from bidnn.programs.processes import rank
from bidnn.programs.record import check_record, plain_settings, write_record
from bidnn.training.callbacks.checkpoints import LAST, Checkpoints, WholeCheckpoints
from bidnn.training.callbacks.report import Report
from bidnn.training.callbacks.run_command import RunCommand
from bidnn.training.callbacks.write_outputs import WriteOutputs
from bidnn.training.fit import fresh_model, train

log = logging.getLogger(__name__)

DECIDING = ("seed", "data", "model", "loss", "optimizer", "scaling", "missing", "embedding")
"""What the result of a run depends on, besides how long it is."""


def run(config: TrainConfig) -> float:
    """One training, whole.

    Returns:
        The objective, for sweepers.

    Raises:
        ValueError, OSError, CommandFailedError: naming what is wrong and the way out.
    """
    folder = Path(config.run_dir)
    output = config.output
    if sweeping() and folder not in output_path(output, None).parents:
        raise UserError(
            f"output.path={output.path}: every run of a sweep would write it; "
            "use 'output.path=${run_dir}/NAME'"
        )
    resume = folder / LAST if config.resume else None
    if resume is not None and not resume.is_file():
        raise FileNotFoundError(
            f"{resume}: no checkpoint; hydra.run.dir=FOLDER names the run to resume"
        )
    data = pair_data(config, open_store(config))
    log.info(data.store.describe())
    settings = plain_settings({key: getattr(config, key) for key in DECIDING})
    if resume is not None:
        check_record(folder, data.store, settings)
    trained = start_model(config, data)
    writer, command = WriteOutputs(data.store, output), RunCommand(output)
    if rank() == 0:
        with whole_file(folder / "config.yaml") as file:
            file.write(OmegaConf.to_yaml(OmegaConf.structured(config)).encode())
        write_record(folder, data.store, settings)
    callbacks = [writer, command, *instantiate_all(config.callbacks)]
    if not any(isinstance(callback, Checkpoints) for callback in callbacks):
        callbacks.append(Checkpoints(folder, every_n_epochs=0, every_minutes=0))
    trainer = instantiate(
        config.trainer,
        callbacks=callbacks,
        logger=instantiate_all(config.logger) or False,
        plugins=[WholeCheckpoints()],
    )
    assert isinstance(trainer, Trainer)
    train(
        trained,
        data,
        config.loss,
        config.optimizer,
        trainer,
        seed=config.seed,
        resume=resume,
        speed=config.speed,
    )
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    figures |= command.figures
    for callback in callbacks:
        figures |= callback.figures if isinstance(callback, Report) else {}
    _log_figures(config, trainer, figures)
    log.info("%s: %s", output.kind.value, output_path(output, None))
    log.info("run folder: %s", folder)
    return _objective(config, figures)


def open_store(config: TrainConfig) -> PairStore:
    """Reads the rows, and hides what `data.missing_rate` asks for."""
    source = config.data
    store: PairStore = source.open(None)
    return store.drop(source.missing_rate, config.seed, source.missing_modality)


def pair_data(config: TrainConfig, store: PairStore) -> PairDataModule:
    """Splits the rows into those that train and those that validate."""
    source = config.data
    return PairDataModule(
        store,
        batch_size=source.batch_size,
        seed=config.seed,
        trains=config.trainer["max_epochs"] != 0,
        incomplete_rows=config.loss.incomplete_rows,
        shuffle=source.shuffle,
        val_fraction=source.val_fraction,
        val_store=source.open_validation((store.mod1size, store.mod2size)),
    )


def start_model(config: TrainConfig, data: PairDataModule) -> Trained:
    """A fresh model, or the one of `checkpoint`, which must be what the configuration says.

    Raises:
        ValueError: naming the keys that differ.
    """
    strategy = config.missing.strategy
    if config.checkpoint is None:
        model = fresh_model(data, config.model, config.scaling, config.embedding, config.seed)
        return Trained(model, strategy)
    path = Path(config.checkpoint)
    model = load_bundle(path).model
    check_sizes(model, data.store)
    sizes = (model.mod1size, model.mod2size)
    check_settings(path, model, Model(*sizes, config.model, config.scaling, config.embedding))
    return Trained(model, strategy)


def instantiate_all(nodes: dict[str, Any]) -> list[Any]:
    """The objects that nodes with `_target_` describe; a node that is None is left out."""
    return [instantiate(node) for node in nodes.values() if node]


def _log_figures(config: TrainConfig, trainer: Trainer, figures: dict[str, float]) -> None:
    """The final figures: figures.json, and beside the hyper-parameters in TensorBoard."""
    if not trainer.is_global_zero:
        return
    with whole_file(Path(config.run_dir) / "figures.json") as file:
        file.write(json.dumps(figures, indent=2, sort_keys=True).encode() + b"\n")
    chosen = plain_settings({key: getattr(config, key) for key in DECIDING})
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(chosen, figures)
            logger.finalize("success")


def _objective(config: TrainConfig, figures: dict[str, float]) -> float:
    if config.trainer["max_epochs"] == 0 and config.objective not in figures:
        return float("nan")
    if config.objective not in figures:
        known = ", ".join(sorted(figures))
        raise UserError(
            f"objective={config.objective}: no such figure was logged; there are {known}"
        )
    return figures[config.objective]
