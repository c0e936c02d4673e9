"""scripts/embed.py: embeds or completes rows with a trained model, its scaling included."""

import logging
from dataclasses import replace
from pathlib import Path

from bidnn.data.sources import AnySource
from bidnn.errors import UserError
from bidnn.files import check_room, check_writable, held
from bidnn.model.about import about
from bidnn.model.outputs import (
    SHARD,
    OutputConfig,
    check_output,
    check_replaces_nothing,
    output_path,
    output_room,
    write_output,
)
from bidnn.model.saved import load_bundle
from bidnn.programs.config import EmbedConfig
from bidnn.programs.devices import device_of
from bidnn.programs.only_new import Earlier, files_of_earlier
from bidnn.programs.rows import check_trains_nothing, files_of, open_rows, source_of
from bidnn.programs.shards import embed_shards
from bidnn.programs.sweeps import claim_output
from bidnn.training.config import check_folder
from bidnn.training.record import check_no_training, plain_settings, write_record

log = logging.getLogger(__name__)


def run(config: EmbedConfig) -> None:
    """Reads rows, runs the model, writes the result.

    Raises:
        ValueError, OSError: naming what is wrong and the way out.
    """
    source = source_of(config.data)
    check_trains_nothing(source)
    if config.output.command or config.output.every_n_epochs:
        raise UserError(
            "output.command and output.every_n_epochs belong to training; leave them out"
        )
    output = replace(config.output, fingerprint=config.output.fingerprint or config.changed)
    if SHARD in str(output.path):
        embed_shards(config, source)
        return
    written = output_path(output, None)
    read = [*files_of(source), config.checkpoint, *files_of_earlier(config.only_new)]
    check_replaces_nothing(str(output.path), 0, read, "output.path")
    check_folder(config.run_dir, output)
    check_no_training(Path(config.run_dir))
    check_writable(written)
    claim_output(written)
    with held(Path(config.run_dir)):
        _embed(config, source, output)


def _embed(config: EmbedConfig, source: AnySource, output: OutputConfig) -> None:
    written = output_path(output, None)
    model = load_bundle(Path(config.checkpoint)).to(device_of(config.device))
    if config.missing is not None:
        model = model.with_missing(config.missing)
    store = open_rows(source, config.seed, (model.mod1size, model.mod2size), model.reading)
    log.info(store.describe())
    check_output(store, output, [None])
    rows = None
    if config.only_new is not None:
        says = about(model, output.kind, l2_norm=output.l2_norm)
        rows = Earlier.read(config.only_new, says, changed=config.changed).rows_to_do(store)
    room = output_room(model, store, output)
    room = room if rows is None else room * len(rows) // max(1, len(store))
    check_room(written, room, f"output.path={output.path}")
    settings = {"checkpoint": config.checkpoint, "data": config.data, "output": output}
    settings |= {"only_new": config.only_new, "changed": config.changed}
    write_record(Path(config.run_dir), store, plain_settings(settings))
    path = write_output(model, store, output, None, rows)
    log.info("%s: %s", output.kind.value, path)
