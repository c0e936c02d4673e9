"""What a training logged, epoch by epoch, and what it warned of: kept for its report."""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bidnn.files import as_json, readable, whole_file

HISTORY_FILE = "history.json"
MOST = 512
"""Epochs that are kept: of longer trainings every second, fourth, eighth …, and the last."""
PASSING = "passing"
"""An attribute of records of the log that say nothing of what a training has become."""
SELDOM = "agreement"
"""What is measured after few epochs, which are all kept."""


@dataclass(slots=True)
class History:
    """The metrics of epochs, and warnings.

    Attributes:
        epochs: by name, with the number of the epoch, from 1, as `epoch`.
        warnings: each once, in their order.
        stride: epochs from one that is kept to the next.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stride: int = 1

    def note(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Adds metrics to those of an epoch, which none that was noted comes after."""
        if not self.epochs or self.epochs[-1]["epoch"] != epoch:
            if self.epochs and not self._stays(self.epochs[-1]):
                self.epochs.pop()
            if len(self.epochs) >= MOST:
                self.stride *= 2
                self.epochs = [entry for entry in self.epochs if self._stays(entry)]
            self.epochs.append({"epoch": epoch})
        self.epochs[-1].update(metrics)

    def _stays(self, entry: Mapping[str, float]) -> bool:
        return SELDOM in entry or not entry["epoch"] % self.stride

    def warn(self, line: str) -> None:
        """Adds a warning that there is not yet."""
        if line not in self.warnings:
            self.warnings.append(line)

    def columns(self) -> dict[str, list[float]]:
        """By name, a value for each epoch that is kept; NaN where there is none."""
        names = dict.fromkeys(name for entry in self.epochs for name in entry)
        return {name: [entry.get(name, math.nan) for entry in self.epochs] for name in names}

    def state(self) -> dict[str, Any]:
        """Plain data, for a checkpoint."""
        epochs = [dict(entry) for entry in self.epochs]
        return {"epochs": epochs, "warnings": [*self.warnings], "stride": self.stride}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from there; what was warned of since the program began comes after it."""
        self.epochs = [dict(entry) for entry in state["epochs"]]
        self.stride = state["stride"]
        self.warnings = list(dict.fromkeys([*state["warnings"], *self.warnings]))

    def write(self, folder: Path) -> None:
        """Writes it into a run's folder."""
        with whole_file(folder / HISTORY_FILE) as file:
            file.write(as_json(self.state()).encode() + b"\n")


def due(epoch: int) -> bool:
    """Whether a measure that takes time is taken after an epoch, counted from 1.

    After each of the first eight, then four times in every doubling: 10, 12, 14, 16, 20, 24 …
    """
    return epoch % (1 << max(0, epoch.bit_length() - 3)) == 0


def read_history(folder: Path) -> History:
    """That of a run; an empty one if it did not come to its end.

    Raises:
        UserError: if the file is damaged.
    """
    history, path = History(), folder / HISTORY_FILE
    if path.is_file():
        with readable(path, "history"):
            state = json.loads(path.read_text())
            nan = float("nan")
            state["epochs"] = [
                {name: nan if value is None else float(value) for name, value in entry.items()}
                for entry in state["epochs"]
            ]
            history.restore(state)
    return history


@contextmanager
def noted_warnings(history: History) -> Iterator[None]:
    """Adds what the package logs as a warning, or as worse, meanwhile."""
    handler = _Noting(history)
    logger = logging.getLogger("bidnn")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Noting(logging.Handler):
    def __init__(self, history: History) -> None:
        super().__init__(logging.WARNING)
        self.history = history

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, PASSING, False):
            self.history.warn(record.getMessage())
