"""All callbacks of a training, in the order that outputs, command, reports and checkpoints need."""

from collections.abc import Sequence
from pathlib import Path

from lightning import Callback
from lightning.pytorch.callbacks import ProgressBar

from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.training.callbacks.checkpoints import Checkpoints
from bidnn.training.callbacks.explained import Explained
from bidnn.training.callbacks.hurry import Hurry
from bidnn.training.callbacks.progress import Progress
from bidnn.training.callbacks.run_command import RunCommand
from bidnn.training.callbacks.write_model import WriteModel
from bidnn.training.callbacks.write_outputs import WriteOutputs
from bidnn.training.config import TrainConfig, made


def all_callbacks(
    config: TrainConfig, store: PairStore, folder: Path | None, given: Sequence[Callback]
) -> list[Callback]:
    """Makes what the settings name, and what every training has.

    Args:
        config: the settings.
        store: the rows to embed.
        folder: of the run; None keeps no checkpoints.
        given: further ones, made already.

    Raises:
        UserError, OSError: naming what cannot be done.
    """
    nodes = {name: node for name, node in config.callbacks.items() if node}
    if folder is None:
        nodes.pop("checkpoint", None)
        if "best" in nodes:
            raise UserError("callbacks=best keeps a checkpoint; name a folder for it: run_dir")
    if config.trainer.enable_checkpointing is False:
        nodes.pop("checkpoint", None)
    configured = [*(made(node) for node in nodes.values()), *given]
    if config.trainer.enable_progress_bar or any(isinstance(c, ProgressBar) for c in configured):
        configured = [c for c in configured if not isinstance(c, Progress)]
    own: list[Callback] = []
    if config.output.path is not None:
        own.append(WriteOutputs(store, config.output))
    own += [callback for callback in given if isinstance(callback, WriteModel)]
    if config.output.path is not None:
        own.append(RunCommand(config.output))
    meanwhile = config.report and folder is not None
    own += [
        Explained(meanwhile=meanwhile),
        Hurry(),
        *(c for c in configured if not isinstance(c, WriteModel)),
    ]
    kept = any(isinstance(callback, Checkpoints) for callback in own)
    if folder is not None and config.trainer.enable_checkpointing is not False and not kept:
        own.append(Checkpoints(folder, every_n_epochs=0, every_minutes=0))
    for callback in own:
        if isinstance(callback, Checkpoints) and config.output.path is not None:
            callback.also_every_n_epochs = config.output.every_n_epochs
    # Last, so that what it keeps has seen the epoch: the best checkpoint, too.
    return sorted(own, key=lambda callback: isinstance(callback, Checkpoints))
