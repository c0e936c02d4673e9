"""scripts/embed.py: embeds or completes rows with a trained model, its scaling included."""

import logging
from pathlib import Path

import torch

from bidnn.errors import UserError
from bidnn.files import check_room, check_writable
from bidnn.model.outputs import output_path, output_size, write_output
from bidnn.model.saved import load_bundle
from bidnn.programs.config import EmbedConfig
from bidnn.programs.record import plain_settings, write_record

log = logging.getLogger(__name__)


def run(config: EmbedConfig) -> None:
    """Reads rows, runs the model, writes the result.

    Raises:
        ValueError, OSError: naming what is wrong and the way out.
    """
    source = config.data
    if source.val_fraction or getattr(source, "val_path", None):
        raise UserError(
            "data.val_fraction and data.val_path have no meaning here: nothing is trained"
        )
    if config.output.command or config.output.every_n_epochs:
        raise UserError(
            "output.command and output.every_n_epochs belong to training; leave them out"
        )
    output = config.output
    check_writable(output_path(output, None))
    trained = load_bundle(Path(config.checkpoint))
    model = trained.model.to(_device(config.device))
    store = source.open((model.mod1size, model.mod2size))
    store = store.drop(source.missing_rate, config.seed, source.missing_modality)
    log.info(store.describe())
    size = output_size(model, store, output)
    check_room(output_path(output, None), size, f"output.path={output.path}")
    settings = {"checkpoint": config.checkpoint, "data": source, "output": output}
    write_record(Path(config.run_dir), store, plain_settings(settings))
    strategy = trained.strategy if config.missing is None else config.missing.strategy
    path = write_output(model, store, output, strategy, None)
    log.info("%s: %s", output.kind.value, path)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name}: not usable here ({str(error).splitlines()[0]})") from error
    return device
