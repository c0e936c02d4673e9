"""The loggers of a training: how they are made, begun, resumed and closed; CSV files."""

import csv
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.core.saving import save_hparams_to_yaml
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from bidnn.errors import UserError
from bidnn.files import whole_file
from bidnn.training.config import TrainConfig, made
from bidnn.training.given import Given
from bidnn.training.record import plain_settings
from bidnn.training.tensorboard import TensorBoard
from bidnn.training.trackio import Trackio

log = logging.getLogger(__name__)


OF_A_RUN = ("{settings}", "{folder}")
"""What stands in a logger's settings for what was set for the run, and for its folder."""
STEP_LOSS = "train/loss_step"
"""What the module logs of single steps, where somebody looks at these."""
PACKAGES = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow", "Trackio": "trackio"}


def make_loggers(nodes: Mapping[str, Any], label: str, folder: Path | None) -> list[Logger]:
    """Makes the loggers of the settings, each named after its run.

    Args:
        nodes: by name, each with its `_target_`.
        label: what was set, in a few characters; may be empty.
        folder: of the run.

    Raises:
        UserError: if a package is not installed, naming it.
    """
    tail = "" if folder is None else "/".join(folder.parts[-2:])
    loggers = []
    for name, node in nodes.items():
        if not node:
            continue
        named = {
            key: _filled(value, (label, tail)) if isinstance(value, str) else value
            for key, value in node.items()
        }
        package = PACKAGES.get(str(node.get("_target_")).rpartition(".")[2])
        try:
            loggers.append(made(named))
        except Exception as error:
            cause = error.__cause__ or error
            if package is None or not isinstance(cause, ModuleNotFoundError):
                raise
            raise UserError(
                f"logger.{name}: {package} is not installed; pip install {package}"
            ) from error
    return loggers


def _filled(value: str, words: Sequence[str]) -> str:
    for place, word in zip(OF_A_RUN, words, strict=True):
        value = value.replace(place, word)
    return value.strip()


def begin(
    trainer: Trainer, config: TrainConfig, chosen: Given, kept: Sequence[Mapping[str, int]]
) -> None:
    """Tells each logger what the run is; Lightning's own for CSV and TensorBoard wait for the end.

    Args:
        trainer: with all loggers.
        config: the settings.
        chosen: those of them that somebody chose.
        kept: of the files of each of TensorBoard's, what stays, from `event_files`.
    """
    settings = plain_settings(config)
    shown = trainer.enable_autolog_hparams
    given = chosen.hyper_parameters(settings) or {"seed": config.seed}
    text = "\n".join(f"{key}: {value}" for key, value in settings.items())
    folder = None if config.run_dir is None else Path(config.run_dir)
    boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoard)]
    for number, board in enumerate(boards):
        files = kept[number] if number < len(kept) else {}
        board.begin(folder, given if shown else {}, text, files)
    for logger in trainer.loggers:
        if shown and not isinstance(logger, CSVLogger | TensorBoardLogger):
            logger.log_hyperparams(settings)


def finish(
    loggers: Sequence[Logger],
    settings: Mapping[str, Any],
    metrics: Mapping[str, float],
    objective: str,
    step: int,
) -> None:
    """Gives each logger the final metrics, but for CSV files, and closes it.

    Args:
        loggers: all of them.
        settings: to show beside the metrics, in plain types; empty if that is not wanted.
        metrics: by name.
        objective: the metric that runs are compared by.
        step: of the optimiser.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoard):
            logger.finish(metrics, objective, step)
            continue
        if isinstance(logger, TensorBoardLogger):
            if settings:
                logger.log_hyperparams(dict(settings), dict(metrics))
            logger.finalize("success")
        elif not isinstance(logger, CSVLogger):
            logger.log_metrics(dict(metrics), step)
        _close(logger)


@contextmanager
def closed_if_it_fails(loggers: Sequence[Logger]) -> Iterator[None]:
    """Closes what a training that fails has opened, so that the next run begins another."""
    try:
        yield
    except BaseException:
        for logger in loggers:
            _close(logger)
        raise


def _close(logger: Logger) -> None:
    """Weights & Biases and trackio have one run open in a process, until it is finished."""
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()
    elif isinstance(logger, Trackio):
        logger.finish()


class Csv(CSVLogger):
    """Lightning's logger, whose file a resumed run goes on with, and never has half a row."""

    @property
    def experiment(self) -> "Rows":
        """What writes the file."""
        if self._experiment is None:
            self._experiment = Rows(self.log_dir)
        assert isinstance(self._experiment, Rows)
        return self._experiment


