"""What a run shows in TensorBoard: curves, final metrics beside what was set, the settings."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch import Tensor

log = logging.getLogger(__name__)

EVENTS = "events.out.tfevents.*"
LEFT_OUT = ("epoch",)
"""What is no curve: every point has its step."""
RENAMED = {"learning_rate": "train/learning_rate"}
"""So that what is measured at the end is in the first columns, which TensorBoard sorts by name."""
OBJECTIVE = "Objective/{}"
QUEUE = 1000
"""Events that TensorBoard's thread has not yet taken, of which torch would wait at the tenth."""
WAITING = 0.5
"""Seconds that points of curves may wait to be written together with later ones."""


class TensorBoard(TensorBoardLogger):
    """Lightning's logger; when it can no longer write, it says so once and is silent.

    TensorBoard writes in a thread of its own, whose error comes back at any later call.
    """

    _failed = False
    _curves: frozenset[str] = frozenset()
    _waiting: tuple[tuple[Any, int | None, float], ...] = ()  # summary, step, time
    _written = 0.0

    def __init__(self, *settings: Any, **more: Any) -> None:  # noqa: ANN401 — Lightning's
        """As Lightning's, but for a queue that holds half a second of a tiny network's points."""
        super().__init__(*settings, **{"max_queue": QUEUE, **more})

    def begin(
        self,
        folder: Path | None,
        hyper_parameters: Mapping[str, float | str],
        settings: str,
        kept: Mapping[str, int],
    ) -> None:
        """Takes up the files of a run that is resumed, or begins with none.

        Args:
            folder: of the run; files within it are the run's own, and what is not kept goes.
            hyper_parameters: what was set; none are written if empty.
            settings: all of them, as text.
            kept: of each file, by its name below the logger's folder, the bytes that stay, from
                `sizes` at the last checkpoint; empty for a run that begins.
        """
        own = folder is not None and self._root.resolve().is_relative_to(folder.resolve())
        self._try(lambda: self._keep(kept, own=own))
        if not kept:
            self._try(lambda: self._describe(dict(hyper_parameters), settings))

    def sizes(self) -> dict[str, int]:
        """The bytes of each file, by its name below the logger's folder, all of them written."""
        self.save()
        try:
            files = list(self._root.rglob(EVENTS))
            return {str(path.relative_to(self._root)): path.stat().st_size for path in files}
        except FileNotFoundError:  # somebody removes the folder at this moment
            return {}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes metrics, if it still can."""
        named = {RENAMED.get(k, k): v for k, v in metrics.items() if k not in LEFT_OUT}
        self._curves |= named.keys()
        if all(isinstance(value, float) for value in named.values()) and not self._prefix:
            self._try(lambda: self._together(named, step))
        else:
            self._try(lambda: super(TensorBoard, self).log_metrics(named, step))

    def histogram(self, name: str, values: Tensor, step: int) -> None:
        """Writes how values are spread, if it still can."""
        self._try(lambda: self.experiment.add_histogram(name, values, step))

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Writes a picture, (height, width, 3), if it still can."""
        self._try(lambda: self.experiment.add_image(name, pixels, step, dataformats="HWC"))

    def log_hyperparams(self, *settings: Any, **more: Any) -> None:  # noqa: ANN401 — Lightning's
        """Writes settings, if it still can."""
        self._try(lambda: super(TensorBoard, self).log_hyperparams(*settings, **more))

    def save(self) -> None:
        """Writes what waits, if it still can; the settings are in the run's config.yaml."""
        self._try(self._flush)

    def finalize(self, status: str) -> None:
        """Writes what waits, if it still can; closes the files of a training that failed."""
        self._try(self._flush if status == "success" else self._close)

    def finish(self, metrics: Mapping[str, float], objective: str, step: int) -> None:
        """Writes the final metrics that are no curves, and closes the files.

        Args:
            metrics: all of them.
            objective: the one that runs are compared by, which comes first.
            step: of the optimiser.
        """
        final = {k: v for k, v in metrics.items() if RENAMED.get(k, k) not in self._curves}
        if objective in metrics:
            final[OBJECTIVE.format(objective)] = metrics[objective]
        self.log_metrics(final, step)
        self._try(self._end)

    @classmethod
    def of(cls, trainer: Trainer) -> list["TensorBoard"]:
        """Those of a trainer, in its first process."""
        loggers = trainer.loggers if trainer.is_global_zero else []
        return [logger for logger in loggers if isinstance(logger, cls)]

    @property
    def _root(self) -> Path:
        """The folder that the files of a run are below, under whichever name."""
        folder = Path(self.log_dir)
        for _part in Path(self._sub_dir or "").parts:
            folder = folder.parent
        return folder

    @rank_zero_only
    def _together(self, metrics: Mapping[str, float], step: int | None) -> None:
        """Numbers as one event, which costs a quarter of four: a step of a tiny network less.

        Waking TensorBoard's thread is dear as well, so that events wait for each other.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=v) for name, v in metrics.items()]
        self._waiting += ((Summary(value=values), step, time.time()),)
        if time.monotonic() - self._written >= WAITING:
            self._write_waiting()

    def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, ()
        self._written = time.monotonic()
        for summary, step, when in waiting:
            self.experiment._get_file_writer().add_summary(summary, step, when)

    def _keep(self, sizes: Mapping[str, int], *, own: bool) -> None:
        root, there = self._root, []
        for path in sorted(root.rglob(EVENTS)):
            size = sizes.get(str(path.relative_to(root)))
            if size is not None:
                there.append(path)
                if path.stat().st_size > size:
                    os.truncate(path, size)
            elif own:
                path.unlink()
                with suppress(OSError):  # the folder of a run that was called otherwise
                    path.parent.rmdir()
        if there:  # it goes on under the name that it began with
            name = str(there[0].parent.relative_to(root))
            self._sub_dir = None if name == "." else name
            _wait_for_next_second(there)

    def _describe(self, hyper_parameters: dict[str, float | str], settings: str) -> None:
        from torch.utils.tensorboard.summary import hparams

        as_code = "\n".join(f"    {line}" for line in settings.splitlines())
        self.experiment.add_text("settings", as_code, 0)
        if hyper_parameters:
            _, start, _ = hparams(hyper_parameters, {})  # type: ignore[no-untyped-call]  # torch's
            # Without the summary of an experiment, of which TensorBoard would take the first
            # run's for all: it finds out itself which settings differ, and shows those first.
            self.experiment._get_file_writer().add_summary(start)
        self._flush()

    def _end(self) -> None:
        from torch.utils.tensorboard.summary import hparams

        _, _, end = hparams({}, {})  # type: ignore[no-untyped-call]  # torch's
        self.experiment._get_file_writer().add_summary(end)
        self._close()

    def _flush(self) -> None:
        self._write_waiting()
        if self._experiment is not None:
            self._experiment.flush()

    def _close(self) -> None:
        self._write_waiting()
        if self._experiment is not None:
            self._experiment.close()

    def _try(self, write: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            write()
        except (OSError, ValueError) as error:
            self._failed = True
            cause = error.__cause__ or error.__context__ or error
            log.error("no more metrics in TensorBoard's files (%s); the training goes on", cause)


def _wait_for_next_second(files: Sequence[Path]) -> None:
    """Until a new file comes after those: they are read by their names, which begin with it."""
    newest = max(int(path.name.split(".")[3]) for path in files)
    while int(time.time()) == newest:
        time.sleep(0.01)
