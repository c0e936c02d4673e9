"""Where a run that is resumed had come to: what its last checkpoint says, besides the weights."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bidnn.errors import UserError
from bidnn.files import readable
from bidnn.training.config import TrainConfig
from bidnn.training.record import METRICS_FILE, plain_settings

log = logging.getLogger(__name__)

NEVER_STOP = (
    *("checkpoint", "best", "progress", "report", "collapse"),
    *("histograms", "projector", "pictures"),
)
"""Callbacks, by their names in conf/, that end no training."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A run as its last checkpoint has it.

    Attributes:
        path: of the checkpoint.
        record: the settings and the rows that it was begun with, see `record.describe_run`.
        epochs: that were trained whole.
        steps: of the optimiser.
        stopped: the settings under which a callback stopped it, see `stopping`; None if none did.
        rows: how many rows each of the CSV loggers had.
        events: how many bytes each of TensorBoard's files had, for each of its loggers.
        history: what was logged of its epochs, see `History.state`.
    """

    path: Path
    record: Mapping[str, Any]
    epochs: int
    steps: int
    stopped: Mapping[str, Any] | None
    rows: list[int]
    events: list[dict[str, int]]
    history: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Begun":
        """Reads a checkpoint's description; its tensors stay on the disk.

        Raises:
            UserError: if it is damaged, or says too little of the run.
        """
        with readable(path, "checkpoint"):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        try:
            progress = content["loops"]["fit_loop"]["epoch_progress"]["current"]
            return cls(
                path,
                content["run"],
                progress["processed"] - cut_short(content),
                content["global_step"],
                content["stopped"],
                content["rows"],
                content["events"],
                content["history"],
            )
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{path}: no record of the run to resume in it ({error}); start anew from its "
                f"weights with checkpoint={path}"
            ) from error

    def trained(self, config: TrainConfig) -> bool:
        """Whether there is nothing left to train under these settings."""
        trainer = config.trainer
        epochs, steps = trainer.max_epochs, trainer.max_steps
        return (
            not trainer.trains
            or (epochs is not None and 0 <= epochs <= self.epochs)
            or (steps is not None and 0 <= steps <= self.steps)
            or (self.stopped is not None and self.stopped == stopping(config))
        )


def stopping(config: TrainConfig) -> dict[str, Any]:
    """The settings that decide when a training stops before its end, in plain types.

    A stop is kept by a run that is resumed, until one of these is another.
    """
    nodes = {name: node for name, node in config.callbacks.items() if name not in NEVER_STOP}
    plain = plain_settings({"callbacks": {name: node for name, node in nodes.items() if node}})
    if config.run_dir is not None:  # which may be another by now
        plain = {k: v for k, v in plain.items() if config.run_dir not in str(v)}
    trainer = {key: getattr(config.trainer, key) for key in ("max_time", "min_epochs", "min_steps")}
    found: dict[str, Any] = json.loads(json.dumps({**plain, **trainer}, default=str))
    return found


def read_metrics(folder: Path) -> dict[str, float] | None:
    """The metrics of a run that came to its end; None if it did not."""
    path = folder / METRICS_FILE
    if not path.is_file():
        return None
    with readable(path, "metrics"):
        found = json.loads(path.read_text()).items()
        return {str(name): float("nan" if value is None else value) for name, value in found}


def cut_short(checkpoint: Mapping[str, Any]) -> bool:
    """Whether the last epoch ended before all its batches, by `max_steps` or `max_time`, say."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    taken, batches = checkpoint.get("taken", (0, 0))  # which those of earlier versions do not say
    return bool(taken < batches and progress["processed"] == progress["ready"])


def go_on(checkpoint: Mapping[str, Any], chunk: int, steps: int) -> tuple[int, int]:
    """Lets a training that came to its end go on after its last epoch, or within it.

    Lightning counts a last epoch as done, wherever it was cut; and where steps are counted, not
    epochs, it begins the next one where the last one ended.

    Args:
        checkpoint: Lightning's, with what `TrainingModule` adds; its counters are changed.
        chunk: batches of a chunk; 1 if there are none.
        steps: at most, of the whole training; where none is left, nothing is changed. -1: no limit.

    Returns:
        The number of an epoch, and how many batches of its next chunk were taken; (-1, 0) if none
        was cut.
    """
    if 0 <= steps <= checkpoint["global_step"]:
        return -1, 0
    loops = checkpoint["loops"]["fit_loop"]
    cut = cut_short(checkpoint)
    for epochs in loops["epoch_progress"].values():
        epochs["processed"] -= cut
        if epochs["completed"] == epochs["ready"]:  # not so in a checkpoint of an epoch's end
            epochs["completed"] -= 1
    if not cut:
        return -1, 0
    taken, _ = checkpoint["taken"]
    chunks = loops["epoch_loop.batch_progress"]
    too_many = chunks["current"]["ready"] - taken // chunk  # one that was cut counts whole
    for counted in (chunks["current"], chunks["total"]):
        counted.update({name: count - too_many for name, count in counted.items()})
    chunks["is_last_batch"] = False
    # As at the beginning of an epoch: what was validated on at its end was not its end.
    validated = loops["epoch_loop.val_loop.batch_progress"]["total"]
    validated.update(dict.fromkeys(validated, 0))
    return loops["epoch_progress"]["current"]["processed"], taken % chunk


def check_steps(checkpoint: Mapping[str, Any], one_by_one: bool, chunk: int) -> None:
    """Refuses to go on with steps that are counted in another way than a checkpoint's.

    Args:
        checkpoint: Lightning's, with what `TrainingModule` adds.
        one_by_one: whether steps are taken one by one now.
        chunk: batches of a chunk now.

    Raises:
        UserError: naming both ways.
    """
    if checkpoint["one_by_one"] != one_by_one:
        how = {True: "one by one", False: "in chunks"}
        raise UserError(
            f"the run to resume took its steps {how[checkpoint['one_by_one']]}, and this one "
            f"would take them {how[one_by_one]}; resume it with the same trainer settings and "
            "callbacks"
        )
    within = not checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]
    if not one_by_one and within and checkpoint["batches_per_chunk"] != chunk:
        raise UserError(
            f"the run to resume was stopped within an epoch of chunks of "
            f"{checkpoint['batches_per_chunk']} batches, and this one would take {chunk} at a "
            "time; resume it on the kind of device that it began on, a GPU or none"
        )