class Rows(ExperimentWriter):
    """The rows of a CSV file, of which those of an earlier run stay until `keep` says how many."""

    def __init__(self, log_dir: str) -> None:
        """Opens a folder; nothing in it is deleted."""
        super().__init__(log_dir)
        self._path = Path(self.metrics_file_path)
        self._written, self._failed = 0, False

    def keep(self, count: int) -> None:
        """Leaves the first rows there are, so many; those after it are to be logged again."""
        header, rows = self._read() if count else ([], [])
        self.metrics_keys, self._written = header, min(count, len(rows))
        if not self._written:
            self._path.unlink(missing_ok=True)
            return
        self._write_all(header, rows[:count])

    def count(self) -> int:
        """The rows in the file, once all that wait are written."""
        self.save()
        return self._written

    def save(self) -> None:
        """Writes what waits; if it cannot, it says so once, and what waits is written later."""
        if not self.metrics:
            return
        try:
            save_hparams_to_yaml(str(Path(self.log_dir) / self.NAME_HPARAMS_FILE), self.hparams)
            self._append()
        except OSError as error:
            if not self._failed:
                reason = error.strerror or str(error)
                log.error("%s: not written (%s); the training goes on", self._path, reason)
            self._failed = True
            return
        self._failed = False
        self._written += len(self.metrics)
        self.metrics = []

    def _append(self) -> None:
        columns = sorted(set(self.metrics_keys).union(*self.metrics))
        if columns != self.metrics_keys or not self._path.is_file():
            rows = self._read()[1][: self._written] if self._path.is_file() else []
            self._write_all(columns, [*rows, *self.metrics])
            self.metrics_keys = columns
            return
        with self._path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                file.write(_lines(columns, self.metrics))
            except OSError:
                file.truncate(before)
                raise

    def _read(self) -> tuple[list[str], list[dict[str, Any]]]:
        if not self._path.is_file():
            return [], []
        with self._path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            return list(reader.fieldnames or ()), rows

    def _write_all(self, columns: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
        with whole_file(self._path) as file:
            file.write(_header(columns) + _lines(columns, rows))

    def _check_log_dir_exists(self) -> None:
        """Lightning's would delete what an earlier run wrote."""


def count_rows(loggers: Sequence[object]) -> list[int]:
    """The rows of each CSV file, all of them written: for a checkpoint."""
    return [logger.experiment.count() for logger in loggers if isinstance(logger, Csv)]


def event_files(loggers: Sequence[object]) -> list[dict[str, int]]:
    """The bytes of TensorBoard's files, by their names, all written: for a checkpoint."""
    return [logger.sizes() for logger in loggers if isinstance(logger, TensorBoard)]


def keep_rows(loggers: Sequence[object], counts: Sequence[int]) -> None:
    """Leaves in each CSV file what a checkpoint says that there was; without one, nothing."""
    files = [logger for logger in loggers if isinstance(logger, Csv)]
    for number, logger in enumerate(files):
        logger.experiment.keep(counts[number] if number < len(counts) else 0)


def _header(columns: list[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns).writeheader()
    return text.getvalue().encode()


def _lines(columns: list[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns).writerows(rows)
    return text.getvalue().encode()


def logged_by_others(trainer: Trainer) -> dict[str, float]:
    """What callbacks logged of an epoch by Lightning's `log`, which has sent it to the loggers."""
    if not trainer._results:
        return {}
    found = trainer._logger_connector.metrics["callback"]
    return {name: float(value) for name, value in found.items() if name != STEP_LOSS}
