"""`bidnn train`: trains as configured and writes what was asked for."""

import logging
from pathlib import Path

from bidnn.errors import UserError
from bidnn.model.outputs import check_replaces_nothing, output_path
from bidnn.model.saved import reading_of
from bidnn.programs.entry import sweeping
from bidnn.programs.rows import files_of, open_rows, source_of
from bidnn.training.config import TrainConfig
from bidnn.training.fit import fit

log = logging.getLogger(__name__)


def run(config: TrainConfig) -> float:
    """One training, whole.

    Returns:
        The objective, for sweepers.

    Raises:
        UserError, OSError, CommandFailedError: naming what is wrong and the way out.
    """
    assert config.run_dir is not None
    folder, output = Path(config.run_dir), config.output
    written = None if output.path is None else output_path(output, None)
    if sweeping() and written is not None and folder not in written.parents:
        raise UserError(
            f"output.path={output.path}: every run of a sweep would write it; "
            "use 'output.path=${run_dir}/NAME'"
        )
    source = source_of(config.data)
    if output.path is not None:
        read = [*files_of(source), *([] if config.checkpoint is None else [config.checkpoint])]
        check_replaces_nothing(output.path, output.every_n_epochs, read, "output.path")
    reading = None if config.checkpoint is None else reading_of(Path(config.checkpoint))
    metrics = fit(config, open_rows(source, config.seed, reading=reading)).metrics
    if written is not None:
        log.info("%s: %s", output.kind.value, written)
    log.info("run folder: %s", folder)
    return _objective(config, metrics)


def _objective(config: TrainConfig, metrics: dict[str, float]) -> float:
    if not config.trainer.trains and config.objective not in metrics:
        return float("nan")
    if config.objective not in metrics:
        known = ", ".join(sorted(metrics))
        raise UserError(
            f"objective={config.objective}: no such metric was logged; there are {known}"
        )
    return metrics[config.objective]
