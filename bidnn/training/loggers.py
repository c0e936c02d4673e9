"""TensorBoard, without which a training goes on."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

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
