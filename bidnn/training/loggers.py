"""TensorBoard and CSV files, without which a training goes on."""

import csv
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.core.saving import save_hparams_to_yaml
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from bidnn.files import whole_file

log = logging.getLogger(__name__)


class TensorBoard(TensorBoardLogger):
    """Lightning's logger; when it can no longer write, it says so once and is silent.

    TensorBoard writes in a thread of its own, whose error comes back at any later call.
    """

    _failed = False

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes metrics, if it still can."""
        self._try(lambda: super(TensorBoard, self).log_metrics(metrics, step))

    def log_hyperparams(self, *settings: Any, **more: Any) -> None:  # noqa: ANN401 — Lightning's
        """Writes settings, if it still can."""
        self._try(lambda: super(TensorBoard, self).log_hyperparams(*settings, **more))

    def save(self) -> None:
        """Writes what waits, if it still can."""
        self._try(lambda: super(TensorBoard, self).save())

    def finalize(self, status: str) -> None:
        """Writes what waits, if it still can."""
        self._try(lambda: super(TensorBoard, self).finalize(status))

    def _try(self, write: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            write()
        except (OSError, ValueError) as error:
            self._failed = True
            cause = error.__cause__ or error.__context__ or error
            log.error("no more metrics in TensorBoard's files (%s); the training goes on", cause)


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
