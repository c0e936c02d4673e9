"""`bidnn train`: trains as configured and writes what was asked for."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning import Callback

from bidnn.errors import UserError
from bidnn.evaluation.agreement import NEIGHBOURS
from bidnn.model.outputs import check_replaces_nothing, output_path
from bidnn.model.saved import reading_of
from bidnn.programs.entry import sweeping
from bidnn.programs.processes import repeating_command
from bidnn.programs.report import report_on
from bidnn.programs.rows import files_of, open_rows, source_of
from bidnn.programs.summary import chosen_here
from bidnn.training.config import TrainConfig
from bidnn.training.fit import fit
from bidnn.training.given import Given

log = logging.getLogger(__name__)


def run(config: TrainConfig) -> float:
    """One training, whole.

    Returns:
        The objective, for sweepers.

    Raises:
        UserError, OSError, CommandFailedError: naming what is wrong and the way out.
    """
    if sweeping():
        check_own_output(config, "every run of a sweep")
    metrics = train(config, command=repeating_command(), chosen=chosen_here())
    if not config.trainer.trains and config.objective not in metrics:
        return float("nan")
    return objective_of(metrics, config.objective)


def train(
    config: TrainConfig,
    callbacks: Sequence[Callback] = (),
    command: str | None = None,
    chosen: Given | None = None,
) -> dict[str, float]:
    """Reads the rows, trains, and writes what was asked for.

    Args:
        config: the settings, with a folder.
        callbacks: Lightning's or own ones, besides those of the settings.
        command: what repeats it, for its record.
        chosen: the settings that somebody chose.

    Returns:
        What was measured, by name.

    Raises:
        UserError, OSError, CommandFailedError: naming what is wrong and the way out.
    """
    assert config.run_dir is not None
    output = config.output
    source = source_of(config.data)
    if output.path is not None:
        read = [*files_of(source), *([] if config.checkpoint is None else [config.checkpoint])]
        check_replaces_nothing(output.path, output.every_n_epochs, read, "output.path")
    reading = None if config.checkpoint is None else reading_of(Path(config.checkpoint))
    rows = open_rows(source, config.seed, reading=reading)
    fitted = fit(config, rows, callbacks=callbacks, command=command, chosen=chosen)
    if output.path is not None:
        log.info("%s: %s", output.kind.value, output_path(output, None))
    log.info("run folder: %s", config.run_dir)
    if not sweeping():  # which has one for all its runs
        report_on(config, fitted, source, rows)
    return fitted.metrics


def check_own_output(config: TrainConfig, each: str) -> None:
    """Refuses an output outside the run's folder, where several runs would write it.

    Args:
        config: of one of them.
        each: what they are, for the message.

    Raises:
        UserError: naming the key.
    """
    assert config.run_dir is not None
    path = config.output.path
    if path is not None and Path(config.run_dir) not in output_path(config.output, None).parents:
        raise UserError(
            f"output.path={path}: {each} would write it; use 'output.path=${{run_dir}}/NAME'"
        )


def objective_of(metrics: Mapping[str, float], objective: str) -> float:
    """The metric that runs are compared by.

    Raises:
        UserError: if it was not measured, naming what was.
    """
    if objective not in metrics:
        known = ", ".join(sorted(metrics))
        few = f"more than {2 * NEIGHBOURS} held-out rows are needed for it, data.val_fraction=; "
        raise UserError(
            f"objective={objective}: no such metric was logged; "
            f"{few if objective == 'agreement' else ''}there are {known}"
        )
    return metrics[objective]
